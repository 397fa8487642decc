/**
 * The wire schemas: what travels inside a frame, in both directions.
 *
 * Guarantee: what comes from outside is checked before anything reads it. An optional field that is `null` or of another type counts
 * as absent and costs nothing else its meaning; unknown fields pass; the ids of a view are in lower case, but for its own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Struct from "effect/Struct"
import * as BlazeError from "./BlazeError.ts"
import * as Ids from "./Ids.ts"

const nullish = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))

/**
 * A field that is as good as absent when it is not what it should be.
 *
 * @category models
 * @since 0.1.0
 */
export const salvaged = <S extends Schema.Top>(schema: S) =>
  Schema.optionalKey(schema).pipe(Schema.catchDecoding(() => Effect.succeedNone))

/**
 * A finite number, also as text: some of Mixin's apps write numbers so.
 *
 * @category models
 * @since 0.1.0
 */
export const FiniteOrText = Schema.Union([
  Schema.Finite,
  // The empty text would be 0.
  Schema.String.check(Schema.isPattern(/\d/)).pipe(
    Schema.decodeTo(Schema.Finite, SchemaTransformation.numberFromString)
  )
])

/**
 * The `error` of an answer. Its `code` is what counts: it may come as text, and whatever else is odd is passed over. Some servers spell
 * `desciption`, and `status` may be missing, or a word.
 *
 * @category models
 * @since 0.1.0
 */
export const ErrorBody = Schema.Struct({
  code: FiniteOrText.check(Schema.isInt()),
  status: salvaged(FiniteOrText.check(Schema.isInt())),
  description: salvaged(Schema.String),
  desciption: salvaged(Schema.String),
  extra: Schema.optional(Schema.Unknown)
})
/** @since 0.1.0 */
export type ErrorBody = typeof ErrorBody.Type

const isName = Schema.is(Schema.String.check(Schema.isPattern(/^[\w.[\]]+$/)))

/** @since 0.1.0 */
export const toBlazeError = ({ code, desciption, description = desciption, extra, status }: ErrorBody) => {
  // The real server's `extra` is an object or the name of the field itself.
  const field = Predicate.hasProperty(extra, "field") ? extra.field : extra
  return BlazeError.fromApi({ code, status, description, field: isName(field) ? field : undefined })
}

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

const viewOf = <Id extends Schema.Top, Text extends Schema.Top, Flag extends Schema.Top, Count extends Schema.Top>(
  id: Id,
  text: Text,
  flag: Flag,
  count: Count
) =>
  Schema.Struct({
    // As the server wrote it, in upper case too: an acknowledgement names it, and whether the server takes another spelling for the
    // same id is not known.
    message_id: Schema.NonEmptyString,
    conversation_id: id,
    user_id: id,
    representative_id: id,
    session_id: id,
    category: text,
    data: text,
    data_base64: text,
    status: text,
    source: text,
    quote_message_id: id,
    silent: flag,
    expire_in: count,
    created_at: text,
    updated_at: text
  })

/**
 * A message as the server shows it; protocol section 4. What some source leaves out, or has as `null` or of another type, may be absent.
 *
 * @category models
 * @since 0.1.0
 */
export const MessageView = viewOf(
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
  acknowledgeReceipt: "ACKNOWLEDGE_MESSAGE_RECEIPT",
  acknowledgeReceipts: "ACKNOWLEDGE_MESSAGE_RECEIPTS",
  createCall: "CREATE_CALL",
  createKraken: "CREATE_KRAKEN",
  error: "ERROR"
} as const

const OddMessageView = viewOf(
  salvaged(
    Schema.String.pipe(
      Schema.decodeTo(
        Schema.String,
        SchemaTransformation.transform({ decode: Ids.toLowerCase, encode: (id: string) => id })
      )
    )
  ),
  salvaged(Schema.String),
  salvaged(Schema.Boolean),
  salvaged(FiniteOrText)
)

const OddIncoming = Incoming.mapFields(
  Struct.assign({
    id: Schema.String.pipe(
      Schema.withDecodingDefaultKey(Effect.succeed("")),
      Schema.catchDecoding(() => Effect.succeedSome(""))
    )
  })
)

// What is sound, which is nearly all, costs its own schema alone.
const orElse = <A>(sound: Schema.Decoder<A>, odd: Schema.Decoder<A>) => {
  const decodeSound = Schema.decodeUnknownResult(sound)
  const decodeOdd = Schema.decodeUnknownResult(odd)
  return (input: unknown) => {
    const decoded = decodeSound(input)
    return Result.isSuccess(decoded) ? decoded : decodeOdd(input)
  }
}

/**
 * Reads an envelope. One without an id of its own is a push, or an error that concerns the connection.
 *
 * @since 0.1.0
 */
export const decodeIncoming = orElse<Incoming>(Incoming, OddIncoming)
/** @since 0.1.0 */
export const decodeRequest = Schema.decodeUnknownResult(Request)
/**
 * Reads a view, field by field where it is not as it should be: a message that has an id must be dealt with, or it comes back for 7 days.
 *
 * @since 0.1.0
 */
export const decodeMessageView = orElse<MessageView>(MessageView, OddMessageView)
