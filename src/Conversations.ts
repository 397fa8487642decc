/**
 * Conversations: what they are, those that are made, and groups that a bot runs.
 *
 * Guarantee: the conversation of two has one id, whoever makes it, and is made once; a group that is made with the same key, name and
 * members is the same group however often it is made; what is known of a conversation is at most ten minutes old, and what the bot has
 * changed is known from then on; never more members are remembered than so many; nothing is asked that breaks a limit.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Ids from "./Ids.ts"
import * as Branded from "./internal/Branded.ts"
import * as Lookup from "./internal/Lookup.ts"
import * as Recent from "./internal/Recent.ts"
import * as Role from "./internal/Role.ts"
import * as Retrying from "./internal/Retrying.ts"
import * as Uuid from "./internal/Uuid.ts"
import * as WholeSeconds from "./internal/WholeSeconds.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Settings from "./Settings.ts"
import * as Signer from "./Signer.ts"

/**
 * Somebody in a conversation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  readonly userId: Ids.UserId
  readonly role: Role.Role
}

/**
 * A conversation: a contact's, of two, or a group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conversation {
  readonly conversationId: Ids.ConversationId
  readonly category: "Contact" | "Group"
  /** That of a group; empty for a contact. */
  readonly name: string
  readonly announcement: string
  /** Everybody in it, the bot too. */
  readonly members: ReadonlyArray<Member>
  /** By which people join a group, and where it is shown to them; empty for a contact. */
  readonly code: string
  readonly codeUrl: string
  /** After how many seconds messages disappear once they were read; 0 is never. */
  readonly expireIn: number
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromApi = (conversation: Endpoint.Conversation): Conversation => ({
  conversationId: conversation.conversation_id,
  category: conversation.category === "CONTACT" ? "Contact" : "Group",
  name: conversation.name ?? "",
  announcement: conversation.announcement ?? "",
  members: (conversation.participants ?? []).map(({ role = "", user_id }) => ({
    userId: user_id,
    role: Role.fromWire(role) ?? "Member"
  })),
  code: conversation.code_id ?? "",
  codeUrl: conversation.code_url ?? "",
  expireIn: conversation.expire_in ?? 0
})

/**
 * A group to be made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group {
  /** 1 to 512 characters. */
  readonly name: string
  /** Up to 1 024 characters. */
  readonly announcement?: string | undefined
  /** Who is in it beside the bot: 255 at most. Who is named twice is in it once. */
  readonly members: ReadonlyArray<Ids.UserId>
  /**
   * Makes it the same group however often it is made with the same name and members: give one where a handler may run again,
   * `delivery.message.id` say.
   */
  readonly key?: string | undefined
}

/**
 * Reads and makes conversations, and runs groups.
 *
 * **Details**
 *
 * What changes a group gives it as it is then. The bot has to be its owner or, for all but roles, an admin; else it fails with 403. What
 * passes is tried again as `Settings.sendRetry` says. Which limits there are, and what admins may do, is from Mixin's documentation and
 * apps; a group that is full fails with 20116.
 *
 * **Example** (A group for each order)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Conversations } from "effect-blaze"
 *
 * const orders = Bot.match({
 *   orElse: Effect.fnUntraced(function* ({ message }) {
 *     const conversations = yield* Conversations.Conversations
 *     yield* conversations.createGroup({ name: "Order", members: [message.senderId], key: message.id })
 *   })
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Conversations extends Context.Service<
  Conversations,
  {
    /** A conversation that the bot is in, or nothing. */
    readonly get: (id: Ids.ConversationId) => Effect.Effect<Option.Option<Conversation>, BlazeError.BlazeError>
    /** Makes a group. */
    readonly createGroup: (group: Group) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Gives a group another name, of 1 to 512 characters, or another announcement, of up to 1 024, which everybody is shown. */
    readonly update: (
      id: Ids.ConversationId,
      changes: Pick<Partial<Group>, "name" | "announcement">
    ) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Takes people into a group, 1 to 255 at once; who is in it already stays what they are. */
    readonly add: (
      id: Ids.ConversationId,
      users: ReadonlyArray<Ids.UserId>
    ) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Puts people out of a group, 1 to 255 at once. */
    readonly remove: (
      id: Ids.ConversationId,
      users: ReadonlyArray<Ids.UserId>
    ) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Makes somebody in a group an admin, or a member again. */
    readonly setRole: (
      id: Ids.ConversationId,
      user: Ids.UserId,
      role: "Admin" | "Member"
    ) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Gives a group a new code to join it by; the old one is worth nothing from then on. */
    readonly rotate: (id: Ids.ConversationId) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Enters a group by its code. */
    readonly join: (code: string) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Leaves a group. */
    readonly exit: (id: Ids.ConversationId) => Effect.Effect<void, BlazeError.BlazeError>
    /** Has a conversation give no notice for so long, in whole seconds and a hundred years at the most; zero ends it. */
    readonly mute: (id: Ids.ConversationId, time: Duration.Input) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Has messages of a conversation disappear so long after they were read, in whole seconds, 12 weeks at the most; zero ends it. */
    readonly disappear: (
      id: Ids.ConversationId,
      after: Duration.Input
    ) => Effect.Effect<Conversation, BlazeError.BlazeError>
    /** Makes the conversation with a person, unless it was made or has been met; what passes is tried again as `Settings.sendRetry` says. */
    readonly createContact: (userId: Ids.UserId) => Effect.Effect<Ids.ConversationId, BlazeError.BlazeError>
    /** Whether it was made or has been met: whether it is there, as far as is known. */
    readonly hasMet: (id: Ids.ConversationId) => boolean
    /** Somebody has spoken in it: it is there. */
    readonly meet: (id: Ids.ConversationId) => void
    /** What is known of it is not true any more. */
    readonly forget: (id: Ids.ConversationId) => Effect.Effect<void>
  }
>()("effect-blaze/Conversations") {}

/** How many members are remembered, of all conversations together. */
const maximumMembers = 100_000

/** How many conversations are remembered to be there. */
const maximumMet = 100_000

/** Source: docs/protocol.md section 10; for muting a hundred years, after which nobody waits. */
const maximum = { name: 512, announcement: 1024, members: 255, mute: 100 * 365 * 86_400 }

const invalid = (field: string, expected: string) => BlazeError.make(new BlazeError.InvalidContent({ field, expected }))

const checkNames = ({ announcement = "", name }: Pick<Partial<Group>, "announcement" | "name">) => {
  if (name !== undefined && (name === "" || name.length > maximum.name)) {
    return invalid("the group's name", `1 to ${maximum.name} characters long`)
  }
  return announcement.length > maximum.announcement
    ? invalid("the announcement", `at most ${maximum.announcement} characters long`)
    : undefined
}

/** Each once, in the case that Mixin writes ids in. */
const usersOf = (users: ReadonlyArray<Ids.UserId>) => Arr.dedupe(users.map((id) => Branded.userId(Ids.toLowerCase(id))))

const checkUsers = (users: ReadonlyArray<Ids.UserId>, least: number, most: number) => {
  if (!users.every((id) => isUserId(id))) return invalid("the members", "users' ids")
  return users.length < least || users.length > most
    ? invalid("the members", least === 0 ? `at most ${most}` : `${least} to ${most}`)
    : undefined
}

const isUserId = Schema.is(Ids.UserId)

const secondsOf = (
  field: string,
  input: Duration.Input,
  most: number
): Effect.Effect<number, BlazeError.BlazeError> => {
  const seconds = WholeSeconds.from(input)
  return seconds !== undefined && seconds <= most
    ? Effect.succeed(seconds)
    : invalid(field, `a time such as "1 hour", zero or more and at most ${Duration.format(Duration.seconds(most))}`)
}

const isGone = ({ reason }: BlazeError.BlazeError) =>
  reason._tag === "ApiFailure" && (reason.code === 403 || reason.code === 404)

/** What a bot does to a conversation that is there. */
const makeRunning = (
  request: MixinApi.MixinApi["Service"]["request"],
  keep: (
    asked: Effect.Effect<Endpoint.Conversation, BlazeError.BlazeError>
  ) => Effect.Effect<Conversation, BlazeError.BlazeError>,
  forget: (id: Ids.ConversationId) => Effect.Effect<void>,
  retried: <A>(asked: Effect.Effect<A, BlazeError.BlazeError>) => Effect.Effect<A, BlazeError.BlazeError>
) => {
  const participants = (
    id: Ids.ConversationId,
    action: "ADD" | "REMOVE" | "ROLE",
    given: ReadonlyArray<Ids.UserId>,
    role?: "ADMIN" | ""
  ) =>
    Effect.suspend(() => {
      const users = usersOf(given)
      const payload = users.map((user_id) => ({ user_id, ...(role === undefined ? {} : { role }) }))
      return (
        checkUsers(users, 1, maximum.members) ?? keep(request(Endpoint.participants, { path: { id, action }, payload }))
      )
    })
  return {
    update: (id, changes) =>
      Effect.suspend(() => {
        const { announcement, name } = changes
        const payload = {
          ...(name === undefined ? {} : { name }),
          ...(announcement === undefined ? {} : { announcement })
        }
        return checkNames(changes) ?? keep(request(Endpoint.updateConversation, { path: { id }, payload }))
      }),
    add: (id, users) => participants(id, "ADD", users),
    remove: (id, users) => participants(id, "REMOVE", users),
    setRole: (id, user, role) => participants(id, "ROLE", [user], role === "Admin" ? "ADMIN" : ""),
    rotate: (id) => keep(request(Endpoint.rotateConversation, { path: { id } })),
    join: (code) => keep(request(Endpoint.joinConversation, { path: { code } })),
    exit: (id) =>
      Effect.suspend(() => {
        let tries = 0
        // An answer was lost: a bot that is not in the group has left it.
        const asked = Effect.suspend(() => {
          tries++
          return request(Endpoint.exitConversation, { path: { id } })
        }).pipe(
          Effect.catchIf(
            (error) => tries > 1 && isGone(error),
            () => Effect.void
          )
        )
        return Effect.ensuring(retried(asked), forget(id))
      }),
    mute: (id, time) =>
      Effect.flatMap(secondsOf("the time to mute", time, maximum.mute), (duration) =>
        keep(request(Endpoint.muteConversation, { path: { id }, payload: { duration } }))
      ),
    disappear: (id, after) =>
      Effect.flatMap(secondsOf("the time to disappear", after, Endpoint.maximumDisappear), (duration) =>
        keep(request(Endpoint.disappear, { path: { id }, payload: { duration } }))
      )
  } satisfies Partial<Conversations["Service"]>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Conversations["Service"],
  BlazeError.BlazeError,
  MixinApi.MixinApi | Signer.Signer | Digest.Digest | SecureRandom.SecureRandom
> = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const { userId: botId } = yield* Signer.Signer
  const digest = yield* Digest.Digest
  const random = yield* SecureRandom.SecureRandom
  const { sendRetry } = yield* Settings.checked
  const met = Recent.make<Ids.ConversationId>(maximumMet)

  const known = yield* Lookup.make({
    ask: (id: Ids.ConversationId) =>
      Effect.map(Lookup.orNothing(api.request(Endpoint.conversation, { path: { id } }), 404, 403), Option.map(fromApi)),
    timeToLive: { some: "10 minutes", none: "1 minute" },
    maximum: maximumMembers,
    sizeOf: ({ members }) => 1 + members.length
  })

  const retried = <A>(asked: Effect.Effect<A, BlazeError.BlazeError>) => Retrying.retried(asked, sendRetry)
  const keep = Effect.fnUntraced(function* (asked: Effect.Effect<Endpoint.Conversation, BlazeError.BlazeError>) {
    const conversation = fromApi(yield* retried(asked))
    met.add(conversation.conversationId)
    const { category, conversationId: id } = conversation
    // Of the many contacts that an announcement makes nobody asks who is in them.
    yield* category === "Group" ? known.set(id, conversation) : known.forget(id)
    return conversation
  })
  const create = (payload: typeof Endpoint.ConversationRequest.Type) =>
    keep(api.request(Endpoint.createConversation, { payload }))

  const contacts = yield* Lookup.together(
    Effect.fnUntraced(function* (userId: Ids.UserId) {
      const id = yield* Effect.provideService(Ids.contactConversation(botId, userId), Digest.Digest, digest)
      if (!met.has(id)) {
        yield* create({ category: "CONTACT", conversation_id: id, participants: [{ user_id: userId }] })
      }
      return id
    })
  )

  return {
    get: known.get,
    createGroup: Effect.fnUntraced(function* (group: Group) {
      const members = usersOf(group.members).filter((id) => id !== botId)
      const problem = checkNames(group) ?? checkUsers(members, 0, maximum.members)
      if (problem !== undefined) return yield* problem
      const { announcement, key, name } = group
      const randomId = key === undefined ? yield* random.uuidV4() : yield* Uuid.derive(digest, ["group", botId, key])
      const id = yield* Ids.groupConversation({ ownerId: botId, name, randomId, participants: members }).pipe(
        Effect.provideService(Digest.Digest, digest)
      )
      return yield* create({
        category: "GROUP",
        conversation_id: id,
        name,
        random_id: randomId,
        ...(announcement === undefined ? {} : { announcement }),
        participants: members.map((user_id) => ({ user_id }))
      })
    }),
    ...makeRunning(api.request, keep, known.forget, retried),
    createContact: (user) => Cache.get(contacts, Branded.userId(Ids.toLowerCase(user))),
    hasMet: met.has,
    meet: met.add,
    forget: known.forget
  }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Conversations,
  BlazeError.BlazeError,
  MixinApi.MixinApi | Signer.Signer | Digest.Digest | SecureRandom.SecureRandom
> = Layer.effect(Conversations, make)
