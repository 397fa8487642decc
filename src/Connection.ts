/**
 * Sessions in a row: one bot's connection as the rest of the library sees it, whatever happens to the sockets below.
 *
 * Guarantee: it comes back by the reconnect policy for as long as that says so, never after the server refused the bot, and its
 * status is data; messages keep the order in which they arrived.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "./BlazeError.ts"
import * as BlazeSocket from "./BlazeSocket.ts"
import type * as Envelope from "./Envelope.ts"
import type * as Message from "./Message.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Reconnect from "./Reconnect.ts"
import * as Session from "./Session.ts"
import * as Signer from "./Signer.ts"
import * as Telemetry from "./Telemetry.ts"

/**
 * The state of the connection. Times are milliseconds since 1970.
 *
 * **Details**
 *
 * - `Connecting`: the handshake and the first request are under way; `attempt` counts from 1 in every streak of failures.
 * - `Connected`: messages flow; `badFrames` counts the frames of this connection that were passed over because they are not Blaze.
 * - `Waiting`: the next attempt is `delay` away, because of `reason`.
 * - `Stopped`: it will not be tried again, because of `reason`.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = Data.TaggedEnum<{
  Connecting: { readonly attempt: number }
  Connected: { readonly since: number; readonly badFrames: number }
  Waiting: { readonly delay: Duration.Duration; readonly reason: BlazeError.BlazeError }
  Stopped: { readonly reason: BlazeError.BlazeError }
}>
/** @since 0.1.0 */
export const Status = Data.taggedEnum<Status>()

/**
 * How many messages, and how many bytes of them, may wait for the handlers before reading pauses: 1 000 and 8 MiB.
 *
 * @category references
 * @since 0.1.0
 */
export const InboxSize = Context.Reference<{ readonly messages: number; readonly bytes: number }>(
  "effect-blaze/Connection/InboxSize",
  { defaultValue: () => ({ messages: 1000, bytes: 8 * 1024 * 1024 }) }
)

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
 * @category services
 * @since 0.1.0
 */
export class Connection extends Context.Service<
  Connection,
  {
    /** Sends a request on the current session, or on the next one, and gives the `data` of its answer. */
    readonly request: (action: string, params?: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
    /** The messages that have arrived, at least one; for one consumer. Fails once the connection has stopped and all are taken. */
    readonly take: Pull.Pull<Arr.NonEmptyReadonlyArray<Message.Message>, BlazeError.BlazeError>
    /** Ends `take` at once; what was not taken stays with the server. The connection goes on. */
    readonly endTake: Effect.Effect<void>
    readonly receipts: PubSub.PubSub<Envelope.MessageView>
    readonly status: SubscriptionRef.SubscriptionRef<Status>
    /** Fails at once when there is no session now. */
    readonly requestNow: (action: string, params?: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
    /** Waits until there is a session. */
    readonly ready: Effect.Effect<void, BlazeError.BlazeError>
    /** Hands a message out again, behind those that wait. */
    readonly offer: (message: Message.Message) => void
    /** Something new was handed out: the connection is of use. */
    readonly progressed: () => void
    readonly telemetry: Telemetry.Telemetry
    /** Ends the connection for good. */
    readonly stop: (reason: BlazeError.BlazeError) => Effect.Effect<void>
  }
>()("effect-blaze/Connection") {}

const makeInbox = (size: { readonly messages: number; readonly bytes: number }) => {
  let messages: Array<Message.Message> = []
  let bytes = 0
  let onRoom: (() => void) | undefined
  let taker: (() => void) | undefined
  let stopped: BlazeError.BlazeError | undefined
  let ended = false
  const notify = () => {
    const current = taker
    taker = undefined
    current?.()
  }
  return {
    messages: (arrived: ReadonlyArray<Message.Message>) => {
      if (messages.length === 0) messages = arrived.slice()
      else for (const message of arrived) messages.push(message)
      for (const message of arrived) bytes += message.size
      notify()
    },
    hasRoom: () => messages.length < size.messages && bytes < size.bytes,
    onRoom: (callback: () => void) => {
      onRoom = callback
    },
    stop: (reason: BlazeError.BlazeError) => {
      stopped = reason
      notify()
    },
    end: () => {
      ended = true
      notify()
    },
    take: Effect.callback<Arr.NonEmptyReadonlyArray<Message.Message>, BlazeError.BlazeError | Cause.Done>((resume) => {
      const attempt = () => {
        if (ended) resume(Cause.done())
        else if (Arr.isArrayNonEmpty(messages)) {
          const taken = messages
          messages = []
          bytes = 0
          resume(Effect.succeed(taken))
          onRoom?.()
        } else if (stopped !== undefined) resume(Effect.fail(stopped))
        else taker = attempt
      }
      attempt()
      return Effect.sync(() => {
        if (taker === attempt) taker = undefined
      })
    })
  }
}

const closed = BlazeError.make(new BlazeError.Closed({}))

const notConnected = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "there is no connection now" })
)

const receiptsKept = 1024
const passedOverKept = 16

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Connection,
  never,
  BlazeSocket.BlazeSocket | MixinApi.MixinApi | Signer.Signer | SecureRandom.SecureRandom
> = Layer.effect(
  Connection,
  Effect.gen(function* () {
    const socket = yield* BlazeSocket.BlazeSocket
    const api = yield* MixinApi.MixinApi
    const { userId } = yield* Signer.Signer
    const random = yield* SecureRandom.SecureRandom
    const policy = yield* Reconnect.Policy
    const stableAfter = Duration.toMillis(policy.stableAfter)

    const status = yield* SubscriptionRef.make<Status>(Status.Connecting({ attempt: 1 }))
    const receipts = yield* PubSub.sliding<Envelope.MessageView>(receiptsKept)
    const inbox = makeInbox(yield* InboxSize)
    const tolerance = yield* BadFrameTolerance
    const telemetry = yield* Telemetry.make(userId)
    const { metrics } = Telemetry
    const stopping = yield* Deferred.make<never, BlazeError.BlazeError>()
    let session = Deferred.makeUnsafe<Session.Session, BlazeError.BlazeError>()

    // Connections in a row that ended with a bad frame before they had brought anything new.
    let barren = 0

    const once = Effect.gen(function* () {
      const wire = yield* Effect.withSpan(socket.open, Telemetry.span.connect).pipe(
        Effect.onExit((exit) => Effect.sync(() => telemetry.measure(metrics.connects, 1, exit._tag)))
      )
      const passedOver = yield* Queue.sliding<BlazeError.BlazeError>(passedOverKept)
      const current = yield* Session.make({
        wire,
        userId,
        random,
        inbox: { ...inbox, receipts: (views) => views.forEach((view) => PubSub.publishUnsafe(receipts, view)) },
        telemetry,
        passOverBadFrames: barren >= tolerance,
        onPassedOver: (problem) => Queue.offerUnsafe(passedOver, problem)
      })
      const since = yield* Clock.currentTimeMillis
      yield* SubscriptionRef.set(status, Status.Connected({ since, badFrames: 0 }))
      yield* Effect.gen(function* () {
        let badFrames = 0
        while (true) {
          const problems = yield* Queue.takeAll(passedOver)
          badFrames += problems.length
          yield* Effect.logWarning(`A frame was passed over. ${problems[0].message}`)
          yield* SubscriptionRef.set(status, Status.Connected({ since, badFrames }))
        }
      }).pipe(Effect.forkScoped)
      yield* Deferred.succeed(session, current)
      const reason = yield* Effect.flip(current.ended)
      return { reason, stable: (yield* Clock.currentTimeMillis) - since >= stableAfter }
    }).pipe(
      Effect.scoped,
      Effect.catch((reason) => Effect.succeed({ reason, stable: false })),
      Effect.ensuring(
        Effect.sync(() => {
          if (Deferred.isDoneUnsafe(session)) session = Deferred.makeUnsafe()
        })
      )
    )

    // An ERROR frame tells no time; a wrong clock is the one cause of a 401 that the bot's owner can mend at once.
    const explain = Effect.fnUntraced(function* (error: BlazeError.BlazeError) {
      if (error.reason._tag !== "Unauthorized" || error.reason.clockDifference !== undefined) return error
      const time = yield* api.serverTime
      return BlazeError.unauthorized(yield* Clock.currentTimeMillis, Option.getOrUndefined(time))
    })

    const sessions = Effect.gen(function* () {
      let step = yield* Schedule.toStep(policy.schedule)
      let attempt = 1
      while (true) {
        yield* SubscriptionRef.set(status, Status.Connecting({ attempt }))
        const { reason, stable } = yield* once
        if (reason.reason._tag === "BadInput") barren++
        if (reason.isFatal || !reason.isRetryable) {
          const explained = yield* explain(reason)
          if (explained.reason._tag === "Unauthorized" && explained.reason.clockDifference !== undefined) {
            telemetry.measure(metrics.clockDifference, explained.reason.clockDifference / 1000)
          }
          return yield* explained
        }
        if (stable) {
          step = yield* Schedule.toStep(policy.schedule)
          attempt = 0
        }
        const next = yield* Effect.exit(step(yield* Clock.currentTimeMillis, reason))
        if (Exit.isFailure(next)) return yield* reason
        const [, delay] = next.value
        telemetry.measure(metrics.reconnectDelay, Duration.toSeconds(delay))
        yield* Effect.logInfo(`${reason.message} Connecting again in ${Duration.format(delay)}.`)
        yield* SubscriptionRef.set(status, Status.Waiting({ delay, reason }))
        yield* Effect.sleep(delay)
        attempt++
      }
    })

    const stopped = (reason: BlazeError.BlazeError) =>
      Effect.suspend(() => {
        inbox.stop(reason)
        return Effect.andThen(Deferred.fail(session, reason), SubscriptionRef.set(status, Status.Stopped({ reason })))
      })

    yield* Effect.raceFirst(sessions, Deferred.await(stopping)).pipe(
      Effect.catch(stopped),
      Effect.onInterrupt(() => stopped(closed)),
      Effect.forkScoped
    )

    return Connection.of({
      request: (action, params) =>
        Effect.flatMap(
          Effect.suspend(() => Deferred.await(session)),
          (current) => current.request(action, params)
        ),
      requestNow: (action, params) =>
        Effect.suspend(() =>
          Deferred.isDoneUnsafe(session)
            ? Effect.flatMap(Deferred.await(session), (current) => current.request(action, params))
            : Effect.fail(notConnected)
        ),
      ready: Effect.suspend(() => Effect.asVoid(Deferred.await(session))),
      offer: (message) => inbox.messages([message]),
      progressed: () => {
        barren = 0
      },
      telemetry,
      take: inbox.take,
      endTake: Effect.sync(inbox.end),
      receipts,
      status,
      stop: (reason) => Effect.asVoid(Deferred.fail(stopping, reason))
    })
  })
)
