// A week of 50 people with everything that goes wrong, as one line: what it was, how long it took, and a hash of all that happened.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Blaze from "effect-blaze/Blaze"
import * as Plan from "effect-blaze/testing/Plan"
import * as Simulation from "effect-blaze/testing/Simulation"
import { createHash } from "node:crypto"
import { Disk, shop, words } from "./shop.ts"

/** Runs a world of the shop, and hashes all that happened in it. */
export const hashOf = Effect.fnUntraced(function* (seed: number, people: number, days: number) {
  const plan = Plan.make({ seed, people, days, words, rates: Plan.allFaults, groups: Math.floor(people / 12) })
  const subject = { bot: shop(), disk: Layer.fresh(Disk.layer), blaze: Blaze.layer, shuffled: false }
  const outcome = yield* Simulation.run(subject, seed, Simulation.follow(plan))
  const { heard, log, runs, said } = outcome
  const hash = createHash("sha256")
    .update(log.join("\n"))
    .update(JSON.stringify([said, heard, runs]))
    .digest("hex")
  return { events: plan.events.length, messages: said.length, lives: outcome.lives, lines: log.length, hash }
})

if (import.meta.main) {
  const [seed, people, days] = process.argv.slice(2).map(Number) as [number, number, number]
  const result = await Effect.runPromise(hashOf(seed, people, days))
  const { system, user } = process.cpuUsage()
  console.log(JSON.stringify({ ...result, seconds: (system + user) / 1e6 }))
}
