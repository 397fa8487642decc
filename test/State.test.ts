// What a bot remembers: in memory and in a database, and over the end of a process.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Schema } from "effect"
import { Blaze, Bot, type Ids, PersistentStore, Settings, SqlStore, State, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { Persistence } from "effect/persistence"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Count, counting, handlerContract, stateContract } from "./contract/state.ts"
import { clientWith, lines } from "./support.ts"

const database = NodeSqlite.layer({ filename: ":memory:" })

for (const contract of [stateContract, handlerContract]) {
  contract("in memory", Store.layerMemory, Layer.empty)
  contract("in SQLite", SqlStore.layer, database)
}

describe("what a bot remembers in a database", () => {
  const counter = Bot.layer(
    Bot.match({
      Text: Effect.fnUntraced(function* (delivery) {
        yield* delivery.reply(`Visit ${yield* counting(delivery)}.`, { key: "visit" })
      }),
      orElse: () => Effect.void
    })
  )
  const options = { seed: 1, disk: database, blaze: Blaze.layerWith({ store: SqlStore.layer }) }

  it.live("counts each message once, wherever in it the process is killed", () =>
    BlazeTest.replay(counter, options, function* ({ alice, world }) {
      for (let steps = 0; steps < 80; steps++) {
        yield* alice.say("hello")
        yield* world.kill({ steps })
        yield* world.pass("1 minute")
      }
      const once = Array.from({ length: 80 }, (_, n) => `Visit ${n + 1}.`)
      assert.deepStrictEqual(yield* alice.reads, once)
    })
  )
})

describe("what a bot no longer remembers in a database", () => {
  it.effect("takes no room for long, however much of it there is", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const Brief = State.person("brief", Schema.String, { timeToLive: "1 minute" })
      const { userId } = yield* BlazeTest.user("alice")
      for (let minute = 0; minute < 5; minute++) {
        yield* Effect.forEach(
          Array.from({ length: 1500 }, (_, n) => `${userId.slice(0, -5)}${minute}${1000 + n}` as Ids.UserId),
          (id) => Effect.flatMap(State.of(Brief, id), (brief) => brief.set("x")),
          { concurrency: 100 }
        )
        yield* TestClock.adjust("2 minutes")
      }
      const [row] = yield* sql<{ n: number }>`SELECT count(*) AS n FROM blaze_state`
      assert.isAtMost(row!.n, 3000)
    }).pipe(
      Effect.provide(clientWith({ store: SqlStore.layer })),
      Effect.provide(Layer.fresh(Layer.merge(BlazeTest.layerServer, database)))
    )
  )
})

describe("what a bot remembers in memory", () => {
  it.effect("is bounded: what was written longest ago goes, which is told once", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const people = yield* Effect.forEach(["alice", "bob", "carol", "dora"], BlazeTest.user)
      const Name = State.person("name", Schema.String)
      const cells = yield* Effect.forEach(people, ({ userId }) => State.of(Name, userId))
      for (const [n, cell] of cells.entries()) yield* cell.set(`${n}`)
      yield* cells[2]!.set("2 again")
      assert.deepStrictEqual(yield* cells[0]!.get, Option.none())
      yield* cells[0]!.set("0 again")
      assert.deepStrictEqual(yield* Effect.forEach(cells, ({ get }) => get), [
        Option.some("0 again"),
        Option.none(),
        Option.some("2 again"),
        Option.none()
      ])
      assert.lengthOf(
        all.filter((line) => line.includes("More than 2 values are remembered in memory")),
        1
      )
    }).pipe(
      Effect.provide(clientWith({})),
      Effect.provide(Settings.layer({ rememberedStates: 2 })),
      Effect.provide(BlazeTest.layerServer),
      Effect.provide(layer)
    )
  })

  it.effect("pushes nothing out for what is no longer remembered", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const { userId } = yield* BlazeTest.user("alice")
      const lasting = yield* State.of(State.person("lasting", Schema.String), userId)
      yield* lasting.set("here")
      for (let n = 0; n < 20; n++) {
        const brief = yield* State.of(State.person(`brief ${n}`, Schema.String, { timeToLive: "1 second" }), userId)
        yield* brief.set("x")
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(yield* lasting.get, Option.some("here"))
      assert.deepStrictEqual(all, [])
    }).pipe(
      Effect.provide(clientWith({})),
      Effect.provide(Settings.layer({ rememberedStates: 5 })),
      Effect.provide(BlazeTest.layerServer),
      Effect.provide(layer)
    )
  })

  it.effect("is the same for all that one handler does at once, however slow the store is", () => {
    // The first to ask is the last to be told.
    let asked = 0
    const slow = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (store) =>
        Store.Store.of({
          ...store,
          states: {
            ...store.states!,
            read: (name, key) =>
              Effect.suspend(() =>
                Effect.tap(store.states!.read(name, key), () =>
                  Effect.sleep(asked++ === 0 ? "100 millis" : "10 millis")
                )
              )
          }
        })
      )
    ).pipe(Layer.provide(Store.layerMemory))
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const looks: Array<ReadonlyArray<Option.Option<number>>> = []
      yield* Effect.forkChild(
        Bot.run(
          Effect.fnUntraced(function* (delivery) {
            const cell = delivery.state(Count)
            if (asked > 2) return yield* cell.set(7)
            const first = yield* Effect.forkChild(cell.get)
            yield* Effect.yieldNow
            const outside = yield* State.of(Count, delivery.message.conversationId)
            yield* outside.set(100)
            const second = yield* cell.get
            looks.push([yield* Fiber.join(first), second])
            yield* cell.set(1)
          })
        )
      )
      yield* alice.say("hi")
      yield* BlazeTest.pass("5 seconds")
      assert.lengthOf(looks, 1)
      assert.deepStrictEqual(looks[0]![0], looks[0]![1])
    }).pipe(Effect.provide(clientWith({ store: slow })), Effect.provide(BlazeTest.layerServer))
  })

  it.effect("fails, and is no defect, where the client of the store dies of what it is asked", () => {
    const dying = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (store) =>
        Store.Store.of({
          ...store,
          states: { ...store.states!, read: () => Effect.die(new TypeError("the connection is gone")) }
        })
      )
    ).pipe(Layer.provide(Store.layerMemory))
    return Effect.gen(function* () {
      const { userId } = yield* BlazeTest.user("alice")
      const cell = yield* State.of(State.person("name", Schema.String), userId)
      const failed = yield* Effect.flip(cell.get)
      assert.strictEqual(failed.reason._tag, "StateFailed")
      assert.include(failed.message, "the store does not answer")
    }).pipe(Effect.provide(clientWith({ store: dying })), Effect.provide(BlazeTest.layerServer))
  })

  it.effect("is nothing where the store keeps no states, which is told", () =>
    Effect.gen(function* () {
      const { userId } = yield* BlazeTest.user("alice")
      const cell = yield* State.of(Count, yield* (yield* Blaze.Blaze).conversationOf({ user: userId }))
      for (const effect of [cell.get, cell.set(1), State.due(Count)]) {
        assert.match(String(yield* Effect.flip(effect as Effect.Effect<unknown, unknown>)), /the store keeps no states/)
      }
    }).pipe(
      Effect.provide(clientWith({ store: PersistentStore.layer({ storeId: "test" }) })),
      Effect.provide(Persistence.layerMemory),
      Effect.provide(BlazeTest.layerServer)
    )
  )
})
