/**
 * Times that Mixin counts in whole seconds.
 *
 * Guarantee: none is shorter than it was said, and what is no time, or less than none, is nothing.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/**
 * @category conversions
 * @since 0.1.0
 */
export const from = (input: Duration.Input): number | undefined => {
  const seconds = Option.getOrElse(Option.map(Duration.fromInput(input), Duration.toSeconds), () => NaN)
  return Number.isFinite(seconds) && seconds >= 0 && !Number.isNaN(input) ? Math.ceil(seconds) : undefined
}
