/**
 * One connection from its first request to its end.
 *
 * Guarantee: `LIST_PENDING_MESSAGES` goes first, and again for what was left to the server; answers and the bot's own echoes never come
 * out as messages; after a bad frame nothing of this connection is dispatched.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BlazeError from "../BlazeError.ts"
import type * as BlazeSocket from "../BlazeSocket.ts"
import * as Elapsed from "./Elapsed.ts"
import * as Envelope from "../Envelope.ts"
import * as Decoding from "./Decoding.ts"
import type * as Ids from "../Ids.ts"
import type * as Inbox from "./Inbox.ts"
import * as Listing from "./Listing.ts"
import * as Requests from "./Requests.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Sends a request and waits for its answer, the `data` of which it gives. Fails at once when the connection has ended. */
  readonly request: (
    action: string,
    params?: unknown,
    options?: Pick<Requests.Options, "patient">
  ) => Effect.Effect<unknown, BlazeError.BlazeError>
  /** Tells whether what was pending has been listed, from now on. */
  readonly watchListing: Listing.Listing["watch"]
  /** Fails with the reason when the connection ends. */
  readonly ended: Effect.Effect<never, BlazeError.BlazeError>
}

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

/** What becomes of what a connection brings, apart from messages, which go to the inbox. */
export interface Options {
  readonly wire: BlazeSocket.Wire
  readonly userId: Ids.UserId
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly inbox: Inbox.Inbox
  readonly meter: Meter.Meter["Service"]
  readonly onReceipts: (receipts: ReadonlyArray<Envelope.MessageView>) => void
  readonly passOverBadFrames: boolean
  readonly onPassedOver: (problem: BlazeError.BlazeError) => void
  /** How many times more than another request the first listing may take: it failed for want of time before. */
  readonly patience: number
  /** Why the connection is ended, when it is not for a reason of its own. */
  readonly whyClosed: () => BlazeError.BlazeError
}

/** How long what is left to the server alone stays there before all is listed again, in milliseconds. */
const relistPeriod = 10 * 60_000
/** When a listing that failed is tried again. */
const relistPause = "15 seconds"

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
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Session, BlazeError.BlazeError, Scope.Scope> {
  const { inbox, random, wire } = options
  const traced = yield* Telemetry.Traced
  const now = yield* Elapsed.now
  const requests = yield* Requests.make(wire, inbox, random)
  inbox.open(wire)

  const concluding = <A>(effect: Effect.Effect<A, BlazeError.BlazeError>) =>
    Effect.onError(effect, (cause) =>
      Effect.sync(() => {
        requests.end(Option.getOrElse(Cause.findErrorOption(cause), options.whyClosed))
        inbox.close()
      })
    )

  const listing = yield* Listing.make(inbox)
  const listings = new Set<string>()
  let listedAt = now()
  const list = (patience: number) =>
    Effect.suspend(() => {
      const id = requests.nextId()
      listings.add(id)
      inbox.listing()
      return requests.send(id, Envelope.Action.listPendingMessages, undefined, { isListing: true, patience }).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            listings.delete(id)
            if (exit._tag === "Success") listedAt = now()
          })
        )
      )
    })

  const route = makeRoute(options, requests, listings, listing.heard)
  const read = Effect.gen(function* () {
    while (true) {
      const problem = route(yield* wire.receive)
      if (problem !== undefined) return yield* problem
      // Answers travel in the same stream as pushes, so reading goes on while a request is out, room or not.
      yield* listing.mayRead
    }
  })

  const reader = yield* Effect.forkScoped(concluding(read))
  yield* concluding(list(options.patience))

  // Whether the real server lists again on a live connection is not known: where it does not answer, a new connection makes it.
  const listRefused = Effect.andThen(inbox.refused, list(0))
  // What was put aside and found no room is in no hurry, and no reason to end the connection.
  const listForgotten = Effect.gen(function* () {
    yield* inbox.forgotten
    yield* Elapsed.sleepUntil(now, listedAt + relistPeriod)
    while (Result.isFailure(yield* Effect.result(list(0)))) yield* Effect.sleep(relistPause)
  })
  const relister = yield* Effect.raceAllFirst([Effect.forever(listRefused), Effect.forever(listForgotten)]).pipe(
    concluding,
    Effect.forkScoped
  )

  const request: Session["request"] = (action, params, options) =>
    Effect.suspend(() => requests.send(requests.nextId(), action, params, options))
  return {
    request: traced
      ? (action, params, options) =>
          Meter.withSpan(request(action, params, options), Telemetry.span.request, { action })
      : request,
    watchListing: listing.watch,
    ended: Effect.raceAllFirst([Fiber.join(reader), Fiber.join(relister), requests.stalled])
  }
})

/** Tells apart what comes in; gives why the connection has to end, if it has to. */
const makeRoute = (
  { inbox, onPassedOver, onReceipts, passOverBadFrames, meter, userId, wire }: Options,
  requests: Requests.Requests,
  listings: ReadonlySet<string>,
  heardOfListing: () => void
) => {
  const { metrics } = Telemetry
  // In what is read now: the clock is asked for once for all of it.
  let isOfListing = false

  // The answer to a request that has timed out shows what was sent, with or without its category; nobody has pushed it.
  const isLateAnswer = (id: string, view: Envelope.MessageView) =>
    view.user_id === userId && (!view.category || requests.isOwn(id))

  const takeFrame = (
    frame: Uint8Array | string,
    receipts: Array<Envelope.MessageView>
  ): BlazeError.BlazeError | undefined => {
    const decoded = wire.decode(frame)
    if (Result.isFailure(decoded)) {
      meter.measure(metrics.badFrames, 1, passOverBadFrames ? "passed_over" : "closed")
      if (!passOverBadFrames) return decoded.failure
      onPassedOver(decoded.failure)
      return undefined
    }
    const envelope = decoded.success
    const told = envelope.error ? Decoding.blazeError(envelope.error) : undefined
    // What answers a request of the program's own, in time or late, may be about that request alone.
    const error = told && !ownActions.has(envelope.action) ? BlazeError.ofRequest(told) : told
    // Told before whoever waits for it goes on.
    if (error === undefined && listings.has(envelope.id)) {
      isOfListing = true
      inbox.listed()
    }
    const answered = requests.answer(envelope.id, error ? Effect.fail(error) : Effect.succeed(envelope.data))
    if (error?.isFatal || (error && envelope.action === Envelope.Action.error)) return error
    if (answered || error) return undefined
    const decodedView = Decoding.messageView(envelope.data)
    if (Result.isFailure(decodedView)) return undefined
    const view = decodedView.success
    if (isReceipt(envelope.action, view)) receipts.push(view)
    else if (messageActions.has(envelope.action) && !isLateAnswer(envelope.id, view)) {
      requests.received.messages++
      isOfListing ||= view.source === Envelope.Action.listPendingMessages
      inbox.accept(view, frame)
    }
    return undefined
  }

  return (frames: ReadonlyArray<Uint8Array | string>): BlazeError.BlazeError | undefined => {
    const receipts: Array<Envelope.MessageView> = []
    let problem: BlazeError.BlazeError | undefined
    let bytes = 0
    for (const frame of frames) {
      bytes += frame.length
      problem = takeFrame(frame, receipts)
      if (problem !== undefined) break
    }
    meter.measure(metrics.framesReceived, frames.length)
    meter.measure(metrics.bytesReceived, bytes)
    requests.received.bytes += bytes
    if (isOfListing) heardOfListing()
    isOfListing = false
    inbox.announce()
    if (receipts.length > 0) onReceipts(receipts)
    return problem
  }
}
