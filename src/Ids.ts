/**
 * Identifiers: branded UUID strings, the conversation ids that Mixin derives from its members, and the ids this library
 * derives so that doing a thing twice gives the same id both times.
 *
 * Guarantee: every id made here is a pure function of its arguments; equal arguments give equal ids in every process.
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Uuid from "./internal/Uuid.ts"

const pattern = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
const anyCase = new RegExp(`^${pattern}$`, "i")

// Conversation ids are hashes over the text of ids, so an id must have one spelling only.
const uuid = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String.check(
      Schema.isPattern(new RegExp(`^${pattern}$`), {
        expected: "a lower-case UUID such as 773e5e77-4107-45c2-b648-8fc722ed77f5"
      })
    ),
    SchemaTransformation.toLowerCase()
  )
)

/**
 * A UUID in lower case, as the schemas of this module decode it; what is no UUID as it is.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toLowerCase = (id: string): string => (anyCase.test(id) ? id.toLowerCase() : id)

/**
 * A person or a bot. Bots call theirs `app_id`, `client_id` or `user_id`; they are one and the same.
 *
 * @category models
 * @since 0.1.0
 */
export const UserId = uuid.pipe(Schema.brand("effect-blaze/UserId"))
/** @since 0.1.0 */
export type UserId = typeof UserId.Type

/**
 * A conversation of two (a contact conversation) or of many (a group).
 *
 * @category models
 * @since 0.1.0
 */
export const ConversationId = uuid.pipe(Schema.brand("effect-blaze/ConversationId"))
/** @since 0.1.0 */
export type ConversationId = typeof ConversationId.Type

/**
 * A message. The sender chooses it, and the server keeps the first message of equal ids.
 *
 * @category models
 * @since 0.1.0
 */
export const MessageId = uuid.pipe(Schema.brand("effect-blaze/MessageId"))
/** @since 0.1.0 */
export type MessageId = typeof MessageId.Type

const conversationId = Brand.nominal<ConversationId>()
const messageId = Brand.nominal<MessageId>()

const maximumListed = 20

/**
 * Ids for one line of a log: the first 20, and how many more there are.
 *
 * @category conversions
 * @since 0.1.0
 */
export const list = (ids: Iterable<string>): string => {
  const all = Array.from(ids)
  const more = all.length > maximumListed ? ` and ${all.length - maximumListed} more` : ""
  return `${all.slice(0, maximumListed).join(", ")}${more}`
}

const fold = (a: string, b: string) => Effect.flatMap(Digest.Digest, (digest) => Uuid.fold(digest, a, b))

/**
 * The id of the conversation between two users, the same whichever of them asks.
 *
 * **Details**
 *
 * Source of the rule: every official client; MD5 of the smaller and the larger id, as a version 3 UUID.
 *
 * **Example** (The conversation of a bot and a person)
 *
 * ```ts
 * import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
 * import { Effect } from "effect"
 * import { Ids } from "effect-blaze"
 *
 * const bot = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
 * const person = Ids.UserId.make("773e5e77-4107-45c2-b648-8fc722ed77f5")
 *
 * const id = Effect.runSync(Ids.contactConversation(bot, person).pipe(Effect.provide(NodeCrypto.layerDigest)))
 * console.assert(id === "72e9a6c7-3e78-30ee-add8-aa114eada65a")
 * ```
 *
 * @category conversation ids
 * @since 0.1.0
 */
export const contactConversation = (a: UserId, b: UserId): Effect.Effect<ConversationId, never, Digest.Digest> =>
  Effect.map(fold(a, b), conversationId)

/**
 * The id of a group, from its owner, its name, a random UUID and the members that are passed when it is created.
 *
 * **Details**
 *
 * Source of the rule: the official Go and Node clients. The order of the participants does not matter, and the owner is not
 * added to them. Send the same `randomId` in the request that creates the group.
 *
 * @category conversation ids
 * @since 0.1.0
 */
export const groupConversation = Effect.fnUntraced(function* (group: {
  readonly ownerId: UserId
  readonly name: string
  readonly randomId: string
  readonly participants: ReadonlyArray<UserId>
}): Effect.fn.Return<ConversationId, never, Digest.Digest> {
  let id = yield* fold(group.ownerId, group.name)
  id = yield* fold(id, group.randomId)
  for (const participant of group.participants.toSorted()) id = yield* fold(id, participant)
  return conversationId(id)
})

/**
 * A version 5 UUID made from a list of parts: the same parts give the same id in every process and after every crash. For a message that
 * is to be sent once, the `trace_id` of a transfer, or whatever else takes a UUID.
 *
 * **Gotchas**
 *
 * The parts are length-prefixed, so `["ab", "c"]` and `["a", "bc"]` differ.
 *
 * @category derived ids
 * @since 0.1.0
 */
export const derive = (...parts: Array<string>): Effect.Effect<MessageId, never, Digest.Digest> =>
  Effect.flatMap(Digest.Digest, (digest) => Effect.map(Uuid.derive(digest, parts), messageId))
