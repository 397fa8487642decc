/**
 * The front door: one bot's messages as a stream, and everything that can be asked of the server.
 *
 * Guarantee: a message is handed out once for as long as it is open, and acknowledged only when its delivery says so; what is
 * sent keeps its id over every resend.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as Acks from "./Acks.ts"
import * as BlazeError from "./BlazeError.ts"
import * as BlazeSocket from "./BlazeSocket.ts"
import * as Connection from "./Connection.ts"
import * as Dedup from "./Dedup.ts"
import * as Deferral from "./Deferral.ts"
import * as Delivery from "./Delivery.ts"
import * as Envelope from "./Envelope.ts"
import * as Frame from "./Frame.ts"
import type * as Gzip from "./Gzip.ts"
import * as Ids from "./Ids.ts"
import type * as Message from "./Message.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Outgoing from "./Outgoing.ts"
import * as Quota from "./Quota.ts"
import * as Reconnect from "./Reconnect.ts"
import * as Signer from "./Signer.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Underway from "./Underway.ts"

/**
 * When a send that may be tried again is: full jitter up to 250 ms, doubled up to 10 s, ten times.
 *
 * @category references
 * @since 0.1.0
 */
export const SendRetry = Context.Reference<Schedule.Schedule<unknown>>("effect-blaze/Blaze/SendRetry", {
  defaultValue: () =>
    Reconnect.jittered(Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("10 seconds")])).pipe(
      Schedule.upTo({ times: 10 })
    )
})

/**
 * How long `drain` waits for the consumer to finish: 30 seconds. What is not done then is logged by id.
 *
 * @category references
 * @since 0.1.0
 */
export const DrainTimeout = Context.Reference<Duration.Input>("effect-blaze/Blaze/DrainTimeout", {
  defaultValue: () => "30 seconds"
})

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
    /** What becomes of the bot's own messages; the last 1 024 are kept for a slow consumer. */
    readonly receipts: Stream.Stream<Receipt>
    /** Sends, and waits until the server has it. Give an `id` to make it the same message however often it is sent. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      options?: { readonly id?: Ids.MessageId | undefined }
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /** Any request of the protocol; gives the `data` of the answer. */
    readonly request: (action: string, params?: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
    /** The status of the connection: `SubscriptionRef.get` is now, `SubscriptionRef.changes` now and from now on. */
    readonly status: SubscriptionRef.SubscriptionRef<Connection.Status>
    /** Ends `deliveries` after what was handed out, waits for its consumer to finish, and flushes the acknowledgements. */
    readonly drain: Effect.Effect<void>
  }
>()("effect-blaze/Blaze") {}

const alreadyConsumed = BlazeError.make(new BlazeError.AlreadyConsumed({}))

const lookPeriod = "15 seconds"
const unsettledAfter = 5 * 60_000
/** How long a message that found no room among the deferred stays on the server before all are listed again, in milliseconds. */
const relistPeriod = 10 * 60_000
const maximumLogged = 20

const make = Effect.gen(function* () {
  const connection = yield* Connection.Connection
  const acks = yield* Acks.Acks
  const dedup = yield* Dedup.Dedup
  const randomId = yield* Ids.makeRandom
  const digest = yield* Digest.Digest
  const { userId } = yield* Signer.Signer
  const retry = yield* SendRetry
  const quota = yield* Quota.Quota
  const drainTimeout = yield* DrainTimeout
  const { telemetry } = connection
  const { metrics } = Telemetry
  const hash = Effect.provideService(Digest.Digest, digest)

  const conversationOf = (to: Delivery.Recipient): Effect.Effect<Ids.ConversationId> =>
    "conversation" in to ? Effect.succeed(to.conversation) : hash(Ids.contactConversation(userId, to.user))

  // In this order: what waits for a connection must not use the quota of one minute and be sent in another.
  const createMessage = (kind: Quota.Kind, params: unknown) =>
    Effect.andThen(
      connection.ready,
      Effect.flatMap(quota.take(userId, kind), (waited) => {
        if (waited) telemetry.measure(metrics.sendWaits, 1)
        return connection.requestNow(Envelope.Action.createMessage, params)
      })
    )

  // As Effect.retry, which sets up its schedule before there is a failure.
  const persist = (attempt: Effect.Effect<unknown, BlazeError.BlazeError>) =>
    Effect.catch(attempt, (error) => {
      let known: Effect.Effect<never, BlazeError.BlazeError> | undefined = Effect.fail(error)
      const again = Effect.suspend(() => {
        const first = known
        known = undefined
        return first ?? attempt
      })
      return Effect.retry(again, { schedule: retry, while: (error) => error.isRetryable })
    })

  const sendTo = (
    kind: Quota.Kind,
    to: Delivery.Recipient,
    conversationId: Ids.ConversationId,
    content: Outgoing.Outgoing,
    messageId: Ids.MessageId
  ): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> => {
    const params = Outgoing.toParams(content, {
      conversationId,
      messageId,
      recipientId: "user" in to ? to.user : undefined
    })
    if (Result.isFailure(params)) return Effect.fail(params.failure)
    const attempt = Effect.onExit(createMessage(kind, params.success), (exit) => {
      telemetry.measure(metrics.sends, 1, exit._tag)
      return Effect.void
    })
    return Effect.as(persist(attempt), messageId)
  }

  const open = Underway.make<Message.Message>()

  // A message was deferred that found no room: it is on the server only, which has to be asked for it.
  let forgotten = false
  let listed = telemetry.now()

  const deferral = yield* Deferral.make((message) => {
    dedup.settle(message.id, "Forgotten")
    connection.offer([message], "last")
  })

  const actions: Delivery.Actions = {
    ack: (entry) => {
      const message = open.end(entry)
      if (message === undefined) return
      const { id } = message
      deferral.forget(id)
      dedup.settle(id, "Handled")
      acks.offer(id)
    },
    defer: (entry) =>
      Effect.suspend(() => {
        const message = open.end(entry)
        if (message === undefined) return Effect.void
        return Effect.map(deferral.defer(message), (kept) => {
          dedup.settle(message.id, kept ? "Deferred" : "Forgotten")
          forgotten ||= !kept
          telemetry.measure(metrics.deferred, deferral.size())
        })
      }),
    answer: (message, to, content, options) =>
      Effect.suspend(() => {
        const outgoing = Outgoing.fromContent(content)
        const said = options?.key === undefined ? [outgoing.category, outgoing.dataBase64] : ["key", options.key]
        return Effect.flatMap(conversationOf(to), (conversationId) =>
          Effect.flatMap(Ids.deriveWith(digest, ["answer", message.id, conversationId, ...said]), (id) =>
            sendTo("answer", to, conversationId, outgoing, id as Ids.MessageId)
          )
        )
      }),
    derive: (message, name) => Ids.deriveWith(digest, ["derive", message.id, name])
  }

  const look = Effect.gen(function* () {
    const now = telemetry.now()
    const pending = Date.parse((open.oldest()?.value ?? connection.oldest())?.createdAt ?? "")
    telemetry.measure(metrics.oldestPending, Number.isFinite(pending) ? Math.max(0, (now - pending) / 1000) : 0)
    if (forgotten && now - listed >= relistPeriod) {
      forgotten = false
      listed = now
      yield* Effect.ignore(connection.request(Envelope.Action.listPendingMessages))
    }
    const oldest = open.oldest()
    telemetry.measure(metrics.open, open.size())
    telemetry.measure(metrics.oldestOpen, oldest === undefined ? 0 : (now - oldest.since) / 1000)
    telemetry.measure(metrics.deferred, deferral.size())
    const late: Array<Ids.MessageId> = []
    for (const entry of open.entries()) {
      if (now - entry.since < unsettledAfter || late.length >= maximumLogged) break
      if (!entry.warned) late.push(entry.value!.id)
      entry.warned = true
    }
    if (late.length > 0) {
      yield* Effect.logWarning(
        `These messages were handed out 5 minutes ago and are neither acknowledged nor deferred: ${late.join(", ")}. A Stream.filter or Stream.take drops deliveries without settling them; Delivery.filter does not.`
      )
    }
  })
  yield* look.pipe(Effect.delay(lookPeriod), Effect.forever, Effect.forkScoped)

  let consumer: Deferred.Deferred<void> | undefined

  // Not interruptible once messages are taken: they are open then, and known to whoever consumes next.
  const admit = Effect.suspend(() => {
    const messages = connection.take()
    return Effect.map(dedup.admit(messages.map((message) => message.id)), (verdicts) => {
      const deliveries: Array<Delivery.Delivery> = []
      const again: Array<Ids.MessageId> = []
      const since = telemetry.now()
      let backlogged = 0
      for (let index = 0; index < messages.length; index++) {
        const message = messages[index]!
        const verdict = verdicts[index]!
        if (verdict !== "New") {
          telemetry.measure(metrics.duplicates, 1, verdict)
          if (verdict === "Handled") again.push(message.id)
          continue
        }
        if (message.fromBacklog) backlogged++
        deliveries.push(new Delivery.Delivery(message, open.begin(message, since), actions))
      }
      if (backlogged > 0) telemetry.measure(metrics.backlogged, backlogged)
      if (deliveries.length > 0) connection.progressed()
      return { deliveries, again }
    })
  }).pipe(Effect.uninterruptible)

  const receive = Effect.gen(function* () {
    while (true) {
      yield* acks.room
      yield* connection.arrival
      const { again, deliveries } = yield* admit
      again.forEach(acks.offer)
      if (Arr.isArrayNonEmpty(deliveries)) return deliveries
    }
  })

  // A consumer begins with what the one before it left unsettled.
  const takeOver = Effect.sync(() => {
    const left = [...open.entries()].map((entry) => open.end(entry)!)
    for (const { id } of left) dedup.settle(id, "Forgotten")
    if (left.length > 0) connection.offer(left, "first")
  })

  // The scope is that of the whole run: the consumer is done when its handlers are, not when the last message was handed out.
  const deliveries = Stream.transformPull(Stream.empty, (_, scope) =>
    Effect.gen(function* () {
      if (consumer !== undefined) return yield* alreadyConsumed
      const released = Deferred.makeUnsafe<void>()
      consumer = released
      yield* Scope.addFinalizer(
        scope,
        Effect.sync(() => {
          consumer = undefined
          Deferred.doneUnsafe(released, Effect.void)
        })
      )
      yield* takeOver
      return receive
    })
  )

  return Blaze.of({
    userId,
    deliveries,
    receipts: connection.receipts.pipe(
      Stream.map((view) => ({
        messageId: view.message_id as Ids.MessageId,
        status: view.status === "READ" ? "READ" : "DELIVERED"
      }))
    ),
    send: Effect.fnUntraced(function* (to, content, options) {
      const id = options?.id ?? ((yield* randomId) as Ids.MessageId)
      return yield* sendTo("announcement", to, yield* conversationOf(to), Outgoing.fromContent(content), id)
    }),
    request: (action, params) =>
      action === Envelope.Action.createMessage
        ? createMessage("announcement", params)
        : connection.request(action, params),
    status: connection.status,
    drain: Effect.gen(function* () {
      yield* connection.endArrival
      if (consumer !== undefined) {
        const done = yield* Effect.timeoutOption(Deferred.await(consumer), drainTimeout)
        if (Option.isNone(done)) {
          yield* Effect.logWarning(
            `These messages were not handled when the time to drain was over, and will come back: ${Array.from(
              open.entries(),
              ({ value }) => value!.id
            )
              .slice(0, maximumLogged)
              .join(", ")}`
          )
        }
      }
      yield* acks.flush
    })
  })
})

/**
 * What a bot needs of the platform: a way to dial, a codec, HTTP with its signing, hashes and random numbers.
 *
 * @category layers
 * @since 0.1.0
 */
export type Platform =
  | BlazeSocket.Dialer
  | Gzip.Gzip
  | MixinApi.MixinApi
  | Signer.Signer
  | Digest.Digest
  | SecureRandom.SecureRandom

/**
 * The parts of a bot that can be exchanged: how acknowledgements travel (`Acks.layerRest`), what remembers handled messages
 * (`Dedup.layerMemory`), what keeps the send quota (`Quota.layerMemory`).
 *
 * @category layers
 * @since 0.1.0
 */
export interface Ports<DedupServices, QuotaServices> {
  readonly acks?: Layer.Layer<Acks.Transport, never, Connection.Connection | MixinApi.MixinApi> | undefined
  readonly dedup?: Layer.Layer<Dedup.Dedup, never, DedupServices> | undefined
  readonly quota?: Layer.Layer<Quota.Quota, never, QuotaServices> | undefined
}

/**
 * A bot on a platform of your choice, with parts of your choice; `effect-blaze/node` and `effect-blaze/testing` have ready ones.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <DedupServices = never, QuotaServices = never>(
  ports: Ports<DedupServices, QuotaServices>
): Layer.Layer<Blaze, BlazeError.BlazeError, DedupServices | QuotaServices | Platform> => {
  const { acks = Acks.layerRest, dedup = Dedup.layerMemory, quota = Quota.layerMemory } = ports
  const own: Layer.Layer<Dedup.Dedup | Quota.Quota, never, DedupServices | QuotaServices> = Layer.merge(dedup, quota)
  const connection = Connection.layer.pipe(Layer.provide(BlazeSocket.layer.pipe(Layer.provide(Frame.layer))))
  // Fresh, so that two bots in one application have all of this twice.
  return Layer.fresh(
    Layer.effect(Blaze, make).pipe(
      Layer.provide(Acks.layer.pipe(Layer.provide(acks))),
      Layer.provide(connection),
      Layer.provide(own)
    )
  )
}

/**
 * A bot with the usual parts.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Blaze, BlazeError.BlazeError, Platform> = layerWith({})
