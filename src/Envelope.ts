/**
 * The wire schemas: what travels inside a frame, in both directions.
 *
 * Guarantee: what has the type of one of these was checked: unknown fields pass, and the ids of a view are in lower case, but for its own.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Fields from "./internal/Fields.ts"

/**
 * The `error` of an answer. Its `code` is what counts: it may come as text, and whatever else is odd is passed over. Some servers spell
 * `desciption`, and `status` may be missing, or a word.
 *
 * @category models
 * @since 0.1.0
 */
export const ErrorBody = Schema.Struct({
  code: Fields.FiniteOrText.check(Schema.isInt()),
  status: Fields.salvaged(Fields.FiniteOrText.check(Schema.isInt())),
  description: Fields.salvaged(Schema.String),
  desciption: Fields.salvaged(Schema.String),
  extra: Schema.optional(Schema.Unknown)
})
/** @since 0.1.0 */
export type ErrorBody = typeof ErrorBody.Type

/**
 * What the server sends: an answer to the request of the same `id`, or a push with an `id` of its own.
 *
 * @category models
 * @since 0.1.0
 */
export const Incoming = Schema.Struct({
  id: Schema.String,
  action: Schema.String,
  data: Schema.optional(Schema.Unknown),
  error: Fields.nullish(ErrorBody)
})
/** @since 0.1.0 */
export type Incoming = typeof Incoming.Type

/**
 * What the client sends.
 *
 * @category models
 * @since 0.1.0
 */
export const Request = Schema.Struct({
  id: Schema.String,
  action: Schema.String,
  params: Schema.optional(Schema.Unknown)
})
/** @since 0.1.0 */
export type Request = typeof Request.Type

/**
 * A message as the server shows it; `docs/protocol.md` section 4. What some source leaves out, or has as `null` or of another type, may be absent.
 *
 * @category models
 * @since 0.1.0
 */
export const MessageView = Fields.viewOf(
  Schema.optionalKey(Schema.declare((u): u is string => typeof u === "string" && u === u.toLowerCase())),
  Schema.optionalKey(Schema.String),
  Schema.optionalKey(Schema.Boolean),
  Schema.optionalKey(Schema.Number)
)
/** @since 0.1.0 */
export type MessageView = typeof MessageView.Type

/**
 * One line of an acknowledgement. Source: the official documentation; bots send `READ`.
 *
 * @category models
 * @since 0.1.0
 */
export const Acknowledgement = Schema.Struct({
  message_id: Schema.NonEmptyString,
  status: Schema.Literals(["DELIVERED", "READ"])
})
/** @since 0.1.0 */
export type Acknowledgement = typeof Acknowledgement.Type

/**
 * The actions this library sends or understands. Anything else that arrives is ignored.
 *
 * @category models
 * @since 0.1.0
 */
export const Action = {
  listPendingMessages: "LIST_PENDING_MESSAGES",
  createMessage: "CREATE_MESSAGE",
  createPlainMessages: "CREATE_PLAIN_MESSAGES",
  acknowledgeReceipt: "ACKNOWLEDGE_MESSAGE_RECEIPT",
  acknowledgeReceipts: "ACKNOWLEDGE_MESSAGE_RECEIPTS",
  createCall: "CREATE_CALL",
  createKraken: "CREATE_KRAKEN",
  error: "ERROR"
} as const
