/**
 * Sessions in a row: one bot's connection as the rest of the library sees it, whatever happens to the sockets below.
 *
 * Guarantee: it comes back by the reconnect policy for as long as that says so, never after the server refused the bot for what it
 * is (and not for a token that had grown old, or in the words of something in front of the server), and its status is data;
 * messages keep the order in which they arrived.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "./BlazeError.ts"
import * as BlazeSocket from "./BlazeSocket.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import type * as Envelope from "./Envelope.ts"
import * as Inbox from "./Inbox.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Reconnect from "./Reconnect.ts"
import * as Requests from "./Requests.ts"
import * as Session from "./internal/Session.ts"
import * as Setting from "./internal/Setting.ts"
import * as Signer from "./Signer.ts"
import * as Telemetry from "./Telemetry.ts"

/**
 * The state of the connection. Times are milliseconds since 1970.
 *
 * **Details**
 *
 * - `Connecting`: the handshake and the first request are under way; `attempt` counts from 1 in every streak of failures.
 * - `Connected`: messages flow; `badFrames` counts the frames of this connection that were passed over because they are not Blaze,
 *   `givenUp` the messages that this process has given up; `host` is the one it leads to, `apiHost` the one that REST requests go to.
 * - `Waiting`: the next attempt is `delay` away, because of `reason`.
 * - `Stopped`: it will not be tried again, because of `reason`.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = Data.TaggedEnum<{
  Connecting: { readonly attempt: number }
  Connected: {
    readonly since: number
    readonly badFrames: number
    readonly givenUp: number
    readonly host: string
    readonly apiHost: string
  }
  Waiting: { readonly delay: Duration.Duration; readonly reason: BlazeError.BlazeError }
  Stopped: { readonly reason: BlazeError.BlazeError }
}>
/** @since 0.1.0 */
export const Status = Data.taggedEnum<Status>()

/**
 * After how many connections in a row that brought nothing new and ended with a bad frame such a frame is passed over: 3.
 *
 * @category references
 * @since 0.1.0
 */
export const BadFrameTolerance = Context.Reference<number>("effect-blaze/Connection/BadFrameTolerance", {
  defaultValue: () => 3
})

/**
 * Whether a bot that is refused because of this machine's clock waits for the clock to be set, in place of failing: it tries again once
 * a minute, for as long as the server's time says that the clock is the cause, and tells so each time. Off by default.
 *
 * **When to use**
 *
 * Use where a machine may start before its clock is set: a small computer without a battery, a virtual machine.
 *
 * @category references
 * @since 0.1.0
 */
export const AwaitClock = Context.Reference<boolean>("effect-blaze/Connection/AwaitClock", {
  defaultValue: () => false
})

/**
 * @category services
 * @since 0.1.0
 */
export class Connection extends Context.Service<
  Connection,
  {
    /**
     * The session of now, or the next one if it comes in time: for as long as an answer may take. Whoever sends asks for it, and what is sent
     * on one that has ended fails at once.
     */
    readonly session: Effect.Effect<Session.Session, BlazeError.BlazeError>
    /** The session of now: fails at once when there is none. */
    readonly sessionNow: Effect.Effect<Session.Session, BlazeError.BlazeError>
    readonly inbox: Inbox.Inbox
    /** What becomes of the bot's own messages; the last 1 024 are kept for a slow subscriber. */
    readonly receipts: Stream.Stream<Envelope.MessageView>
    readonly status: SubscriptionRef.SubscriptionRef<Status>
    /** Makes a fact part of the status. */
    readonly tell: (fact: { readonly givenUp: number }) => Effect.Effect<void>
    /** Ends the connection for good. */
    readonly stop: (reason: BlazeError.BlazeError) => Effect.Effect<void>
  }
>()("effect-blaze/Connection") {}

const closed = BlazeError.make(new BlazeError.Closed({}))

const notConnected = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "there is no connection now" })
)

/** How long a bot waits for its clock to be set before it looks again. */
const clockPeriod = Duration.minutes(1)

/** How often one and the same trouble is told, in milliseconds. */
const warningPeriod = 60_000

const receiptsKept = 1024
/** How many times the usual time the first listing has at the most. */
const maximumPatience = 12
const passedOverKept = 16

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Connection,
  BlazeError.BlazeError,
  BlazeSocket.BlazeSocket | MixinApi.MixinApi | Signer.Signer | SecureRandom.SecureRandom | Telemetry.Telemetry
> = Layer.effect(
  Connection,
  Effect.gen(function* () {
    const socket = yield* BlazeSocket.BlazeSocket
    const api = yield* MixinApi.MixinApi
    const { userId } = yield* Signer.Signer
    const random = yield* SecureRandom.SecureRandom
    const policy = yield* Reconnect.Policy
    const awaitClock = yield* AwaitClock
    const clock = yield* Clock.Clock
    const stableAfter = Duration.toMillis(
      yield* Setting.duration("Reconnect.Policy.stableAfter", policy.stableAfter, "zero or more")
    )

    const status = yield* SubscriptionRef.make<Status>(Status.Connecting({ attempt: 1 }))
    // Made for the first subscriber: most bots have none.
    let receipts: PubSub.PubSub<Envelope.MessageView> | undefined
    const subscribed = Effect.suspend(() =>
      receipts === undefined
        ? Effect.map(PubSub.sliding<Envelope.MessageView>(receiptsKept), (made) => (receipts ??= made))
        : Effect.succeed(receipts)
    )
    const publish = (views: ReadonlyArray<Envelope.MessageView>) => {
      if (receipts !== undefined) for (const view of views) PubSub.publishUnsafe(receipts, view)
    }
    const tolerance = yield* Setting.count("Connection.BadFrameTolerance", yield* BadFrameTolerance, 0)
    const requestTimeout = yield* Requests.checkedTimeout
    const telemetry = yield* Telemetry.Telemetry
    const { metrics } = Telemetry
    const inbox = yield* Inbox.make
    const stopping = yield* Deferred.make<never, BlazeError.BlazeError>()
    let session = Deferred.makeUnsafe<Session.Session, BlazeError.BlazeError>()
    let endReason = closed
    let givenUp = 0
    // How many times in a row the first listing has missed its time.
    let slowListings = 0

    // Connections in a row that ended with a bad frame before they had brought anything new.
    let fruitless = 0
    let progress = 0
    const countFruitless = () => {
      if (inbox.progress.made !== progress) fruitless = 0
      progress = inbox.progress.made
      return fruitless
    }

    const once = Effect.gen(function* () {
      const wire = yield* Telemetry.withSpan(socket.open, Telemetry.span.connect).pipe(
        Effect.onExit((exit) => Effect.sync(() => telemetry.measure(metrics.connects, 1, exit._tag)))
      )
      const passedOver = yield* Queue.sliding<BlazeError.BlazeError>(passedOverKept)
      const current = yield* Session.make({
        wire,
        userId,
        random,
        inbox,
        telemetry,
        onReceipts: publish,
        passOverBadFrames: countFruitless() >= tolerance,
        onPassedOver: (problem) => Queue.offerUnsafe(passedOver, problem),
        patience: Math.min(2 ** slowListings, maximumPatience) - 1,
        whyClosed: () => endReason
      }).pipe(
        Effect.tapError(({ reason }) =>
          Effect.sync(() => (slowListings = reason._tag === "Timeout" ? slowListings + 1 : 0))
        ),
        // Refused before anything else came: the age of the token counts, as it does at the handshake.
        Effect.mapError((error) =>
          BlazeError.explain(error, { now: clock.currentTimeMillisUnsafe(), signedAt: wire.signedAt })
        )
      )
      slowListings = 0
      const began = telemetry.now()
      const since = yield* Clock.currentTimeMillis
      const { host } = wire
      const apiHost = yield* SubscriptionRef.get(api.host)
      yield* SubscriptionRef.set(status, Status.Connected({ since, badFrames: 0, givenUp, host, apiHost }))
      yield* Effect.gen(function* () {
        while (true) {
          const problems = yield* Queue.takeAll(passedOver)
          yield* Effect.logWarning(`A frame was passed over. ${problems[0].message}`)
          yield* whenConnected((status) => ({ ...status, badFrames: status.badFrames + problems.length }))
        }
      }).pipe(Effect.forkScoped)
      yield* Deferred.succeed(session, current)
      const reason = yield* Effect.flip(current.ended)
      return { reason, accepted: true, stable: telemetry.now() - began >= stableAfter }
    }).pipe(
      Effect.scoped,
      Effect.catch((reason) => Effect.succeed({ reason, accepted: false, stable: false })),
      Effect.ensuring(
        Effect.sync(() => {
          if (Deferred.isDoneUnsafe(session)) session = Deferred.makeUnsafe()
        })
      )
    )

    const whenConnected = (change: (status: Data.TaggedEnum.Value<Status, "Connected">) => Status) =>
      SubscriptionRef.update(status, (current) => (current._tag === "Connected" ? change(current) : current))

    yield* SubscriptionRef.changes(api.host).pipe(
      Stream.drop(1),
      Stream.runForEach((apiHost) => whenConnected((status) => ({ ...status, apiHost }))),
      Effect.forkScoped
    )

    // What a refusal comes to. An ERROR frame tells no time; a wrong clock is the one cause of a 401 that the bot's owner can mend at once.
    const judge = Effect.fnUntraced(function* (error: BlazeError.BlazeError) {
      const decided = yield* MixinApi.decide(error, api.me)
      if (decided.reason._tag !== "Unauthorized" || !decided.isFatal || decided.isClockWrong) return decided
      const serverTime = Option.getOrUndefined(yield* api.serverTime)
      return BlazeError.explain(decided, { now: yield* Clock.currentTimeMillis, serverTime })
    })

    let told = { message: "", at: -Infinity }
    // Told once a minute while it stays the same.
    const tell = (reason: BlazeError.BlazeError, next: string) =>
      Effect.suspend(() => {
        const { message } = reason
        const again = told.message === message && telemetry.now() - told.at < warningPeriod
        if (!again) told = { message, at: telemetry.now() }
        return Effect.logWithLevel(again ? "Debug" : "Warn")(`${message} ${next}`)
      })

    const sessions = Effect.gen(function* () {
      let pauses = yield* Elapsed.delays(policy.schedule)
      let attempt = 1
      // A token that had grown old has been forgiven, and nothing was accepted since.
      let forgiven = false
      while (true) {
        yield* SubscriptionRef.set(status, Status.Connecting({ attempt }))
        const { accepted, reason: ended, stable } = yield* once
        if (ended.reason._tag === "BadInput") fruitless = countFruitless() + 1
        if (accepted) forgiven = false
        const reason: BlazeError.BlazeError = yield* judge(forgiven ? BlazeError.standing(ended) : ended)
        if (reason.reason._tag === "Unauthorized") {
          if (reason.reason.clockDifference !== undefined) {
            telemetry.measure(metrics.clockDifference, reason.reason.clockDifference / 1000)
          }
          forgiven = !reason.isFatal
        }
        if (awaitClock && reason.isClockWrong) {
          yield* Effect.logWarning(`${reason.message} The clock is looked at again in a minute.`)
          yield* SubscriptionRef.set(status, Status.Waiting({ delay: clockPeriod, reason }))
          yield* Effect.sleep(clockPeriod)
          attempt++
          continue
        }
        if (reason.isFatal || reason.reason._tag === "InvalidSetting") return yield* reason
        if (stable) {
          pauses = yield* Elapsed.delays(policy.schedule)
          attempt = 0
        }
        const pause = yield* pauses(reason)
        if (Option.isNone(pause)) return yield* reason
        const delay = Duration.sum(pause.value, reason.retryAfter)
        telemetry.measure(metrics.reconnectDelay, Duration.toSeconds(delay))
        const wait = Duration.format(Duration.millis(Math.round(Duration.toMillis(delay))))
        yield* tell(reason, `Connecting again in ${wait}.`)
        yield* SubscriptionRef.set(status, Status.Waiting({ delay, reason }))
        yield* Effect.sleep(delay)
        attempt++
      }
    })

    const noConnection = BlazeError.make(new BlazeError.Timeout({ operation: "waiting for a connection" }))
    const current = Effect.suspend(() => {
      const awaited = Deferred.await(session)
      return Deferred.isDoneUnsafe(session)
        ? awaited
        : Effect.timeoutOrElse(awaited, { duration: requestTimeout, orElse: () => Effect.fail(noConnection) })
    })

    const stopped = (reason: BlazeError.BlazeError) =>
      Effect.suspend(() => {
        inbox.stop(reason)
        // It answers none of the requests that there will be.
        const unanswered = reason.reason._tag === "ApiFailure" ? closed : reason
        return Effect.andThen(
          Deferred.fail(session, unanswered),
          SubscriptionRef.set(status, Status.Stopped({ reason }))
        )
      })

    yield* Effect.raceFirst(sessions, Deferred.await(stopping)).pipe(
      Effect.catch(stopped),
      // A defect of ours must not leave everybody waiting in silence.
      Effect.catchDefect((defect) =>
        Effect.andThen(Effect.logFatal("The connection has ended with a defect.", defect), stopped(closed))
      ),
      Effect.onInterrupt(() => stopped(closed)),
      Effect.forkScoped
    )

    return Connection.of({
      session: current,
      sessionNow: Effect.suspend(() =>
        Deferred.isDoneUnsafe(session) ? Deferred.await(session) : Effect.fail(notConnected)
      ),
      inbox,
      // A receipt stands behind the messages, and whoever waits for it may be a handler.
      receipts: Stream.unwrap(
        Effect.gen(function* () {
          const made = yield* subscribed
          yield* inbox.urgent
          return Stream.fromPubSub(made)
        })
      ),
      status,
      stop: (reason) => {
        endReason = reason
        return Effect.asVoid(Deferred.fail(stopping, reason))
      },
      tell: (fact) => {
        givenUp = fact.givenUp
        return whenConnected((status) => ({ ...status, givenUp }))
      }
    })
  })
)
