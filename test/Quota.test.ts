import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { Ids, Quota, Settings } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { TestClock } from "effect/testing"
import * as Division from "../src/internal/Division.ts"

const bot = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
const other = Ids.UserId.make("773e5e77-4107-45c2-b648-8fc722ed77f5")

/** Sends as fast as the quota allows for some seconds, and tells the second of every send. */
const flood = Effect.fnUntraced(function* (kind: Quota.Kind, seconds: number, senders: number) {
  const quota = yield* Quota.Quota
  const times: Array<number> = []
  const fibers = yield* Effect.forEach(Array.from({ length: senders }), () =>
    Effect.forkChild(
      Effect.forever(
        Effect.andThen(
          quota.take(bot, kind),
          Effect.map(
            TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe())),
            (now) => {
              times.push(now)
            }
          )
        )
      )
    )
  )
  for (let second = 0; second < seconds; second++) {
    yield* BlazeTest.settle
    yield* TestClock.adjust("1 second")
  }
  yield* Fiber.interruptAll(fibers)
  return times
})

const mostIn = (times: ReadonlyArray<number>, window: number) => {
  let most = 0
  let from = 0
  for (let to = 0; to < times.length; to++) {
    while (times[to]! - times[from]! >= window) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

// The limit of Mixin in small, so that a test can count it: 100 a minute.
const small = Settings.layer({ quotaMessages: 9, quotaWindow: "6 seconds", answerShare: 0.34 })

describe("Quota", () => {
  it("the default is 9 000 in 6 seconds: at most 99 000 a minute", () => {
    const { quotaMessages, quotaWindow } = Settings.defaults
    assert.deepStrictEqual([quotaMessages, quotaWindow], [9000, "6 seconds"])
    assert.isAtMost(quotaMessages + (quotaMessages / 6) * 60, 100_000)
  })
})

describe("Quota in a RateLimiter that cannot be asked", () => {
  it.effect("fails, and may be asked again", () =>
    Effect.gen(function* () {
      const { take } = yield* Quota.Quota
      const { isRetryable, message } = yield* Effect.flip(take(bot, "answer"))
      assert.isTrue(isRetryable)
      assert.include(message, "the store of the send quota")
    }).pipe(
      Effect.provide(Quota.layer),
      Effect.provideService(RateLimiter.RateLimiter, {
        ...({} as RateLimiter.RateLimiter),
        consume: () =>
          Effect.fail(
            new RateLimiter.RateLimiterError({ reason: new RateLimiter.RateLimitStoreError({ message: "" }) })
          )
      })
    )
  )
})

const layers = {
  "of one process": Quota.layerMemory,
  "in a RateLimiter": Quota.layer.pipe(Layer.provide(RateLimiter.layer), Layer.provide(RateLimiter.layerStoreMemory))
}

describe.each(Object.entries(layers))("Quota %s", (_, layer) => {
  const quota = Layer.provide(layer, small)

  it.effect("gives each of several processes its part, as many as they are now", () =>
    Effect.gen(function* () {
      let senders = 3
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* flood("answer", 6, 20)).length, 3 + 3)
        senders = 1
        // Those that waited before had their places already.
        const times = yield* flood("answer", 60, 20)
        assert.isAtLeast(times.length, 60)
      }).pipe(
        Effect.provide(quota),
        Effect.provideService(Division.Senders, () => senders)
      )
    })
  )

  it.effect("never lets more through than 100 000 in any 60 seconds, scaled to 100", () =>
    Effect.gen(function* () {
      const times = yield* flood("answer", 200, 20)
      assert.isAtMost(mostIn(times, 60_000), 100)
      assert.isAtLeast(times.length, 300)
    }).pipe(Effect.provide(quota))
  )

  it.effect("keeps a share free for answers while an announcement uses up the rest", () =>
    Effect.gen(function* () {
      const quota = yield* Quota.Quota
      const announcing = yield* Effect.forkChild(flood("announcement", 60, 20))
      yield* BlazeTest.settle
      let waited = 0
      for (let n = 0; n < 10; n++) {
        yield* TestClock.adjust("4 seconds")
        const answer = yield* Effect.forkChild(quota.take(bot, "answer"))
        yield* BlazeTest.settle
        if (answer.pollUnsafe() === undefined) waited++
        yield* TestClock.adjust("2 seconds")
      }
      assert.strictEqual(waited, 0)
      yield* Fiber.interrupt(announcing)
    }).pipe(Effect.provide(quota))
  )

  it.effect("waits at the quota, and does not fail; another bot's is its own", () =>
    Effect.gen(function* () {
      const quota = yield* Quota.Quota
      for (let n = 0; n < 9; n++) assert.isFalse(yield* quota.take(bot, "answer"))
      const waiting = yield* Effect.forkChild(quota.take(bot, "answer"))
      yield* BlazeTest.settle
      assert.isUndefined(waiting.pollUnsafe())
      assert.isFalse(yield* quota.take(other, "answer"))
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* Fiber.join(waiting))
    }).pipe(Effect.provide(quota))
  )

  it.effect("what is sent together waits until all of it may be, more than the quota holds too", () =>
    Effect.gen(function* () {
      const { take } = yield* Quota.Quota
      const took = (count: number) =>
        Effect.gen(function* () {
          const clock = yield* TestClock.testClockWith(Effect.succeed)
          const begun = clock.currentTimeMillisUnsafe()
          const taking = yield* Effect.forkChild(take(bot, "answer", count))
          yield* BlazeTest.settle
          while (taking.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
          return (clock.currentTimeMillisUnsafe() - begun) / 1000
        })
      // Nine are there, and one comes in two thirds of a second.
      assert.strictEqual(yield* took(1), 0)
      yield* TestClock.adjust("1500 millis")
      assert.strictEqual(yield* took(9), 0)
      assert.closeTo(yield* took(1), 2 / 3, 0.11)
      yield* TestClock.adjust("600 millis")
      assert.closeTo(yield* took(1), 0, 0.11)
      assert.closeTo(yield* took(3), 2, 0.11)
      assert.closeTo(yield* took(18), 12, 0.11)
      yield* TestClock.adjust("1 hour")
      assert.closeTo(yield* took(12), 2, 0.11)
    }).pipe(Effect.provide(quota))
  )

  it.effect("tells of an announcement too whether it had to wait, for its own share or for what is left of all", () =>
    Effect.gen(function* () {
      const { take } = yield* Quota.Quota
      const taken = (kind: Quota.Kind) =>
        Effect.gen(function* () {
          const taking = yield* Effect.forkChild(take(bot, kind))
          yield* BlazeTest.settle
          yield* TestClock.adjust("1 minute")
          return yield* Fiber.join(taking)
        })
      // Announcements may have five of the nine.
      for (let n = 0; n < 5; n++) assert.isFalse(yield* take(bot, "announcement"))
      assert.isTrue(yield* taken("announcement"))
      yield* TestClock.adjust("1 hour")
      for (let n = 0; n < 9; n++) assert.isFalse(yield* take(bot, "answer"))
      assert.isTrue(yield* taken("announcement"))
    }).pipe(Effect.provide(quota))
  )

  it.effect("is one message at the least for each of very many processes", () =>
    Effect.gen(function* () {
      const { maximumBatch, take } = yield* Quota.Quota
      assert.strictEqual(maximumBatch, 5)
      assert.isFalse(yield* take(bot, "announcement"))
      const second = yield* Effect.forkChild(take(bot, "announcement"))
      yield* BlazeTest.settle
      assert.isUndefined(second.pollUnsafe())
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(second)
    }).pipe(
      Effect.provide(quota),
      Effect.provideService(Division.Senders, () => 100)
    )
  )
})
