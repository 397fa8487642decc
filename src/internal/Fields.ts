/**
 * Fields as they arrive: some sources leave them out, have them as `null`, or write numbers as text.
 *
 * Guarantee: a field that is not what it should be costs no other field its meaning.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/**
 * A field that may be absent or `null`.
 *
 * @category models
 * @since 0.1.0
 */
export const nullish = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))

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
 * A decimal number as text. One of a greater length is nobody's balance, and an exponent would make one that fills the memory.
 *
 * @category models
 * @since 0.1.0
 */
export const Decimal = Schema.String.check(Schema.isPattern(/^[+-]?\d{1,64}(?:\.\d{1,64})?$/))

/**
 * A view, with the schemas of its ids, texts, flags and counts.
 *
 * @category models
 * @since 0.1.0
 */
export const viewOf = <
  Id extends Schema.Top,
  Text extends Schema.Top,
  Flag extends Schema.Top,
  Count extends Schema.Top
>(
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
