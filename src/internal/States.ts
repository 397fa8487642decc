/**
 * The state of every id that this process knows, over the store for what lasts.
 *
 * Guarantee: an id has one state: open (waiting or running), deferred, given up, or handled. A redelivery of a handled one is
 * acknowledged again, of any other discarded; an id whose acknowledgement is unconfirmed is never forgotten.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BlazeError from "../BlazeError.ts"
import * as Ids from "../Ids.ts"
import * as Store from "../Store.ts"

/**
 * What this process knows of an id. `Due` is one that it has put aside and that it is time for: it is new when it comes, whatever is stored.
 *
 * @category models
 * @since 0.1.0
 */
export type State = "Open" | "Deferred" | "Due" | "GivenUp" | "Handled"

/**
 * What to do with a message that arrived: `New`, run it; `Open` and `Deferred`, it is at hand already; `GivenUp`, leave it to the next
 * process; `Handled`, acknowledge it again; `Unread`, give it back; one that an earlier process has put aside, put it aside again.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = Exclude<State, "Due"> | "New" | "Unread" | Store.Deferred

/**
 * @category services
 * @since 0.1.0
 */
export class States extends Context.Service<
  States,
  {
    /** Judges ids in the order of their arrival; the new ones are open from here on. */
    readonly admit: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<ReadonlyArray<Verdict>>
    /** What is known of an id, as far as this process has made something of it. */
    readonly of: (id: Ids.MessageId) => State | undefined
    /** What became of an open id; one that is forgotten is new again when it comes back. */
    readonly become: (id: Ids.MessageId, state: Exclude<State, "Open"> | "Forgotten") => void
    /** Stores what became of ids; gives what came of each, in their order. */
    readonly commit: (
      ids: ReadonlyArray<Ids.MessageId>,
      outcome: Store.Outcome
    ) => Effect.Effect<ReadonlyArray<Store.Claim>>
    /** Stores that messages were handled together, and what is written with them; gives what came of each, in their order. */
    readonly settle: (
      ids: ReadonlyArray<Ids.MessageId>,
      writes: ReadonlyArray<Store.Write>
    ) => Effect.Effect<ReadonlyArray<Store.Claim>>
    /** See `Store.Store`. */
    readonly commitsAtOnce: boolean
    /** The server has taken these acknowledgements. */
    readonly confirm: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void>
  }
>()("effect-blaze/internal/States") {}

/**
 * Whether a message is this process's to acknowledge. Where a store says nothing it is.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isOwn = (claim: Store.Claim | undefined): boolean => claim !== "Conflict" && claim !== "Unstored"

/**
 * Why a bot stops whose store another process has taken over.
 *
 * @category errors
 * @since 0.1.0
 */
export const takenOver: BlazeError.BlazeError = BlazeError.make(
  new BlazeError.InvalidSetting({
    setting: "option",
    field: "the store",
    expected: "this process's alone: another one has taken it over"
  })
)

/** In the words of the log. */
export const othersHave = (ids: ReadonlyArray<Ids.MessageId>): string =>
  `These messages belong to another process, which acknowledges them: ${Ids.list(ids)}`

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<States["Service"], never, Store.Store> = Effect.gen(function* () {
  const store = yield* Store.Store
  const states = new Map<Ids.MessageId, State>()

  const judge = (
    id: Ids.MessageId,
    known: State | undefined,
    stored: Store.Outcome | "Unread" | undefined
  ): Verdict => {
    const state = states.get(id) ?? known
    if (state !== undefined && state !== "Due") return state
    if (state === undefined && stored !== undefined) {
      if (stored === "Unread") return stored
      if (stored._tag === "Handled") return "Handled"
      states.set(id, "Deferred")
      return stored
    }
    states.set(id, "Open")
    return "New"
  }

  return States.of({
    admit: (ids) =>
      Effect.suspend(() => {
        // What is confirmed while the store is read is forgotten here, and known there too late for this reading.
        const before = ids.map((id) => states.get(id))
        const unknown = ids.filter((_, index) => before[index] === undefined)
        const loaded: Effect.Effect<ReadonlyArray<Store.Outcome | "Unread" | undefined>> =
          unknown.length === 0 ? Effect.succeed([]) : store.load(unknown)
        return Effect.map(loaded, (found) => {
          let next = 0
          return ids.map((id, index) => {
            const known = before[index]
            return judge(id, known, known === undefined ? found[next++] : undefined)
          })
        })
      }),
    of: (id) => states.get(id),
    become: (id, state) => {
      if (!states.has(id)) return
      if (state === "Forgotten") states.delete(id)
      else states.set(id, state)
    },
    commit: (ids, outcome) => store.commit(ids.map((id) => ({ id, outcome, writes: [] }))),
    settle: (ids, writes) => store.commit(ids.map((id) => ({ id, outcome: Store.Handled, writes }))),
    commitsAtOnce: store.commitsAtOnce,
    confirm: (ids) =>
      Effect.map(store.confirm(ids), () => {
        for (const id of ids) states.delete(id)
      })
  })
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<States, never, Store.Store> = Layer.effect(States, make)
