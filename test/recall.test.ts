// Somebody takes back what he has said.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Metric, Stream, SubscriptionRef } from "effect"
import { Blaze, type BlazeError, Bot, Delivery, Keyed, Message, PersistentStore, Settings, Store } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { Persistence } from "effect/persistence"
import * as Recalls from "../src/internal/Recalls.ts"

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

const botWith = <R>(store: Layer.Layer<Store.Store, BlazeError.BlazeError, R>, tellOfRecalls: boolean) =>
  Blaze.layerWith({ store }).pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide(BlazeTest.layerPlatform),
    Layer.provide(Settings.layer({ tellOfRecalls, flushTimeout: 0 })),
    Layer.provide(Layer.succeed(Keyed.Grace, 0))
  )

/** One with a store that outlives it. */
const bot = (tellOfRecalls: boolean) => botWith(PersistentStore.layer({ storeId: "recalls" }), tellOfRecalls)

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
        // At once, and not when it were due again.
        yield* BlazeTest.pass("2 seconds")
        yield* nothingPending
        yield* BlazeTest.pass("3 hours")
        assert.deepStrictEqual(heard, ["one", ...recall])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back what nobody has been handed yet, or somebody has left, whoever consumes", () =>
      Effect.gen(function* () {
        const { deliveries, drain } = yield* Blaze.Blaze
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
        // Nor is anything open.
        const drained = yield* Effect.forkChild(drain)
        yield* BlazeTest.settle
        assert.isDefined(drained.pollUnsafe())
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

    it.effect("takes back what is given up, and what would be", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const [alice, eve] = [yield* BlazeTest.user("alice"), yield* BlazeTest.user("eve")]
        const gate = yield* Deferred.make<void>()
        yield* Effect.forkChild(
          hearing(heard, (text) => Effect.as(text === "two" ? Deferred.await(gate) : Effect.void, Delivery.GiveUp))
        )
        const first = yield* alice.say("one")
        yield* BlazeTest.pass("2 seconds")
        yield* eve.recall(first)
        yield* BlazeTest.pass("2 seconds")
        const { pending } = yield* BlazeTest.Account
        const { status } = yield* Blaze.Blaze
        const givenUp = Effect.map(SubscriptionRef.get(status), (now) => now._tag === "Connected" && now.givenUp)
        assert.deepStrictEqual(yield* pending, [first])
        assert.strictEqual(yield* givenUp, 1)
        yield* alice.recall(first)
        yield* BlazeTest.pass("2 seconds")
        yield* nothingPending
        assert.strictEqual(yield* givenUp, 0)
        const second = yield* alice.say("two")
        yield* BlazeTest.settle
        yield* alice.recall(second)
        yield* BlazeTest.settle
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("2 seconds")
        yield* nothingPending
        assert.strictEqual(yield* givenUp, 0)
        assert.deepStrictEqual(heard, ["one", "a recall", ...recall, "two", ...recall])
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("has what a handler has begun with not tried again where that fails", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const gate = yield* Deferred.make<void>()
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(hearing(heard, () => Effect.andThen(Deferred.await(gate), Effect.die("no stock"))))
        const id = yield* alice.say("one")
        yield* BlazeTest.settle
        yield* alice.recall(id)
        yield* BlazeTest.settle
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(heard, ["one", ...recall])
        yield* nothingPending
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes no notice of the system's back that is given up, in whosever name", () =>
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const account = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(
          Bot.run(({ message }) => Effect.succeed(message._tag === "Recall" ? Delivery.Ack : Delivery.GiveUp))
        )
        yield* server.notify(account, {
          category: "SYSTEM_ACCOUNT_SNAPSHOT",
          conversationId: alice.conversationId,
          userId: alice.userId,
          payload: "{}"
        })
        yield* BlazeTest.pass("2 seconds")
        const [notice, ...others] = yield* account.pending
        assert.isEmpty(others)
        yield* alice.recall(notice!)
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(yield* account.pending, [notice!])
      }).pipe(Effect.provide(settings(isTold)))
    )

    it.effect("takes back at once what is being put aside at that moment, which may take a store its time", () =>
      Effect.gen(function* () {
        const disk = new Map<string, Store.Outcome>()
        const store = Layer.sync(Store.Store, () =>
          Store.persevering({
            load: (ids) => Effect.succeed(ids.map((id) => disk.get(id))),
            commit: (changes) =>
              Effect.gen(function* () {
                if (changes.some(({ outcome }) => outcome._tag === "Deferred")) yield* Effect.sleep("1 second")
                for (const { id, outcome } of changes) disk.set(id, outcome)
                return Store.committed(changes)
              }),
            confirm: () => Effect.void
          })
        )
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        yield* hearing(heard, () => Effect.succeed(Delivery.deferFor("10 minutes"))).pipe(
          Effect.provide(botWith(store, isTold)),
          Effect.forkChild
        )
        const id = yield* alice.say("one")
        yield* BlazeTest.settle
        yield* alice.recall(id)
        yield* BlazeTest.pass("5 seconds")
        assert.deepStrictEqual(heard, ["one", ...recall])
        assert.deepStrictEqual(disk.get(id), Store.Handled)
        yield* nothingPending
      }).pipe(Effect.provide(BlazeTest.layerServer))
    )

    it.effect("takes back what found no room to be put aside, when it is listed again", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const [alice, bob] = [yield* BlazeTest.user("alice"), yield* BlazeTest.user("bob")]
        yield* Effect.forkChild(hearing(heard, () => Effect.succeed(Delivery.deferFor("1 hour"))))
        yield* bob.say("two")
        yield* BlazeTest.pass("1 second")
        const id = yield* alice.say("one")
        yield* BlazeTest.pass("1 second")
        yield* alice.recall(id)
        yield* BlazeTest.pass("30 minutes")
        assert.deepStrictEqual(
          heard.filter((text) => text === "one"),
          ["one"]
        )
        const { pending } = yield* BlazeTest.Account
        assert.notInclude(yield* pending, id)
      }).pipe(Effect.provide(settings(isTold, 1)))
    )

    it.effect("takes back what an earlier process has put aside", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const process = <A, E>(effect: Effect.Effect<A, E, Blaze.Services>) => Effect.provide(effect, bot(isTold))
        const id = yield* alice.say("one")
        yield* process(
          Effect.gen(function* () {
            yield* Effect.forkChild(hearing(heard, () => Effect.succeed(Delivery.Defer)))
            yield* BlazeTest.pass("2 seconds")
          })
        )
        yield* alice.recall(id)
        yield* process(
          Effect.gen(function* () {
            yield* Effect.forkChild(hearing(heard))
            yield* BlazeTest.pass("3 hours")
          })
        )
        assert.deepStrictEqual(heard, ["one", ...recall])
        yield* nothingPending
      }).pipe(Effect.provide(Layer.merge(BlazeTest.layerServer, Persistence.layerMemory)))
    )

    it.effect("takes back no notice of the system's, in whosever name", () =>
      Effect.gen(function* () {
        const got: Array<string> = []
        const alice = yield* BlazeTest.user("alice")
        const server = yield* BlazeServer.BlazeServer
        const id = yield* server.notify(yield* BlazeTest.Account, {
          category: "SYSTEM_ACCOUNT_SNAPSHOT",
          conversationId: alice.conversationId,
          userId: alice.userId,
          payload: "{}"
        })
        yield* alice.recall(id)
        yield* Effect.forkChild(Bot.run(({ message }) => Effect.sync(() => got.push(message.category))))
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(got, ["SYSTEM_ACCOUNT_SNAPSHOT", "MESSAGE_RECALL"])
      }).pipe(Effect.provide(settings(isTold)))
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

describe("what is remembered of recalls", () => {
  const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`
  const from = (user: string, message: string, category: string, payload: string) =>
    Message.fromView({
      message_id: message,
      user_id: user,
      conversation_id: id(1),
      category,
      data_base64: Buffer.from(payload).toString("base64url")
    })
  const recallOf = (user: string, message: string, recalled: string) => {
    const recall = from(user, message, "MESSAGE_RECALL", JSON.stringify({ message_id: recalled }))
    assert(Message.isRecall(recall))
    return recall
  }

  it("is nothing once their messages are done with, whoever has recalled what", () => {
    let taken = 0
    const recalls = Recalls.make(
      () => true,
      () => void taken++
    )
    for (let n = 10; n < 30_000; n++) {
      recalls.note(recallOf("eve", id(100_000 + n), id(n)))
      recalls.forget(from("alice", id(n), "PLAIN_TEXT", "hi").id)
    }
    const message = from("alice", id(5), "PLAIN_TEXT", "hi")
    const recall = recallOf("alice", id(6), id(5))
    recalls.note(recall)
    assert.isTrue(recalls.takes(message))
    assert.isTrue(recalls.hasTaken(recall))
    assert.strictEqual(taken, 1)
    recalls.forget(message.id)
    assert.isFalse(recalls.takes(message))
    recalls.forget(recall.id)
    assert.isFalse(recalls.hasTaken(recall))
  })

  it("is nothing of one that was done with before it took something", () => {
    const recalls = Recalls.make(
      () => false,
      () => {}
    )
    const recall = recallOf("alice", id(6), id(5))
    recalls.note(recall)
    assert.isTrue(recalls.takes(from("alice", id(5), "PLAIN_TEXT", "hi")))
    assert.isFalse(recalls.hasTaken(recall))
  })

  it("is bounded", () => {
    const recalls = Recalls.make(
      () => true,
      () => {}
    )
    // What nobody has recalled makes no room, and takes none.
    for (let n = 0; n < 10; n++) recalls.forget(from("alice", id(n), "PLAIN_TEXT", "hi").id)
    recalls.note(recallOf("alice", id(99_999), id(1)))
    recalls.forget(from("alice", id(1), "PLAIN_TEXT", "hi").id)
    for (let n = 0; n < 10_001; n++) recalls.note(recallOf("alice", id(100_000 + n), id(n)))
    const takes = (n: number) => recalls.takes(from("alice", id(n), "PLAIN_TEXT", "hi"))
    assert.deepStrictEqual([takes(9999), takes(10_000)], [true, false])
  })

  it.effect("is counted", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.recall(yield* alice.say("one"))
      yield* Effect.forkChild(hearing([]))
      yield* BlazeTest.pass("2 seconds")
      const all = yield* Metric.snapshot
      const counts = all.filter(({ id }) => id === "blaze_taken_back_messages_total").map(({ state }) => state)
      assert.deepInclude(counts[0], { count: 1 })
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})
