/**
 * What becomes of the bot's own messages.
 *
 * Guarantee: whoever waits for a receipt gets it, also one that came while there was no connection; what is asked for again is passed on
 * once.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlazeError from "../BlazeError.ts"
import * as Endpoint from "../Endpoint.ts"
import type * as Envelope from "../Envelope.ts"
import * as Ids from "../Ids.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Settings from "../Settings.ts"
import type * as Inbox from "./Inbox.ts"
import * as Nanoseconds from "./Nanoseconds.ts"
import * as Recent from "./Recent.ts"
import * as Retrying from "./Retrying.ts"

/** @since 0.1.0 */
export type Status = "DELIVERED" | "READ"

/**
 * @category models
 * @since 0.1.0
 */
export interface Receipts {
  /** Receipts have come. */
  readonly publish: (views: ReadonlyArray<Envelope.MessageView>) => void
  /** All of them; the last 1 024 are kept for a slow subscriber. */
  readonly stream: Stream.Stream<Envelope.MessageView>
  /** Tells of all of them, at once, for as long as a scope is open. */
  readonly listen: (
    heard: (views: ReadonlyArray<Envelope.MessageView>) => void
  ) => Effect.Effect<void, never, Scope.Scope>
  /** Waits for one of a message, from now on until `end`. */
  readonly expect: (
    id: Ids.MessageId,
    status: Status
  ) => { readonly arrived: Effect.Effect<void, BlazeError.BlazeError>; readonly end: () => void }
  /** A connection is about to begin: gives what asks for all that has come since the one before, if anybody waits for it. */
  readonly begin: Effect.Effect<Effect.Effect<void>>
  /** Nothing is known of what comes from now on: the next connection is as the first. */
  readonly forget: Effect.Effect<void>
  /** There will be no more. */
  readonly stop: (reason: BlazeError.BlazeError) => void
}

const kept = 1024

/** How many are remembered, so as to know them when they come again. */
const maximumSeen = 2048

/** How many messages are remembered by what has become of them, for who asks later. */
const maximumArrived = 10_000

/** How many times the server is asked for the receipts of one absence. */
const maximumPages = 1000

/** How long the server is left alone after it could not tell. */
const pause = "1 minute"

const stoppedWaiting = BlazeError.make(
  new BlazeError.Timeout({ operation: "waiting for a receipt of a message that was sent, when the bot stopped" })
)

const keyOf = ({ message_id, status, updated_at }: Envelope.MessageView) => `${message_id} ${status} ${updated_at}`

const isReceipt = ({ status }: Envelope.MessageView) => status === "DELIVERED" || status === "READ"

interface Waiting {
  readonly status: Status
  readonly deferred: Deferred.Deferred<void, BlazeError.BlazeError>
}

/** Who waits for what becomes of which message. */
const makeExpected = (inbox: Pick<Inbox.Inbox, "waitBehind">) => {
  const expected = new Map<string, Set<Waiting>>()
  const arrived = Recent.make<string>(maximumArrived)
  return {
    isEmpty: () => expected.size === 0,
    arrive: ({ message_id, status }: Envelope.MessageView) => {
      const waiters = expected.get(Ids.toLowerCase(message_id))
      if (waiters === undefined) return
      arrived.add(`${Ids.toLowerCase(message_id)} ${status}`)
      for (const waiting of waiters) {
        // What was read has been delivered.
        if (status === waiting.status || status === "READ") Deferred.doneUnsafe(waiting.deferred, Exit.void)
      }
    },
    expect: (id: Ids.MessageId, status: Status) => {
      const key = Ids.toLowerCase(id)
      const waiting = { status, deferred: Deferred.makeUnsafe<void, BlazeError.BlazeError>() }
      const others = expected.get(key) ?? new Set()
      expected.set(key, others.add(waiting))
      // A message that is sent again has been received once, and is not told of again.
      if (arrived.has(`${key} ${status}`) || arrived.has(`${key} READ`)) {
        Deferred.doneUnsafe(waiting.deferred, Exit.void)
      }
      // It stands behind the messages, and whoever waits for it may be a handler.
      inbox.waitBehind(1)
      return {
        arrived: Deferred.await(waiting.deferred),
        end: () => {
          inbox.waitBehind(-1)
          others.delete(waiting)
          if (others.size === 0 && expected.get(key) === others) expected.delete(key)
        }
      }
    },
    stop: (reason: BlazeError.BlazeError) => {
      const exit = Exit.fail(reason.reason._tag === "Closed" ? stoppedWaiting : reason)
      for (const others of expected.values()) {
        for (const { deferred } of others) Deferred.doneUnsafe(deferred, exit)
      }
    }
  }
}

/** For whoever wants to know of all of them. */
const makePublished = (inbox: Pick<Inbox.Inbox, "urgent">) => {
  // Made for the first subscriber: most bots have none.
  let published: PubSub.PubSub<Envelope.MessageView> | undefined
  let subscribers = 0
  const subscribed = Effect.suspend(() =>
    published === undefined
      ? Effect.map(PubSub.sliding<Envelope.MessageView>(kept), (made) => (published ??= made))
      : Effect.succeed(published)
  )
  return {
    isWanted: () => subscribers > 0,
    publish: (view: Envelope.MessageView) => {
      if (published !== undefined) PubSub.publishUnsafe(published, view)
    },
    stream: Stream.unwrap(
      Effect.gen(function* () {
        const made = yield* subscribed
        yield* Effect.acquireRelease(
          Effect.sync(() => subscribers++),
          () => Effect.sync(() => subscribers--)
        )
        yield* inbox.urgent
        return Stream.fromPubSub(made)
      })
    )
  }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  inbox: Pick<Inbox.Inbox, "urgent" | "waitBehind">
): Effect.fn.Return<Receipts, BlazeError.BlazeError, MixinApi.MixinApi> {
  const { request } = yield* MixinApi.MixinApi
  const { sendRetry } = yield* Settings.checked
  const seen = Recent.make<string>(maximumSeen)
  const expected = makeExpected(inbox)
  const published = makePublished(inbox)
  let last: Envelope.MessageView | undefined
  let began: bigint | undefined
  /** From when on something may be missing: what comes meanwhile closes no gap. */
  let gap: bigint | undefined

  const listeners = new Set<(views: ReadonlyArray<Envelope.MessageView>) => void>()
  const isWanted = () => published.isWanted() || !expected.isEmpty() || listeners.size > 0

  const publish = (views: ReadonlyArray<Envelope.MessageView>) => {
    last = views.at(-1) ?? last
    if (!isWanted()) return
    for (const heard of listeners) heard(views)
    for (const view of views) {
      seen.add(keyOf(view))
      expected.arrive(view)
      published.publish(view)
    }
  }

  const missed = Effect.fnUntraced(function* (from: bigint) {
    let since = from
    for (let page = 0; page < maximumPages; page++) {
      const asked = request(Endpoint.receipts, { path: { since: String(since) } })
      const views = yield* Retrying.retried(asked, sendRetry)
      publish(views.filter((view) => isReceipt(view) && !seen.has(keyOf(view))))
      const next = Nanoseconds.fromText(views.at(-1)?.updated_at)
      if (next === undefined || next <= since) return
      since = next
      gap = next
    }
  })

  // For as long as the connection lasts; the next one begins where this one could not.
  const closing = Effect.fnUntraced(function* (since: bigint) {
    while (isWanted()) {
      const asked = yield* Effect.result(missed(since))
      if (Result.isSuccess(asked)) break
      const error = asked.failure
      yield* Effect.logWarning(`Receipts of the time without a connection are missing. ${error.message}`)
      if (!error.isRetryable) break
      yield* Effect.sleep(pause)
    }
    gap = undefined
  })

  return {
    publish,
    stream: published.stream,
    expect: expected.expect,
    listen: (heard) =>
      Effect.acquireRelease(
        Effect.sync(() => listeners.add(heard)),
        () => Effect.sync(() => listeners.delete(heard))
      ),
    begin: Effect.map(Clock.currentTimeMillis, (now) => {
      const since = gap ?? Nanoseconds.fromText(last?.updated_at) ?? began
      gap = since
      // The server's clock and this one may differ by so much.
      began ??= Nanoseconds.fromMillis(Math.max(0, now - BlazeError.toleratedClockDifference))
      return since === undefined ? Effect.void : closing(since)
    }),
    forget: Effect.sync(() => {
      last = began = gap = undefined
    }),
    stop: expected.stop
  }
})

/**
 * Sends, and waits for a receipt besides. What sends tells the id before anything leaves: the receipt may come with the answer.
 *
 * @category combinators
 * @since 0.1.0
 */
export const awaited = (
  expect: Receipts["expect"],
  status: Status,
  send: (begin: (id: Ids.MessageId) => void) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> =>
  Effect.suspend(() => {
    let expected: ReturnType<typeof expect> | undefined
    return send((id) => (expected = expect(id, status))).pipe(
      Effect.flatMap((id) => Effect.as(expected?.arrived ?? Effect.void, id)),
      Effect.ensuring(Effect.sync(() => expected?.end()))
    )
  })
