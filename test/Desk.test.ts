// Where a runner takes messages in, without a cluster.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import * as Desk from "../src/cluster/internal/Desk.ts"
import type * as Outstanding from "../src/internal/Outstanding.ts"
import * as Meter from "../src/internal/Meter.ts"
import type * as States from "../src/internal/States.ts"
import { id } from "./contract/stores.ts"
import { ledgerWith } from "./ledgers.ts"
import { botOfStores } from "./support.ts"

const view = (n: number) => ({ message_id: id(n), conversation_id: id(0), category: "PLAIN_TEXT" })

const desk = Desk.layer.pipe(Layer.provide(Meter.layer(botOfStores)))
const atDesk = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(Effect.scoped(effect), Layer.fresh(desk))

const ask = (asked: Effect.Effect<unknown, unknown>) => Effect.forkChild(asked, { startImmediately: true })

describe("a runner's desk", () => {
  it.effect("hands a message out once, however many wait for what becomes of it", () =>
    Effect.gen(function* () {
      const { answer, handle, handleText, inbox } = yield* Desk.Desk
      const waiting = [yield* ask(handle(view(1))), yield* ask(handleText(JSON.stringify(view(1))))]
      assert.strictEqual(inbox.take().length, 1)
      answer(id(1), { _tag: "Handled" })
      for (const fiber of waiting) assert.deepStrictEqual(yield* Fiber.join(fiber), { _tag: "Handled" })
      // It is new when it comes again: what is stored of it is not known here.
      yield* ask(handle(view(1)))
      assert.strictEqual(inbox.take().length, 1)
    }).pipe(atDesk)
  )

  it.effect("gives up what another runner has written in no form that it knows", () =>
    Effect.gen(function* () {
      const { handleText, inbox } = yield* Desk.Desk
      for (const text of ["", "null", "{", '{"message_id":1}']) {
        assert.strictEqual((yield* handleText(text))._tag, "GivenUp")
      }
      assert.strictEqual(inbox.take().length, 0)
    }).pipe(atDesk)
  )

  it.effect("gives back what nobody has taken when it closes, and tells of what somebody has", () =>
    Effect.gen(function* () {
      const { close, handle, inbox, withdrawn } = yield* Desk.Desk
      const taken = yield* ask(handle(view(1)))
      inbox.take()
      const left = yield* ask(handle(view(2)))
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(left), { _tag: "NotHere" })
      assert.deepStrictEqual(yield* withdrawn, [id(1)])
      assert.isUndefined(taken.pollUnsafe())
      assert.deepStrictEqual(yield* handle(view(3)), { _tag: "NotHere" })
    }).pipe(atDesk)
  )

  it.effect("takes back what nobody waits for any more", () =>
    Effect.gen(function* () {
      const { awaitEnds, answer, handle, inbox, withdrawn } = yield* Desk.Desk
      const waiting = yield* ask(handle(view(1), "a shard"))
      const taken = yield* ask(handle(view(2), "a shard"))
      inbox.remove(id(2))
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(inbox.waiting(), [])
      yield* Fiber.interrupt(taken)
      assert.deepStrictEqual(yield* withdrawn, [id(2)])
      const ended = yield* Effect.forkChild(awaitEnds("a shard"))
      yield* BlazeTest.settle
      assert.isUndefined(ended.pollUnsafe())
      answer(id(2), { _tag: "Handled" })
      yield* Fiber.join(ended)
    }).pipe(atDesk)
  )

  /** A ledger behind the desk, whose store says of what it is asked what `admit` says. */
  const ledgerOf = (admit: States.States["Service"]["admit"], room?: Effect.Effect<void>) =>
    Effect.flatMap(Desk.Desk, ({ inbox, withdrawn }) =>
      ledgerWith({ inbox, withdrawn, states: { admit, of: () => "Open" }, ...(room && { room }) })
    )

  it.effect("takes back what nobody waits for any more, though it is being looked up at that moment", () =>
    Effect.gen(function* () {
      const { handle } = yield* Desk.Desk
      const looking = yield* Deferred.make<void>()
      const found = yield* Deferred.make<void>()
      const { became, entries, forgotten, givenBack, receive } = yield* ledgerOf((ids) =>
        Deferred.succeed(looking, undefined).pipe(
          Effect.andThen(Deferred.await(found)),
          Effect.as(ids.map(() => "New"))
        )
      )
      const given = yield* ask(handle(view(1)))
      yield* ask(receive(() => {}))
      yield* Deferred.await(looking)
      yield* Fiber.interrupt(given)
      yield* BlazeTest.settle
      yield* Deferred.succeed(found, undefined)
      yield* BlazeTest.settle
      assert.deepStrictEqual([givenBack, forgotten], [[id(1)], [id(1)]])
      // It is new when it comes again.
      assert.deepStrictEqual(became, [`${id(1)} Forgotten`])
      assert.deepStrictEqual([...entries()], [])
    }).pipe(atDesk)
  )

  const allNew = (ids: ReadonlyArray<unknown>) => Effect.succeed(ids.map(() => "New" as const))

  it.effect("leaves what is being worked on where it is, though nobody waits for it any more", () =>
    Effect.gen(function* () {
      const { handle } = yield* Desk.Desk
      const { entries, givenBack, hold, receive } = yield* ledgerOf(allNew)
      const given = [yield* ask(handle(view(1))), yield* ask(handle(view(2)))]
      yield* ask(handle(view(3)))
      const received: Array<Outstanding.Open> = []
      yield* receive((entries) => received.push(...entries))
      hold(received[0]!)
      for (const fiber of given) yield* Fiber.interrupt(fiber)
      yield* BlazeTest.settle
      assert.deepStrictEqual(givenBack, [id(2)])
      assert.deepStrictEqual(
        Array.from(entries(), ({ value }) => value?.id),
        [id(1), id(3)]
      )
    }).pipe(atDesk)
  )

  it.effect("has nothing handed out before there is room for its acknowledgement", () =>
    Effect.gen(function* () {
      const { handle } = yield* Desk.Desk
      const room = yield* Deferred.make<void>()
      const { receive } = yield* ledgerOf(allNew, Deferred.await(room))
      yield* ask(handle(view(1)))
      let received = 0
      const receiving = yield* ask(receive((entries) => (received += entries.length)))
      yield* BlazeTest.settle
      assert.strictEqual(received, 0)
      yield* Deferred.succeed(room, undefined)
      yield* Fiber.join(receiving)
      assert.strictEqual(received, 1)
    }).pipe(atDesk)
  )

  it.effect("gives back what the database says nothing of, for another runner may be at work on it", () =>
    Effect.gen(function* () {
      const { handle } = yield* Desk.Desk
      const { entries, givenBack, receive } = yield* ledgerOf((ids) =>
        Effect.succeed(ids.map((each) => (each === id(1) ? "Unread" : "New")))
      )
      for (const n of [1, 2]) yield* ask(handle(view(n)))
      const received: Array<string> = []
      yield* receive((entries) => received.push(...entries.map(({ value }) => value!.id)))
      assert.deepStrictEqual([received, givenBack], [[id(2)], [id(1)]])
      assert.lengthOf([...entries()], 1)
    }).pipe(atDesk)
  )

  it.effect("gets back what is left in one go, in order, whoever lets go of it first, and once", () =>
    Effect.gen(function* () {
      const { handle, inbox } = yield* Desk.Desk
      const known = new Set<string>()
      const { ack, entries, handBack, hold, receive, release } = yield* ledgerOf((ids) =>
        Effect.sync(() =>
          ids.map((each) => {
            const verdict = known.has(each) ? "Open" : "New"
            known.add(each)
            return verdict
          })
        )
      )
      for (const n of [1, 2, 3, 4]) yield* ask(handle(view(n)))
      const received: Array<Outstanding.Open> = []
      const next = receive((entries) => received.push(...entries))
      yield* next
      const [first, second, third, fourth] = received.splice(0) as [
        Outstanding.Open,
        Outstanding.Open,
        Outstanding.Open,
        Outstanding.Open
      ]
      const waiting = () => inbox.waiting().map((message) => message.id)
      for (const entry of [first, second, third, fourth]) hold(entry)
      handBack(first)
      for (const entry of [fourth, third, first]) {
        release(entry)
        handBack(entry)
      }
      handBack(first)
      yield* BlazeTest.settle
      assert.deepStrictEqual(waiting(), [id(1), id(3), id(4)])
      for (const entry of [first, second, third]) handBack(entry)
      yield* BlazeTest.settle
      assert.deepStrictEqual(waiting(), [id(1), id(3), id(4)])
      // One that is handled after all is for nobody, and what is left once more is there once more.
      yield* ack(third, [])
      assert.deepStrictEqual(
        Array.from(entries(), ({ number }) => number),
        [0, 1, 3]
      )
      yield* next
      assert.deepStrictEqual(received.splice(0), [first, fourth])
      handBack(fourth)
      handBack(third)
      yield* BlazeTest.settle
      assert.deepStrictEqual(waiting(), [id(4)])
      yield* next
      assert.deepStrictEqual(received, [fourth])
      assert.deepStrictEqual(waiting(), [])
    }).pipe(atDesk)
  )
})
