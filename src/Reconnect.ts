/**
 * When to connect again, as Schedules.
 *
 * Guarantee: the first delay of a streak is at most a second, none exceeds a minute, each is drawn at random from its whole
 * range, and only a connection that stayed up for a minute ends the streak. What a server asks for with `Retry-After` comes on top.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as BlazeError from "./BlazeError.ts"

/**
 * A schedule of reconnects: its input is why the last connection ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Reconnect = Schedule.Schedule<unknown, BlazeError.BlazeError>

/**
 * 1 second, doubled up to 60 seconds, without jitter.
 *
 * @category schedules
 * @since 0.1.0
 */
export const backoff: Reconnect = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("60 seconds")])

/**
 * Full jitter: every delay becomes a random one between nothing and itself, so that a thousand bots do not come back at once.
 *
 * **Example** (A gentler backoff)
 *
 * ```ts
 * import { Schedule } from "effect"
 * import { Reconnect } from "effect-blaze"
 *
 * const gentle: Reconnect.Reconnect = Reconnect.jittered(Schedule.spaced("30 seconds"))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const jittered = <Output, Input>(schedule: Schedule.Schedule<Output, Input>): Schedule.Schedule<Output, Input> =>
  Schedule.modifyDelay(schedule, ({ duration }) =>
    Effect.map(Random.next, (fraction) => Duration.millis(Duration.toMillis(duration) * fraction))
  )
