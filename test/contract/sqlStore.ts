// What a store in a database does, whichever database it is.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Layer, References, Scope } from "effect"
import { Ids, Settings, Store } from "effect-blaze"
import { SqlClient, type SqlError } from "effect/sql"
import { sqlStore, sqlStoreOf } from "../support.ts"
import { countOf, handled, id } from "./stores.ts"

const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => id(from + n))

const opened = <A, E>(effect: Effect.Effect<A, E, Store.Store | SqlClient.SqlClient>, store = sqlStore) =>
  Effect.provide(effect, Layer.fresh(store))

const withoutNumber = ({ content, id, storedAt, to, way }: Store.Waiting): Store.Unsent => ({
  content,
  id,
  storedAt,
  to,
  way
})

const tagOf = (outcome: Store.Outcome | "Unread" | undefined) => (outcome === "Unread" ? outcome : outcome?._tag)

const tags = (outcomes: ReadonlyArray<Store.Outcome | "Unread" | undefined>) => outcomes.map(tagOf)

/** The suite for a database, which is an empty one each time that the Layer is built. */
export const sqlStoreContract = (name: string, database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>) =>
  describe(`a store in ${name}`, () => {
    it.live("knows what was stored when it is opened again, each bot for itself", () =>
      Effect.gen(function* () {
        const deferred = { _tag: "Deferred", tries: 3, until: 12_345, after: 600_000 } as const
        yield* opened(
          Effect.gen(function* () {
            const { commit } = yield* Store.Store
            assert.deepStrictEqual(yield* commit(handled([id(1), id(2), id(1)])), ["Committed", "Committed", "Known"])
            assert.deepStrictEqual(yield* commit([{ id: id(3), outcome: deferred, writes: [] }]), ["Committed"])
            assert.deepStrictEqual(yield* commit([{ id: id(1), outcome: deferred, writes: [] }]), ["Known"])
            yield* commit([{ id: id(4), outcome: deferred, writes: [] }])
            yield* commit(handled([id(4)]))
          })
        )
        const load = Effect.flatMap(Store.Store, ({ load }) => load([1, 2, 3, 4, 5].map(id)))
        assert.deepStrictEqual(yield* opened(load), [Store.Handled, Store.Handled, deferred, Store.Handled, undefined])
        const other = sqlStoreOf(Ids.UserId.make("99999999-9999-4999-8999-999999999999"))
        assert.deepStrictEqual(
          tags(yield* opened(load, other)),
          Array.from({ length: 5 }, () => undefined)
        )
      }).pipe(Effect.provide(Layer.fresh(database)))
    )

    it.live("keeps what is to be sent until it is said what became of it, each bot for itself", () =>
      Effect.gen(function* () {
        const to = { user: Ids.UserId.make("99999999-9999-4999-8999-999999999999") }
        const now = yield* Clock.currentTimeMillis
        const unsent = (n: number, way: Store.Unsent["way"], content = `{"n":${n}}`) =>
          ({ id: id(n), to, content, storedAt: now + n, way }) as const
        const group = { ...unsent(4, "Alone"), to: { conversation: Ids.ConversationId.make(id(99)) } }
        const long = "x".repeat(60_000)
        const outbox = Effect.map(Store.Store, ({ outbox }) => outbox!)
        const idsOf = (some: ReadonlyArray<{ readonly id: Ids.MessageId }>) => some.map(({ id }) => id)
        yield* opened(
          Effect.gen(function* () {
            const { add, complete, next, results, size } = yield* outbox
            assert.strictEqual(yield* add([unsent(1, "Alone"), unsent(2, "InBatches", long)]), "Committed")
            // Those of one transaction, of one content or not, some of them known.
            yield* Effect.all(
              [
                add([unsent(2, "InBatches", "other"), unsent(3, "InBatches", long), unsent(5, "FirstContact", long)]),
                add([group, unsent(6, "Alone"), unsent(6, "Alone", "other"), unsent(3, "InBatches", "other")])
              ],
              { concurrency: 2 }
            )
            assert.strictEqual(size(), 6)
            assert.deepStrictEqual((yield* next(false, 0, 10)).map(withoutNumber), [
              unsent(1, "Alone"),
              group,
              unsent(6, "Alone")
            ])
            assert.deepStrictEqual((yield* next(true, 0, 10)).map(withoutNumber), [
              unsent(2, "InBatches", long),
              unsent(3, "InBatches", long),
              unsent(5, "FirstContact", long)
            ])
            const [first, second] = yield* next(true, 0, 2)
            assert.deepStrictEqual(idsOf(yield* next(true, first!.number, 1)), [id(3)])
            assert.deepStrictEqual(idsOf(yield* next(true, second!.number, 9)), [id(5)])
            yield* complete([
              { id: id(1), way: "Alone", problem: undefined },
              { id: id(2), way: "InBatches", problem: undefined },
              { id: id(3), way: "InBatches", problem: "no" },
              { id: id(4), way: "Alone", problem: "never" }
            ])
            yield* complete([{ id: id(2), way: "InBatches", problem: "too late" }])
            assert.strictEqual(size(), 2)
            assert.deepStrictEqual(yield* results([1, 2, 3, 4, 5, 7].map(id)), [
              undefined,
              { problem: undefined },
              { problem: "no" },
              { problem: "never" },
              "Waiting",
              undefined
            ])
          })
        )
        yield* opened(
          Effect.gen(function* () {
            const { add, next, size } = yield* outbox
            assert.strictEqual(size(), 2)
            yield* add([unsent(3, "InBatches"), unsent(8, "InBatches")])
            assert.deepStrictEqual(idsOf(yield* next(true, 0, 10)), [id(5), id(8)])
            assert.deepStrictEqual(idsOf(yield* next(false, 0, 10)), [id(6)])
            assert.deepStrictEqual((yield* next(true, 0, 1))[0]?.content, long)
          })
        )
        const other = sqlStoreOf(Ids.UserId.make("99999999-9999-4999-8999-999999999999"))
        yield* opened(
          Effect.gen(function* () {
            const { add, next, size } = yield* outbox
            yield* add([unsent(1, "Alone")])
            assert.deepStrictEqual(idsOf(yield* next(false, 0, 10)), [id(1)])
            assert.strictEqual(size(), 1)
          }),
          other
        )
      }).pipe(Effect.provide(Layer.fresh(database)))
    )

    it.live("stores together what is to be stored while it writes, and each of it is there when that is told", () =>
      Effect.gen(function* () {
        const { commit, load } = yield* Store.Store
        yield* Effect.forEach(
          ids(0, 500),
          (each) =>
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* commit(handled([each])), ["Committed"])
              assert.deepStrictEqual(yield* load([each]), [Store.Handled])
            }),
          { concurrency: "unbounded" }
        )
        assert.isBelow(yield* countOf("blaze_handled"), 5)
      }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(Layer.fresh(database)))))
    )

    it.live("keeps at most so many, and forgets nothing whose acknowledgement is not confirmed", () =>
      Effect.gen(function* () {
        const { commit, confirm, load } = yield* Store.Store
        for (let n = 0; n < 40; n++) yield* commit(handled(ids(n * 10, n * 10 + 10)))
        assert.strictEqual(yield* countOf("blaze_handled"), 40)
        yield* confirm(ids(0, 350))
        yield* commit(handled([id(1000)]))
        assert.deepStrictEqual(tags(yield* load([id(0), id(299), id(301), id(399)])), [
          undefined,
          undefined,
          "Handled",
          "Handled"
        ])
        yield* confirm([id(1000)])
        yield* commit(handled([id(1001)]))
        assert.isBelow(yield* countOf("blaze_handled"), 15)
        // Of the hundred that are kept fifty are not confirmed.
        assert.deepStrictEqual(tags(yield* load([id(299), id(349), id(350)])), [undefined, "Handled", "Handled"])
      }).pipe(
        Effect.provide(
          sqlStore.pipe(
            Layer.provide(Settings.layer({ rememberedMessages: 100 })),
            Layer.provideMerge(Layer.fresh(database))
          )
        )
      )
    )

    it.live("makes rows of few ids into few rows when it is opened, and loses none", () =>
      Effect.gen(function* () {
        yield* opened(
          Effect.gen(function* () {
            const { commit } = yield* Store.Store
            for (const each of ids(0, 2500)) yield* commit(handled([each]))
          })
        )
        assert.strictEqual(yield* countOf("blaze_handled"), 2500)
        const known = yield* opened(
          Effect.gen(function* () {
            const { commit, load } = yield* Store.Store
            yield* commit(handled([id(9999)]))
            return yield* load([...ids(0, 2500), id(9999)])
          })
        )
        assert.strictEqual(known.filter((outcome) => tagOf(outcome) === "Handled").length, 2501)
        assert.strictEqual(yield* countOf("blaze_handled"), 4)
        const load = Effect.flatMap(Store.Store, ({ load }) => load([...ids(0, 2500), id(9999)]))
        assert.strictEqual((yield* opened(load)).filter((outcome) => outcome !== undefined).length, 2501)
      }).pipe(Effect.provide(Layer.fresh(database)))
    )

    it.live("takes nothing from a process whose place another one has taken", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const build = Effect.map(Layer.buildWithScope(Layer.fresh(sqlStore), scope), Context.get(Store.Store))
        const first = yield* build
        yield* first.commit(handled([id(1)]))
        const second = yield* build
        assert.deepStrictEqual(yield* first.commit(handled([id(2)])), ["Conflict"])
        assert.deepStrictEqual(yield* second.commit(handled([id(1), id(2)])), ["Known", "Committed"])
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.provide(Layer.fresh(database)))
    )

    it.live("stores what is written together with its message, or neither", () =>
      Effect.gen(function* () {
        const { commit, load, states } = yield* Store.Store
        const { read, write } = states!
        const writes = (name: string, revision: string, basedOn?: string | null): ReadonlyArray<Store.Write> => [
          {
            name,
            key: "k",
            revision,
            basedOn: basedOn === undefined ? undefined : { revision: basedOn ?? undefined },
            next: { version: 1, value: `"${revision}"`, dueAt: undefined, expiresAt: undefined }
          }
        ]
        const change = (n: number, ...writes: ReadonlyArray<Store.Write>) => ({
          id: id(n),
          outcome: Store.Handled,
          writes
        })
        const claims = yield* commit([
          change(1, ...writes("a", "r1", null)),
          change(2, ...writes("a", "r2", null)),
          change(3, ...writes("a", "r3", "r1"), ...writes("b", "r4", null)),
          change(4, ...writes("a", "r5", "r3"), ...writes("b", "r6", "r1")),
          change(1, ...writes("a", "r7"))
        ])
        assert.deepStrictEqual(claims, ["Committed", "Changed", "Committed", "Changed", "Known"])
        assert.deepStrictEqual(tags(yield* load([1, 2, 3, 4].map(id))), ["Handled", undefined, "Handled", undefined])
        assert.strictEqual((yield* read("a", "k"))?.value, `"r3"`)
        assert.strictEqual((yield* read("b", "k"))?.value, `"r4"`)
        // Made once more, for its end was not heard of, it is what it was.
        const [once] = writes("b", "r8", "r4")
        assert.deepStrictEqual([yield* write(once!), yield* write(once!)], ["Committed", "Committed"])
        assert.strictEqual(yield* write({ ...once!, revision: "r9" }), "Changed")
        const gone = { ...once!, basedOn: { revision: "r8" }, next: undefined }
        assert.deepStrictEqual([yield* write(gone), yield* write(gone)], ["Committed", "Committed"])
        assert.isUndefined(yield* read("b", "k"))
      }).pipe(Effect.provide(sqlStore.pipe(Layer.provideMerge(Layer.fresh(database)))))
    )

    it.live("writes nothing for a process whose place another one has taken, and lets what has expired go", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const build = Effect.map(Layer.buildWithScope(Layer.fresh(sqlStore), scope), Context.get(Store.Store))
        const first = yield* build
        const write = (key: string, expiresAt: number | undefined): Store.Write => ({
          name: "a",
          key,
          revision: key,
          basedOn: undefined,
          next: { version: 1, value: "1", dueAt: undefined, expiresAt }
        })
        for (let n = 0; n < 5; n++) yield* first.states!.write(write(`old ${n}`, 1))
        yield* first.states!.write(write("new", undefined))
        const second = yield* build
        assert.strictEqual(yield* first.states!.write(write("late", undefined)), "Conflict")
        assert.isUndefined(yield* second.states!.read("a", "late"))
        yield* second.commit([{ id: id(1), outcome: Store.Handled, writes: [write("now", undefined)] }])
        assert.strictEqual(yield* countOf("blaze_state"), 2)
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.provide(Layer.fresh(database)))
    )

    it.live("that cannot be opened fails the bot, in one sentence", () =>
      Effect.gen(function* () {
        const broken = Layer.fresh(database).pipe(
          Layer.tap((context) => Context.get(context, SqlClient.SqlClient)`CREATE TABLE blaze_handled (it TEXT)`)
        )
        const error = yield* Effect.flip(Layer.build(sqlStore.pipe(Layer.provide(broken))))
        assert.match(String(error), /The option cannot be used: the store must be a database that can be read/)
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
    )
  })
