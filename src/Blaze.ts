/**
 * The front door: one bot's messages as a stream, and everything that can be asked of the server.
 *
 * Guarantee: a message is handed out once for as long as it is open, and acknowledged only when its delivery says so; what is
 * sent keeps its id over every resend.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as FileSystem from "effect/FileSystem"
import type * as Fiber from "effect/Fiber"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as Acks from "./Acks.ts"
import * as Attachments from "./Attachments.ts"
import * as Acknowledgements from "./internal/Acknowledgements.ts"
import * as BlazeError from "./BlazeError.ts"
import * as BlazeSocket from "./BlazeSocket.ts"
import type * as Cipher from "./internal/Cipher.ts"
import * as Connection from "./internal/Connection.ts"
import * as Delivery from "./Delivery.ts"
import * as Handling from "./internal/Handling.ts"
import * as Dropped from "./internal/Dropped.ts"
import * as Encryption from "./internal/Encryption.ts"
import * as Envelope from "./Envelope.ts"
import type * as Gzip from "./Gzip.ts"
import * as Ids from "./Ids.ts"
import * as Branded from "./internal/Branded.ts"
import * as Ledger from "./internal/Ledger.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Outbox from "./internal/Outbox.ts"
import * as Outgoing from "./Outgoing.ts"
import * as Quota from "./Quota.ts"
import * as Receipts from "./internal/Receipts.ts"
import * as Sending from "./internal/Sending.ts"
import * as Conversations from "./Conversations.ts"
import * as Users from "./Users.ts"
import * as Sender from "./Sender.ts"
import * as Settings from "./Settings.ts"
import * as State from "./State.ts"
import * as States from "./internal/States.ts"
import * as Store from "./Store.ts"
import * as Signer from "./Signer.ts"
import * as Meter from "./internal/Meter.ts"
import * as Underway from "./internal/Underway.ts"
import * as Unread from "./internal/Unread.ts"

export { Status } from "./internal/Connection.ts"

/**
 * The news about a message that the bot sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  readonly messageId: Ids.MessageId
  readonly status: "DELIVERED" | "READ"
}

/**
 * How something is sent: `id` and `durable` are those of `Sender.SendOptions`.
 *
 * **Details**
 *
 * `until` waits for a receipt besides: until the message is on somebody's phone, or was read by somebody. It may never come: see
 * `Effect.timeoutOption`. Fails when the bot stops for good. What is `durable` is sent later, so that nothing can be waited for.
 *
 * @category models
 * @since 0.1.0
 */
export type SendOptions =
  | (Sender.SendOptions & { readonly until?: undefined })
  | (Sender.SendOptions & { readonly durable?: false | undefined; readonly until?: "delivered" | "read" | undefined })

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
    readonly receipts: Stream.Stream<Receipt>
    /** Sends, and waits until the server has it, or for more. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      options?: SendOptions
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

const alreadyConsumed = BlazeError.make(new BlazeError.AlreadyConsumed({}))

/** One run of `deliveries`. */
interface Consumer {
  /** Who asked last. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** It failed or was interrupted. */
  wasCut: boolean
  /** Whether what it handed out may still be settled: its stream has ended in peace, and goes on in a larger one. */
  readonly hands: () => Underway.Hands
}

const makeConsumer = (): Consumer => {
  const consumer: Consumer = {
    fiber: undefined,
    wasCut: false,
    hands: () => (consumer.wasCut ? "Cut" : consumer.fiber?.pollUnsafe() === undefined ? "AtWork" : "Ended")
  }
  return consumer
}

/** What is handed out, to one consumer at a time. */
const makeDeliveries = (
  ledger: Ledger.Ledger,
  conversations: Conversations.Conversations["Service"],
  actions: Omit<Handling.Actions, "leave">
) => {
  let consumer: Consumer | undefined
  // The last consumer was cut short: what it left is settled by the next one, if there is one.
  let abandoned = false

  const actionsOf = (own: Consumer): Handling.Actions => ({
    ...actions,
    leave: (entry) => {
      entry.hands = Underway.inNobodysHands
      if (consumer !== undefined && consumer !== own) ledger.handBack(entry)
      ledger.signal.notify()
    }
  })

  // The scope is that of the whole run: the consumer is done when its handlers are, not when the last message was handed out. Behind
  // operators that give it a scope of its own it ends sooner, and handlers go on with what it has handed out.
  const deliveries = Stream.transformPull(Stream.empty, (_, scope) =>
    Effect.gen(function* () {
      if (consumer !== undefined) return yield* alreadyConsumed
      const own = makeConsumer()
      consumer = own
      yield* Scope.addFinalizerExit(scope, (exit) =>
        Effect.sync(() => {
          consumer = undefined
          own.wasCut = abandoned = Exit.isFailure(exit)
          ledger.signal.notify()
        })
      )
      ledger.takeOver()
      return handOut(own, ledger.receive, actionsOf(own), conversations)
    })
  )

  return {
    deliveries,
    /** Whether nobody consumes, and nobody will settle what is open. */
    isQuiet: () => {
      const { held, open } = ledger.count()
      return consumer === undefined && (open === 0 || (abandoned && held === 0))
    }
  }
}

const make = Effect.gen(function* () {
  const connection = yield* Connection.Connection
  const acks = yield* Acknowledgements.Acknowledgements
  const ledger = yield* Ledger.make(yield* Encryption.makeReader)
  const sender = yield* Sending.Sending
  const outgoing = yield* Sender.Sender
  const conversations = yield* Conversations.Conversations
  const unread = yield* Unread.make
  const { userId } = yield* Signer.Signer
  const observer = yield* Handling.Observer
  const { drainTimeout } = yield* Settings.checked

  const { deliveries, isQuiet } = makeDeliveries(ledger, conversations, {
    botId: userId,
    later: Effect.runForkWith(yield* Effect.context<never>()),
    observe: observer?.around,
    skips: ledger.skips,
    hold: ledger.hold,
    release: ledger.release,
    ack: ledger.ack,
    ackAll: ledger.ackAll,
    defer: ledger.defer,
    giveUp: ledger.giveUp,
    unread: unread.count,
    answer: sender.answer,
    derive: sender.derive,
    me: (yield* Users.Users).me,
    hasSent: sender.hasSent,
    contactOf: (user) => sender.conversationOf({ user }),
    conversation: conversations.get,
    storage: yield* State.Storage
  })

  const inspect = Effect.delay(Effect.andThen(ledger.inspect, unread.tell), (yield* Dropped.Watch).period)
  // Days may pass in which there is nothing to look at, and in a simulation they do in a second.
  const busy = Effect.suspend(() => (unread.isEmpty() ? ledger.busy : Effect.void))
  yield* Effect.andThen(busy, inspect).pipe(Effect.forever, Effect.forkScoped)

  return Blaze.of({
    userId,
    deliveries,
    receipts: connection.receipts.stream.pipe(
      Stream.map((view) => ({
        messageId: Branded.messageId(Ids.toLowerCase(view.message_id)),
        status: view.status === "READ" ? "READ" : "DELIVERED"
      }))
    ),
    send: (to, content, options = {}) =>
      options.until === undefined
        ? outgoing.send(to, content, options)
        : Receipts.awaited(connection.receipts.expect, options.until === "read" ? "READ" : "DELIVERED", (begin) =>
            sender.send(to, content, options.id, begin)
          ),
    recall: (to, id) => Effect.asVoid(sender.send(to, Outgoing.recall(id), undefined)),
    derive: sender.deriveFor,
    conversationOf: sender.conversationOf,
    request: (action, params) =>
      action === Envelope.Action.createMessage
        ? sender.post("announcement", params)
        : Effect.flatMap(connection.session, ({ request }) => request(action, params)),
    status: connection.status,
    drain: Effect.gen(function* () {
      yield* connection.inbox.end
      if (Option.isNone(yield* Effect.timeoutOption(ledger.signal.until(isQuiet), drainTimeout))) {
        yield* Effect.logWarning(
          `These messages were not handled when the time to drain was over, and will come back: ${Ids.list(
            Array.from(ledger.entries(), ({ value }) => value!.id)
          )}`
        )
      }
      yield* acks.flush
    })
  })
})

// One by one: what a `Stream.take` cut off an array could not be told from what went down the stream.
const handOut = (
  own: Consumer,
  receive: Ledger.Ledger["receive"],
  actions: Handling.Actions,
  conversations: Conversations.Conversations["Service"]
) => {
  let received: ReadonlyArray<Ledger.Open> = []
  let next = 0
  const take = (): Arr.NonEmptyReadonlyArray<Delivery.Delivery> | undefined => {
    while (next < received.length) {
      const entry = received[next++]!
      if (entry.value === undefined) continue
      entry.hands = own.hands
      const { _tag, conversationId } = entry.value
      conversations.meet(conversationId)
      if (_tag === "GroupEvent") actions.later(conversations.forget(conversationId))
      return [new Handling.Delivery(entry.value, entry, actions)]
    }
  }
  const takeMore = Effect.gen(function* () {
    while (true) {
      yield* receive((entries) => {
        received = entries
        next = 0
      })
      const taken = take()
      if (taken !== undefined) return taken
    }
  })
  return Effect.withFiber<Arr.NonEmptyReadonlyArray<Delivery.Delivery>, BlazeError.BlazeError | Cause.Done>((fiber) => {
    own.fiber = fiber
    const taken = take()
    return taken === undefined ? takeMore : Effect.succeed(taken)
  })
}

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

const layerMeter = Layer.unwrap(Effect.map(Signer.Signer, ({ userId }) => Meter.layer(userId)))

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
  const own: Layer.Layer<
    States.States | Quota.Quota,
    BlazeError.BlazeError,
    StoreServices | QuotaServices | Signer.Signer | SecureRandom.SecureRandom
  > = Layer.merge(States.layer.pipe(Layer.provide(store)), quota)
  // The store of both is one, for it is the same layer.
  const remembered = State.layer.pipe(Layer.provide(store))
  const connection = Connection.layer.pipe(Layer.provide(BlazeSocket.layer))
  // Fresh, so that two bots in one application have all of this twice.
  return Layer.fresh(
    Layer.effect(Blaze, make).pipe(
      Layer.provideMerge(Outbox.layer.pipe(Layer.provide(store))),
      Layer.provide(Sending.layer.pipe(Layer.provide(Sending.layerSocket))),
      Layer.provideMerge(Layer.mergeAll(Users.layer, Conversations.layer, Attachments.layer)),
      Layer.provide(Acknowledgements.layer(acks)),
      Layer.provide(connection),
      Layer.provideMerge(remembered),
      Layer.provide(Layer.merge(own, layerMeter)),
      Settings.once
    )
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
> =>
  Layer.fresh(
    Outbox.layer.pipe(
      Layer.provide([Sending.layer.pipe(Layer.provide([Sending.layerRest, Quota.layerMemory])), store]),
      Layer.provide(layerMeter),
      Layer.provideMerge(Layer.mergeAll(Users.layer, Conversations.layer, Attachments.layer)),
      Settings.once
    )
  )

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
