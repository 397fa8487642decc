/**
 * What the program may tell this library: numbers and times that are looked at where they are given.
 *
 * Guarantee: a value that cannot work is refused at the start, in one sentence with its name, and does not make a bot that is deaf.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlazeError from "../BlazeError.ts"

const refuse = (name: string, expected: string, value: unknown) =>
  Effect.fail(
    BlazeError.make(
      new BlazeError.InvalidSetting({
        setting: "option",
        field: name,
        expected: `${expected}, and it is ${typeof value === "string" ? JSON.stringify(value.slice(0, 50)) : String(value)}`
      })
    )
  )

/**
 * A whole number of at least `minimum` (1), or `Infinity`.
 *
 * @category checks
 * @since 0.1.0
 */
export const count = (name: string, value: number, minimum = 1): Effect.Effect<number, BlazeError.BlazeError> =>
  value >= minimum && (Number.isInteger(value) || value === Infinity)
    ? Effect.succeed(value)
    : refuse(name, `a whole number of at least ${minimum}`, value)

/**
 * A number above 0, or `Infinity`.
 *
 * @category checks
 * @since 0.1.0
 */
export const positive = (name: string, value: number): Effect.Effect<number, BlazeError.BlazeError> =>
  value > 0 ? Effect.succeed(value) : refuse(name, "a number above 0", value)

/**
 * A part of a whole, from 0 to 1.
 *
 * @category checks
 * @since 0.1.0
 */
export const share = (name: string, value: number): Effect.Effect<number, BlazeError.BlazeError> =>
  value >= 0 && value <= 1 ? Effect.succeed(value) : refuse(name, "a number from 0 to 1", value)

/**
 * One of some words.
 *
 * @category checks
 * @since 0.1.0
 */
export const oneOf = <Word extends string>(
  name: string,
  value: Word,
  words: ReadonlyArray<Word>
): Effect.Effect<Word, BlazeError.BlazeError> =>
  words.includes(value) ? Effect.succeed(value) : refuse(name, `one of ${words.join(", ")}`, value)

/**
 * A time that is not negative, or longer than nothing.
 *
 * @category checks
 * @since 0.1.0
 */
export const duration = (
  name: string,
  value: Duration.Input,
  range: "positive" | "zero or more"
): Effect.Effect<Duration.Duration, BlazeError.BlazeError> => {
  const decoded = Number.isNaN(value) ? undefined : Option.getOrUndefined(Duration.fromInput(value))
  const millis = decoded === undefined ? NaN : Duration.toMillis(decoded)
  return decoded !== undefined && (range === "positive" ? millis > 0 : millis >= 0)
    ? Effect.succeed(decoded)
    : refuse(name, `a time such as "30 seconds" or milliseconds, ${range}`, value)
}
