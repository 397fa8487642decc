/**
 * One connection from its first request to its end.
 *
 * Guarantee: `LIST_PENDING_MESSAGES` goes first; requests are matched to answers by id, each with a timeout; answers and the
 * bot's own echoes never come out as messages; after a bad frame nothing of this connection is dispatched; what waits is bounded,
 * and yet no answer waits behind messages.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as MutableList from "effect/MutableList"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BlazeError from "./BlazeError.ts"
import type * as BlazeSocket from "./BlazeSocket.ts"
import * as Envelope from "./Envelope.ts"
import type * as Ids from "./Ids.ts"
import * as Message from "./Message.ts"
import * as Telemetry from "./Telemetry.ts"

/**
 * How long an answer may take: 5 seconds. Source: the official Node and Flutter clients.
 *
 * **Details**
 *
 * An answer travels behind the messages that the server wrote before it. While more than a megabyte comes in within that time, it
 * starts anew, twelve times at most.
 *
 * @category references
 * @since 0.1.0
 */
export const RequestTimeout = Context.Reference<Duration.Input>("effect-blaze/Session/RequestTimeout", {
  defaultValue: () => "5 seconds"
})

/**
 * How many bytes of messages are kept, compressed as they came, while the inbox is full and a request is out: 64 MiB. Beyond it
 * messages are left to the server, which is asked for them again when there is room.
 *
 * @category references
 * @since 0.1.0
 */
export const OverflowSize = Context.Reference<number>("effect-blaze/Session/OverflowSize", {
  defaultValue: () => 64 * 1024 * 1024
})

/**
 * Where a session puts what arrives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inbox {
  readonly messages: (messages: ReadonlyArray<Message.Message>) => void
  readonly receipts: (receipts: ReadonlyArray<Envelope.MessageView>) => void
  readonly hasRoom: () => boolean
  /** Calls back, again and again, whenever there is room that there was not before. */
  readonly onRoom: (callback: () => void) => void
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Sends a request and waits for its answer, the `data` of which it gives. */
  readonly request: (action: string, params?: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
  /** Fails with the reason when the connection ends. */
  readonly ended: Effect.Effect<never, BlazeError.BlazeError>
}

const closed = BlazeError.make(new BlazeError.Closed({}))

const notReading = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "the server does not read what we write" })
)

const messageActions: ReadonlySet<string> = new Set([
  Envelope.Action.createMessage,
  Envelope.Action.createCall,
  Envelope.Action.createKraken
])

const isReceipt = (action: string, view: Envelope.MessageView) =>
  action === Envelope.Action.acknowledgeReceipt || view.source === Envelope.Action.acknowledgeReceipt

type Frame = Uint8Array | string

/**
 * Takes over a connection: asks for the pending messages and reads until the end.
 *
 * **Details**
 *
 * With `passOverBadFrames` a frame that is not Blaze is counted and skipped in place of ending the connection.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly wire: BlazeSocket.Wire
  readonly userId: Ids.UserId
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly inbox: Inbox
  readonly telemetry: Telemetry.Telemetry
  readonly passOverBadFrames: boolean
  readonly onPassedOver: (problem: BlazeError.BlazeError) => void
}): Effect.fn.Return<Session, BlazeError.BlazeError, Scope.Scope> {
  const { inbox, random, telemetry, userId, wire } = options
  const { metrics } = Telemetry
  const timeout = yield* RequestTimeout
  const stalled = yield* Deferred.make<never, BlazeError.BlazeError>()
  const overflowSize = yield* OverflowSize
  const traced = yield* Telemetry.Traced
  const pending = new Map<string, Deferred.Deferred<unknown, BlazeError.BlazeError>>()
  // Pushes that came while the inbox was full; what does not fit here either is refused, and so is all that follows it until the
  // server has been asked to list again: else a conversation would lose its order.
  const overflow = MutableList.make<Uint8Array>()
  let overflowBytes = 0
  let received = 0
  let refusing = false
  let listing: string | undefined
  let end: BlazeError.BlazeError | undefined
  let wake: (() => void) | undefined
  let relist: (() => void) | undefined

  const answer = (envelope: Envelope.Incoming, error: BlazeError.BlazeError | undefined): boolean => {
    const waiting = pending.get(envelope.id)
    if (waiting === undefined) return false
    pending.delete(envelope.id)
    // From its answer on the server lists everything that was refused.
    if (envelope.id === listing && error === undefined) refusing = false
    Deferred.doneUnsafe(waiting, error ? Effect.fail(error) : Effect.succeed(envelope.data))
    return true
  }

  const keep = (frame: Frame) => {
    if (refusing || typeof frame === "string" || overflowBytes + frame.length > overflowSize) {
      refusing = true
      telemetry.measure(metrics.refusedPushes, 1)
      return
    }
    // A copy: what arrives is a window on a larger buffer, which it would hold.
    MutableList.append(overflow, new Uint8Array(frame))
    overflowBytes += frame.length
  }

  // Takes one frame. Returns why the connection has to end, if it has to.
  const takeFrame = (
    frame: Frame,
    messages: Array<Message.Message>,
    receipts: Array<Envelope.MessageView>,
    hasRoom: boolean
  ): BlazeError.BlazeError | undefined => {
    const decoded = wire.decode(frame)
    if (Result.isFailure(decoded)) {
      telemetry.measure(metrics.badFrames, 1, options.passOverBadFrames ? "passed_over" : "closed")
      if (!options.passOverBadFrames) return decoded.failure
      options.onPassedOver(decoded.failure)
      return undefined
    }
    const envelope = decoded.success
    const error = envelope.error ? Envelope.toBlazeError(envelope.error) : undefined
    const answered = answer(envelope, error)
    if (error?.isFatal || (error && envelope.action === Envelope.Action.error)) return error
    if (answered || error || envelope.data === undefined || envelope.data === null) return undefined
    const decodedView = Envelope.decodeMessageView(envelope.data)
    const sound = Result.isSuccess(decodedView)
    const view = sound ? decodedView.success : Option.getOrUndefined(Envelope.salvageMessageView(envelope.data))
    if (view === undefined) return undefined
    if (isReceipt(envelope.action, view)) receipts.push(view)
    // The late answer to a request that timed out is an echo too: nobody gets his own messages pushed.
    else if (messageActions.has(envelope.action) && view.user_id !== userId) {
      if (hasRoom) messages.push(sound ? Message.fromView(view) : new Message.Unknown(view))
      else keep(frame)
    }
    return undefined
  }

  const deliver = (messages: ReadonlyArray<Message.Message>) => {
    if (messages.length === 0) return
    for (const message of messages) telemetry.measure(metrics.messages, 1, message.category)
    inbox.messages(messages)
  }

  const route = (frames: ReadonlyArray<Frame>): BlazeError.BlazeError | undefined => {
    const messages: Array<Message.Message> = []
    const receipts: Array<Envelope.MessageView> = []
    const hasRoom = inbox.hasRoom() && overflow.length === 0
    let problem: BlazeError.BlazeError | undefined
    let bytes = 0
    for (const frame of frames) {
      bytes += frame.length
      problem = takeFrame(frame, messages, receipts, hasRoom && !refusing)
      if (problem !== undefined) break
    }
    telemetry.measure(metrics.framesReceived, frames.length)
    telemetry.measure(metrics.bytesReceived, bytes)
    received += bytes
    deliver(messages)
    if (receipts.length > 0) inbox.receipts(receipts)
    return problem
  }

  // What was kept comes before what is read next, in the order in which it came.
  const refill = () => {
    if (end !== undefined) return
    const messages: Array<Message.Message> = []
    const receipts: Array<Envelope.MessageView> = []
    while (overflow.length > 0 && inbox.hasRoom() && messages.length < refillSize) {
      const frame = MutableList.take(overflow) as Uint8Array
      overflowBytes -= frame.length
      takeFrame(frame, messages, receipts, true)
    }
    deliver(messages)
  }

  const mustPause = () => isFull() && pending.size === 0

  // Looked at again when it is parked: room may have come between the two.
  const awaitRoom = Effect.callback<void>((resume) => {
    if (!mustPause()) return resume(Effect.void)
    wake = () => {
      wake = undefined
      resume(Effect.void)
    }
  })

  const isFull = () => overflow.length > 0 || !inbox.hasRoom()

  inbox.onRoom(() => {
    refill()
    if (isFull()) return
    wake?.()
    if (refusing) relist?.()
  })

  const read = Effect.gen(function* () {
    while (true) {
      const problem = route(yield* wire.receive)
      if (problem !== undefined) return yield* problem
      // Answers travel in the same stream as pushes, so reading goes on while a request is out, room or not.
      while (mustPause()) yield* awaitRoom
    }
  }).pipe(
    Effect.onError((cause) =>
      Effect.sync(() => {
        end = Option.getOrElse(Cause.findErrorOption(cause), () => closed)
        MutableList.clear(overflow)
        for (const waiting of pending.values()) Deferred.doneUnsafe(waiting, Effect.fail(end))
        pending.clear()
      })
    )
  )

  const send = Effect.fnUntraced(function* (id: string, action: string, params?: unknown) {
    if (end !== undefined) return yield* end
    const waiting = Deferred.makeUnsafe<unknown, BlazeError.BlazeError>()
    pending.set(id, waiting)
    wake?.()
    const answered = (periods: number): Effect.Effect<unknown, BlazeError.BlazeError> => {
      const before = received
      return Effect.timeoutOrElse(Deferred.await(waiting), {
        duration: timeout,
        orElse: () =>
          periods > 1 && received - before >= flood
            ? Effect.suspend(() => answered(periods - 1))
            : Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation: `waiting for the answer to ${action}` })))
      })
    }
    // A write waits while the server does not read; one that waits for so long is the end of the connection.
    const written = Effect.timeoutOrElse(wire.send({ id, action, params }), {
      duration: timeout,
      orElse: () => Effect.andThen(Deferred.fail(stalled, notReading), Effect.fail(notReading))
    })
    return yield* written.pipe(
      Effect.andThen(Effect.suspend(() => answered(maximumPeriods))),
      Effect.ensuring(Effect.sync(() => pending.delete(id)))
    )
  })

  const request = (action: string, params?: unknown) =>
    Effect.flatMap(random.uuidV4(), (id) => send(id, action, params))

  const list = Effect.gen(function* () {
    listing = yield* random.uuidV4()
    yield* Effect.ensuring(
      send(listing, Envelope.Action.listPendingMessages),
      Effect.sync(() => (listing = undefined))
    )
  })

  const reader = yield* Effect.forkScoped(read)
  yield* list

  // Whether the real server lists again on a live connection is not known: where it does not answer, a new connection makes it.
  const listAgain = Effect.callback<void>((resume) => {
    relist = () => {
      relist = undefined
      resume(Effect.void)
    }
    if (refusing && !isFull()) relist()
  }).pipe(Effect.andThen(list), Effect.forever)
  const relister = yield* Effect.forkScoped(listAgain)

  return {
    request: traced
      ? (action, params) => Effect.withSpan(request(action, params), Telemetry.span.request, { attributes: { action } })
      : request,
    ended: Effect.raceAllFirst([Fiber.join(reader), Fiber.join(relister), Deferred.await(stalled)])
  }
})

const refillSize = 256

/** How many bytes within one timeout tell that an answer is still on its way behind messages. */
const flood = 1024 * 1024
const maximumPeriods = 12
