import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import * as Together from "../src/internal/Together.ts"

/** Requests that each wait to be answered, with what went in each. */
const make = Effect.fnUntraced(function* (options?: { readonly atOnce?: number; readonly refuses?: string }) {
  const requests: Array<ReadonlyArray<string>> = []
  const answers: Array<Deferred.Deferred<void, string>> = []
  const asked = new Map<string, { readonly text: string }>()
  const ask = yield* Together.make<{ readonly text: string }, string>({
    send: (all) =>
      Effect.suspend(() => {
        const batch = all.map(({ text }) => text)
        const answer = Deferred.makeUnsafe<void, string>()
        requests.push(batch)
        answers.push(answer)
        if (batch.includes(options?.refuses ?? "")) return Effect.fail("refused")
        return Deferred.await(answer)
      }),
    isOfOne: (error) => error === "refused",
    atOnce: options?.atOnce ?? 1,
    maximum: 3,
    maximumWeight: 10,
    weight: ({ text }) => text.length
  })
  return {
    /** The same thing again, where it was asked for before. */
    ask: (text: string) => {
      const one = asked.get(text) ?? { text }
      asked.set(text, one)
      return Effect.forkChild(ask(one), { startImmediately: true })
    },
    requests: () => requests.map((batch) => batch.join()).join(" | "),
    answer: (n: number, exit: Exit.Exit<void, string> = Exit.void) =>
      Effect.andThen(
        Effect.sync(() => Deferred.doneUnsafe(answers[n]!, exit)),
        BlazeTest.settle
      )
  }
})

describe("requests that go together", () => {
  it.effect("go at once where none is out, and together behind those that are", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make({ atOnce: 2 })
      yield* ask("a")
      yield* BlazeTest.settle
      yield* ask("b")
      yield* BlazeTest.settle
      for (const one of ["c", "d", "e", "f"]) yield* ask(one)
      yield* BlazeTest.settle
      assert.strictEqual(requests(), "a | b")
      yield* answer(0)
      assert.strictEqual(requests(), "a | b | c,d,e")
      yield* answer(1)
      assert.strictEqual(requests(), "a | b | c,d,e | f")
    })
  )

  it.effect("go along with what is asked for in the same turn, as many and as much as may", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make()
      for (const one of ["123456", "12345", "1", "x".repeat(20), "2"]) yield* ask(one)
      yield* BlazeTest.settle
      for (let n = 0; n < 3; n++) yield* answer(n)
      assert.strictEqual(requests(), `123456 | 12345,1 | ${"x".repeat(20)} | 2`)
    })
  )

  it.effect("are halved where one of them is refused, and fail together otherwise", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make({ refuses: "b" })
      const fibers = [yield* ask("a"), yield* ask("b"), yield* ask("c")]
      yield* BlazeTest.settle
      for (const n of [2, 4]) yield* answer(n)
      assert.strictEqual(requests(), "a,b,c | a,b | a | b | c")
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(exits, [Exit.void, Exit.fail("refused"), Exit.void])
      const others = [yield* ask("d"), yield* ask("e")]
      yield* BlazeTest.settle
      yield* answer(5, Exit.fail("not now"))
      assert.strictEqual(requests(), "a,b,c | a,b | a | b | c | d,e")
      assert.deepStrictEqual(yield* Effect.forEach(others, Fiber.await), [Exit.fail("not now"), Exit.fail("not now")])
      // One of them may be the reason.
      for (const one of ["f", "d", "g", "e", "h"]) yield* ask(one)
      yield* BlazeTest.settle
      for (let n = 6; n < 11; n++) yield* answer(n)
      assert.strictEqual(requests(), "a,b,c | a,b | a | b | c | d,e | f | d | g | e | h")
    })
  )

  it.effect("leave out what nobody waits for any more, and survive a defect", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make()
      const first = yield* ask("a")
      yield* BlazeTest.settle
      const second = yield* ask("b")
      yield* ask("c")
      yield* Fiber.interrupt(second)
      yield* answer(0, Exit.die("bad"))
      assert.isTrue(Exit.isFailure(yield* Fiber.await(first)))
      assert.strictEqual(requests(), "a | c")
    })
  )
})
