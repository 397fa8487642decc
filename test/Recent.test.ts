import { assert, describe, it } from "@effect/vitest"
import * as Recent from "../src/internal/Recent.ts"
import { seeded } from "./support.ts"

describe("Recent", () => {
  it("remembers so many, and forgets the oldest first, however often one is met again", () => {
    const recent = Recent.make<number>(3)
    for (const id of [1, 2, 3, 1]) recent.add(id)
    assert.deepStrictEqual([1, 2, 3].map(recent.has), [true, true, true])
    recent.add(4)
    assert.deepStrictEqual([1, 2, 3, 4].map(recent.has), [false, true, true, true])
    for (const id of [5, 1]) recent.add(id)
    assert.deepStrictEqual([1, 2, 3, 4, 5].map(recent.has), [true, false, false, true, true])
  })

  it("holds what a list of the latest holds, for a thousand that are drawn", () => {
    const random = seeded(5)
    const recent = Recent.make<number>(20)
    let latest: ReadonlyArray<number> = []
    for (let n = 0; n < 1000; n++) {
      const id = Math.floor(random() * 60)
      recent.add(id)
      if (!latest.includes(id)) latest = [...latest, id].slice(-20)
      for (let other = 0; other < 60; other++) assert.strictEqual(recent.has(other), latest.includes(other))
    }
  })
})
