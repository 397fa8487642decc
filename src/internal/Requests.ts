/**
 * What was asked on a connection and is not answered yet.
 *
 * Guarantee: an answer finds its request by id, whatever the order; each request has an end, by its answer, its time or the end of the
 * connection; one that is interrupted leaves nothing behind; while one waits for its answer reading goes on.
 *
 * @since 0.1.0
 */
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as BlazeError from "../BlazeError.ts"
import type * as BlazeSocket from "../BlazeSocket.ts"
import * as Elapsed from "./Elapsed.ts"
import type * as Inbox from "./Inbox.ts"
import * as Settings from "../Settings.ts"
import * as Signal from "./Signal.ts"

/**
 * How a request is waited for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Its answer may wait, for as long as a request may take, where the inbox is full: no handler waits for it. */
  readonly patient?: boolean | undefined
  /** How many times more than another one it may take, come what may. */
  readonly patience?: number | undefined
  /** Messages that come in show that the server is at work on it. */
  readonly isListing?: boolean | undefined
}

type Answer = Effect.Effect<unknown, BlazeError.BlazeError>

interface Pending {
  readonly action: string
  readonly isListing: boolean
  answer: Answer | undefined
  /** Waits for the answer: the socket has taken the request. */
  resume: ((answer: Answer) => void) | undefined
  patient: boolean
  deadline: number
  /** How often the deadline is still put off, come what may. */
  patience: number
  /** How often it may be put off because much comes in, and what had come in when it was set. */
  periods: number
  bytes: number
  messages: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Requests {
  /** An id that no other request of this connection has. */
  readonly nextId: () => string
  /** Whether it may be one of `nextId`. */
  readonly isOwn: (id: string) => boolean
  /** Sends a request and waits for its answer, the `data` of which it gives. */
  readonly send: (id: string, action: string, params?: unknown, options?: Options) => Answer
  /** Whether somebody waited for this answer. */
  readonly answer: (id: string, answer: Answer) => boolean
  /** What has come in so far. */
  readonly received: { bytes: number; messages: number }
  /** Whoever waits for an answer is told why there will be none, once and for all; what is asked from here on is too. */
  readonly end: (reason: BlazeError.BlazeError) => void
  /** Fails when the server does not read what is written. */
  readonly stalled: Effect.Effect<never, BlazeError.BlazeError>
}

const notReading = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "the server does not read what we write" })
)

/** How many bytes within one timeout tell that an answer is still on its way behind messages. */
const flood = 1024 * 1024
const maximumPeriods = 12

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  wire: Pick<BlazeSocket.Wire, "isSaturated" | "send">,
  inbox: Pick<Inbox.Inbox, "waitBehind">,
  random: SecureRandom.SecureRandom["Service"]
): Effect.fn.Return<Requests, BlazeError.BlazeError, Scope.Scope> {
  const timeout = Duration.toMillis((yield* Settings.checked).requestTimeout)
  const now = yield* Elapsed.now
  const received = { bytes: 0, messages: 0 }
  const stalled = yield* Deferred.make<never, BlazeError.BlazeError>()
  const ended = yield* Deferred.make<void>()
  let end: BlazeError.BlazeError | undefined

  // An id has to be one of its kind within this connection, which does not take new random bytes for each.
  const prefix = (yield* random.uuidV4()).slice(0, 24)
  let ids = 0

  const conclude = (reason: BlazeError.BlazeError) => {
    if (end !== undefined) return
    end = BlazeError.ofConnection(reason)
    table.finishAll(Effect.fail(reason), Effect.fail(end))
    Deferred.doneUnsafe(ended, Effect.void)
  }

  const table = makeTable(timeout, now, inbox, received, () => {
    conclude(notReading)
    Deferred.doneUnsafe(stalled, Effect.fail(notReading))
  })
  yield* Effect.forkScoped(table.expireInTime)

  return {
    nextId: () => prefix + (++ids).toString(16).padStart(12, "0"),
    isOwn: (id) => id.startsWith(prefix),
    send: (id, action, params, options) =>
      Effect.ensuring(
        Effect.suspend(() => {
          if (end !== undefined) return Effect.fail(end)
          const isSaturated = wire.isSaturated()
          const waiting = table.begin(id, action, options)
          const answered = Effect.callback<unknown, BlazeError.BlazeError>((resume) => {
            if (waiting.answer !== undefined) resume(waiting.answer)
            else waiting.resume = resume
          })
          const written = wire.send({ id, action, params })
          if (!isSaturated) return Effect.andThen(written, answered)
          // It waits while the server does not read, and for no longer than its connection is there.
          return Effect.andThen(
            Effect.raceFirst(written, Deferred.await(ended)),
            Effect.suspend(() => {
              table.written(id)
              return answered
            })
          )
        }),
        // In the finalizer of all of it, so that no interruption leaves an entry behind.
        Effect.sync(() => table.remove(id))
      ),
    answer: table.finish,
    received,
    end: conclude,
    stalled: Deferred.await(stalled)
  }
})

const pendingOf = (
  action: string,
  options: Options | undefined,
  deadline: number,
  received: Requests["received"]
): Pending => ({
  action,
  isListing: options?.isListing === true,
  answer: undefined,
  resume: undefined,
  patient: options?.patient === true,
  deadline,
  patience: options?.patience ?? 0,
  periods: maximumPeriods,
  ...received
})

/** Uses up what a request has beyond its first time: whether there was anything left. */
const hasMoreTime = (waiting: Pending, received: Requests["received"]): boolean => {
  if (waiting.patient) {
    waiting.patient = false
    return true
  }
  if (waiting.patience > 0) {
    waiting.patience--
    return true
  }
  // A server that pushes what it has is at work on the listing, however long it takes to say so.
  const isFlowing =
    received.bytes - waiting.bytes >= flood || (waiting.isListing && received.messages > waiting.messages)
  if (waiting.periods <= 1 || !isFlowing) return false
  waiting.periods--
  return true
}

/** The requests by id, in the order of their deadlines, since all have the same time. */
const makeTable = (
  timeout: number,
  now: () => number,
  inbox: Pick<Inbox.Inbox, "waitBehind">,
  received: Requests["received"],
  stall: () => void
) => {
  const pending = new Map<string, Pending>()
  const signal = Signal.make()

  const remove = (id: string): Pending | undefined => {
    if (pending.size === 0) return undefined
    const waiting = pending.get(id)
    if (waiting === undefined) return undefined
    pending.delete(id)
    if (!waiting.patient) inbox.waitBehind(-1)
    return waiting
  }

  const finish = (id: string, answer: Answer): boolean => {
    const waiting = remove(id)
    if (waiting === undefined) return false
    waiting.answer = answer
    waiting.resume?.(answer)
    return true
  }

  const postpone = (id: string, waiting: Pending) => {
    waiting.deadline = now() + timeout
    waiting.bytes = received.bytes
    waiting.messages = received.messages
    // Behind those whose time ends sooner.
    pending.delete(id)
    pending.set(id, waiting)
  }

  const expire = (id: string, waiting: Pending) => {
    // A write that waits for so long is the end of the connection.
    if (waiting.resume === undefined) return stall()
    const wasPatient = waiting.patient
    if (hasMoreTime(waiting, received)) {
      postpone(id, waiting)
      if (wasPatient && !waiting.patient) inbox.waitBehind(1)
    } else {
      const operation = `waiting for the answer to ${waiting.action}`
      finish(id, Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation }))))
    }
  }

  return {
    begin: (id: string, action: string, options: Options | undefined): Pending => {
      const waiting = pendingOf(action, options, now() + timeout, received)
      pending.set(id, waiting)
      if (!waiting.patient) inbox.waitBehind(1)
      signal.notify()
      return waiting
    },
    /** The socket has taken it late: its time begins here. */
    written: (id: string) => {
      const waiting = pending.get(id)
      if (waiting !== undefined) postpone(id, waiting)
    },
    remove,
    finish,
    /** What the listing is answered, and what all others are. */
    finishAll: (listing: Answer, others: Answer) => {
      for (const [id, { isListing }] of pending) finish(id, isListing ? listing : others)
    },
    expireInTime: watch(pending, signal, now, expire)
  }
}

// One watch over all requests: a timer for each costs more than the rest of a request.
const watch = (
  pending: ReadonlyMap<string, Pending>,
  signal: Signal.Signal,
  now: () => number,
  expire: (id: string, waiting: Pending) => void
) =>
  Effect.gen(function* () {
    while (true) {
      yield* signal.until(() => pending.size > 0)
      const [next] = pending
      if (next === undefined) continue
      const [id, waiting] = next
      if (waiting.deadline > now()) yield* Elapsed.sleepUntil(now, waiting.deadline)
      else expire(id, waiting)
    }
  })
