// The library in every weather, by the seed.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type BotName, simulate } from "./simulation/library.ts"

describe("the library", () => {
  const seeds = Array.from({ length: 8 }, (_, n) => n + 1)
  for (const name of ["echo", "moody", "restless"] as ReadonlyArray<BotName>) {
    it.live(`keeps its guarantees in every weather: ${name}, ${seeds.length} seeds`, () =>
      Effect.forEach(
        seeds,
        (seed) =>
          Effect.map(simulate(name, seed), ({ violations }) => {
            assert.deepStrictEqual(violations, [], `seed ${seed}`)
          }),
        { discard: true }
      )
    )
  }
})
