// The short forms of `npm run test:faults` and `npm run test:fuzz`.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { outcome, program } from "./support.ts"

describe("faults", () => {
  it.live(
    "1 000 messages through everything that can go wrong: none lost, none handled or answered twice, all in order",
    () =>
      Effect.gen(function* () {
        const { code, output } = yield* Effect.flatMap(
          program("test/faults/run.ts", {}, ["--seed", "3", "--messages", "1000"]),
          outcome
        )
        assert.strictEqual(code, 0, output)
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
    900_000
  )

  it.live(
    "2 500 mutated frames: no crash, no hang, no growth",
    () =>
      Effect.gen(function* () {
        const { code, output } = yield* Effect.flatMap(
          program("test/faults/fuzz.ts", { NODE_OPTIONS: "--expose-gc" }, ["--seed", "3", "--count", "2500"]),
          outcome
        )
        assert.strictEqual(code, 0, output)
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
    900_000
  )
})
