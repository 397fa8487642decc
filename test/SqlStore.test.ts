// The store in a database: what lasts, when it is written, and who may write.
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { Blaze, Bot, Delivery, Ids, Keyed, Message, Settings, SqlStore, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { SqlClient } from "effect/sql"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { clientWith, lines, sqlStore, sqlStoreOf } from "./support.ts"

const id = (n: number) => Ids.MessageId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)
const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => id(from + n))

const handled = (some: ReadonlyArray<Ids.MessageId>) => some.map((id) => ({ id, outcome: Store.Handled, writes: [] }))

const database = NodeSqlite.layer({ filename: ":memory:" })
const opened = <A, E>(effect: Effect.Effect<A, E, Store.Store | SqlClient.SqlClient>, store = sqlStore) =>
  Effect.provide(effect, Layer.fresh(store))

const countOf = (table: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql<{ n: number }>`SELECT count(*) AS n FROM ${sql(table)}`, ([row]) => row!.n)
  )

const tags = (outcomes: ReadonlyArray<Store.Outcome | undefined>) => outcomes.map((outcome) => outcome?._tag)

/** A process of the bot on one server and one database. */
const life = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(
    effect,
    clientWith({ store: SqlStore.layer }).pipe(
      Layer.provide(Settings.layer({ defer: Schedule.spaced("1 hour") })),
      Layer.provide(Layer.succeed(Keyed.Grace, 0))
    )
  )

const world = Layer.merge(BlazeTest.layerServer, database)

describe("a store in a database", () => {
  it.effect("knows what was stored when it is opened again, each bot for itself", () =>
    Effect.gen(function* () {
      const deferred = { _tag: "Deferred", tries: 3, until: 12_345, after: 600_000 } as const
      yield* opened(
        Effect.gen(function* () {
          const { commit } = yield* Store.Store
          assert.deepStrictEqual(yield* commit(handled([id(1), id(2), id(1)])), ["Committed", "Committed", "Known"])
          assert.deepStrictEqual(yield* commit([{ id: id(3), outcome: deferred, writes: [] }]), ["Committed"])
          assert.deepStrictEqual(yield* commit([{ id: id(1), outcome: deferred, writes: [] }]), ["Known"])
          yield* commit([{ id: id(4), outcome: deferred, writes: [] }])
          yield* commit(handled([id(4)]))
        })
      )
      const load = Effect.flatMap(Store.Store, ({ load }) => load([1, 2, 3, 4, 5].map(id)))
      assert.deepStrictEqual(yield* opened(load), [Store.Handled, Store.Handled, deferred, Store.Handled, undefined])
      const other = sqlStoreOf(Ids.UserId.make("99999999-9999-4999-8999-999999999999"))
      assert.deepStrictEqual(
        tags(yield* opened(load, other)),
        Array.from({ length: 5 }, () => undefined)
      )
    }).pipe(Effect.provide(database))
  )

  it.effect("stores together what is to be stored while it writes, and each of it is there when that is told", () =>
    Effect.gen(function* () {
      const { commit, load } = yield* Store.Store
      yield* Effect.forEach(
        ids(0, 500),
        (each) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* commit(handled([each])), ["Committed"])
            assert.deepStrictEqual(yield* load([each]), [Store.Handled])
          }),
        { concurrency: "unbounded" }
      )
      assert.isBelow(yield* countOf("blaze_handled"), 5)
    }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(database))))
  )

  it.effect("keeps at most so many, and forgets nothing whose acknowledgement is not confirmed", () =>
    Effect.gen(function* () {
      const { commit, confirm, load } = yield* Store.Store
      for (let n = 0; n < 40; n++) yield* commit(handled(ids(n * 10, n * 10 + 10)))
      assert.strictEqual(yield* countOf("blaze_handled"), 40)
      yield* confirm(ids(0, 350))
      yield* commit(handled([id(1000)]))
      assert.deepStrictEqual(tags(yield* load([id(0), id(299), id(301), id(399)])), [
        undefined,
        undefined,
        "Handled",
        "Handled"
      ])
      yield* confirm([id(1000)])
      yield* commit(handled([id(1001)]))
      assert.isBelow(yield* countOf("blaze_handled"), 15)
      // Of the hundred that are kept fifty are not confirmed.
      assert.deepStrictEqual(tags(yield* load([id(299), id(349), id(350)])), [undefined, "Handled", "Handled"])
    }).pipe(
      Effect.provide(
        sqlStore.pipe(Layer.provide(Settings.layer({ rememberedMessages: 100 })), Layer.provideMerge(database))
      )
    )
  )

  it.effect("makes rows of few ids into few rows when it is opened, and loses none", () =>
    Effect.gen(function* () {
      yield* opened(
        Effect.gen(function* () {
          const { commit } = yield* Store.Store
          for (const each of ids(0, 2500)) yield* commit(handled([each]))
        })
      )
      assert.strictEqual(yield* countOf("blaze_handled"), 2500)
      const known = yield* opened(
        Effect.gen(function* () {
          const { commit, load } = yield* Store.Store
          yield* commit(handled([id(9999)]))
          return yield* load([...ids(0, 2500), id(9999)])
        })
      )
      assert.strictEqual(known.filter((outcome) => outcome?._tag === "Handled").length, 2501)
      assert.strictEqual(yield* countOf("blaze_handled"), 4)
      const load = Effect.flatMap(Store.Store, ({ load }) => load([...ids(0, 2500), id(9999)]))
      assert.strictEqual((yield* opened(load)).filter((outcome) => outcome !== undefined).length, 2501)
    }).pipe(Effect.provide(database))
  )

  it.effect("takes nothing from a process whose place another one has taken", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const build = Effect.map(Layer.buildWithScope(Layer.fresh(sqlStore), scope), Context.get(Store.Store))
      const first = yield* build
      yield* first.commit(handled([id(1)]))
      const second = yield* build
      assert.deepStrictEqual(yield* first.commit(handled([id(2)])), ["Conflict"])
      assert.deepStrictEqual(yield* second.commit(handled([id(1), id(2)])), ["Known", "Committed"])
      yield* Scope.close(scope, Exit.void)
    }).pipe(Effect.provide(database))
  )

  it.effect("says what it could not store, and stores it the next time", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { commit } = yield* Store.Store
      yield* sql`ALTER TABLE blaze_handled RENAME TO elsewhere`
      const failing = yield* Effect.forkChild(commit(handled([id(1)])))
      yield* BlazeTest.pass("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(failing), ["Unstored"])
      assert.lengthOf(
        all.filter((line) => line.includes("cannot be written; what was handled meanwhile is not acknowledged")),
        1
      )
      yield* sql`ALTER TABLE elsewhere RENAME TO blaze_handled`
      assert.deepStrictEqual(yield* commit(handled([id(1)])), ["Committed"])
    }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(database), Layer.provideMerge(layer))))
  })

  it.effect("that cannot be opened fails the bot, in one sentence", () =>
    Effect.gen(function* () {
      const broken = database.pipe(
        Layer.tap((context) => Context.get(context, SqlClient.SqlClient)`CREATE TABLE blaze_handled (it TEXT)`)
      )
      const error = yield* Effect.flip(Layer.build(sqlStore.pipe(Layer.provide(broken))))
      assert.match(String(error), /The option cannot be used: the store must be a database that can be read/)
    }).pipe(Effect.scoped)
  )
})

describe("a bot with a store in a database", () => {
  const texts = (heard: Array<string>, handle: (text: string) => Effect.Effect<unknown> = () => Effect.void) =>
    Bot.run(({ message }) => {
      assert(Message.isText(message))
      heard.push(message.text)
      return handle(message.text)
    })

  it.effect("handles nothing twice that it has handled, though no acknowledgement has left", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      const { pending } = yield* BlazeTest.Account
      for (let n = 0; n < 20; n++) yield* alice.say(String(n))
      // The process ends before the second has passed after which acknowledgements leave, and cannot flush them.
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(texts(heard))
          yield* BlazeTest.settle
        })
      ).pipe(Effect.provide(Settings.layer({ flushTimeout: 0, acknowledgeWithin: "1 minute" })))
      assert.strictEqual(heard.length, 20)
      yield* life(Effect.andThen(Effect.forkChild(texts(heard)), BlazeTest.pass("2 seconds")))
      assert.strictEqual(heard.length, 20)
      assert.deepStrictEqual(yield* pending, [])
    }).pipe(Effect.provide(world))
  )

  it.effect("begins with no message before what became of the one before it is stored", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      const gate = yield* Deferred.make<void>()
      const slow = Layer.effect(
        Store.Store,
        Effect.map(Store.Store, (store) => ({
          ...store,
          commit: (changes: ReadonlyArray<Store.Change>) => Effect.andThen(Deferred.await(gate), store.commit(changes))
        }))
      ).pipe(Layer.provide(SqlStore.layer))
      yield* Effect.gen(function* () {
        const { drain } = yield* Blaze.Blaze
        yield* Effect.forkChild(texts(heard))
        yield* alice.say("one")
        yield* alice.say("two")
        yield* BlazeTest.pass("5 seconds")
        assert.deepStrictEqual(heard, ["one"])
        assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
        // Nor is it done before that.
        const draining = yield* Effect.forkChild(drain)
        yield* BlazeTest.settle
        assert.isUndefined(draining.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("2 seconds")
        assert.isDefined(draining.pollUnsafe())
        assert.deepStrictEqual((yield* BlazeTest.acknowledged).length, 1)
      }).pipe(Effect.provide(clientWith({ store: slow })))
    }).pipe(Effect.provide(world))
  )

  it.effect("offers again what an earlier process has put aside, when it was to be, and so often", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(texts(heard, () => Effect.succeed(Delivery.Defer)))
          yield* BlazeTest.pass("20 minutes")
        })
      )
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(texts(heard))
          yield* BlazeTest.pass("39 minutes")
          assert.deepStrictEqual(heard, ["one"])
          yield* BlazeTest.pass("2 minutes")
        })
      )
      assert.deepStrictEqual(heard, ["one", "one"])
      assert.strictEqual(yield* countOf("blaze_deferred"), 0)
    }).pipe(Effect.provide(world))
  )

  it.effect("acknowledges nothing that could not be stored, and handles it again once it can", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      const { pending } = yield* BlazeTest.Account
      const sql = yield* SqlClient.SqlClient
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(texts(heard))
          yield* BlazeTest.settle
          yield* sql`ALTER TABLE blaze_handled RENAME TO elsewhere`
          const id = yield* alice.say("one")
          yield* BlazeTest.pass("1 minute")
          assert.deepStrictEqual(yield* pending, [id])
          assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
          yield* sql`ALTER TABLE elsewhere RENAME TO blaze_handled`
          yield* BlazeTest.pass("30 minutes")
          assert.deepStrictEqual(yield* pending, [])
        })
      )
      assert.isAbove(heard.length, 1)
    }).pipe(Effect.provide(world), Effect.provide(Logger.layer([])))
  )

  it.effect("leaves what another process has taken over to that, and says so", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(texts(heard))
          yield* BlazeTest.settle
          const { userId } = yield* BlazeTest.Account
          yield* Layer.build(Layer.fresh(sqlStoreOf(userId)))
          yield* alice.say("one")
          yield* BlazeTest.pass("10 minutes")
        })
      )
      assert.deepStrictEqual(heard, ["one"])
      assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
      assert.lengthOf(
        all.filter((line) => line.includes("These messages belong to another process")),
        1
      )
    }).pipe(Effect.scoped, Effect.provide(world), Effect.provide(layer))
  })

  it.effect("has its own tables beside those of the program, in one file", () =>
    Effect.gen(function* () {
      const filename = join(mkdtempSync(join(tmpdir(), "sqlite-")), "bot.sqlite")
      const count = yield* opened(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { commit } = yield* Store.Store
          yield* sql`CREATE TABLE orders (id TEXT)`
          yield* commit(handled([id(1)]))
          return yield* countOf("orders")
        })
      ).pipe(Effect.provide(NodeSqlite.layer({ filename })))
      assert.strictEqual(count, 0)
    })
  )
})
