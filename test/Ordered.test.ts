import { assert, describe, it } from "@effect/vitest"
import * as Ordered from "../src/internal/Ordered.ts"
import { seeded } from "./support.ts"

describe("Ordered", () => {
  it("holds what a Map holds, in the order of the last set, for ten thousand changes that are drawn", () => {
    const random = seeded(9)
    const ordered = Ordered.make<number, number>()
    const map = new Map<number, number>()
    for (let n = 0; n < 10_000; n++) {
      const key = Math.floor(random() * 30)
      const [first] = map
      if (random() < 0.4) assert.strictEqual(ordered.delete(key), map.delete(key))
      else if (random() < 0.2 && first !== undefined) {
        ordered.delete(first[0])
        map.delete(first[0])
      } else {
        map.delete(key)
        ordered.set(key, n)
        map.set(key, n)
      }
      const [oldest] = map
      assert.deepStrictEqual(
        Array.from(ordered.entries(), ({ key, value }) => [key, value]),
        [...map]
      )
      assert.deepStrictEqual([ordered.oldest()?.key, ordered.oldest()?.value], [oldest?.[0], oldest?.[1]])
      assert.deepStrictEqual(
        [ordered.size(), ordered.has(key), ordered.get(key)],
        [map.size, map.has(key), map.get(key)]
      )
    }
  })

  it("goes on behind an entry that was removed, or set again, when it was given", () => {
    const ordered = Ordered.make<string, number>()
    for (const [index, key] of [..."abcde"].entries()) ordered.set(key, index)
    const seen: Array<string> = []
    for (const { key } of ordered.entries()) {
      seen.push(key)
      if (key === "b") ordered.delete(key)
      if (key === "c") ordered.set(key, 7)
    }
    assert.deepStrictEqual(seen.join(""), "abcdec")
    assert.deepStrictEqual(Array.from(ordered.entries(), ({ key }) => key).join(""), "adec")
  })

  it("keeps the latest of too many", () => {
    const ordered = Ordered.make<string, number>()
    for (const key of "abcda") ordered.set(key, 1)
    ordered.keep(4)
    ordered.keep(2)
    assert.deepStrictEqual(Array.from(ordered.entries(), ({ key }) => key).join(""), "da")
    ordered.keep(0)
    assert.deepStrictEqual([ordered.size(), ordered.oldest()], [0, undefined])
  })

  it("an entry that is gone leads to no other", () => {
    const ordered = Ordered.make<string, number>()
    for (const key of "abc") ordered.set(key, 1)
    const gone = ordered.oldest()
    ordered.delete("a")
    assert.deepStrictEqual(gone, { key: "a", value: 1, previous: undefined, next: undefined } as Ordered.Entry<
      string,
      number
    >)
  })
})
