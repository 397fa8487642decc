/**
 * The tables of bots in a database.
 *
 * Guarantee: they are there, whoever else makes them at the same time.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import * as SqlClaims from "./SqlClaims.ts"
import * as SqlDeferred from "./SqlDeferred.ts"
import * as SqlGroups from "./SqlGroups.ts"
import * as SqlOutbox from "./SqlOutbox.ts"
import * as SqlOwner from "./SqlOwner.ts"
import * as SqlStates from "./SqlStates.ts"

/** A number that nobody else is likely to lock. */
const lock = 7_308_604_896_152_313

/**
 * Makes the tables where there are none. PostgreSQL takes two at the same time for a conflict, whatever `IF NOT EXISTS` says.
 *
 * @category tables
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient) =>
  sql.withTransaction(
    Effect.all(
      [
        sql.onDialectOrElse({ pg: () => sql`SELECT pg_advisory_xact_lock(${lock})`, orElse: () => Effect.void }),
        SqlOwner.makeTable(sql),
        SqlGroups.makeTable(sql),
        SqlClaims.makeTable(sql),
        SqlDeferred.makeTable(sql),
        SqlStates.makeTable(sql),
        SqlOutbox.makeTable(sql)
      ],
      { discard: true }
    )
  )
