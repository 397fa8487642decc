/**
 * What must last of the life of an id, in SQL: SQLite or PostgreSQL.
 *
 * Guarantee: what was handled and stored is not handled again, whatever ends the process; a conversation goes on after what became of its
 * message is on the disk; one process has the store, and what an earlier one tries to write is refused; the tables are bounded.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as BlazeError from "./BlazeError.ts"
import type * as Ids from "./Ids.ts"
import * as Changes from "./internal/Changes.ts"
import * as SqlGroups from "./internal/SqlGroups.ts"
import * as SqlTables from "./internal/SqlTables.ts"
import * as Settings from "./Settings.ts"
import * as Signer from "./Signer.ts"
import * as Store from "./Store.ts"

/** How many rows may be too few ids, in the mean, before they are made into fewer. */
const worthCompacting = 1000

/** What is stored, as it is known without asking. */
const makeIndex = (maximum: number, age: number) => {
  const handled = new Set<Ids.MessageId>()
  const deferred = new Map<Ids.MessageId, Store.Deferred>()
  const unconfirmed = new Set<Ids.MessageId>()
  let groups: Array<SqlGroups.Group> = []
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
    add: (group: SqlGroups.Group) => {
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
      if (first > SqlGroups.maximumGroup) {
        groups = groups.slice(first)
        first = 0
      }
    }
  }
}
type Index = ReturnType<typeof makeIndex>

/** Takes the store over, and reads what is in it. */
const open = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { claims, deferred, groups, owner }: SqlTables.Parts,
  age: number,
  index: Index
) {
  yield* SqlTables.make(sql)
  const now = yield* Clock.currentTimeMillis
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* owner.take
      yield* groups.forgetBefore(now - age)
      yield* deferred.forgetBefore(now - age)
      const stored = yield* groups.after(0)
      // What a cluster had before, each id in a row of its own.
      const claimed = yield* claims.takeAll
      const merged = SqlGroups.merge([...stored, ...claimed.map(({ at, id }) => ({ number: 0, at, ids: [id] }))])
      const isWorthIt = stored.length > worthCompacting && merged.length < stored.length / 2
      const kept = claimed.length > 0 || isWorthIt ? merged : stored
      if (kept === merged) {
        yield* groups.forgetUpTo(stored.at(-1)?.number ?? 0)
        yield* groups.add(merged)
      }
      for (const group of kept) index.add(group)
      for (const [id, outcome] of yield* deferred.all) index.deferred.set(id, outcome)
    })
  )
})

/** Stores what is new, in one transaction, unless another process has taken the store over. */
const makeWrite = (
  sql: SqlClient.SqlClient,
  { deferred: aside, groups, outbox, owner, states }: SqlTables.Parts,
  index: Index
) => {
  return Effect.fnUntraced(function* (changes: ReadonlyArray<Changes.Change>) {
    const at = yield* Clock.currentTimeMillis
    const number = index.lastNumber() + 1
    const stale = index.stale(at)
    const sorted = yield* sql.withTransaction(
      Effect.gen(function* () {
        if (!(yield* owner.has)) return undefined
        const writes = changes.flatMap((change) => change.writes)
        const revisions = writes.length === 0 ? new Map() : yield* states.revisions(writes, at)
        const sorted = Changes.sort(changes, (id) => index.handled.has(id), revisions)
        const { deferred, ids } = sorted
        if (ids.length > 0) yield* groups.add([{ number, at, ids }])
        yield* aside.settle(ids.filter((id) => index.deferred.has(id)))
        yield* aside.put(deferred, at)
        if (sorted.writes.length > 0) yield* states.apply(sorted.writes, at)
        if (stale !== undefined) yield* groups.forgetUpTo(stale)
        return { ...sorted, afterwards: yield* outbox.post(changes, at) }
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
    const parts = SqlTables.of(sql, userId, owner, age)
    const { groups, outbox } = parts
    yield* Effect.mapError(Effect.andThen(open(sql, parts, age, index), outbox.refresh), cannotOpen)
    const write = makeWrite(sql, parts, index)

    // A transaction whose end was not heard of may have been committed.
    let isUncertain = false
    const lookAgain = Effect.gen(function* () {
      for (const group of yield* groups.after(index.lastNumber())) {
        index.await(group.ids)
        index.add(group)
      }
      yield* outbox.refresh
    })
    const isKnown = ({ id }: Changes.Change) => id !== undefined && index.handled.has(id)
    const gathered = yield* Store.gathering(
      Effect.fnUntraced(function* (changes: ReadonlyArray<Changes.Change>) {
        if (isUncertain) yield* lookAgain
        if (changes.every(isKnown)) return changes.map((): Store.Claim => "Known")
        isUncertain = true
        const claims = yield* write(changes)
        isUncertain = false
        return claims
      })
    )
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
      ...SqlTables.operations(parts, gathered)
    })
  })
)
