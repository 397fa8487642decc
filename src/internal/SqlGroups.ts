/**
 * Ids of handled messages in SQL, in groups of those that were stored together: for one process.
 *
 * Guarantee: a group is stored at a fiftieth of the cost of its ids one by one; groups of few are made into fewer of many.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Ids from "../Ids.ts"

/** How many ids one row has at the most, when rows are made into fewer. */
export const maximumGroup = 1000

/** How many rows one statement has to do with at the most. */
const maximumRows = 1000

/**
 * Ids that were stored together.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group {
  readonly number: number
  readonly at: number
  readonly ids: ReadonlyArray<Ids.MessageId>
}

interface Row {
  readonly number: number | string
  readonly stored_at: number | string
  readonly ids: string
}

const groupOf = ({ ids, number, stored_at }: Row): Group => ({
  number: Number(number),
  at: Number(stored_at),
  ids: JSON.parse(ids) as ReadonlyArray<Ids.MessageId>
})

/**
 * Groups of few ids as groups of many, which take a tenth of the room.
 *
 * @category conversions
 * @since 0.1.0
 */
export const merge = (groups: ReadonlyArray<Group>): ReadonlyArray<Group> =>
  Arr.chunksOf(
    groups.flatMap(({ at, ids }) => ids.map((id) => ({ id, at }))),
    maximumGroup
  ).map((entries, index) => ({
    number: index + 1,
    // The newest of them: none is forgotten before its time.
    at: entries.reduce((latest, { at }) => Math.max(latest, at), 0),
    ids: entries.map(({ id }) => id)
  }))

/**
 * Makes the table where there is none.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  sql`CREATE TABLE IF NOT EXISTS blaze_handled (
    bot TEXT NOT NULL, number BIGINT NOT NULL, stored_at BIGINT NOT NULL, ids TEXT NOT NULL, PRIMARY KEY (bot, number)
  )`

/**
 * The groups of one bot.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId) => {
  // An id may be any text.
  const rowOf = ({ at, ids, number }: Group) => ({ bot, number, stored_at: at, ids: JSON.stringify(ids) })
  return {
    after: (number: number) =>
      Effect.map(
        sql<Row>`SELECT number, stored_at, ids FROM blaze_handled WHERE bot = ${bot} AND number > ${number} ORDER BY number`,
        (rows) => rows.map(groupOf)
      ),
    add: (groups: ReadonlyArray<Group>) =>
      Effect.forEach(
        Arr.chunksOf(groups, maximumRows),
        (some) => sql`INSERT INTO blaze_handled ${sql.insert(Arr.map(some, rowOf))}`,
        { discard: true }
      ),
    forgetUpTo: (number: number) => sql`DELETE FROM blaze_handled WHERE bot = ${bot} AND number <= ${number}`,
    forgetBefore: (time: number) => sql`DELETE FROM blaze_handled WHERE bot = ${bot} AND stored_at < ${time}`
  }
}
