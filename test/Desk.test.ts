// Where a runner takes messages in, without a cluster.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import * as Desk from "../src/cluster/internal/Desk.ts"
import * as Meter from "../src/internal/Meter.ts"
import { id } from "./contract/stores.ts"
import { botOfStores } from "./support.ts"

const view = (n: number) => ({ message_id: id(n), conversation_id: id(0), category: "PLAIN_TEXT" })

const desk = Desk.layer.pipe(Layer.provide(Meter.layer(botOfStores)))
const atDesk = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(Effect.scoped(effect), Layer.fresh(desk))

const ask = (asked: Effect.Effect<unknown>) => Effect.forkChild(asked, { startImmediately: true })

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
})
