import { assert, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import { Acks, Connection, Frame, Inbox, Keyed, Reconnect, Requests, Signer, Store } from "effect-blaze"

const millis = (input: Duration.Input) => Duration.toMillis(input)

it.effect("the defaults are what the documentation says", () =>
  Effect.gen(function* () {
    const batch = yield* Acks.Batch
    assert.deepStrictEqual([batch.size, millis(batch.within)], [100, 1000])
    assert.strictEqual(millis(yield* Acks.FlushTimeout), 10_000)
    assert.strictEqual(millis(yield* Keyed.Grace), 30_000)
    const memory = yield* Store.Memory
    assert.deepStrictEqual([memory.size, millis(memory.age)], [100_000, 7 * 24 * 3600 * 1000])
    assert.strictEqual(millis(yield* Requests.Timeout), 5000)
    assert.strictEqual(yield* Inbox.OverflowSize, 64 * 2 ** 20)
    assert.deepStrictEqual(yield* Inbox.Size, { messages: 1000, bytes: 8 * 2 ** 20 })
    assert.strictEqual(yield* Connection.BadFrameTolerance, 3)
    assert.strictEqual(yield* Frame.MaximumSize, 16 * 2 ** 20)
    assert.strictEqual(Signer.lifetime, 3600)
    const { schedule, stableAfter } = yield* Reconnect.Policy
    assert.strictEqual(millis(stableAfter), 60_000)
    const step = yield* Schedule.toStep(schedule)
    const [, delay] = yield* Effect.orDie(step(0, undefined as never))
    assert.isAtMost(millis(delay), 1000)
  })
)

it.effect("a batch of acknowledgements that failed is sent again after 0.5 to 30 seconds, for ever", () =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(yield* Acks.Retry)
    const delays: Array<number> = []
    for (let attempt = 0; attempt < 9; attempt++) {
      const [, delay] = yield* Effect.orDie(step(0, undefined))
      delays.push(millis(delay) / 1000)
    }
    assert.deepStrictEqual(delays, [0.5, 1, 2, 4, 8, 16, 30, 30, 30])
  })
)
