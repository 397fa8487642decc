/**
 * One value that is remembered: read, and written with the end of a message or at once.
 *
 * Guarantee: what a handler writes is there once its message is handled, and never without that; what it has read is the same for as long as
 * it runs; nothing is written on what has changed meanwhile.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as BlazeError from "../BlazeError.ts"
import * as ErrorKind from "./ErrorKind.ts"
import * as Setting from "./Setting.ts"
import * as Settings from "../Settings.ts"
import * as Store from "../Store.ts"
import * as Writes from "./Writes.ts"

/**
 * What can be done with a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cell<A> {
  /** What is remembered, if anything is. */
  readonly get: Effect.Effect<Option.Option<A>, BlazeError.BlazeError>
  /** Remembers something else; with `due`, the time from now until `State.due` tells of it, which is not told of otherwise. */
  readonly set: (
    value: A,
    options?: { readonly due?: Duration.Input | undefined }
  ) => Effect.Effect<void, BlazeError.BlazeError>
  /** Forgets it. */
  readonly remove: Effect.Effect<void, BlazeError.BlazeError>
}

/**
 * The form of a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Form<in out A> {
  readonly name: string
  /** Where it is stored: two of one name may be of different things. */
  readonly place: string
  /** What is wrong with its options. */
  readonly problem: string | undefined
  /** Reads what was written by this version or an earlier one. */
  readonly decode: (kept: Pick<Store.Kept, "version" | "value">) => Effect.Effect<A, BlazeError.BlazeError>
  readonly encode: (value: A) => Effect.Effect<Pick<Store.Kept, "version" | "value">, BlazeError.BlazeError>
  /** How long after its last write it is remembered. */
  readonly timeToLive: Duration.Input | undefined
}

/**
 * What one bot remembers.
 *
 * @category services
 * @since 0.1.0
 */
export class Storage extends Context.Service<
  Storage,
  {
    readonly read: (name: string, key: string) => Effect.Effect<Store.Kept | undefined, BlazeError.BlazeError>
    /** So many of what is due at the most, without the first ones. */
    readonly due: (
      name: string,
      maximum: number,
      without: number
    ) => Effect.Effect<ReadonlyArray<Store.Kept>, BlazeError.BlazeError>
    readonly write: (write: Store.Write) => Effect.Effect<void, BlazeError.BlazeError>
    /** Has what is done with one place done one after the other. */
    readonly alone: <A, E, R>(place: string, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Another one each time. */
    readonly revision: () => string
    /** How many UTF-16 code units a value may have. */
    readonly maximumSize: number
  }
>()("effect-blaze/State/Storage") {}

const failed = (state: string, problem: string) =>
  Effect.fail(BlazeError.make(new BlazeError.StateFailed({ state, problem })))

/** In the store a name has its kind before it. */
const nameOf = (place: string) => place.slice(place.indexOf(" ") + 1)

/** How long a store may take to tell what is remembered. */
const readTimeout = "2 seconds"

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Storage["Service"],
  BlazeError.BlazeError,
  Store.Store | SecureRandom.SecureRandom | Scope.Scope
> = Effect.gen(function* () {
  const { states } = yield* Store.Store
  const { maximumStateSize } = yield* Settings.checked
  const life = yield* (yield* SecureRandom.SecureRandom).uuidV4()
  let writes = 0
  const locks = yield* RcMap.make<string, Semaphore.Semaphore, never, never>({ lookup: () => Semaphore.make(1) })
  const asked = <A>(place: string, ask: (states: Store.States<unknown>) => Effect.Effect<A, unknown>) =>
    states === undefined
      ? failed(nameOf(place), "the store keeps no states")
      : ErrorKind.catchAny(ask(states), (kind) => failed(nameOf(place), `the store does not answer${kind}`))
  return Storage.of({
    maximumSize: maximumStateSize,
    revision: () => `${life} ${++writes}`,
    alone: (place, effect) => Effect.scoped(Effect.flatMap(RcMap.get(locks, place), (lock) => lock.withPermit(effect))),
    read: (name, key) => asked(name, ({ read }) => Effect.timeout(read(name, key), readTimeout)),
    due: (name, maximum, without) =>
      asked(name, ({ due }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.timeout(due(name, now, maximum, without), readTimeout))
      ),
    write: (write) =>
      Effect.flatMap(
        asked(write.name, ({ write: make }) => make(write)),
        (claim) => {
          const state = nameOf(write.name)
          if (claim === "Committed" || claim === "Known") return Effect.void
          if (claim === "Changed") return Effect.fail(BlazeError.make(new BlazeError.StateChanged({ state })))
          return failed(
            state,
            claim === "Conflict"
              ? "another process has taken the store over"
              : "it is not known whether it was written, for the store does not answer"
          )
        }
      )
  })
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage, BlazeError.BlazeError, Store.Store | SecureRandom.SecureRandom> = Layer.effect(
  Storage,
  make
)

/** Of a name or a key that a database would not give back as it was. */
const isUsable = (text: string) => !text.includes("\0") && text.isWellFormed()

/** What cannot be stored under any key, or under this one. */
const problemOf = <A>({ name, problem }: Form<A>, key: string): string | undefined =>
  problem ??
  (!isUsable(name)
    ? "its name has a NUL, or half of a character"
    : !isUsable(key)
      ? "its key has a NUL, or half of a character"
      : undefined)

/** What is there once a value is written. */
const nextOf = <A>(form: Form<A>, value: A, due: Duration.Input | undefined, storage: Storage["Service"]) =>
  Effect.gen(function* () {
    const encoded = yield* form.encode(value)
    if (encoded.value.length > storage.maximumSize) {
      return yield* failed(
        form.name,
        `a value has ${encoded.value.length} characters as JSON, and maximumStateSize is ${storage.maximumSize}`
      )
    }
    const now = yield* Clock.currentTimeMillis
    const after = (name: string, time: Duration.Input | undefined) =>
      time === undefined
        ? Effect.succeed(undefined)
        : Effect.map(Setting.duration(name, time, "zero or more"), (duration) => {
            const millis = Math.ceil(now + Duration.toMillis(duration))
            return Number.isSafeInteger(millis) ? millis : undefined
          })
    const dueAt = yield* after("due", due)
    const expiresAt = yield* after("timeToLive", form.timeToLive)
    if (dueAt !== undefined && expiresAt !== undefined && dueAt >= expiresAt) {
      return yield* failed(form.name, "it would be due when it is no longer remembered, by its timeToLive")
    }
    return { ...encoded, dueAt, expiresAt }
  })

type Next = Writes.Change["next"]
type Stored = Pick<Store.Kept, "version" | "value"> | undefined

/** A cell over what is done with a value that is there, and with one that shall be. */
const cell = <A>(
  form: Form<A>,
  key: string,
  storage: Storage["Service"],
  read: Effect.Effect<Stored, BlazeError.BlazeError>,
  write: (next: Next) => Effect.Effect<void, BlazeError.BlazeError>
): Cell<A> => {
  const problem = problemOf(form, key)
  const checked = <B>(effect: Effect.Effect<B, BlazeError.BlazeError>) =>
    problem === undefined ? effect : failed(form.name, problem)
  return {
    get: checked(
      Effect.flatMap(read, (kept) =>
        kept === undefined ? Effect.succeedNone : Effect.map(form.decode(kept), Option.some)
      )
    ),
    set: (value, { due } = {}) => checked(Effect.flatMap(nextOf(form, value, due, storage), write)),
    remove: checked(Effect.suspend(() => write(undefined)))
  }
}

/**
 * What a handler has read, and what it would write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  readonly known: Map<string, Pick<Store.Write, "name" | "key"> & { readonly kept: Store.Kept | undefined }>
  readonly writes: Map<string, Writes.Change>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const makeDraft = (): Draft => ({ known: new Map(), writes: new Map() })

/**
 * What is written of it, if anything is, with what that was decided on: once, however many share it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const take = ({ known, writes }: Draft): ReadonlyArray<Store.Write> => {
  if (writes.size === 0) return []
  const all: Array<Store.Write> = [...writes.values()]
  for (const [place, { kept, key, name }] of known) {
    if (!writes.has(place)) all.push({ name, key, basedOn: { revision: kept?.revision }, revision: "", next: "Same" })
  }
  // What was decided on stays so for what is written after it, and what is written now is what is there then.
  for (const [place, { key, name, next, revision }] of writes) {
    if (known.has(place))
      known.set(place, { name, key, kept: next === undefined ? undefined : { ...next, key, revision } })
  }
  writes.clear()
  return all
}

/**
 * A value whose changes are written with the end of a message. `draft` is where they wait for it: nothing once that has come, and another
 * one where the handler runs again, to which a value of its last run does not belong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const drafted = <A>(
  form: Form<A>,
  key: string,
  storage: Storage["Service"],
  draft: () => Draft | undefined
): Cell<A> => {
  const { name, place: stored } = form
  const place = Writes.placeOf({ name: stored, key })
  const own = draft()
  const isOver = Effect.suspend(() =>
    failed(name, "the message has been settled, or is handled again, and nothing is written with this any more")
  )
  const look = (from: Draft) =>
    Effect.suspend((): Effect.Effect<Stored, BlazeError.BlazeError> => {
      const write = from.writes.get(place)
      if (write !== undefined) return Effect.succeed(write.next)
      const known = from.known.get(place)
      if (known !== undefined) return Effect.succeed(known.kept)
      return Effect.map(storage.read(stored, key), (kept) => {
        // Somebody else may have read it meanwhile: it is the same for all of the handler.
        const first = from.known.get(place) ?? { name: stored, key, kept }
        from.known.set(place, first)
        return first.kept
      })
    })
  const current = () => {
    const now = draft()
    return now === own ? now : undefined
  }
  return cell(
    form,
    key,
    storage,
    Effect.suspend(() => {
      const from = current()
      return from === undefined ? storage.read(stored, key) : look(from)
    }),
    (next) =>
      Effect.suspend(() => {
        const to = current()
        if (to === undefined) return isOver
        const known = to.known.get(place)
        const basedOn = known && { revision: known.kept?.revision }
        to.writes.set(place, { name: stored, key, basedOn, revision: storage.revision(), next })
        return Effect.void
      })
  )
}

/**
 * A value whose changes are written at once, on what `get` has read last, or on what is known of it.
 *
 * **Details**
 *
 * After a write it stands on what it wrote, where it had read at all. Where several had read before one of them wrote, it stands on what they
 * read: of all that they decided one thing counts.
 *
 * @category constructors
 * @since 0.1.0
 */
export const immediate = <A>(form: Form<A>, key: string, storage: Storage["Service"], known?: Store.Kept): Cell<A> => {
  const { place } = form
  let basedOn: Store.Write["basedOn"] = known === undefined ? undefined : { revision: known.revision }
  let reads = known === undefined ? 0 : 1
  return cell(
    form,
    key,
    storage,
    Effect.map(storage.read(place, key), (kept) => {
      basedOn = { revision: kept?.revision }
      reads++
      return kept
    }),
    (next) =>
      Effect.suspend(() => {
        const revision = storage.revision()
        const before = basedOn
        const isAlone = reads <= 1
        reads = 0
        return Effect.map(storage.write({ name: place, key, basedOn, revision, next }), () => {
          if (before === undefined || !isAlone || reads > 0) return
          basedOn = { revision: next === undefined ? undefined : revision }
        })
      })
  )
}

/**
 * Reads a value, makes another one of it, and writes that where nothing has changed meanwhile; else again. One at a time for each key, in
 * this process.
 *
 * @category combinators
 * @since 0.1.0
 */
export const update = <A>(
  form: Form<A>,
  key: string,
  storage: Storage["Service"],
  f: (before: Option.Option<A>) => A
): Effect.Effect<A, BlazeError.BlazeError> =>
  storage.alone(
    Writes.placeOf({ name: form.place, key }),
    Effect.suspend(() => {
      const { get, set } = immediate(form, key, storage)
      return Effect.flatMap(get, (before) => {
        const after = f(before)
        return Effect.as(set(after), after)
      })
    }).pipe(Effect.retry({ schedule: contention, while: ({ reason }) => reason._tag === "StateChanged" }))
  )

/** Until what somebody else writes is likely to be over. */
const contention = Schedule.exponential("5 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 10 }))
