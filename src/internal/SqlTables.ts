/**
 * The tables of bots in a database, and what one bot has in them.
 *
 * Guarantee: they are there, whoever else makes them at the same time; one process alone and several do the same with them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type * as Changes from "./Changes.ts"
import type * as Ids from "../Ids.ts"
import * as SqlClaims from "./SqlClaims.ts"
import * as SqlDeferred from "./SqlDeferred.ts"
import * as SqlGroups from "./SqlGroups.ts"
import * as SqlOutbox from "./SqlOutbox.ts"
import * as SqlOwner from "./SqlOwner.ts"
import * as SqlStates from "./SqlStates.ts"
import type * as Store from "../Store.ts"

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

/**
 * What one bot has in them. `owner` is who has taken them; who shares them gives the numbers of what waits to be sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (
  sql: SqlClient.SqlClient,
  bot: Ids.UserId,
  owner: string,
  age: number,
  numbers?: SqlOutbox.Numbers
) => ({
  owner: SqlOwner.make(sql, bot, owner),
  groups: SqlGroups.make(sql, bot),
  claims: SqlClaims.make(sql, bot, age),
  deferred: SqlDeferred.make(sql, bot),
  states: SqlStates.make(sql, bot),
  outbox: SqlOutbox.make(sql, bot, age, numbers)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Parts = ReturnType<typeof of>

/**
 * What a store does with values and with what waits to be sent, by how it has changes stored.
 *
 * @category constructors
 * @since 0.1.0
 */
export const operations = (
  { outbox, states }: Pick<Parts, "outbox" | "states">,
  commit: (changes: ReadonlyArray<Changes.Change>) => Effect.Effect<ReadonlyArray<Store.Claim>>
): { readonly states: Store.States<SqlError.SqlError>; readonly outbox: Store.Outbox<SqlError.SqlError> } => {
  const claimed = (change: Changes.Change) =>
    Effect.map(commit([change]), ([claim]): Store.Claim => claim ?? "Unstored")
  return {
    states: {
      read: states.read,
      due: states.due,
      write: (write) => claimed({ writes: [write] })
    },
    outbox: {
      ...outbox,
      add: (unsent) => claimed({ writes: [], unsent }),
      complete: (sent) => claimed({ writes: [], sent })
    }
  }
}
