// The library in every weather, by the seed.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type BotName, simulate } from "./simulation/library.ts"
import { pipelines, simulatePipeline } from "./simulation/pipelines.ts"

describe("the library", () => {
  const seeds = Array.from({ length: 3 }, (_, n) => n + 1)
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

describe("the pipelines of the docs", () => {
  for (const name of Object.keys(pipelines)) {
    it.live(`lose nothing, keep the order, and handle nothing beside itself, cut short and begun again: ${name}`, () =>
      Effect.map(simulatePipeline(name, 1), ({ violations }) => assert.deepStrictEqual(violations, []))
    )
  }
})
