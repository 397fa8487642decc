/**
 * How much a bot may send.
 *
 * Guarantee: never more than 100 000 messages in any 60 seconds, resends counted; reaching the quota waits, it does not fail; and a
 * share is kept free for answers, so that an announcement does not silence the bot.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as BlazeError from "./BlazeError.ts"
import * as Division from "./internal/Division.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import type * as Ids from "./Ids.ts"
import * as Settings from "./Settings.ts"

/**
 * What a message is: the answer to one that came in, or anything else.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = "answer" | "announcement"

/**
 * @category services
 * @since 0.1.0
 */
export class Quota extends Context.Service<
  Quota,
  {
    /** Waits until a bot may send so many more messages of a kind, one by default, and tells whether it had to. */
    readonly take: (userId: Ids.UserId, kind: Kind, count?: number) => Effect.Effect<boolean, BlazeError.BlazeError>
    /** How many announcements can be sent together: more of them would wait for the share of answers too. */
    readonly maximumBatch: number
  }
>()("effect-blaze/Quota") {}

const unavailable = BlazeError.make(new BlazeError.Timeout({ operation: "asking the store of the send quota" }))

const make = Effect.fnUntraced(function* (limiter: RateLimiter.RateLimiter) {
  const { answerShare, quotaMessages: messages, quotaWindow: window } = yield* Settings.checked
  const senders = yield* Division.Senders
  const partOf = (limit: number) => Math.max(1, Math.floor(limit / senders()))
  const consume = (key: string, limit: number, tokens: number): Effect.Effect<boolean, BlazeError.BlazeError> =>
    tokens > limit
      ? Effect.zipWith(consume(key, limit, limit), consume(key, limit, tokens - limit), (a, b) => a || b)
      : limiter.consume({ algorithm: "token-bucket", onExceeded: "delay", key, limit, window, tokens }).pipe(
          Effect.mapError(() => unavailable),
          Effect.flatMap(({ delay }) =>
            Duration.isZero(delay) ? Effect.succeed(false) : Effect.as(Effect.sleep(delay), true)
          )
        )
  const announcements = Math.max(1, Math.floor(messages * (1 - answerShare)))
  return Quota.of({
    maximumBatch: announcements,
    take: (userId, kind, count = 1) => {
      const all = consume(`effect-blaze/${userId}`, partOf(messages), count)
      return kind === "answer"
        ? all
        : Effect.zipWith(
            consume(`effect-blaze/${userId}/announcements`, partOf(announcements), count),
            all,
            (a, b) => a || b
          )
    }
  })
})

/**
 * The quota in a `RateLimiter` of one's own: with its Redis store, one for several processes that share a bot. Its time is that of the
 * date, which machines have in common.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Quota, BlazeError.BlazeError, RateLimiter.RateLimiter> = Layer.effect(
  Quota,
  Effect.flatMap(RateLimiter.RateLimiter, make)
)

/**
 * The quota of one process. The time that it counts is what has passed, whatever the date.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Quota, BlazeError.BlazeError> = layer.pipe(
  Layer.provide(RateLimiter.layer),
  Layer.provide(
    Layer.effect(
      RateLimiter.RateLimiterStore,
      Effect.gen(function* () {
        const store = yield* RateLimiter.RateLimiterStore
        // The store answers at once. To provide it with a clock for each send would cost more than its answer.
        const run = Effect.runSyncWith(Context.make(Clock.Clock, yield* Elapsed.clock))
        return { ...store, tokenBucket: (options) => Effect.sync(() => run(store.tokenBucket(options))) }
      })
    ).pipe(Layer.provide(RateLimiter.layerStoreMemory))
  )
)
