// To whom an answer is addressed: to the sender where the conversation is that of the two, to nobody else.
import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Blaze, Bot, type Delivery, Gzip, Ids, PortableGzip, Settings } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

const decoder = new TextDecoder()
const stranger = Ids.UserId.make("33333333-3333-4333-8333-333333333333")

/** The recipients of what a handler sends about a message with these fields. */
const recipients = Effect.fnUntraced(function* (
  handler: (delivery: Delivery.Delivery, bob: Ids.UserId) => Effect.Effect<unknown, unknown>,
  fields: (alice: { readonly userId: string; readonly conversationId: string }) => Record<string, string>
) {
  const sent: Array<string | undefined> = []
  const recording = Layer.effect(
    Gzip.Gzip,
    Effect.map(Gzip.Gzip, (gzip) => ({
      ...gzip,
      gzip: (bytes: Uint8Array) => {
        const { action, params } = JSON.parse(decoder.decode(bytes))
        if (action === "CREATE_MESSAGE") sent.push(params.recipient_id)
        return gzip.gzip(bytes)
      }
    }))
  ).pipe(Layer.provide(PortableGzip.layer))
  const client = Blaze.layer.pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide(recording),
    Layer.provide([NodeCrypto.layer, Settings.layer({ flushTimeout: 0 })])
  )
  yield* Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    const bot = yield* BlazeTest.Account
    const { gzip } = yield* Effect.provide(Gzip.Gzip, PortableGzip.layer)
    const bob = yield* BlazeTest.user("bob")
    yield* Effect.forkChild(Bot.run((delivery) => handler(delivery, bob.userId)))
    yield* BlazeTest.settle
    const data = {
      message_id: "44444444-4444-4444-8444-444444444444",
      conversation_id: alice.conversationId,
      user_id: alice.userId,
      category: "PLAIN_TEXT",
      data: "aGk=",
      ...fields(alice)
    }
    yield* bot.push(gzip(new TextEncoder().encode(JSON.stringify({ id: "push", action: "CREATE_MESSAGE", data }))))
    yield* pass(1)
  }).pipe(Effect.provide(client), Effect.provide(BlazeTest.layerServer))
  return sent
})

const reply = (delivery: Delivery.Delivery) => delivery.reply("hello")

describe("recipient_id of an answer", () => {
  it.effect("is the sender in the conversation of the two", () =>
    Effect.gen(function* () {
      const user: Array<string> = []
      const sent = yield* recipients(reply, ({ userId }) => {
        user.push(userId)
        return {}
      })
      assert.deepStrictEqual(sent, user)
    })
  )

  it.effect("is nobody in a group", () =>
    Effect.gen(function* () {
      const sent = yield* recipients(reply, () => ({ conversation_id: "11111111-1111-3111-8111-111111111111" }))
      assert.deepStrictEqual(sent, [undefined])
    })
  )

  it.effect("is never whom a message was sent for", () =>
    Effect.gen(function* () {
      const user: Array<string> = []
      const sent = yield* recipients(reply, ({ userId }) => {
        user.push(userId)
        return { representative_id: stranger }
      })
      assert.deepStrictEqual(sent, user)
    })
  )

  it.effect("is whom it is sent to, and nobody where that is another conversation", () =>
    Effect.gen(function* () {
      const somebody: Array<string> = []
      const sent = yield* recipients(
        (delivery, bob) =>
          Effect.all([
            Effect.sync(() => void somebody.push(bob)),
            delivery.send({ user: bob }, "hello"),
            Effect.ignore(
              delivery.send({ conversation: Ids.ConversationId.make("11111111-1111-3111-8111-111111111111") }, "hello")
            )
          ]),
        () => ({})
      )
      assert.deepStrictEqual(sent, [...somebody, undefined])
    })
  )
})
