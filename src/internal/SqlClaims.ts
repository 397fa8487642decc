/**
 * Ids of handled messages in SQL, a row for each: for several processes, of which one has what another has not.
 *
 * Guarantee: of all who claim an id one gets it; what one process alone has stored before is known here, and the other way round.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Ids from "../Ids.ts"
import * as SqlSweep from "./SqlSweep.ts"

/** How many rows one statement has to do with at the most. */
const maximumRows = 1000

/**
 * An id that is handled, and when that was stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimed {
  readonly id: Ids.MessageId
  readonly at: number
}

/**
 * Makes the table where there is none.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  Effect.all(
    [
      sql`CREATE TABLE IF NOT EXISTS blaze_claimed (
        bot TEXT NOT NULL, id TEXT NOT NULL, stored_at BIGINT NOT NULL, PRIMARY KEY (bot, id)
      )`,
      sql`CREATE INDEX IF NOT EXISTS blaze_claimed_age ON blaze_claimed (bot, stored_at)`
    ],
    { discard: true }
  )

/**
 * The ids of one bot. What is written is so within a transaction of who asks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId, age: number) => ({
  /** Which of these are handled. */
  of: Effect.fnUntraced(function* (ids: ReadonlyArray<Ids.MessageId>) {
    const found = new Set<Ids.MessageId>()
    for (const some of Arr.chunksOf(ids, maximumRows)) {
      const rows = yield* sql<{
        id: Ids.MessageId
      }>`SELECT id FROM blaze_claimed WHERE bot = ${bot} AND ${sql.in("id", some)}`
      for (const { id } of rows) found.add(id)
    }
    return found
  }),
  /** Claims ids: gives those that nobody had. In one order, so that no two wait for each other. */
  claim: Effect.fnUntraced(function* (ids: ReadonlyArray<Ids.MessageId>, at: number) {
    const claimed = new Set<Ids.MessageId>()
    for (const some of Arr.chunksOf(Arr.dedupe(ids).toSorted(), maximumRows)) {
      const rows = yield* sql<{ id: Ids.MessageId }>`INSERT INTO blaze_claimed ${sql.insert(
        Arr.map(some, (id) => ({ bot, id, stored_at: at }))
      )} ON CONFLICT (bot, id) DO NOTHING RETURNING id`
      for (const { id } of rows) claimed.add(id)
    }
    return claimed
  }),
  /** Gives claims up again. */
  release: Effect.fnUntraced(function* (ids: ReadonlyArray<Ids.MessageId>) {
    for (const some of Arr.chunksOf(ids, maximumRows)) {
      yield* sql`DELETE FROM blaze_claimed WHERE bot = ${bot} AND ${sql.in("id", some)}`
    }
  }),
  /** What was handled elsewhere. */
  add: Effect.fnUntraced(function* (claims: ReadonlyArray<Claimed>) {
    for (const some of Arr.chunksOf(claims, maximumRows)) {
      yield* sql`INSERT INTO blaze_claimed ${sql.insert(
        Arr.map(some, ({ at, id }) => ({ bot, id, stored_at: at }))
      )} ON CONFLICT (bot, id) DO NOTHING`
    }
  }),
  /** Takes out what is older than `age`. */
  forget: SqlSweep.make(
    (at, maximum) => sql`DELETE FROM blaze_claimed WHERE bot = ${bot} AND id IN (
      SELECT id FROM blaze_claimed WHERE bot = ${bot} AND stored_at < ${at - age} ORDER BY stored_at LIMIT ${maximum}
    ) RETURNING id`
  ),
  /** Takes all of them out, oldest first. */
  takeAll: Effect.map(
    sql<{
      id: Ids.MessageId
      stored_at: number | string
    }>`DELETE FROM blaze_claimed WHERE bot = ${bot} RETURNING id, stored_at`,
    (rows): ReadonlyArray<Claimed> =>
      rows.map(({ id, stored_at }) => ({ id, at: Number(stored_at) })).toSorted((one, other) => one.at - other.at)
  )
})
