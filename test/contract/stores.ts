// What tests of stores have in common.
import { Effect } from "effect"
import { Ids, Store } from "effect-blaze"
import { SqlClient } from "effect/sql"

/** The id of the nth message. */
export const id = (n: number) => Ids.MessageId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)

export const handled = (some: ReadonlyArray<Ids.MessageId>) =>
  some.map((id) => ({ id, outcome: Store.Handled, writes: [] }))

export const unsent = (n: number): Store.Unsent => ({
  id: id(n),
  to: { conversation: Ids.ConversationId.make(id(0)) },
  content: "{}",
  storedAt: 0,
  way: "Alone"
})

/** How many rows a table has. */
export const countOf = (table: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql<{ n: number | string }>`SELECT count(*) AS n FROM ${sql(table)}`, ([row]) => Number(row!.n))
  )
