// What people see of the bot that has moved is what they saw before.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { bot } from "./migrated.ts"

it.effect("answers its commands, makes a room, and thanks for what is paid", () =>
  Effect.gen(function* () {
    const account = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(bot))
    yield* alice.say("/who")
    yield* alice.say("/menu")
    yield* BlazeTest.settle
    yield* alice.tap("A room")
    yield* BlazeTest.settle
    yield* alice.pay({ asset: "4d8c508b-91c5-375b-92b0-ee702ed2dac5", amount: "0.50" })
    yield* alice.say("42")
    yield* BlazeTest.pass("1 second")
    const reads = yield* alice.reads
    assert.deepStrictEqual(
      [reads[0], ...reads.slice(2)],
      ["You are alice.", "Here we can talk.", "Thank you for 0.5.", "Try /help."]
    )
    assert.deepStrictEqual(yield* account.pending, [])
  }).pipe(Effect.provide(BlazeTest.layer))
)
