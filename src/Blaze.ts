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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
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
import * as Elapsed from "./Elapsed.ts"
import * as Envelope from "./Envelope.ts"
import * as Frame from "./Frame.ts"
import type * as Gzip from "./Gzip.ts"
import * as Ids from "./Ids.ts"
import type * as Message from "./Message.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Outgoing from "./Outgoing.ts"
import * as Quota from "./Quota.ts"
import * as Reconnect from "./Reconnect.ts"
import * as Setting from "./Setting.ts"
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
 * How long `drain` waits until nothing is open: 30 seconds. What is not settled then is logged by id.
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
    /** Ends `deliveries` after what was handed out, waits until all of that is settled, and flushes the acknowledgements. */
    readonly drain: Effect.Effect<void>
  }
>()("effect-blaze/Blaze") {}

const alreadyConsumed = BlazeError.make(new BlazeError.AlreadyConsumed({}))

/**
 * How many messages are remembered as given up: 1 000. Beyond it the oldest is acknowledged, and an error in the log says so.
 *
 * @category references
 * @since 0.1.0
 */
export const MaximumGivenUp = Context.Reference<number>("effect-blaze/Blaze/MaximumGivenUp", {
  defaultValue: () => 1000
})

/**
 * What sees a bot from within, for tests: every run of a handler, and every message that is sent, with the one that it answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watch {
  readonly around: <A, E, R>(message: Message.Message, handled: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly sending: (id: Ids.MessageId, answers: Ids.MessageId | undefined) => Effect.Effect<void>
}

/**
 * Who watches the bot: nobody.
 *
 * @category references
 * @since 0.1.0
 */
export const Observer = Context.Reference<Watch | undefined>("effect-blaze/Blaze/Observer", {
  defaultValue: () => undefined
})

const lookPeriod = "15 seconds"
const unsettledAfter = 5 * 60_000
/** How long a message that found no room among the deferred stays on the server before all are listed again, in milliseconds. */
const relistPeriod = 10 * 60_000
const maximumLogged = 20
const minute = 60_000
const maximumCategories = 64

const gaveUp = {
  Exhausted: "it has been offered again for as long as Deferral.Policy says.",
  Dropped: "the server, which keeps a message for 7 days, has dropped it."
} as const

const adviceOn = (category: string) =>
  category.startsWith("ENCRYPTED_")
    ? "They are encrypted: turn encryption off for this bot in the dashboard of developers.mixin.one, and they arrive in plain."
    : "Give Bot.match a case Unknown to see them."

const tellUnread = (category: string, count: number) =>
  Effect.logWarning(
    `${count === 1 ? "A message" : `${count} messages`} of category ${category} passed through Bot.match unread, for it has no case for ${
      count === 1 ? "it" : "them"
    }. ${adviceOn(category)}`
  )

/** One run of `deliveries`. */
interface Consumer {
  /** Who asked last. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** It failed or was interrupted. */
  wasCut: boolean
  /** Whether what it handed out may still be settled: its stream has ended in peace, and goes on in a larger one. */
  readonly isAtWork: () => boolean
}

const makeConsumer = (): Consumer => {
  const consumer: Consumer = {
    fiber: undefined,
    wasCut: false,
    isAtWork: () => !consumer.wasCut && consumer.fiber?.pollUnsafe() === undefined
  }
  return consumer
}

const make = Effect.gen(function* () {
  const connection = yield* Connection.Connection
  const acks = yield* Acks.Acks
  const dedup = yield* Dedup.Dedup
  const randomId = yield* Ids.makeRandom
  const digest = yield* Digest.Digest
  const clock = yield* Clock.Clock
  const { userId } = yield* Signer.Signer
  const retry = yield* SendRetry
  const observer = yield* Observer
  const quota = yield* Quota.Quota
  const drainTimeout = yield* Setting.duration("Blaze.DrainTimeout", yield* DrainTimeout, "zero or more")
  const maximumGivenUp = yield* Setting.count("Blaze.MaximumGivenUp", yield* MaximumGivenUp, 0)
  const { telemetry } = connection
  const { metrics } = Telemetry
  const hash = Effect.provideService(Digest.Digest, digest)
  const contactOf = (user: Ids.UserId) => hash(Ids.contactConversation(userId, user))

  const conversationOf = (to: Delivery.Recipient): Effect.Effect<Ids.ConversationId> =>
    "conversation" in to ? Effect.succeed(to.conversation) : contactOf(to.user)

  // In this order: what waits for a connection must not use the quota of one minute and be sent in another.
  const createMessage = (kind: Quota.Kind, params: unknown) =>
    Effect.andThen(
      connection.ready,
      Effect.flatMap(quota.take(userId, kind), (waited) => {
        if (waited) telemetry.measure(metrics.sendWaits, 1)
        return connection.requestNow(Envelope.Action.createMessage, params)
      })
    )

  // As Effect.retry, which sets up its schedule before there is a failure, and counts by the date.
  const persist = (attempt: Effect.Effect<unknown, BlazeError.BlazeError>) =>
    Effect.catch(
      attempt,
      Effect.fnUntraced(function* (error) {
        const delay = yield* Elapsed.delays(retry)
        let last = error
        while (last.isRetryable) {
          const next = yield* delay(last)
          if (Option.isNone(next)) break
          yield* Effect.sleep(next.value)
          const again = yield* Effect.result(attempt)
          if (Result.isSuccess(again)) return again.success
          last = again.failure
        }
        return yield* last
      })
    )

  const sendTo = (
    kind: Quota.Kind,
    conversationId: Ids.ConversationId,
    recipientId: Ids.UserId | undefined,
    content: Outgoing.Outgoing,
    messageId: Ids.MessageId,
    answers?: Ids.MessageId
  ): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> => {
    const params = Outgoing.toParams(content, { conversationId, messageId, recipientId })
    if (Result.isFailure(params)) return Effect.fail(params.failure)
    const attempt = Effect.onExit(createMessage(kind, params.success), (exit) => {
      telemetry.measure(metrics.sends, 1, exit._tag)
      return Effect.void
    })
    const sent = Effect.as(persist(attempt), messageId)
    return observer === undefined ? sent : Effect.andThen(observer.sending(messageId, answers), sent)
  }

  // Whom an answer goes to, where that is one: the sender, and nobody whom a message was sent for.
  const recipientOf = (message: Message.Message, to: Delivery.Recipient): Effect.Effect<Ids.UserId | undefined> => {
    if ("user" in to) return Effect.succeed(to.user)
    const sender = message.view.user_id as Ids.UserId | null | undefined
    if (!sender || to.conversation !== message.conversationId) return Effect.undefined
    return Effect.map(contactOf(sender), (contact) => (contact === to.conversation ? sender : undefined))
  }

  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const open = Underway.make<Message.Message>()
  // What a consumer left, on its way to the next one through the inbox. It stays open: an acknowledgement that comes late still counts.
  const returned = new Map<Ids.MessageId, Delivery.Open>()
  let held = 0

  let consumer: Consumer | undefined
  // The last consumer was cut short: what it left is settled by the next one, if there is one.
  let abandoned = false
  let quietWaiters: Array<() => void> = []
  const isQuiet = () => consumer === undefined && (open.size() === 0 || (abandoned && held === 0))
  const lookQuiet = () => {
    if (quietWaiters.length === 0 || !isQuiet()) return
    const waiters = quietWaiters
    quietWaiters = []
    for (const resume of waiters) resume()
  }
  const quiet = Effect.callback<void>((resume) => {
    if (isQuiet()) return resume(Effect.void)
    quietWaiters.push(() => resume(Effect.void))
  })

  const end = (entry: Delivery.Open): Message.Message | undefined => {
    const message = open.end(entry)
    if (message !== undefined && returned.size > 0) returned.delete(message.id)
    return message
  }

  // What is left in one go goes back in one go, in order: one by one each would stand before the last.
  let leaving: Array<Delivery.Open> = []
  const leave = (entry: Delivery.Open) => {
    if (leaving.push(entry) > 1) return
    fork(
      Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => {
          const left = leaving.filter(isLeft)
          leaving = []
          giveBack(left.toSorted((a, b) => a.number - b.number))
        })
      )
    )
  }

  const giveBack = (entries: ReadonlyArray<Delivery.Open>) => {
    if (entries.length === 0) return
    for (const entry of entries) returned.set(entry.value!.id, entry)
    connection.offer(
      entries.map((entry) => entry.value!),
      "first"
    )
  }

  const isLeft = (entry: Delivery.Open) =>
    entry.value !== undefined && entry.holders === 0 && !returned.has(entry.value.id)
  const isFree = (entry: Delivery.Open) => isLeft(entry) && !entry.isInHands()

  const givenUp = new Set<Ids.MessageId>()
  const giveUp = Effect.fnUntraced(function* (message: Message.Message, reason: string): Effect.fn.Return<void> {
    const { id } = message
    deferral.forget(id)
    dedup.settle(id, "GivenUp")
    givenUp.add(id)
    yield* Effect.logError(
      `Message ${id} is given up: ${reason.replace(/\.?$/, ".")} It is not offered again by this process, and stays unacknowledged for the next one.`
    )
    const [oldest] = givenUp
    if (oldest !== undefined && givenUp.size > maximumGivenUp) {
      givenUp.delete(oldest)
      dedup.settle(oldest, "Handled")
      acks.offer(oldest)
      yield* Effect.logError(
        `More than ${maximumGivenUp} messages are given up: the oldest, ${oldest}, is acknowledged, and nobody will handle it.`
      )
    }
    telemetry.measure(metrics.givenUp, givenUp.size)
    yield* connection.tell({ givenUp: givenUp.size })
  })

  // A message was deferred that found no room: it is on the server only, which has to be asked for it.
  let forgotten = false
  let lastListing = telemetry.now()

  const deferral: Deferral.Deferral = yield* Deferral.make({
    offer: (message) => {
      dedup.settle(message.id, "Forgotten")
      connection.offer([message], "last")
    },
    drop: (message) => giveUp(message, gaveUp.Dropped)
  })

  const defer = Effect.fnUntraced(function* (message: Message.Message, since: number) {
    const verdict = yield* deferral.defer(message, since)
    if (verdict === "Exhausted" || verdict === "Dropped") return yield* giveUp(message, gaveUp[verdict])
    dedup.settle(message.id, verdict === "Kept" ? "Deferred" : "Forgotten")
    forgotten ||= verdict === "NoRoom"
    telemetry.measure(metrics.deferred, deferral.size())
  })

  // How many messages of a category nobody has read since the log last told of it.
  const unread = new Map<string, { count: number; since: number }>()
  const tellAllUnread = Effect.suspend(() => {
    const now = telemetry.now()
    return Effect.forEach(
      [...unread],
      ([category, state]) => {
        if (now - state.since < minute) return Effect.void
        const { count } = state
        if (count === 0) {
          unread.delete(category)
          return Effect.void
        }
        unread.set(category, { count: 0, since: now })
        return tellUnread(category, count)
      },
      { discard: true }
    )
  })

  const settled = (entry: Delivery.Open, settle: (message: Message.Message) => Effect.Effect<void>) =>
    Effect.suspend(() => {
      const message = end(entry)
      return message === undefined ? Effect.void : Effect.ensuring(settle(message), Effect.sync(lookQuiet))
    })

  const actionsOf = (own: Consumer): Delivery.Actions => ({
    observe: observer?.around,
    hold: (entry) => {
      entry.holders++
      held++
    },
    release: (entry) => {
      if (entry.holders === 0) return
      entry.holders--
      held--
    },
    leave: (entry) => {
      entry.isInHands = Underway.inNobodysHands
      if (consumer !== undefined && consumer !== own && isLeft(entry)) leave(entry)
      lookQuiet()
    },
    ack: (entry) => {
      const message = end(entry)
      if (message === undefined) return
      const { id } = message
      deferral.forget(id)
      dedup.settle(id, "Handled")
      acks.offer(id)
      lookQuiet()
    },
    defer: (entry) => settled(entry, (message) => defer(message, entry.since)),
    giveUp: (entry, reason) => settled(entry, (message) => giveUp(message, reason)),
    unread: ({ category, isSaid }) =>
      Effect.suspend(() => {
        telemetry.measure(metrics.unread, 1, category)
        if (!isSaid) return Effect.void
        const name = unread.has(category) || unread.size < maximumCategories ? category : "other"
        const state = unread.get(name)
        if (state !== undefined) {
          state.count++
          return Effect.void
        }
        unread.set(name, { count: 0, since: telemetry.now() })
        return tellUnread(name, 1)
      }),
    answer: (message, to, content, options) =>
      Effect.suspend(() => {
        const outgoing = Outgoing.fromContent(content)
        const said = options?.key === undefined ? [outgoing.category, outgoing.dataBase64] : ["key", options.key]
        return Effect.flatMap(conversationOf(to), (conversationId) =>
          Effect.flatMap(Ids.deriveWith(digest, ["answer", message.id, conversationId, ...said]), (id) =>
            Effect.flatMap(recipientOf(message, to), (recipientId) =>
              sendTo("answer", conversationId, recipientId, outgoing, id as Ids.MessageId, message.id)
            )
          )
        )
      }),
    derive: (message, name) => Ids.deriveWith(digest, ["derive", message.id, name])
  })

  const look = Effect.gen(function* () {
    const now = telemetry.now()
    const written = Date.parse((open.oldest()?.value ?? connection.oldest())?.createdAt ?? "")
    const age = clock.currentTimeMillisUnsafe() - written
    telemetry.measure(metrics.oldestPending, Number.isFinite(age) ? Math.max(0, age / 1000) : 0)
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
        `These messages were handed out 5 minutes ago and are neither acknowledged nor deferred: ${late.join(", ")}. A Stream.filter or Stream.take drops deliveries without settling them, and what interrupts a handler within its stream (a timeout around Delivery.handle, say) leaves its message to the next consumer; Delivery.filter and a timeout inside the handler do not.`
      )
    }
    yield* tellAllUnread
    if (forgotten && now - lastListing >= relistPeriod) {
      forgotten = false
      // Until it is answered nothing is certain, and the next look asks again.
      if (Result.isFailure(yield* Effect.result(connection.request(Envelope.Action.listPendingMessages))))
        forgotten = true
      else lastListing = telemetry.now()
    }
  })
  yield* look.pipe(Effect.delay(lookPeriod), Effect.forever, Effect.forkScoped)

  // A push of what the bot itself has sent; notices of its own transfers and groups carry its id too.
  const isOwn = (message: Message.Message) => message.view.user_id === userId && !message.isSystem

  // Not interruptible once messages are taken: they are open then, and known to whoever consumes next.
  const admit = Effect.suspend(() => {
    const again: Array<Ids.MessageId> = []
    const messages: Array<Message.Message> = []
    for (const message of connection.take()) {
      if (isOwn(message)) again.push(message.id)
      else messages.push(message)
    }
    if (again.length > 0) telemetry.measure(metrics.own, again.length)
    return Effect.map(dedup.admit(messages.map((message) => message.id)), (verdicts) => {
      const entries: Array<Delivery.Open> = []
      const since = telemetry.now()
      let backlogged = 0
      let progressed = false
      for (let index = 0; index < messages.length; index++) {
        const message = messages[index]!
        const verdict = verdicts[index]!
        if (verdict === "New") {
          if (message.fromBacklog) backlogged++
          // What was put aside and is offered again says nothing about the connection.
          progressed ||= !deferral.knows(message.id)
          entries.push(open.begin(message, since))
          continue
        }
        const left = verdict === "Open" && returned.size > 0 ? returned.get(message.id) : undefined
        if (left !== undefined) {
          returned.delete(message.id)
          entries.push(left)
          continue
        }
        telemetry.measure(metrics.duplicates, 1, verdict)
        if (verdict === "Handled") again.push(message.id)
      }
      if (backlogged > 0) telemetry.measure(metrics.backlogged, backlogged)
      if (progressed) connection.progressed()
      return { entries, again }
    })
  }).pipe(Effect.uninterruptible)

  const receive = Effect.gen(function* () {
    while (true) {
      yield* acks.room
      yield* connection.arrival
      const { again, entries } = yield* admit
      again.forEach(acks.offer)
      if (entries.length > 0) return entries
    }
  })

  // One by one: what a `Stream.take` cut off an array could not be told from what went down the stream.
  const handOut = (own: Consumer) => {
    const actions = actionsOf(own)
    let received: ReadonlyArray<Delivery.Open> = []
    let next = 0
    const take = (): Arr.NonEmptyReadonlyArray<Delivery.Delivery> | undefined => {
      while (next < received.length) {
        const entry = received[next++]!
        if (entry.value === undefined) continue
        entry.isInHands = own.isAtWork
        return [new Delivery.Delivery(entry.value, entry, actions)]
      }
    }
    const takeMore = Effect.gen(function* () {
      while (true) {
        received = yield* receive
        next = 0
        const taken = take()
        if (taken !== undefined) return taken
      }
    })
    return Effect.withFiber<Arr.NonEmptyReadonlyArray<Delivery.Delivery>, BlazeError.BlazeError | Cause.Done>(
      (fiber) => {
        own.fiber = fiber
        const taken = take()
        return taken === undefined ? takeMore : Effect.succeed(taken)
      }
    )
  }

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
          lookQuiet()
        })
      )
      // A consumer begins with what the one before it left, but for what somebody still works on.
      giveBack(Array.from(open.entries()).filter(isFree))
      return handOut(own)
    })
  )

  return Blaze.of({
    userId,
    deliveries,
    receipts: connection.receipts.pipe(
      Stream.map((view) => ({
        messageId: Ids.toLowerCase(view.message_id) as Ids.MessageId,
        status: view.status === "READ" ? "READ" : "DELIVERED"
      }))
    ),
    send: Effect.fnUntraced(function* (to, content, options) {
      const id = options?.id ?? ((yield* randomId) as Ids.MessageId)
      const recipientId = "user" in to ? to.user : undefined
      return yield* sendTo("announcement", yield* conversationOf(to), recipientId, Outgoing.fromContent(content), id)
    }),
    request: (action, params) =>
      action === Envelope.Action.createMessage
        ? createMessage("announcement", params)
        : connection.request(action, params),
    status: connection.status,
    drain: Effect.gen(function* () {
      yield* connection.endArrival
      if (Option.isNone(yield* Effect.timeoutOption(quiet, drainTimeout))) {
        yield* Effect.logWarning(
          `These messages were not handled when the time to drain was over, and will come back: ${Ids.list(
            Array.from(open.entries(), ({ value }) => value!.id)
          )}`
        )
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
  readonly dedup?: Layer.Layer<Dedup.Dedup, BlazeError.BlazeError, DedupServices> | undefined
  readonly quota?: Layer.Layer<Quota.Quota, BlazeError.BlazeError, QuotaServices> | undefined
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
  const own: Layer.Layer<Dedup.Dedup | Quota.Quota, BlazeError.BlazeError, DedupServices | QuotaServices> = Layer.merge(
    dedup,
    quota
  )
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
