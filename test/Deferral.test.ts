import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { Blaze, Bot, Delivery, Keyed, Settings } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"

const client = (bounds: Pick<Settings.Settings, "deferredMessages" | "deferredBytes">) =>
  Blaze.layer.pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide([
      BlazeTest.layerPlatform,
      Settings.layer({ flushTimeout: 0, defer: Schedule.spaced("10 seconds"), ...bounds })
    ])
  )

describe("Deferral", () => {
  // What is not given back when a message wakes up, or is done with, is gone for ever.
  for (const [name, bounds] of [
    ["more bytes than are kept", { deferredMessages: 1000, deferredBytes: 8000 }],
    ["more than twice as many messages as are kept", { deferredMessages: 2, deferredBytes: 1_000_000 }]
  ] as const) {
    it.effect(`${name} can be deferred over time: each is offered again by the schedule`, () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const runs = new Map<string, number>()
        yield* Effect.forkChild(
          Bot.run(({ message }) =>
            Effect.sync(() => {
              const run = (runs.get(message.id) ?? 0) + 1
              runs.set(message.id, run)
              return run <= 2 ? Delivery.Defer : Delivery.Ack
            })
          )
        )
        for (let n = 0; n < 20; n++) {
          const id = yield* alice.say("x".repeat(2000))
          for (const run of [1, 2, 3]) {
            yield* BlazeTest.settle
            assert.strictEqual(runs.get(id), run, `message ${n}`)
            yield* TestClock.adjust("10 seconds")
          }
        }
        yield* BlazeTest.settle
        assert.deepStrictEqual([yield* bot.pending, yield* bot.handshakes], [[], 1])
      }).pipe(
        Effect.provide(client(bounds)),
        Effect.provide(BlazeTest.layerServer),
        Effect.provideService(Keyed.Grace, 0)
      )
    )
  }
})
