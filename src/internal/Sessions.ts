/**
 * On which phones and desktops people read: the sessions that encrypted messages are for.
 *
 * Guarantee: what is asked for in the same turn is one request; what is known is at most ten minutes old, and no more is remembered than so
 * much; what the server says it has instead counts from then on.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as BlazeError from "../BlazeError.ts"
import * as Endpoint from "../Endpoint.ts"
import type * as Ids from "../Ids.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Branded from "./Branded.ts"
import * as Lookup from "./Lookup.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Sessions {
  /** Those of some people, together. */
  readonly of: (
    users: ReadonlyArray<Ids.UserId>
  ) => Effect.Effect<ReadonlyArray<Endpoint.Session>, BlazeError.BlazeError>
  /** Somebody has these now. */
  readonly set: (user: Ids.UserId, sessions: ReadonlyArray<Endpoint.Session>) => Effect.Effect<void>
  /** What is known of somebody is not true any more. */
  readonly forget: (user: Ids.UserId) => Effect.Effect<void>
}

const nobody = Branded.userId("")

/** How many sessions are remembered. */
const maximum = 20_000

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Sessions, never, MixinApi.MixinApi> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const known = yield* Lookup.make({
    ask: Lookup.batched(Endpoint.maximumUsers, (ids: ReadonlyArray<Ids.UserId>) =>
      Effect.map(
        api.request(Endpoint.sessions, { payload: ids }),
        (sessions): ReadonlyMap<Ids.UserId, ReadonlyArray<Endpoint.Session>> =>
          Map.groupBy(sessions, ({ user_id }) => user_id ?? nobody)
      )
    ),
    timeToLive: { some: "10 minutes", none: "1 minute" },
    maximum,
    sizeOf: (sessions: ReadonlyArray<Endpoint.Session>) => 1 + sessions.length
  })
  return {
    of: (users) =>
      Effect.map(Effect.forEach(users, known.get, { concurrency: "unbounded" }), (found) =>
        found.flatMap((sessions) => Option.getOrElse(sessions, () => []))
      ),
    set: known.set,
    forget: known.forget
  }
})
