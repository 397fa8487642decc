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
import * as StandardBase64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Ids from "./Ids.ts"
import * as Branded from "./internal/Branded.ts"
import * as Lookup from "./internal/Lookup.ts"
import * as Retrying from "./internal/Retrying.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Settings from "./Settings.ts"

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
  /** How the bot stands to the user. */
  readonly relationship: "Me" | "Contact" | "Blocked" | "Stranger"
}

const relationships: { readonly [wire: string]: User["relationship"] } = {
  ME: "Me",
  FRIEND: "Contact",
  BLOCKING: "Blocked"
}

/**
 * What a bot may change of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Profile {
  readonly fullName?: string | undefined
  readonly biography?: string | undefined
  /** A PNG, JPEG or GIF. Source: the official documentation, which names no size; nor does it say how long the texts may be. */
  readonly avatar?: Uint8Array | undefined
}

/**
 * Whom a bot lets write to it, take it into groups, and find it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Preferences {
  readonly messagesFrom?: Anyone | undefined
  readonly groupsFrom?: Anyone | undefined
  readonly foundBy?: Anyone | undefined
}

/** @since 0.1.0 */
export type Anyone = "Everybody" | "Contacts"

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
  isDeactivated: user.is_deactivated ?? false,
  relationship: relationships[user.relationship ?? ""] ?? "Stranger"
})

/**
 * Looks users up, and says how the bot stands to them.
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
    /** The bot's contacts. */
    readonly contacts: Effect.Effect<ReadonlyArray<User>, BlazeError.BlazeError>
    readonly addContact: (id: Ids.UserId) => Effect.Effect<User, BlazeError.BlazeError>
    readonly removeContact: (id: Ids.UserId) => Effect.Effect<User, BlazeError.BlazeError>
    /** Gives a contact a name, which only the bot sees. */
    readonly rename: (id: Ids.UserId, name: string) => Effect.Effect<User, BlazeError.BlazeError>
    /** Whom the bot has blocked: what they write does not come. */
    readonly blocked: Effect.Effect<ReadonlyArray<User>, BlazeError.BlazeError>
    readonly block: (id: Ids.UserId) => Effect.Effect<User, BlazeError.BlazeError>
    readonly unblock: (id: Ids.UserId) => Effect.Effect<User, BlazeError.BlazeError>
    /** Changes what people see of the bot: what is left out stays. */
    readonly updateMe: (profile: Profile) => Effect.Effect<User, BlazeError.BlazeError>
    /** Says who may come to the bot: what is left out stays. */
    readonly prefer: (preferences: Preferences) => Effect.Effect<void, BlazeError.BlazeError>
  }
>()("effect-blaze/Users") {}

/** How many users are remembered. */
const maximum = 10_000

/** How many requests one `getAll` makes at once. */
const requestsAtOnce = 4

const isUserId = Schema.is(Ids.UserId)

const fromAll = (users: ReadonlyArray<Endpoint.User>) => users.map(fromApi)

const nobody = 404

type Relation = typeof Endpoint.RelationshipRequest.Type

const invalid = (field: string, expected: string) => BlazeError.make(new BlazeError.InvalidContent({ field, expected }))

const preferenceOf = (field: string, from: Anyone | undefined) =>
  from === undefined ? {} : { [field]: from.toUpperCase() }

type Request = MixinApi.MixinApi["Service"]["request"]
type Retry = Settings.Settings["sendRetry"]
type Keep = (user: User) => Effect.Effect<void>

const kept = (
  asked: Effect.Effect<Endpoint.User, BlazeError.BlazeError>,
  keep: Keep
): Effect.Effect<User, BlazeError.BlazeError> =>
  Effect.flatMap(asked, (answer) => {
    const user = fromApi(answer)
    return Effect.as(keep(user), user)
  })

/** How the bot stands to people. Once more is no more than once. */
const makeRelations = (request: Request, retry: Retry, keep: Keep) => {
  const relate = (
    given: Ids.UserId,
    action: Relation["action"],
    full_name?: string
  ): Effect.Effect<User, BlazeError.BlazeError> =>
    Effect.suspend(() => {
      const user_id = Branded.userId(Ids.toLowerCase(given))
      if (!isUserId(user_id)) return invalid("the user", "a user's id")
      if (full_name === "") return invalid("the name", "at least one character long")
      const payload = { user_id, action, ...(full_name === undefined ? {} : { full_name }) }
      const asked = Retrying.retried(request(Endpoint.relationships, { payload }), retry)
      return kept(asked, keep)
    })
  return {
    contacts: Effect.suspend(() => Effect.map(request(Endpoint.friends, {}), fromAll)),
    blocked: Effect.suspend(() => Effect.map(request(Endpoint.blockedUsers, {}), fromAll)),
    addContact: (id) => relate(id, "ADD"),
    removeContact: (id) => relate(id, "REMOVE"),
    rename: (id, name) => relate(id, "UPDATE", name),
    block: (id) => relate(id, "BLOCK"),
    unblock: (id) => relate(id, "UNBLOCK")
  } satisfies Partial<Users["Service"]>
}

/** What the bot says of itself. */
const makeOwn = (request: Request, retry: Retry, keep: Keep) =>
  ({
    updateMe: ({ avatar, biography, fullName }) =>
      Effect.suspend(() => {
        if (fullName === "") return invalid("the bot's name", "at least one character long")
        if (avatar?.length === 0) return invalid("the bot's picture", "a PNG, JPEG or GIF")
        const payload = {
          ...(fullName === undefined ? {} : { full_name: fullName }),
          ...(biography === undefined ? {} : { biography }),
          ...(avatar === undefined ? {} : { avatar_base64: StandardBase64.encode(avatar) })
        }
        const asked = Retrying.retried(request(Endpoint.updateMe, { payload }), retry)
        return kept(asked, keep)
      }),
    prefer: ({ foundBy, groupsFrom, messagesFrom }) =>
      Effect.suspend(() => {
        const payload = {
          ...preferenceOf("receive_message_source", messagesFrom),
          ...preferenceOf("accept_conversation_source", groupsFrom),
          ...preferenceOf("accept_search_source", foundBy)
        }
        return Effect.asVoid(Retrying.retried(request(Endpoint.preferences, { payload }), retry))
      })
  }) satisfies Partial<Users["Service"]>

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Users["Service"], BlazeError.BlazeError, MixinApi.MixinApi> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const { sendRetry } = yield* Settings.checked

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
    ...makeRelations(api.request, sendRetry, (user) => known.set(user.userId, user)),
    ...makeOwn(api.request, sendRetry, (user) =>
      Effect.andThen(Cache.set(me, "me", user), known.set(user.userId, user))
    ),
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
export const layer: Layer.Layer<Users, BlazeError.BlazeError, MixinApi.MixinApi> = Layer.effect(Users, make)
