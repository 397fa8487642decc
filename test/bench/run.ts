// effect-blaze beside a bare socket loop and the official client: the same load, in turn, several rounds, one table.
//
//   npm run bench -- --modes receive,send --rounds 5 --count 100000 --json result.json
//
// All is optional; --clients bare,bot picks contenders. With NODE_OPTIONS="--cpu-prof --cpu-prof-dir=DIR" each process leaves a profile.
import { writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import { type Measurement, measure, openServer } from "./measure.ts"
import { modes, type Mode } from "./modes.ts"
import { bots } from "./bots.ts"
import { startUp } from "./start-up.ts"
import { median, ratios, type Table } from "./statistics.ts"

const { values } = parseArgs({
  options: {
    modes: { type: "string" },
    clients: { type: "string" },
    rounds: { type: "string" },
    count: { type: "string" },
    json: { type: "string" }
  }
})

const list = (text: string | undefined) => text?.split(",").filter((name) => name !== "")
const number = (name: "rounds" | "count") => {
  const text = values[name]
  if (text === undefined) return undefined
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes a whole number`)
  return value
}

const names = [...Object.keys(modes), "bots", "start-up"]
const wanted = list(values.modes) ?? names
const unknown = wanted.filter((name) => !names.includes(name))
if (unknown.length > 0) throw new Error(`no such mode: ${unknown.join(", ")}; there are ${names.join(", ")}`)

const show = (value: number | undefined, digits = 2) =>
  value === undefined || Number.isNaN(value) ? "" : value.toFixed(digits)

const print = (table: Table) => {
  console.log(`\n${table.title}`)
  console.table(Object.fromEntries(table.rows.map(({ name, values }) => [name, values])))
}

const report = (
  name: string,
  mode: Mode,
  count: number,
  results: ReadonlyMap<string, ReadonlyArray<Measurement>>
): Table => ({
  title: `${name}: ${mode.what}, ${count} messages, ${[...results.values()][0]?.length} rounds, medians; x is the ratio to ${mode.limit.join(" or ")}, round by round`,
  rows: [...results].map(([contender, measurements]) => {
    const against = results.get(
      mode.limit.find((limit) => limit.split(" ").at(-1) === contender.split(" ").at(-1)) ?? mode.limit[0]!
    )
    const of = (pick: (measurement: Measurement) => number) => median(measurements.map(pick))
    const to = (pick: (measurement: Measurement) => number) =>
      against === undefined ? Number.NaN : median(ratios(measurements, against, pick))
    return {
      name: contender,
      values: {
        "wall us": show(of((m) => (m.wall * 1000) / count)),
        "wall x": show(to((m) => m.wall)),
        "CPU us": show(of((m) => (m.cpu * 1000) / count)),
        "CPU x": show(to((m) => m.cpu)),
        "per second": show(
          of((m) => (count * 1000) / m.wall),
          0
        ),
        "heap after MiB": show(
          of((m) => m.heap / 1024 / 1024),
          1
        ),
        "memory MiB": show(
          of((m) => m.memory),
          0
        ),
        "server busy %": show(
          of((m) => (m.serverCpu * 100) / m.wall),
          0
        ),
        ...(mode.load.rate > 0
          ? {
              "p50 us": show(
                of((m) => m.p50 * 1000),
                0
              ),
              "p50 x": show(to((m) => m.p50)),
              "p99 us": show(
                of((m) => m.p99 * 1000),
                0
              ),
              "p99 x": show(to((m) => m.p99))
            }
          : {})
      }
    }
  })
})

const tables: Array<Table> = []
const add = (table: Table) => {
  tables.push(table)
  print(table)
}

console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})`)
const server = await openServer()
for (const name of wanted) {
  if (name === "bots") add(await bots(server, number("count") ?? 100))
  else if (name === "start-up") add(await startUp(server, number("rounds") ?? 9))
  else {
    const mode = modes[name]!
    const count =
      number("count") === undefined ? mode.count : Math.max(400, Math.ceil((number("count")! * mode.share) / 400) * 400)
    const clients = list(values.clients)
    const contenders = mode.contenders.filter(
      ({ client, name }) => clients?.includes(client) || clients?.includes(name) || !clients
    )
    add(report(name, mode, count, await measure(server, mode, contenders, count, number("rounds") ?? mode.rounds)))
  }
}
server.close()
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ node: process.version, tables }, null, 2)}\n`)
