/**
 * What must last of the life of an id, for several processes that share a database: those that handle messages, and the one that hands
 * them out.
 *
 * Guarantee: of all processes that have handled a message one has its end stored, with what it writes, and the others learn that; nothing is
 * written on what another process has changed meanwhile.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import * as BlazeError from "../../BlazeError.ts"
import type * as Ids from "../../Ids.ts"
import * as Changes from "../../internal/Changes.ts"
import * as SqlOutbox from "../../internal/SqlOutbox.ts"
import * as SqlTables from "../../internal/SqlTables.ts"
import * as Writes from "../../internal/Writes.ts"
import * as Settings from "../../Settings.ts"
import * as Signer from "../../Signer.ts"
import * as SqlStore from "../../SqlStore.ts"
import * as Store from "../../Store.ts"

/** Who has the tables, whichever process of the cluster it is. */
const cluster = "a cluster"

/** How often it is tried to open. */
const opening = Schedule.spaced("250 millis").pipe(Schedule.upTo({ times: 4 }))

/** Takes the tables from a process that had them alone, with what it has stored. */
const open = (
  sql: SqlClient.SqlClient,
  { claims, groups, owner }: SqlTables.Parts,
  numbers: ReturnType<typeof SqlOutbox.makeNumbers>
) =>
  Effect.andThen(
    SqlTables.make(sql),
    sql.withTransaction(
      Effect.gen(function* () {
        if (yield* owner.has) return
        yield* owner.take
        const stored = yield* groups.after(0)
        yield* claims.add(stored.flatMap(({ at, ids }) => ids.map((id) => ({ id, at }))))
        yield* groups.forgetUpTo(stored.at(-1)?.number ?? 0)
        yield* numbers.begin
      })
    )
  )

const opened = Effect.gen(function* () {
  // Its names are the tables' own, whatever the program's are.
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  const { userId } = yield* Signer.Signer
  const { rememberedFor } = yield* Settings.checked
  const age = Duration.toMillis(rememberedFor)
  const numbers = SqlOutbox.makeNumbers(sql, userId)
  return { sql, userId, age, numbers, parts: SqlTables.of(sql, userId, cluster, age, numbers) }
})

/** How many locks there are for places: a database has room for some ten thousand. */
const maximumLocks = 1024

/** So that what is read of places stays as it is until the transaction ends, also where there is nothing. In one order: nobody waits for another in a circle. */
const lockPlaces = (sql: SqlClient.SqlClient, bot: Ids.UserId, writes: ReadonlyArray<Store.Write>) =>
  sql.onDialectOrElse({
    pg: () => sql`SELECT pg_advisory_xact_lock(hash) FROM (
      SELECT DISTINCT hashtextextended(place, 0) % ${maximumLocks}::bigint AS hash
      FROM json_array_elements_text(${JSON.stringify(writes.map((write) => `${bot} ${Writes.placeOf(write)}`))}::json) AS places (place)
      ORDER BY 1
    ) AS ordered`,
    orElse: () => Effect.void
  })

/** Stores what is new, in one transaction, unless a single process has taken the tables over. */
const makeWrite = (sql: SqlClient.SqlClient, bot: Ids.UserId, { claims, outbox, owner, states }: SqlTables.Parts) =>
  Effect.fnUntraced(function* (changes: ReadonlyArray<Changes.Change>) {
    const at = yield* Clock.currentTimeMillis
    const ids = changes.flatMap(({ id }) => (id === undefined ? [] : [id]))
    const writes = changes.flatMap((change) => change.writes)
    const sorted = yield* sql.withTransaction(
      Effect.gen(function* () {
        if (!(yield* owner.has)) return undefined
        if (writes.length > 0) yield* lockPlaces(sql, bot, writes)
        const claimed = yield* claims.claim(ids, at)
        const revisions = writes.length === 0 ? new Map() : yield* states.revisions(writes, at)
        const sorted = Changes.sort(changes, (id) => !claimed.has(id), revisions)
        for (const id of sorted.ids) claimed.delete(id)
        yield* claims.release([...claimed])
        if (sorted.writes.length > 0) yield* states.apply(sorted.writes, at)
        yield* claims.forget(at)
        return { ...sorted, afterwards: yield* outbox.post(changes, at) }
      })
    )
    if (sorted === undefined) return changes.map((): Store.Claim => "Conflict")
    for (const note of sorted.afterwards) note()
    return sorted.claims
  })

/**
 * Whose turn it is to send what is stored: runs something for as long as it is this process's, whenever it is.
 *
 * @category references
 * @since 0.1.0
 */
export const Turn = Context.Reference<Store.Shared<never>["inTurn"]>("effect-blaze/cluster/SharedStore/Turn", {
  defaultValue: () => (send) => Effect.andThen(send, Effect.never)
})

/**
 * For a process that handles messages. What is put aside is not its business.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Store.Store, BlazeError.BlazeError, SqlClient.SqlClient | Signer.Signer> = Layer.effect(
  Store.Store,
  Effect.gen(function* () {
    const { numbers, parts, sql, userId } = yield* opened
    const { claims, outbox } = parts
    const inTurn = yield* Turn
    // Others may be opening it too, and one of two that lock the same in another order is sent away.
    const ready = Effect.retry(Effect.andThen(open(sql, parts, numbers), outbox.refresh), opening)
    yield* Effect.mapError(ready, SqlStore.cannotOpen)
    const gathered = yield* Store.gathering(makeWrite(sql, userId, parts))
    const operations = SqlTables.operations(parts, gathered)
    const { load } = Store.persevering(
      {
        load: (ids) =>
          Effect.map(claims.of(ids), (handled) => ids.map((id) => (handled.has(id) ? Store.Handled : undefined))),
        commit: () => Effect.succeed([]),
        confirm: () => Effect.void
      },
      { isShared: true }
    )
    return Store.Store.of({
      commitsAtOnce: true,
      load,
      commit: gathered,
      confirm: () => Effect.void,
      ...operations,
      outbox: { ...operations.outbox, shared: { inTurn, refresh: outbox.refresh } }
    })
  })
)

// It may pass: whoever holds the socket begins again.
const unread = BlazeError.make(new BlazeError.Timeout({ operation: "reading from the database what is put aside" }))

/**
 * For the process that hands messages out: what is put aside. That a message is handled has been stored by who has handled it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHolder: Layer.Layer<Store.Store, BlazeError.BlazeError, SqlClient.SqlClient | Signer.Signer> =
  Layer.effect(
    Store.Store,
    Effect.gen(function* () {
      const { age, parts, sql } = yield* opened
      const { claims, deferred, owner } = parts
      const now = yield* Clock.currentTimeMillis
      const known = new Map(
        yield* Effect.mapError(Effect.andThen(deferred.forgetBefore(now - age), deferred.all), () => unread)
      )

      const put = Effect.fnUntraced(function* (entries: ReadonlyArray<readonly [Ids.MessageId, Store.Deferred]>) {
        const at = yield* Clock.currentTimeMillis
        return yield* sql.withTransaction(
          Effect.gen(function* () {
            if (!(yield* owner.has)) return entries.map((): Store.Claim => "Conflict")
            const handled = yield* claims.of(entries.map(([id]) => id))
            yield* deferred.put(
              entries.filter(([id]) => !handled.has(id)),
              at
            )
            return entries.map(([id]): Store.Claim => (handled.has(id) ? "Known" : "Committed"))
          })
        )
      })

      const commit = Effect.fnUntraced(function* (changes: ReadonlyArray<Store.Change>) {
        const entries = changes.flatMap(({ id, outcome }) =>
          outcome._tag === "Deferred" ? [[id, outcome] as const] : []
        )
        if (entries.length > 0) {
          const stored = yield* put(entries)
          for (const [id, outcome] of entries) known.set(id, outcome)
          return stored
        }
        const settled = changes.flatMap(({ id }) => (known.has(id) ? [id] : []))
        if (settled.length > 0) yield* deferred.settle(settled)
        for (const id of settled) known.delete(id)
        return changes.map((): Store.Claim => "Known")
      })

      return Store.persevering({
        load: (ids) => Effect.sync(() => ids.map((id) => known.get(id))),
        commit,
        confirm: () => Effect.void
      })
    })
  )
