// What an attack on people, commands, links and announcements has found.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Result, Schedule, Stream } from "effect"
import { Bot, Broadcast, Blaze, Commands, Delivery, Endpoint, Ids, Link, Outgoing, Settings, Users } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

const id = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const halfAnEmoji = "hello \u{1f600}".slice(0, 7)

describe("findings", () => {
  it.effect("an id that is none is nobody's, and fails nobody who is asked for in the same turn", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const users = yield* Users.Users
      const found = yield* Effect.forEach([alice.userId, "" as Ids.UserId, "x/../y" as Ids.UserId], users.get, {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        found.map((user) => Option.getOrUndefined(Option.map(user, ({ fullName }) => fullName))),
        ["alice", undefined, undefined]
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a parameter that would make another path of its endpoint is refused before anything is sent", () =>
    Effect.gen(function* () {
      for (const value of ["", ".", "..", halfAnEmoji]) {
        const refused = yield* Effect.flip(Endpoint.uri(Endpoint.search, { query: value }))
        assert.strictEqual(refused.reason._tag, "InvalidContent")
      }
      assert.strictEqual(yield* Endpoint.uri(Endpoint.user, { id: "../me?x=1#y" }), "/users/..%2Fme%3Fx%3D1%23y")
      const users = yield* Users.Users
      assert.isTrue(Exit.isFailure(yield* Effect.exit(users.search(".."))))
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it("half of an emoji is no defect in a link", () => {
    const link = Link.pay({ recipient: id, asset: id, amount: "1", memo: halfAnEmoji })
    assert.include(Result.getOrThrow(link), "memo=hello%20%EF%BF%BD")
    assert.include(Link.app(Ids.UserId.make(id), { a: halfAnEmoji }), "%EF%BF%BD")
  })

  it("a part's length that is no number is none, and an action of a card that opens nothing is refused", () => {
    assert.strictEqual(Outgoing.split("abc", { maximumLength: NaN }).length, 1)
    const card = (action: string) => Outgoing.card({ title: "t", description: "d", iconUrl: "https://e.com/i", action })
    for (const action of ["", "javascript:alert(1)", "nothing"]) assert.isDefined(card(action).problem, action)
    for (const action of ["https://e.com", "mixin://users/x", "input:/menu"]) assert.isUndefined(card(action).problem)
  })

  it.effect("the parts of a long text all arrive by send and by an announcement too, with one id and one key", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const blaze = yield* Blaze.Blaze
      const parts = Outgoing.split("one\n\ntwo", { maximumLength: 5 })
      for (const part of parts) yield* blaze.send({ user: alice.userId }, part, { id: Ids.MessageId.make(id) })
      for (const part of parts) {
        yield* Stream.make(alice.userId).pipe(
          Broadcast.sendAll(() => part, { key: "k" }),
          Stream.runDrain
        )
      }
      assert.deepStrictEqual(yield* alice.reads, ["one", "two", "one", "two"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect(
    "a refusal with a code that nobody knows is one of its recipient, and not the end of the announcement",
    () =>
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const people = yield* Effect.forEach(["a", "b"], BlazeTest.user)
        for (const person of people) yield* person.addBot
        const body = JSON.stringify({ error: { status: 202, code: 20999, description: "?" } })
        yield* server.inject({ _tag: "FailRest", status: 202, body }, 2)
        const outcomes = yield* Stream.fromIterable(people.map(({ userId }) => userId)).pipe(
          Broadcast.sendAll(() => "hi", { key: "k" }),
          Stream.runCollect
        )
        assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag).toSorted(), ["Accepted", "Refused"])
      }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a first contact that fails for a moment is tried again", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 2)
      const sending = yield* Effect.forkChild(
        Stream.make(alice.userId).pipe(
          Broadcast.sendAll(() => "hi", { key: "k", firstContact: true }),
          Stream.runCollect
        )
      )
      for (let n = 0; n < 10; n++) yield* pass(1)
      assert.strictEqual((yield* Fiber.join(sending))[0]?._tag, "Accepted")
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a first contact is tried again as the bot's settings say, wherever the announcement runs", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1)
      const failed = yield* Stream.make(alice.userId).pipe(
        Broadcast.sendAll(() => "hi", { key: "k", firstContact: true }),
        Stream.runCollect,
        Effect.flip
      )
      assert.strictEqual(failed.reason._tag, "Intermediary")
    }).pipe(Effect.provide(BlazeTest.layer.pipe(Layer.provide(Settings.layer({ sendRetry: Schedule.recurs(0) })))))
  )

  it.effect("what is deferred for longer than the server keeps it does not stay for ever", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      let runs = 0
      yield* Effect.forkChild(Bot.run(() => Effect.sync(() => (runs++, Delivery.deferFor(Duration.infinity)))))
      yield* alice.say("hi")
      yield* pass(7 * 24 * 3600 + 1)
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a setting that is undefined is not said", () =>
    Effect.gen(function* () {
      const settings = yield* Effect.provide(Settings.checked, Settings.layer({ url: undefined as never }))
      assert.strictEqual(settings.url, Settings.defaults.url)
    })
  )

  it.effect(
    "the help has its name in capitals where the words say so, and a long text that is wrong is not said back",
    () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const help = Commands.command("Hilfe", {}, (_, delivery) => delivery.reply("mine"))
        const words = { ...Commands.english, help: { ...Commands.english.help, name: "Hilfe" } }
        yield* Effect.forkChild(Bot.run(Commands.make([help], { words })))
        yield* alice.say("/hilfe")
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* alice.reads, ["mine"])
      }).pipe(Effect.provide(BlazeTest.layer))
  )
})
