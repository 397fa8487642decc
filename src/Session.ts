/**
 * One connection from its first request to its end.
 *
 * Guarantee: `LIST_PENDING_MESSAGES` goes first; requests are matched to answers by id, each with a timeout; answers and the
 * bot's own echoes never come out as messages; after a bad frame nothing of this connection is dispatched.
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
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BlazeError from "./BlazeError.ts"
import type * as BlazeSocket from "./BlazeSocket.ts"
import * as Envelope from "./Envelope.ts"
import type * as Ids from "./Ids.ts"
import * as Message from "./Message.ts"

/**
 * How long an answer may take: 5 seconds. Source: the official Node and Flutter clients.
 *
 * @category references
 * @since 0.1.0
 */
export const RequestTimeout = Context.Reference<Duration.Input>("effect-blaze/Session/RequestTimeout", {
  defaultValue: () => "5 seconds"
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
  /** Calls back once when there is room again. */
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

const messageActions: ReadonlySet<string> = new Set([
  Envelope.Action.createMessage,
  Envelope.Action.createCall,
  Envelope.Action.createKraken
])

const isReceipt = (action: string, view: Envelope.MessageView) =>
  action === Envelope.Action.acknowledgeReceipt || view.source === Envelope.Action.acknowledgeReceipt

/**
 * Takes over a connection: asks for the pending messages and reads until the end.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly wire: BlazeSocket.Wire
  readonly userId: Ids.UserId
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly inbox: Inbox
}): Effect.fn.Return<Session, BlazeError.BlazeError, Scope.Scope> {
  const { inbox, random, userId, wire } = options
  const timeout = yield* RequestTimeout
  const pending = new Map<string, Deferred.Deferred<unknown, BlazeError.BlazeError>>()
  let end: BlazeError.BlazeError | undefined
  let wake: (() => void) | undefined

  const answer = (envelope: Envelope.Incoming, error: BlazeError.BlazeError | undefined): boolean => {
    const waiting = pending.get(envelope.id)
    if (waiting === undefined) return false
    pending.delete(envelope.id)
    Deferred.doneUnsafe(waiting, error ? Effect.fail(error) : Effect.succeed(envelope.data))
    return true
  }

  // Returns why the connection has to end, if it has to.
  const route = (frames: ReadonlyArray<Uint8Array | string>): BlazeError.BlazeError | undefined => {
    const messages: Array<Message.Message> = []
    const receipts: Array<Envelope.MessageView> = []
    let problem: BlazeError.BlazeError | undefined
    for (const frame of frames) {
      const decoded = wire.decode(frame)
      if (Result.isFailure(decoded)) {
        problem = decoded.failure
        break
      }
      const envelope = decoded.success
      const error = envelope.error ? Envelope.toBlazeError(envelope.error) : undefined
      const answered = answer(envelope, error)
      if (error?.isFatal || (error && envelope.action === Envelope.Action.error)) {
        problem = error
        break
      }
      if (answered || error || envelope.data === undefined || envelope.data === null) continue
      const view = Envelope.decodeMessageView(envelope.data)
      if (Result.isFailure(view)) continue
      if (isReceipt(envelope.action, view.success)) receipts.push(view.success)
      // The late answer to a request that timed out is an echo too: nobody gets his own messages pushed.
      else if (messageActions.has(envelope.action) && view.success.user_id !== userId) {
        messages.push(Message.fromView(view.success))
      }
    }
    if (messages.length > 0) inbox.messages(messages)
    if (receipts.length > 0) inbox.receipts(receipts)
    return problem
  }

  // Answers travel in the same stream as pushes, so reading goes on while a request is out, room or not.
  const awaitRoom = Effect.callback<void>((resume) => {
    const callback = () => {
      wake = undefined
      resume(Effect.void)
    }
    wake = callback
    inbox.onRoom(callback)
  })

  const read = Effect.gen(function* () {
    while (true) {
      const problem = route(yield* wire.receive)
      if (problem !== undefined) return yield* problem
      while (!inbox.hasRoom() && pending.size === 0) yield* awaitRoom
    }
  }).pipe(
    Effect.onError((cause) =>
      Effect.sync(() => {
        end = Option.getOrElse(Cause.findErrorOption(cause), () => closed)
        for (const waiting of pending.values()) Deferred.doneUnsafe(waiting, Effect.fail(end))
        pending.clear()
      })
    )
  )

  const reader = yield* Effect.forkScoped(read)

  const request = Effect.fnUntraced(function* (action: string, params?: unknown) {
    if (end !== undefined) return yield* end
    const id = yield* random.uuidV4()
    const waiting = Deferred.makeUnsafe<unknown, BlazeError.BlazeError>()
    pending.set(id, waiting)
    wake?.()
    return yield* wire.send({ id, action, params }).pipe(
      Effect.andThen(Deferred.await(waiting)),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () =>
          Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation: `waiting for the answer to ${action}` })))
      }),
      Effect.ensuring(Effect.sync(() => pending.delete(id)))
    )
  })

  yield* request(Envelope.Action.listPendingMessages)

  return { request, ended: Fiber.join(reader) }
})
