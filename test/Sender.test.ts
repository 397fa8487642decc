// How messages leave: over the socket and over REST, with one suite for both.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result, Stream } from "effect"
import { Blaze, BlazeError, Button, type Ids, Outgoing, Sender, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { client, lines, pass } from "./support.ts"

const ways: ReadonlyArray<
  [name: string, way: Layer.Layer<Sender.Sender, BlazeError.BlazeError, BlazeTest.Server>, fault: BlazeServer.Fault]
> = [
  ["over the socket", client, { _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }],
  [
    "over REST",
    Blaze.layerSender().pipe(Layer.provide(BlazeTest.layerTransport), Layer.provide(BlazeTest.layerPlatform)),
    { _tag: "FailRest", status: 503, body: "" }
  ]
]

const codeOf = (error: BlazeError.BlazeError) =>
  error.reason._tag === "ApiFailure" ? error.reason.code : error.reason._tag

for (const [name, way, fault] of ways) {
  describe(`a message ${name}`, () => {
    const test = <E>(title: string, body: Effect.Effect<void, E, Sender.Sender | BlazeTest.Server>) =>
      it.effect(title, () => body.pipe(Effect.provide(way), Effect.provide(BlazeTest.layerServer)))

    test(
      "is the same one over every try, and every run with its id",
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const { derive, send } = yield* Sender.Sender
        const id = yield* derive("backup", "tonight")
        yield* server.inject(fault)
        const sending = yield* Effect.forkChild(send({ user: alice.userId }, "done", { id }))
        yield* BlazeTest.settle
        yield* pass(1)
        assert.strictEqual(yield* Fiber.join(sending), id)
        assert.strictEqual(yield* send({ conversation: alice.conversationId }, "done", { id }), id)
        assert.deepStrictEqual(yield* alice.reads, ["done"])
        assert.deepStrictEqual(
          (yield* bot.sent).map(({ messageId }) => messageId),
          [id]
        )
      })
    )

    test(
      "makes the conversation when it is the first contact, and is refused by who blocks the bot",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const { conversationOf, send } = yield* Sender.Sender
        yield* send({ user: alice.userId }, "hello")
        assert.deepStrictEqual(yield* alice.reads, ["hello"])
        assert.strictEqual(yield* conversationOf({ user: alice.userId }), alice.conversationId)
        yield* alice.block
        assert.strictEqual(codeOf(yield* Effect.flip(send({ user: alice.userId }, "hello?"))), 403)
      })
    )

    test(
      "that breaks a rule of Mixin does not leave",
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        const { send } = yield* Sender.Sender
        assert.strictEqual(codeOf(yield* Effect.flip(send({ user: alice.userId }, ""))), "InvalidContent")
        assert.strictEqual(
          codeOf(yield* Effect.flip(send({ user: alice.userId }, Outgoing.buttons([])))),
          "InvalidContent"
        )
        assert.deepStrictEqual(yield* bot.sent, [])
      })
    )

    it.effect("that one of Mixin's pages would not have, and others would, is sent with one warning", () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const { derive, send, sendBatch } = yield* Sender.Sender
        const { all, layer } = lines()
        const buttons = (count: number) =>
          Outgoing.buttons(Array.from({ length: count }, (_, n) => Button.say(`button ${n}`, `/${n}`)))
        const to = { user: alice.userId }
        yield* Effect.gen(function* () {
          const batch = { to, content: buttons(7), id: yield* derive("batch") }
          yield* send(to, buttons(6))
          assert.deepStrictEqual(all, [])
          assert.deepStrictEqual(yield* sendBatch([batch]), [batch.id])
          yield* send(to, buttons(8))
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(all, [
          "Warn In what is sent, the buttons should be at most 6, says one of Mixin's pages, and others allow more."
        ])
        assert.strictEqual((yield* alice.received).length, 3)
      }).pipe(Effect.provide(way), Effect.provide(BlazeTest.layerServer))
    )

    it.effect("waits for the quota", () =>
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const { send } = yield* Sender.Sender
        yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 300 }), (_, n) => send({ user: alice.userId }, String(n)), {
            concurrency: "unbounded"
          })
        )
        const sent = Effect.map(bot.sent, ({ length }) => length)
        yield* pass(1)
        const first = yield* sent
        assert.isBelow(first, 300)
        yield* pass(60)
        assert.isAbove(yield* sent, first)
        yield* pass(600)
        assert.strictEqual(yield* sent, 300)
      }).pipe(
        Effect.provide(way),
        Effect.provide(Settings.layer({ quotaMessages: 125 })),
        Effect.provide(BlazeTest.layerServer)
      )
    )
  })
}

it.effect("over REST what is sent again, because one of those in a request was refused, counts in the quota", () =>
  Effect.gen(function* () {
    const people = yield* Effect.forEach(["alice", "bob", "carol", "mallory"], BlazeTest.user)
    yield* Effect.forEach(people, ({ addBot }) => addBot)
    yield* people.at(-1)!.block
    const { send } = yield* Sender.Sender
    const sent = yield* Effect.forkChild(
      Effect.forEach(people, ({ conversationId }) => Effect.result(send({ conversation: conversationId }, "hello")), {
        concurrency: "unbounded"
      })
    )
    yield* pass(1)
    const reads = Effect.map(
      Effect.forEach(people, ({ reads }) => reads),
      (all) => all.map((texts) => texts.join())
    )
    // All four have been refused together, and their minute is used up.
    assert.deepStrictEqual(yield* reads, ["", "", "", ""])
    yield* pass(120)
    assert.deepStrictEqual(yield* reads, ["hello", "hello", "hello", ""])
    assert.deepStrictEqual((yield* Fiber.join(sent)).map(Result.isSuccess), [true, true, true, false])
  }).pipe(
    Effect.provide(ways[1]![1]),
    Effect.provide(Settings.layer({ quotaMessages: 4, answerShare: 0 })),
    Effect.provide(BlazeTest.layerServer)
  )
)

it.effect("over REST alone no connection is opened, so that no message is taken from the bot that listens", () =>
  Effect.gen(function* () {
    const bot = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    yield* alice.say("is anybody there?")
    const { send } = yield* Sender.Sender
    yield* send({ user: alice.userId }, "the backup is done")
    yield* pass(60)
    assert.deepStrictEqual([yield* bot.handshakes, (yield* bot.pending).length], [0, 1])
  }).pipe(Effect.provide(ways[1]![1]), Effect.provide(BlazeTest.layerServer))
)

for (const [name, way, fault] of ways) {
  describe(`Sender.sendAll ${name}`, () => {
    const sentTo = (person: BlazeServer.Person, content: string): Sender.OutgoingMessage => ({
      to: { user: person.userId },
      content
    })

    it.effect("sends in order for each recipient, whatever has to be tried again, and gives a result for each", () =>
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        const bob = yield* BlazeTest.user("bob")
        yield* alice.addBot
        yield* bob.addBot
        yield* server.inject(fault)
        const messages: ReadonlyArray<Sender.OutgoingMessage> = [
          sentTo(alice, "1"),
          // The same recipient by another name.
          { to: { conversation: alice.conversationId.toUpperCase() as Ids.ConversationId }, content: "2" },
          sentTo(alice, "3"),
          sentTo(bob, ""),
          sentTo(bob, "b")
        ]
        const sending = yield* Stream.fromIterable(messages).pipe(
          Sender.sendAll(),
          Stream.map(({ message, result }) =>
            Result.isSuccess(result) ? message.content : result.failure.reason._tag
          ),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* BlazeTest.settle
        yield* pass(1)
        assert.deepStrictEqual(yield* Fiber.join(sending), ["InvalidContent", "b", "1", "2", "3"])
        assert.deepStrictEqual(yield* alice.reads, ["1", "2", "3"])
        assert.deepStrictEqual(yield* bob.reads, ["b"])
      }).pipe(Effect.provide(way), Effect.provide(BlazeTest.layerServer))
    )

    it.effect("run again with the same ids it sends nothing twice", () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const messages = ["1", "2", "3"].map((content, n) => ({
          ...sentTo(alice, content),
          id: `00000000-0000-4000-8000-00000000000${n}` as Ids.MessageId
        }))
        for (const count of [1, 3]) {
          const ids = yield* Stream.fromIterable(messages).pipe(
            Sender.sendAll(),
            Stream.take(count),
            Stream.map(({ result }) => Result.getOrThrow(result)),
            Stream.runCollect
          )
          assert.deepStrictEqual(
            ids,
            messages.slice(0, count).map(({ id }) => id)
          )
        }
        assert.deepStrictEqual(yield* alice.reads, ["1", "2", "3"])
      }).pipe(Effect.provide(way), Effect.provide(BlazeTest.layerServer))
    )

    it.effect("as a sink it counts, and warns of what was not sent", () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const { all, layer } = lines()
        const counts = yield* Stream.make(sentTo(alice, "1"), sentTo(alice, "")).pipe(
          Stream.run(Sender.sink()),
          Effect.provide(layer)
        )
        assert.deepStrictEqual(counts, { sent: 1, failed: 1 })
        assert.strictEqual(all.length, 1)
        assert.include(all[0], `Warn A message to user ${alice.userId} was not sent. `)
      }).pipe(Effect.provide(way), Effect.provide(BlazeTest.layerServer))
    )
  })
}

it.effect("Sender.sendAll takes no more from the stream in advance than four times what is sent at once", () =>
  Effect.gen(function* () {
    const account = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    yield* alice.addBot
    yield* BlazeTest.settle
    yield* account.halfOpen
    let taken = 0
    yield* Stream.range(1, 1000).pipe(
      Stream.rechunk(1),
      Stream.map((n) => ({ to: { user: alice.userId }, content: String((taken = n)) })),
      Sender.sendAll({ concurrency: 2 }),
      Stream.runDrain,
      Effect.forkChild
    )
    yield* BlazeTest.settle
    assert.isAtLeast(taken, 8)
    assert.isAtMost(taken, 10)
  }).pipe(Effect.provide(client), Effect.provide(BlazeTest.layerServer))
)
