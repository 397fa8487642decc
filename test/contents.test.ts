// What a bot sends besides text, as people get it.
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { Bot, Button, Ids, Message, Outgoing } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"

const answering = Effect.fnUntraced(function* (handler: Bot.Handler<unknown, never>) {
  const alice = yield* BlazeTest.user("alice")
  const bot = yield* BlazeTest.Account
  const fiber = yield* Effect.forkChild(Bot.run(handler))
  yield* alice.say("hi")
  yield* BlazeTest.settle
  yield* Fiber.interrupt(fiber)
  return { alice, bot, sent: yield* bot.sent }
})

it.effect("two equal parts of a long text both arrive, and each of them once when the handler runs again", () =>
  Effect.gen(function* () {
    let runs = 0
    const parts = Outgoing.split("again and\n\nagain and", { maximumLength: 10 })
    const { sent } = yield* answering((delivery) =>
      Effect.forEach(
        [1, 2],
        () =>
          Effect.forEach(parts, (part) => delivery.reply(part)).pipe(Effect.tap(() => Effect.sync(() => void runs++))),
        { discard: true }
      )
    )
    assert.strictEqual(runs, 2)
    assert.deepStrictEqual(
      sent.map(({ text }) => text),
      ["again and", "again and"]
    )
    assert.strictEqual(new Set(sent.map(({ messageId }) => messageId)).size, 2)
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("a card names the bot, and buttons arrive as buttons", () =>
  Effect.gen(function* () {
    const { bot, sent } = yield* answering(
      Effect.fnUntraced(function* (delivery) {
        yield* delivery.reply(Outgoing.card({ title: "t", description: "d" }))
        yield* delivery.reply(Outgoing.buttons([Button.say("a", "b")]))
        yield* delivery.reply(Outgoing.forward(delivery.message))
      })
    )
    assert.deepStrictEqual(
      sent.map(({ category }) => category),
      ["APP_CARD", "APP_BUTTON_GROUP", "PLAIN_TEXT"]
    )
    assert.strictEqual(JSON.parse(sent[0]!.text).app_id, bot.userId)
    assert.strictEqual(sent[2]!.text, "hi")
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("who gets a message, and who looks at what the bot sent, sees how it was sent", () =>
  Effect.gen(function* () {
    let asked: Option.Option<Ids.MessageId> = Option.none()
    const { alice, sent } = yield* answering(
      Effect.fnUntraced(function* (delivery) {
        const quote = delivery.message.id
        asked = Option.some(quote)
        yield* delivery.reply(Outgoing.text("a", { quote, silent: true, expireIn: "90 seconds" }))
        yield* delivery.reply("b")
      })
    )
    const received = yield* alice.received
    for (const message of [sent[0]!, received[0]!]) {
      assert.deepInclude(message, { text: "a", quotedMessageId: asked, silent: true, expireIn: 90 })
    }
    for (const message of [sent[1]!, received[1]!]) {
      assert.deepInclude(message, { text: "b", quotedMessageId: Option.none(), silent: false, expireIn: 0 })
    }
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("a card that no phone can read is refused, and the buttons that are shown are those before it", () =>
  Effect.gen(function* () {
    const codes: Array<unknown> = []
    const { alice } = yield* answering(
      Effect.fnUntraced(function* (delivery) {
        yield* delivery.reply(Outgoing.buttons([Button.say("a", "b")]))
        for (const payload of ["", "null", "[null]", '{"actions":1}', '{"actions":[{"label":"a"}]}']) {
          const data = Buffer.from(payload).toString("base64")
          for (const category of ["APP_CARD", "APP_BUTTON_GROUP"]) {
            const unread = Message.fromView({ message_id: delivery.message.id, category, data })
            const { reason } = yield* Effect.flip(delivery.reply(Outgoing.forward(unread)))
            codes.push(reason._tag === "ApiFailure" ? reason.code : reason._tag)
          }
        }
      }, Effect.orDie)
    )
    assert.deepStrictEqual(
      codes,
      Array.from({ length: 10 }, () => 10002)
    )
    assert.strictEqual((yield* alice.received).length, 1)
    assert.deepStrictEqual(yield* alice.buttons, ["a"])
    assert.strictEqual(yield* alice.tap("a"), "input:b")
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("what is wrong with a message ends its handler with the sentence, and nothing is sent", () =>
  Effect.gen(function* () {
    let said = ""
    const { sent } = yield* answering((delivery) =>
      delivery
        .reply(Outgoing.buttons([]))
        .pipe(Effect.catch((error) => Effect.sync(() => void (said = (error as Error).message))))
    )
    assert.strictEqual(said, "Cannot send this: the buttons must be at least one.")
    assert.deepStrictEqual(sent, [])
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("the parts of a long text that are sent with an id of one's own all arrive, once", () =>
  Effect.gen(function* () {
    const id = Ids.MessageId.make("11111111-1111-4111-8111-111111111111")
    const parts = Outgoing.split("one two\n\nthree four", { maximumLength: 10 })
    const { sent } = yield* answering((delivery) =>
      Effect.forEach([1, 2], () => Effect.forEach(parts, (part) => delivery.reply(part, { id })))
    )
    assert.deepStrictEqual(
      sent.map(({ text }) => text),
      ["one two", "three four"]
    )
    assert.strictEqual(sent[0]!.messageId, id)
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.effect("who pays without having spoken can be answered, in a conversation that is direct", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    const direct: Array<boolean> = []
    yield* Effect.forkChild(
      Bot.run((delivery) =>
        Effect.andThen(
          Effect.map(delivery.isDirect, (is) => direct.push(is)),
          delivery.reply("thank you")
        )
      )
    )
    yield* alice.pay({ asset: "4d8c508b-91c5-375b-92b0-ee702ed2dac5", amount: "1" })
    yield* BlazeTest.settle
    assert.deepStrictEqual([yield* alice.reads, direct], [["thank you"], [true]])
  }).pipe(Effect.provide(BlazeTest.layer))
)
