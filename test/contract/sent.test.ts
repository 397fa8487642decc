// What becomes of what a bot has sent: it is taken back, pinned, read, gone after a while, or said for somebody else.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Result, Stream } from "effect"
import {
  Blaze,
  type BlazeError,
  Bot,
  Broadcast,
  Endpoint,
  Ids,
  MixinApi,
  Outgoing,
  Sender,
  Settings
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { both, scene } from "./faces.ts"

const soon = Settings.layer({ flushTimeout: 0 })

const within = <A, E, R>({ client }: Pick<Effect.Success<typeof scene>, "client">, effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provide(client), Effect.provide(soon))

const codeOf = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
  Result.isFailure(result) && result.failure.reason._tag === "ApiFailure" ? result.failure.reason.code : "taken"

const textsOf = (person: BlazeServer.Person) => Effect.map(person.received, (all) => all.map(({ text }) => text))

describe("a message of a bot", () => {
  both(
    "is taken back by it, from a handler and from elsewhere, also on a phone that is off",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      yield* bob.addBot
      yield* alice.say("hi")
      yield* within(
        all,
        Effect.gen(function* () {
          const blaze = yield* Blaze.Blaze
          const handled = yield* Bot.run(
            Bot.match({
              Text: Effect.fnUntraced(function* (it) {
                const id = yield* it.reply("a moment")
                yield* it.reply("done")
                yield* it.recall(id)
              }),
              orElse: () => Effect.void
            })
          ).pipe(Effect.forkChild)
          yield* all.reaches(Effect.map(textsOf(alice), (texts) => texts.join() === "done"))
          yield* all.reaches(Effect.map(textsOf(bob), (texts) => texts.join() === "done"))
          yield* bob.turnOff
          const id = yield* blaze.send({ user: bob.userId }, "wrong")
          yield* blaze.recall({ user: bob.userId }, id)
          yield* bob.turnOn
          assert.deepStrictEqual(yield* textsOf(bob), ["done"])
          yield* Fiber.interrupt(handled)
        })
      )
      assert.deepStrictEqual(
        (yield* bot.sent).filter(({ category }) => category === "MESSAGE_RECALL").map(({ attempts }) => attempts),
        [1, 1, 1]
      )
    })
  )

  both(
    "is not taken back where it is not, nor what somebody else has said, but by who runs a group",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const id = yield* alice.say("hi")
      const group = yield* server.group(bot, [alice])
      const inGroup = yield* alice.say("hi all", group)
      yield* within(
        all,
        Effect.gen(function* () {
          const blaze = yield* Blaze.Blaze
          const recall = (to: { user: Ids.UserId } | { conversation: Ids.ConversationId }, id: Ids.MessageId) =>
            Effect.map(Effect.result(blaze.recall(to, id)), codeOf)
          const own = yield* blaze.send({ conversation: group }, "hello")
          assert.strictEqual(yield* recall({ user: alice.userId }, own), 403)
          assert.strictEqual(yield* recall({ user: alice.userId }, id), 403)
          assert.strictEqual(yield* recall({ conversation: group }, inGroup), 403)
          yield* alice.appoint(group, bot, "Admin")
          assert.strictEqual(yield* recall({ conversation: group }, inGroup), "taken")
          assert.strictEqual(yield* recall({ conversation: group }, own), "taken")
          const none = yield* Effect.result(blaze.recall({ conversation: group }, "that one" as Ids.MessageId))
          assert(Result.isFailure(none))
          assert.match(none.failure.message, /what is recalled must be a message's id/)
        })
      )
    })
  )

  both(
    "is taken back from everybody whom it was announced to",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      const people = [alice, bob]
      yield* Effect.forEach(people, ({ addBot }) => addBot)
      yield* within(
        all,
        Effect.gen(function* () {
          const users = Stream.fromIterable(people.map(({ userId }) => userId))
          const sent = new Map<Ids.UserId, Ids.MessageId>()
          yield* users.pipe(
            Broadcast.sendAll(() => "a mistake", { key: "today" }),
            Stream.runForEach(({ messageId, userId }) => Effect.sync(() => sent.set(userId, messageId)))
          )
          assert.deepStrictEqual([yield* textsOf(alice), yield* textsOf(bob)], [["a mistake"], ["a mistake"]])
          yield* Broadcast.run((user) => Outgoing.recall(sent.get(user)!), { key: "not today" })(users)
          assert.deepStrictEqual([yield* textsOf(alice), yield* textsOf(bob)], [[], []])
        })
      )
    })
  )

  both(
    "is pinned and unpinned, alone and with others, and what is taken back is pinned no more",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      const hi = yield* alice.say("hi")
      yield* within(
        all,
        Effect.gen(function* () {
          const { deliveries, recall } = yield* Blaze.Blaze
          yield* deliveries.pipe(
            Stream.take(1),
            Stream.runForEach(
              Effect.fnUntraced(function* (it) {
                const [first, second] = [yield* it.reply("one"), yield* it.reply("two")]
                yield* it.pin([first, hi, first])
                yield* it.pin(second)
                assert.deepStrictEqual(yield* alice.pinned(), [first, hi, second])
                yield* it.unpin(hi)
                assert.deepStrictEqual(yield* alice.pinned(), [first, second])
                yield* recall({ user: alice.userId }, first)
                assert.deepStrictEqual(yield* alice.pinned(), [second])
                yield* it.pin(hi, { key: "again" })
                assert.deepStrictEqual(yield* alice.pinned(), [second, hi])
                yield* alice.recall(hi)
                assert.deepStrictEqual(yield* alice.pinned(), [second])
                const none = yield* Effect.result(it.pin([]))
                assert(Result.isFailure(none))
                assert.match(none.failure.message, /what is pinned must be the ids of one message or several/)
              })
            )
          )
        })
      )
    })
  )

  both(
    "is said in somebody's name with his permission, and names it without",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      const hello = Ids.MessageId.make("7b6a1d0e-2f3c-4c5d-8e9f-0a1b2c3d4e5f")
      yield* alice.say("hi")
      yield* within(
        all,
        Effect.gen(function* () {
          const { deliveries } = yield* Blaze.Blaze
          const { sendBatch } = yield* Sender.Sender
          yield* deliveries.pipe(
            Stream.take(1),
            Stream.runForEach(
              Effect.fnUntraced(function* (it) {
                const forBob = Outgoing.text("hello", { representative: bob.userId })
                const refused = yield* Effect.result(it.reply(forBob))
                assert.strictEqual(codeOf(refused), 403)
                assert.include(String(Result.getFailure(refused)), "MESSAGES:REPRESENT")
                const batch = [{ to: { user: alice.userId }, content: forBob, id: hello }]
                assert.include(String(yield* Effect.flip(sendBatch(batch))), "MESSAGES:REPRESENT")
                yield* bob.authorize
                const [plain, first] = [yield* it.reply("hello"), yield* it.reply(forBob)]
                assert.notStrictEqual(plain, first)
                assert.strictEqual(yield* it.reply(forBob), first)
                yield* bob.revoke
                assert.strictEqual(codeOf(yield* Effect.result(it.reply(forBob, { key: "again" }))), 403)
              })
            )
          )
        })
      )
      assert.deepStrictEqual(
        (yield* alice.received).map(({ representativeId, text }) => [text, representativeId]),
        [
          ["hello", Option.none()],
          ["hello", Option.some(bob.userId)]
        ]
      )
    })
  )
})

describe("what was sent and is to disappear", () => {
  const scene = Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* alice.addBot
    const { send } = yield* Blaze.Blaze
    return {
      alice,
      say: (text: string, expireIn?: string) =>
        send({ user: alice.userId }, Outgoing.text(text, { expireIn: expireIn as "1 minute" }))
    }
  })

  it.effect("does so in its time after it was read, and not before", () =>
    Effect.gen(function* () {
      const { alice, say } = yield* scene
      yield* say("for a minute", "1 minute")
      yield* say("for ever")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* textsOf(alice), ["for a minute", "for ever"])
      yield* alice.reads
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(yield* alice.reads, ["for a minute", "for ever"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* textsOf(alice), ["for ever"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("does so as its conversation says, where it says nothing itself, and what people say there does", () =>
    Effect.gen(function* () {
      const { alice, say } = yield* scene
      const { request } = yield* MixinApi.MixinApi
      yield* request(Endpoint.disappear, { path: { id: alice.conversationId }, payload: { duration: 10 } })
      yield* say("ten")
      yield* say("twenty", "20 seconds")
      yield* alice.say("hi")
      const { pendingViews } = yield* BlazeTest.Account
      assert.strictEqual((yield* pendingViews).at(-1)!.expire_in, 10)
      yield* alice.reads
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* textsOf(alice), ["twenty"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* textsOf(alice), [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})
