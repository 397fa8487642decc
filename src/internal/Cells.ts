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
    readonly due: (name: string, maximum: number) => Effect.Effect<ReadonlyArray<Store.Kept>, BlazeError.BlazeError>
    readonly write: (write: Store.Write) => Effect.Effect<void, BlazeError.BlazeError>
    /** Another one each time. */
    readonly revision: () => string
    /** How many UTF-16 code units a value may have. */
    readonly maximumSize: number
  }
>()("effect-blaze/State/Storage") {}

const failed = (state: string, problem: string) =>
  Effect.fail(BlazeError.make(new BlazeError.StateFailed({ state, problem })))

/** How long a store may take to tell what is remembered. */
const readTimeout = "2 seconds"

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage, BlazeError.BlazeError, Store.Store | SecureRandom.SecureRandom> = Layer.effect(
  Storage,
  Effect.gen(function* () {
    const { states } = yield* Store.Store
    const { maximumStateSize } = yield* Settings.checked
    const life = yield* (yield* SecureRandom.SecureRandom).uuidV4()
    let writes = 0
    const asked = <A>(name: string, ask: (states: Store.States<unknown>) => Effect.Effect<A, unknown>) =>
      states === undefined
        ? failed(name, "the store keeps no states")
        : Effect.catch(ask(states), (error) => failed(name, `the store does not answer${ErrorKind.of(error)}`))
    return Storage.of({
      maximumSize: maximumStateSize,
      revision: () => `${life} ${++writes}`,
      read: (name, key) => asked(name, ({ read }) => Effect.timeout(read(name, key), readTimeout)),
      due: (name, maximum) =>
        asked(name, ({ due }) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.timeout(due(name, now, maximum), readTimeout))
        ),
      write: (write) =>
        Effect.flatMap(
          asked(write.name, ({ write: make }) => make(write)),
          (claim) => {
            const state = write.name
            if (claim === "Committed" || claim === "Known") return Effect.void
            if (claim === "Changed") return Effect.fail(BlazeError.make(new BlazeError.StateChanged({ state })))
            return failed(
              state,
              claim === "Conflict" ? "another process has taken the store over" : "it cannot be written"
            )
          }
        )
    })
  })
)

const unusable = /\0/

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
    return {
      ...encoded,
      dueAt: yield* after("due", due),
      expiresAt: yield* after("timeToLive", form.timeToLive)
    }
  })

type Stored = Pick<Store.Kept, "version" | "value"> | undefined

/** A cell over what is done with a value that is there, and with one that shall be. */
const cell = <A>(
  form: Form<A>,
  key: string,
  storage: Storage["Service"],
  read: Effect.Effect<Stored, BlazeError.BlazeError>,
  write: (next: Store.Write["next"]) => Effect.Effect<void, BlazeError.BlazeError>
): Cell<A> => {
  const checked = <B>(effect: Effect.Effect<B, BlazeError.BlazeError>) =>
    unusable.test(form.name) || unusable.test(key) ? failed(form.name, "its key has a NUL") : effect
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
  readonly known: Map<string, Store.Kept | undefined>
  readonly writes: Map<string, Store.Write>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const makeDraft = (): Draft => ({ known: new Map(), writes: new Map() })

/**
 * A value whose changes are written with the end of a message: `draft` is where they wait for it, and nothing once that has come.
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
  const { name } = form
  const place = Writes.placeOf({ name, key })
  const isOver = Effect.suspend(() =>
    failed(name, "the message has been settled, and nothing is written with it any more")
  )
  const look = (from: Draft) =>
    Effect.suspend((): Effect.Effect<Stored, BlazeError.BlazeError> => {
      const write = from.writes.get(place)
      if (write !== undefined) return Effect.succeed(write.next)
      if (from.known.has(place)) return Effect.succeed(from.known.get(place))
      return Effect.tap(storage.read(name, key), (kept) => Effect.sync(() => from.known.set(place, kept)))
    })
  return cell(
    form,
    key,
    storage,
    Effect.suspend(() => {
      const from = draft()
      return from === undefined ? storage.read(name, key) : look(from)
    }),
    (next) =>
      Effect.suspend(() => {
        const to = draft()
        if (to === undefined) return isOver
        const basedOn = to.known.has(place) ? { revision: to.known.get(place)?.revision } : undefined
        to.writes.set(place, { name, key, basedOn, revision: storage.revision(), next })
        return Effect.void
      })
  )
}

/**
 * A value whose changes are written at once, on what `get` has read last, or on what is known of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const immediate = <A>(form: Form<A>, key: string, storage: Storage["Service"], known?: Store.Kept): Cell<A> => {
  const { name } = form
  let basedOn: Store.Write["basedOn"] = known === undefined ? undefined : { revision: known.revision }
  return cell(
    form,
    key,
    storage,
    Effect.tap(storage.read(name, key), (kept) => Effect.sync(() => (basedOn = { revision: kept?.revision }))),
    (next) =>
      Effect.suspend(() => {
        const revision = storage.revision()
        return Effect.tap(storage.write({ name, key, basedOn, revision, next }), () =>
          Effect.sync(() => (basedOn = { revision: next === undefined ? undefined : revision }))
        )
      })
  )
}
