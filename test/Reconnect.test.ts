import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schedule, Stream, SubscriptionRef } from "effect"
import { Blaze, Reconnect, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

const delays = (schedule: Reconnect.Reconnect, count: number) =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    const found: Array<number> = []
    for (let attempt = 0; attempt < count; attempt++) {
      const [, delay] = yield* Effect.orDie(step(0, undefined as never))
      found.push(Duration.toMillis(delay))
    }
    return found
  })

const client = Blaze.layer.pipe(Layer.provide(BlazeTest.layerTransport), Layer.provide(BlazeTest.layerPlatform))
const exact = Settings.layer({ reconnect: Reconnect.backoff, stableAfter: "1 minute" })

/** The delays that a bot tells in its status. */
const watch = Effect.gen(function* () {
  const waits: Array<number> = []
  const blaze = yield* Blaze.Blaze
  yield* Effect.forkChild(
    Stream.runForEach(SubscriptionRef.changes(blaze.status), (status: Blaze.Status) =>
      Effect.sync(() => {
        if (status._tag === "Waiting") waits.push(Duration.toSeconds(status.delay))
      })
    )
  )
  yield* BlazeTest.settle
  return waits
})

describe("Reconnect", () => {
  it.effect("backs off from 1 to 60 seconds", () =>
    Effect.gen(function* () {
      const found = yield* delays(Reconnect.backoff, 9)
      assert.deepStrictEqual(
        found.map((delay) => delay / 1000),
        [1, 2, 4, 8, 16, 32, 60, 60, 60]
      )
    })
  )

  it.effect("jitters over the whole range", () =>
    Effect.gen(function* () {
      const found: Array<number> = []
      for (let streak = 0; streak < 200; streak++)
        found.push((yield* delays(Reconnect.jittered(Reconnect.backoff), 8))[7]!)
      assert.isBelow(Math.min(...found), 5000)
      assert.isAbove(Math.max(...found), 55_000)
      assert.isAtMost(Math.max(...found), 60_000)
    })
  )

  it.effect("against a server that drops every connection at once the delays follow the schedule", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      yield* server.inject({ _tag: "DropConnection" }, Infinity)
      const waits = yield* Effect.gen(function* () {
        const waits = yield* watch
        yield* pass(1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)
        return waits
      }).pipe(Effect.provide(client.pipe(Layer.provide(exact))))
      assert.deepStrictEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
      assert.strictEqual(yield* bot.handshakes, 9)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("starts afresh only after a connection that was up for a minute", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      yield* Effect.gen(function* () {
        const waits = yield* watch
        for (const [up, expected] of [
          [0, [1]],
          [59, [1, 2]],
          [59, [1, 2, 4]],
          [60, [1, 2, 4, 1]],
          [10, [1, 2, 4, 1, 2]]
        ] as const) {
          yield* pass(up)
          yield* bot.cut
          yield* BlazeTest.settle
          assert.deepStrictEqual(waits, [...expected])
          yield* pass(waits.at(-1)!)
          assert.strictEqual(yield* bot.connections, 1)
        }
      }).pipe(Effect.provide(client.pipe(Layer.provide(exact))))
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("gives up with the last reason when the schedule does", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, Infinity)
      const twice = Settings.layer({
        reconnect: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 })),
        stableAfter: "1 minute"
      })
      const error = yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(blaze.deliveries)))
        yield* BlazeTest.settle
        yield* pass(1)
        yield* pass(1)
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(client.pipe(Layer.provide(twice))))
      assert.strictEqual(error.reason._tag, "HandshakeRefused")
      assert.strictEqual(yield* bot.handshakes, 3)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})
