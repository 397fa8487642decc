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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as MutableList from "effect/MutableList"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BlazeError from "./BlazeError.ts"
import type * as BlazeSocket from "./BlazeSocket.ts"
import * as Elapsed from "./Elapsed.ts"
import * as Envelope from "./Envelope.ts"
import type * as Ids from "./Ids.ts"
import * as Message from "./Message.ts"
import * as Setting from "./Setting.ts"
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
 * Whether the settings of a session can work: looked at once, before the first.
 *
 * @since 0.1.0
 */
export const checkSettings: Effect.Effect<void, BlazeError.BlazeError> = Effect.gen(function* () {
  yield* Setting.duration("Session.RequestTimeout", yield* RequestTimeout, "positive")
  yield* Setting.count("Session.OverflowSize", yield* OverflowSize, 0)
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
  /** Whether one more message fits, beside so many bytes of others that are about to come. */
  readonly hasRoom: (bytes?: number) => boolean
  /** Somebody waits for what stands behind the messages, so that reading must go on though there is no room. */
  readonly isUrgent: () => boolean
  /** Calls back, again and again, whenever there is room that there was not before, or urgency. */
  readonly onRoom: (callback: () => void) => void
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Sends a request and waits for its answer, the `data` of which it gives. */
  readonly request: Request
  /** Fails with the reason when the connection ends. */
  readonly ended: Effect.Effect<never, BlazeError.BlazeError>
}

/**
 * A request by its action. The answer to a patient one may wait, for as long as a request may take, where the inbox is full: no
 * handler waits for it.
 *
 * @category models
 * @since 0.1.0
 */
export type Request = (
  action: string,
  params?: unknown,
  options?: { readonly patient: boolean }
) => Effect.Effect<unknown, BlazeError.BlazeError>

const notReading = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "the server does not read what we write" })
)

const messageActions: ReadonlySet<string> = new Set([
  Envelope.Action.createMessage,
  Envelope.Action.createCall,
  Envelope.Action.createKraken
])

/** What is asked in the name of the bot, not of the program. */
const ownActions: ReadonlySet<string> = new Set([
  Envelope.Action.error,
  Envelope.Action.listPendingMessages,
  Envelope.Action.acknowledgeReceipts
])

const isReceipt = (action: string, view: Envelope.MessageView) =>
  action === Envelope.Action.acknowledgeReceipt || view.source === Envelope.Action.acknowledgeReceipt

type Frame = Uint8Array | string

/** What some frames brought. */
interface Batch {
  readonly messages: Array<Message.Message>
  readonly receipts: Array<Envelope.MessageView>
  bytes: number
}

interface Pending {
  readonly action: string
  answer: Effect.Effect<unknown, BlazeError.BlazeError> | undefined
  resume: ((answer: Effect.Effect<unknown, BlazeError.BlazeError>) => void) | undefined
  /** The socket has taken it; until then the write has a time of its own. */
  written: boolean
  patient: boolean
  deadline: number
  /** How often the deadline is still put off, come what may. */
  patience: number
  /** How often it may be put off because much comes in, and what had come in when it was set. */
  periods: number
  received: number
  pushes: number
}

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
  /** How many times more than another request the first listing may take: it failed for want of time before. */
  readonly patience: number
  /** Why the connection is ended, when it is not for a reason of its own. */
  readonly whyClosed: () => BlazeError.BlazeError
}): Effect.fn.Return<Session, BlazeError.BlazeError, Scope.Scope> {
  const { inbox, random, telemetry, userId, wire } = options
  const { metrics } = Telemetry
  const timeout = Duration.toMillis(yield* RequestTimeout)
  const stalled = yield* Deferred.make<never, BlazeError.BlazeError>()
  const overflowSize = yield* OverflowSize
  const traced = yield* Telemetry.Traced
  const now = yield* Elapsed.now
  // In the order of their deadlines, since all have the same time.
  const pending = new Map<string, Pending>()
  let patient = 0
  // Pushes that came while the inbox was full; what does not fit here either is refused, and so is all that follows it until the
  // server has been asked to list again: else a conversation would lose its order.
  const overflow = MutableList.make<Uint8Array>()
  let overflowBytes = 0
  let received = 0
  let pushes = 0
  let refusing = false
  let reading = false
  let roomMissed = false
  let listing: string | undefined
  let { patience } = options
  let end: BlazeError.BlazeError | undefined
  let wake: (() => void) | undefined
  let relist: (() => void) | undefined

  // An id has to be one of its kind within this connection, which does not take new random bytes for each.
  const prefix = (yield* random.uuidV4()).slice(0, 24)
  let ids = 0
  const nextId = () => prefix + (++ids).toString(16).padStart(12, "0")

  const settle = (id: string): Pending | undefined => {
    if (pending.size === 0) return undefined
    const waiting = pending.get(id)
    if (waiting === undefined) return undefined
    pending.delete(id)
    if (waiting.patient) patient--
    return waiting
  }

  const finish = (id: string, result: Effect.Effect<unknown, BlazeError.BlazeError>): boolean => {
    const waiting = settle(id)
    if (waiting === undefined) return false
    waiting.answer = result
    waiting.resume?.(result)
    return true
  }

  const answer = (envelope: Envelope.Incoming, error: BlazeError.BlazeError | undefined): boolean => {
    // From its answer on the server lists everything that was refused. Told before whoever waits for it goes on.
    if (envelope.id === listing && error === undefined) refusing = false
    return finish(envelope.id, error ? Effect.fail(error) : Effect.succeed(envelope.data))
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
  const takeFrame = (frame: Frame, batch: Batch, hasRoom: () => boolean): BlazeError.BlazeError | undefined => {
    const decoded = wire.decode(frame)
    if (Result.isFailure(decoded)) {
      telemetry.measure(metrics.badFrames, 1, options.passOverBadFrames ? "passed_over" : "closed")
      if (!options.passOverBadFrames) return decoded.failure
      options.onPassedOver(decoded.failure)
      return undefined
    }
    const envelope = decoded.success
    const told = envelope.error ? Envelope.toBlazeError(envelope.error) : undefined
    // What answers a request of the program's own, in time or late, may be about that request alone.
    const error = told && !ownActions.has(envelope.action) ? BlazeError.ofRequest(told) : told
    const answered = answer(envelope, error)
    if (error?.isFatal || (error && envelope.action === Envelope.Action.error)) return error
    if (answered || error || envelope.data === undefined || envelope.data === null) return undefined
    const decodedView = Envelope.decodeMessageView(envelope.data)
    if (Result.isFailure(decodedView)) return undefined
    const view = decodedView.success
    if (isReceipt(envelope.action, view)) batch.receipts.push(view)
    else if (messageActions.has(envelope.action) && !isLateAnswer(envelope.id, view)) {
      pushes++
      if (hasRoom()) {
        const message = Message.fromView(view)
        batch.messages.push(message)
        batch.bytes += message.size
      } else keep(frame)
    }
    return undefined
  }

  // The answer to a request that has timed out shows what was sent, with or without its category; nobody has pushed it.
  const isLateAnswer = (id: string, view: Envelope.MessageView) =>
    view.user_id === userId && (!view.category || id.startsWith(prefix))

  const deliver = (messages: ReadonlyArray<Message.Message>) => {
    if (messages.length === 0) return
    const counts = new Map<string, number>()
    for (const { category } of messages) counts.set(category, (counts.get(category) ?? 0) + 1)
    for (const [category, count] of counts) telemetry.measure(metrics.messages, count, category)
    inbox.messages(messages)
  }

  const pass = ({ messages, receipts }: Batch) => {
    deliver(messages)
    if (receipts.length > 0) inbox.receipts(receipts)
  }

  const route = (frames: ReadonlyArray<Frame>): BlazeError.BlazeError | undefined => {
    const batch = makeBatch()
    // In number one read may go beyond the bound, in bytes it may not: a frame of a few KB can hold a message of many MB.
    const hasRoom = inbox.hasRoom()
    let problem: BlazeError.BlazeError | undefined
    let bytes = 0
    reading = true
    for (const frame of frames) {
      bytes += frame.length
      problem = takeFrame(
        frame,
        batch,
        () => hasRoom && !refusing && overflow.length === 0 && (batch.bytes === 0 || inbox.hasRoom(batch.bytes))
      )
      if (problem !== undefined) break
    }
    telemetry.measure(metrics.framesReceived, frames.length)
    telemetry.measure(metrics.bytesReceived, bytes)
    received += bytes
    pass(batch)
    reading = false
    if (roomMissed) onRoom()
    return problem
  }

  // What was kept comes before what is read next, in the order in which it came.
  const refill = () => {
    if (end !== undefined) return
    const batch = makeBatch()
    while (overflow.length > 0 && inbox.hasRoom(batch.bytes) && batch.messages.length < refillSize) {
      const frame = MutableList.take(overflow) as Uint8Array
      overflowBytes -= frame.length
      takeFrame(frame, batch, always)
    }
    pass(batch)
  }

  const mustPause = () => isFull() && pending.size === patient && !inbox.isUrgent()

  // Looked at again when it is parked: room may have come between the two.
  const awaitRoom = Effect.callback<void>((resume) => {
    if (!mustPause()) return resume(Effect.void)
    wake = () => {
      wake = undefined
      resume(Effect.void)
    }
  })

  const isFull = () => overflow.length > 0 || !inbox.hasRoom()

  const onRoom = () => {
    // An answer may have the inbox emptied while the pushes behind it are still being kept.
    roomMissed = reading
    if (reading) return
    refill()
    if (!mustPause()) wake?.()
    if (refusing && !isFull()) relist?.()
  }
  inbox.onRoom(onRoom)

  // Whoever waits for an answer is told why there will be none, once and for all.
  const conclude = (reason: BlazeError.BlazeError) => {
    if (end !== undefined) return
    end = BlazeError.ofConnection(reason)
    MutableList.clear(overflow)
    const failed = Effect.fail(end)
    for (const id of pending.keys()) finish(id, id === listing ? Effect.fail(reason) : failed)
  }
  const concluding = <A>(effect: Effect.Effect<A, BlazeError.BlazeError>) =>
    Effect.onError(effect, (cause) =>
      Effect.sync(() => conclude(Option.getOrElse(Cause.findErrorOption(cause), options.whyClosed)))
    )

  const read = concluding(
    Effect.gen(function* () {
      while (true) {
        const problem = route(yield* wire.receive)
        if (problem !== undefined) return yield* problem
        // Answers travel in the same stream as pushes, so reading goes on while a request is out, room or not.
        while (mustPause()) yield* awaitRoom
      }
    })
  )

  const postpone = (id: string, waiting: Pending) => {
    if (!pending.has(id)) return
    waiting.deadline = now() + timeout
    waiting.received = received
    waiting.pushes = pushes
    // Behind those whose time ends sooner.
    pending.delete(id)
    pending.set(id, waiting)
  }

  // A server that pushes what it has is at work on the listing, however long it takes to say so.
  const isFlowing = (id: string, waiting: Pending) =>
    received - waiting.received >= flood || (id === listing && pushes > waiting.pushes)

  const expire = (id: string, waiting: Pending) => {
    if (!waiting.written) postpone(id, waiting)
    else if (waiting.patient) {
      waiting.patient = false
      patient--
      postpone(id, waiting)
      wake?.()
    } else if (waiting.patience > 0) {
      waiting.patience--
      postpone(id, waiting)
    } else if (waiting.periods > 1 && isFlowing(id, waiting)) {
      waiting.periods--
      postpone(id, waiting)
    } else {
      const operation = `waiting for the answer to ${waiting.action}`
      finish(id, Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation }))))
    }
  }

  // One watch over all requests: a timer for each costs more than the rest of a request.
  let watch: (() => void) | undefined
  const unanswered = Effect.callback<void>((resume) => {
    if (pending.size > 0) resume(Effect.void)
    else watch = () => resume(Effect.void)
  })
  const expireInTime = Effect.gen(function* () {
    while (true) {
      yield* unanswered
      const [next] = pending
      if (next === undefined) continue
      const [id, waiting] = next
      const rest = waiting.deadline - now()
      if (rest > 0) yield* Effect.sleep(rest)
      else expire(id, waiting)
    }
  })
  yield* Effect.forkScoped(expireInTime)

  const register = (id: string, waiting: Pending) => {
    pending.set(id, waiting)
    if (waiting.patient) patient++
    else wake?.()
    const waker = watch
    watch = undefined
    waker?.()
  }

  const send = (id: string, action: string, params?: unknown, options?: { readonly patient: boolean }) =>
    Effect.ensuring(
      Effect.suspend(() => {
        if (end !== undefined) return Effect.fail(end)
        const waiting: Pending = {
          action,
          answer: undefined,
          resume: undefined,
          written: !wire.isSaturated(),
          patient: options?.patient === true,
          deadline: now() + timeout,
          patience: id === listing ? patience : 0,
          periods: maximumPeriods,
          received,
          pushes
        }
        register(id, waiting)
        const answered = Effect.callback<unknown, BlazeError.BlazeError>((resume) => {
          if (waiting.answer !== undefined) resume(waiting.answer)
          else waiting.resume = resume
        })
        const written = wire.send({ id, action, params })
        if (waiting.written) return Effect.andThen(written, answered)
        // A write waits while the server does not read; one that waits for so long is the end of the connection.
        return Effect.timeoutOrElse(written, {
          duration: timeout,
          orElse: () => {
            conclude(notReading)
            return Effect.andThen(Deferred.fail(stalled, notReading), Effect.fail(notReading))
          }
        }).pipe(
          Effect.andThen(
            Effect.suspend(() => {
              waiting.written = true
              postpone(id, waiting)
              return answered
            })
          )
        )
      }),
      // In the finalizer of all of it, so that no interruption leaves an entry behind.
      Effect.sync(() => settle(id))
    )

  const request: Request = (action, params, options) => Effect.suspend(() => send(nextId(), action, params, options))

  const list = concluding(
    Effect.gen(function* () {
      listing = nextId()
      yield* Effect.ensuring(
        send(listing, Envelope.Action.listPendingMessages),
        Effect.sync(() => (listing = undefined))
      )
    })
  )

  const reader = yield* Effect.forkScoped(read)
  yield* list
  patience = 0

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
      ? (action, params, options) =>
          Effect.withSpan(request(action, params, options), Telemetry.span.request, { attributes: { action } })
      : request,
    ended: Effect.raceAllFirst([Fiber.join(reader), Fiber.join(relister), Deferred.await(stalled)])
  }
})

const makeBatch = (): Batch => ({ messages: [], receipts: [], bytes: 0 })
const always = () => true

const refillSize = 256

/** How many bytes within one timeout tell that an answer is still on its way behind messages. */
const flood = 1024 * 1024
const maximumPeriods = 12
