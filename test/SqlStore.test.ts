// The store in a database: what lasts, when it is written, and who may write.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, Schedule } from "effect"
import { Blaze, Bot, Delivery, Ids, Keyed, Message, Settings, SqlStore, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { SqlClient, SqlError } from "effect/sql"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sqlStoreContract } from "./contract/sqlStore.ts"
import { countOf, handled, id, unsent } from "./contract/stores.ts"
import { clientWith, lines, sqlStore, sqlStoreOf } from "./support.ts"

const database = NodeSqlite.layer({ filename: ":memory:" })
const opened = <A, E>(effect: Effect.Effect<A, E, Store.Store | SqlClient.SqlClient>, store = sqlStore) =>
  Effect.provide(effect, Layer.fresh(store))

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

sqlStoreContract("SQLite", database)

/** A database whose transactions are committed, and end as `problem` says where that says something. */
const lossyDatabase = (problem: () => Effect.Effect<never, SqlError.SqlError> | undefined) =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.map(SqlClient.SqlClient, (sql): SqlClient.SqlClient => {
      const client: SqlClient.SqlClient = new Proxy(sql, {
        get: (target, name): unknown => {
          if (name === "withoutTransforms") return () => client
          if (name !== "withTransaction") return Reflect.get(target, name)
          return <A, E, R>(transaction: Effect.Effect<A, E, R>) =>
            Effect.flatMap(target.withTransaction(transaction), (done) => problem() ?? Effect.succeed(done))
        }
      })
      return client
    })
  ).pipe(Layer.provide(database))

const unheard = Effect.fail(new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: undefined }) }))

describe("a store in a database", () => {
  it.effect("is well again after a transaction whose end was not heard of, and after a client that died", () =>
    Effect.gen(function* () {
      let problem: Effect.Effect<never, SqlError.SqlError> | undefined
      const lossy = lossyDatabase(() => {
        const now = problem
        problem = undefined
        return now
      })
      yield* Effect.gen(function* () {
        const { commit, load, outbox } = yield* Store.Store
        const { add, complete, next: waiting, size } = outbox!
        const one = yield* Effect.forkChild(commit(handled([id(1)])))
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* Fiber.join(one), ["Committed"])
        const problems = [unheard, Effect.die("the connection is gone")]
        for (const [index, each] of problems.entries()) {
          problem = each
          const next = id(2 + index)
          const asked = yield* Effect.forkChild(commit(handled([next])))
          yield* BlazeTest.pass("10 seconds")
          // It had been committed, which is known now.
          assert.deepStrictEqual(yield* Fiber.join(asked), ["Known"])
          assert.deepStrictEqual(yield* load([next]), [Store.Handled])
          problem = each
          const added = yield* Effect.forkChild(add([unsent(10 + index)]))
          yield* BlazeTest.pass("10 seconds")
          assert.strictEqual(yield* Fiber.join(added), "Committed")
        }
        yield* add([unsent(20)])
        assert.deepStrictEqual(
          (yield* waiting(false, 0, 10)).map(({ id }) => id),
          [10, 11, 20].map(id)
        )
        problem = unheard
        const completed = yield* Effect.forkChild(complete([{ id: id(10), way: "Alone", problem: undefined }]))
        yield* BlazeTest.pass("10 seconds")
        assert.strictEqual(yield* Fiber.join(completed), "Committed")
        assert.strictEqual(size(), 2)
        const last = yield* Effect.forkChild(commit(handled([id(2_000_000)])))
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* Fiber.join(last), ["Committed"])
      }).pipe(Effect.provide(sqlStore.pipe(Layer.provide(lossy))))
    })
  )

  for (const isHeardOf of [true, false]) {
    it.effect(
      `forgets nothing whose acknowledgement is not confirmed, ${isHeardOf ? "" : "not "}heard of when it was stored`,
      () =>
        Effect.gen(function* () {
          let isNext = false
          const lossy = lossyDatabase(() => {
            const now = isNext ? unheard : undefined
            isNext = false
            return now
          })
          const settings = Settings.layer({ rememberedMessages: 10 })
          yield* Effect.provide(
            Effect.gen(function* () {
              const { commit, confirm, load } = yield* Store.Store
              isNext = !isHeardOf
              for (let n = 1; n < 30; n++) {
                const asked = yield* Effect.forkChild(commit(handled([id(n)])))
                yield* BlazeTest.pass("10 seconds")
                yield* Fiber.join(asked)
                // That of the first is still on its way.
                if (n > 1) yield* confirm([id(n)])
              }
              assert.deepStrictEqual(yield* load([id(1)]), [Store.Handled])
              yield* confirm([id(1)])
              const asked = yield* Effect.forkChild(commit(handled([id(30)])))
              yield* BlazeTest.pass("10 seconds")
              yield* Fiber.join(asked)
              assert.deepStrictEqual(yield* load([id(1)]), [undefined])
            }),
            Layer.fresh(sqlStore.pipe(Layer.provide(settings), Layer.provide(lossy)))
          )
        }).pipe(Effect.provide(lines().layer))
    )
  }

  it.effect("keeps nothing from being stored for what no database takes that came with it", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const { commit } = yield* Store.Store
      const poison: Store.Write = {
        name: "conversation count",
        key: "a",
        basedOn: undefined,
        revision: "1",
        next: { version: Number.NaN, value: "1", dueAt: undefined, expiresAt: undefined }
      }
      const commits = [1, 2, 3].map((n) =>
        commit([{ id: id(n), outcome: Store.Handled, writes: n === 2 ? [poison] : [] }])
      )
      const asked = yield* Effect.forkChild(Effect.all(commits, { concurrency: "unbounded" }))
      yield* BlazeTest.pass("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(asked), [["Committed"], ["Unstored"], ["Committed"]])
      assert.lengthOf(
        all.filter((line) => line.includes("cannot be written")),
        1
      )
      assert.deepStrictEqual(yield* commit(handled([id(4)])), ["Committed"])
    }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(database), Layer.provideMerge(layer))))
  })

  it.effect("says what it could not store, and stores it the next time", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { commit, outbox } = yield* Store.Store
      yield* outbox!.add([unsent(1)])
      const [first] = yield* outbox!.next(false, 0, 1)
      yield* outbox!.complete([{ id: id(1), way: "Alone", problem: undefined }])
      yield* sql`ALTER TABLE blaze_handled RENAME TO elsewhere`
      const failing = yield* Effect.forkChild(commit(handled([id(1)])))
      yield* BlazeTest.pass("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(failing), ["Unstored"])
      assert.lengthOf(
        all.filter((line) => /cannot be written \(\w+\); what was handled meanwhile is not acknowledged/.test(line)),
        1
      )
      yield* sql`ALTER TABLE elsewhere RENAME TO blaze_handled`
      assert.deepStrictEqual(yield* commit(handled([id(1)])), ["Committed"])
      // Who reads on from what was sent finds what is stored now.
      yield* outbox!.add([unsent(2)])
      assert.lengthOf(yield* outbox!.next(false, first!.number, 1), 1)
    }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(database), Layer.provideMerge(layer))))
  })
})

describe("the file of a store", () => {
  it.live(
    "is no larger after very many messages than after those that are remembered, with states and what was sent",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { commit, confirm, outbox } = yield* Store.Store
        const pages = Effect.map(sql<{ page_count: number }>`PRAGMA page_count`, ([row]) => row!.page_count)
        const sizes: Array<number> = []
        for (let group = 0; group < 400; group++) {
          const ids = Array.from({ length: 500 }, (_, n) => id(group * 500 + n))
          yield* commit(
            ids.map((each, n) => ({
              id: each,
              outcome: Store.Handled,
              writes: [
                {
                  name: "conversation count",
                  key: `${n % 100}`,
                  basedOn: undefined,
                  revision: each,
                  next: { version: 1, value: `${group}`, dueAt: undefined, expiresAt: undefined }
                }
              ]
            }))
          )
          yield* confirm(ids)
          const sent = ids.slice(0, 20).map((each) => ({ id: each, way: "Alone" as const }))
          const to = { conversation: Ids.ConversationId.make(id(0)) }
          yield* outbox!.add(sent.map((each) => ({ ...each, to, content: "x".repeat(500), storedAt: 0 })))
          yield* outbox!.complete(sent.map((each) => ({ ...each, problem: undefined })))
          if (group % 40 === 39) sizes.push(yield* pages)
        }
        // The first 20 000 fill the room that all have.
        assert.isAtMost(sizes.at(-1)!, sizes[1]!)
      }).pipe(
        Effect.provide(sqlStore.pipe(Layer.provideMerge(database))),
        Effect.provide(Settings.layer({ rememberedMessages: 20_000 }))
      )
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

  it.effect("acknowledges nothing that could not be stored, and handles it once, until it can", () =>
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
          yield* BlazeTest.pass("1 hour")
          assert.deepStrictEqual(yield* pending, [id])
          assert.deepStrictEqual(yield* BlazeTest.acknowledged, [])
          yield* sql`ALTER TABLE elsewhere RENAME TO blaze_handled`
          yield* BlazeTest.pass("30 minutes")
          assert.deepStrictEqual(yield* pending, [])
        })
      )
      assert.deepStrictEqual(heard, ["one"])
    }).pipe(Effect.provide(world), Effect.provide(Logger.layer([])))
  )

  it.effect(
    "stores what a handler has deferred before it is offered again, and stops where another process has it",
    () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* life(
          Effect.gen(function* () {
            const running = yield* Effect.forkChild(texts([], () => Effect.succeed(Delivery.Defer)))
            yield* BlazeTest.settle
            const { userId } = yield* BlazeTest.Account
            yield* Layer.build(Layer.fresh(sqlStoreOf(userId)))
            yield* alice.say("one")
            yield* BlazeTest.pass("10 minutes")
            assert.match(String(yield* Effect.flip(Fiber.join(running))), /another one has taken it over/)
          })
        )
      }).pipe(Effect.scoped, Effect.provide(world), Effect.provide(Logger.layer([])))
  )

  it.effect("holds to what was said of a message first, though it is still being stored", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(
            Bot.run((delivery) => {
              heard.push(delivery.message.id)
              return Effect.andThen(
                Effect.forkDetach(delivery.ack, { startImmediately: true }),
                Effect.succeed(Delivery.Defer)
              )
            })
          )
          yield* alice.say("one")
          yield* BlazeTest.pass("2 hours")
        })
      )
      assert.strictEqual(heard.length, 1)
      const { pending } = yield* BlazeTest.Account
      assert.deepStrictEqual(yield* pending, [])
    }).pipe(Effect.provide(world))
  )

  it.effect("leaves what another process has taken over to that, and says so", () => {
    const { all, layer } = lines()
    return Effect.gen(function* () {
      const heard: Array<string> = []
      const alice = yield* BlazeTest.user("alice")
      yield* life(
        Effect.gen(function* () {
          const running = yield* Effect.forkChild(texts(heard))
          yield* BlazeTest.settle
          const { userId } = yield* BlazeTest.Account
          yield* Layer.build(Layer.fresh(sqlStoreOf(userId)))
          yield* alice.say("one")
          yield* BlazeTest.pass("10 minutes")
          // It is of no use any more, and whoever watches over it decides.
          const error = yield* Effect.flip(Fiber.join(running))
          assert.match(String(error), /the store must be this process's alone: another one has taken it over/)
          const { connections } = yield* BlazeTest.Account
          assert.strictEqual(yield* connections, 0)
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
