/**
 * The endpoints of the REST API as values: method, path and schemas, defined once for the client and the built-in server.
 *
 * Guarantee: what is sent has the form that its endpoint names, and of what comes back only what has it is passed on; fields that
 * Mixin adds or leaves out take nothing from the rest.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"
import * as Fields from "./internal/Fields.ts"
import * as PathTemplate from "./internal/PathTemplate.ts"

/** The name that a text begins with: up to the next segment of a path, or parameter of a query. */
type Name<Text extends string> = Text extends `${infer Head}/${string}`
  ? Name<Head>
  : Text extends `${infer Head}?${string}`
    ? Name<Head>
    : Text extends `${infer Head}&${string}`
      ? Head
      : Text

/** The names in a path and its query: `"id"` for `"/users/:id"`. */
type Parameter<Path extends string> = Path extends `${string}:${infer Rest}` ? Name<Rest> | Parameter<Rest> : never

/**
 * What a request needs: the parameters of its path, and what it carries.
 *
 * @category models
 * @since 0.1.0
 */
export type Input<Path extends string, Payload> = ([Parameter<Path>] extends [never]
  ? { readonly path?: undefined }
  : { readonly path: { readonly [Name in Parameter<Path>]: string } }) &
  ([Payload] extends [never] ? { readonly payload?: undefined } : { readonly payload: Payload })

/**
 * One endpoint. Of an answer without `data` nothing is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint<Path extends string = string, Payload = unknown, Data = unknown> {
  readonly method: "GET" | "POST"
  /** The path, with its query, where `:name` stands for a parameter. */
  readonly path: Path
  readonly payload: Schema.Codec<Payload, unknown> | undefined
  readonly data: Schema.Codec<Data, unknown> | undefined
}

/**
 * A question to the API; `:name` in its path, or in the query, stands for a parameter.
 *
 * **Example** (An endpoint of one's own)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Endpoint, MixinApi } from "effect-blaze"
 *
 * const code = Endpoint.get("/codes/:id", Schema.Struct({ type: Schema.String }))
 *
 * export const typeOf = (id: string) =>
 *   Effect.flatMap(MixinApi.MixinApi, ({ request }) => request(code, { path: { id } }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const get = <Path extends string, Data>(
  path: Path,
  data: Schema.Codec<Data, unknown>
): Endpoint<Path, never, Data> => ({ method: "GET", path, payload: undefined, data })

/**
 * A request that changes something: what it carries, or `undefined`; and the data of its answer, unless nothing of that is read.
 *
 * @category constructors
 * @since 0.1.0
 */
export const post = <Path extends string, Payload = never, Data = void>(
  path: Path,
  payload: Schema.Codec<Payload, unknown> | undefined,
  data?: Schema.Codec<Data, unknown>
): Endpoint<Path, Payload, Data> => ({ method: "POST", path, payload, data })

// An address with one of these in it is another address, however it is written.
const isSegment = (value: string) => value !== "" && value !== "." && value !== ".." && value.isWellFormed()

/**
 * Path and parameters as they are sent; fails with `InvalidContent` where a parameter would make another path of it.
 *
 * @since 0.1.0
 */
export const uri = (
  endpoint: { readonly path: string },
  path: Readonly<Record<string, string>> | undefined
): Effect.Effect<string, BlazeError.BlazeError> => {
  const values = path ?? {}
  const wrong = PathTemplate.names(endpoint.path).find((name) => !isSegment(values[name] ?? ""))
  if (wrong !== undefined) {
    return Effect.fail(
      BlazeError.make(
        new BlazeError.InvalidContent({ field: `the ${wrong}`, expected: "a name, and no way to another path" })
      )
    )
  }
  return Effect.succeed(PathTemplate.fill(endpoint.path, (name) => encodeURIComponent(values[name]!)))
}

const notSuch = () =>
  BlazeError.make(new BlazeError.InvalidContent({ field: "the request", expected: "of the form of its endpoint" }))

const unexpected = (problem: string) => () => BlazeError.make(new BlazeError.BadInput({ problem }))

/**
 * What a request carries, in the form that is sent; fails with `InvalidContent`.
 *
 * @since 0.1.0
 */
export const encode = (endpoint: Endpoint, payload: unknown): Effect.Effect<unknown, BlazeError.BlazeError> =>
  endpoint.payload === undefined
    ? Effect.succeed(undefined)
    : Effect.mapError(Schema.encodeUnknownEffect(endpoint.payload)(payload), notSuch)

/**
 * The data of an answer; fails with `BadInput`.
 *
 * @since 0.1.0
 */
export const decode = <Data>(
  endpoint: Endpoint<string, unknown, Data>,
  data: unknown
): Effect.Effect<Data, BlazeError.BlazeError> =>
  endpoint.data === undefined
    ? Effect.succeed(undefined as Data)
    : Effect.mapError(Schema.decodeUnknownEffect(endpoint.data)(data), unexpected("an answer of an unexpected form"))

const text = Fields.salvaged(Schema.String)
const flag = Fields.salvaged(Schema.Boolean)
const count = Fields.salvaged(Fields.FiniteOrText)

/**
 * A user as the API shows it, a person or a bot. What some source leaves out, or has as `null` or of another type, may be absent.
 *
 * @category models
 * @since 0.1.0
 */
export const User = Schema.Struct({
  user_id: Ids.UserId,
  identity_number: text,
  full_name: text,
  biography: text,
  avatar_url: text,
  relationship: text,
  is_verified: flag,
  is_scam: flag,
  is_deactivated: flag,
  has_safe: flag,
  code_id: text,
  code_url: text,
  created_at: text
})
/** @since 0.1.0 */
export type User = typeof User.Type

/**
 * Who may write to a bot, take it into conversations and find it (`EVERYBODY`, `CONTACTS`), its currency, and from which amounts on
 * transfers are told and confirmed.
 *
 * @category models
 * @since 0.1.0
 */
export const Preferences = Schema.Struct({
  receive_message_source: text,
  accept_conversation_source: text,
  accept_search_source: text,
  fiat_currency: text,
  transfer_notification_threshold: count,
  transfer_confirmation_threshold: count
})

/**
 * The bot itself, as only it sees itself.
 *
 * @category models
 * @since 0.1.0
 */
export const Me = Schema.Struct({ ...User.fields, session_id: text, ...Preferences.fields })
/** @since 0.1.0 */
export type Me = typeof Me.Type

/**
 * What a bot may change of itself. The picture is in base64.
 *
 * @category models
 * @since 0.1.0
 */
export const MeRequest = Schema.Struct({
  full_name: Schema.optionalKey(Schema.String),
  biography: Schema.optionalKey(Schema.String),
  avatar_base64: Schema.optionalKey(Schema.String)
})

/**
 * How a bot is to stand to somebody; `UPDATE` gives a contact the name `full_name`.
 *
 * @category models
 * @since 0.1.0
 */
export const RelationshipRequest = Schema.Struct({
  user_id: Ids.UserId,
  action: Schema.Literals(["ADD", "REMOVE", "UPDATE", "BLOCK", "UNBLOCK"]),
  full_name: Schema.optionalKey(Schema.String),
  phone: Schema.optionalKey(Schema.String)
})

/**
 * A participant of a conversation. `role` is `OWNER`, `ADMIN` or empty.
 *
 * @category models
 * @since 0.1.0
 */
export const Participant = Schema.Struct({ user_id: Ids.UserId, role: text, created_at: text })
/** @since 0.1.0 */
export type Participant = typeof Participant.Type

/**
 * A session of somebody: a phone or a desktop on which Mixin runs. `public_key` is a point of X25519 in base64; empty for one that cannot
 * read what is encrypted.
 *
 * @category models
 * @since 0.1.0
 */
export const Session = Schema.Struct({
  user_id: Fields.salvaged(Ids.UserId),
  session_id: Schema.String.check(Schema.isPattern(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i)),
  public_key: text,
  platform: text
})
/** @since 0.1.0 */
export type Session = typeof Session.Type

/**
 * A conversation as the API shows it; `docs/protocol.md` section 10.
 *
 * @category models
 * @since 0.1.0
 */
export const Conversation = Schema.Struct({
  conversation_id: Ids.ConversationId,
  category: Schema.String,
  creator_id: text,
  name: text,
  icon_url: text,
  announcement: text,
  code_id: text,
  code_url: text,
  mute_until: text,
  expire_in: count,
  created_at: text,
  participants: Fields.salvaged(Schema.Array(Participant)),
  participant_sessions: Fields.salvaged(Schema.Array(Session))
})
/** @since 0.1.0 */
export type Conversation = typeof Conversation.Type

/**
 * What is asked of a participant: `role` is `ADMIN` or empty.
 *
 * @category models
 * @since 0.1.0
 */
export const ParticipantRequest = Schema.Struct({
  user_id: Ids.UserId,
  role: Schema.optionalKey(Schema.Literals(["ADMIN", ""]))
})

/**
 * A conversation to be created; for a contact its one other participant, and the id that the two have.
 *
 * @category models
 * @since 0.1.0
 */
export const ConversationRequest = Schema.Struct({
  category: Schema.Literals(["CONTACT", "GROUP"]),
  conversation_id: Ids.ConversationId,
  name: Schema.optionalKey(Schema.String),
  announcement: Schema.optionalKey(Schema.String),
  random_id: Schema.optionalKey(Schema.String),
  participants: Schema.Array(ParticipantRequest)
})

/**
 * A slot for a file: `upload_url` takes its bytes, without a token, and `view_url` gives them.
 *
 * @category models
 * @since 0.1.0
 */
export const Attachment = Schema.Struct({
  attachment_id: Schema.NonEmptyString,
  upload_url: text,
  view_url: text,
  created_at: text
})
/** @since 0.1.0 */
export type Attachment = typeof Attachment.Type

/**
 * What became of an encrypted message: `SUCCESS`, or `FAILED` with the sessions that its recipient has now.
 *
 * @category models
 * @since 0.1.0
 */
export const EncryptedState = Schema.Struct({
  message_id: text,
  recipient_id: Fields.salvaged(Ids.UserId),
  state: text,
  sessions: Fields.salvaged(Schema.Array(Session))
})

// What is in it has been looked at where it was made, and a hundred of them are a request.
const anyFields = Schema.declare(
  (value): value is { readonly [field: string]: unknown } =>
    typeof value === "object" && value !== null && !Array.isArray(value)
)

const duration = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const seconds = Schema.Struct({ duration })

/** How long messages may last at the most: 12 weeks, in seconds. Source: the official documentation. */
export const maximumDisappear = 12 * 7 * 86_400

/** How many messages one request may acknowledge. Source: the official documentation. */
export const maximumAcknowledgements = 100

/** How many messages one request may send. Source: the official documentation. */
export const maximumMessages = 100

/** How many users are asked for in one request. */
export const maximumUsers = 100

/**
 * `POST /acknowledgements`: marks up to 100 messages as read.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const acknowledge = post("/acknowledgements", Schema.Array(Envelope.Acknowledgement))

/**
 * `POST /messages`: sends up to 100 messages, of 128 KiB together.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const messages = post("/messages", Schema.Array(anyFields))

/**
 * `POST /encrypted_messages`: sends up to 100 encrypted messages, and tells of each what became of it.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const encryptedMessages = post("/encrypted_messages", Schema.Array(anyFields), Schema.Array(EncryptedState))

/**
 * `POST /sessions/fetch`: the sessions of some users, several for each; who is unknown has none.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const sessions = post("/sessions/fetch", Schema.Array(Ids.UserId), Schema.Array(Session))

/**
 * `GET /me`: the bot itself.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const me = get("/me", Me)

/**
 * `GET /users/:id`.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const user = get("/users/:id", User)

/**
 * `POST /users/fetch`: the users of some ids; those that are unknown are left out.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const users = post("/users/fetch", Schema.Array(Ids.UserId), Schema.Array(User))

/**
 * `GET /search/:query`: a user by identity number or telephone number. Strictly limited by Mixin.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const search = get("/search/:query", User)

/**
 * `GET /friends`: who has the bot among the contacts.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const friends = get("/friends", Schema.Array(User))

/**
 * A transfer in Safe, as the ledger has it. Its amount has a sign: what the bot has paid is less than nothing. What made it happen once, the
 * `trace` of a payment link say, is its `request_id`, which some sources call `trace_id`; the memo is in hexadecimal.
 *
 * @category models
 * @since 0.1.0
 */
export const SafeSnapshot = Schema.Struct({
  snapshot_id: Schema.NonEmptyString,
  type: text,
  asset_id: Schema.NonEmptyString,
  amount: Fields.Decimal.pipe(Schema.decodeTo(Schema.BigDecimalFromString)),
  user_id: text,
  opponent_id: Fields.salvaged(Ids.UserId),
  request_id: text,
  trace_id: text,
  transaction_hash: text,
  memo: text,
  created_at: Schema.NonEmptyString
})
/** @since 0.1.0 */
export type SafeSnapshot = typeof SafeSnapshot.Type

/**
 * `GET /safe/snapshots`: up to 500 transfers from a time on, the oldest first. The time is the `created_at` of the last one that is known;
 * whether that comes again is not documented, so go by the `snapshot_id`.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const safeSnapshots = get("/safe/snapshots?order=ASC&limit=:limit&offset=:offset", Schema.Array(SafeSnapshot))

/**
 * `GET /safe/snapshots/:id`.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const safeSnapshot = get("/safe/snapshots/:id", SafeSnapshot)

/**
 * `GET /conversations/:id`.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const conversation = get("/conversations/:id", Conversation)

/**
 * `POST /conversations`: makes a conversation, or gives the one that is there.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const createConversation = post("/conversations", ConversationRequest, Conversation)

/**
 * `POST /conversations/:id`: the name and the announcement of a group.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const updateConversation = post(
  "/conversations/:id",
  Schema.Struct({ name: Schema.optionalKey(Schema.String), announcement: Schema.optionalKey(Schema.String) }),
  Conversation
)

/**
 * `POST /conversations/:id/participants/:action`, where the action is `ADD`, `REMOVE` or `ROLE`.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const participants = post(
  "/conversations/:id/participants/:action",
  Schema.Array(ParticipantRequest),
  Conversation
)

/**
 * `POST /conversations/:id/rotate`: gives a group a new code to join it by; the old one is worth nothing from then on.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const rotateConversation = post("/conversations/:id/rotate", undefined, Conversation)

/**
 * `POST /conversations/:code/join`: enters a group by its code.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const joinConversation = post("/conversations/:code/join", undefined, Conversation)

/**
 * `POST /conversations/:id/exit`: leaves a group.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const exitConversation = post("/conversations/:id/exit", undefined)

/**
 * `POST /conversations/:id/mute`: no notices for so many seconds; 0 ends it.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const muteConversation = post("/conversations/:id/mute", seconds, Conversation)

/**
 * `POST /conversations/:id/disappear`: messages disappear so many seconds after they were read, 12 weeks at the most; 0 ends it.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const disappear = post(
  "/conversations/:id/disappear",
  Schema.Struct({ duration: duration.check(Schema.isLessThanOrEqualTo(maximumDisappear)) }),
  Conversation
)

/**
 * `GET /codes/:id`: what a code leads to: the last part of `https://mixin.one/codes/...`. `type` is `user`, `conversation`, or something of
 * the wallet's.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const code = get(
  "/codes/:id",
  Schema.Struct({
    type: Schema.String,
    user_id: Fields.salvaged(Ids.UserId),
    conversation_id: Fields.salvaged(Ids.ConversationId),
    name: text,
    full_name: text
  })
)

/**
 * `GET /users/:id/apps/favorite`: the bots that somebody shows on the profile.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const favoriteApps = get(
  "/users/:id/apps/favorite",
  Schema.Array(Schema.Struct({ user_id: Ids.UserId, app_id: Ids.UserId, created_at: text }))
)

/**
 * `GET /circles`: the circles that conversations are in. A bot has none but those that it has made.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const circles = get(
  "/circles",
  Schema.Array(Schema.Struct({ circle_id: Schema.NonEmptyString, name: text, created_at: text }))
)

/**
 * `POST /safe/snapshots/notifications`: has Mixin tell somebody of a transfer that was sent to them.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const notifyTransfer = post(
  "/safe/snapshots/notifications",
  Schema.Struct({
    transaction_hash: Schema.NonEmptyString,
    output_index: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    receiver_id: Ids.UserId
  }),
  Envelope.MessageView
)

/**
 * `POST /attachments`: a slot for a file.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const createAttachment = post("/attachments", undefined, Attachment)

/**
 * `GET /attachments/:id`: where the bytes of a file are, for as long as the address is good.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const attachment = get("/attachments/:id", Attachment)

/**
 * `GET /blocking_users`: whom the bot has blocked.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const blockedUsers = get("/blocking_users", Schema.Array(User))

/**
 * `POST /relationships`: adds somebody to the contacts, removes, renames, blocks or unblocks.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const relationships = post("/relationships", RelationshipRequest, User)

/**
 * `POST /me`: the bot's own name, biography and picture (in base64).
 *
 * @category endpoints
 * @since 0.1.0
 */
export const updateMe = post("/me", MeRequest, Me)

/**
 * `POST /me/preferences`: who may write to the bot, take it into conversations, and find it.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const preferences = post("/me/preferences", Preferences, Me)

/**
 * `GET /me/code`: a new code to add the bot by.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const rotateMyCode = get("/me/code", Me)

/**
 * `GET /safe/me`: the bot itself, and whether it is registered with Safe.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const safeMe = get("/safe/me", Me)

/**
 * `GET /messages/status/:since`: the receipts since a time, in nanoseconds since 1970.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const receipts = get("/messages/status/:since", Schema.Array(Envelope.MessageView))
