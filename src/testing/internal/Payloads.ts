/**
 * What bots may send: the categories, and what the payload of each must be.
 *
 * Guarantee: what is taken is of a kind that bots may send and has in it what makes it that kind; what Mixin may leave out or add is
 * not looked at.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Screen from "./Screen.ts"

const filled = Schema.NonEmptyString
const number = Schema.Union([Schema.Finite, Schema.FiniteFromString])
const file = Schema.Struct({ attachment_id: filled })
const button = Schema.Struct({ label: Schema.String, action: Schema.String })
const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

// Source: docs/protocol.md section 5. Where old clients write it differently, both.
const payloads = {
  PLAIN_STICKER: Schema.Union([
    Schema.Struct({ sticker_id: filled }),
    Schema.Struct({ name: filled, album_id: filled })
  ]),
  PLAIN_IMAGE: file,
  PLAIN_AUDIO: file,
  PLAIN_VIDEO: file,
  PLAIN_DATA: file,
  PLAIN_CONTACT: Schema.Struct({ user_id: filled }),
  PLAIN_LIVE: Schema.Struct({ url: filled }),
  PLAIN_LOCATION: Schema.Struct({ longitude: number, latitude: number }),
  PLAIN_TRANSCRIPT: Schema.Array(Schema.Struct({ category: filled })),
  APP_BUTTON_GROUP: Schema.Array(button),
  APP_CARD: Schema.Struct({
    title: filled,
    action: optional(Schema.String),
    actions: optional(Schema.Array(button))
  }),
  MESSAGE_RECALL: Screen.Recall,
  MESSAGE_PIN: Screen.Pin
}

const decoder = new TextDecoder("utf-8", { fatal: true })

const isJsonOf = (schema: Schema.ConstraintDecoder<unknown>) => {
  const decode = Schema.decodeUnknownOption(Schema.fromJsonString(schema))
  return (bytes: Uint8Array): boolean => {
    try {
      return Option.isSome(decode(decoder.decode(bytes)))
    } catch {
      return false
    }
  }
}

const isAnything = () => true

const checks = new Map<string, (bytes: Uint8Array) => boolean>([
  ["PLAIN_TEXT", isAnything],
  ["PLAIN_POST", isAnything],
  ...Object.entries(payloads).map(([category, schema]) => [category, isJsonOf(schema)] as const)
])

/**
 * The field of a message that is not as it must be, if one is not.
 *
 * @since 0.1.0
 */
export const problem = (category: string, bytes: Uint8Array): "category" | "data" | undefined => {
  const isPayload = checks.get(category)
  if (isPayload === undefined) return "category"
  return bytes.length > 0 && isPayload(bytes) ? undefined : "data"
}
