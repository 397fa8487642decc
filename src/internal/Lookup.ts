/**
 * What is asked for by its id, and remembered for a while.
 *
 * Guarantee: what several ask for at the same time is asked for once, and who of them is interrupted takes it from nobody else; what is
 * remembered is no older than was said, by time that has passed, and together no larger.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import type * as BlazeError from "../BlazeError.ts"
import * as Elapsed from "./Elapsed.ts"
import * as Ordered from "./Ordered.ts"

/**
 * How something is looked up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Key, A> {
  readonly ask: (key: Key) => Effect.Effect<Option.Option<A>, BlazeError.BlazeError>
  /** For how long something is remembered, and that there is nothing. */
  readonly timeToLive: { readonly some: Duration.Input; readonly none: Duration.Input }
  /** How much is remembered, all together. Nothing is of size 1. */
  readonly maximum: number
  readonly sizeOf: (found: A) => number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Lookup<Key, A> {
  readonly get: (key: Key) => Effect.Effect<Option.Option<A>, BlazeError.BlazeError>
  /** It is known now, whatever was known or is being asked. */
  readonly set: (key: Key, found: A) => Effect.Effect<void>
  /** What is known or being asked is not true any more. */
  readonly forget: (key: Key) => Effect.Effect<void>
}

/**
 * Something that is done once for all who want it at the same time: `Cache.get` does it. It goes on for as long as one of them waits.
 *
 * @category constructors
 * @since 0.1.0
 */
export const together = <Key, A, E>(run: (key: Key) => Effect.Effect<A, E>): Effect.Effect<Cache.Cache<Key, A, E>> =>
  Cache.makeWith(run, { capacity: Infinity, timeToLive: () => 0 })

/**
 * One question for all that is asked for in the same turn, or several where that is more than so many.
 *
 * @category constructors
 * @since 0.1.0
 */
export const batched = <Key, A>(
  maximum: number,
  ask: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyMap<Key, A>, BlazeError.BlazeError>
): Options<Key, A>["ask"] => {
  class Ask extends Request.Class<{ readonly key: Key }, Option.Option<A>, BlazeError.BlazeError> {}
  const resolver = RequestResolver.make<Ask>((entries) =>
    Effect.map(ask(Arr.dedupe(entries.map(({ request }) => request.key))), (found) => {
      for (const { completeUnsafe, request } of entries) {
        completeUnsafe(Exit.succeed(Option.fromUndefinedOr(found.get(request.key))))
      }
    })
  ).pipe(RequestResolver.batchN(maximum))
  return (key) => Effect.request(new Ask({ key }), resolver)
}

/**
 * Nothing, where Mixin answers with one of these codes.
 *
 * @category combinators
 * @since 0.1.0
 */
export const orNothing = <A>(
  asked: Effect.Effect<A, BlazeError.BlazeError>,
  ...codes: ReadonlyArray<number>
): Effect.Effect<Option.Option<A>, BlazeError.BlazeError> =>
  asked.pipe(
    Effect.map(Option.some),
    Effect.catchIf(
      ({ reason }) => reason._tag === "ApiFailure" && codes.includes(reason.code),
      () => Effect.succeedNone
    )
  )

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <Key, A>({
  ask,
  maximum,
  sizeOf,
  timeToLive
}: Options<Key, A>): Effect.fn.Return<Lookup<Key, A>> {
  const now = yield* Elapsed.now
  const known = Ordered.make<Key, { readonly found: Option.Option<A>; readonly size: number; readonly until: number }>()
  let size = 0
  // What was said while it was asked for: the answer under way does not know it.
  const asked = new Map<Key, { isCorrected: boolean }>()

  const remove = (key: Key) => {
    size -= known.get(key)?.size ?? 0
    known.delete(key)
  }
  const keep = (key: Key, found: Option.Option<A>) => {
    remove(key)
    const own = Option.match(found, { onNone: () => 1, onSome: sizeOf })
    const age = Option.isSome(found) ? timeToLive.some : timeToLive.none
    known.set(key, { found, size: own, until: now() + Duration.toMillis(age) })
    size += own
    for (const oldest of known.entries()) {
      if (size <= maximum || oldest.key === key) break
      remove(oldest.key)
    }
  }

  const asking = yield* together((key: Key) =>
    Effect.suspend(() => {
      const question = { isCorrected: false }
      asked.set(key, question)
      return Effect.tap(ask(key), (found) => {
        if (!question.isCorrected) keep(key, found)
        return Effect.void
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            if (asked.get(key) === question) asked.delete(key)
          })
        )
      )
    })
  )
  const corrected = (key: Key, change: () => void) =>
    Effect.suspend(() => {
      const question = asked.get(key)
      if (question !== undefined) question.isCorrected = true
      change()
      return Cache.invalidate(asking, key)
    })

  return {
    get: (key) =>
      Effect.suspend(() => {
        const entry = known.get(key)
        return entry !== undefined && now() < entry.until ? Effect.succeed(entry.found) : Cache.get(asking, key)
      }),
    set: (key, found) => corrected(key, () => keep(key, Option.some(found))),
    forget: (key) => corrected(key, () => remove(key))
  }
})
