// What a bot remembers: in memory and in a database, and over the end of a process.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { Blaze, Bot, PersistentStore, Settings, SqlStore, State, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { Persistence } from "effect/persistence"
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
