// What is stored before it is sent: in memory and in a database.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Redacted, Result, Schedule, Scope, Stream } from "effect"
import { Blaze, BlazeError, Broadcast, Ids, Outgoing, Sender, Settings, Signer, SqlStore, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import * as Sending from "../src/internal/Sending.ts"
import * as Outbox from "../src/internal/Outbox.ts"
import * as Meter from "../src/internal/Meter.ts"
import { lastingOutboxContract, outboxContract } from "./contract/outbox.ts"
import { id } from "./contract/stores.ts"
import { crowd } from "./crowd.ts"
import { clientWith, lines, setWall } from "./support.ts"

const database = NodeSqlite.layer({ filename: ":memory:" })

outboxContract("in memory", Store.layerMemory, Layer.empty)
outboxContract("in SQLite", SqlStore.layer, database)
lastingOutboxContract("in SQLite", SqlStore.layer, database)

type Outbox = NonNullable<Store.Store["Service"]["outbox"]>

/** A store in memory whose outbox does some things in another way. */
const storeWith = (change: (outbox: Outbox) => Partial<Outbox>) =>
  Layer.effect(
    Store.Store,
    Effect.map(Store.Store, (memory) =>
      Store.Store.of({ ...memory, outbox: { ...memory.outbox!, ...change(memory.outbox!) } })
    )
  ).pipe(Layer.provide(Store.layerMemory))

describe("what is stored before it is sent", () => {
  const durable = { durable: true } as const

  it.effect("is sent though the client of the store dies once of what it was asked", () => {
    let dies = false
    const once = <A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
      Effect.suspend(() => {
        const now = dies
        dies = false
        return now ? Effect.die("the connection is gone") : effect
      })
    const mortal = storeWith(({ complete, next }) => ({
      next: (...asked) => once(next(...asked)),
      complete: (results) => once(complete(results))
    }))
    const { layer } = lines()
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const { send } = yield* Blaze.Blaze
      for (let n = 0; n < 4; n++) {
        dies = true
        yield* send({ user: alice.userId }, `${n}`, durable)
        yield* BlazeTest.pass("40 seconds")
      }
      assert.deepStrictEqual(yield* alice.reads, ["0", "1", "2", "3"])
    }).pipe(Effect.provide(clientWith({ store: mortal })), Effect.provide(BlazeTest.layerServer), Effect.provide(layer))
  })

  const stuck = Effect.gen(function* () {
    const { inject } = yield* BlazeServer.BlazeServer
    yield* inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, Infinity)
    yield* inject({ _tag: "FailRest", status: 503, body: "" }, Infinity)
  })

  it.effect("hears of the end of the bot while it waits for room", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        clientWith({}).pipe(Layer.provide(Settings.layer({ outboxMessages: 1 }))),
        scope
      )
      const alice = yield* BlazeTest.user("alice")
      yield* stuck
      const { send } = Context.get(context, Blaze.Blaze)
      yield* send({ user: alice.userId }, "one", durable)
      const second = yield* Effect.forkDetach(Effect.flip(send({ user: alice.userId }, "two", durable)))
      yield* BlazeTest.pass("5 seconds")
      assert.isUndefined(second.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(second)).reason._tag, "Closed")
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provide(lines().layer))
  )

  it.effect("is an announcement that goes on while a message waits, though it is larger than the outbox", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(clientWith({}).pipe(Layer.provide(Settings.layer({ outboxMessages: 50 }))))
      const { people, server, users } = yield* crowd(60)
      const { send } = Context.get(context, Blaze.Blaze)
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, Infinity)
      yield* send({ user: people[0]!.userId }, "stuck", durable)
      yield* users.pipe(
        Broadcast.sendAll(() => "news", { key: "news", durable: true }),
        Stream.runDrain,
        Effect.provideContext(context),
        Effect.forkChild
      )
      for (let minute = 0; minute < 30; minute++) yield* BlazeTest.pass("1 minute")
      for (const person of people) assert.include(yield* person.reads, "news")
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provide(lines().layer))
  )

  it.effect("is all of what was being stored, though who stores it is interrupted", () =>
    Effect.gen(function* () {
      for (const isFull of [false, true]) {
        const slow = storeWith(({ add }) => ({
          add: (messages) => Effect.andThen(Effect.sleep("1 second"), add(messages))
        }))
        const context = yield* Layer.build(
          clientWith({ store: slow }).pipe(Layer.provide(Settings.layer({ outboxMessages: isFull ? 15 : 50 })))
        )
        const { people } = yield* crowd(20)
        const { store } = Context.get(context, Sender.Sender)
        const text = isFull ? "late news" : "news"
        const messages = people.map(({ userId }, n) => ({
          to: { user: userId },
          content: Outgoing.text(text),
          id: id(isFull ? 100 + n : n)
        }))
        const storing = yield* Effect.forkChild(store(messages))
        yield* BlazeTest.pass("500 millis")
        yield* Fiber.interrupt(storing)
        for (let minute = 0; minute < 10; minute++) yield* BlazeTest.pass("1 minute")
        for (const person of people) assert.include(yield* person.reads, text)
      }
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provide(lines().layer))
  )

  for (const [name, end] of [
    ["interrupts itself once", Effect.interrupt],
    ["does not answer once", Effect.never]
  ] as const) {
    it.effect(`is sent though the store that tells what waits ${name}`, () =>
      Effect.gen(function* () {
        let isFirst = true
        const store = storeWith(({ next }) => ({
          next: (inBatches, after, maximum) =>
            Effect.suspend(() => {
              if (inBatches || !isFirst) return next(inBatches, after, maximum)
              isFirst = false
              return end
            })
        }))
        const context = yield* Layer.build(clientWith({ store }))
        const alice = yield* BlazeTest.user("alice")
        yield* Context.get(context, Blaze.Blaze).send({ user: alice.userId }, "one", durable)
        for (let minute = 0; minute < 5; minute++) yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(yield* alice.reads, ["one"])
      }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provide(lines().layer))
    )
  }

  it.effect("is as old as this process has seen it grow, whatever is done to the clock", () => {
    const wall = setWall()
    return wall.provide(
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        yield* alice.addBot
        const { send } = yield* Blaze.Blaze
        yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, 11)
        yield* send({ user: alice.userId }, "hello", durable)
        yield* BlazeTest.pass("1 minute")
        wall.set(8 * 86_400_000)
        yield* BlazeTest.pass("5 minutes")
        assert.deepStrictEqual(yield* alice.reads, ["hello"])
      }).pipe(Effect.provide(clientWith({})), Effect.provide(BlazeTest.layerServer))
    )
  })

  it.effect("is never more than outboxMessages says, however many store at once", () => {
    let size = () => 0
    const seen = Layer.effect(
      Store.Store,
      Effect.tap(Store.Store, ({ outbox }) => Effect.sync(() => (size = outbox!.size)))
    ).pipe(Layer.provide(SqlStore.layer))
    return Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const { send } = yield* Blaze.Blaze
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, 1_000_000)
      yield* Effect.forEach(
        Array.from({ length: 50 }, (_, n) => n),
        (n) => send({ user: alice.userId }, `${n}`, durable),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild)
      yield* BlazeTest.pass("1 second")
      assert.strictEqual(size(), 3)
      yield* server.heal
      for (let n = 0; n < 60; n++) yield* BlazeTest.pass("10 seconds")
      assert.lengthOf(new Set(yield* alice.reads), 50)
    }).pipe(
      Effect.provide(clientWith({ store: seen })),
      Effect.provide(Settings.layer({ outboxMessages: 3 })),
      Effect.provide(Layer.fresh(Layer.merge(BlazeTest.layerServer, database)))
    )
  })

  it.effect("takes no place while it waits for its next try", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const people = yield* Effect.forEach(Array.from({ length: 41 }), (_, n) => server.user(bot, `person ${n}`))
      for (const person of people) yield* person.addBot
      const { send } = yield* Blaze.Blaze
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, 40)
      for (const { userId } of people) yield* send({ user: userId }, "hello", durable)
      yield* BlazeTest.pass("10 seconds")
      const reached = Effect.map(bot.sent, ({ length }) => length)
      assert.strictEqual(yield* reached, 1)
      yield* BlazeTest.pass("30 seconds")
      assert.strictEqual(yield* reached, 41)
    }).pipe(
      Effect.provide(clientWith({})),
      Effect.provide(Settings.layer({ sendRetry: Schedule.recurs(0) })),
      Effect.provide(BlazeTest.layerServer)
    )
  )

  it.effect("reaches everybody else of an announcement where one request fails for ever because of one of them", () => {
    const ids = Array.from({ length: 250 }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)
    const bad = ids[120]!
    const sent = new Set<string>()
    const busy = BlazeError.fromApi({ code: 500, description: "Internal Server Error" })
    const botId = Ids.UserId.make("99999999-9999-4999-8999-999999999999")
    const sending = Layer.succeed(Sending.Sending, {
      idOf: (_: unknown, id: Ids.MessageId) => Effect.succeed(id),
      prepare: (content: string) => Effect.succeed(Outgoing.text(content)),
      maximumBatch: 100,
      sendBatch: (messages: ReadonlyArray<{ readonly id: Ids.MessageId }>) =>
        Effect.suspend(() => {
          if (messages.some(({ id }) => id === bad)) return Effect.fail(busy)
          for (const { id } of messages) sent.add(id)
          return Effect.succeed(messages.map(({ id }) => id))
        })
    } as never)
    return Effect.gen(function* () {
      const { store } = yield* Sender.Sender
      const { userId } = yield* BlazeTest.user("alice")
      const outcomes = yield* store(
        ids.map((id) => ({ id: id as Ids.MessageId, to: { user: userId }, content: "The sale begins." }))
      )
      const told = yield* Effect.forkChild(outcomes)
      for (let n = 0; n < 20; n++) yield* BlazeTest.pass("5 minutes")
      assert.strictEqual(sent.size, 249)
      yield* BlazeTest.pass("7 days")
      const failed = (yield* Fiber.join(told)).filter(({ result }) => Result.isFailure(result))
      assert.deepStrictEqual(
        failed.map(({ message }) => message.id as string),
        [bad]
      )
    }).pipe(
      Effect.provide(
        Layer.effect(Sender.Sender, Outbox.makeSender).pipe(
          Layer.provideMerge(Layer.effect(Outbox.Outbox, Outbox.make)),
          Layer.provide([
            sending,
            Store.layerMemory,
            Meter.layer(botId),
            Layer.succeed(Signer.Signer, { userId: botId, token: () => Effect.succeed(Redacted.make("")) })
          ]),
          Layer.provideMerge(BlazeTest.layer)
        )
      )
    )
  })
})
