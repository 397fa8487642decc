/**
 * The wire schemas: what travels inside a frame, in both directions.
 *
 * Guarantee: what comes from outside is checked before anything reads it; `null` counts as absent, and unknown fields pass.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"

const nullish = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))

// One test where a union makes four: a view has 14 of these fields, and every message a view.
const plain = <Type extends "string" | "boolean" | "number">(type: Type) =>
  Schema.optionalKey(
    Schema.declare(
      (value): value is { string: string; boolean: boolean; number: number }[Type] | null | undefined =>
        value === null || value === undefined || typeof value === type
    )
  )

/**
 * The `error` of an answer. Some servers spell it `desciption`, and `status` may be missing.
 *
 * @category models
 * @since 0.1.0
 */
export const ErrorBody = Schema.Struct({
  code: Schema.Int,
  status: nullish(Schema.Int),
  description: nullish(Schema.String),
  desciption: nullish(Schema.String),
  extra: Schema.optional(Schema.Unknown)
})
/** @since 0.1.0 */
export type ErrorBody = typeof ErrorBody.Type

/** @since 0.1.0 */
export const toBlazeError = (error: ErrorBody): BlazeError.BlazeError =>
  BlazeError.fromApi({
    code: error.code,
    status: error.status ?? undefined,
    description: error.description ?? error.desciption ?? undefined,
    field:
      Predicate.hasProperty(error.extra, "field") && Predicate.isString(error.extra.field)
        ? error.extra.field
        : undefined
  })

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
  error: nullish(ErrorBody)
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
 * A message as the server shows it; protocol section 4. Fields that are optional, empty or `null` in some source are so here.
 *
 * @category models
 * @since 0.1.0
 */
export const MessageView = Schema.Struct({
  message_id: Schema.NonEmptyString,
  conversation_id: plain("string"),
  user_id: plain("string"),
  representative_id: plain("string"),
  session_id: plain("string"),
  category: plain("string"),
  data: plain("string"),
  data_base64: plain("string"),
  status: plain("string"),
  source: plain("string"),
  quote_message_id: plain("string"),
  silent: plain("boolean"),
  expire_in: plain("number"),
  created_at: plain("string"),
  updated_at: plain("string")
})
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
  acknowledgeReceipt: "ACKNOWLEDGE_MESSAGE_RECEIPT",
  acknowledgeReceipts: "ACKNOWLEDGE_MESSAGE_RECEIPTS",
  createCall: "CREATE_CALL",
  createKraken: "CREATE_KRAKEN",
  error: "ERROR"
} as const

const fieldTypes: ReadonlyArray<readonly [keyof MessageView, "string" | "boolean" | "number"]> = [
  ["conversation_id", "string"],
  ["user_id", "string"],
  ["representative_id", "string"],
  ["session_id", "string"],
  ["category", "string"],
  ["data", "string"],
  ["data_base64", "string"],
  ["status", "string"],
  ["source", "string"],
  ["quote_message_id", "string"],
  ["silent", "boolean"],
  ["expire_in", "number"],
  ["created_at", "string"],
  ["updated_at", "string"]
]

/**
 * What can be read of a view that is not as it should be: a message that has an id must be dealt with, or it comes back for 7 days.
 *
 * @since 0.1.0
 */
export const salvageMessageView = (data: unknown): Option.Option<MessageView> => {
  if (!Predicate.isObject(data) || !("message_id" in data)) return Option.none()
  const fields: Readonly<Record<string, unknown>> = { ...data }
  const id = fields["message_id"]
  if (!Predicate.isString(id) || id === "") return Option.none()
  const sound = fieldTypes.filter(([name, type]) => typeof fields[name] === type).map(([name]) => [name, fields[name]])
  return Option.some({ ...Object.fromEntries(sound), message_id: id })
}

/** @since 0.1.0 */
export const decodeIncoming = Schema.decodeUnknownResult(Incoming)
/** @since 0.1.0 */
export const decodeRequest = Schema.decodeUnknownResult(Request)
/** @since 0.1.0 */
export const decodeMessageView = Schema.decodeUnknownResult(MessageView)
