import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Blaze, Bot } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"

const client = Blaze.layer.pipe(Layer.provide(BlazeTest.layerTransport), Layer.provide(BlazeTest.layerPlatform))

it.effect("three clients in one program are three bots, each of which hears what is said to it", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const others = [yield* server.makeBot, yield* server.makeBot]
    const accounts = [yield* BlazeTest.Account, ...others]
    const bots = [
      yield* Blaze.Blaze,
      ...(yield* Effect.forEach(others, (account) =>
        Layer.build(client).pipe(
          Effect.provideService(BlazeTest.Account, account),
          Effect.map(Context.get(Blaze.Blaze))
        )
      ))
    ]
    for (const [n, account] of accounts.entries()) {
      const run = Bot.run((delivery) => delivery.reply(`from ${n}`))
      yield* Effect.forkChild(Effect.provideService(run, Blaze.Blaze, bots[n]!))
      const alice = yield* server.user(account, "alice")
      yield* alice.say("hi")
    }
    yield* BlazeTest.settle
    yield* TestClock.adjust("1 second")
    for (const [n, account] of accounts.entries()) {
      assert.strictEqual(bots[n]!.userId, account.userId)
      assert.strictEqual(yield* account.handshakes, 1)
      assert.deepStrictEqual(yield* (yield* server.user(account, "alice")).reads, [`from ${n}`])
      assert.strictEqual((yield* account.acknowledged).length, 1)
    }
  }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer))
)
