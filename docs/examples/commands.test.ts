// The commands under TestClock: alone with the bot, by a button, and in a group where it is mentioned.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { commands } from "./commands.ts"

it.effect("says what is asked, and what to write where that is not understood", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(commands))
    for (const text of ["/price btc", "/convert 2 ETH", "/convert 2", "/price DOGE", "/prise", "hello"]) {
      yield* alice.say(text)
    }
    yield* BlazeTest.settle
    assert.deepStrictEqual(yield* alice.reads, [
      "BTC: 97000 USD",
      "6800 USD",
      "194000 USD",
      "The coin must be BTC, ETH: /price BTC|ETH",
      "I do not know /prise. Did you mean /price?",
      "Try /help."
    ])
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("a tap on a button is a command", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(commands))
    yield* alice.say("/menu")
    yield* BlazeTest.settle
    yield* alice.tap("Ether")
    yield* BlazeTest.settle
    assert.strictEqual((yield* alice.reads)[1], "ETH: 3400 USD")
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("in a group who mentions the bot is heard, and who speaks to others is not", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const bot = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    const group = yield* server.group(bot, [alice])
    yield* Effect.forkChild(Bot.run(commands))
    yield* alice.say("what does BTC cost?", group)
    yield* alice.say("/frobnicate", group)
    yield* alice.say(`@${bot.identityNumber} /price BTC`, group)
    yield* BlazeTest.pass("1 second")
    assert.deepStrictEqual(yield* alice.reads, ["BTC: 97000 USD"])
    assert.deepStrictEqual(yield* bot.pending, [])
  }).pipe(Effect.provide(BlazeTest.layer))
)
