// Numbers and times that cannot work are refused where they are given, in one sentence: they do not make a bot that is deaf.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Stream } from "effect"
import { Blaze, Bot, Keyed, Outgoing, Settings } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import * as Setting from "../src/internal/Setting.ts"

const untyped = <A>(value: unknown) => value as A

// Without the settings that BlazeTest.layer has of its own.
const client = Blaze.layer.pipe(
  Layer.provide(BlazeTest.layerTransport),
  Layer.provide(BlazeTest.layerPlatform),
  Layer.provide(BlazeTest.layerServer)
)

/** How a bot ends that is given settings: at once, or not at all. */
const outcome = (settings: Layer.Layer<never>, options?: Bot.Options<never, never>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.exit(
        Bot.run(() => Effect.void, options).pipe(
          Effect.provide(client.pipe(Layer.provide(settings))),
          Effect.provide(settings)
        )
      )
    )
    yield* BlazeTest.settle
    yield* TestClock.adjust("1 second")
    yield* BlazeTest.settle
    const exit = fiber.pollUnsafe()
    if (exit === undefined) return "runs"
    const inner = Exit.isSuccess(exit) ? exit.value : exit
    return Exit.isFailure(inner) ? (Cause.squash(inner.cause) as Error).message : "ended"
  })

const given = (name: keyof Settings.Settings) => (value: unknown) => Settings.layer({ [name]: untyped(value) })

const counts: ReadonlyArray<readonly [name: keyof Settings.Settings, minimum: 0 | 1]> = [
  ["badFrameTolerance", 0],
  ["maximumFrameSize", 1],
  ["inboxMessages", 1],
  ["inboxBytes", 1],
  ["overflowBytes", 0],
  ["maximumOpen", 1],
  ["maximumGivenUp", 0],
  ["rememberedMessages", 0],
  ["deferredMessages", 0],
  ["deferredBytes", 0],
  ["acknowledgeBatch", 1],
  ["quotaMessages", 1],
  ["maximumTextLength", 1],
  ["maximumButtons", 1],
  ["maximumLabelLength", 1],
  ["maximumTitleLength", 1],
  ["maximumDescriptionLength", 1]
]
const times: ReadonlyArray<readonly [name: string, (value: unknown) => Layer.Layer<never>, positive: boolean]> = [
  ...(
    [
      ["acknowledgeWithin", false],
      ["flushTimeout", false],
      ["drainTimeout", false],
      ["stableAfter", false],
      ["pingPeriod", true],
      ["handshakeTimeout", true],
      ["requestTimeout", true],
      ["rememberedFor", true],
      ["quotaWindow", true]
    ] as const
  ).map(([name, positive]) => [`Settings.${name}`, given(name), positive] as const),
  ["Keyed.Grace", (time) => Layer.succeed(Keyed.Grace, untyped(time)), false]
]

describe("a setting that cannot work ends the bot at the start, and its sentence names it", () => {
  for (const [name, minimum] of counts) {
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const value of [-1, NaN, 1.5, "10", ...(minimum === 0 ? [] : [0])]) {
          assert.match(
            yield* outcome(given(name)(value)),
            new RegExp(`^The option cannot be used: Settings.${name} must be a whole number`)
          )
        }
        assert.strictEqual(yield* outcome(given(name)(1)), "runs")
      })
    )
  }
  for (const [name, layer, positive] of times) {
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const value of ["30s", NaN, -1, "-1 second", ...(positive ? [0] : [])]) {
          assert.match(
            yield* outcome(layer(value)),
            new RegExp(`^The option cannot be used: ${name} must be a time such as`)
          )
        }
        assert.strictEqual(yield* outcome(layer("10 seconds")), "runs")
      })
    )
  }
  for (const [name, bad, good] of [
    ["concurrency", [0, -1, NaN, 1.5], 1],
    ["inFlight.messages", [0, NaN].map((messages) => ({ messages, bytes: 1 })), { messages: 1, bytes: 1 }],
    ["inFlight.bytes", [0, NaN].map((bytes) => ({ messages: 1, bytes })), { messages: 1, bytes: 1 }],
    ["timeout", [0, -1, NaN, "30s"], "30 seconds"]
  ] as const) {
    it.effect(`Bot.run's ${name}`, () =>
      Effect.gen(function* () {
        const key = name.split(".")[0]!
        for (const value of bad) {
          assert.match(
            yield* outcome(Layer.empty, untyped({ [key]: value })),
            new RegExp(`^The option cannot be used: ${name} must be`)
          )
        }
        assert.strictEqual(yield* outcome(Layer.empty, untyped({ [key]: good })), "runs")
      })
    )
  }

  it.effect("the options of Keyed.mapEffect are a defect of the stream", () =>
    Effect.gen(function* () {
      for (const options of [
        { concurrency: 0 },
        { concurrency: 1, inFlight: 0 },
        { concurrency: 1, inFlightWeight: NaN }
      ]) {
        const exit = yield* Stream.range(1, 3).pipe(
          Keyed.mapEffect(Effect.succeed, { key: (n) => n, ...options }),
          Stream.runDrain,
          Effect.exit
        )
        assert.match(String(exit), /The option cannot be used: (concurrency|inFlight|inFlightWeight) must be/)
      }
    })
  )

  it("the time after which a message disappears makes content that is not sent", () => {
    for (const expireIn of ["30s", NaN, -1, Infinity]) {
      const { problem } = Outgoing.text("hi", { expireIn: untyped(expireIn) })
      assert.strictEqual(problem?.field, "expireIn")
    }
    assert.isUndefined(Outgoing.text("hi", { expireIn: "1 hour" }).problem)
  })

  it.effect("shares and amounts", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Setting.share("part", 1), 1)
      assert.include((yield* Effect.flip(Setting.share("part", 1.1))).message, "part must be a number from 0 to 1")
      assert.strictEqual(yield* Setting.positive("weight", 0.5), 0.5)
      assert.include((yield* Effect.flip(Setting.positive("weight", 0))).message, "weight must be a number above 0")
      assert.strictEqual(yield* Setting.count("count", Infinity), Infinity)
    })
  )
})
