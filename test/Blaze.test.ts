import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Schedule } from "effect"
import {
  Acks,
  Attachments,
  Base64,
  Blaze,
  Bot,
  Conversations,
  Delivery,
  Keyed,
  Outgoing,
  Quota,
  Sender,
  Settings,
  State,
  Store,
  Users
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { clientWith, pass, push, textOf } from "./support.ts"

const client = (ports: Blaze.Ports<never, never>) =>
  clientWith(ports).pipe(
    Layer.provide([
      Settings.layer({
        sendRetry: Schedule.spaced("1 second"),
        reconnect: Schedule.spaced("3 seconds"),
        stableAfter: "1 minute"
      })
    ])
  )

/** A quota that never makes anybody wait, and counts. */
const counted = () => {
  const taken: Array<Quota.Kind> = []
  const quota = Layer.succeed(Quota.Quota, {
    take: (_, kind) => Effect.sync(() => taken.push(kind) < 0),
    maximumBatch: 100
  })
  return { taken, client: client({ quota }) }
}

describe("what is sent", () => {
  it.effect("every try of a send counts in the quota", () => {
    const { client, taken } = counted()
    return Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const blaze = yield* Blaze.Blaze
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, 3)
      const sending = yield* Effect.forkChild(blaze.send({ user: alice.userId }, "hi"))
      for (let tries = 1; tries <= 4; tries++) {
        yield* BlazeTest.settle
        assert.strictEqual(taken.length, tries)
        yield* pass(1)
      }
      yield* Fiber.join(sending)
      assert.deepStrictEqual(yield* alice.reads, ["hi"])
      assert.deepStrictEqual(
        taken,
        Array.from({ length: 4 }, () => "announcement")
      )
    }).pipe(Effect.provide(client), Effect.provide(BlazeTest.layerServer))
  })

  it.effect(
    "what waits for its turn while the connection is made anew goes out on the next one, in the same turn",
    () => {
      const gate = Deferred.makeUnsafe<void>()
      let taken = 0
      const quota = Layer.succeed(Quota.Quota, {
        take: () => Effect.suspend(() => (taken++, Effect.as(Deferred.await(gate), true))),
        maximumBatch: 100
      })
      return Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const blaze = yield* Blaze.Blaze
        const sending = yield* Effect.forkChild(blaze.send({ user: alice.userId }, "hi"))
        yield* BlazeTest.settle
        yield* bot.cut
        yield* pass(4)
        assert.deepStrictEqual([taken, yield* bot.handshakes, yield* alice.reads], [1, 2, []])
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.settle
        assert.isDefined(sending.pollUnsafe())
        assert.deepStrictEqual([taken, yield* alice.reads], [1, ["hi"]])
      }).pipe(Effect.provide(client({ quota })), Effect.provide(BlazeTest.layerServer))
    }
  )

  it.effect("what waits for a connection counts in the quota only when it is sent", () => {
    const { client, taken } = counted()
    return Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, 6)
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const send = (n: number) => Effect.forkChild(blaze.send({ user: alice.userId }, `${n}`))
        const sending = yield* Effect.forEach([1, 2, 3, 4, 5], send)
        // Long enough for each to have been given up, and tried again, more than once.
        for (let second = 0; second < 17; second++) yield* pass(1)
        assert.deepStrictEqual([taken.length, yield* alice.reads], [0, []])
        for (let second = 0; second < 10; second++) yield* pass(1)
        yield* Fiber.joinAll(sending)
        assert.strictEqual(taken.length, 5)
        assert.strictEqual((yield* alice.reads).length, 5)
      }).pipe(Effect.provide(client))
    }).pipe(Effect.provide(BlazeTest.layerServer))
  })

  it.effect(
    "answers of equal content and another kind, and a key that is equal to a content, have ids of their own",
    () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const ids: Array<string> = []
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.gen(function* () {
              ids.push(
                yield* delivery.reply("same"),
                yield* delivery.reply(Outgoing.post("same")),
                yield* delivery.reply("1", { key: "same" }),
                yield* delivery.reply("2", { key: Base64.encode("same") }),
                yield* delivery.reply("3", { key: "PLAIN_TEXT" })
              )
            })
          )
        )
        yield* alice.say("hi")
        yield* BlazeTest.settle
        assert.deepStrictEqual(
          (yield* bot.sent).map(({ category, text }) => [category, text]),
          [
            ["PLAIN_TEXT", "same"],
            ["PLAIN_POST", "same"],
            ["PLAIN_TEXT", "1"],
            ["PLAIN_TEXT", "2"],
            ["PLAIN_TEXT", "3"]
          ]
        )
        assert.strictEqual(new Set(ids).size, 5)
      }).pipe(Effect.provide(BlazeTest.layer))
  )
})

describe("bots and consumers", () => {
  it.effect("two bots composed from Blaze.layer in one build share nothing", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bots = [yield* server.makeBot, yield* server.makeBot]
      const handled: Array<string> = []
      const handler = (delivery: Delivery.Delivery) =>
        Effect.flatMap(Blaze.Blaze, ({ userId }) => {
          handled.push(`${userId} ${delivery.message.id}`)
          return delivery.reply(userId)
        })
      const layerOf = (bot: BlazeServer.BotAccount) =>
        Bot.layer(handler).pipe(
          Layer.provide(Blaze.layer),
          Layer.provide(Layer.fresh(BlazeTest.layerTransport)),
          Layer.provide(Layer.succeed(BlazeTest.Account, bot))
        )
      yield* Layer.build(
        Layer.mergeAll(layerOf(bots[0]!), layerOf(bots[1]!)).pipe(
          Layer.provide([
            BlazeTest.layerPlatform,
            Settings.layer({ flushTimeout: 0 }),
            Layer.succeed(BlazeServer.BlazeServer, server)
          ])
        )
      )
      yield* BlazeTest.settle
      const message_id = crypto.randomUUID()
      for (const bot of bots) {
        const alice = yield* server.user(bot, "alice")
        yield* alice.addBot
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* alice.reads, [bot.userId])
        // What one has handled the other has not, be it of the same id.
        const data = {
          message_id,
          conversation_id: alice.conversationId,
          user_id: alice.userId,
          category: "PLAIN_TEXT",
          data: "aGk"
        }
        yield* push(bot, data)
        yield* pass(1)
        assert.isTrue(handled.includes(`${bot.userId} ${message_id}`))
        assert.strictEqual((yield* bot.acknowledged).flat().length, 2)
        assert.deepStrictEqual([yield* bot.handshakes, yield* bot.connections], [1, 1])
      }
      assert.strictEqual(handled.length, 4)
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("a consumer that is interrupted while a slow store is read loses nothing", () => {
    const gate = Deferred.makeUnsafe<void>()
    let asked = 0
    const store = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (memory) => ({
        ...memory,
        load: (ids) =>
          Effect.suspend(() => {
            asked++
            return Effect.andThen(Deferred.await(gate), memory.load(ids))
          })
      }))
    ).pipe(Layer.provide(Store.layerMemory))
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const seen: Array<string> = []
      const consumer = Bot.run((delivery) => Effect.sync(() => seen.push(textOf(delivery))))
      const first = yield* Effect.forkChild(consumer)
      for (const text of ["one", "two", "three"]) yield* alice.say(text)
      yield* BlazeTest.settle
      assert.strictEqual(asked, 1)
      const interrupted = yield* Effect.forkChild(Fiber.interrupt(first))
      yield* BlazeTest.settle
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(interrupted)
      const before = seen.length
      yield* Effect.forkChild(consumer)
      yield* pass(1)
      assert.deepStrictEqual([before, seen], [0, ["one", "two", "three"]])
      assert.deepStrictEqual([yield* bot.pending, yield* bot.handshakes], [[], 1])
    }).pipe(
      Effect.provide(client({ store })),
      Effect.provide(BlazeTest.layerServer),
      Effect.provideService(Keyed.Grace, 0)
    )
  })
})

describe("what the parts of a bot have in common", () => {
  it.effect("is built once for each bot", () => {
    let built = 0
    class Shared extends Context.Service<Shared, number>()("test/Shared") {}
    const shared = Layer.sync(Shared, () => ++built)
    const seen: Array<string> = []
    const see = (part: string) => Effect.map(Shared, (number) => void seen.push(`${part} ${number}`))
    const ports = {
      store: Layer.effect(Store.Store, Effect.andThen(see("store"), Store.Store)).pipe(
        Layer.provide([Store.layerMemory, shared])
      ),
      acks: Layer.effect(Acks.Transport, Effect.andThen(see("acks"), Acks.Transport)).pipe(
        Layer.provide([Acks.layerRest, shared])
      ),
      quota: Layer.effect(Quota.Quota, Effect.andThen(see("quota"), Quota.Quota)).pipe(
        Layer.provide([Quota.layerMemory, shared])
      )
    }
    return Effect.gen(function* () {
      yield* Layer.build(clientWith(ports))
      assert.deepStrictEqual(seen.splice(0).toSorted(), ["acks 1", "quota 1", "store 1"])
      yield* Layer.build(clientWith(ports))
      assert.deepStrictEqual(seen.toSorted(), ["acks 2", "quota 2", "store 2"])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  })
})

describe("what a program gets", () => {
  it.effect("the services of a bot, and none of its rooms, nor settings that later ones would find in their way", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(clientWith({}))
      const names = [
        Blaze.Blaze,
        Sender.Sender,
        State.Storage,
        Users.Users,
        Conversations.Conversations,
        Attachments.Attachments
      ].map(({ key }) => key as string)
      assert.deepStrictEqual(
        [...context.mapUnsafe.keys()].filter((key) => key.startsWith("effect-blaze/")).toSorted(),
        names.toSorted()
      )
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})
