/**
 * Identifiers: branded UUID strings, the conversation ids that Mixin derives from its members, and the ids this library
 * derives so that doing a thing twice gives the same id both times.
 *
 * Guarantee: every id made here is a pure function of its arguments; equal arguments give equal ids in every process.
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

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

const maximumListed = 20

/**
 * Ids for one line of a log: the first 20, and how many more there are.
 *
 * @category conversions
 * @since 0.1.0
 */
export const list = (ids: Iterable<MessageId>): string => {
  const all = Array.from(ids)
  const more = all.length > maximumListed ? ` and ${all.length - maximumListed} more` : ""
  return `${all.slice(0, maximumListed).join(", ")}${more}`
}

const encoder = new TextEncoder()

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const uuidFromBytes = (digest: Uint8Array, version: number): string => {
  let id = ""
  for (let index = 0; index < 16; index++) {
    let byte = digest[index]!
    if (index === 6) byte = (byte & 0x0f) | (version << 4)
    if (index === 8) byte = (byte & 0x3f) | 0x80
    id += index === 4 || index === 6 || index === 8 || index === 10 ? `-${hex[byte]}` : hex[byte]
  }
  return id
}

const pooled = 256

/**
 * Makes random UUIDs (version 4). Their bytes are drawn 256 ids at a time, since the platform takes longer to be asked than to answer.
 *
 * @category random ids
 * @since 0.1.0
 */
export const makeRandom: Effect.Effect<Effect.Effect<string>, never, SecureRandom.SecureRandom> = Effect.map(
  SecureRandom.SecureRandom,
  (random) => {
    let pool: Uint8Array = new Uint8Array(0)
    let used = 0
    // Looked at and taken in one step: between two, another fiber may take the last.
    const take: Effect.Effect<string> = Effect.suspend(() => {
      if (used < pool.length) {
        const bytes = pool.subarray(used, used + 16)
        used += 16
        return Effect.succeed(uuidFromBytes(bytes, 4))
      }
      return Effect.flatMap(random.randomBytes(16 * pooled), (bytes) => {
        pool = bytes
        used = 0
        return take
      })
    })
    return take
  }
)

const nameUuid = Effect.fnUntraced(function* (name: string) {
  const digest = yield* Digest.Digest
  return uuidFromBytes(yield* digest.digest(Digest.md5, encoder.encode(name)), 3)
})

const fold = (a: string, b: string) => nameUuid(a < b ? a + b : b + a)

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
 * import { NodeCrypto } from "@effect/platform-node"
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
  Effect.map(fold(a, b), (id) => id as ConversationId)

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
  return id as ConversationId
})

// A fixed namespace of our own (RFC 9562 section 5.5), so that ids derived here never meet ids derived elsewhere.
const namespace = Uint8Array.of(
  0x6b,
  0x1d,
  0x2f,
  0x5e,
  0x0c,
  0x57,
  0x4a,
  0x0e,
  0x9b,
  0x7a,
  0x3e,
  0x1f,
  0x8d,
  0x24,
  0x61,
  0xc3
)

/**
 * A version 5 UUID made from a list of parts: the same parts give the same id in every process and after every crash.
 *
 * **Gotchas**
 *
 * The parts are length-prefixed, so `["ab", "c"]` and `["a", "bc"]` differ.
 *
 * @category derived ids
 * @since 0.1.0
 */
export const derive = (...parts: Array<string>): Effect.Effect<string, never, Digest.Digest> =>
  Effect.flatMap(Digest.Digest, (digest) => deriveWith(digest, parts))

/**
 * As `derive`, for who has the `Digest` at hand.
 *
 * @category derived ids
 * @since 0.1.0
 */
export const deriveWith = (digest: Digest.Digest["Service"], parts: ReadonlyArray<string>): Effect.Effect<string> => {
  let name = ""
  for (const part of parts) name += `${part.length}:${part}`
  // A unit of UTF-16 takes three bytes at the most.
  const bytes = new Uint8Array(namespace.length + 3 * name.length)
  bytes.set(namespace)
  const { written } = encoder.encodeInto(name, bytes.subarray(namespace.length))
  const hashed = digest.digest(Digest.sha1, bytes.subarray(0, namespace.length + written))
  return Effect.map(hashed, (hash) => uuidFromBytes(hash, 5))
}
