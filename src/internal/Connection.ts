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
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Elapsed from "./Elapsed.ts"
import type * as Ids from "../Ids.ts"
import * as Inbox from "./Inbox.ts"
import * as Endpoint from "../Endpoint.ts"
import * as Answer from "./Answer.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Receipts from "./Receipts.ts"
import * as Session from "./Session.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * The state of the connection. Times are milliseconds since 1970.
 *
 * **Details**
 *
 * - `Connecting`: the handshake and the first request are under way; `attempt` counts from 1 in every streak of failures.
 * - `Connected`: messages flow; `badFrames` counts the frames of this connection that were passed over because they are not Blaze,
 *   `givenUp` the messages that this process has given up; `host` is the one it leads to, `apiHost` the one that REST requests go to.
 *   `listed` says that the server has pushed what was pending: a timer for what comes later can wait for it. The server does not mark the
 *   end of a listing, so this is what it means: the listing was answered, nothing of it is left to the server for want of room, and then
 *   no message of it came for a second in which reading did not pause. It cannot mean that nothing more will come of it, from a server
 *   that takes longer between two of them, nor that the messages have been handled, or handed out. It is false again while something is
 *   left to the server, and on the next connection.
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
    readonly listed: boolean
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
    /** What becomes of the bot's own messages. */
    readonly receipts: Pick<Receipts.Receipts, "stream" | "expect" | "listen">
    readonly status: SubscriptionRef.SubscriptionRef<Status>
    /** Waits for ids of messages that somebody else is to have, unless a handler has begun with them here. */
    readonly withdrawn: Effect.Effect<ReadonlyArray<Ids.MessageId>>
    /** Makes a fact part of the status. */
    readonly tell: (fact: { readonly givenUp: number }) => Effect.Effect<void>
    /** Ends the connection for good. */
    readonly stop: (reason: BlazeError.BlazeError) => Effect.Effect<void>
  }
>()("effect-blaze/Connection") {}

/**
 * Why nothing more comes of a bot that has ended.
 *
 * @category errors
 * @since 0.1.0
 */
export const closed: BlazeError.BlazeError = BlazeError.make(new BlazeError.Closed({}))

/**
 * Whether no further connection can be of use.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isLast = (error: BlazeError.BlazeError): boolean => error.isFatal || error.reason._tag === "InvalidSetting"

const notConnected = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "there is no connection now" })
)

const noConnection = BlazeError.make(new BlazeError.Timeout({ operation: "waiting for a connection" }))

/** How long a bot waits for its clock to be set before it looks again. */
const clockPeriod = Duration.minutes(1)

/** How often one and the same trouble is told, in milliseconds. */
const warningPeriod = 60_000

/** How many times the usual time the first listing has at the most. */
const maximumPatience = 12

/** The session of now, for whoever sends. */
const makeCurrent = (timeout: Duration.Duration) => {
  let session = Deferred.makeUnsafe<Session.Session, BlazeError.BlazeError>()
  return {
    begin: (current: Session.Session) => Deferred.succeed(session, current),
    end: () => {
      if (Deferred.isDoneUnsafe(session)) session = Deferred.makeUnsafe()
    },
    fail: (reason: BlazeError.BlazeError) => Deferred.fail(session, reason),
    awaited: Effect.suspend(() => {
      const awaited = Deferred.await(session)
      return Deferred.isDoneUnsafe(session)
        ? awaited
        : Effect.timeoutOrElse(awaited, { duration: timeout, orElse: () => Effect.fail(noConnection) })
    }),
    now: Effect.suspend(() => (Deferred.isDoneUnsafe(session) ? Deferred.await(session) : Effect.fail(notConnected)))
  }
}

/** The status, and what is known of a connection for as long as it lasts. */
const makeStatus = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make<Status>(Status.Connecting({ attempt: 1 }))
  let givenUp = 0
  const set = (status: Status) => SubscriptionRef.set(ref, status)
  const whenConnected = (change: (status: Data.TaggedEnum.Value<Status, "Connected">) => Status) =>
    SubscriptionRef.update(ref, (current) => (current._tag === "Connected" ? change(current) : current))
  return {
    ref,
    set,
    whenConnected,
    connected: (facts: { readonly since: number; readonly host: string; readonly apiHost: string }) =>
      set(Status.Connected({ listed: false, badFrames: 0, givenUp, ...facts })),
    tell: (fact: { readonly givenUp: number }) => {
      givenUp = fact.givenUp
      return whenConnected((status) => ({ ...status, givenUp }))
    }
  }
})

type CurrentStatus = Effect.Success<typeof makeStatus>

/** Counts connections in a row that ended with a bad frame before they had brought anything new. */
const makeFruitless = (progress: Inbox.Inbox["progress"]) => {
  let fruitless = 0
  let seen = 0
  const count = () => {
    if (progress.made !== seen) fruitless = 0
    seen = progress.made
    return fruitless
  }
  return {
    count,
    ended: (reason: BlazeError.BlazeError) => {
      if (reason.reason._tag === "BadInput") fruitless = count() + 1
    }
  }
}

/** The frames of a connection that were passed over: one problem speaks for all that came before it is told. */
interface PassedOver {
  readonly count: number
  readonly untold: Queue.Dequeue<BlazeError.BlazeError>
}

/** Tells of them: in the status at once, in the log once a minute. */
const makeWarnOfPassedOver = (status: CurrentStatus, now: () => number) => {
  const seldom = Elapsed.seldom(now, warningPeriod)
  return (passedOver: PassedOver) =>
    Effect.gen(function* () {
      while (true) {
        const sentence = `A frame was passed over. ${(yield* Queue.take(passedOver.untold)).message}`
        yield* seldom(
          () => Effect.logWarning(sentence),
          () => Effect.logDebug(sentence)
        )
        yield* status.whenConnected((status) => ({ ...status, badFrames: passedOver.count }))
      }
    })
}

/** One session after the other: what is made of each, from the handshake to its end. */
const makeSession = Effect.fnUntraced(function* (
  inbox: Inbox.Inbox,
  status: CurrentStatus,
  current: ReturnType<typeof makeCurrent>,
  fruitless: ReturnType<typeof makeFruitless>,
  receipts: Receipts.Receipts,
  whyClosed: Session.Options["whyClosed"]
) {
  const socket = yield* BlazeSocket.BlazeSocket
  const api = yield* MixinApi.MixinApi
  const { userId } = yield* Signer.Signer
  const random = yield* SecureRandom.SecureRandom
  const meter = yield* Meter.Meter
  const clock = yield* Clock.Clock
  const settings = yield* Settings.checked
  const stableAfter = Duration.toMillis(settings.stableAfter)
  const warnOfPassedOver = makeWarnOfPassedOver(status, meter.now)
  // How many times in a row the first listing has missed its time.
  let slowListings = 0

  return Effect.gen(function* () {
    const missedReceipts = yield* receipts.begin
    const wire = yield* Meter.withSpan(socket.open, Telemetry.span.connect).pipe(
      Effect.onExit((exit) => Effect.sync(() => meter.measure(Telemetry.metrics.connects, 1, exit._tag)))
    )
    const passedOver = { count: 0, untold: yield* Queue.dropping<BlazeError.BlazeError>(1) }
    const session = yield* Session.make({
      whyClosed,
      onReceipts: receipts.publish,
      wire,
      userId,
      random,
      inbox,
      meter,
      passOverBadFrames: fruitless.count() >= settings.badFrameTolerance,
      onPassedOver: (problem) => {
        passedOver.count++
        Queue.offerUnsafe(passedOver.untold, problem)
      },
      patience: Math.min(2 ** slowListings, maximumPatience) - 1
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
    const began = meter.now()
    const since = yield* Clock.currentTimeMillis
    const apiHost = yield* SubscriptionRef.get(api.host)
    yield* status.connected({ since, host: wire.host, apiHost })
    yield* Effect.forkScoped(warnOfPassedOver(passedOver))
    yield* Effect.forkScoped(
      session.watchListing((listed) => status.whenConnected((status) => ({ ...status, listed })))
    )
    yield* current.begin(session)
    yield* Effect.forkScoped(missedReceipts)
    const reason = yield* Effect.flip(session.ended)
    return { reason, accepted: true, stable: meter.now() - began >= stableAfter }
  }).pipe(
    Effect.scoped,
    Effect.catch((reason) => Effect.succeed({ reason, accepted: false, stable: false })),
    Effect.ensuring(Effect.sync(current.end))
  )
})

/** What a refusal comes to: its reason told in full, and whether that is the end. */
const makeJudge = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const meter = yield* Meter.Meter
  // A token that had grown old has been forgiven, and nothing was accepted since.
  let forgiven = false

  // An ERROR frame tells no time; a wrong clock is the one cause of a 401 that the bot's owner can mend at once.
  const decide = Effect.fnUntraced(function* (error: BlazeError.BlazeError) {
    const decided = yield* Answer.decide(error, api.request(Endpoint.me, {}))
    if (decided.reason._tag !== "Unauthorized" || !decided.isFatal || decided.isClockWrong) return decided
    const serverTime = Option.getOrUndefined(yield* api.serverTime)
    return BlazeError.explain(decided, { now: yield* Clock.currentTimeMillis, serverTime })
  })

  return Effect.fnUntraced(function* (ended: BlazeError.BlazeError, accepted: boolean) {
    if (accepted) forgiven = false
    const reason: BlazeError.BlazeError = yield* decide(forgiven ? BlazeError.standing(ended) : ended)
    if (reason.reason._tag !== "Unauthorized") return reason
    const { clockDifference } = reason.reason
    if (clockDifference !== undefined) meter.measure(Telemetry.metrics.clockDifference, clockDifference / 1000)
    forgiven = !reason.isFatal
    return reason
  })
})

/** Tells once a minute what stays the same. */
const makeTell = (now: () => number) => {
  let told = { message: "", at: -Infinity }
  return ({ message }: BlazeError.BlazeError, next: string) =>
    Effect.suspend(() => {
      const again = told.message === message && now() - told.at < warningPeriod
      if (!again) told = { message, at: now() }
      return Effect.logWithLevel(again ? "Debug" : "Warn")(`${message} ${next}`)
    })
}

/** Sessions in a row, until one ends for a reason that is the last. */
const makeSessions = Effect.fnUntraced(function* (
  runSession: Effect.Success<ReturnType<typeof makeSession>>,
  status: CurrentStatus,
  fruitless: ReturnType<typeof makeFruitless>
) {
  const { awaitClock, reconnect } = yield* Settings.checked
  const meter = yield* Meter.Meter
  const judge = yield* makeJudge
  const tell = makeTell(meter.now)

  return Effect.gen(function* () {
    let pauses = yield* Elapsed.delays(reconnect)
    let attempt = 1
    while (true) {
      yield* status.set(Status.Connecting({ attempt }))
      const { accepted, reason: ended, stable } = yield* runSession
      fruitless.ended(ended)
      if (stable) {
        pauses = yield* Elapsed.delays(reconnect)
        attempt = 0
      }
      const reason = yield* judge(ended, accepted)
      if (awaitClock && reason.isClockWrong) {
        yield* Effect.logWarning(`${reason.message} The clock is looked at again in a minute.`)
        yield* status.set(Status.Waiting({ delay: clockPeriod, reason }))
        yield* Effect.sleep(clockPeriod)
        attempt++
        continue
      }
      if (isLast(reason)) return yield* reason
      const pause = yield* pauses(reason)
      if (Option.isNone(pause)) return yield* reason
      const delay = Duration.sum(pause.value, reason.retryAfter)
      meter.measure(Telemetry.metrics.reconnectDelay, Duration.toSeconds(delay))
      const wait = Duration.format(Duration.millis(Math.round(Duration.toMillis(delay))))
      yield* tell(reason, `Connecting again in ${wait}.`)
      yield* status.set(Status.Waiting({ delay, reason }))
      yield* Effect.sleep(delay)
      attempt++
    }
  })
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Connection["Service"],
  BlazeError.BlazeError,
  BlazeSocket.BlazeSocket | MixinApi.MixinApi | Signer.Signer | SecureRandom.SecureRandom | Meter.Meter | Scope.Scope
> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const status = yield* makeStatus
  const current = makeCurrent((yield* Settings.checked).requestTimeout)
  const inbox = yield* Inbox.make
  const receipts = yield* Receipts.make(inbox)
  const fruitless = makeFruitless(inbox.progress)
  const stopping = yield* Deferred.make<never, BlazeError.BlazeError>()
  let endReason = closed

  const runSession = yield* makeSession(inbox, status, current, fruitless, receipts, () => endReason)
  const sessions = yield* makeSessions(runSession, status, fruitless)

  yield* SubscriptionRef.changes(api.host).pipe(
    Stream.drop(1),
    Stream.runForEach((apiHost) => status.whenConnected((status) => ({ ...status, apiHost }))),
    Effect.forkScoped
  )

  const stopped = (reason: BlazeError.BlazeError) =>
    Effect.suspend(() => {
      inbox.stop(reason)
      receipts.stop(reason)
      // It answers none of the requests that there will be.
      const unanswered = reason.reason._tag === "ApiFailure" ? closed : reason
      return Effect.andThen(current.fail(unanswered), status.set(Status.Stopped({ reason })))
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
    session: current.awaited,
    sessionNow: current.now,
    inbox,
    receipts,
    status: status.ref,
    withdrawn: Effect.never,
    stop: (reason) => {
      endReason = reason
      return Effect.asVoid(Deferred.fail(stopping, reason))
    },
    tell: status.tell
  })
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Connection,
  BlazeError.BlazeError,
  BlazeSocket.BlazeSocket | MixinApi.MixinApi | Signer.Signer | SecureRandom.SecureRandom | Meter.Meter
> = Layer.effect(Connection, make)
