/**
 * The front door: one bot's messages as a stream, and everything that can be asked of the server.
 *
 * Guarantee: a message is handed out once for as long as it is open, and acknowledged only when its delivery says so; what is
 * sent keeps its id over every resend.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as Acks from "./Acks.ts"
import * as Aside from "./internal/Aside.ts"
import * as Attachments from "./Attachments.ts"
import * as Acknowledgements from "./internal/Acknowledgements.ts"
import * as BlazeError from "./BlazeError.ts"
import * as BlazeSocket from "./BlazeSocket.ts"
import type * as Cipher from "./internal/Cipher.ts"
import * as Connection from "./internal/Connection.ts"
import * as Delivery from "./Delivery.ts"
import * as Front from "./internal/Front.ts"
import type * as Gzip from "./Gzip.ts"
import * as Ids from "./Ids.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Outgoing from "./Outgoing.ts"
import * as Quota from "./Quota.ts"
import * as Sending from "./internal/Sending.ts"
import * as Conversations from "./Conversations.ts"
import * as Users from "./Users.ts"
import * as Sender from "./Sender.ts"
import * as State from "./State.ts"
import * as Store from "./Store.ts"
import * as Signer from "./Signer.ts"

export { Status } from "./internal/Connection.ts"

export type { Receipt, SendOptions } from "./internal/Front.ts"

/**
 * One bot.
 *
 * **Example** (A pipeline that ends by itself)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Blaze, Delivery } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function*() {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* alice.say("hi")
 *   const blaze = yield* Blaze.Blaze
 *   yield* blaze.deliveries.pipe(
 *     Stream.take(1),
 *     Stream.mapEffect(Delivery.handle((delivery) => delivery.reply("hello"))),
 *     Stream.runDrain
 *   )
 *   console.assert((yield* alice.reads).join() === "hello")
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Blaze extends Context.Service<
  Blaze,
  {
    /** The bot itself. */
    readonly userId: Ids.UserId
    /** The messages, for one consumer: a second one fails with `AlreadyConsumed`. Fails when the server refuses the bot. */
    readonly deliveries: Stream.Stream<Delivery.Delivery, BlazeError.BlazeError>
    /**
     * What becomes of the bot's own messages; the last 1 024 are kept for a slow consumer. After a connection was lost the server is asked
     * for what has come meanwhile.
     */
    readonly receipts: Stream.Stream<Front.Receipt>
    /** Sends, and waits until the server has it, or for more. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      options?: Front.SendOptions
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /** Takes back a message that the bot sent there or, where it runs a group, anybody's. */
    readonly recall: (to: Delivery.Recipient, id: Ids.MessageId) => Effect.Effect<void, BlazeError.BlazeError>
    /** The conversation that a message to somebody goes to: with a person, the one that only the two are in. */
    readonly conversationOf: (to: Delivery.Recipient) => Effect.Effect<Ids.ConversationId>
    /**
     * An id that follows from the bot and some texts, the same in every run: for what is sent without a message that it answers, and may be
     * sent again.
     */
    readonly derive: (...parts: ReadonlyArray<string>) => Effect.Effect<Ids.MessageId>
    /** Any request of the protocol; gives the `data` of the answer. */
    readonly request: (action: string, params?: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
    /** The status of the connection: `SubscriptionRef.get` is now, `SubscriptionRef.changes` now and from now on. */
    readonly status: SubscriptionRef.SubscriptionRef<Connection.Status>
    /** Ends `deliveries` after what was handed out, waits until all of that is settled, and flushes the acknowledgements. */
    readonly drain: Effect.Effect<void>
  }
>()("effect-blaze/Blaze") {}

/**
 * What a bot needs of the platform: a way to dial, a codec, HTTP with its signing, hashes, random numbers and ciphers.
 *
 * @category layers
 * @since 0.1.0
 */
export type Platform =
  | BlazeSocket.Dialer
  | Gzip.Gzip
  | MixinApi.MixinApi
  | Signer.Signer
  | Cipher.Ciphers
  | Digest.Digest
  | SecureRandom.SecureRandom

/**
 * What a program gets of a bot: the bot itself, how it sends, what it remembers, the people and the conversations that it knows, and files.
 *
 * @category layers
 * @since 0.1.0
 */
export type Services =
  | Blaze
  | Sender.Sender
  | State.Storage
  | Users.Users
  | Conversations.Conversations
  | Attachments.Attachments

/**
 * What a program gets that only sends.
 *
 * @category layers
 * @since 0.1.0
 */
export type SenderServices = Exclude<Services, Blaze | State.Storage>

/**
 * The parts of a bot that can be exchanged: how acknowledgements travel (`Acks.layerRest`), what remembers handled messages
 * (`Store.layerMemory`), what keeps the send quota (`Quota.layerMemory`).
 *
 * @category layers
 * @since 0.1.0
 */
export interface Ports<StoreServices, QuotaServices> {
  readonly acks?: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi> | undefined
  readonly store?:
    | Layer.Layer<Store.Store, BlazeError.BlazeError, StoreServices | Signer.Signer | SecureRandom.SecureRandom>
    | undefined
  readonly quota?: Layer.Layer<Quota.Quota, BlazeError.BlazeError, QuotaServices> | undefined
}

/**
 * A bot on a platform of your choice, with parts of your choice; `effect-blaze/node` and `effect-blaze/testing` have ready ones.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <StoreServices = never, QuotaServices = never>(
  ports: Ports<StoreServices, QuotaServices>
): Layer.Layer<Services, BlazeError.BlazeError, StoreServices | QuotaServices | Platform> => {
  const { acks = Acks.layerRest, store = Store.layerMemory, quota = Quota.layerMemory } = ports
  // Fresh, so that two bots in one application have all of this twice.
  return Layer.fresh(
    Front.layer(Blaze, Front.make(Aside.make), {
      connection: Connection.make,
      acknowledgements: Acknowledgements.make(acks),
      transport: Sending.overSocket,
      store,
      quota
    }).pipe(Layer.provide(BlazeSocket.layer))
  )
}

/**
 * A bot with the usual parts.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Services, BlazeError.BlazeError, Platform> = layerWith({})

/**
 * What only sends, over REST, without a connection; `NodeBlaze.layerSenderConfig` is this for Node.
 *
 * **Details**
 *
 * Mixin's quota is that of the bot, and this layer counts only what it sends itself: beside a bot that sends much, give each a part of it
 * with the setting `quotaMessages`. What is `durable` is in the store that is given, which is not that of the bot: one process has a store.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSender = <StoreServices = never>({
  store = Store.layerMemory
}: Pick<Ports<StoreServices, never>, "store"> = {}): Layer.Layer<
  SenderServices,
  BlazeError.BlazeError,
  StoreServices | MixinApi.MixinApi | Signer.Signer | Cipher.Ciphers | Digest.Digest | SecureRandom.SecureRandom
> => Layer.fresh(Front.layerSender({ transport: Sending.overRest, quota: Quota.layerMemory, store }))

/**
 * What bots on a platform share, since it knows nothing of any of them: a codec, cryptography, and files for `Keystore.fromConfig` and for
 * what is sent by its path (`FileSystem.layerNoop` where there are none).
 *
 * @category layers
 * @since 0.1.0
 */
export type Tools = Gzip.Gzip | Signer.Cryptography | FileSystem.FileSystem

/**
 * A signer, as `Signer.layer` and its like give it.
 *
 * @category layers
 * @since 0.1.0
 */
export type SignerLayer = Layer.Layer<Signer.Signer, BlazeError.BlazeError, Tools>

/**
 * Makes bots on a platform: `NodeBlaze.layer` is this for Node. The `network` is each bot's own, the `tools` they share.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOn =
  (platform: {
    readonly network: Layer.Layer<BlazeSocket.Dialer | HttpClient.HttpClient>
    readonly tools: Layer.Layer<Tools>
  }) =>
  <StoreServices = never, QuotaServices = never>(
    signer: SignerLayer,
    ports: Ports<StoreServices, QuotaServices> = {}
  ): Layer.Layer<Services | MixinApi.MixinApi, BlazeError.BlazeError, StoreServices | QuotaServices> =>
    // Fresh, since a Layer is built once for whoever mentions it, and two bots must not share a connection or a name.
    Layer.fresh(
      layerWith(ports).pipe(Layer.provideMerge(MixinApi.layer), Layer.provide([signer, platform.network]))
    ).pipe(Layer.provide(platform.tools))
