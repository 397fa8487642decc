import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Message } from "effect-blaze"
import * as Outstanding from "../src/internal/Outstanding.ts"
import { id } from "./contract/stores.ts"

/** Some messages that were handed out, and all that goes back. */
const scene = (count: number) => {
  const offered: Array<ReadonlyArray<string>> = []
  const places = new Set<string>()
  const forked: Array<Fiber.Fiber<void>> = []
  const outstanding = Outstanding.make(
    {
      offer: (messages, place) => {
        offered.push(messages.map((message) => message.id))
        places.add(place)
      }
    },
    (effect) => {
      const fiber = Effect.runFork(effect)
      forked.push(fiber)
      return fiber
    }
  )
  const entries = Array.from({ length: count }, (_, n) =>
    outstanding.begin(Message.fromView({ message_id: id(n), category: "PLAIN_TEXT", data: "aGk=" }), n)
  )
  return {
    outstanding,
    entries: entries as [Outstanding.Open, Outstanding.Open, Outstanding.Open, Outstanding.Open],
    offered,
    places,
    /** What was left in this turn has gone back. */
    turn: Effect.suspend(() => Effect.asVoid(Fiber.awaitAll(forked.splice(0))))
  }
}

describe("what is outstanding", () => {
  it("is counted with who works on it, and nobody lets go of it twice", () => {
    const { entries, outstanding } = scene(3)
    const { count, end, hold, release } = outstanding
    const [first, second] = entries
    assert.deepStrictEqual(count(), { open: 3, held: 0 })
    hold(first)
    hold(first)
    hold(second)
    assert.deepStrictEqual(count(), { open: 3, held: 3 })
    for (const entry of [first, first, second, second, second]) release(entry)
    assert.deepStrictEqual(count(), { open: 3, held: 0 })
    assert.deepStrictEqual([first.holders, second.holders], [0, 0])
    hold(second)
    assert.strictEqual(end(second)?.id, id(1))
    assert.isUndefined(end(second))
    // Who holds it lets go of it when he is done.
    assert.deepStrictEqual(count(), { open: 2, held: 1 })
    release(second)
    assert.deepStrictEqual(count(), { open: 2, held: 0 })
  })

  it("is held while its outcome is being stored, and stays so where it is to be handled again", () => {
    const { entries, outstanding } = scene(2)
    const { count, settle, unsettle } = outstanding
    const [first, second] = entries
    for (const entry of [first, second]) settle(entry)
    assert.deepStrictEqual([first.isSettling, second.isSettling, count().held], [true, true, 2])
    unsettle(first, false)
    assert.deepStrictEqual([first.isSettling, second.isSettling, count().held], [false, true, 1])
    unsettle(second, true)
    assert.deepStrictEqual([second.isSettling, count().held, second.holders], [false, 1, 1])
  })

  it("shows whatever happens to it", () => {
    const { entries, outstanding } = scene(1)
    const [entry] = entries
    const { activity } = outstanding
    let seen = activity()
    assert.isAbove(seen, 0)
    const happens = (what: () => void) => {
      what()
      assert.isAbove(activity(), seen, String(what))
      seen = activity()
    }
    happens(() => outstanding.hold(entry))
    happens(() => outstanding.release(entry))
    happens(() => outstanding.settle(entry))
    happens(() => outstanding.unsettle(entry, false))
    happens(() => outstanding.end(entry))
    // Nobody holds it.
    outstanding.release(entry)
    assert.strictEqual(activity(), seen)
  })

  it.effect("goes back in one go when it is left, in order and once, before what waits", () =>
    Effect.gen(function* () {
      const { entries, offered, outstanding, places, turn } = scene(4)
      const { end, handBack, hold, release } = outstanding
      const [first, second, third, fourth] = entries
      hold(second)
      for (const entry of [fourth, third, second, third, first]) handBack(entry)
      assert.deepStrictEqual(offered, [])
      // What is settled or begun with in the same turn does not go.
      end(third)
      hold(first)
      yield* turn
      assert.deepStrictEqual(offered.splice(0), [[id(3)]])
      for (const entry of [second, first]) {
        release(entry)
        handBack(entry)
      }
      handBack(fourth)
      yield* turn
      assert.deepStrictEqual(offered.splice(0), [[id(0), id(1)]])
      assert.deepStrictEqual([...places], ["first"])
    })
  )

  it.effect("is open on its way to the next consumer, who gets it once", () =>
    Effect.gen(function* () {
      const { entries, offered, outstanding, turn } = scene(3)
      const { count, end, handBack, handedOut, takeReturned } = outstanding
      const [first, second, third] = entries
      for (const entry of [first, second]) handBack(entry)
      yield* turn
      assert.deepStrictEqual([count().open, handedOut()], [3, 1])
      assert.isUndefined(takeReturned(third.value!.id))
      assert.strictEqual(takeReturned(first.value!.id), first)
      assert.isUndefined(takeReturned(first.value!.id))
      assert.deepStrictEqual([count().open, handedOut()], [3, 2])
      // Who left it has settled it after all: nobody gets it.
      const late = end(second)!
      assert.isUndefined(takeReturned(late.id))
      assert.deepStrictEqual([count().open, handedOut()], [2, 2])
      // What was on its way is with the next consumer before the turn ends: it is not left.
      handBack(third)
      yield* turn
      offered.splice(0)
      handBack(third)
      assert.strictEqual(takeReturned(third.value!.id), third)
      yield* turn
      assert.deepStrictEqual(offered, [])
      // Left once more it goes back once more.
      offered.splice(0)
      handBack(first)
      yield* turn
      assert.deepStrictEqual(offered, [[id(0)]])
    })
  )

  it("is taken over by the next consumer but for what somebody works on or may yet settle", () => {
    const { entries, offered, outstanding, places } = scene(4)
    const [first, second, third, fourth] = entries
    outstanding.hold(first)
    second.hands = () => "AtWork"
    third.hands = () => "Ended"
    outstanding.takeOver()
    assert.deepStrictEqual(offered.splice(0), [[id(2), id(3)]])
    assert.deepStrictEqual([...places], ["first"])
    // It is on its way already.
    outstanding.takeOver()
    assert.deepStrictEqual(offered.flat(), [])
    assert.strictEqual(outstanding.takeReturned(fourth.value!.id), fourth)
  })
})
