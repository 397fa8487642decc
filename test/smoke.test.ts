import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Layer } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { TestClock } from "effect/testing"

it.effect("memory", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(Bot.match({ Text: (d) => d.reply(d.message.text), orElse: () => Effect.void })))
    yield* alice.say("hi")
    yield* BlazeTest.settle
    assert.deepStrictEqual(yield* alice.reads, ["hi"])
    assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual((yield* BlazeTest.acknowledged).length, 1)
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.live("network", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    yield* alice.say("hi")
    const fiber = yield* Effect.forkChild(
      Bot.run((d) => d.reply("hello")).pipe(
        Effect.provide(
          NodeBlaze.layerConfig.pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(local.environment(bot))))
          )
        )
      )
    )
    yield* Effect.sleep(500)
    console.log(yield* alice.reads, yield* bot.acknowledged)
    yield* Fiber.interrupt(fiber)
    console.log(yield* bot.acknowledged, yield* bot.closeCodes, yield* bot.requests)
  }).pipe(Effect.provide(LocalServer.layer()))
)
