// What people do to a bot besides speaking, on both faces of the built-in server.
import { assert, describe } from "@effect/vitest"
import { BigDecimal, Effect, Layer, Option, Stream } from "effect"
import { Blaze, Bot, Button, type Delivery, Ids, Message, Outgoing, Settings } from "effect-blaze"
import { both, scene } from "./faces.ts"

type Answer = (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown>

/** A bot that remembers what it got, and answers as told. */
const listening = Effect.fnUntraced(function* (answer: Answer) {
  const found = yield* scene
  const got: Array<Message.Message> = []
  yield* Bot.run((delivery) => {
    got.push(delivery.message)
    return answer(delivery)
  }).pipe(
    // The server is gone when the bot would acknowledge.
    Effect.provide(found.client.pipe(Layer.provide(Settings.layer({ flushTimeout: 0 })))),
    Effect.forkScoped
  )
  return { ...found, got, gets: (count: number) => found.reaches(Effect.sync(() => got.length >= count)) }
})

const silent: Answer = () => Effect.void

const describeMessage = (message: Message.Message) => (Message.isText(message) ? message.text : message._tag)

describe("people", () => {
  both(
    "tap the newest button of a label, which says what it says, in the conversation where it is",
    Effect.gen(function* () {
      const menu = [Button.say("BTC", "/price BTC"), Button.open("Docs", "https://example.com")]
      const { alice, bot, got, gets, reaches, server } = yield* listening((delivery) =>
        describeMessage(delivery.message) === "menu"
          ? Effect.andThen(delivery.reply(Outgoing.buttons(menu)), delivery.reply("there you are"))
          : Effect.void
      )
      const group = yield* server.group(bot, [alice])
      yield* alice.say("menu", group)
      yield* reaches(Effect.map(alice.received, (received) => received.length === 2))
      assert.strictEqual(yield* alice.tap("BTC"), "input:/price BTC")
      assert.strictEqual(yield* alice.tap("Docs"), "https://example.com")
      yield* gets(2)
      assert.deepStrictEqual(got.map(describeMessage), ["menu", "/price BTC"])
      assert.strictEqual(got[1]!.conversationId, group)
      const missing = yield* Effect.exit(alice.tap("DOGE"))
      assert.include(String(missing), 'alice sees no button "DOGE"')
    })
  )

  both(
    "tap an old-style card by its title, which has no buttons then, and the buttons of a new one",
    Effect.gen(function* () {
      const card = { title: "Bitcoin", description: "97 000 USD" }
      const { alice, got, gets, reaches } = yield* listening((delivery) =>
        describeMessage(delivery.message) === "menu"
          ? Effect.andThen(
              delivery.reply(Outgoing.card({ ...card, buttons: [Button.open("More", "https://example.com/more")] })),
              delivery.reply(
                Outgoing.card({ ...card, iconUrl: "https://example.com/icon", action: "input:/price BTC" })
              )
            )
          : Effect.void
      )
      yield* alice.say("menu")
      yield* reaches(Effect.map(alice.received, (received) => received.length === 2))
      assert.strictEqual(yield* alice.tap("Bitcoin"), "input:/price BTC")
      assert.strictEqual(yield* alice.tap("More"), "https://example.com/more")
      yield* gets(2)
      assert.deepStrictEqual(got.map(describeMessage), ["menu", "/price BTC"])
    })
  )

  both(
    "pay, quote and recall",
    Effect.gen(function* () {
      const { alice, got, gets } = yield* listening(silent)
      const asset = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"
      const first = yield* alice.say("one")
      yield* gets(1)
      yield* alice.pay({ asset, amount: "0.5", memo: "order 7", trace: asset })
      yield* alice.quote(first, "that")
      yield* alice.recall(first)
      yield* gets(4)
      assert.sameMembers(got.map(describeMessage), ["one", "Snapshot", "that", "Recall"])
      const snapshot = got.find(Message.isSnapshot)!
      assert.deepStrictEqual(
        [snapshot.opponentId, snapshot.assetId, BigDecimal.format(snapshot.amount), snapshot.memoText],
        [Option.some(alice.userId), asset, "0.5", "order 7"]
      )
      assert.deepStrictEqual(snapshot.traceId, Option.some(asset))
      assert.deepStrictEqual(
        got.filter(Message.isText).map(({ quotedMessageId }) => Option.getOrUndefined(quotedMessageId)),
        [undefined, first]
      )
      assert.strictEqual(got.find(Message.isRecall)?.messageId, first)
    })
  )

  both(
    "join a group and leave it, which the bot is told; what is written there reaches who is in it",
    Effect.gen(function* () {
      const { alice, bot, got, gets, reaches, server } = yield* listening((delivery) =>
        Message.isText(delivery.message) ? delivery.reply("hello") : Effect.void
      )
      const bob = yield* server.user(bot, "bob")
      const group = yield* server.group(bot, [alice])
      yield* bob.join(group)
      yield* gets(1)
      yield* alice.say("hi", group)
      yield* reaches(Effect.map(bob.reads, (texts) => texts.length === 1))
      yield* bob.leave(group)
      yield* gets(3)
      yield* alice.say("hi again", group)
      yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 2))
      assert.deepStrictEqual(yield* bob.reads, ["hello"])
      const events = got.filter(Message.isGroupEvent)
      assert.deepStrictEqual(
        events.map(({ action, participantId }) => [action, participantId]),
        [
          ["Joined", Option.some(bob.userId)],
          ["Left", Option.some(bob.userId)]
        ]
      )
    })
  )

  both(
    "speak and act in groups that they are in, and in no other: a test that has them do so dies with a sentence",
    Effect.gen(function* () {
      const { alice, bot, quiet, server } = yield* scene
      const bob = yield* server.user(bot, "bob")
      const mallory = yield* server.user(yield* server.makeBot, "mallory")
      const group = yield* server.group(bot, [alice, bob])
      yield* alice.leave(group)
      const told = yield* bot.pending
      yield* alice.addBot
      const refused = Effect.fnUntraced(function* (act: Effect.Effect<unknown>, sentence: string) {
        assert.include(String(yield* Effect.exit(act)), sentence)
      })
      const outside = `alice is not in the group ${group}`
      yield* refused(alice.say("hello", group), outside)
      yield* refused(alice.send("PLAIN_POST", "# hello", group), outside)
      yield* refused(alice.invite(group), outside)
      yield* refused(alice.expel(group), outside)
      yield* alice.leave(group)
      yield* refused(mallory.join(group), `The group ${group} is one of another bot than mallory's`)
      yield* refused(mallory.say("hello", group), "of another bot")
      for (const act of [alice.join, alice.leave, alice.invite, alice.expel]) {
        yield* refused(act(alice.conversationId), "is a conversation of two, and no group")
      }
      const nowhere = Ids.ConversationId.make("11111111-1111-4111-8111-111111111111")
      yield* refused(alice.say("hello", nowhere), `There is no group ${nowhere}`)
      yield* refused(alice.join(nowhere), `There is no group ${nowhere}`)
      yield* quiet
      assert.strictEqual((yield* bot.pending).length, told.length + 1)
      yield* alice.join(group)
      yield* alice.say("hello", group)
      yield* bob.say("hello", group)
      assert.strictEqual((yield* bot.pending).length, told.length + 4)
    })
  )

  both(
    "can be answered when Mixin has told something in their conversation, though they have said nothing yet",
    Effect.gen(function* () {
      const { alice, bot, gets, reaches, server } = yield* listening((delivery) => delivery.reply("thank you"))
      const other = yield* server.makeBot
      const notice = { category: "SYSTEM_ACCOUNT_SNAPSHOT", payload: "{}", conversationId: alice.conversationId }
      yield* server.notify(other, notice)
      yield* server.notify(bot, notice)
      yield* gets(1)
      yield* reaches(Effect.map(alice.received, (received) => received.length === 1))
      assert.deepStrictEqual(yield* alice.reads, ["thank you"])
    })
  )

  both(
    "block the bot, whose messages are refused until they do not any more",
    Effect.gen(function* () {
      const codes: Array<number | "sent"> = []
      const { alice, reaches } = yield* listening((delivery) =>
        delivery.reply("hello").pipe(
          Effect.tap(() => Effect.sync(() => codes.push("sent"))),
          Effect.catchReason("BlazeError", "ApiFailure", ({ code }) => Effect.sync(() => codes.push(code)))
        )
      )
      yield* alice.block
      yield* alice.say("hi")
      yield* reaches(Effect.sync(() => codes.length === 1))
      yield* alice.unblock
      yield* alice.say("hi")
      yield* reaches(Effect.sync(() => codes.length === 2))
      assert.deepStrictEqual(codes, [403, "sent"])
    })
  )

  both(
    "are asked what is new, and which buttons they see",
    Effect.gen(function* () {
      const { alice, client, reaches } = yield* scene
      yield* alice.addBot
      yield* Effect.gen(function* () {
        const { send } = yield* Blaze.Blaze
        const receives = (count: number) => reaches(Effect.map(alice.received, ({ length }) => length === count))
        assert.deepStrictEqual([yield* alice.unread, yield* alice.buttons], [[], []])
        yield* send({ user: alice.userId }, "hello")
        yield* receives(1)
        assert.deepStrictEqual([yield* alice.unread, yield* alice.unread], [["hello"], []])
        yield* send({ user: alice.userId }, Outgoing.buttons([Button.say("Tea", "tea"), Button.say("Milk", "milk")]))
        yield* send({ user: alice.userId }, "which one?")
        yield* receives(3)
        assert.deepStrictEqual(yield* alice.buttons, ["Tea", "Milk"])
        assert.strictEqual((yield* alice.unread).length, 2)
        assert.deepStrictEqual([yield* alice.unread, (yield* alice.reads).length], [[], 3])
      }).pipe(Effect.provide(client))
    })
  )

  both(
    "have a phone that is off: what is sent arrives, and is told to have arrived, when it is on again",
    Effect.gen(function* () {
      const { alice, client, quiet, reaches } = yield* scene
      yield* alice.addBot
      yield* alice.turnOff
      const statuses: Array<string> = []
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        yield* Effect.forkScoped(
          Stream.runForEach(blaze.receipts, ({ status }) => Effect.sync(() => statuses.push(status)))
        )
        yield* quiet
        yield* blaze.send({ user: alice.userId }, "are you there?")
        yield* quiet
        assert.deepStrictEqual([statuses, yield* alice.reads], [[], []])
        yield* alice.turnOn
        assert.deepStrictEqual(yield* alice.reads, ["are you there?"])
        yield* reaches(Effect.sync(() => statuses.length === 2))
        assert.deepStrictEqual(statuses, ["DELIVERED", "READ"])
      }).pipe(Effect.scoped, Effect.provide(client))
    })
  )
})

describe("what a bot gets of what is said in a group", () => {
  for (const [rule, expected] of [
    ["everything", ["hello all", "hello bot", "about that", "@bot"]],
    ["mentions", ["about that", "@bot"]]
  ] as const) {
    both(
      rule === "everything" ? "is everything, by default" : "is what mentions it or quotes it, where that is the rule",
      Effect.gen(function* () {
        const { alice, bot, got, gets, quiet, reaches, server } = yield* listening((delivery) =>
          describeMessage(delivery.message) === "hi" ? delivery.reply("hello") : Effect.void
        )
        const me = `@${bot.identityNumber}`
        const group = yield* server.group(bot, [alice])
        yield* alice.say("hi")
        yield* reaches(Effect.map(alice.received, (received) => received.length === 1))
        const [answer] = yield* alice.received
        yield* server.setGroupRule(rule)
        yield* alice.say("hello all", group)
        yield* alice.say("hello bot", group)
        yield* alice.quote(answer!.messageId, "about that", group)
        yield* alice.say(`${me} help`, group)
        yield* gets(1 + expected.length)
        yield* quiet
        assert.deepStrictEqual(
          got.slice(1).map((message) => describeMessage(message).replace(/^@.*/, "@bot")),
          [...expected]
        )
      })
    )
  }
})
