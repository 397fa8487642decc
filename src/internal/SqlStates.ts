/**
 * What a bot remembers, in SQL: SQLite or PostgreSQL.
 *
 * Guarantee: what is read is what was committed; what has expired is not there, and goes a thousand rows at a time, so that no transaction
 * takes long for it.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type * as Ids from "../Ids.ts"
import type * as Store from "../Store.ts"
import * as SqlSweep from "./SqlSweep.ts"
import * as Writes from "./Writes.ts"

/** How many rows one statement has to do with at the most: each has nine values, and SQLite takes 32 766. */
const maximumRows = 1000

interface Row {
  readonly key: string
  readonly revision: string
  readonly version: number | string
  readonly value: string
  readonly due_at: number | string | null
}

const keptOf = ({ due_at, key, revision, value, version }: Row): Store.Kept => ({
  key,
  revision,
  version: Number(version),
  value,
  dueAt: due_at === null ? undefined : Number(due_at)
})

/**
 * Makes the table where there is none.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  Effect.all(
    [
      sql`CREATE TABLE IF NOT EXISTS blaze_state (
        bot TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, revision TEXT NOT NULL, version BIGINT NOT NULL,
        value TEXT NOT NULL, due_at BIGINT, expires_at BIGINT, stored_at BIGINT NOT NULL, PRIMARY KEY (bot, name, key)
      )`,
      sql`CREATE INDEX IF NOT EXISTS blaze_state_due ON blaze_state (bot, name, due_at) WHERE due_at IS NOT NULL`,
      sql`CREATE INDEX IF NOT EXISTS blaze_state_expires ON blaze_state (bot, expires_at) WHERE expires_at IS NOT NULL`
    ],
    { discard: true }
  )

const byName = <W extends Pick<Store.Write, "name">>(writes: ReadonlyArray<W>) =>
  Object.entries(Arr.groupBy(writes, ({ name }) => name))

/** Takes out what has expired. What another process writes meanwhile is left to the next time: it may not have expired any more. */
const makeExpire = (sql: SqlClient.SqlClient, bot: Ids.UserId) => {
  const unlocked = sql.onDialectOrElse({
    pg: () => sql.literal("FOR UPDATE SKIP LOCKED"),
    orElse: () => sql.literal("")
  })
  return SqlSweep.make(
    (at, maximum) => sql`DELETE FROM blaze_state WHERE bot = ${bot} AND expires_at <= ${at} AND (name, key) IN (
      SELECT name, key FROM blaze_state WHERE bot = ${bot} AND expires_at <= ${at} ORDER BY expires_at LIMIT ${maximum} ${unlocked}
    ) RETURNING key`
  )
}

/**
 * Writes of one bot, each within a transaction of who asks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId) => {
  const expire = makeExpire(sql, bot)

  const set = (
    writes: Arr.NonEmptyReadonlyArray<Writes.Change & { readonly next: NonNullable<Writes.Change["next"]> }>,
    at: number
  ) =>
    sql`INSERT INTO blaze_state ${sql.insert(
      Arr.map(writes, ({ key, name, next, revision }) => ({
        bot,
        name,
        key,
        revision,
        version: next.version,
        value: next.value,
        due_at: next.dueAt ?? null,
        expires_at: next.expiresAt ?? null,
        stored_at: at
      }))
    )} ON CONFLICT (bot, name, key) DO UPDATE SET revision = excluded.revision, version = excluded.version, value = excluded.value, due_at = excluded.due_at, expires_at = excluded.expires_at, stored_at = excluded.stored_at`

  return {
    read: (name: string, key: string): Effect.Effect<Store.Kept | undefined, SqlError.SqlError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.map(
          sql<Row>`SELECT key, revision, version, value, due_at FROM blaze_state
            WHERE bot = ${bot} AND name = ${name} AND key = ${key} AND (expires_at IS NULL OR expires_at > ${now})`,
          ([row]) => (row === undefined ? undefined : keptOf(row))
        )
      ),
    due: (
      name: string,
      by: number,
      maximum: number,
      without: number
    ): Effect.Effect<ReadonlyArray<Store.Kept>, SqlError.SqlError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.map(
          sql<Row>`SELECT key, revision, version, value, due_at FROM blaze_state
            WHERE bot = ${bot} AND name = ${name} AND due_at <= ${by} AND (expires_at IS NULL OR expires_at > ${now})
            ORDER BY due_at, key LIMIT ${maximum} OFFSET ${without}`,
          (rows) => rows.map(keptOf)
        )
      ),
    /** What is there of what shall be written. */
    revisions: Effect.fnUntraced(function* (writes: ReadonlyArray<Store.Write>, now: number) {
      const revisions: Writes.Revisions = new Map()
      for (const [name, ofName] of byName(writes)) {
        const keys = Arr.dedupe(ofName.map(({ key }) => key))
        for (const some of Arr.chunksOf(keys, maximumRows)) {
          const rows = yield* sql<Pick<Row, "key" | "revision">>`SELECT key, revision FROM blaze_state
            WHERE bot = ${bot} AND name = ${name} AND ${sql.in("key", some)} AND (expires_at IS NULL OR expires_at > ${now})`
          for (const { key, revision } of rows) revisions.set(Writes.placeOf({ name, key }), revision)
        }
      }
      return revisions
    }),
    /** Makes writes, no two of one place. */
    apply: Effect.fnUntraced(function* (writes: ReadonlyArray<Writes.Change>, at: number) {
      const kept = writes.flatMap(({ next, ...write }) => (next === undefined ? [] : [{ ...write, next }]))
      for (const some of Arr.chunksOf(kept, maximumRows)) yield* set(some, at)
      for (const [name, gone] of byName(writes.filter(({ next }) => next === undefined))) {
        for (const some of Arr.chunksOf(gone, maximumRows)) {
          const keys = some.map(({ key }) => key)
          yield* sql`DELETE FROM blaze_state WHERE bot = ${bot} AND name = ${name} AND ${sql.in("key", keys)}`
        }
      }
      yield* expire(at)
    })
  }
}
