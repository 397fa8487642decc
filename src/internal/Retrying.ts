/**
 * What may be tried again, tried again.
 *
 * Guarantee: a failure that no further try can change is not tried again, and the time between two tries is time that has passed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type * as BlazeError from "../BlazeError.ts"
import * as Elapsed from "./Elapsed.ts"

const again = Effect.fnUntraced(function* <A>(
  attempt: Effect.Effect<A, BlazeError.BlazeError>,
  retry: Schedule.Schedule<unknown, BlazeError.BlazeError>,
  error: BlazeError.BlazeError
): Effect.fn.Return<A, BlazeError.BlazeError> {
  const delay = yield* Elapsed.delays(retry)
  let last = error
  while (last.isRetryable) {
    const next = yield* delay(last)
    if (Option.isNone(next)) break
    yield* Effect.sleep(next.value)
    const result = yield* Effect.result(attempt)
    if (Result.isSuccess(result)) return result.success
    last = result.failure
  }
  return yield* last
})

/**
 * Tries for as long as the failure is retryable and the schedule goes on.
 *
 * @category combinators
 * @since 0.1.0
 */
// As Effect.retry, which sets up its schedule before there is a failure, and counts by the date.
export const retried = <A>(
  attempt: Effect.Effect<A, BlazeError.BlazeError>,
  retry: Schedule.Schedule<unknown, BlazeError.BlazeError>
): Effect.Effect<A, BlazeError.BlazeError> => Effect.catch(attempt, (error) => again(attempt, retry, error))

/**
 * A stream that goes on by itself when it is run again, run again after each failure that is retryable, while the schedule goes on: which
 * begins anew whenever there was progress.
 *
 * @category combinators
 * @since 0.1.0
 */
export const resumed = <A>(
  self: Stream.Stream<A, BlazeError.BlazeError>,
  retry: Schedule.Schedule<unknown, BlazeError.BlazeError>,
  progress: () => number
): Stream.Stream<A, BlazeError.BlazeError> =>
  Stream.suspend(() => {
    let delay: Effect.Success<ReturnType<typeof Elapsed.delays<BlazeError.BlazeError>>> | undefined
    let before = progress()
    const pause = Effect.fnUntraced(function* (error: BlazeError.BlazeError) {
      if (delay === undefined || progress() > before) delay = yield* Elapsed.delays(retry)
      before = progress()
      const next = yield* delay(error)
      if (Option.isNone(next)) return yield* error
      yield* Effect.sleep(next.value)
    })
    const again: Stream.Stream<A, BlazeError.BlazeError> = Stream.catch(self, (error) =>
      error.isRetryable ? Stream.unwrap(Effect.as(pause(error), again)) : Stream.fail(error)
    )
    return again
  })
