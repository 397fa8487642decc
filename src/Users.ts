/**
 * People and bots, looked up.
 *
 * Guarantee: what is asked for in the same turn is one request; what is known is not asked for again within the hour, and never are more
 * than so many remembered; a user who is not there is nobody, and no error.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Ids from "./Ids.ts"
import * as Lookup from "./internal/Lookup.ts"
import * as MixinApi from "./MixinApi.ts"

/**
 * A user: a person or a bot.
 *
 * @category models
 * @since 0.1.0
 */
export interface User {
  readonly userId: Ids.UserId
  /** By which people find and mention the user: `7000` begins a bot's. Empty where the API does not say. */
  readonly identityNumber: string
  readonly fullName: string
  readonly biography: string
  readonly avatarUrl: Option.Option<string>
  readonly isVerified: boolean
  readonly isScam: boolean
  readonly isDeactivated: boolean
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromApi = (user: Endpoint.User): User => ({
  userId: user.user_id,
  identityNumber: user.identity_number ?? "",
  fullName: user.full_name ?? "",
  biography: user.biography ?? "",
  avatarUrl: user.avatar_url ? Option.some(user.avatar_url) : Option.none(),
  isVerified: user.is_verified ?? false,
  isScam: user.is_scam ?? false,
  isDeactivated: user.is_deactivated ?? false
})

/**
 * Looks users up.
 *
 * **Example** (Who is that?)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { Bot, Users } from "effect-blaze"
 *
 * const greeter = Bot.match({
 *   orElse: Effect.fnUntraced(function* (delivery) {
 *     const users = yield* Users.Users
 *     const sender = yield* users.get(delivery.message.senderId)
 *     yield* delivery.reply(`Hello ${Option.match(sender, { onNone: () => "stranger", onSome: ({ fullName }) => fullName })}`)
 *   })
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Users extends Context.Service<
  Users,
  {
    /** The bot itself, asked for once. */
    readonly me: Effect.Effect<User, BlazeError.BlazeError>
    /** A user, or nobody. */
    readonly get: (id: Ids.UserId) => Effect.Effect<Option.Option<User>, BlazeError.BlazeError>
    /** The users of some ids, in their order; those who are not there are left out. */
    readonly getAll: (ids: Iterable<Ids.UserId>) => Effect.Effect<ReadonlyArray<User>, BlazeError.BlazeError>
    /** A user by identity number or telephone number. Mixin limits it strictly; nothing is remembered. */
    readonly search: (query: string) => Effect.Effect<Option.Option<User>, BlazeError.BlazeError>
  }
>()("effect-blaze/Users") {}

/** How many users are remembered. */
const maximum = 10_000

/** How many requests one `getAll` makes at once. */
const requestsAtOnce = 4

const isUserId = Schema.is(Ids.UserId)

const nobody = 404

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Users["Service"], never, MixinApi.MixinApi> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi

  const fetch = Effect.fnUntraced(function* (keys: ReadonlyArray<Ids.UserId>) {
    // What is no id is nobody's, and takes nothing from those who are asked for in the same turn.
    const ids = keys.filter(isUserId)
    const found =
      ids.length === 0 ? Option.none() : yield* Lookup.orNothing(api.request(Endpoint.users, { payload: ids }), nobody)
    return new Map(Option.getOrElse(found, () => []).map((user) => [user.user_id, fromApi(user)]))
  })

  const known = yield* Lookup.make({
    ask: Lookup.batched(Endpoint.maximumUsers, fetch),
    timeToLive: { some: "1 hour", none: "1 minute" },
    maximum,
    sizeOf: () => 1
  })
  const me = yield* Cache.makeWith((_me: "me") => Effect.map(api.request(Endpoint.me, {}), fromApi), {
    capacity: 1,
    timeToLive: (exit) => (Exit.isFailure(exit) ? 0 : Duration.infinity)
  })

  return {
    me: Cache.get(me, "me"),
    get: known.get,
    getAll: (ids) =>
      Effect.map(
        Effect.forEach(
          Arr.chunksOf(ids, Endpoint.maximumUsers),
          (some) => Effect.forEach(some, known.get, { concurrency: "unbounded" }),
          { concurrency: requestsAtOnce }
        ),
        (found) => Arr.getSomes(found.flat())
      ),
    search: (query) =>
      Effect.map(Lookup.orNothing(api.request(Endpoint.search, { path: { query } }), nobody), Option.map(fromApi))
  }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Users, never, MixinApi.MixinApi> = Layer.effect(Users, make)
