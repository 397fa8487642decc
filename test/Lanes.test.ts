import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Lanes from "../src/internal/Lanes.ts"
import { held } from "./support.ts"

interface Element {
  readonly key: unknown
  readonly n: number
}

const make = (pauses: Partial<Lanes.Pauses> = {}, now = () => 0) =>
  Lanes.make(({ key }: Element) => key, { every: 0, quiet: 0, size: Infinity, ...pauses }, now)

/** Takes what is next, and ends it. */
const work = (lanes: Lanes.Lanes<Element>): number | undefined => {
  const lane = lanes.take()
  if (lane === undefined) return undefined
  const { n } = Lanes.shift(lane)
  lanes.release(lane)
  return n
}

describe("Lanes", () => {
  it("what is put back into an empty lane stands before what comes after it", () => {
    const lanes = make()
    lanes.add({ key: "a", n: 1 })
    lanes.add({ key: "a", n: 2 })
    const lane = lanes.take()!
    const taken = [Lanes.shift(lane), Lanes.shift(lane)]
    lanes.putBack(lane, taken)
    lanes.add({ key: "a", n: 3 })
    lanes.release(lane)
    assert.deepStrictEqual(
      Array.from({ length: 4 }, () => work(lanes)),
      [1, 2, 3, undefined]
    )
    assert.isTrue(lanes.isIdle())
  })

  for (const [name, pauses] of [
    ["nothing to wait for", {}],
    ["a silence", { quiet: 10 }],
    ["a distance", { every: 10 }]
  ] as const) {
    it.live(`hold no key that has nothing to do any more, nor what was taken, with ${name}`, () =>
      Effect.gen(function* () {
        let time = 0
        const lanes = make(pauses, () => time)
        const references: Array<WeakRef<object>> = []
        const fill = () => {
          for (let n = 0; n < 100; n++) {
            const key = {}
            const element = { key, n }
            references.push(new WeakRef(key), new WeakRef(element))
            lanes.add(element)
          }
        }
        const work100 = () => {
          time += 10
          lanes.endPauses()
          let count = 0
          while (work(lanes) !== undefined) count++
          time += 10
          lanes.endPauses()
          return count
        }
        fill()
        assert.strictEqual(work100(), 100)
        // The last one may still be on the stack.
        assert.isBelow(yield* held(references), 4)
        assert.isTrue(lanes.isIdle())
      })
    )
  }
})
