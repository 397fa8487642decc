import { assert, describe, it } from "@effect/vitest"
import * as Underway from "../src/internal/Underway.ts"

describe("Underway", () => {
  it("gives what is under way, oldest first, and a value once", () => {
    const all = Underway.make<string>()
    const [a, b, c] = [all.begin("a", 1), all.begin("b", 2), all.begin("c", 3)] as const
    assert.strictEqual(all.end(b), "b")
    assert.isUndefined(all.end(b))
    assert.strictEqual(all.size(), 2)
    assert.deepStrictEqual(
      Array.from(all.entries(), ({ since, value }) => [value, since]),
      [
        ["a", 1],
        ["c", 3]
      ]
    )
    assert.strictEqual(all.oldest(), a)
    all.end(a)
    assert.strictEqual(all.oldest(), c)
    all.end(c)
    assert.isUndefined(all.oldest())
    assert.strictEqual(all.size(), 0)
  })

  it("an ended entry holds nothing", () => {
    const all = Underway.make<object>()
    const entry = all.begin({}, 0)
    all.end(entry)
    assert.isUndefined(entry.value)
  })

  it("takes another value for what has not ended", () => {
    const all = Underway.make<string>()
    const entry = all.begin("sealed", 0)
    all.replace(entry, "read")
    assert.strictEqual(entry.value, "read")
    assert.strictEqual(all.end(entry), "read")
    all.replace(entry, "late")
    assert.isUndefined(entry.value)
    assert.strictEqual(all.size(), 0)
  })

  it("walks through all only when that is worth it", () => {
    const all = Underway.make<number>()
    const some = Array.from({ length: 40 }, (_, n) => all.begin(n, n))
    for (const entry of some.slice(0, 30)) all.end(entry)
    all.begin(40, 40)
    // So few are left where they are.
    assert.strictEqual(all.kept(), 41)
    for (let n = 41; n < 200; n++) all.begin(n, n)
    const kept = all.kept()
    for (const entry of some.slice(30)) all.end(entry)
    all.begin(200, 200)
    // Most are under way.
    assert.strictEqual(all.kept(), kept + 1)
  })

  it("lets go of what has ended as soon as it is half of sixty-four", () => {
    const all = Underway.make<number>()
    const some = Array.from({ length: 64 }, (_, n) => all.begin(n, n))
    for (const entry of some.slice(0, 32)) all.end(entry)
    all.begin(64, 64)
    assert.strictEqual(all.kept(), 33)
  })

  it("what begins is nobody's yet: not waiting, not being stored, not overtaken", () => {
    const { hands, holders, isOvertaken, isQueued, isSettling, warned } = Underway.make<string>().begin("a", 0)
    assert.deepStrictEqual(
      { hands: hands(), holders, isOvertaken, isQueued, isSettling, warned },
      { hands: "Cut", holders: 0, isOvertaken: false, isQueued: false, isSettling: false, warned: false }
    )
  })

  it("finds the oldest after it has let go of those before", () => {
    const all = Underway.make<number>()
    const some = Array.from({ length: 100 }, (_, n) => all.begin(n, n))
    for (const entry of some.slice(0, 90)) all.end(entry)
    assert.strictEqual(all.oldest()?.value, 90)
    const entry = all.begin(100, 100)
    assert.strictEqual(all.kept(), 11)
    assert.strictEqual(all.oldest()?.value, 90)
    assert.deepStrictEqual([entry.number, entry.warned, entry.holders, entry.isQueued], [100, false, 0, false])
  })

  it("keeps at most twice what is under way, in order, whatever ends and stays", () => {
    const all = Underway.make<number>()
    const stays: Array<number> = []
    for (let n = 0; n < 100_000; n++) {
      const entry = all.begin(n, n)
      if (n % 1000 === 0) stays.push(n)
      else all.end(entry)
    }
    assert.strictEqual(all.size(), stays.length)
    assert.deepStrictEqual(
      Array.from(all.entries(), ({ value }) => value),
      stays
    )
    assert.strictEqual(all.oldest()?.value, 0)
    assert.isAtMost(all.kept(), Math.max(64, 2 * all.size()))
  })
})
