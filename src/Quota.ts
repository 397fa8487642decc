/**
 * How much a bot may send.
 *
 * Guarantee: never more than 100 000 messages in any 60 seconds, resends counted; reaching the quota waits, it does not fail; and a
 * share is kept free for answers, so that an announcement does not silence the bot.
 *
 * @since 0.1.0
 */
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

/** Takes so many of the tokens of a bucket, and tells whether it had to wait. */
type Consume = (key: string, limit: number, tokens: number) => Effect.Effect<boolean, BlazeError.BlazeError>

const make = Effect.fnUntraced(function* (consume: Consume) {
  const { answerShare, quotaMessages: messages } = yield* Settings.checked
  const senders = yield* Division.Senders
  const partOf = (limit: number) => Math.max(1, Math.floor(limit / senders()))
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

const unavailable = BlazeError.make(new BlazeError.Timeout({ operation: "asking the store of the send quota" }))

/**
 * The quota in a `RateLimiter` of one's own: with its Redis store, one for several processes that share a bot. Its time is that of the
 * date, which machines have in common.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Quota, BlazeError.BlazeError, RateLimiter.RateLimiter> = Layer.effect(
  Quota,
  Effect.gen(function* () {
    const limiter = yield* RateLimiter.RateLimiter
    const { quotaWindow: window } = yield* Settings.checked
    return yield* make((key, limit, tokens) =>
      limiter.consume({ algorithm: "token-bucket", onExceeded: "delay", key, limit, window, tokens }).pipe(
        Effect.mapError(() => unavailable),
        Effect.flatMap(({ delay }) => waited(Duration.toMillis(delay)))
      )
    )
  })
)

const waited = (millis: number) => (millis === 0 ? Effect.succeed(false) : Effect.as(Effect.sleep(millis), true))

/** Token buckets. What is taken beyond what is in one is owed, and waits for as long as it takes to fill in. */
const makeBuckets = (window: number, now: () => number) => {
  const buckets = new Map<string, { tokens: number; filledAt: number }>()
  return (key: string, limit: number, tokens: number): number => {
    const period = window / limit
    const at = now()
    let bucket = buckets.get(key)
    if (bucket === undefined) buckets.set(key, (bucket = { tokens: limit, filledAt: at }))
    const filled = Math.floor((at - bucket.filledAt) / period)
    bucket.tokens = Math.min(limit, bucket.tokens + filled)
    bucket.filledAt = bucket.tokens === limit ? at : bucket.filledAt + filled * period
    bucket.tokens -= tokens
    return Math.max(0, -bucket.tokens * period - (at - bucket.filledAt))
  }
}

/**
 * The quota of one process. The time that it counts is what has passed, whatever the date.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Quota, BlazeError.BlazeError> = Layer.effect(
  Quota,
  Effect.gen(function* () {
    const { quotaWindow } = yield* Settings.checked
    // A `RateLimiter` with a store in memory takes ten times as long for a message.
    const take = makeBuckets(Duration.toMillis(Duration.fromInputUnsafe(quotaWindow)), yield* Elapsed.now)
    return yield* make((key, limit, tokens) => Effect.suspend(() => waited(take(key, limit, tokens))))
  })
)
