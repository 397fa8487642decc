/**
 * Messages that wait to be sent, in SQL: SQLite or PostgreSQL.
 *
 * Guarantee: what was stored waits until it is said what became of it; what became of an announcement, and of what was refused, is kept for
 * as long as ids are.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type * as Ids from "../Ids.ts"
import * as SqlSweep from "./SqlSweep.ts"
import type * as Unsent from "./Unsent.ts"

/** How many rows one statement has to do with at the most. */
const maximumRows = 1000

interface Row {
  readonly id: string
  readonly number: number | string
  readonly way: Unsent.Unsent["way"]
  readonly recipient: string | null
  readonly conversation: string | null
  readonly content: string | null
  readonly same_as: number | string | null
  readonly stored_at: number | string
}

/**
 * Makes the table where there is none. A content that many have is in the row of the first of them, whose number the others name.
 *
 * @category tables
 * @since 0.1.0
 */
export const makeTable = (sql: SqlClient.SqlClient) =>
  Effect.all(
    [
      sql`CREATE TABLE IF NOT EXISTS blaze_outbox (
        bot TEXT NOT NULL, id TEXT NOT NULL, number BIGINT NOT NULL, way TEXT NOT NULL, in_batches BIGINT NOT NULL, recipient TEXT,
        conversation TEXT, content TEXT, same_as BIGINT, stored_at BIGINT NOT NULL, done_at BIGINT, problem TEXT, PRIMARY KEY (bot, id)
      )`,
      sql`CREATE TABLE IF NOT EXISTS blaze_outbox_last (bot TEXT NOT NULL PRIMARY KEY, number BIGINT NOT NULL)`,
      sql`CREATE UNIQUE INDEX IF NOT EXISTS blaze_outbox_number ON blaze_outbox (bot, number)`,
      sql`CREATE INDEX IF NOT EXISTS blaze_outbox_waiting ON blaze_outbox (bot, in_batches, number) WHERE done_at IS NULL`
    ],
    { discard: true }
  )

const isAlone = ({ way }: Pick<Unsent.Unsent, "way">) => way === "Alone"
const idOf = ({ id }: { readonly id: Ids.MessageId }) => id

/** So that what is sent to very many is stored once for those that are stored together. */
const rowsOf = (bot: Ids.UserId, messages: ReadonlyArray<Unsent.Unsent>, last: number) => {
  const holders = new Map<string, number>()
  return messages.map(({ content, id, storedAt, to, way }, index) => {
    const number = last + 1 + index
    const holder = way === "Alone" ? undefined : holders.get(content)
    if (way !== "Alone" && holder === undefined) holders.set(content, number)
    return {
      bot,
      id,
      number,
      way,
      in_batches: way === "Alone" ? 0 : 1,
      recipient: "user" in to ? to.user : null,
      conversation: "user" in to ? null : to.conversation,
      content: holder === undefined ? content : null,
      same_as: holder ?? null,
      stored_at: storedAt
    }
  })
}

/** Writes what became of messages, and tells of how many that was not known. */
const makeComplete = (sql: SqlClient.SqlClient, bot: Ids.UserId) =>
  Effect.fnUntraced(function* (results: ReadonlyArray<Unsent.Sent>, at: number) {
    const isWaiting = sql`bot = ${bot} AND done_at IS NULL`
    const taken = results.filter(({ problem }) => problem === undefined)
    let completed = 0
    for (const some of Arr.chunksOf(taken.filter(isAlone), maximumRows)) {
      const gone =
        yield* sql`DELETE FROM blaze_outbox WHERE ${isWaiting} AND ${sql.in("id", some.map(idOf))} RETURNING id`
      completed += gone.length
    }
    for (const some of Arr.chunksOf(
      taken.filter((sent) => !isAlone(sent)),
      maximumRows
    )) {
      const done = yield* sql`UPDATE blaze_outbox SET done_at = ${at}
        WHERE ${isWaiting} AND ${sql.in("id", some.map(idOf))} RETURNING id`
      completed += done.length
    }
    for (const { id, problem } of results) {
      if (problem === undefined) continue
      const refused = yield* sql`UPDATE blaze_outbox SET done_at = ${at}, problem = ${problem}
        WHERE ${isWaiting} AND id = ${id} RETURNING id`
      completed += refused.length
    }
    return completed
  })

/** Takes out what has been done for long. */
const makeForget = (sql: SqlClient.SqlClient, bot: Ids.UserId, age: number) =>
  SqlSweep.make(
    (at, maximum) => sql`DELETE FROM blaze_outbox WHERE bot = ${bot} AND number IN (
      SELECT number FROM (
        SELECT number, done_at, stored_at FROM blaze_outbox WHERE bot = ${bot} ORDER BY number LIMIT ${maximum}
      ) AS oldest WHERE done_at IS NOT NULL AND (stored_at < ${at - age} OR stored_at > ${at + age})
    ) RETURNING number`
  )

const makeReads = (sql: SqlClient.SqlClient, bot: Ids.UserId) => {
  const contentsOf = (rows: ReadonlyArray<Row>) => {
    const numbers = Arr.dedupe(rows.flatMap(({ same_as }) => (same_as === null ? [] : [Number(same_as)])))
    return numbers.length === 0
      ? Effect.succeed(new Map<number, string | null>())
      : Effect.map(
          sql<Pick<Row, "number" | "content">>`SELECT number, content FROM blaze_outbox
            WHERE bot = ${bot} AND ${sql.in("number", numbers)}`,
          (found) => new Map(found.map(({ content, number }) => [Number(number), content]))
        )
  }

  return {
    next: Effect.fnUntraced(function* (inBatches: boolean, after: number, maximum: number) {
      const rows =
        yield* sql<Row>`SELECT id, number, way, recipient, conversation, content, same_as, stored_at FROM blaze_outbox
        WHERE bot = ${bot} AND in_batches = ${inBatches ? 1 : 0} AND done_at IS NULL AND number > ${after}
        ORDER BY number LIMIT ${maximum}`
      const contents = yield* contentsOf(rows)
      return rows.map(({ content, conversation, id, number, recipient, same_as, stored_at, way }): Unsent.Waiting => ({
        id: id as Ids.MessageId,
        number: Number(number),
        way,
        to:
          recipient === null ? { conversation: conversation as Ids.ConversationId } : { user: recipient as Ids.UserId },
        content: content ?? contents.get(Number(same_as)) ?? "",
        storedAt: Number(stored_at)
      }))
    }),
    results: Effect.fnUntraced(function* (ids: ReadonlyArray<Ids.MessageId>) {
      const found = new Map<string, Unsent.Known>()
      for (const some of Arr.chunksOf(ids, maximumRows)) {
        const rows = yield* sql<{ id: string; done_at: number | string | null; problem: string | null }>`
          SELECT id, done_at, problem FROM blaze_outbox WHERE bot = ${bot} AND ${sql.in("id", some)}`
        for (const { done_at, id, problem } of rows) {
          found.set(id, done_at === null ? "Waiting" : { problem: problem ?? undefined })
        }
      }
      return ids.map((id) => found.get(id))
    })
  }
}

/**
 * Where numbers come from that are not this process's alone.
 *
 * @category models
 * @since 0.1.0
 */
export type Numbers = Pick<ReturnType<typeof makeNumbers>, "take">

/**
 * Numbers that several processes give, each once, in the order in which their transactions end: a lower one than has been seen never comes
 * later. `begin` is for whoever takes the messages over from one process.
 *
 * @category numbers
 * @since 0.1.0
 */
export const makeNumbers = (sql: SqlClient.SqlClient, bot: Ids.UserId) => ({
  begin: sql`INSERT INTO blaze_outbox_last (bot, number)
    SELECT ${bot}, coalesce(max(number), 0) FROM blaze_outbox WHERE bot = ${bot}
    ON CONFLICT (bot) DO UPDATE SET number = CASE WHEN excluded.number > blaze_outbox_last.number
      THEN excluded.number ELSE blaze_outbox_last.number END`,
  take: (count: number) =>
    Effect.map(
      sql<{
        number: number | string
      }>`UPDATE blaze_outbox_last SET number = number + ${count} WHERE bot = ${bot} RETURNING number`,
      ([row]) => Number(row?.number ?? count) - count
    )
})

/**
 * The messages of one bot. What is added and completed is so within a transaction of who asks; what these give is to be called after it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sql: SqlClient.SqlClient, bot: Ids.UserId, age: number, numbers?: Numbers) => {
  let size = 0
  let last = 0
  const complete = makeComplete(sql, bot)

  const outbox = {
    isLasting: true,
    size: () => size,
    hasRoom: () => true,
    /** Reads how many wait, and which number was the last. */
    refresh: Effect.gen(function* () {
      // Of what is done there may be very much: both are read from an index.
      const [row] = yield* sql<{ last: number | string | null; size: number | string }>`SELECT
        (SELECT max(number) FROM blaze_outbox WHERE bot = ${bot}) AS last,
        (SELECT count(*) FROM blaze_outbox WHERE bot = ${bot} AND in_batches IN (0, 1) AND done_at IS NULL) AS size`
      // What was sent by itself is no longer there, and its number is not given again: it has been passed.
      last = Math.max(last, Number(row?.last ?? 0))
      size = Number(row?.size ?? 0)
    }),
    add: Effect.fnUntraced(function* (
      messages: ReadonlyArray<Unsent.Unsent>
    ): Effect.fn.Return<() => void, SqlError.SqlError> {
      const known = new Set<string>()
      for (const some of Arr.chunksOf(messages, maximumRows)) {
        const rows = yield* sql<Pick<Row, "id">>`SELECT id FROM blaze_outbox
          WHERE bot = ${bot} AND ${sql.in("id", some.map(idOf))}`
        for (const { id } of rows) known.add(id)
      }
      const fresh = messages.filter(({ id }) => {
        const isFresh = !known.has(id)
        known.add(id)
        return isFresh
      })
      if (fresh.length === 0) return () => {}
      const first = numbers === undefined ? last : yield* numbers.take(fresh.length)
      for (const rows of Arr.chunksOf(rowsOf(bot, fresh, first), maximumRows)) {
        yield* sql`INSERT INTO blaze_outbox ${sql.insert(rows)}`
      }
      return () => {
        last = first + fresh.length
        size += fresh.length
      }
    }),
    complete: Effect.fnUntraced(function* (results: ReadonlyArray<Unsent.Sent>, at: number) {
      const completed = yield* complete(results, at)
      return () => {
        size -= completed
      }
    }),
    forget: makeForget(sql, bot, age),
    ...makeReads(sql, bot)
  }
  return {
    ...outbox,
    /** What is in changes of what is to be sent; gives what is to be called after the transaction. */
    post: Effect.fnUntraced(function* (
      changes: ReadonlyArray<{
        readonly unsent?: ReadonlyArray<Unsent.Unsent>
        readonly sent?: ReadonlyArray<Unsent.Sent>
      }>,
      at: number
    ): Effect.fn.Return<ReadonlyArray<() => void>, SqlError.SqlError> {
      const unsent = changes.flatMap((change) => change.unsent ?? [])
      const sent = changes.flatMap((change) => change.sent ?? [])
      if (unsent.length === 0 && sent.length === 0) return []
      yield* outbox.forget(at)
      return [yield* outbox.add(unsent), yield* outbox.complete(sent, at)]
    })
  }
}
