/**
 * Times as Mixin writes them.
 *
 * Guarantee: none of their nine digits is lost, as a `Date` would lose six.
 *
 * @since 0.1.0
 */

const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d)$/

/**
 * Nanoseconds since 1970 of a time in RFC 3339; nothing of what is none.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromText = (time = ""): bigint | undefined => {
  const match = form.exec(time)
  const millis = Date.parse(time)
  if (match === null || Number.isNaN(millis)) return undefined
  return fromMillis(1000 * Math.floor(millis / 1000)) + BigInt((match[1] ?? "").padEnd(9, "0"))
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromMillis = (millis: number): bigint => BigInt(Math.floor(millis)) * 1_000_000n
