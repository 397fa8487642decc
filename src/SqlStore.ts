/**
 * What must last of the life of an id, in SQL: SQLite or PostgreSQL.
 *
 * Guarantee: what was handled and stored is not handled again, whatever ends the process; a conversation goes on after what became of its
 * message is on the disk; one process has the store, and what an earlier one tries to write is refused; the tables are bounded.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as BlazeError from "./BlazeError.ts"
import type * as Ids from "./Ids.ts"
import * as SqlOutbox from "./internal/SqlOutbox.ts"
import * as SqlStates from "./internal/SqlStates.ts"
import * as Writes from "./internal/Writes.ts"
import * as Settings from "./Settings.ts"
import * as Signer from "./Signer.ts"
import * as Store from "./Store.ts"

/** How many ids one row has at the most, when rows are made into fewer. */
const maximumGroup = 1000

/** How many rows may be too few ids, in the mean, before they are made into fewer. */
const worthCompacting = 1000

/** How many bound values one statement may have, with room to spare: SQLite takes 32 766 and PostgreSQL 65 535. */
const maximumRows = 1000

/** Ids that were stored together. */
interface Group {
  readonly number: number
  readonly at: number
  readonly ids: ReadonlyArray<Ids.MessageId>
}

// An id may be any text.
const textOf = (ids: ReadonlyArray<Ids.MessageId>) => JSON.stringify(ids)
const idsOf = (text: string) => JSON.parse(text) as ReadonlyArray<Ids.MessageId>

const makeTables = (sql: SqlClient.SqlClient) =>
  Effect.all(
    [
      sql`CREATE TABLE IF NOT EXISTS blaze_owner (bot TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL)`,
      sql`CREATE TABLE IF NOT EXISTS blaze_handled (
        bot TEXT NOT NULL, number BIGINT NOT NULL, stored_at BIGINT NOT NULL, ids TEXT NOT NULL, PRIMARY KEY (bot, number)
      )`,
      sql`CREATE TABLE IF NOT EXISTS blaze_deferred (
        bot TEXT NOT NULL, id TEXT NOT NULL, tries BIGINT NOT NULL, until_at BIGINT NOT NULL, after_millis BIGINT,
        stored_at BIGINT NOT NULL, PRIMARY KEY (bot, id)
      )`,
      SqlStates.makeTable(sql),
      SqlOutbox.makeTable(sql)
    ],
    { discard: true }
  )

/** What is stored, as it is known without asking. */
const makeIndex = (maximum: number, age: number) => {
  const handled = new Set<Ids.MessageId>()
  const deferred = new Map<Ids.MessageId, Store.Deferred>()
  const unconfirmed = new Set<Ids.MessageId>()
  let groups: Array<Group> = []
  let first = 0

  /** The groups that are too many or too old, and all of whose acknowledgements the server has taken. */
  const forgettable = (now: number) => {
    let end = first
    let size = handled.size
    for (; end < groups.length; end++) {
      const { at, ids } = groups[end]!
      if ((size <= maximum && now - at < age) || ids.some((id) => unconfirmed.has(id))) break
      size -= ids.length
    }
    return end
  }

  return {
    handled,
    deferred,
    lastNumber: () => groups.at(-1)?.number ?? 0,
    add: (group: Group) => {
      groups.push(group)
      for (const id of group.ids) {
        handled.add(id)
        deferred.delete(id)
      }
    },
    await: (ids: ReadonlyArray<Ids.MessageId>) => {
      for (const id of ids) unconfirmed.add(id)
    },
    confirm: (ids: ReadonlyArray<Ids.MessageId>) => {
      for (const id of ids) unconfirmed.delete(id)
    },
    /** Up to which number rows are to go. */
    stale: (now: number): number | undefined => groups[forgettable(now) - 1]?.number,
    forget: (upTo: number) => {
      for (; first < groups.length && groups[first]!.number <= upTo; first++) {
        for (const id of groups[first]!.ids) handled.delete(id)
      }
      if (first > maximumGroup) {
        groups = groups.slice(first)
        first = 0
      }
    }
  }
}
type Index = ReturnType<typeof makeIndex>

interface HandledRow {
  readonly number: number | string
  readonly stored_at: number | string
  readonly ids: string
}

interface DeferredRow {
  readonly id: string
  readonly tries: number | string
  readonly until_at: number | string
  readonly after_millis: number | string | null
}

const groupOf = ({ ids, number, stored_at }: HandledRow): Group => ({
  number: Number(number),
  at: Number(stored_at),
  ids: idsOf(ids)
})

/** Groups of few ids as groups of many, which take a tenth of the room. */
const merge = (groups: ReadonlyArray<Group>): ReadonlyArray<Group> =>
  Arr.chunksOf(
    groups.flatMap(({ at, ids }) => ids.map((id) => ({ id, at }))),
    maximumGroup
  ).map((entries, index) => ({
    number: index + 1,
    // The newest of them: none is forgotten before its time.
    at: entries.reduce((latest, { at }) => Math.max(latest, at), 0),
    ids: entries.map(({ id }) => id)
  }))

/** Takes the store over, and reads what is in it. */
const open = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  bot: Ids.UserId,
  owner: string,
  age: number,
  index: Index
) {
  const rowOf = ({ at, ids, number }: Group) => ({ bot, number, stored_at: at, ids: textOf(ids) })
  yield* makeTables(sql)
  const now = yield* Clock.currentTimeMillis
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`INSERT INTO blaze_owner ${sql.insert({ bot, owner })} ON CONFLICT (bot) DO UPDATE SET owner = excluded.owner`
      yield* sql`DELETE FROM blaze_handled WHERE bot = ${bot} AND stored_at < ${now - age}`
      yield* sql`DELETE FROM blaze_deferred WHERE bot = ${bot} AND stored_at < ${now - age}`
      const rows =
        yield* sql<HandledRow>`SELECT number, stored_at, ids FROM blaze_handled WHERE bot = ${bot} ORDER BY number`
      let groups: ReadonlyArray<Group> = rows.map(groupOf)
      const merged = merge(groups)
      if (groups.length > worthCompacting && merged.length < groups.length / 2) {
        yield* sql`DELETE FROM blaze_handled WHERE bot = ${bot}`
        for (const some of Arr.chunksOf(merged, maximumRows)) {
          yield* sql`INSERT INTO blaze_handled ${sql.insert(Arr.map(some, rowOf))}`
        }
        groups = merged
      }
      for (const group of groups) index.add(group)
      const deferred =
        yield* sql<DeferredRow>`SELECT id, tries, until_at, after_millis FROM blaze_deferred WHERE bot = ${bot}`
      for (const { after_millis, id, tries, until_at } of deferred) {
        index.deferred.set(id as Ids.MessageId, {
          _tag: "Deferred",
          tries: Number(tries),
          until: Number(until_at),
          ...(after_millis === null ? {} : { after: Number(after_millis) })
        })
      }
    })
  )
})

/** What is to be stored in one go: what became of a message, or what belongs to none. */
type Change = (Store.Change | { readonly id?: undefined; readonly writes: ReadonlyArray<Store.Write> }) & {
  readonly unsent?: ReadonlyArray<Store.Unsent>
  readonly sent?: ReadonlyArray<Store.Sent>
}

/** What changes come to: what is new of them, each id and each place by what was said of it last. */
const sort = (changes: ReadonlyArray<Change>, { handled }: Index, revisions: Writes.Revisions) => {
  const newest = new Map<Ids.MessageId, Store.Outcome>()
  const written = new Map<string, Writes.Change>()
  const claims = changes.map((change): Store.Claim => {
    const { id, writes } = change
    if (id !== undefined && (handled.has(id) || newest.get(id)?._tag === "Handled")) return "Known"
    if (!Writes.agree(writes, revisions)) return "Changed"
    Writes.make(writes, revisions)
    for (const write of Writes.changes(writes)) written.set(Writes.placeOf(write), write)
    if (id !== undefined) newest.set(id, change.outcome)
    return "Committed"
  })
  const ids: Array<Ids.MessageId> = []
  const deferred: Array<readonly [Ids.MessageId, Store.Deferred]> = []
  for (const [id, outcome] of newest) {
    if (outcome._tag === "Handled") ids.push(id)
    else deferred.push([id, outcome])
  }
  return { claims, ids, deferred, writes: [...written.values()] }
}

/** Stores what is new, in one transaction, unless another process has taken the store over. */
const makeWrite = (
  sql: SqlClient.SqlClient,
  bot: Ids.UserId,
  owner: string,
  index: Index,
  states: ReturnType<typeof SqlStates.make>,
  outbox: ReturnType<typeof SqlOutbox.make>
) => {
  const owned = sql.onDialectOrElse({
    pg: () => sql<{ owner: string }>`SELECT owner FROM blaze_owner WHERE bot = ${bot} FOR SHARE`,
    orElse: () => sql<{ owner: string }>`SELECT owner FROM blaze_owner WHERE bot = ${bot}`
  })
  const defer = (entries: Arr.NonEmptyReadonlyArray<readonly [Ids.MessageId, Store.Deferred]>, at: number) =>
    sql`INSERT INTO blaze_deferred ${sql.insert(
      Arr.map(entries, ([id, { after, tries, until }]) => ({
        bot,
        id,
        tries,
        until_at: Math.floor(until),
        after_millis: after === undefined ? null : Math.floor(after),
        stored_at: at
      }))
    )} ON CONFLICT (bot, id) DO UPDATE SET tries = excluded.tries, until_at = excluded.until_at, after_millis = excluded.after_millis, stored_at = excluded.stored_at`
  const post = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>, at: number) {
    const unsent = changes.flatMap((change) => change.unsent ?? [])
    const sent = changes.flatMap((change) => change.sent ?? [])
    if (unsent.length === 0 && sent.length === 0) return []
    yield* outbox.forget(at)
    return [yield* outbox.add(unsent), yield* outbox.complete(sent, at)]
  })
  const settle = (ids: ReadonlyArray<Ids.MessageId>) =>
    sql`DELETE FROM blaze_deferred WHERE bot = ${bot} AND ${sql.in("id", ids)}`

  return Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
    const at = yield* Clock.currentTimeMillis
    const number = index.lastNumber() + 1
    const stale = index.stale(at)
    const sorted = yield* sql.withTransaction(
      Effect.gen(function* () {
        const [row] = yield* owned
        if (row?.owner !== owner) return undefined
        const writes = changes.flatMap((change) => change.writes)
        const sorted = sort(changes, index, writes.length === 0 ? new Map() : yield* states.revisions(writes, at))
        const { deferred, ids } = sorted
        const wasDeferred = ids.filter((id) => index.deferred.has(id))
        if (ids.length > 0) {
          yield* sql`INSERT INTO blaze_handled ${sql.insert({ bot, number, stored_at: at, ids: textOf(ids) })}`
        }
        for (const some of Arr.chunksOf(wasDeferred, maximumRows)) yield* settle(some)
        for (const some of Arr.chunksOf(deferred, maximumRows)) yield* defer(some, at)
        if (sorted.writes.length > 0) yield* states.apply(sorted.writes, at)
        if (stale !== undefined) yield* sql`DELETE FROM blaze_handled WHERE bot = ${bot} AND number <= ${stale}`
        return { ...sorted, afterwards: yield* post(changes, at) }
      })
    )
    if (sorted === undefined) return changes.map((): Store.Claim => "Conflict")
    const { afterwards, claims, deferred, ids } = sorted
    for (const note of afterwards) note()
    if (ids.length > 0) index.add({ number, at, ids })
    index.await(ids)
    for (const [id, outcome] of deferred) index.deferred.set(id, outcome)
    if (stale !== undefined) index.forget(stale)
    return claims
  })
}

/**
 * What a bot fails with whose store cannot be opened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cannotOpen = (error: SqlError.SqlError) =>
  BlazeError.make(
    new BlazeError.InvalidSetting({
      setting: "option",
      field: "the store",
      expected: `a database that can be read and written: ${error.reason._tag}`
    })
  )

/**
 * Remembers in a database what was handled and what is put aside, and values (`State`), each bot for itself.
 *
 * **Details**
 *
 * What becomes of a message is stored before the next one of its conversation begins, and before it is acknowledged: what was stored
 * while others were being stored goes together. What cannot be stored is not acknowledged; it is written again every 30 seconds, while its
 * conversation waits. Whoever opens the store has it: what an earlier process still writes is refused, and ends its bot with
 * `InvalidSetting`.
 *
 * **Gotchas**
 *
 * As many ids are remembered as the settings `rememberedMessages` and `rememberedFor` say, in memory too. One process has it; for
 * several there is the cluster.
 *
 * **Example** (A bot on PostgreSQL)
 *
 * ```ts
 * import { Blaze, type BlazeError, type MixinApi, Signer, SqlStore } from "effect-blaze"
 * import { NodeBlaze } from "effect-blaze/node"
 * import type { Layer } from "effect"
 * import type { SqlClient } from "effect/sql"
 *
 * const durable: Layer.Layer<Blaze.Services | MixinApi.MixinApi, BlazeError.BlazeError, SqlClient.SqlClient> =
 *   NodeBlaze.layer(Signer.layerConfig, { store: SqlStore.layer })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Store.Store,
  BlazeError.BlazeError,
  SqlClient.SqlClient | Signer.Signer | SecureRandom.SecureRandom
> = Layer.effect(
  Store.Store,
  Effect.gen(function* () {
    // Its names are the tables' own, whatever the program's are.
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    const { userId } = yield* Signer.Signer
    const { uuidV4 } = yield* SecureRandom.SecureRandom
    const { rememberedFor, rememberedMessages } = yield* Settings.checked
    const owner = yield* uuidV4()
    const age = Duration.toMillis(rememberedFor)
    const index = makeIndex(rememberedMessages, age)
    const states = SqlStates.make(sql, userId)
    const outbox = SqlOutbox.make(sql, userId, age)
    yield* Effect.mapError(Effect.andThen(open(sql, userId, owner, age, index), outbox.look), cannotOpen)
    const write = makeWrite(sql, userId, owner, index, states, outbox)

    // A transaction whose end was not heard of may have been committed.
    let isUncertain = false
    const lookAgain = Effect.gen(function* () {
      const rows =
        yield* sql<HandledRow>`SELECT number, stored_at, ids FROM blaze_handled WHERE bot = ${userId} AND number > ${index.lastNumber()} ORDER BY number`
      for (const row of rows) index.add(groupOf(row))
      yield* outbox.look
    })
    const isKnown = ({ id }: Change) => id !== undefined && index.handled.has(id)
    const gathered = yield* Store.gathering(
      Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
        if (isUncertain) yield* lookAgain
        if (changes.every(isKnown)) return changes.map((): Store.Claim => "Known")
        isUncertain = true
        const claims = yield* write(changes)
        isUncertain = false
        return claims
      })
    )
    const claimed = (change: Change) => Effect.map(gathered([change]), ([claim]): Store.Claim => claim ?? "Unstored")
    return Store.Store.of({
      commitsAtOnce: true,
      load: (ids) =>
        Effect.sync(() => ids.map((id) => (index.handled.has(id) ? Store.Handled : index.deferred.get(id)))),
      commit: (changes) =>
        Effect.suspend(() =>
          // What is acknowledged has been stored before.
          changes.every(isKnown) ? Effect.succeed(changes.map((): Store.Claim => "Known")) : gathered(changes)
        ),
      confirm: (ids) => Effect.sync(() => index.confirm(ids)),
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
    })
  })
)
