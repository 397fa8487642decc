/**
 * Acknowledgements in batches.
 *
 * Guarantee: whatever was offered is acknowledged: batches are retried one by one, survive a reconnect, and are flushed when the
 * scope closes; what missed the deadline then is logged by id.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Acks from "../Acks.ts"
import * as BlazeError from "../BlazeError.ts"
import * as Connection from "./Connection.ts"
import * as Elapsed from "./Elapsed.ts"
import * as ErrorKind from "./ErrorKind.ts"
import * as Ids from "../Ids.ts"
import type * as MixinApi from "../MixinApi.ts"
import * as Settings from "../Settings.ts"
import * as States from "./States.ts"
import * as Signal from "./Signal.ts"
import * as Store from "../Store.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Acknowledgements extends Context.Service<
  Acknowledgements,
  {
    /** Acknowledges a message with the next batch. It never waits: it is called where nothing can be interrupted. */
    readonly offer: (id: Ids.MessageId) => void
    /** Waits while too many acknowledgements are under way, and there may be more messages: for whoever hands them out. */
    readonly room: Effect.Effect<void>
    /** Sends what is left and waits for the answers, bounded by the setting `flushTimeout`; nothing can be offered after that. */
    readonly flush: Effect.Effect<void>
  }
>()("effect-blaze/internal/Acknowledgements") {}

// The server does not take the request as it is: unreadable, an invalid field (a message id).
const isRefusal = (error: BlazeError.BlazeError) => error.reason._tag === "ApiFailure" && !error.isRetryable

/** A transport that dies of something: what follows may pass, and the rest has to be acknowledged. */
const brokenBy = (defect: unknown) =>
  BlazeError.make(
    new BlazeError.BadInput({ problem: `the transport of acknowledgements has died${ErrorKind.of(defect)}` })
  )

/** How often it is told that acknowledgements fail, in milliseconds. */
const warningPeriod = 60_000

const closingDelay = Duration.millis(500)

/** The pause before a retry schedule begins anew, which may be one that does not wait at all. */
const restartDelay = Duration.seconds(30)

/** How many turns of the scheduler a try has whose deadline is zero: enough for whatever answers without waiting for time. */
const turns = 100

/** What was offered and is not confirmed, bounded for whoever hands out messages. */
const makeUnconfirmed = (meter: Meter.Meter["Service"], closing: Deferred.Deferred<void>) => {
  const ids = new Set<Ids.MessageId>()
  const signal = Signal.make()
  const hasRoom = () => ids.size < Acks.maximumUnderWay || Deferred.isDoneUnsafe(closing)
  const measure = () => meter.measure(Telemetry.metrics.acksPending, ids.size)
  return {
    ids,
    measure,
    hasRoom,
    awaitRoom: signal.until(hasRoom),
    close: Effect.andThen(Deferred.succeed(closing, undefined), Effect.sync(signal.notify)),
    remove: (removed: Iterable<Ids.MessageId>) => {
      for (const id of removed) ids.delete(id)
      if (hasRoom()) signal.notify()
      measure()
    }
  }
}

/** Has a batch acknowledged, however often it has to be sent; it fails once another try makes no sense. */
const makeInsist = Effect.fnUntraced(function* (
  closing: Deferred.Deferred<void>,
  flushTimeout: Duration.Duration,
  isHopeless: (error: BlazeError.BlazeError) => boolean,
  warn: (error: BlazeError.BlazeError) => Effect.Effect<void>
) {
  const transport = yield* Acks.Transport
  const { acknowledgeRetry: retry } = yield* Settings.checked
  // While closing there is a deadline, and no sense in a long wait; nor has the end of the bot to wait for a pause.
  const pause = (delay: Duration.Duration) =>
    Effect.suspend(() =>
      Deferred.isDoneUnsafe(closing)
        ? Effect.sleep(Duration.min(delay, closingDelay))
        : Effect.raceFirst(Effect.sleep(delay), Deferred.await(closing))
    )

  return Effect.fnUntraced(function* (ids: ReadonlyArray<Ids.MessageId>) {
    let pauses = yield* Elapsed.delays(retry)
    while (true) {
      const last = Deferred.isDoneUnsafe(closing) && Duration.isZero(flushTimeout)
      const exit = yield* Effect.exit(
        Effect.suspend(() => transport.acknowledge(ids.map((message_id) => ({ message_id, status: "READ" }))))
      )
      if (Exit.isSuccess(exit)) return
      const error = Option.getOrElse(Cause.findErrorOption(exit.cause), () => brokenBy(Cause.squash(exit.cause)))
      if (isHopeless(error) || last) return yield* error
      yield* warn(error)
      // Halves may pass where the whole is too large.
      if (error.isTooLarge && ids.length > 1) return yield* error
      const next = yield* pauses(error)
      // There is no last time: a schedule that comes to its end begins anew.
      if (Option.isNone(next)) pauses = yield* Elapsed.delays(retry)
      const delay = Option.getOrElse(next, () => restartDelay)
      yield* pause(Duration.sum(delay, error.retryAfter))
    }
  })
})

/** A handler that has outlived the end of the bot: its message comes back, and nothing else would tell why. */
const makeLate = (fork: (effect: Effect.Effect<void>) => void) => {
  const late: Array<Ids.MessageId> = []
  const tell = Effect.andThen(
    Effect.yieldNow,
    Effect.suspend(() => {
      const ids = late.splice(0)
      return Effect.logWarning(
        `${ids.length} messages were handled after the bot had ended, too late to be acknowledged, and will come back: ${Ids.list(ids)}`
      )
    })
  )
  return (id: Ids.MessageId) => {
    if (late.push(id) === 1) fork(tell)
  }
}

const tellOfFailed = (count: number, cause: Cause.Cause<unknown>) =>
  Effect.logError(
    `${count} messages cannot be acknowledged for now${ErrorKind.of(Cause.squash(cause))}; they come back, and are acknowledged then.`
  )

/** Says what becomes of a batch. */
const makeSend = Effect.fnUntraced(function* (
  unconfirmed: ReturnType<typeof makeUnconfirmed>,
  closing: Deferred.Deferred<void>,
  flushTimeout: Duration.Duration
) {
  const connection = yield* Connection.Connection
  const states = yield* States.States
  const { awaitClock } = yield* Settings.checked
  const meter = yield* Meter.Meter
  const { metrics } = Telemetry

  // Only a clock that is waited for can be set.
  const isFatal = (error: BlazeError.BlazeError) => error.isFatal && !(awaitClock && error.isClockWrong)

  // One line a minute speaks for all batches that fail.
  const seldom = Elapsed.seldom(meter.now, warningPeriod)
  const warn = (error: BlazeError.BlazeError) =>
    seldom(() => Effect.logWarning(`${unconfirmed.ids.size} messages are not acknowledged yet. ${error.message}`))

  const insist = yield* makeInsist(closing, flushTimeout, (error) => isFatal(error) || isRefusal(error), warn)

  const done = (ids: ReadonlyArray<Ids.MessageId>) =>
    Effect.andThen(
      states.confirm(ids),
      Effect.sync(() => unconfirmed.remove(ids))
    )

  const acknowledge: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void> = Effect.fnUntraced(function* (ids) {
    if (ids.length === 0) return
    const result = yield* Effect.result(insist(ids))
    if (Result.isSuccess(result)) return yield* done(ids)
    const error = result.failure
    if (isFatal(error)) return yield* connection.stop(error)
    // Only the end of the bot ends the tries of a batch that is not refused; flush tells what is left.
    if (!isRefusal(error) && !(error.isTooLarge && ids.length > 1)) return
    if (ids.length > 1) {
      // One id that the server does not take spoils the batch, or it is too large: halve it until the id is alone.
      const middle = Math.ceil(ids.length / 2)
      yield* acknowledge(ids.slice(0, middle))
      return yield* acknowledge(ids.slice(middle))
    }
    meter.measure(metrics.acksDropped, 1)
    yield* Effect.logError(`The server does not take the acknowledgement of message ${ids.join()}; it is dropped.`)
    yield* done(ids)
  })

  // Another process has handled them meanwhile, and says so to the server itself; or nothing could be stored of them.
  const leave = (ids: ReadonlyArray<Ids.MessageId>, claims: ReadonlyArray<Store.Claim>) => {
    for (const id of ids) states.become(id, "Forgotten")
    unconfirmed.remove(ids)
    if (claims.includes("Unstored")) connection.inbox.forget()
    return claims.includes("Conflict") ? Effect.logError(States.othersHave(ids)) : Effect.void
  }

  // One that dies of something keeps no other from being acknowledged: the server is asked for its messages, which are known to be handled.
  const failed = (ids: ReadonlyArray<Ids.MessageId>) => (cause: Cause.Cause<unknown>) => {
    unconfirmed.remove(ids)
    connection.inbox.forget()
    return tellOfFailed(ids.length, cause)
  }

  return (ids: ReadonlyArray<Ids.MessageId>) => {
    const sending = Effect.suspend(() => {
      const began = meter.now()
      meter.measure(metrics.ackBatch, ids.length)
      unconfirmed.measure()
      return Effect.ensuring(
        Effect.flatMap(states.commit(ids, Store.Handled), (claims) => {
          const others = ids.filter((_, index) => !States.isOwn(claims[index]))
          if (others.length === 0) return acknowledge(ids)
          const own = ids.filter((_, index) => States.isOwn(claims[index]))
          return Effect.andThen(leave(others, claims), acknowledge(own))
        }),
        Effect.sync(() => meter.measure(metrics.ackTime, (meter.now() - began) / 1000))
      )
    })
    return Meter.withSpan(Effect.catchCause(sending, failed(ids)), Telemetry.span.acknowledge, { size: ids.length })
  }
})

const makeOver = Effect.gen(function* () {
  const transport = yield* Acks.Transport
  const { inbox } = yield* Connection.Connection
  const { acknowledgeBatch, acknowledgeWithin, flushTimeout } = yield* Settings.checked
  const queue = yield* Queue.unbounded<Ids.MessageId, Cause.Done>()
  const closing = yield* Deferred.make<void>()
  const unconfirmed = makeUnconfirmed(yield* Meter.Meter, closing)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const late = makeLate(fork)
  const send = yield* makeSend(unconfirmed, closing, flushTimeout)

  // Not in the scope of the layer: interrupting groupedWithin would lose the open batch, so the end of the queue ends it.
  const work = Stream.fromQueue(queue).pipe(
    Stream.groupedWithin(Math.min(acknowledgeBatch, transport.maximum), acknowledgeWithin),
    Stream.mapEffect(send, { concurrency: transport.atOnce, unordered: true }),
    Stream.runDrain
  )
  // From the first acknowledgement on: many bots are idle.
  let worker: Fiber.Fiber<void> | undefined

  const flush = Effect.gen(function* () {
    yield* unconfirmed.close
    yield* Queue.end(queue)
    if (worker === undefined) return
    const deadline = Duration.isZero(flushTimeout)
      ? Effect.repeat(Effect.yieldNow, { times: turns })
      : Effect.sleep(flushTimeout)
    yield* Effect.raceFirst(Fiber.await(worker), deadline)
    yield* Fiber.interrupt(worker)
    if (unconfirmed.ids.size > 0) {
      yield* Effect.logWarning(
        `These messages were handled but not acknowledged in time, and will come back: ${Ids.list(unconfirmed.ids)}`
      )
      unconfirmed.remove([...unconfirmed.ids])
    }
  })
  yield* Effect.addFinalizer(() => flush)

  const room = transport.behindMessages ? inbox.urgently(unconfirmed.awaitRoom) : unconfirmed.awaitRoom

  return Acknowledgements.of({
    offer: (id) => {
      if (!Queue.offerUnsafe(queue, id)) return late(id)
      unconfirmed.ids.add(id)
      worker ??= fork(work)
    },
    room: Effect.suspend(() => (unconfirmed.hasRoom() ? Effect.void : Effect.raceFirst(room, inbox.ended))),
    flush
  })
})

// Their answers may be late: no handler waits for them.
const request = Effect.map(
  Connection.Connection,
  ({ session }): Acks.SocketRequest["Service"] =>
    (action, params) =>
      Effect.flatMap(session, ({ request }) => request(action, params, { patient: true }))
)

/**
 * Over a transport of one's choice.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (transport: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi>) =>
  Effect.flatMap(Effect.provideServiceEffect(Layer.build(transport), Acks.SocketRequest, request), (context) =>
    Effect.provideContext(makeOver, context)
  )

/**
 * Over a transport of one's choice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  transport: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi>
): Layer.Layer<
  Acknowledgements,
  BlazeError.BlazeError,
  Connection.Connection | MixinApi.MixinApi | States.States | Meter.Meter
> => Layer.effect(Acknowledgements, make(transport))
