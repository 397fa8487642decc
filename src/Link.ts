/**
 * The addresses that Mixin's apps open: payments, people, conversations, bots.
 *
 * Guarantee: an address opens what its parameters say, whatever is in them; a payment that could not be made is no address.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Digits from "./internal/Digits.ts"
import * as Ids from "./Ids.ts"

/**
 * A payment to be made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payment {
  /** Who is paid: a user's id or a MIX address. */
  readonly recipient: string
  /** The asset's id. */
  readonly asset: string
  /** More than nothing, with up to eight digits after the point: `"0.1"`. */
  readonly amount: BigDecimal.BigDecimal | string
  readonly memo?: string | undefined
  /** A UUID that makes it payable once, `delivery.derive("order 7")` say. */
  readonly trace?: string | undefined
  /** Where the browser goes afterwards. Not before Safe. */
  readonly returnTo?: string | undefined
}

const isUuid = Schema.is(Ids.UserId)
const mixAddress = /^MIX[1-9A-HJ-NP-Za-km-z]{20,2000}$/
const decimal = /^\d{1,30}(?:\.\d{1,8})?$/

const refuse = (field: string, expected: string) =>
  Result.fail(BlazeError.make(new BlazeError.InvalidContent({ field, expected })))

/** The digits of an amount without an exponent, or nothing where there are more than Mixin counts. */
const digitsOf = (amount: Payment["amount"]): string | undefined => {
  const value =
    typeof amount === "string"
      ? Option.filter(BigDecimal.fromString(amount), () => decimal.test(amount))
      : Option.some(amount)
  if (Option.isNone(value) || !BigDecimal.isPositive(value.value)) return undefined
  const { scale } = BigDecimal.normalize(value.value)
  return scale > 8 || scale < -30 ? undefined : Digits.of(value.value)
}

const check = (payment: Payment): Result.Result<Record<string, string>, BlazeError.BlazeError> => {
  const recipient = Ids.toLowerCase(payment.recipient)
  const asset = Ids.toLowerCase(payment.asset)
  const amount = digitsOf(payment.amount)
  if (!isUuid(recipient) && !mixAddress.test(recipient)) return refuse("the recipient", "a user's id or a MIX address")
  if (!isUuid(asset)) return refuse("the asset", "the UUID of an asset")
  if (amount === undefined) return refuse("the amount", "more than nothing, with up to eight digits after the point")
  if (payment.trace !== undefined && !isUuid(Ids.toLowerCase(payment.trace))) return refuse("the trace", "a UUID")
  if (payment.returnTo !== undefined && !/^https?:$/.test(protocolOf(payment.returnTo))) {
    return refuse("returnTo", "an address that begins with https:// or http://")
  }
  return Result.succeed({
    recipient,
    asset,
    amount,
    ...(payment.memo ? { memo: payment.memo } : {}),
    ...(payment.trace === undefined ? {} : { trace: Ids.toLowerCase(payment.trace) }),
    ...(payment.returnTo === undefined ? {} : { return_to: payment.returnTo })
  })
}

/**
 * The protocol of an address with its colon, or nothing for what does not begin with it and `//`: a browser mends that, an app does not.
 *
 * @since 0.1.0
 */
export const protocolOf = (address: string): string =>
  /^[a-z][a-z\d+.-]*:\/\//i.test(address) && URL.canParse(address) ? new URL(address).protocol : ""

// A form writes a space as a plus sign, which an app that percent-decodes shows as one.
const query = (parameters: Readonly<Record<string, string>>) =>
  Object.entries(parameters)
    .map((pair) => pair.map((text) => encodeURIComponent(text.toWellFormed())).join("="))
    .join("&")

/**
 * A payment, as it is made today. Fails with `InvalidContent` that names the parameter.
 *
 * **Example** (An order)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Link } from "effect-blaze"
 *
 * const link = Link.pay({
 *   recipient: "773e5e77-4107-45c2-b648-8fc722ed77f5",
 *   asset: "4d8c508b-91c5-375b-92b0-ee702ed2dac5",
 *   amount: "2.50",
 *   memo: "order 7"
 * })
 * console.assert(
 *   Result.getOrThrow(link) ===
 *     "https://mixin.one/pay/773e5e77-4107-45c2-b648-8fc722ed77f5?asset=4d8c508b-91c5-375b-92b0-ee702ed2dac5&amount=2.5&memo=order%207"
 * )
 * ```
 *
 * @category payments
 * @since 0.1.0
 */
export const pay = (payment: Payment): Result.Result<string, BlazeError.BlazeError> =>
  Result.map(check(payment), ({ recipient, ...rest }) => `https://mixin.one/pay/${recipient}?${query(rest)}`)

/**
 * A payment of the API before Safe, for bots that still use it.
 *
 * @category payments
 * @since 0.1.0
 */
export const payBeforeSafe = (payment: Omit<Payment, "returnTo">): Result.Result<string, BlazeError.BlazeError> =>
  Result.map(check(payment), (parameters) => `https://mixin.one/pay?${query(parameters)}`)

/**
 * The page on which a user is paid any amount.
 *
 * @category people
 * @since 0.1.0
 */
export const transfer = (userId: Ids.UserId): string => `mixin://transfer/${encodeURIComponent(userId.toWellFormed())}`

/**
 * The profile of a user.
 *
 * @category people
 * @since 0.1.0
 */
export const user = (userId: Ids.UserId): string => `mixin://users/${encodeURIComponent(userId.toWellFormed())}`

/**
 * A conversation that the reader is in.
 *
 * @category conversations
 * @since 0.1.0
 */
export const conversation = (conversationId: Ids.ConversationId): string =>
  `mixin://conversations/${encodeURIComponent(conversationId.toWellFormed())}`

/**
 * A bot, opened at its page, with parameters that the page gets.
 *
 * @category bots
 * @since 0.1.0
 */
export const app = (appId: Ids.UserId, parameters: Readonly<Record<string, string>> = {}): string =>
  `mixin://apps/${encodeURIComponent(appId.toWellFormed())}?${query({ action: "open", ...parameters })}`

/**
 * The page on which the reader chooses to whom a text is sent.
 *
 * @category sharing
 * @since 0.1.0
 */
export const share = (text: string): string => `mixin://send?${query({ category: "text", data: Base64.encode(text) })}`
