// What no further try can change: it is told once and given up, and nothing is tried for ever.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Layer, References, Schedule, Stream, SubscriptionRef } from "effect"
import { Acks, Blaze, BlazeError, Bot, Delivery, type Ids, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { gzipSync } from "node:zlib"
import { client, lines, pass, textOf } from "./support.ts"

const hours = Effect.fnUntraced(function* (count: number) {
  for (let hour = 0; hour < count; hour++) {
    yield* BlazeTest.settle
    yield* TestClock.adjust("1 hour")
  }
  yield* BlazeTest.settle
})

const api = (code: number) => BlazeError.fromApi({ code })

describe("Delivery.isFinal", () => {
  it("is what Mixin means for good, when that is all there is", () => {
    const content = BlazeError.make(new BlazeError.InvalidContent({ field: "the text", expected: "short" }))
    for (const error of [content, ...[400, 403, 404, 10002, 10404, 20116, 20150, 30102].map(api)]) {
      assert.isTrue(Delivery.isFinal(Cause.fail(error)), error.message)
    }
    for (const error of [
      BlazeError.make(new BlazeError.Closed({})),
      BlazeError.make(new BlazeError.Unauthorized({})),
      BlazeError.make(new BlazeError.ClientTooOld({})),
      BlazeError.make(new BlazeError.AlreadyConsumed({})),
      BlazeError.make(new BlazeError.InvalidSetting({ setting: "address", field: "it", expected: "good" })),
      ...[429, 500, 7000, 7001, 10001, 10104, 10105, 30103, 99_999].map(api),
      new Error("the program's own")
    ]) {
      assert.isFalse(Delivery.isFinal(Cause.fail(error)), error.message)
    }
    assert.isFalse(Delivery.isFinal(Cause.combine(Cause.fail(content), Cause.die("beside it"))))
    assert.isFalse(Delivery.isFinal(Cause.die(content)))
    assert.isFalse(Delivery.isFinal(Cause.empty))
  })
})

describe("an answer of the server that ends the connection", () => {
  for (const [name, acks] of [
    ["REST", Acks.layerRest],
    ["the socket", Acks.layerSocket]
  ] as const) {
    it.effect(`is final for nothing that was under way on it, with acknowledgements over ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(Bot.run((delivery) => delivery.reply(`echo ${textOf(delivery)}`)))
        yield* alice.say("1")
        yield* BlazeTest.settle
        yield* server.inject({ _tag: "IgnoreRequest", action: "CREATE_MESSAGE" })
        yield* server.inject({ _tag: "IgnoreRequest", action: "ACKNOWLEDGE_MESSAGE_RECEIPTS" }, 1)
        yield* alice.say("2")
        yield* pass(1)
        yield* bot.push(gzipSync(JSON.stringify({ id: "?", action: "ERROR", error: { code: 10002 } })))
        for (let n = 0; n < 20; n++) yield* pass(10)
        assert.deepStrictEqual(yield* alice.reads, ["echo 1", "echo 2"])
        assert.deepStrictEqual(yield* bot.pending, [])
        assert.strictEqual(yield* bot.handshakes, 2)
      }).pipe(
        Effect.provide(
          Blaze.layerWith({ acks }).pipe(
            Layer.provideMerge(BlazeTest.layerTransport),
            Layer.provide(BlazeTest.layerPlatform),
            Layer.provideMerge(BlazeTest.layerServer)
          )
        ),
        Effect.provideService(References.MinimumLogLevel, "None")
      )
    )
  }
})

describe("a message that can never be handled", () => {
  for (const [name, reply, problem] of [
    ["an empty answer", () => "", "the text must be at least one character long"],
    ["an answer that is too long", () => "x".repeat(70_000), "the text must be at most 65536 characters long"],
    ["a user who has blocked the bot", () => "hello", "error 403"]
  ] as const) {
    it.effect(`is handled once, told in one line, and neither offered again nor acknowledged: ${name}`, () => {
      const log = lines()
      return Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        const bob = yield* BlazeTest.user("bob")
        if (problem === "error 403") {
          yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 403 }, 1)
        }
        let runs = 0
        yield* Effect.forkChild(
          Bot.run((delivery) => {
            if (delivery.message.senderId === bob.userId) return delivery.reply("well")
            runs++
            return delivery.reply(reply())
          })
        )
        const id = yield* alice.say("hi")
        yield* BlazeTest.settle
        yield* bob.say("hi")
        yield* bot.cut // the server lists it again: that changes nothing
        yield* hours(24)
        assert.strictEqual(runs, 1)
        assert.deepStrictEqual(yield* bob.reads, ["well"])
        assert.deepStrictEqual(yield* bot.pending, [id])
        const told = log.all.filter((line) => line.includes(id))
        assert.strictEqual(told.length, 1, told.join("\n"))
        assert.match(told[0]!, /^Error .*given up/)
        assert.include(told[0]!, problem)
        const blaze = yield* Blaze.Blaze
        const status = yield* SubscriptionRef.get(blaze.status)
        assert.strictEqual(status._tag === "Connected" ? status.givenUp : -1, 1)
      }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
    })
  }

  it.effect("is handled by the next process, which may be a mended one", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("hi")
      const run = (answer: string) =>
        Effect.gen(function* () {
          yield* Effect.forkChild(Bot.run((delivery) => delivery.reply(answer)))
          yield* pass(2)
        }).pipe(Effect.provide(client))
      yield* run("")
      assert.strictEqual((yield* bot.pending).length, 1)
      yield* run("hello")
      assert.deepStrictEqual(yield* alice.reads, ["hello"])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("is told with the reason that the program gives", () => {
    const log = lines()
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(
        Bot.run(() => Effect.fail("the shop is closed for good"), {
          retry: Schedule.recurs(0),
          onFailure: () => Effect.succeed(Delivery.GiveUp)
        })
      )
      const id = yield* alice.say("hi")
      yield* pass(1)
      assert.deepStrictEqual(log.all, [
        `Error Message ${id} is given up: the shop is closed for good. It is not offered again by this process, and stays unacknowledged for the next one.`
      ])
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
  })

  it.effect("is for onFailure to decide at once, which may say Ack", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const failures: Array<number> = []
      yield* Effect.forkChild(
        Bot.run((delivery) => delivery.reply(""), {
          onFailure: () => Effect.map(Clock.currentTimeMillis, (now) => (failures.push(now), Delivery.Ack))
        })
      )
      const id = yield* alice.say("hi")
      yield* pass(1)
      assert.deepStrictEqual(failures, [0])
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("is given up by a pipeline of one's own too", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      let runs = 0
      yield* Effect.forkChild(
        blaze.deliveries.pipe(
          Stream.mapEffect((delivery) =>
            Effect.ignore(Delivery.handle((delivery) => (runs++, delivery.reply("")))(delivery))
          ),
          Stream.runDrain
        )
      )
      const id = yield* alice.say("hi")
      yield* hours(30)
      assert.deepStrictEqual([runs, yield* bot.pending], [1, [id]])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("an error of the program's own is tried and offered again, for a day, and then given up", () => {
    const log = lines()
    return Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<number> = []
      yield* Effect.forkChild(
        Bot.run(() =>
          Effect.andThen(
            Effect.map(Clock.currentTimeMillis, (now) => runs.push(now / 3_600_000)),
            Effect.fail("the database is away")
          )
        )
      )
      const id = yield* alice.say("hi")
      for (let quarter = 0; quarter < 4 * 30; quarter++) yield* pass(15 * 60)
      const last = runs.at(-1)!
      assert.isTrue(last > 23 && last < 26, `the last try was after ${last} hours`)
      assert.deepStrictEqual(yield* bot.pending, [id])
      assert.strictEqual(log.all.filter((line) => /^Error .*given up.*setting defer/.test(line)).length, 1)
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
  })

  it.effect("ends for those too that find no room among the deferred", () =>
    Effect.gen(function* () {
      const runs = new Map<string, number>()
      yield* Effect.forkChild(
        Bot.run(
          ({ message }) => {
            runs.set(message.id, (runs.get(message.id) ?? 0) + 1)
            return Effect.fail("no")
          },
          { retry: Schedule.recurs(0) }
        )
      )
      for (const name of ["a", "b", "c", "d", "e", "f"]) yield* (yield* BlazeTest.user(name)).say("hi")
      for (let count = 0; count < 3 * 24 * 12; count++) yield* pass(300)
      assert.strictEqual(runs.size, 6)
      for (const count of runs.values()) assert.isAtMost(count, 31)
    }).pipe(Effect.provide(BlazeTest.layer.pipe(Layer.provide(Settings.layer({ deferredMessages: 2 })))))
  )

  it.effect("an outcome counts by its tag, as its type says", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.succeed({ _tag: "Defer" } as const)))
      const id = yield* alice.say("hi")
      yield* pass(2)
      assert.deepStrictEqual(yield* bot.pending, [id])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("is not offered again once the server has dropped it", () => {
    const log = lines()
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      let runs = 0
      yield* Effect.forkChild(Bot.run(() => Effect.sync(() => (runs++, Delivery.Defer))))
      yield* alice.say("hi")
      yield* hours(24 * 7 - 1)
      const week = runs
      assert.isAbove(week, 24 * 6)
      yield* hours(24)
      assert.strictEqual(runs, week)
      assert.strictEqual(log.all.filter((line) => /^Error .*given up.*has dropped it/.test(line)).length, 1)
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(
            Settings.layer({ defer: Schedule.spaced("1 hour"), deferredMessages: 100, deferredBytes: 1_000_000 })
          )
        )
      ),
      Effect.provide(log.layer)
    )
  })

  it.effect("so many of them are remembered, and beyond that the oldest is acknowledged, loudly", () => {
    const log = lines()
    return Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.succeed(Delivery.GiveUp)))
      const ids: Array<Ids.MessageId> = []
      for (const text of ["1", "2", "3", "4", "5"]) ids.push(yield* alice.say(text))
      yield* pass(2)
      assert.deepStrictEqual(yield* bot.pending, ids.slice(2))
      assert.deepStrictEqual(
        log.all
          .filter((line) => /^Error .*is acknowledged/.test(line))
          .map((line) => ids.findIndex((id) => line.includes(id))),
        [0, 1]
      )
    }).pipe(
      Effect.provide(BlazeTest.layer.pipe(Layer.provide(Settings.layer({ maximumGivenUp: 3 })))),
      Effect.provide(log.layer)
    )
  })

  it.effect("an onFailure that fails defers: that is no decision", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      let runs = 0
      yield* Effect.forkChild(
        Bot.run(() => Effect.suspend(() => (runs++, Effect.fail("no"))), {
          retry: Schedule.recurs(0),
          onFailure: () => Effect.die("no")
        })
      )
      yield* alice.say("hi")
      yield* pass(1)
      yield* pass(31)
      assert.strictEqual(runs, 2)
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})
