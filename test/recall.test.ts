// Somebody takes back what he has said.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Stream } from "effect"
import { Blaze, Bot, Delivery, Message, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"

/** What a bot is told, as words. */
const hearing = (heard: Array<string>, handle: (text: string) => Effect.Effect<unknown> = () => Effect.void) =>
  Bot.run(
    Bot.match({
      Text: ({ message }) => {
        heard.push(message.text)
        return handle(message.text)
      },
      Recall: () => Effect.sync(() => heard.push("a recall")),
      orElse: () => Effect.void
    })
  )

const settings = (tellOfRecalls: boolean, deferredMessages = 10) =>
  BlazeTest.layer.pipe(Layer.provide(Settings.layer({ tellOfRecalls, deferredMessages })))

const nothingPending = Effect.gen(function* () {
  const { pending } = yield* BlazeTest.Account
  assert.deepStrictEqual(yield* pending, [])
})

for (const isTold of [true, false]) {
  const recall = isTold ? ["a recall"] : []

  describe(`a recall, of which a handler is ${isTold ? "told" : "not told"}`, () => {
    it.effect("takes back what had come before the bot was there", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        yield* alice.say("one")
        yield* alice.recall(yield* alice.say("two"))
        yield* alice.say("three")
        yield* Effect.forkChild(hearing(heard))
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(heard, ["one", ...recall, "three"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what waits behind another of its conversation", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const gate = yield* Deferred.make<void>()
        yield* Effect.forkChild(hearing(heard, () => Deferred.await(gate)))
        yield* alice.say("one")
        yield* BlazeTest.settle
        const id = yield* alice.say("two")
        yield* BlazeTest.settle
        yield* alice.recall(id)
        yield* alice.say("three")
        yield* BlazeTest.settle
        assert.deepStrictEqual(heard, ["one"])
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(heard, ["one", ...recall, "three"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what is deferred", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(hearing(heard, () => Effect.succeed(Delivery.Defer)))
        const id = yield* alice.say("one")
        yield* BlazeTest.pass("1 second")
        yield* alice.recall(id)
        yield* BlazeTest.pass("3 hours")
        assert.deepStrictEqual(heard, ["one", ...recall])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what it names though somebody else recalls the same", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const eve = yield* BlazeTest.user("eve")
        const server = yield* BlazeServer.BlazeServer
        const group = yield* server.group(yield* BlazeTest.Account, [alice, eve])
        const id = yield* alice.say("one", group)
        yield* eve.recall(id, group)
        yield* alice.recall(id, group)
        yield* eve.recall(id, group)
        yield* Effect.forkChild(hearing(heard))
        yield* BlazeTest.pass("2 seconds")
        // Those that took nothing are told of in any case.
        assert.deepStrictEqual(heard, ["a recall", ...recall, "a recall"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what fails only afterwards, once it is put aside", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const gate = yield* Deferred.make<void>()
        yield* Effect.forkChild(hearing(heard, () => Effect.as(Deferred.await(gate), Delivery.Defer)))
        const id = yield* alice.say("one")
        yield* BlazeTest.settle
        yield* alice.recall(id)
        yield* BlazeTest.pass("1 second")
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("3 hours")
        // It had begun, and is told of in any case.
        assert.deepStrictEqual(heard, ["one", "a recall"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what nobody has been handed yet, or somebody has left, whoever consumes", () =>
      Effect.gen(function* () {
        const { deliveries } = yield* Blaze.Blaze
        const alice = yield* BlazeTest.user("alice")
        const next = (count: number) =>
          deliveries.pipe(
            Stream.take(count),
            Stream.mapEffect(Delivery.handle(({ message }) => Effect.succeed(message))),
            Stream.runCollect,
            Effect.map((messages) => messages.map((message) => (Message.isText(message) ? message.text : "a recall")))
          )
        yield* alice.recall(yield* alice.say("one"))
        yield* alice.say("two")
        assert.deepStrictEqual(yield* next(isTold ? 2 : 1), [...recall, "two"])
        const left = yield* alice.say("three")
        yield* Effect.ignoreCause(
          deliveries.pipe(
            Stream.take(1),
            Stream.runForEach(() => Effect.die("left"))
          )
        )
        yield* alice.recall(left)
        yield* alice.say("four")
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* next(isTold ? 2 : 1), [...recall, "four"])
        yield* BlazeTest.pass("2 seconds")
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("of what is deferred makes room for another", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const [alice, bob] = [yield* BlazeTest.user("alice"), yield* BlazeTest.user("bob")]
        yield* Effect.forkChild(hearing(heard, () => Effect.succeed(Delivery.Defer)))
        const id = yield* alice.say("one")
        yield* BlazeTest.pass("1 second")
        yield* alice.recall(id)
        yield* BlazeTest.pass("1 second")
        yield* bob.say("two")
        yield* BlazeTest.pass("10 minutes")
        const { requests } = yield* BlazeTest.Account
        // What finds no room is asked for again.
        assert.deepStrictEqual(yield* requests, [["LIST_PENDING_MESSAGES"]])
      }).pipe(Effect.provide(settings(isTold, 1)))
    )

    it.effect("of what was handled reaches the handler", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(hearing(heard))
        const id = yield* alice.say("one")
        yield* BlazeTest.pass("2 seconds")
        yield* alice.recall(id)
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(heard, ["one", "a recall"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back nothing of somebody else's, and nothing in another conversation", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const eve = yield* BlazeTest.user("eve")
        const server = yield* BlazeServer.BlazeServer
        const group = yield* server.group(yield* BlazeTest.Account, [alice, eve])
        const inGroup = yield* alice.say("one", group)
        yield* eve.recall(inGroup, group)
        yield* eve.recall(yield* alice.say("two"))
        yield* alice.recall(yield* alice.say("three", group))
        yield* Effect.forkChild(hearing(heard))
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(heard.toSorted(), ["a recall", "a recall", "a recall", "one", "three", "two"])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )
  })
}
