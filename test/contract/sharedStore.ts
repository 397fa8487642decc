// What a database does that several processes share, whichever database it is.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { Signer, Store } from "effect-blaze"
import { SqlClient, type SqlError } from "effect/sql"
import * as SharedStore from "../../src/cluster/internal/SharedStore.ts"
import { botOfStores, sqlStore } from "../support.ts"
import * as stores from "./stores.ts"
import { countOf, id, unsent } from "./stores.ts"

const handled = (some: ReadonlyArray<number>, writes: ReadonlyArray<Store.Write> = []) =>
  stores.handled(some.map(stores.id)).map((change) => ({ ...change, writes }))

const deferred = { _tag: "Deferred", tries: 3, until: 12_345, after: 600_000 } as const

const signer = Layer.succeed(Signer.Signer, { userId: botOfStores, token: () => Effect.die("nothing is signed") })

/** One process that has the store, for as long as the test lasts. */
const opened = Effect.fnUntraced(function* <E, R>(store: Layer.Layer<Store.Store, E, R>) {
  const context = yield* Layer.build(Layer.fresh(store))
  return Context.get(context, Store.Store)
})

const shared = opened(SharedStore.layer.pipe(Layer.provide(signer)))
const holder = opened(SharedStore.layerHolder.pipe(Layer.provide(signer)))

/** Adds one to what is counted under a name, on what was read. */
const add = ({ states }: Store.Store["Service"], name: string, writer: string) =>
  Effect.map(states!.read(name, ""), (kept): Store.Write => ({
    name,
    key: "",
    basedOn: { revision: kept?.revision },
    revision: `${writer} ${kept?.value ?? "0"}`,
    next: { version: 1, value: String(Number(kept?.value ?? 0) + 1), dueAt: undefined, expiresAt: undefined }
  }))

/** The suite for a database, which is an empty one each time that the Layer is built. */
export const sharedStoreContract = (name: string, database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>) =>
  describe(`${name}, shared by several processes`, () => {
    const inDatabase = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient | Scope.Scope>) =>
      Effect.scoped(effect).pipe(Effect.provide(Layer.fresh(database)))

    it.live("has one of all processes that have handled a message store that, and tells the others", () =>
      Effect.gen(function* () {
        const stores = yield* Effect.all([shared, shared, shared], { concurrency: 3 })
        const all = Array.from({ length: 60 }, (_, n) => n)
        const claims = yield* Effect.forEach(
          stores,
          ({ commit }, n) =>
            // In another order in each of them, and by ones and twos.
            Effect.forEach(
              n === 1 ? all.toReversed() : all,
              (each) => commit(handled(n === 2 ? [each, (each * 7) % 60] : [each])),
              { concurrency: 8 }
            ),
          { concurrency: 3 }
        )
        assert.strictEqual(claims.flat(2).filter((claim) => claim === "Committed").length, 60)
        assert.deepStrictEqual(new Set(claims.flat(2)), new Set(["Committed", "Known"]))
        assert.deepStrictEqual(yield* stores[0]!.load([id(3), id(60)]), [Store.Handled, undefined])
      }).pipe(inDatabase)
    )

    it.live("writes nothing on what another process has changed meanwhile, whether it was there or not", () =>
      Effect.gen(function* () {
        const stores = yield* Effect.all([shared, shared, shared])
        let message = 0
        let conflicts = 0
        const addOnce = (store: Store.Store["Service"], name: string, writer: string): Effect.Effect<void, unknown> =>
          Effect.gen(function* () {
            const each = message++
            while (true) {
              const write = yield* add(store, name, `${writer} ${each} ${conflicts}`)
              const [claim] = yield* store.commit(handled([each], [write]))
              if (claim === "Committed") return
              assert.strictEqual(claim, "Changed")
              conflicts++
            }
          })
        const names = ["a", "b"]
        yield* Effect.forEach(
          stores,
          (store, n) =>
            Effect.forEach(
              Array.from({ length: 20 }, (_, turn) => names[(turn + n) % 2]!),
              (name) => addOnce(store, name, String(n)),
              { concurrency: 2 }
            ),
          { concurrency: 3 }
        )
        const values = yield* Effect.forEach(names, (name) => stores[0]!.states!.read(name, ""))
        assert.deepStrictEqual(
          values.map((kept) => kept?.value),
          ["30", "30"]
        )
        // What was `Changed` was not claimed either.
        assert.strictEqual(yield* countOf("blaze_claimed"), 60)
      }).pipe(inDatabase)
    )

    it.live("writes nothing of a message that another process has handled", () =>
      Effect.gen(function* () {
        const [one, other] = yield* Effect.all([shared, shared])
        const write = yield* add(one, "count", "one")
        const late = yield* add(other, "count", "other")
        assert.deepStrictEqual(yield* one.commit(handled([1], [write])), ["Committed"])
        assert.deepStrictEqual(yield* other.commit(handled([1], [{ ...late, basedOn: undefined }])), ["Known"])
        assert.strictEqual((yield* one.states!.read("count", ""))?.revision, write.revision)
      }).pipe(inDatabase)
    )

    it.live(
      "knows what one process alone has stored, and the other way round; whoever was there before is refused",
      () =>
        Effect.gen(function* () {
          const before = yield* opened(sqlStore)
          yield* before.commit(handled([1, 2]))
          const one = yield* shared
          const other = yield* shared
          assert.deepStrictEqual(yield* one.load([id(1), id(2), id(3)]), [Store.Handled, Store.Handled, undefined])
          assert.deepStrictEqual(yield* other.commit(handled([2, 3])), ["Known", "Committed"])
          assert.deepStrictEqual(yield* before.commit(handled([4])), ["Conflict"])
          const after = yield* opened(sqlStore)
          assert.deepStrictEqual(yield* after.load([1, 2, 3, 4].map(id)), [
            Store.Handled,
            Store.Handled,
            Store.Handled,
            undefined
          ])
          assert.deepStrictEqual(yield* other.commit(handled([5])), ["Conflict"])
          assert.deepStrictEqual(yield* (yield* opened(sqlStore)).load([1, 3].map(id)), [Store.Handled, Store.Handled])
        }).pipe(inDatabase)
    )

    it.live("keeps what is put aside for whoever hands messages out next, unless it was handled", () =>
      Effect.gen(function* () {
        const runner = yield* shared
        const one = yield* holder
        yield* runner.commit(handled([1]))
        const aside = [1, 2, 3].map((n) => ({ id: id(n), outcome: deferred, writes: [] }))
        assert.deepStrictEqual(yield* one.commit(aside), ["Known", "Committed", "Committed"])
        yield* one.commit(handled([3]))
        const next = yield* holder
        assert.deepStrictEqual(yield* next.load([1, 2, 3].map(id)), [undefined, deferred, undefined])
        // A runner is given it when it is time.
        assert.deepStrictEqual(yield* runner.load([id(2)]), [undefined])
        yield* opened(sqlStore)
        assert.deepStrictEqual(yield* next.commit([{ id: id(4), outcome: deferred, writes: [] }]), ["Conflict"])
      }).pipe(inDatabase)
    )

    it.live("has messages that several processes store at the same time sent in the order in which they were", () =>
      Effect.gen(function* () {
        const alone = yield* opened(sqlStore)
        yield* alone.outbox!.add([unsent(1), unsent(2)])
        const stores = yield* Effect.all([shared, shared, shared])
        // Whoever sends has seen all that has a lower number.
        const numbers: Array<number> = []
        const sending = Effect.gen(function* () {
          const outbox = stores[0]!.outbox!
          while (numbers.length < 62) {
            const some = yield* outbox.next(false, numbers.at(-1) ?? 0, 7)
            for (const { number } of some) numbers.push(number)
            yield* outbox.complete(some.map(({ id }) => ({ id, way: "Alone", problem: undefined })))
            yield* Effect.yieldNow
          }
        })
        const storing = Effect.forEach(
          stores,
          ({ outbox }, n) =>
            Effect.forEach(
              Array.from({ length: 20 }, (_, each) => 3 + n * 20 + each),
              (each) => outbox!.add([unsent(each)]),
              { discard: true }
            ),
          { concurrency: 3 }
        )
        yield* Effect.all([sending, storing], { concurrency: 2 })
        assert.strictEqual(new Set(numbers).size, 62)
        yield* stores[1]!.outbox!.shared!.refresh
        assert.strictEqual(stores[1]!.outbox!.size(), 0)
        // A number is not given again that somebody has passed, though what had it is gone.
        yield* stores[2]!.outbox!.add([unsent(99)])
        const [last] = yield* stores[1]!.outbox!.next(false, numbers.at(-1)!, 1)
        assert.strictEqual(last?.id, id(99))
      }).pipe(Effect.timeout("1 minute"), inDatabase)
    )

    it.live(
      "says of what it cannot read that it does not know, and neither that it is new nor that it is handled",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const { load } = yield* shared
          yield* sql`DROP TABLE blaze_claimed`
          assert.deepStrictEqual(yield* load([id(1), id(2)]), ["Unread", "Unread"])
        }).pipe(inDatabase)
    )

    it.live("forgets ids of long ago", () =>
      Effect.gen(function* () {
        const runner = yield* shared
        yield* runner.commit(handled([1, 2]))
        const sql = yield* SqlClient.SqlClient
        yield* sql`UPDATE blaze_claimed SET stored_at = stored_at - ${8 * 24 * 3_600_000}`
        const later = yield* shared
        yield* later.commit(handled([3]))
        assert.strictEqual(yield* countOf("blaze_claimed"), 1)
      }).pipe(inDatabase)
    )
  })
