/**
 * Time that has passed, as opposed to dates.
 *
 * Guarantee: what is measured here does not change when somebody sets the machine's clock.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

const millis = (clock: Clock.Clock) => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * Milliseconds since some moment in the past: good for differences, and for nothing else.
 *
 * @category time
 * @since 0.1.0
 */
export const now: Effect.Effect<() => number> = Effect.map(Clock.Clock, (clock) => () => millis(clock))

/**
 * Waits until a moment of `now`, which has come then.
 *
 * **Details**
 *
 * In whole milliseconds: what is left of a time after it was added and subtracted may be less than a clock can tell, and a loop that waits
 * for it would never end.
 *
 * @category time
 * @since 0.1.0
 */
export const sleepUntil = (now: () => number, at: number): Effect.Effect<void> =>
  Effect.suspend(() => Effect.sleep(Math.max(0, Math.ceil(at - now()))))

/**
 * Has what is told again and again be told at most once in so many milliseconds, and be told in another way in between.
 *
 * @category time
 * @since 0.1.0
 */
export const seldom = (now: () => number, period: number) => {
  let toldAt = -Infinity
  return (
    tell: () => Effect.Effect<void>,
    between: () => Effect.Effect<void> = () => Effect.void
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (now() - toldAt < period) return between()
      toldAt = now()
      return tell()
    })
}

/**
 * The delays of a schedule, one by one: `None` once it has come to its end.
 *
 * **Details**
 *
 * What runs a schedule by itself (`Effect.retry`, `Effect.repeat`) counts the time by the date.
 *
 * @category schedules
 * @since 0.1.0
 */
export const delays = <Input>(
  schedule: Schedule.Schedule<unknown, Input>
): Effect.Effect<(input: Input) => Effect.Effect<Option.Option<Duration.Duration>>> =>
  Effect.zipWith(
    now,
    Schedule.toStep(schedule),
    (now, step) => (input) =>
      Effect.map(Effect.exit(Effect.suspend(() => step(now(), input))), (exit) =>
        Exit.isSuccess(exit) ? Option.some(exit.value[1]) : Option.none()
      )
  )
