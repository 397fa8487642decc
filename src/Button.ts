/**
 * Buttons, for `Outgoing.buttons` and `Outgoing.card`.
 *
 * Guarantee: what a tap does is what the constructor says; a button that could do nothing fails the send that has it.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as BlazeError from "./BlazeError.ts"
import * as Link from "./Link.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Button {
  readonly label: string
  /** What a tap does: `input:TEXT` has the person say the text, an address is opened. */
  readonly action: string
  /** As `#RRGGBB`. */
  readonly color: string
  readonly problem: BlazeError.InvalidContent | undefined
}

/**
 * How a button looks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** As `#RRGGBB`; Mixin's blue by default. */
  readonly color?: string | undefined
}

const blue = "#3D75E3"

const expected = (field: string, what: string) => new BlazeError.InvalidContent({ field, expected: what })

const make = (
  label: string,
  action: string,
  { color = blue }: Options,
  problem: BlazeError.InvalidContent | false | undefined
): Button => ({
  label,
  action,
  color,
  problem:
    (label.trim() === "" && expected("a button's label", "some text")) ||
    (!/^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i.test(color) && expected("a button's colour", "of the form #RRGGBB")) ||
    problem ||
    undefined
})

/**
 * A tap has the person say a text, which reaches the bot as any other: `/price BTC`, say. Two taps are two messages.
 *
 * **Example** (A menu)
 *
 * ```ts
 * import { Button, Outgoing } from "effect-blaze"
 *
 * const menu = Outgoing.buttons([Button.say("BTC", "/price BTC"), Button.open("Docs", "https://example.com/docs")])
 * console.assert(menu.category === "APP_BUTTON_GROUP")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const say = (label: string, text: string, options: Options = {}): Button =>
  make(label, `input:${text}`, options, text.trim() === "" && expected("what a button says", "some text"))

/**
 * A tap opens an address. Mixin warns the person where the bot's resource patterns do not have it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (label: string, address: string, options: Options = {}): Button =>
  make(
    label,
    address,
    options,
    !/^(?:https?|mixin):$/.test(Link.protocolOf(address)) &&
      expected("a button's address", "one that begins with https://, http:// or mixin://")
  )

/**
 * A tap opens a payment, see `Link.pay`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pay = ({ color, label, ...payment }: Link.Payment & Options & { readonly label: string }): Button => {
  const link = Link.pay(payment)
  return make(
    label,
    Result.getOrElse(link, () => ""),
    { color },
    Result.isFailure(link) && link.failure.reason._tag === "InvalidContent" && link.failure.reason
  )
}
