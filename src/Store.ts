/**
 * What must last of the life of an id: the port, and the store of one process.
 *
 * Guarantee: what is handled stays handled, whoever commits what later; memory is bounded.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Awaited from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as BlazeError from "./BlazeError.ts"
import type * as Ids from "./Ids.ts"
import * as ErrorKind from "./internal/ErrorKind.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import * as MemoryStates from "./internal/MemoryStates.ts"
import * as MemoryOutbox from "./internal/MemoryOutbox.ts"
import type { Known, Sent, Unsent, Waiting as WaitingMessage } from "./internal/Unsent.ts"
import * as Settings from "./Settings.ts"
import type { Kept, Write } from "./internal/Writes.ts"

export type { Known, Sent, Unsent, Waiting } from "./internal/Unsent.ts"
export type { Kept, Write } from "./internal/Writes.ts"

/**
 * What became of a message: it is handled, or it was put aside, for the `tries`th time, until a date in milliseconds since 1970; where its
 * handler asked for a time, `after` is that time in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export const Outcome = Schema.Union([
  Schema.TaggedStruct("Handled", {}),
  Schema.TaggedStruct("Deferred", {
    tries: Schema.Int,
    until: Schema.Finite,
    after: Schema.optionalKey(Schema.Finite)
  })
])
/** @since 0.1.0 */
export type Outcome = typeof Outcome.Type

/**
 * The outcome of a message that was put aside.
 *
 * @category models
 * @since 0.1.0
 */
export type Deferred = Extract<Outcome, { readonly _tag: "Deferred" }>

/** @since 0.1.0 */
export const Handled: Outcome = { _tag: "Handled" }

/**
 * What is to be stored of a message. `writes` is stored together with it, or not at all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  readonly id: Ids.MessageId
  readonly outcome: Outcome
  readonly writes: ReadonlyArray<Write>
}

/**
 * What came of a change: it is stored; the message was handled before, and nothing is stored; somebody else has it, and nothing is
 * stored; what its writes are based on has changed, and nothing is stored; it could not be stored.
 *
 * @category models
 * @since 0.1.0
 */
export type Claim = "Committed" | "Known" | "Conflict" | "Changed" | "Unstored"

/**
 * What a store does that remembers values too. What it is given was made by `State`.
 *
 * @category models
 * @since 0.1.0
 */
export interface States<E> {
  /** What is remembered under a name and a key. */
  readonly read: (name: string, key: string) => Effect.Effect<Kept | undefined, E>
  /** What is due by a time in milliseconds since 1970, so many at the most, that of longest ago first, without the first of these. */
  readonly due: (name: string, by: number, maximum: number, without: number) => Effect.Effect<ReadonlyArray<Kept>, E>
  /** Stores what belongs to no message. */
  readonly write: (write: Write) => Effect.Effect<Claim, E>
}

/**
 * What a store does that keeps messages until they are sent too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outbox<E> {
  /** Stores those of whose ids it knows nothing, in their order. */
  readonly add: (messages: ReadonlyArray<Unsent>) => Effect.Effect<Claim, E>
  /** What waits of those that go in batches, or by themselves: so many at the most, after a number, in the order in which they were stored. */
  readonly next: (inBatches: boolean, after: number, maximum: number) => Effect.Effect<ReadonlyArray<WaitingMessage>, E>
  /** What became of some. One that went by itself and was taken may be forgotten, any other one after `rememberedFor`. */
  readonly complete: (results: ReadonlyArray<Sent>) => Effect.Effect<Claim, E>
  /** What is known of each, in their order. */
  readonly results: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<ReadonlyArray<Known | undefined>, E>
  /** How many wait. */
  readonly size: () => number
  /** Whether more may, as far as the store has a bound of its own: how many is looked at before. */
  readonly hasRoom: () => boolean
  /** Whether the next process has them. */
  readonly isLasting: boolean
  /** Where several processes have them at the same time. */
  readonly shared?: Shared<E> | undefined
}

/**
 * What a store of messages does that several processes have at the same time, of which one sends.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shared<E> {
  /** Runs what sends for as long as it is this process's turn, whenever it is. */
  readonly inTurn: (send: Effect.Effect<void>) => Effect.Effect<never>
  /** Reads what the others have stored and sent since. */
  readonly refresh: Effect.Effect<void, E>
}

/**
 * What a store does. It knows nothing of what is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operations<E> {
  /**
   * What is stored of each, in their order. Of what could not be read a store that several processes share says `Unread`: it is given back, for
   * another of them may be at work on it.
   */
  readonly load: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<ReadonlyArray<Outcome | "Unread" | undefined>, E>
  /** Stores all of it or nothing, in one transaction; what came of each, in their order. */
  readonly commit: (changes: ReadonlyArray<Change>) => Effect.Effect<ReadonlyArray<Claim>, E>
  /** The server has taken their acknowledgements: from here on they may be forgotten, when they are old enough. */
  readonly confirm: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void, E>
  /** Where there is nothing, changes have no writes. */
  readonly states?: States<unknown> | undefined
  /** Where there is nothing, nothing can be sent later. */
  readonly outbox?: Outbox<unknown> | undefined
}

/**
 * The port. It does not fail: see `persevering`, and `gathering` for one that commits at once.
 *
 * @category services
 * @since 0.1.0
 */
export class Store extends Context.Service<
  Store,
  Operations<never> & {
    /**
     * Whether what became of a message is stored before its conversation goes on, and not only before its acknowledgement. What cannot be
     * stored is not acknowledged then.
     */
    readonly commitsAtOnce: boolean
  }
>()("effect-blaze/Store") {}

/** How long a store may take. It is asked where nothing can be interrupted. */
const timeout = "2 seconds"

/** How often a store that fails is asked again before the bot goes on without its answer. */
const retry = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 5 }))

/** Asks once, and fails with all that went wrong. */
const asking = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A, Cause.Cause<unknown>> =>
  // What cannot be interrupted, a COMMIT say, is left to itself.
  Effect.forkDetach(effect, { startImmediately: true }).pipe(
    Effect.flatMap((fiber) => Fiber.join(fiber)),
    Effect.timeout(timeout),
    // A client may die of what is wrong with its connection.
    Effect.sandbox
  )

const cannot = (problem: string, cause: Cause.Cause<unknown>, consequence: string) =>
  Effect.logError(
    `The store of handled messages cannot be ${problem}${ErrorKind.of(Cause.squash(cause))}; ${consequence}.`
  )

const persevere = <A>(
  ask: () => Effect.Effect<A, unknown>,
  fallback: A,
  problem: string,
  consequence = "messages that come back may be handled again"
): Effect.Effect<A> =>
  asking(Effect.suspend(ask)).pipe(
    Effect.retry(retry),
    Effect.catch((cause) => Effect.as(cannot(problem, cause, consequence), fallback))
  )

/** Whether more is stored of a message than what became of it. */
const isWritten = ({ writes }: Change) => writes.length > 0

/**
 * Makes a port of a store that can fail: each operation has 2 seconds and is tried six times; then that is logged, and the bot goes on
 * without its answer. What a handler has written to states is written again every 30 seconds, and its message waits. With one that several
 * processes share (`isShared`) it does not begin with what could not be read.
 *
 * @category combinators
 * @since 0.1.0
 */
export const persevering = (
  store: Operations<unknown>,
  { isShared = false }: { readonly isShared?: boolean | undefined } = {}
): Store["Service"] => ({
  commitsAtOnce: false,
  load: (ids) =>
    isShared
      ? persevere(
          () => store.load(ids),
          ids.map(() => "Unread" as const),
          "read",
          "what has come waits for it, here or on another machine"
        )
      : persevere(() => store.load(ids), [], "read"),
  commit: (changes) =>
    changes.some(isWritten)
      ? persevere(
          () => store.commit(changes),
          changes.map((change): Claim => (isWritten(change) ? "Unstored" : "Committed")),
          "written",
          "what a handler has written is written again before its message is acknowledged"
        )
      : persevere(() => store.commit(changes), [], "written"),
  confirm: (ids) => persevere(() => store.confirm(ids), undefined, "written"),
  states: store.states,
  outbox: store.outbox
})

/** Whether it is not what was to be written that is wrong. */
const isOfDatabase = (cause: Cause.Cause<unknown>) =>
  /Timeout|Connection|Authentication|Authorization/.test(ErrorKind.of(Cause.squash(cause)))

/** How many changes go together at the most. */
const maximumTogether = 1000

interface Waiting<C> {
  readonly changes: ReadonlyArray<C>
  readonly claims: Awaited.Deferred<ReadonlyArray<Claim>>
}

/**
 * Has what is to be stored while a transaction runs go together in the next one. What cannot be stored after six tries, and once more by
 * itself, is `Unstored`, and logged.
 *
 * @category combinators
 * @since 0.1.0
 */
export const gathering = <C>(
  commit: (changes: ReadonlyArray<C>) => Effect.Effect<ReadonlyArray<Claim>, unknown>
): Effect.Effect<(changes: ReadonlyArray<C>) => Effect.Effect<ReadonlyArray<Claim>>> =>
  Effect.map(Effect.context<never>(), (context) => {
    let waiting: Array<Waiting<C>> = []
    let isRunning = false

    const takeSome = () => {
      let count = 0
      let end = 0
      while (end < waiting.length && (end === 0 || count + waiting[end]!.changes.length <= maximumTogether)) {
        count += waiting[end++]!.changes.length
      }
      return waiting.splice(0, end)
    }

    const run = Effect.gen(function* () {
      while (waiting.length > 0) {
        // Those that end in the same turn go along.
        yield* Effect.yieldNow
        const group = takeSome()
        const changes = group.flatMap(({ changes }) => changes)
        const together = yield* Effect.result(Effect.retry(asking(Effect.suspend(() => commit(changes))), retry))
        if (Result.isSuccess(together)) {
          let next = 0
          for (const { changes, claims } of group) {
            Awaited.doneUnsafe(claims, Exit.succeed(together.success.slice(next, (next += changes.length))))
          }
          continue
        }
        const { failure } = together
        // One that no database takes is not to keep the others from it. Where it is the database itself, none is asked for again.
        let isAsked = group.length > 1 && !isOfDatabase(failure)
        yield* cannot("written", failure, "what was handled meanwhile is not acknowledged, and comes back")
        for (const { changes, claims } of group) {
          const alone = isAsked ? yield* Effect.result(asking(Effect.suspend(() => commit(changes)))) : together
          if (Result.isFailure(alone) && isOfDatabase(alone.failure)) isAsked = false
          Awaited.doneUnsafe(
            claims,
            Exit.succeed(Result.isSuccess(alone) ? alone.success : changes.map((): Claim => "Unstored"))
          )
        }
      }
      isRunning = false
    })

    return (changes) =>
      Effect.suspend(() => {
        const claims = Awaited.makeUnsafe<ReadonlyArray<Claim>>()
        waiting.push({ changes, claims })
        if (!isRunning) {
          isRunning = true
          Effect.runForkWith(context)(run)
        }
        return Awaited.await(claims)
      })
  })

/** What a store without claims says of all it is given. */
export const committed = (changes: ReadonlyArray<Change>): ReadonlyArray<Claim> => changes.map(() => "Committed")

interface Confirmation {
  readonly ids: ReadonlyArray<Ids.MessageId>
  readonly at: number
  readonly number: number
}

const passedConfirmation: Confirmation = { ids: [], at: 0, number: 0 }

/** How much may be listed that is remembered no longer, and is not worth a walk through all that is. */
const slack = 10_000

/**
 * Remembers in memory what was confirmed, and values (`State`); after a restart everything is new.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Store, BlazeError.BlazeError> = Layer.effect(
  Store,
  Effect.gen(function* () {
    const { rememberedFor, rememberedMessages, rememberedStates } = yield* Settings.checked
    const remembered = makeRemembered(rememberedMessages, Duration.toMillis(rememberedFor), yield* Elapsed.now)
    const states = MemoryStates.make(rememberedStates, yield* Clock.Clock)
    const outbox = MemoryOutbox.make()
    const write = (writes: ReadonlyArray<Write>): Effect.Effect<Claim> =>
      Effect.map(states.write(writes), (isMade) => (isMade ? "Committed" : "Changed"))
    return Store.of({
      commitsAtOnce: false,
      load: (ids) => Effect.sync(() => ids.map((id) => (remembered.has(id) ? Handled : undefined))),
      // What is not confirmed is remembered by who commits it, for as long as the process lives.
      commit: (changes) =>
        Effect.suspend(() =>
          changes.every(({ writes }) => writes.length === 0)
            ? Effect.succeed(committed(changes))
            : Effect.forEach(changes, ({ writes }) => write(writes))
        ),
      confirm: (ids) => Effect.sync(() => remembered.add(ids)),
      states: {
        read: (name, key) => Effect.sync(() => states.read(name, key)),
        due: (name, by, maximum, without) => Effect.sync(() => states.due(name, by, maximum, without)),
        write: (each) => write([each])
      },
      outbox: {
        ...outbox,
        add: (messages) =>
          Effect.as(
            Effect.sync(() => outbox.add(messages)),
            "Committed"
          ),
        next: (inBatches, after, maximum) => Effect.sync(() => outbox.next(inBatches, after, maximum)),
        complete: (results) =>
          Effect.as(
            Effect.sync(() => outbox.complete(results)),
            "Committed"
          ),
        results: (ids) => Effect.sync(() => outbox.results(ids))
      }
    })
  })
)

/** Ids that were confirmed together, forgotten one by one in the order of confirmation. */
const makeRemembered = (size: number, age: number, now: () => number) => {
  // The number of the confirmation that counts for an id: the latest.
  const numbers = new Map<Ids.MessageId, number>()
  let confirmations: Array<Confirmation> = []
  let first = 0
  let passed = 0
  let latest = 0
  let listed = 0

  const isCurrent = (id: Ids.MessageId, { number }: Confirmation) => numbers.get(id) === number

  const forgetOldest = (now: number) => {
    for (; first < confirmations.length; first++, passed = 0) {
      const oldest = confirmations[first]!
      for (; passed < oldest.ids.length; passed++, listed--) {
        const id = oldest.ids[passed]!
        if (!isCurrent(id, oldest)) continue
        if (numbers.size <= size && now - oldest.at < age) return
        numbers.delete(id)
      }
      confirmations[first] = passedConfirmation
    }
  }

  // What is confirmed again and again is listed as often, until it outweighs what is remembered.
  const compact = () => {
    confirmations = confirmations.slice(first).flatMap((confirmation) => {
      const ids = confirmation.ids.filter((id) => isCurrent(id, confirmation))
      return ids.length === 0 ? [] : [{ ...confirmation, ids }]
    })
    first = 0
    passed = 0
    listed = numbers.size
  }

  return {
    has: (id: Ids.MessageId) => numbers.has(id),
    add: (ids: ReadonlyArray<Ids.MessageId>) => {
      const at = now()
      const number = ++latest
      for (const id of ids) numbers.set(id, number)
      confirmations.push({ ids, at, number })
      listed += ids.length
      forgetOldest(at)
      if (listed > 2 * numbers.size + slack || first > slack) compact()
    }
  }
}
