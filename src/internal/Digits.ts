/**
 * Amounts in plain digits.
 *
 * Guarantee: every digit is there, and nothing else but one point: no exponent, no zeros at the end of a fraction.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"

/**
 * The digits of an amount that is not negative. An exponent is written out, so it has to be bounded before.
 *
 * @category conversions
 * @since 0.1.0
 */
export const of = (amount: BigDecimal.BigDecimal): string => {
  const { scale, value } = BigDecimal.normalize(amount)
  if (scale <= 0) return (value * 10n ** BigInt(-scale)).toString()
  const text = value.toString().padStart(scale + 1, "0")
  return `${text.slice(0, -scale)}.${text.slice(-scale)}`
}
