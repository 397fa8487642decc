/**
 * On which phones and desktops people read: the sessions that encrypted messages are for.
 *
 * Guarantee: what is asked for in the same turn is one request; what is known is at most ten minutes old, and no more is remembered than so
 * much; what the server says it has instead counts from then on.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as BlazeError from "../BlazeError.ts"
import * as Endpoint from "../Endpoint.ts"
import * as Ids from "../Ids.ts"
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

const isUserId = Schema.is(Ids.UserId)

const nobody = Branded.userId("")

/** How many sessions are remembered. */
const maximum = 20_000

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Sessions, never, MixinApi.MixinApi> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const fetch = Effect.fnUntraced(function* (keys: ReadonlyArray<Ids.UserId>) {
    // What is no id is nobody's, and takes nothing from those who are asked for in the same turn.
    const ids = keys.filter(isUserId)
    const sessions = ids.length === 0 ? [] : yield* api.request(Endpoint.sessions, { payload: ids })
    const all: ReadonlyMap<Ids.UserId, ReadonlyArray<Endpoint.Session>> = Map.groupBy(
      Arr.dedupeWith(sessions, (a, b) => a.session_id === b.session_id),
      ({ user_id }) => user_id ?? nobody
    )
    return all
  })
  const known = yield* Lookup.make({
    ask: Lookup.batched(Endpoint.maximumUsers, fetch),
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
