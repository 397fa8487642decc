// What a bot logs, in a test. it.effect shows none of it: a logger of the test's own keeps the lines.
import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { Bot } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"

const shop = Bot.match({
  Text: (delivery) =>
    delivery.message.text === "tea"
      ? Effect.andThen(Effect.logInfo("tea is sold"), delivery.reply("Here you are."))
      : Effect.fail("no such thing"),
  orElse: () => Effect.void
})

const makeLines = () => {
  const all: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    all.push(`${logLevel}: ${Array.isArray(message) ? message.join(" ") : message}`)
  })
  return { all, layer: Logger.layer([logger]) }
}

it.effect("says what it sells, and which message it cannot handle", () => {
  const lines = makeLines()
  return Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(shop))
    yield* alice.say("tea")
    const id = yield* alice.say("coffee")
    // Tried again after 1 second and after 2 more, then put aside.
    yield* BlazeTest.pass("1 second")
    yield* BlazeTest.pass("2 seconds")
    assert.deepStrictEqual(lines.all, ["Info: tea is sold", `Error: The handler failed; message ${id} is deferred.`])
  }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(lines.layer))
})
