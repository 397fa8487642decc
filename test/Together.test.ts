import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import * as Together from "../src/internal/Together.ts"

/** Requests that each wait to be answered, with what went in each. */
const make = Effect.fnUntraced(function* (options?: {
  readonly atOnce?: number
  readonly maximum?: number
  readonly refuses?: ReadonlyArray<string>
  /** Nothing can be asked for again for now. */
  readonly isScarce?: boolean
}) {
  const requests: Array<ReadonlyArray<string>> = []
  const answers: Array<Deferred.Deferred<void, string>> = []
  const asked = new Map<string, { readonly text: string }>()
  const further: Array<string> = []
  const ask = yield* Together.make<{ readonly text: string }, string>({
    send: (all) =>
      Effect.suspend(() => {
        const batch = all.map(({ text }) => text)
        const answer = Deferred.makeUnsafe<void, string>()
        requests.push(batch)
        answers.push(answer)
        if (batch.includes("bad")) throw new TypeError("cannot be said")
        return options?.refuses?.some((refused) => batch.includes(refused))
          ? Effect.fail("refused")
          : Deferred.await(answer)
      }),
    isOfOne: (error) => error === "refused",
    mayBeOfOne: (error) => error === "broken",
    atOnce: options?.atOnce ?? 1,
    maximum: options?.maximum ?? 3,
    maximumWeight: 10,
    weight: ({ text }) => text.length
  })
  return {
    asking: ask,
    /** The same thing again, where it was asked for before. */
    ask: (text: string) => {
      const one = asked.get(text) ?? { text }
      asked.set(text, one)
      const again = options?.isScarce === true ? Effect.never : Effect.sync(() => further.push(text))
      return Effect.forkChild(ask(one, again), { startImmediately: true })
    },
    /** What has been asked for more than once by this. */
    further,
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
      const { answer, ask, requests } = yield* make({ refuses: ["b"] })
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
    })
  )

  it.effect("go alone once they have failed together twice, if that may be because of one of them", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make()
      const round = Effect.fnUntraced(function* (n: number, error: string) {
        for (const one of ["a", "b"]) yield* ask(one)
        yield* BlazeTest.settle
        yield* answer(n, Exit.fail(error))
      })
      for (const [n, error] of ["broken", "too many", "too many", "broken"].entries()) yield* round(n, error)
      assert.strictEqual(requests(), "a,b | a,b | a,b | a,b")
      for (const one of ["c", "a", "d", "b", "e"]) yield* ask(one)
      yield* BlazeTest.settle
      for (let n = 4; n < 9; n++) yield* answer(n)
      assert.strictEqual(requests(), "a,b | a,b | a,b | a,b | c | a | d | b | e")
    })
  )

  it.effect("say what is asked for again, and do not ask for what is known to hold who is refused", () =>
    Effect.gen(function* () {
      const { answer, ask, further, requests } = yield* make({ maximum: 4, refuses: ["d"] })
      for (const one of ["a", "b", "c", "d"]) yield* ask(one)
      yield* BlazeTest.settle
      yield* answer(1)
      yield* answer(2)
      assert.strictEqual(requests(), "a,b,c,d | a,b | c | d")
      assert.deepStrictEqual(further, ["a", "b", "c", "d"])
    })
  )

  it.effect("do not wait for what is halved, though it cannot be asked for again for now", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make({ refuses: ["b"], isScarce: true })
      for (const one of ["a", "b"]) yield* ask(one)
      yield* BlazeTest.settle
      const third = yield* ask("c")
      yield* BlazeTest.settle
      assert.strictEqual(requests(), "a,b | c")
      yield* answer(1)
      assert.deepStrictEqual(yield* Fiber.await(third), Exit.void)
    })
  )

  it.effect("are not asked for in a half that nobody waits for any more", () =>
    Effect.gen(function* () {
      const { answer, ask, requests } = yield* make({ maximum: 4, refuses: ["a"] })
      const fibers = []
      for (const one of ["a", "b", "c", "d"]) fibers.push(yield* ask(one))
      yield* BlazeTest.settle
      // The first half is being asked for.
      assert.strictEqual(requests(), "a,b,c,d | a,b | a | b")
      yield* Fiber.interrupt(fibers[3]!)
      yield* answer(3)
      assert.strictEqual(requests(), "a,b,c,d | a,b | a | b | c")
    })
  )

  it.effect("keep nobody else from being asked for, whatever is asked for", () =>
    Effect.gen(function* () {
      const { answer, ask, asking, requests } = yield* make()
      const without = yield* Effect.exit(asking(undefined as never))
      assert.isTrue(Exit.hasDies(without))
      const fibers = [yield* ask("a"), yield* ask("bad"), yield* ask("b")]
      yield* BlazeTest.settle
      for (const n of [2, 4]) yield* answer(n)
      assert.strictEqual(requests(), "a,bad,b | a,bad | a | bad | b")
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      yield* ask("c")
      yield* BlazeTest.settle
      assert.isTrue(requests().endsWith(" | c"))
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
