/**
 * What arrives, read by the wire schemas.
 *
 * Guarantee: what comes from outside is checked before anything reads it. An optional field that is `null` or of another type counts
 * as absent and costs nothing else its meaning.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Struct from "effect/Struct"
import * as BlazeError from "../BlazeError.ts"
import * as Envelope from "../Envelope.ts"
import * as Fields from "./Fields.ts"
import * as Ids from "../Ids.ts"

const isName = Schema.is(Schema.String.check(Schema.isPattern(/^[\w.[\]]+$/)))

/**
 * What an `error` of the server says.
 *
 * @since 0.1.0
 */
export const blazeError = ({ code, desciption, description = desciption, extra, status }: Envelope.ErrorBody) => {
  // The real server's `extra` is an object or the name of the field itself.
  const field = Predicate.hasProperty(extra, "field") ? extra.field : extra
  return BlazeError.fromApi({ code, status, description, field: isName(field) ? field : undefined })
}

const OddMessageView = Fields.viewOf(
  Fields.salvaged(
    Schema.String.pipe(
      Schema.decodeTo(
        Schema.String,
        SchemaTransformation.transform({ decode: Ids.toLowerCase, encode: (id: string) => id })
      )
    )
  ),
  Fields.salvaged(Schema.String),
  Fields.salvaged(Schema.Boolean),
  Fields.salvaged(Fields.FiniteOrText)
)

const OddIncoming = Envelope.Incoming.mapFields(
  Struct.assign({
    id: Schema.String.pipe(
      Schema.withDecodingDefaultKey(Effect.succeed("")),
      Schema.catchDecoding(() => Effect.succeedSome(""))
    )
  })
)

type Fields = Readonly<Record<string, unknown>>

const isObject = (input: unknown): input is Fields => typeof input === "object" && input !== null

const isLowerCase = (value: unknown): value is string => typeof value === "string" && value === value.toLowerCase()

/**
 * An envelope as the server pushes it, read in a tenth of the time of its schema; `undefined` where the schema has to decide.
 *
 * @since 0.1.0
 */
export const plainIncoming = (input: unknown): Envelope.Incoming | undefined => {
  if (!isObject(input)) return undefined
  const { action, data, error, id } = input
  return typeof id === "string" && typeof action === "string" && data !== undefined && error === undefined
    ? { id, action, data }
    : undefined
}

/**
 * A view as the server writes it, with all its fields (`docs/protocol.md` section 4), read in a tenth of the time of its schema;
 * `undefined` where the schema has to decide.
 *
 * @since 0.1.0
 */
export const plainView = (input: unknown): Required<Envelope.MessageView> | undefined => {
  if (!isObject(input)) return undefined
  const {
    category,
    conversation_id,
    created_at,
    data,
    data_base64,
    expire_in,
    message_id,
    quote_message_id,
    representative_id,
    session_id,
    silent,
    source,
    status,
    updated_at,
    user_id
  } = input
  if (
    typeof message_id !== "string" ||
    message_id === "" ||
    !isLowerCase(conversation_id) ||
    !isLowerCase(user_id) ||
    !isLowerCase(representative_id) ||
    !isLowerCase(session_id) ||
    !isLowerCase(quote_message_id) ||
    typeof category !== "string" ||
    typeof data !== "string" ||
    typeof data_base64 !== "string" ||
    typeof status !== "string" ||
    typeof source !== "string" ||
    typeof silent !== "boolean" ||
    typeof expire_in !== "number" ||
    typeof created_at !== "string" ||
    typeof updated_at !== "string"
  ) {
    return undefined
  }
  return {
    message_id,
    conversation_id,
    user_id,
    representative_id,
    session_id,
    category,
    data,
    data_base64,
    status,
    source,
    quote_message_id,
    silent,
    expire_in,
    created_at,
    updated_at
  }
}

// What is sound, which is nearly all, costs its own schema alone, and what is as it always is not even that.
const orElse = <A>(plain: (input: unknown) => A | undefined, sound: Schema.Decoder<A>, odd: Schema.Decoder<A>) => {
  const decodeSound = Schema.decodeUnknownResult(sound)
  const decodeOdd = Schema.decodeUnknownResult(odd)
  return (input: unknown) => {
    const read = plain(input)
    if (read !== undefined) return Result.succeed(read)
    const decoded = decodeSound(input)
    return Result.isSuccess(decoded) ? decoded : decodeOdd(input)
  }
}

/**
 * Reads an envelope. One without an id of its own is a push, or an error that concerns the connection.
 *
 * @since 0.1.0
 */
export const incoming = orElse<Envelope.Incoming>(plainIncoming, Envelope.Incoming, OddIncoming)
/** @since 0.1.0 */
export const request = Schema.decodeUnknownResult(Envelope.Request)
/**
 * Reads a view, field by field where it is not as it should be: a message that has an id must be dealt with, or it comes back for 7 days.
 *
 * @since 0.1.0
 */
export const messageView = orElse<Envelope.MessageView>(plainView, Envelope.MessageView, OddMessageView)
