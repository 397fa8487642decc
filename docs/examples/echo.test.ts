// A bot under TestClock: no socket, no real time. A person talks to it, and the test decides when a second has passed.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"

const echo = Bot.match({
  Text: (delivery) => delivery.reply(delivery.message.text),
  orElse: () => Effect.void
})

it.effect("acknowledges in one batch after a second", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Bot.run(echo).pipe(Effect.forkChild)
    const first = yield* alice.say("hi")
    const second = yield* alice.say("are you there?")
    yield* BlazeTest.settle
    assert.deepStrictEqual(yield* alice.reads, ["hi", "are you there?"])
    assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* BlazeTest.acknowledged, [[first, second]])
  }).pipe(Effect.provide(BlazeTest.layer))
)
