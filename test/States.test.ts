// What an id is to this process, over a store that does what a test says. Store.test.ts has the stores that there are.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { Ids, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import * as States from "../src/internal/States.ts"

const id = (n: number) => Ids.MessageId.make(`00000000-0000-0000-0000-${String(n).padStart(12, "0")}`)

const numbers = (ids: ReadonlyArray<Ids.MessageId>) => ids.map((each) => Number(each.slice(-12)))

const putAside: Store.Outcome = { _tag: "Deferred", tries: 2, until: 60_000, after: 5000 }

/** States over a store that has what a test says, does what a test says, and remembers what was asked of it. */
const statesWith = Effect.fnUntraced(function* (stored: Record<number, Store.Outcome | "Unread"> = {}) {
  const asked: Array<ReadonlyArray<number>> = []
  const changes: Array<Store.Change> = []
  const confirmed: Array<ReadonlyArray<number>> = []
  const store = { claim: "Committed" as Store.Claim, answer: Effect.void as Effect.Effect<void> }
  const states = yield* States.make.pipe(
    Effect.provideService(Store.Store, {
      commitsAtOnce: true,
      load: (ids) => {
        asked.push(numbers(ids))
        return Effect.as(
          store.answer,
          numbers(ids).map((n) => stored[n])
        )
      },
      commit: (given) =>
        Effect.sync(() => {
          changes.push(...given)
          return given.map(() => store.claim)
        }),
      confirm: (ids) =>
        Effect.andThen(
          store.answer,
          Effect.sync(() => void confirmed.push(numbers(ids)))
        )
    })
  )
  const admit = (...ns: ReadonlyArray<number>) => states.admit(ns.map(id))
  return { states, store, stored, asked, changes, confirmed, admit }
})

const all: ReadonlyArray<Exclude<States.State, "Open">> = ["Deferred", "Due", "GivenUp", "Handled"]

describe("states", () => {
  it.effect("of what this process has made something of are known without the store", () =>
    Effect.gen(function* () {
      const { admit, asked, states } = yield* statesWith()
      assert.deepStrictEqual(yield* admit(1, 2), ["New", "New"])
      states.become(id(2), "GivenUp")
      assert.deepStrictEqual(yield* admit(1, 3, 2), ["Open", "New", "GivenUp"])
      assert.deepStrictEqual(yield* admit(1, 2, 3), ["Open", "GivenUp", "Open"])
      assert.deepStrictEqual(asked, [[1, 2], [3]])
      assert.deepStrictEqual([id(1), id(2), id(4)].map(states.of), ["Open", "GivenUp", undefined])
    })
  )

  for (const state of all) {
    it.effect(
      `of what became ${state}: it comes back as ${state === "Due" ? "new" : "that"}, and as nothing else`,
      () =>
        Effect.gen(function* () {
          const { admit, asked, states } = yield* statesWith({ 1: Store.Handled })
          const [two] = yield* admit(2)
          assert.strictEqual(two, "New")
          states.become(id(2), state)
          assert.strictEqual(states.of(id(2)), state)
          assert.deepStrictEqual(yield* admit(2), [state === "Due" ? "New" : state])
          assert.strictEqual(states.of(id(2)), state === "Due" ? "Open" : state)
          assert.deepStrictEqual(asked, [[2]])
        })
    )
  }

  it.effect("of what was forgotten, and of what was never open, are what the store says", () =>
    Effect.gen(function* () {
      const { admit, states, stored } = yield* statesWith()
      yield* admit(1)
      states.become(id(1), "Forgotten")
      assert.isUndefined(states.of(id(1)))
      stored[1] = Store.Handled
      for (const state of all) states.become(id(2), state)
      assert.isUndefined(states.of(id(2)))
      assert.deepStrictEqual(yield* admit(1, 2), ["Handled", "New"])
    })
  )

  it.effect("of what an earlier process has put aside are as they are stored, and then put aside here", () =>
    Effect.gen(function* () {
      const { admit, asked, states } = yield* statesWith({ 1: putAside, 2: putAside })
      assert.deepStrictEqual(yield* admit(1, 2), [putAside, putAside])
      assert.strictEqual(states.of(id(1)), "Deferred")
      assert.deepStrictEqual(yield* admit(1), ["Deferred"])
      // It is time for it: what is stored of it counts no more.
      states.become(id(2), "Due")
      assert.deepStrictEqual(yield* admit(2), ["New"])
      assert.deepStrictEqual(asked, [[1, 2]])
    })
  )

  it.effect("of what an earlier process has handled are not kept: the store is asked each time", () =>
    Effect.gen(function* () {
      const { admit, asked, states } = yield* statesWith({ 1: Store.Handled })
      assert.deepStrictEqual([yield* admit(1), yield* admit(1)], [["Handled"], ["Handled"]])
      assert.isUndefined(states.of(id(1)))
      assert.deepStrictEqual(asked, [[1], [1]])
    })
  )

  it.effect("of what could not be read are nothing that lasts: the store is asked again", () =>
    Effect.gen(function* () {
      const { admit, asked, states, stored } = yield* statesWith({ 1: "Unread" })
      assert.deepStrictEqual(yield* admit(1), ["Unread"])
      assert.isUndefined(states.of(id(1)))
      delete stored[1]
      assert.deepStrictEqual(yield* admit(1), ["New"])
      assert.deepStrictEqual(asked, [[1], [1]])
    })
  )

  it.effect("of what becomes something while the store is read are what it became", () =>
    Effect.gen(function* () {
      const { admit, states, store } = yield* statesWith()
      yield* admit(1, 2)
      states.become(id(1), "Handled")
      const reading = yield* Deferred.make<void>()
      store.answer = Deferred.await(reading)
      const again = yield* Effect.forkChild(admit(1, 2, 3))
      yield* BlazeTest.settle
      // Forgotten here meanwhile, and asked for too early to be known there.
      store.answer = Effect.void
      yield* states.confirm([id(1)])
      states.become(id(2), "Deferred")
      yield* Deferred.succeed(reading, undefined)
      assert.deepStrictEqual(yield* Fiber.join(again), ["Handled", "Deferred", "New"])
    })
  )
})

describe("what becomes of messages", () => {
  it.effect("is stored with each of them, and what is written with those that were handled together", () =>
    Effect.gen(function* () {
      const { changes, states, store } = yield* statesWith()
      const write: Store.Write = { name: "visits", key: "alice", basedOn: undefined, revision: "1", next: undefined }
      assert.deepStrictEqual(yield* states.commit([id(1), id(2)], putAside), ["Committed", "Committed"])
      assert.deepStrictEqual(changes.splice(0), [
        { id: id(1), outcome: putAside, writes: [] },
        { id: id(2), outcome: putAside, writes: [] }
      ])
      store.claim = "Changed"
      assert.deepStrictEqual(yield* states.settle([id(3), id(4)], [write]), ["Changed", "Changed"])
      assert.deepStrictEqual(changes, [
        { id: id(3), outcome: Store.Handled, writes: [write] },
        { id: id(4), outcome: Store.Handled, writes: [write] }
      ])
      assert.isTrue(states.commitsAtOnce)
    })
  )

  it.effect("is known here until the store has it as confirmed", () =>
    Effect.gen(function* () {
      const { admit, confirmed, states, store } = yield* statesWith()
      yield* admit(1, 2)
      for (const n of [1, 2]) states.become(id(n), "Handled")
      const writing = yield* Deferred.make<void>()
      store.answer = Deferred.await(writing)
      const confirming = yield* Effect.forkChild(states.confirm([id(1)]))
      yield* BlazeTest.settle
      assert.strictEqual(states.of(id(1)), "Handled")
      yield* Deferred.succeed(writing, undefined)
      yield* Fiber.join(confirming)
      assert.deepStrictEqual([states.of(id(1)), states.of(id(2))], [undefined, "Handled"])
      assert.deepStrictEqual(confirmed, [[1]])
    })
  )
})

describe("a message", () => {
  it("is this process's to acknowledge, unless another one has it or nothing could be stored of it", () => {
    const claims = ["Committed", "Known", "Changed", undefined, "Conflict", "Unstored"] as const
    assert.deepStrictEqual(claims.map(States.isOwn), [true, true, true, true, false, false])
  })

  it("that another process has is told by id", () => {
    const told = States.othersHave([id(1), id(2)])
    assert.include(told, "belong to another process")
    for (const n of [1, 2]) assert.include(told, id(n))
  })
})
