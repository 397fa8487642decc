/**
 * Sends what waits in the outbox.
 *
 * Guarantee: what waits for one conversation is sent in its order, but for what goes in batches; it is said of each message once what
 * became of it, and what may pass is tried for as long as ids are remembered; memory holds a few hundred of those that wait.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Batches from "./Batches.ts"
import * as Halving from "./Halving.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Conversations from "../Conversations.ts"
import * as Elapsed from "./Elapsed.ts"
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

/** How long it takes until what could not be read or stored is tried again, and until what broke off begins again. */
const pause = Duration.seconds(30)
const pauseAfterEnd = Duration.minutes(1)

/** How long it takes until what could not be sent is sent again: longer each time. */
const maximumPause = Duration.minutes(10)
const pauseAfter = (tries: number) => Duration.min(Duration.times(pause, 2 ** Math.min(tries, 10)), maximumPause)

/** How many that go by themselves are sent at once, and how many are in memory, of how many UTF-16 code units. */
const concurrency = 32
const inFlight = 10_000
const inFlightCharacters = 16 * 1024 * 1024

/** How many are read in one go. */
const maximumRead = 500

/** How many batches are under way at once. */
const batchConcurrency = 4

/** How many are set aside for it to be found out whose fault it is that their batch comes to nothing. */
const maximumAside = 1000

/** How many ids a line of the log has at the most. */
const maximumListed = 20

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

/**
 * Who wants to know what became of messages: `tell` gives those of which nobody does; `fail` is why nothing is sent for now, until `begin`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listeners {
  readonly tell: (results: ReadonlyArray<Persisted.Fate>) => ReadonlyArray<Persisted.Fate>
  readonly fail: (error: BlazeError.BlazeError) => void
  readonly begin: () => void
}

const insist = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A> =>
  ErrorKind.catchAny(effect, (kind) =>
    Effect.andThen(
      Effect.logError(`What is to be sent cannot be read from the store${kind}; it is tried again.`),
      Effect.suspend(() => Effect.delay(insist(effect), pause))
    )
  )

/** How long a store may take to tell what waits: a connection to it that is half open would take for ever. */
const readTimeout = "30 seconds"

/** What waits, so many at once as there are, and what comes later. */
const waitingIn = (outbox: Store.Outbox<unknown>, added: Added, inBatches: boolean, maximum: number) =>
  Stream.fromPull(
    Effect.sync(() => {
      let after = 0
      return Effect.gen(function* () {
        while (true) {
          const seen = added.count()
          const rows = yield* insist(Effect.timeout(outbox.next(inBatches, after, maximum), readTimeout))
          if (Arr.isReadonlyArrayNonEmpty(rows)) {
            after = rows.at(-1)!.number
            return rows
          }
          yield* added.signal.until(() => added.count() !== seen)
        }
      })
    })
  )

/** Tells of what nobody waits for, a line for each reason. */
const warn = (fates: ReadonlyArray<Persisted.Fate>) =>
  Effect.forEach(
    Object.entries(Arr.groupBy(fates, ({ error }) => error?.message ?? "")),
    ([reason, refused]) => {
      if (reason === "") return Effect.void
      const ids = Ids.list(refused.slice(0, maximumListed).map(({ id }) => id))
      const more = refused.length > maximumListed ? ` and ${refused.length - maximumListed} more` : ""
      return Effect.logWarning(`What was stored to be sent is not, and not tried again: ${ids}${more}. ${reason}`)
    },
    { discard: true }
  )

/** Says in the store, and to whoever waits for it, what became of messages. */
const makeComplete = (outbox: Store.Outbox<unknown>, meter: Meter.Meter["Service"], tell: Listeners["tell"]) => {
  const complete = (results: ReadonlyArray<Persisted.Fate>): Effect.Effect<void, BlazeError.BlazeError> =>
    Effect.flatMap(insist(outbox.complete(results)), (claim) => {
      if (claim === "Unstored") return Effect.suspend(() => Effect.delay(complete(results), pause))
      if (claim === "Conflict") return Effect.fail(States.takenOver)
      meter.measure(Telemetry.metrics.outbox, outbox.size())
      return warn(tell(results))
    })
  return complete
}

// One that cannot be sent because of an error of the program's is not to keep others from it.
const guarded = <A>(effect: Effect.Effect<A, BlazeError.BlazeError>): Effect.Effect<A, BlazeError.BlazeError> =>
  Effect.catchCause(effect, (cause) =>
    Cause.hasDies(cause)
      ? Effect.andThen(
          Effect.logError("What was stored cannot be sent because of an error.", cause),
          Effect.fail(Persisted.unsayable)
        )
      : Effect.failCause(cause)
  )

/** What became of which, and what may still be sent. */
interface Tried {
  readonly fates: ReadonlyArray<Persisted.Fate>
  readonly left: ReadonlyArray<Store.Waiting>
}

/** The two ways to send. */
const makeWays = Effect.gen(function* () {
  const sending = yield* Sending.Sending
  const { createContact } = yield* Conversations.Conversations

  /** Gives what became of it, or nothing where that may pass. */
  const sendOne = (message: Store.Waiting): Effect.Effect<Persisted.Fate | undefined, BlazeError.BlazeError> => {
    const content = Persisted.toOutgoing(message.content)
    if (content === undefined) return Effect.succeed(Persisted.fateOf(message, Persisted.unreadable))
    return guarded(sending.send(message.to, content, message.id)).pipe(
      Effect.as<Persisted.Fate | undefined>(Persisted.fateOf(message, undefined)),
      Effect.catchIf(Batches.isVerdict, (error) => Effect.succeed(Persisted.fateOf(message, error))),
      Effect.catchIf(
        ({ isRetryable }) => isRetryable,
        () => Effect.undefined
      )
    )
  }

  const sendBatch = <M extends Batches.BatchMessage>(messages: ReadonlyArray<M>) => guarded(sending.sendBatch(messages))

  const sendMany = Effect.fnUntraced(function* (
    messages: ReadonlyArray<Store.Waiting>,
    tries: number
  ): Effect.fn.Return<Tried, BlazeError.BlazeError> {
    const contents = new Map<string, Outgoing.Outgoing | undefined>()
    const fates: Array<Persisted.Fate> = []
    const left: Array<Store.Waiting> = []
    const batch = messages.flatMap((message) => {
      if (!contents.has(message.content)) contents.set(message.content, Persisted.toOutgoing(message.content))
      const content = contents.get(message.content)
      if (content !== undefined) return [{ ...message, content, stored: message }]
      fates.push(Persisted.fateOf(message, Persisted.unreadable))
      return []
    })
    const isOfOne =
      tries < Halving.wholeTries
        ? Batches.isVerdict
        : (error: BlazeError.BlazeError) => Batches.isVerdict(error) || Halving.mayBeOfOne(error)
    const sent = yield* Batches.send(sendBatch, createContact, batch, ({ way }) => way === "FirstContact", isOfOne)
    for (const { message, result } of sent) {
      const error = Result.isFailure(result) ? result.failure : undefined
      if (error !== undefined && !Batches.isVerdict(error)) left.push(message.stored)
      else fates.push(Persisted.fateOf(message.stored, error))
    }
    return { fates, left }
  })

  return { sendOne, sendMany, conversationOf: sending.conversationOf, maximumBatch: sending.maximumBatch }
})
type Ways = Effect.Success<typeof makeWays>

const expired = Persisted.failed("it could not be sent within the setting rememberedFor, and is not tried any more")

/** Which are no longer sent. What this process has stored is as old as it has seen it grow, whatever the date. */
const makeIsLate = Effect.gen(function* () {
  const { rememberedFor } = yield* Settings.checked
  const age = Duration.toMillis(rememberedFor)
  const clock = yield* Clock.Clock
  const now = yield* Elapsed.now
  const begun = { at: clock.currentTimeMillisUnsafe(), elapsed: now() }
  return ({ storedAt }: Store.Unsent) => {
    const isYoung = clock.currentTimeMillisUnsafe() - storedAt < age
    const isOwn = storedAt >= begun.at
    return !isYoung && !(isOwn && now() - begun.elapsed < age)
  }
})

/** One that goes by itself. */
interface Work {
  readonly message: Store.Waiting
  readonly conversationId: Ids.ConversationId
  tries: number
  isPausing: boolean
}

/** Sends those that go by themselves, in order for each conversation; one that waits for its next try takes no place. */
const sendAlone = (
  waiting: Stream.Stream<Store.Waiting>,
  { conversationOf, sendOne }: Ways,
  isLate: (message: Store.Unsent) => boolean,
  complete: ReturnType<typeof makeComplete>
): Effect.Effect<void, BlazeError.BlazeError> => {
  const attempt = ({ message }: Work): Effect.Effect<boolean, BlazeError.BlazeError> =>
    Effect.suspend(() => {
      if (isLate(message)) return Effect.as(complete([Persisted.fateOf(message, expired)]), true)
      return Effect.flatMap(sendOne(message), (fate) =>
        fate === undefined ? Effect.succeed(false) : Effect.as(complete([fate]), true)
      )
    })
  const next = (work: Work, exit: Exit.Exit<boolean, BlazeError.BlazeError>) => {
    if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
    if (work.isPausing) {
      work.isPausing = false
      return attempt(work)
    }
    if (exit.value) return Exit.void
    work.isPausing = true
    return Effect.as(Effect.sleep(pauseAfter(work.tries++)), false)
  }
  return waiting.pipe(
    Stream.mapEffect((message) =>
      Effect.map(conversationOf(message.to), (conversationId): Work => ({
        message,
        conversationId,
        tries: 0,
        isPausing: false
      }))
    ),
    Keyed.mapExit<Work, boolean, BlazeError.BlazeError, never, void, BlazeError.BlazeError>(attempt, next, {
      key: ({ conversationId }) => conversationId,
      concurrency,
      inFlight,
      weight: ({ message }) => message.content.length,
      inFlightWeight: inFlightCharacters,
      isAfterwards: ({ isPausing }) => isPausing
    }),
    Stream.runDrain,
    // What is being sent when the bot ends is sent again by the next one.
    Effect.provideService(Keyed.Grace, 0)
  )
}

/** Sends those that go in batches; whoever keeps the others from it is set aside, and tried alone. */
const sendInBatches = Effect.fnUntraced(function* (
  waiting: Stream.Stream<Store.Waiting>,
  { sendMany }: Ways,
  isLate: (message: Store.Unsent) => boolean,
  complete: ReturnType<typeof makeComplete>
) {
  const scope = yield* Effect.scope
  const broken = yield* Deferred.make<never, BlazeError.BlazeError>()
  let aside = 0

  const settle = (messages: ReadonlyArray<Store.Waiting>, tries: number): Effect.Effect<void, BlazeError.BlazeError> =>
    Effect.gen(function* () {
      const late = messages.filter(isLate)
      const timely = messages.filter((message) => !isLate(message))
      if (late.length > 0) yield* complete(late.map((message) => Persisted.fateOf(message, expired)))
      if (timely.length === 0) return
      const sent = yield* Effect.result(sendMany(timely, tries))
      if (Result.isSuccess(sent)) {
        const { fates, left } = sent.success
        if (fates.length > 0) yield* complete(fates)
        return yield* Effect.forEach(left, (message) => setAside(message, tries), { discard: true })
      }
      if (!sent.failure.isRetryable) return yield* sent.failure
      yield* Effect.sleep(pauseAfter(tries))
      return yield* settle(timely, tries + 1)
    })

  const setAside = (message: Store.Waiting, tries: number): Effect.Effect<void, BlazeError.BlazeError> => {
    const again = Effect.delay(
      Effect.suspend(() => settle([message], tries + 1)),
      pauseAfter(tries)
    )
    if (aside >= maximumAside) return again
    aside++
    return again.pipe(
      Effect.ensuring(Effect.sync(() => aside--)),
      Effect.catchCause((cause) => Deferred.failCause(broken, cause)),
      Effect.forkIn(scope),
      Effect.asVoid
    )
  }

  yield* waiting.pipe(
    Stream.mapArray((messages) => [messages] as const),
    Stream.mapEffect((messages) => settle(messages, 0), { concurrency: batchConcurrency, unordered: true }),
    Stream.runDrain,
    Effect.raceFirst(Deferred.await(broken))
  )
})

/**
 * Sends until another process has the store. What else ends it (the bot is refused, an error of the program's) is told, to the log and to
 * whoever waits; it begins again after a minute.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  outbox: Store.Outbox<unknown>,
  added: Added,
  { begin, fail, tell }: Listeners
) {
  const ways = yield* makeWays
  const isLate = yield* makeIsLate
  const complete = makeComplete(outbox, yield* Meter.Meter, tell)

  const once = Effect.scoped(
    Effect.all(
      [
        Effect.sync(begin),
        sendAlone(waitingIn(outbox, added, false, maximumRead), ways, isLate, complete),
        sendInBatches(waitingIn(outbox, added, true, ways.maximumBatch), ways, isLate, complete)
      ],
      { concurrency: 3, discard: true }
    )
  )
  const run: Effect.Effect<void, BlazeError.BlazeError> = Effect.catchCause(once, (cause) => {
    const error = Option.getOrElse(Cause.findErrorOption(cause), () => Persisted.unsayable)
    fail(error)
    if (error === States.takenOver) return Effect.fail(error)
    return Effect.andThen(
      Effect.logError("What was stored cannot be sent for now; it is tried again in a minute.", cause),
      Effect.suspend(() => Effect.delay(run, pauseAfterEnd))
    )
  })
  return run
})
