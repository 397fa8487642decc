// What has passed is not what the wall clock says: somebody sets it an hour forward or back, and nothing happens sooner or later.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Schedule, Stream, SubscriptionRef } from "effect"
import { Blaze, Bot, Conversations, Delivery, Ids, Keyed, Quota, Reconnect, Settings, Store, Users } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { client, lines, pass, seeded, setWall, textOf } from "./support.ts"
import { TestClock } from "effect/testing"
import * as Elapsed from "../src/internal/Elapsed.ts"
import * as States from "../src/internal/States.ts"

const hour = 3_600_000

const monotonic = Effect.map(Elapsed.now, (now) => Math.round(now() / 1000))

const cases: Array<
  readonly [
    name: string,
    test: (
      jump: () => void,
      log: ReadonlyArray<string>
    ) => Effect.Effect<void, unknown, Blaze.Services | BlazeTest.Server>,
    settings?: Layer.Layer<never>
  ]
> = [
  [
    "the timeout of a handler",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const ended: Array<number> = []
      yield* Effect.forkChild(
        Bot.run(() => Effect.onInterrupt(Effect.never, () => Effect.map(monotonic, (at) => void ended.push(at))), {
          timeout: "10 seconds"
        })
      )
      yield* alice.say("hi")
      yield* pass(1)
      jump()
      yield* pass(8)
      assert.deepStrictEqual(ended, [])
      yield* pass(1)
      assert.deepStrictEqual(ended, [10])
    })
  ],
  [
    "the warning about a slow handler",
    Effect.fnUntraced(function* (jump, log) {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.never))
      yield* alice.say("hi")
      yield* pass(1)
      jump()
      yield* pass(58)
      assert.deepStrictEqual(log, [])
      yield* pass(3)
      assert.strictEqual(log.filter((line) => line.includes("running for a minute")).length, 1)
    })
  ],
  [
    "the warning about a message that nobody settles while others are handled",
    Effect.fnUntraced(function* (jump, log) {
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      yield* blaze.deliveries.pipe(
        Stream.filter((delivery) => textOf(delivery) !== "drop me"),
        Stream.mapEffect((delivery) => delivery.ack),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* alice.say("drop me")
      yield* pass(1)
      jump()
      const busy = Effect.andThen(alice.say("hi"), pass(10))
      for (let n = 0; n < 28; n++) yield* busy
      assert.deepStrictEqual(log, [])
      for (let n = 0; n < 4; n++) yield* busy
      assert.strictEqual(log.filter((line) => line.includes("that was 5 minutes ago")).length, 1)
    })
  ],
  [
    "the listing that asks for what found no room",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      yield* Effect.forkChild(Bot.run(() => Effect.succeed(Delivery.Defer)))
      for (const text of ["1", "2"]) yield* alice.say(text)
      yield* pass(1)
      jump()
      const listings = Effect.map(bot.requests, (all) => all.flat().length)
      for (let n = 0; n < 58; n++) yield* pass(10)
      assert.strictEqual(yield* listings, 1)
      for (let n = 0; n < 4; n++) yield* pass(10)
      assert.strictEqual(yield* listings, 2)
    }),
    Settings.layer({ defer: Schedule.spaced("1 day"), deferredMessages: 1, deferredBytes: 1_000_000 })
  ],
  [
    "when a deferred message is offered again, and for how long",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<number> = []
      yield* Effect.forkChild(
        Bot.run(() =>
          Effect.map(monotonic, (at) => {
            runs.push(at)
            return Delivery.Defer
          })
        )
      )
      yield* alice.say("hi")
      yield* pass(1)
      jump()
      for (let n = 0; n < 20; n++) yield* pass(10)
      assert.deepStrictEqual(runs, [0, 20, 40, 60])
    }),
    Settings.layer({
      defer: Schedule.spaced("20 seconds").pipe(Schedule.upTo({ duration: "50 seconds" })),
      deferredMessages: 100,
      deferredBytes: 1_000_000
    })
  ],
  [
    "the tries of a handler",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<number> = []
      yield* Effect.forkChild(
        Bot.run(() => Effect.flatMap(monotonic, (at) => Effect.fail(runs.push(at))), {
          retry: Schedule.spaced("10 seconds").pipe(Schedule.upTo({ duration: "25 seconds" })),
          onFailure: () => Effect.succeed(Delivery.Ack)
        })
      )
      yield* alice.say("hi")
      yield* pass(1)
      jump()
      for (let n = 0; n < 20; n++) yield* pass(5)
      assert.deepStrictEqual(runs, [0, 10, 20, 30])
    })
  ],
  [
    "the tries of a send",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const blaze = yield* Blaze.Blaze
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 500 }, Infinity)
      yield* alice.say("hi")
      yield* BlazeTest.settle
      yield* Effect.forkChild(blaze.send({ user: alice.userId }, "hello"))
      yield* pass(1)
      jump()
      for (let n = 0; n < 20; n++) yield* pass(5)
      const sends = (yield* bot.requests).flat().filter((action) => action === "CREATE_MESSAGE")
      assert.strictEqual(sends.length, 4)
    }),
    Settings.layer({ sendRetry: Schedule.spaced("10 seconds").pipe(Schedule.upTo({ duration: "25 seconds" })) })
  ],
  [
    "the tries of an acknowledgement",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "FailRest", status: 200, body: '{"error":{"status":500,"code":500}}' }, 3)
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      yield* alice.say("hi")
      yield* pass(1)
      jump()
      // A schedule that comes to its end begins anew, after 30 seconds.
      for (let n = 0; n < 6; n++) yield* pass(5)
      assert.strictEqual((yield* bot.pending).length, 1)
      for (let n = 0; n < 6; n++) yield* pass(5)
      assert.strictEqual((yield* bot.pending).length, 0)
    }),
    Settings.layer({ acknowledgeRetry: Schedule.spaced("10 seconds").pipe(Schedule.upTo({ duration: "15 seconds" })) })
  ],
  [
    "the age of a handled message in memory",
    Effect.fnUntraced(function* (jump) {
      const alice = yield* BlazeTest.user("alice")
      const states = yield* Effect.provide(States.States, States.layer.pipe(Layer.provide(Store.layerMemory)))
      void alice
      const ids = ["1", "2"].map((n) => Ids.MessageId.make(`00000000-0000-4000-8000-00000000000${n}`))
      const verdict = (id: Ids.MessageId) => Effect.map(states.admit([id]), ([verdict]) => verdict)
      const handle = Effect.fnUntraced(function* (id: Ids.MessageId) {
        yield* verdict(id)
        states.become(id, "Handled")
        yield* states.confirm([id])
      })
      yield* handle(ids[0]!)
      yield* pass(1)
      jump()
      yield* pass(500)
      yield* handle(ids[1]!)
      assert.strictEqual(yield* verdict(ids[0]!), "Handled")
      yield* pass(200)
      yield* states.confirm([ids[1]!])
      assert.strictEqual(yield* verdict(ids[0]!), "New")
    }),
    Settings.layer({ rememberedMessages: 100, rememberedFor: "10 minutes" })
  ],
  [
    "how long the server keeps a message, counted from its arrival",
    Effect.fnUntraced(function* (jump, log) {
      const alice = yield* BlazeTest.user("alice")
      let runs = 0
      yield* Effect.forkChild(Bot.run(() => Effect.sync(() => (runs++, Delivery.Defer))))
      yield* alice.say("hi")
      yield* pass(1)
      for (let n = 0; n < 200; n++) jump()
      for (let n = 0; n < 5; n++) yield* pass(3600)
      assert.strictEqual(runs, 6)
      assert.deepStrictEqual(log, [])
    }),
    Settings.layer({ defer: Schedule.spaced("1 hour"), deferredMessages: 100, deferredBytes: 1_000_000 })
  ],
  [
    "the quota",
    Effect.fnUntraced(function* (jump) {
      const quota = yield* Effect.provide(Quota.Quota, Quota.layerMemory)
      const bot = yield* BlazeTest.Account
      const sent: Array<number> = []
      yield* Effect.forkChild(
        Effect.gen(function* () {
          for (let n = 0; n < 8; n++) {
            yield* quota.take(bot.userId, "answer")
            sent.push(yield* monotonic)
          }
        })
      )
      yield* pass(1)
      jump()
      for (let n = 0; n < 12; n++) yield* pass(10)
      // Four at once, and then one in 15 seconds.
      assert.deepStrictEqual(sent.slice(0, 4), [0, 0, 0, 0])
      assert.deepStrictEqual(
        sent.slice(4).map((at) => Math.round(at / 15)),
        [1, 2, 3, 4]
      )
    }),
    Settings.layer({ quotaMessages: 4, quotaWindow: "1 minute", answerShare: 0 })
  ],
  [
    "after how long a connection is stable",
    Effect.fnUntraced(function* (jump) {
      const bot = yield* BlazeTest.Account
      const blaze = yield* Blaze.Blaze
      const waits = Effect.fnUntraced(function* () {
        yield* bot.cut
        yield* BlazeTest.settle
        const status = yield* SubscriptionRef.get(blaze.status)
        return status._tag === "Waiting" ? Duration.toSeconds(status.delay) : -1
      })
      yield* pass(1)
      assert.strictEqual(yield* waits(), 1)
      yield* pass(1)
      yield* pass(30)
      jump()
      // Half a minute, whatever the clock says: the streak goes on.
      assert.strictEqual(yield* waits(), 2)
      yield* pass(2)
      yield* pass(30)
      jump()
      yield* pass(40)
      assert.strictEqual(yield* waits(), 1)
    }),
    Settings.layer({ reconnect: Reconnect.backoff, stableAfter: "60 seconds" })
  ],
  [
    "how long somebody, and a conversation, is remembered",
    Effect.fnUntraced(function* (jump) {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const users = yield* Users.Users
      const conversations = yield* Conversations.Conversations
      yield* users.get(alice.userId)
      yield* pass(50 * 60)
      yield* conversations.get(alice.conversationId)
      jump()
      yield* pass(9 * 60)
      // A request that fails is one that was made.
      yield* server.inject({ _tag: "FailRest", status: 400, body: "" }, 2)
      yield* users.get(alice.userId)
      yield* conversations.get(alice.conversationId)
      yield* pass(60)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(users.get(alice.userId))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(conversations.get(alice.conversationId))))
    })
  ]
]

for (const [direction, by] of [
  ["forward", hour],
  ["back", -hour]
] as const) {
  describe(`the wall clock is set an hour ${direction}`, () => {
    for (const [name, test, settings] of cases) {
      it.effect(`and changes nothing about ${name}`, () => {
        const log = lines()
        const own = settings ?? Layer.empty
        const wall = setWall()
        return wall.provide(
          test(() => wall.set(by), log.all).pipe(
            Effect.provide(Layer.provideMerge(client, BlazeTest.layerServer)),
            Effect.provide(own),
            Effect.provideService(Keyed.Grace, 0),
            Effect.provide(log.layer)
          )
        )
      })
    }
  })
}

describe("Elapsed.delays", () => {
  it.effect("gives the delays of a schedule, and nothing once it has come to its end", () =>
    Effect.gen(function* () {
      const delay = yield* Elapsed.delays(Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 })))
      const next = Effect.map(delay(undefined), Option.map(Duration.toSeconds))
      assert.deepStrictEqual([yield* next, yield* next, yield* next], [Option.some(1), Option.some(2), Option.none()])
    })
  )
})

describe("a moment that is waited for", () => {
  it.effect("has come then, whatever fractions of a millisecond are in the way", () =>
    Effect.gen(function* () {
      const random = seeded(1)
      const now = yield* Elapsed.now
      for (let n = 0; n < 300; n++) {
        yield* TestClock.adjust(10_000 * random())
        const at = now() + 1000 * random()
        const waiting = yield* Effect.forkChild(Effect.map(Elapsed.sleepUntil(now, at), () => now() - at))
        yield* TestClock.adjust("2 seconds")
        assert.isAtLeast(yield* Fiber.join(waiting), 0)
      }
      // One that has come is not waited for.
      yield* Elapsed.sleepUntil(now, now() - 1)
    })
  )

  it.effect("is so for what waits for silence", () =>
    Effect.gen(function* () {
      const random = seeded(1)
      for (let n = 0; n < 50; n++) {
        yield* TestClock.adjust(10_000 * random())
        const running = yield* Stream.make(1, 2).pipe(
          Stream.concat(Stream.never),
          Keyed.mapEffectBatch(Effect.succeed, { key: () => 0, concurrency: 1, quiet: 1000 * random() }),
          Stream.runHead,
          Effect.forkChild
        )
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual([...Option.getOrThrow(yield* Fiber.join(running))], [1, 2])
      }
    })
  )
})
