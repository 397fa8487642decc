/**
 * A client for SQLite over the one that is built into Node.
 *
 * Guarantee: what a transaction has committed is on the disk, also when the power goes; one statement or transaction at a time; the file is
 * closed with the scope, and an error says of what kind it is.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"

/** How many statements are kept prepared. */
const maximumPrepared = 200

/** How long another connection may hold the file, in milliseconds: nothing else happens in this process meanwhile. */
const busyTimeout = 500

// node:sqlite writes errcode where effect reads errno.
const failure = (operation: string) => (cause: unknown) =>
  new SqlError.SqlError({
    reason: SqlError.classifySqliteError(
      cause instanceof Error && "errcode" in cause ? Object.assign(cause, { errno: cause.errcode }) : cause,
      { message: `SQLite could not ${operation}`, operation }
    )
  })

const valueOf = (value: unknown): SQLInputValue => {
  if (typeof value === "boolean") return Number(value)
  return value instanceof Date ? value.toISOString() : (value as SQLInputValue)
}

/** Of any form, as effect has them. */
type Rows = Effect.Success<ReturnType<SqlConnection.Connection["execute"]>>

const makeConnection = (database: DatabaseSync): SqlConnection.Connection => {
  const prepared = new Map<string, StatementSync>()
  const prepare = (sql: string) => {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    if (prepared.size >= maximumPrepared) prepared.clear()
    const statement = database.prepare(sql)
    prepared.set(sql, statement)
    return statement
  }

  const run = (sql: string, params: ReadonlyArray<unknown>, how: "rows" | "values" | "raw") =>
    Effect.withFiber<Rows, SqlError.SqlError>(({ context }) =>
      Effect.try({
        try: () => {
          const statement = prepare(sql)
          statement.setReadBigInts(Context.get(context, SqlClient.SafeIntegers))
          statement.setReturnArrays(how === "values")
          const values = params.map(valueOf)
          if (statement.columns().length > 0) return statement.all(...values)
          const result = statement.run(...values)
          return how === "raw" ? [result] : []
        },
        catch: failure("execute")
      })
    )

  const execute: SqlConnection.Connection["execute"] = (sql, params, transform) =>
    transform === undefined ? run(sql, params, "rows") : Effect.map(run(sql, params, "rows"), transform)
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) => run(sql, params, "raw"),
    executeValues: (sql, params) => run(sql, params, "values"),
    executeValuesUnprepared: (sql, params) => run(sql, params, "values"),
    // The rows are there at once, as those of any other statement.
    executeStream: (sql, params, transform) => Stream.fromIterableEffect(execute(sql, params, transform))
  }
}

/**
 * How a file is opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The path of the file, which is made where there is none; `:memory:` for none at all. */
  readonly filename: string
}

/**
 * Opens a file. A write-ahead log lies beside it while it is open, and is part of it: `VACUUM INTO` makes a copy of both.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* ({ filename }: Options) {
  const database = yield* Effect.acquireRelease(
    Effect.try({
      try: () => {
        // For whoever opens a file, and nobody else: it warns that it is new.
        const { DatabaseSync } = process.getBuiltinModule("node:sqlite")
        const opened = new DatabaseSync(filename, { timeout: busyTimeout })
        // NORMAL would forget the last transactions when the power goes, and what was acknowledged does not come back.
        opened.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        return opened
      },
      catch: failure("open the file")
    }),
    (opened) => Effect.sync(() => opened.close())
  )
  const connection = makeConnection(database)
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: yield* Semaphore.make(1),
    isTransaction: () => database.isTransaction
  })
  return yield* SqlClient.make({
    ...acquirers,
    driver: "node-sqlite",
    compiler: Statement.makeCompilerSqlite(),
    // One that would write later could find another's writes in its way.
    beginTransaction: "BEGIN IMMEDIATE",
    prepareTransactionControls: true,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [["db.system.name", "sqlite"]]
  })
})

/**
 * A client for a file.
 *
 * **Example** (A table of one's own beside the bot)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { NodeSqlite } from "effect-blaze/node"
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`CREATE TABLE prices (coin TEXT PRIMARY KEY, usd REAL NOT NULL)`
 *   yield* sql`INSERT INTO prices ${sql.insert({ coin: "BTC", usd: 97_000 })}`
 *   const [price] = yield* sql<{ usd: number }>`SELECT usd FROM prices WHERE coin = ${"BTC"}`
 *   console.assert(price?.usd === 97_000)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(NodeSqlite.layer({ filename: ":memory:" }))))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(options)).pipe(Layer.provide(Reactivity.layer))
