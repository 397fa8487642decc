// Payments under TestClock: what is paid comes back once, whatever the wallet does.
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Bot } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { type Payout, Payouts, payout } from "./payout.ts"

const asset = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"

/** A wallet that pays a trace once, and whose first answers get lost. */
const makeWallet = (lost: number) => {
  const paid = new Map<string, Payout>()
  let requests = 0
  const send = (payout: Payout) =>
    Effect.suspend(() => {
      if (!paid.has(payout.trace)) paid.set(payout.trace, payout)
      return ++requests > lost ? Effect.void : Effect.fail("no answer")
    })
  return { paid, requests: () => requests, layer: Layer.succeed(Payouts, { send }) }
}

for (const lost of [0, 1, 4]) {
  it.effect(`of a payment there is one payout and one answer, though ${lost} answers of the wallet get lost`, () =>
    Effect.gen(function* () {
      const { layer, paid, requests } = makeWallet(lost)
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Effect.provide(Bot.run(payout), layer))
      yield* alice.pay({ asset, amount: "2.50" })
      // After its three tries the message is put aside for half a minute.
      for (let second = 0; second < 60; second++) yield* BlazeTest.pass("1 second")
      const [only] = paid.values()
      assert.deepInclude(only, { to: alice.userId, asset, amount: "2.5" })
      assert.deepStrictEqual([paid.size, requests()], [1, lost + 1])
      assert.deepStrictEqual(yield* alice.reads, ["You get your 2.5 back."])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
}

it.effect("two payments of the same amount are two payouts", () =>
  Effect.gen(function* () {
    const { layer, paid } = makeWallet(0)
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Effect.provide(Bot.run(payout), layer))
    yield* alice.pay({ asset, amount: "1" })
    yield* alice.pay({ asset, amount: "1" })
    yield* BlazeTest.pass("1 second")
    assert.strictEqual(paid.size, 2)
    assert.strictEqual((yield* alice.reads).length, 2)
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("the notice of its own payout is acknowledged, and nothing is paid for it", () =>
  Effect.gen(function* () {
    const { layer, paid } = makeWallet(0)
    const server = yield* BlazeServer.BlazeServer
    const bot = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Effect.provide(Bot.run(payout), layer))
    const { conversationId, userId } = alice
    const payload = { snapshot_id: asset, opponent_id: userId, asset_id: asset, amount: "-2.5", trace_id: asset }
    yield* server.notify(bot, { category: "SYSTEM_SAFE_SNAPSHOT", conversationId, payload: JSON.stringify(payload) })
    yield* BlazeTest.pass("1 second")
    assert.deepStrictEqual([paid.size, yield* alice.reads, yield* bot.pending], [0, [], []])
  }).pipe(Effect.provide(BlazeTest.layer))
)
