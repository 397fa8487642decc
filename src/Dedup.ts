/**
 * Was this message handled? The state of every id that is open or was handled.
 *
 * Guarantee: an id has one state: open (waiting or running), deferred, given up, or handled. A redelivery of a handled one is
 * acknowledged again, of any other discarded; memory is bounded, and an id whose acknowledgement is unconfirmed is never forgotten.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Persistable from "effect/persistence/Persistable"
import * as Persistence from "effect/persistence/Persistence"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as BlazeError from "./BlazeError.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import * as Ids from "./Ids.ts"
import * as Setting from "./internal/Setting.ts"

/**
 * What to do with a message that arrived: `New`, run it; `Open` and `Deferred`, it is at hand already; `GivenUp`, leave it to the next
 * process; `Handled`, acknowledge it again.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "New" | "Open" | "Deferred" | "GivenUp" | "Handled"

/**
 * How much is remembered of what was handled, whichever limit comes first: 100 000 ids, 7 days. After 7 days the server itself
 * forgets an unacknowledged message.
 *
 * @category references
 * @since 0.1.0
 */
export const Memory = Context.Reference<{ readonly size: number; readonly age: Duration.Input }>(
  "effect-blaze/Dedup/Memory",
  { defaultValue: () => ({ size: 100_000, age: "7 days" }) }
)

/**
 * @category services
 * @since 0.1.0
 */
export class Dedup extends Context.Service<
  Dedup,
  {
    /** Judges ids in the order of their arrival; the new ones are open from here on. */
    readonly admit: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<ReadonlyArray<Verdict>>
    /** What became of an open id; one that is forgotten is new again when it comes back. */
    readonly settle: (id: Ids.MessageId, state: "Handled" | "Deferred" | "GivenUp" | "Forgotten") => void
    /** Before their acknowledgement: a durable memory keeps these ids from here on. */
    readonly record: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void>
    /** The server has taken these acknowledgements. */
    readonly confirm: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void>
  }
>()("effect-blaze/Dedup") {}

const checkedMemory = Effect.gen(function* () {
  const memory = yield* Memory
  const size = yield* Setting.count("Dedup.Memory.size", memory.size, 0)
  return { size, age: yield* Setting.duration("Dedup.Memory.age", memory.age, "positive") }
})

type State = Exclude<Verdict, "New">

// A number stands for a confirmation, which is final; an id that is not known is not settled.
const settleIn =
  (states: Map<Ids.MessageId, State | number>): Dedup["Service"]["settle"] =>
  (id, state) => {
    const before = states.get(id)
    if (before === undefined || typeof before === "number") return
    if (state === "Forgotten") states.delete(id)
    else states.set(id, state)
  }

interface Confirmation {
  readonly ids: ReadonlyArray<Ids.MessageId>
  readonly at: number
  readonly number: number
}

const passedConfirmation: Confirmation = { ids: [], at: 0, number: 0 }

/** How much may be listed that is remembered no longer, and is not worth a walk through all that is. */
const slack = 10_000

/**
 * Remembers in memory; after a restart everything is new.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Dedup, BlazeError.BlazeError> = Layer.effect(
  Dedup,
  Effect.gen(function* () {
    const memory = yield* checkedMemory
    const age = Duration.toMillis(memory.age)
    const now = yield* Elapsed.now
    // One look-up tells all of an id: a number is that of its confirmation.
    const states = new Map<Ids.MessageId, State | number>()
    // Confirmed together, forgotten one by one in the order of confirmation.
    let confirmations: Array<Confirmation> = []
    let first = 0
    let passed = 0
    let latest = 0
    let remembered = 0
    let listed = 0

    // One that was confirmed again since then is remembered from then on.
    const isCurrent = (id: Ids.MessageId, { number }: Confirmation) => states.get(id) === number

    const forgetOldest = (now: number) => {
      for (; first < confirmations.length; first++, passed = 0) {
        const oldest = confirmations[first]!
        for (; passed < oldest.ids.length; passed++, listed--) {
          const id = oldest.ids[passed]!
          if (!isCurrent(id, oldest)) continue
          if (remembered <= memory.size && now - oldest.at < age) return
          states.delete(id)
          remembered--
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
      listed = remembered
    }

    return Dedup.of({
      admit: (ids) =>
        Effect.sync(() =>
          ids.map((id) => {
            const state = states.get(id)
            if (state !== undefined) return typeof state === "number" ? "Handled" : state
            states.set(id, "Open")
            return "New"
          })
        ),
      settle: settleIn(states),
      record: () => Effect.void,
      confirm: (ids) =>
        Effect.sync(() => {
          const at = now()
          const number = ++latest
          for (const id of ids) {
            if (typeof states.get(id) !== "number") remembered++
            states.set(id, number)
          }
          confirmations.push({ ids, at, number })
          listed += ids.length
          forgetOldest(at)
          if (listed > 2 * remembered + slack || first > slack) compact()
        })
    })
  })
)

class HandledId extends Persistable.Class<{ payload: { readonly id: Ids.MessageId } }>()("effect-blaze/Dedup/Handled", {
  primaryKey: ({ id }) => id,
  success: Schema.Void
}) {}

/** How long a store may take. It is asked where nothing can be interrupted. */
const storeTimeout = "2 seconds"

/** How often a store that fails is asked again before the bot goes on without its answer. */
const storeRetry = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 5 }))

const persevere = <A, E>(effect: Effect.Effect<A, E>, fallback: A, problem: string): Effect.Effect<A> =>
  effect.pipe(
    Effect.timeout(storeTimeout),
    Effect.retry(storeRetry),
    Effect.catch(() => Effect.as(Effect.logError(problem), fallback))
  )

/**
 * Remembers in a store of `effect/persistence` (Redis, SQL, a key-value store), so that a message that was handled before a crash is
 * not handled again after it.
 *
 * **Gotchas**
 *
 * An id is written before its acknowledgement is sent, not before its handler returns: a crash between the two runs the handler
 * again. When the store cannot be reached after several tries, that is logged, and a message counts as new.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPersistence = (options: {
  /** Tells the bots in one store apart. */
  readonly storeId: string
}): Layer.Layer<Dedup, BlazeError.BlazeError, Persistence.Persistence> =>
  Layer.effect(
    Dedup,
    Effect.gen(function* () {
      const { age } = yield* checkedMemory
      const persistence = yield* Persistence.Persistence
      const store = yield* persistence.make({ storeId: options.storeId, timeToLive: () => age })
      // The states that end with the process.
      const states = new Map<Ids.MessageId, State>()
      const open = (id: Ids.MessageId): Verdict => {
        states.set(id, "Open")
        return "New"
      }

      return Dedup.of({
        admit: Effect.fnUntraced(function* (ids) {
          // What is confirmed while the store is read is forgotten here, and known there too late for this reading.
          const before = ids.map((id) => states.get(id))
          const unknown = ids.filter((_, index) => before[index] === undefined)
          const found = Arr.isReadonlyArrayNonEmpty(unknown)
            ? yield* persevere(
                store.getMany(unknown.map((id) => new HandledId({ id }))),
                [],
                "The store of handled messages cannot be read; messages that come back may be handled again."
              )
            : []
          const handled = new Set(unknown.filter((_, index) => found[index] !== undefined))
          return ids.map((id, index) => states.get(id) ?? before[index] ?? (handled.has(id) ? "Handled" : open(id)))
        }),
        settle: settleIn(states),
        record: (ids) =>
          persevere(
            store.setMany(ids.map((id) => [new HandledId({ id }), Exit.void] as const)),
            undefined,
            "The store of handled messages cannot be written; messages that come back may be handled again."
          ),
        confirm: (ids) => Effect.sync(() => ids.forEach((id) => states.delete(id)))
      })
    })
  )
