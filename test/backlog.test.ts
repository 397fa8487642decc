// Guarantee 7: bounded memory, and no deadlock between answers and messages that travel in the same stream.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { outcome, program } from "./support.ts"

// BACKLOG=200000 npm test -- test/backlog.test.ts is the full measure, which takes most of a minute.
const many = Number(process.env["BACKLOG"] ?? 10_000)

const megabyte = 1024 * 1024

const run = Effect.fnUntraced(function* (environment: {
  readonly COUNT: string
  readonly OVERFLOW: string
  readonly WORK: "reply" | "wait"
  readonly ACKS: "rest" | "socket"
}) {
  const { output } = yield* Effect.flatMap(
    program("test/programs/backlog.ts", { BOUND: "500", ...environment }),
    outcome
  )
  const result = JSON.parse(output) as Record<
    "left" | "sent" | "attempts" | "connections" | "listings" | "largest",
    number
  > & {
    readonly problems: ReadonlyArray<string>
  }
  assert.deepStrictEqual([result.left, result.problems, result.connections], [0, [], 1])
  return result
})

const test = (name: string, body: Effect.Effect<void, unknown, Effect.Services<ReturnType<typeof run>>>) =>
  it.live(name, () => body.pipe(Effect.scoped, Effect.provide(NodeServices.layer)) as Effect.Effect<void>, 900_000)

describe("bounded memory without deadlock", () => {
  for (const ACKS of ["rest", "socket"] as const) {
    test(
      `3 000 pending, every handler replies and waits, a bound of 500: no timeout, acknowledged over ${ACKS}`,
      Effect.gen(function* () {
        const result = yield* run({ COUNT: "3000", OVERFLOW: String(64 * megabyte), WORK: "reply", ACKS })
        assert.deepStrictEqual([result.sent, result.attempts, result.listings], [3000, 3000, 1])
        assert.isBelow(result.largest, 450 * megabyte)
      })
    )
  }

  test(
    "what does not fit the second bound either is left to the server and listed again, without loss",
    Effect.gen(function* () {
      const result = yield* run({ COUNT: "4000", OVERFLOW: String(16 * 1024), WORK: "reply", ACKS: "socket" })
      assert.deepStrictEqual([result.sent, result.attempts], [4000, 4000])
      assert.isAbove(result.listings, 1)
    })
  )

  test(
    `${many} pending and a handler of 1 ms`,
    Effect.gen(function* () {
      const result = yield* run({ COUNT: String(many), OVERFLOW: String(64 * megabyte), WORK: "wait", ACKS: "socket" })
      assert.isBelow(result.largest, 700 * megabyte)
    })
  )
})
