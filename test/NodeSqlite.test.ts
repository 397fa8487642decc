// The client for SQLite, as a database should behave.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { NodeSqlite } from "effect-blaze/node"
import { SqlClient, type SqlError } from "effect/sql"
import { existsSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const inMemory = NodeSqlite.layer({ filename: ":memory:" })
const file = () => join(mkdtempSync(join(tmpdir(), "sqlite-")), "bot.sqlite")

const items = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL CHECK (price > 0))`
  return {
    sql,
    add: (name: string, price = 1) => sql`INSERT INTO items ${sql.insert({ name, price })}`,
    names: Effect.map(sql<{ name: string }>`SELECT name FROM items ORDER BY id`, (rows) => rows.map(({ name }) => name))
  }
})

const reasonOf = <A, R>(effect: Effect.Effect<A, SqlError.SqlError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

describe("NodeSqlite", () => {
  it.effect("gives rows, values, what was written, and a stream of rows", () =>
    Effect.gen(function* () {
      const { add, names, sql } = yield* items
      assert.deepStrictEqual(yield* add("tea"), [])
      yield* add("cake")
      assert.deepStrictEqual(yield* names, ["tea", "cake"])
      assert.deepStrictEqual(yield* sql`SELECT id, name FROM items ORDER BY id`.values, [
        [1, "tea"],
        [2, "cake"]
      ])
      const streamed = yield* Stream.runCollect(sql<{ name: string }>`SELECT name FROM items`.stream)
      assert.strictEqual(streamed.length, 2)
      const raw = (yield* sql`DELETE FROM items`.raw) as ReadonlyArray<{ readonly changes: number }>
      assert.deepInclude(raw[0], { changes: 2 })
      const returned = yield* sql<{ id: number }>`INSERT INTO items ${sql.insert({ name: "x", price: 1 })} RETURNING id`
      assert.strictEqual(returned.length, 1)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("takes booleans, dates, bytes and nothing, and gives whole numbers of any size where that is asked", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const date = new Date(0)
      const bytes = Uint8Array.of(1, 2)
      const [row] = yield* sql`SELECT ${true} AS yes, ${date} AS date, ${bytes} AS bytes, ${null} AS missing`
      assert.deepStrictEqual({ ...row }, { yes: 1, date: date.toISOString(), bytes, missing: null })
      const large = 2n ** 60n
      const [read] = yield* sql<{ n: bigint }>`SELECT ${large} AS n`.pipe(
        Effect.provideService(SqlClient.SafeIntegers, true)
      )
      assert.strictEqual(read?.n, large)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("stores a transaction whole or not at all, also one within another", () =>
    Effect.gen(function* () {
      const { add, names, sql } = yield* items
      yield* Effect.exit(sql.withTransaction(Effect.andThen(add("one"), Effect.die("the power is gone"))))
      assert.deepStrictEqual(yield* names, [])
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* add("two")
          yield* Effect.ignore(sql.withTransaction(Effect.andThen(add("three"), Effect.fail("no"))))
          yield* sql.withTransaction(add("four"))
        })
      )
      assert.deepStrictEqual(yield* names, ["two", "four"])
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("lets nothing into a transaction that is not its own", () =>
    Effect.gen(function* () {
      const { add, names, sql } = yield* items
      const failing = yield* Effect.forkChild(
        Effect.exit(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* add("one")
              yield* Effect.yieldNow
              yield* Effect.yieldNow
              return yield* Effect.fail("no")
            })
          )
        ),
        { startImmediately: true }
      )
      yield* add("two")
      yield* Fiber.join(failing)
      assert.deepStrictEqual(yield* names, ["two"])
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("says of what kind an error is", () =>
    Effect.gen(function* () {
      const { add, sql } = yield* items
      yield* add("tea")
      assert.strictEqual(yield* reasonOf(add("tea")), "UniqueViolation")
      assert.strictEqual(yield* reasonOf(add("cake", -1)), "ConstraintError")
      // Effect has no kind for what SQLite calls a logic error.
      assert.strictEqual(yield* reasonOf(sql`SELECT * FROM ${sql("no such table")}`), "UnknownError")
      const path = join(tmpdir(), "no such directory", "bot.sqlite")
      assert.strictEqual(yield* reasonOf(Layer.build(NodeSqlite.layer({ filename: path }))), "ConnectionError")
    }).pipe(Effect.scoped, Effect.provide(inMemory))
  )

  it.effect("has what was committed on the disk, and closes the file with its scope", () =>
    Effect.gen(function* () {
      const filename = file()
      const opened = NodeSqlite.layer({ filename })
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(opened, scope)
      yield* Effect.provideContext(
        Effect.gen(function* () {
          const { add, sql } = yield* items
          yield* add("tea")
          assert.deepStrictEqual(yield* sql`PRAGMA journal_mode`.values, [["wal"]])
          // FULL: each commit is on the disk before it is told.
          assert.deepStrictEqual(yield* sql`PRAGMA synchronous`.values, [[2]])
        }),
        context
      )
      assert.isTrue(existsSync(`${filename}-wal`))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(existsSync(`${filename}-wal`))
      const names = yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        return yield* sql`SELECT name FROM items`.values
      }).pipe(Effect.provide(opened))
      assert.deepStrictEqual(names, [["tea"]])
    })
  )
})
