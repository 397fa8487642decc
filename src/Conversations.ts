/**
 * Conversations: what they are, and those that are made.
 *
 * Guarantee: the conversation of two has one id, whoever makes it, and is made once; a group that is made with the same key, name and
 * members is the same group however often it is made; what is known of a conversation is at most ten minutes old, and never more members
 * are remembered than so many.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Ids from "./Ids.ts"
import * as Branded from "./internal/Branded.ts"
import * as Lookup from "./internal/Lookup.ts"
import * as Recent from "./internal/Recent.ts"
import * as Role from "./internal/Role.ts"
import * as Retrying from "./internal/Retrying.ts"
import * as Uuid from "./internal/Uuid.ts"
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
  }))
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
 * Reads and makes conversations.
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

/** Source: protocol section 10. */
const maximum = { name: 512, announcement: 1024, members: 255 }

const invalid = (field: string, expected: string) => BlazeError.make(new BlazeError.InvalidContent({ field, expected }))

const checkGroup = ({ announcement = "", name }: Group, members: ReadonlyArray<Ids.UserId>) => {
  if (name === "" || name.length > maximum.name)
    return invalid("the group's name", `1 to ${maximum.name} characters long`)
  if (announcement.length > maximum.announcement) {
    return invalid("the announcement", `at most ${maximum.announcement} characters long`)
  }
  return members.length > maximum.members ? invalid("the members", `at most ${maximum.members}`) : undefined
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

  const create = Effect.fnUntraced(function* (payload: typeof Endpoint.ConversationRequest.Type) {
    const made = fromApi(yield* api.request(Endpoint.createConversation, { payload }))
    met.add(made.conversationId)
    if (made.category === "Group") yield* known.set(made.conversationId, made)
    return made
  })

  const contacts = yield* Lookup.together(
    Effect.fnUntraced(function* (userId: Ids.UserId) {
      const id = yield* Effect.provideService(Ids.contactConversation(botId, userId), Digest.Digest, digest)
      if (!met.has(id)) {
        const creation = create({ category: "CONTACT", conversation_id: id, participants: [{ user_id: userId }] })
        yield* Retrying.retried(creation, sendRetry)
      }
      return id
    })
  )

  return {
    get: known.get,
    createGroup: Effect.fnUntraced(function* (group: Group) {
      const members = Arr.dedupe(group.members.map((id) => Branded.userId(Ids.toLowerCase(id)))).filter(
        (id) => id !== botId
      )
      const problem = checkGroup(group, members)
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
