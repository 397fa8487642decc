// Fails when we have become slower: a short run beside the bare loop, whose ratios may be at most a quarter above the recorded ones.
//
//   npm run bench:check              compares
//   npm run bench:check -- --record  records, after a change that is meant
import { readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { type Measurement, measure, openServer } from "./measure.ts"
import { modes } from "./modes.ts"
import { median, ratios } from "./statistics.ts"

const { values } = parseArgs({ options: { record: { type: "boolean" } } })

const rounds = 5
const count = 60_000
const tolerance = 1.25

/** In each mode: who is compared with whom. */
const pairs = [
  { mode: "receive", ours: "deliveries socket", bare: "bare socket" },
  { mode: "receive", ours: "bot socket", bare: "bare socket" },
  { mode: "receive", ours: "bot REST", bare: "bare REST" },
  { mode: "send", ours: "deliveries", bare: "bare" }
]

const recorded = new URL("recorded.json", import.meta.url)
const before = JSON.parse(readFileSync(recorded, "utf8")) as Record<string, number>
const now: Record<string, number> = {}

const server = await openServer()
for (const name of new Set(pairs.map(({ mode }) => mode))) {
  const mode = modes[name]!
  const compared = pairs.filter((pair) => pair.mode === name)
  const names = new Set(compared.flatMap(({ bare, ours }) => [bare, ours]))
  const contenders = mode.contenders.filter((contender) => names.has(contender.name))
  const results = await measure(server, mode, contenders, count, rounds)
  for (const { bare, ours } of compared) {
    const ratio = (pick: (measurement: Measurement) => number) =>
      median(ratios(results.get(ours)!, results.get(bare)!, pick))
    now[`${name}, ${ours}, wall`] = ratio(({ wall }) => wall)
    now[`${name}, ${ours}, CPU`] = ratio(({ cpu }) => cpu)
  }
}
server.close()

const rows = Object.entries(now).map(([name, ratio]) => {
  const allowed = (before[name] ?? Infinity) * tolerance
  return { name, ratio, recorded: before[name], grown: ratio > allowed }
})
console.table(
  Object.fromEntries(
    rows.map(({ grown, name, ratio, recorded }) => [
      name,
      { "now x": ratio.toFixed(2), "recorded x": recorded?.toFixed(2) ?? "", "": grown ? "SLOWER" : "" }
    ])
  )
)
if (values.record === true) {
  const rounded = Object.fromEntries(Object.entries(now).map(([name, ratio]) => [name, Number(ratio.toFixed(2))]))
  writeFileSync(recorded, `${JSON.stringify(rounded, null, 2)}\n`)
} else if (rows.some(({ grown }) => grown)) process.exit(1)
