/**
 * Times as Mixin writes them.
 *
 * Guarantee: none of their nine digits is lost, as a `Date` would lose six.
 *
 * @since 0.1.0
 */

/**
 * Nanoseconds since 1970 of a time in RFC 3339, in UTC; nothing of what is none.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromText = (time: string | undefined): bigint | undefined => {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(time ?? "")
  const millis = Date.parse(`${match?.[1]}Z`)
  return Number.isNaN(millis) ? undefined : fromMillis(millis) + BigInt((match?.[2] ?? "").padEnd(9, "0"))
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromMillis = (millis: number): bigint => BigInt(Math.floor(millis)) * 1_000_000n
