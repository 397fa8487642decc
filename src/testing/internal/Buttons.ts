/**
 * What can be tapped in a message.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const Buttons = Schema.Array(Schema.Struct({ label: Schema.String, action: Schema.String }))
const decodeButtons = Schema.decodeUnknownOption(Schema.fromJsonString(Buttons))
const Card = Schema.Struct({
  title: Schema.String,
  action: Schema.optionalKey(Schema.String),
  actions: Schema.optionalKey(Buttons)
})
const decodeCard = Schema.decodeUnknownOption(Schema.fromJsonString(Card))

/**
 * What a phone shows as buttons: a card with an action of its own is one; of what it cannot read, none.
 *
 * @category accessors
 * @since 0.1.0
 */
export const of = ({ category, text }: { readonly category: string; readonly text: string }): typeof Buttons.Type => {
  if (category === "APP_BUTTON_GROUP") return Option.getOrElse(decodeButtons(text), () => [])
  if (category !== "APP_CARD") return []
  return Option.match(decodeCard(text), {
    onNone: () => [],
    onSome: ({ action, actions = [], title }) => (action ? [{ label: title, action }] : actions)
  })
}
