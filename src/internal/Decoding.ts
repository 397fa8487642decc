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
export const incoming = orElse<Envelope.Incoming>(Envelope.Incoming, OddIncoming)
/** @since 0.1.0 */
export const request = Schema.decodeUnknownResult(Envelope.Request)
/**
 * Reads a view, field by field where it is not as it should be: a message that has an id must be dealt with, or it comes back for 7 days.
 *
 * @since 0.1.0
 */
export const messageView = orElse<Envelope.MessageView>(Envelope.MessageView, OddMessageView)
