// Who is spoken to, where, and how a bot comes to write to somebody first.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Result } from "effect"
import { Blaze, type BlazeError, Bot, Conversations, Delivery, Ids, Message } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

/** What a bot finds out about each message that it gets. */
const watching = Effect.fnUntraced(function* <A>(
  look: (delivery: Delivery.Delivery) => Effect.Effect<A, BlazeError.BlazeError>
) {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const alice = yield* BlazeTest.user("alice")
  const bob = yield* BlazeTest.user("bob")
  const found: Array<A> = []
  yield* Effect.forkChild(
    Bot.run((delivery) => Effect.map(look(delivery), (value) => void found.push(value)), { concurrency: 1 })
  )
  yield* BlazeTest.settle
  return { server, bot, alice, bob, found, group: yield* server.group(bot, [alice, bob]) }
})

describe("who is spoken to", () => {
  it.effect("a message to the bot alone is direct; one in a group is for it when it names its number", () =>
    Effect.gen(function* () {
      const { alice, bot, found, group } = yield* watching((delivery) =>
        Effect.all([delivery.isDirect, delivery.isMentioned, delivery.isForBot, delivery.textWithoutMention])
      )
      const me = `@${bot.identityNumber}`
      yield* alice.say(" hello ")
      for (const text of [
        "hello all",
        `${me} /price BTC`,
        `what do you think, ${me}?`,
        `${me}9 is somebody else`,
        `\u4f60\u597d${me}\u5417`,
        `mail@${bot.identityNumber}`,
        "@3000000 hello"
      ]) {
        yield* alice.say(text, group)
      }
      yield* alice.send("PLAIN_STICKER", `{"sticker_id":"x"}`, group)
      yield* BlazeTest.settle
      assert.deepStrictEqual(found, [
        [true, false, true, "hello"],
        [false, false, false, "hello all"],
        [false, true, true, "/price BTC"],
        [false, true, true, "what do you think, ?"],
        [false, false, false, `${me}9 is somebody else`],
        [false, true, true, "\u4f60\u597d\u5417"],
        [false, false, false, `mail@${bot.identityNumber}`],
        [false, false, false, "@3000000 hello"],
        [false, false, false, ""]
      ])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a quote of what the bot sent to a group is for it, and a quote of anybody else is not", () =>
    Effect.gen(function* () {
      const { alice, bob, bot, found, group } = yield* watching(
        Effect.fnUntraced(function* (delivery) {
          const isForBot = yield* delivery.isForBot
          if (isForBot && Option.isNone(delivery.message.quotedMessageId)) yield* delivery.reply("yes?")
          return isForBot
        })
      )
      const asked = yield* alice.say(`@${bot.identityNumber} hello`, group)
      yield* BlazeTest.settle
      const [answer] = yield* bot.sent
      yield* bob.quote(answer!.messageId, "who are you?", group)
      yield* bob.quote(asked, "whom do you ask?", group)
      yield* BlazeTest.settle
      assert.deepStrictEqual(found, [true, true, false])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("what is known of a group is asked for once, and again when an event says that it has changed", () =>
    Effect.gen(function* () {
      const { alice, bob, found, group } = yield* watching((delivery) =>
        Message.isText(delivery.message)
          ? Effect.map(
              delivery.conversation,
              Option.map(({ members }) => members.length)
            )
          : Effect.succeedNone
      )
      yield* alice.say("one", group)
      yield* bob.leave(group)
      yield* alice.say("two", group)
      yield* BlazeTest.settle
      yield* alice.say("to you")
      yield* BlazeTest.settle
      assert.deepStrictEqual(found, [Option.some(3), Option.none(), Option.some(2), Option.some(2)])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

it.effect("the bot is told of a group that it makes, once, and of what changes in it, in its own name", () =>
  Effect.gen(function* () {
    const { alice, bot, found } = yield* watching(({ message }) => Effect.succeed(message))
    const conversations = yield* Conversations.Conversations
    const made = { name: "team", members: [alice.userId], key: "k" }
    const { conversationId } = yield* conversations.createGroup(made)
    yield* conversations.createGroup(made)
    yield* alice.leave(conversationId)
    yield* pass(2)
    assert.deepStrictEqual(
      found.map((message) =>
        Message.isGroupEvent(message)
          ? [message.conversationId, message.action, message.actorId, message.view.user_id]
          : []
      ),
      [
        [conversationId, "Created", Option.some(bot.userId), bot.userId],
        [conversationId, "Left", Option.some(alice.userId), bot.userId]
      ]
    )
    assert.deepStrictEqual(yield* bot.pending, [])
  }).pipe(Effect.provide(BlazeTest.layer))
)

describe("who is written to first", () => {
  it.effect("the conversation with somebody is made before the first message to him, and only then", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      // A request that fails is one that was made.
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1)
      const sending = yield* Effect.forkChild(blaze.send({ user: alice.userId }, "hello"))
      yield* pass(1)
      yield* Fiber.join(sending)
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1)
      yield* blaze.send({ user: alice.userId }, "again")
      assert.deepStrictEqual(yield* alice.reads, ["hello", "again"])
      assert.strictEqual((yield* bot.sent).length, 2)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("nothing is made for who has written first, nor for an answer", () =>
    Effect.gen(function* () {
      const { alice, found, server } = yield* watching((delivery) =>
        Effect.all([delivery.reply("1"), delivery.send({ user: delivery.message.senderId }, "2")])
      )
      const blaze = yield* Blaze.Blaze
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1)
      yield* alice.say("hi")
      yield* BlazeTest.settle
      yield* blaze.send({ user: alice.userId }, "3")
      assert.strictEqual(found.length, 1)
      assert.deepStrictEqual(yield* alice.reads, ["1", "2", "3"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a handler that writes to somebody else makes the conversation too", () =>
    Effect.gen(function* () {
      const bob = yield* BlazeTest.user("bob")
      const { alice, found } = yield* watching((delivery) => delivery.send({ user: bob.userId }, "alice was here"))
      yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.strictEqual(found.length, 1)
      assert.deepStrictEqual(yield* bob.reads, ["alice was here"])
      const conversations = yield* Conversations.Conversations
      assert.isTrue(Option.isSome(yield* conversations.get(bob.conversationId)))
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a 403 says what the three ways to somebody are, and is not tried again", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.block
      const blaze = yield* Blaze.Blaze
      const sent = yield* Effect.result(blaze.send({ user: alice.userId }, "hello"))
      assert(Result.isFailure(sent))
      assert.isTrue(sent.failure.isFinal)
      assert.match(sent.failure.message, /writes to the bot first, adds it as a contact, or authorises it/)
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

describe("an answer with an id of one's own", () => {
  it.effect("has that id, is the same however often it is made, and is an answer", () =>
    Effect.gen(function* () {
      const id = Ids.MessageId.make("11111111-1111-4111-8111-111111111111")
      const { alice, bot, found } = yield* watching((delivery) =>
        Effect.all([delivery.reply("1", { id }), delivery.reply("2", { id }), delivery.reply("3", { id, key: "k" })])
      )
      yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.deepStrictEqual(found, [[id, id, id]])
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ messageId, text }) => [messageId, text]),
        [[id, "1"]]
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

describe("Delivery.deferFor", () => {
  it.effect(
    "offers the message again after the time, however often, across a lost connection, and nothing is given up",
    () =>
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        const times: Array<number> = []
        let minutes = 0
        yield* Effect.forkChild(
          Bot.run(() =>
            Effect.sync(() => {
              times.push(minutes)
              return times.length > 40 ? Delivery.Ack : Delivery.deferFor("10 minutes")
            })
          )
        )
        yield* alice.say("hi")
        yield* BlazeTest.settle
        for (minutes = 1; minutes <= 405; minutes++) {
          if (minutes % 17 === 0) yield* bot.cut
          yield* pass(60)
        }
        assert.deepStrictEqual(
          times,
          Array.from({ length: 41 }, (_, n) => n * 10)
        )
        assert.strictEqual((yield* bot.pending).length, 0)
      }).pipe(Effect.provide(BlazeTest.layer))
  )
})
