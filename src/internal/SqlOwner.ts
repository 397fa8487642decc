/**
 * Who has the tables of a bot.
 *
 * Guarantee: whoever takes them has them, and what one before him still writes is refused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Ids from "../Ids.ts"

/** How long a transaction may stand still, in milliseconds. A statement has less time. */
const idleTimeout = "5000"

/**
 * Makes the table where there is none.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  sql`CREATE TABLE IF NOT EXISTS blaze_owner (bot TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL)`

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId, owner: string) => {
  const row = sql.onDialectOrElse({
    // A process that is cut off in the middle of a transaction must not keep the others from what it has locked.
    pg: () => sql<{
      owner: string
    }>`SELECT owner, set_config('idle_in_transaction_session_timeout', ${idleTimeout}, true)
      FROM blaze_owner WHERE bot = ${bot} FOR SHARE`,
    orElse: () => sql<{ owner: string }>`SELECT owner FROM blaze_owner WHERE bot = ${bot}`
  })
  return {
    /** Whoever writes waits until the transaction in which this is has ended. */
    take: sql`INSERT INTO blaze_owner ${sql.insert({ bot, owner })} ON CONFLICT (bot) DO UPDATE SET owner = excluded.owner`,
    /** Whether it is still so, until the end of the transaction. */
    has: Effect.map(row, ([found]) => found?.owner === owner)
  }
}
