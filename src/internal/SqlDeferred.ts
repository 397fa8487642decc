/**
 * What is put aside, in SQL.
 *
 * Guarantee: what was put aside last is what counts.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Ids from "../Ids.ts"
import type * as Store from "../Store.ts"

/** How many rows one statement has to do with at the most. */
const maximumRows = 1000

interface Row {
  readonly id: Ids.MessageId
  readonly tries: number | string
  readonly until_at: number | string
  readonly after_millis: number | string | null
}

/**
 * Makes the table where there is none.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  sql`CREATE TABLE IF NOT EXISTS blaze_deferred (
    bot TEXT NOT NULL, id TEXT NOT NULL, tries BIGINT NOT NULL, until_at BIGINT NOT NULL, after_millis BIGINT,
    stored_at BIGINT NOT NULL, PRIMARY KEY (bot, id)
  )`

/**
 * What one bot has put aside.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId) => ({
  all: Effect.map(sql<Row>`SELECT id, tries, until_at, after_millis FROM blaze_deferred WHERE bot = ${bot}`, (rows) =>
    rows.map(({ after_millis, id, tries, until_at }): readonly [Ids.MessageId, Store.Deferred] => [
      id,
      {
        _tag: "Deferred",
        tries: Number(tries),
        until: Number(until_at),
        ...(after_millis === null ? {} : { after: Number(after_millis) })
      }
    ])
  ),
  put: (entries: ReadonlyArray<readonly [Ids.MessageId, Store.Deferred]>, at: number) =>
    Effect.forEach(
      Arr.chunksOf(entries, maximumRows),
      (some) =>
        sql`INSERT INTO blaze_deferred ${sql.insert(
          Arr.map(some, ([id, { after, tries, until }]) => ({
            bot,
            id,
            tries,
            until_at: Math.floor(until),
            after_millis: after === undefined ? null : Math.floor(after),
            stored_at: at
          }))
        )} ON CONFLICT (bot, id) DO UPDATE SET tries = excluded.tries, until_at = excluded.until_at, after_millis = excluded.after_millis, stored_at = excluded.stored_at`,
      { discard: true }
    ),
  settle: (ids: ReadonlyArray<Ids.MessageId>) =>
    Effect.forEach(
      Arr.chunksOf(ids, maximumRows),
      (some) => sql`DELETE FROM blaze_deferred WHERE bot = ${bot} AND ${sql.in("id", some)}`,
      { discard: true }
    ),
  forgetBefore: (time: number) => sql`DELETE FROM blaze_deferred WHERE bot = ${bot} AND stored_at < ${time}`
})
