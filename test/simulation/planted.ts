// The shop's bugs: how fast strangers find each, and whether the test that they print tells the shop with the bug from the one without.
import { Effect, Exit, Result } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import { type Bug, bugs, Disk, expectations, shop, words } from "./shop.ts"

/** What strangers have to know of the shop. */
export const options = { disk: Disk.layer, expect: expectations, words }

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

/** Runs a test as it was printed, against one bot or the other. */
export const runPrinted = (text: string, bot: unknown, options: object) => {
  let test: (() => Effect.Effect<unknown, unknown>) | undefined
  const it = { live: (_: string, body: typeof test) => void (test = body) }
  // oxlint-disable-next-line typescript/no-implied-eval -- What is printed is to be pasted into a test file, and is run as one.
  new Function("it", "BlazeTest", "bot", "options", text)(it, BlazeTest, bot, options)
  return Effect.exit(test!())
}

/** What is wrong about how a bug is found, if anything is; and how it was found. */
export const find = Effect.fnUntraced(function* (bug: Bug, size: { readonly people: number; readonly days: number }) {
  const began = cpu()
  const result = yield* Effect.result(BlazeTest.strangers(shop(bug), { ...options, ...size, seeds: 5 }))
  const seconds = cpu() - began
  if (Result.isSuccess(result)) return { seconds, wrong: "nothing was found", told: "" }
  const error = result.failure
  if (error._tag === "NotRepeatable") return { seconds, wrong: error.message, told: "" }
  const told = `${error.expectation}: ${error.detail} Seed ${error.seed}, ${error.plan.events.length} events.`
  if (!bugs[bug].some((name) => name === error.expectation)) return { seconds, wrong: "found by something else", told }
  if (error.test === "") return { seconds, wrong: error.expectation === "bounded work" ? undefined : "no test", told }
  if (error.plan.events.length > 4) return { seconds, wrong: "more than 4 events are left", told }
  const withBug = yield* runPrinted(error.test, shop(bug), options)
  if (Exit.isSuccess(withBug)) return { seconds, wrong: "the printed test passes on the bug", told: error.test }
  const without = yield* runPrinted(error.test, shop(), options)
  return { seconds, wrong: Exit.isSuccess(without) ? undefined : "the printed test fails without the bug", told }
})
