/**
 * Sends what waits in the outbox.
 *
 * Guarantee: what waits for one conversation is sent in its order, but for what goes in batches; it is said of each message once what
 * became of it, and what may pass is tried for as long as ids are remembered; memory holds a few hundred of those that wait.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Batches from "./Batches.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Conversations from "../Conversations.ts"
import * as ErrorKind from "./ErrorKind.ts"
import * as Ids from "../Ids.ts"
import * as Keyed from "../Keyed.ts"
import * as Meter from "./Meter.ts"
import type * as Outgoing from "../Outgoing.ts"
import * as Persisted from "./Persisted.ts"
import * as Sending from "./Sending.ts"
import * as Settings from "../Settings.ts"
import type * as Signal from "./Signal.ts"
import * as States from "./States.ts"
import type * as Store from "../Store.ts"
import * as Telemetry from "../Telemetry.ts"

/** How long it takes until what could not be read, stored or sent is tried again. */
const pause = "30 seconds"

/** How many that go by themselves are sent at once, and how many are taken in advance. */
const concurrency = 32
const inFlight = 128

/** How many batches are under way at once. */
const batchConcurrency = 4

/** How many ids a line of the log has at the most. */
const maximumListed = 20

type Fates = Effect.Effect<ReadonlyArray<Persisted.Fate>, BlazeError.BlazeError>

/**
 * When something was added: `count` is how often, and `signal` tells of the next time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Added {
  readonly signal: Signal.Signal
  readonly count: () => number
}

const persistent = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A> =>
  Effect.catch(effect, (error) =>
    Effect.andThen(
      Effect.logError(`What is to be sent cannot be read from the store${ErrorKind.of(error)}; it is tried again.`),
      Effect.suspend(() => Effect.delay(persistent(effect), pause))
    )
  )

/** What waits, so many at once as there are, and what comes later. */
const waitingIn = (outbox: Store.Outbox<unknown>, added: Added, inBatches: boolean, maximum: number) =>
  Stream.fromPull(
    Effect.sync(() => {
      let after = 0
      return Effect.gen(function* () {
        while (true) {
          const seen = added.count()
          const rows = yield* persistent(outbox.next(inBatches, after, maximum))
          if (Arr.isReadonlyArrayNonEmpty(rows)) {
            after = rows.at(-1)!.number
            return rows
          }
          yield* added.signal.until(() => added.count() !== seen)
        }
      })
    })
  )

/** Tells of what nobody waits for. */
const warn = (refused: ReadonlyArray<Persisted.Fate>) => {
  const [first] = refused
  if (first?.error === undefined) return Effect.void
  const ids = Ids.list(refused.slice(0, maximumListed).map(({ id }) => id))
  const more = refused.length > maximumListed ? ` and ${refused.length - maximumListed} more` : ""
  return Effect.logWarning(
    `What was stored to be sent is refused, and not tried again: ${ids}${more}. ${first.error.message}`
  )
}

/** Says in the store, and to whoever waits for it, what became of messages. */
const makeComplete = (
  outbox: Store.Outbox<unknown>,
  meter: Meter.Meter["Service"],
  tell: (results: ReadonlyArray<Persisted.Fate>) => ReadonlyArray<Persisted.Fate>
) => {
  const complete = (results: ReadonlyArray<Persisted.Fate>): Effect.Effect<void, BlazeError.BlazeError> =>
    Effect.flatMap(Effect.result(outbox.complete(results)), (claim) => {
      if (Result.isFailure(claim) || claim.success === "Unstored") {
        return Effect.suspend(() => Effect.delay(complete(results), pause))
      }
      if (claim.success === "Conflict") return Effect.fail(States.takenOver)
      meter.measure(Telemetry.metrics.outbox, outbox.size())
      return warn(tell(results).filter(({ error }) => error !== undefined))
    })
  return complete
}

/** The two ways to send: each tells what became of which, or fails with what may pass, or with why nothing is sent any more. */
const makeWays = Effect.gen(function* () {
  const sending = yield* Sending.Sending
  const { createContact } = yield* Conversations.Conversations

  const sendOne = ([message]: ReadonlyArray<Store.Waiting>): Fates => {
    const content = Persisted.toOutgoing(message!.content)
    if (content === undefined) return Effect.succeed([Persisted.fateOf(message!, Persisted.unreadable)])
    return sending.send(message!.to, content, message!.id).pipe(
      Effect.as([Persisted.fateOf(message!, undefined)]),
      Effect.catchIf(Batches.isVerdict, (error) => Effect.succeed([Persisted.fateOf(message!, error)]))
    )
  }

  const sendMany = Effect.fnUntraced(function* (messages: ReadonlyArray<Store.Waiting>) {
    const contents = new Map<string, Outgoing.Outgoing | undefined>()
    const results: Array<Persisted.Fate> = []
    const batch = messages.flatMap((message) => {
      if (!contents.has(message.content)) contents.set(message.content, Persisted.toOutgoing(message.content))
      const content = contents.get(message.content)
      if (content !== undefined) return [{ ...message, content, stored: message }]
      results.push(Persisted.fateOf(message, Persisted.unreadable))
      return []
    })
    const sent = yield* Batches.send(sending.sendBatch, createContact, batch, ({ way }) => way === "FirstContact")
    for (const { message, result } of sent) {
      results.push(Persisted.fateOf(message.stored, Result.isFailure(result) ? result.failure : undefined))
    }
    return results
  })

  return { sendOne, sendMany, conversationOf: sending.conversationOf, maximumBatch: sending.maximumBatch }
})

const expired = Persisted.failed("it could not be sent within the setting rememberedFor, and is not tried any more")

/** It says nothing of one message, and no further try will do better. */
const isOver = (error: BlazeError.BlazeError) => !Batches.isVerdict(error) && !error.isRetryable

/**
 * Sends until the bot is refused for good, or another process has the store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  outbox: Store.Outbox<unknown>,
  added: Added,
  tell: (results: ReadonlyArray<Persisted.Fate>) => ReadonlyArray<Persisted.Fate>
) {
  const { rememberedFor } = yield* Settings.checked
  const { conversationOf, maximumBatch, sendMany, sendOne } = yield* makeWays
  const complete = makeComplete(outbox, yield* Meter.Meter, tell)
  const age = Duration.toMillis(rememberedFor)

  const settle = (
    messages: ReadonlyArray<Store.Waiting>,
    send: (messages: ReadonlyArray<Store.Waiting>) => Fates
  ): Effect.Effect<void, BlazeError.BlazeError> =>
    Effect.gen(function* () {
      const oldest = (yield* Clock.currentTimeMillis) - age
      const late = messages.filter(({ storedAt }) => storedAt <= oldest)
      const timely = messages.filter(({ storedAt }) => storedAt > oldest)
      if (late.length > 0) yield* complete(late.map((message) => Persisted.fateOf(message, expired)))
      if (timely.length === 0) return
      const sent = yield* Effect.result(send(timely))
      if (Result.isSuccess(sent)) return yield* complete(sent.success)
      if (isOver(sent.failure)) return yield* sent.failure
      yield* Effect.sleep(pause)
      return yield* settle(timely, send)
    })

  const alone = waitingIn(outbox, added, false, inFlight).pipe(
    Stream.mapEffect((message) =>
      Effect.map(conversationOf(message.to), (conversationId) => ({ message, conversationId }))
    ),
    Keyed.mapEffect(({ message }) => settle([message], sendOne), {
      key: ({ conversationId }) => conversationId,
      concurrency,
      inFlight
    }),
    Stream.runDrain,
    // What is being sent when the bot ends is sent again by the next one.
    Effect.provideService(Keyed.Grace, 0)
  )
  const many = waitingIn(outbox, added, true, maximumBatch).pipe(
    Stream.mapArray((messages) => [messages] as const),
    Stream.mapEffect((messages) => settle(messages, sendMany), { concurrency: batchConcurrency, unordered: true }),
    Stream.runDrain
  )
  return Effect.all([alone, many], { concurrency: 2, discard: true })
})
