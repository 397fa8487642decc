/**
 * What is old is taken out of a table beside what is written.
 *
 * Guarantee: no transaction takes long for it: a thousand rows go each time, until there are fewer, and then none for a minute.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"

/** How many rows go at once. */
const maximumRows = 1000

/** How long nothing is looked for after there were fewer, in milliseconds. */
const period = 60_000

/**
 * `remove` takes out so many at the most and gives those that were; what this gives is called with the time, within a transaction of who asks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  remove: (at: number, maximum: number) => Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>
) => {
  let lookedAt = -Infinity
  return Effect.fnUntraced(function* (at: number) {
    // Whatever has been done to the clock meanwhile.
    if (Math.abs(at - lookedAt) < period) return
    const gone = yield* remove(at, maximumRows)
    if (gone.length < maximumRows) lookedAt = at
  })
}
