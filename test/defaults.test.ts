import { assert, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import { Keyed, Settings, Signer } from "effect-blaze"

const millis = (input: Duration.Input) => Duration.toMillis(input)

it.effect("the defaults are what the documentation says", () =>
  Effect.gen(function* () {
    const settings = yield* Settings.checked
    assert.deepStrictEqual([settings.acknowledgeBatch, millis(settings.acknowledgeWithin)], [100, 1000])
    assert.strictEqual(millis(settings.flushTimeout), 10_000)
    assert.strictEqual(millis(yield* Keyed.Grace), 30_000)
    assert.deepStrictEqual(
      [settings.rememberedMessages, millis(settings.rememberedFor)],
      [100_000, 7 * 24 * 3600 * 1000]
    )
    assert.strictEqual(millis(settings.requestTimeout), 5000)
    assert.strictEqual(settings.overflowBytes, 64 * 2 ** 20)
    assert.deepStrictEqual([settings.inboxMessages, settings.inboxBytes], [1000, 8 * 2 ** 20])
    assert.strictEqual(settings.badFrameTolerance, 3)
    assert.strictEqual(settings.maximumFrameSize, 16 * 2 ** 20)
    assert.strictEqual(Signer.lifetime, 3600)
    assert.strictEqual(millis(settings.stableAfter), 60_000)
    const step = yield* Schedule.toStep(settings.reconnect)
    const [, delay] = yield* Effect.orDie(step(0, undefined as never))
    assert.isAtMost(millis(delay), 1000)
  })
)

it.effect("a batch of acknowledgements that failed is sent again after 0.5 to 30 seconds, for ever", () =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(Settings.defaults.acknowledgeRetry)
    const delays: Array<number> = []
    for (let attempt = 0; attempt < 9; attempt++) {
      const [, delay] = yield* Effect.orDie(step(0, undefined))
      delays.push(millis(delay) / 1000)
    }
    assert.deepStrictEqual(delays, [0.5, 1, 2, 4, 8, 16, 30, 30, 30])
  })
)
