// effect-blaze beside a bare socket loop, as people write it and with the tricks that there are, and the official client: the same
// load, in turn, several rounds, one table. Everybody reads the text of every message, which is checked.
//
//   npm run bench -- --modes receive,send --rounds 5 --count 100000 --json result.json
//
// All is optional; --clients bare,bot picks contenders. With NODE_OPTIONS="--cpu-prof --cpu-prof-dir=DIR" each process leaves a profile.
import { writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import { type Measurement, measure, openServer } from "./measure.ts"
import { type Contender, modes, type Mode, referenceOf, references } from "./modes.ts"
import { bots } from "./bots.ts"
import { firstMessage } from "./first-message.ts"
import { startUp } from "./start-up.ts"
import { comparisons, median, show, type Table } from "./statistics.ts"

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

const names = [...Object.keys(modes), "bots", "start-up", "first-message"]
const wanted = list(values.modes) ?? names
const unknown = wanted.filter((name) => !names.includes(name))
if (unknown.length > 0) throw new Error(`no such mode: ${unknown.join(", ")}; there are ${names.join(", ")}`)

const print = (table: Table) => {
  console.log(`\n${table.title}`)
  console.table(Object.fromEntries(table.rows.map(({ name, values }) => [name, values])))
}

type Results = ReadonlyMap<string, ReadonlyArray<Measurement>>

const row = (mode: Mode, count: number, results: Results, contender: Contender): Table["rows"][number] => {
  const measurements = results.get(contender.name)!
  const present = mode.contenders.filter(({ name }) => results.has(name))
  const theirs = references.map((name) => ({
    name,
    results: results.get(referenceOf(present, name, contender.acks)?.name ?? "")
  }))
  const of = (pick: (measurement: Measurement) => number, digits = 2) => show(median(measurements.map(pick)), digits)
  const to = (what: string, pick: (measurement: Measurement) => number) => comparisons(measurements, theirs, what, pick)
  const latencies = () => ({
    "p50 us": of((m) => m.p50 * 1000, 0),
    ...to("p50", (m) => m.p50),
    "p99 us": of((m) => m.p99 * 1000, 0),
    ...to("p99", (m) => m.p99)
  })
  return {
    name: contender.name,
    values: {
      "wall us": of((m) => (m.wall * 1000) / count),
      ...to("wall", (m) => m.wall),
      "CPU us": of((m) => (m.cpu * 1000) / count),
      ...to("CPU", (m) => m.cpu),
      ...(mode.load.rate > 0 ? latencies() : {}),
      "per second": of((m) => (count * 1000) / m.wall, 0),
      "heap after MiB": of((m) => m.heap / 1024 / 1024, 1),
      "memory MiB": of((m) => m.memory, 0),
      "server busy %": of((m) => (m.serverCpu * 100) / m.wall, 0)
    }
  }
}

const report = (name: string, mode: Mode, count: number, results: Results): Table => ({
  title: `${name}: ${mode.what}, ${count} messages, ${[...results.values()][0]?.length} rounds, medians; ratios round by round, to those that acknowledge in the same way`,
  rows: mode.contenders
    .filter((contender) => results.has(contender.name))
    .map((contender) => row(mode, count, results, contender))
})

const tables: Array<Table> = []
const add = (table: Table) => {
  tables.push(table)
  print(table)
}

console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})`)
const server = await openServer()
for (const name of wanted) {
  if (name === "bots") {
    const count = number("count")
    for (const each of count === undefined ? [100, 500] : [count]) add(await bots(server, each, number("rounds") ?? 3))
  } else if (name === "start-up") add(await startUp(number("rounds") ?? 9))
  else if (name === "first-message") add(await firstMessage(server, number("rounds") ?? 9))
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
