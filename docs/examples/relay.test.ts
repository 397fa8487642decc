// The relay under TestClock: what a customer says reaches the staff as it is, and the staff's quotes reach the customer.
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option } from "effect"
import { Bot } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { KeyValueStore } from "effect/persistence"
import { relay } from "./relay.ts"

const Test = Layer.merge(BlazeTest.layer, KeyValueStore.layerMemory)

const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const alice = yield* BlazeTest.user("alice")
  const carol = yield* BlazeTest.user("carol")
  const staff = yield* server.group(bot, [carol])
  const config = ConfigProvider.fromUnknown({ STAFF_GROUP: staff })
  const handler = yield* Effect.provideService(relay, ConfigProvider.ConfigProvider, config)
  yield* Effect.forkChild(Bot.run(handler))
  return { alice, bot, carol, server, staff }
})

for (const rule of ["everything", "mentions"] as const) {
  it.effect(`where a bot in a group gets ${rule}, a customer is heard by the staff, and answered by a quote`, () =>
    Effect.gen(function* () {
      const { alice, bot, carol, server, staff } = yield* scene
      yield* server.setGroupRule(rule)
      const asked = yield* alice.say("where is my parcel?")
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* carol.reads, ["where is my parcel?", `@${alice.identityNumber} asks.`])
      const [question] = yield* carol.received
      yield* carol.quote(question!.messageId, "on its way", staff)
      yield* carol.say("who has taken it there?", staff)
      yield* BlazeTest.pass("1 second")
      assert.deepStrictEqual(yield* alice.reads, ["on its way"])
      assert.deepStrictEqual((yield* bot.sent).at(-1)?.quotedMessageId, Option.some(asked))
      // What the customer quotes is in another conversation than the staff's.
      const [answer] = yield* alice.received
      yield* alice.quote(answer!.messageId, "thank you")
      yield* BlazeTest.pass("1 second")
      const thanks = (yield* bot.sent).find(({ text }) => text === "thank you")
      assert.deepStrictEqual(thanks?.quotedMessageId, Option.none())
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(Test))
  )
}

it.effect("what this version cannot read is passed on all the same, in both directions", () =>
  Effect.gen(function* () {
    const { alice, bot, carol, staff } = yield* scene
    const photo = JSON.stringify({ attachment_id: "4d8c508b-91c5-375b-92b0-ee702ed2dac5" })
    yield* alice.send("PLAIN_IMAGE", photo)
    yield* BlazeTest.settle
    const [question] = yield* carol.received
    assert.deepInclude(question, { category: "PLAIN_IMAGE", text: photo })
    yield* carol.quote(question!.messageId, "thank you", staff)
    yield* BlazeTest.pass("1 second")
    assert.deepStrictEqual(yield* alice.reads, ["thank you"])
    assert.deepStrictEqual(yield* bot.pending, [])
  }).pipe(Effect.provide(Test))
)
