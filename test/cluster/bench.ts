// npm run bench:cluster [-- --rounds N --count M]
//
// What a cluster costs: the processor time of a message that is answered, alone and on one and three runners, one after the other in
// every round; and how long an answer takes at 50 messages a second.
import { NodeServices } from "@effect/platform-node"
import { Effect, Stream } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { readdirSync, readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { median, quantile } from "../bench/statistics.ts"
import { bundled } from "../bundled.ts"
import { createDatabase, start as startPostgres, urlOf } from "../postgres/server.ts"
import { eventually } from "../support.ts"
import { now } from "./clock.ts"
import * as World from "./world.ts"

const { values } = parseArgs({ options: { rounds: { type: "string" }, count: { type: "string" } } })
const rounds = Number(values.rounds ?? 3)
const count = Number(values.count ?? 8000)
const conversations = 300

/** Milliseconds of processor time that a process has had. Source: proc(5), at the 100 Hz that Linux has. */
const processorTime = (pid: number | string) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return 0
  }
}

const databases = () =>
  readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres")
    } catch {
      return false
    }
  })

type Mode = "memory" | "postgres" | "cluster"

let ports = 28_000

/** A bot on so many processes, with its people, and nobody has said anything yet. */
const make = Effect.fnUntraced(function* (postgres: number, mode: Mode, processes: number) {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const people = yield* Effect.forEach(Array.from({ length: conversations }), (_, n) => server.user(bot, `p${n}`))
  const database = yield* createDatabase(postgres)
  const pids: Array<number> = []
  for (let n = 0; n < processes; n++) {
    const { pid } = yield* bundled("test/cluster/bench-bot.ts", {
      ...local.environment(bot),
      MODE: mode,
      HOST: "127.0.0.1",
      PORT: String(ports++),
      DATABASE_URL: urlOf(postgres, database)
    })
    pids.push(Number(pid))
  }
  yield* eventually(Effect.map(bot.connections, (connections) => connections === 1))
  if (processes > 1) yield* Effect.sleep("12 seconds")
  let said = 0
  const say = (some: number) =>
    Effect.gen(function* () {
      for (let n = 0; n < some; n++, said++) {
        yield* people[said % people.length]!.say(`message ${said}`)
        if (n % 100 === 99) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
    })
  return { server, bot, people, pids, say, quiet: eventually(Effect.map(bot.pending, (left) => left.length === 0)) }
})

const measure = (postgres: number, mode: Mode, processes: number) =>
  Effect.gen(function* () {
    const { pids, quiet, say } = yield* make(postgres, mode, processes)
    yield* say(count / 2)
    yield* quiet
    const before = {
      at: now(),
      bots: pids.map(processorTime),
      database: new Map(databases().map((pid) => [pid, processorTime(pid)]))
    }
    yield* say(count)
    yield* quiet
    const wall = now() - before.at
    const bots = pids.map((pid, n) => processorTime(pid) - before.bots[n]!)
    const database = databases().reduce((sum, pid) => sum + processorTime(pid) - (before.database.get(pid) ?? 0), 0)
    const perMessage = (millis: number) => (millis / count) * 1000
    return {
      wall: perMessage(wall),
      bots: perMessage(bots.reduce((a, b) => a + b, 0)),
      most: perMessage(Math.max(...bots)),
      database: perMessage(database)
    }
  }).pipe(Effect.scoped, Effect.provide(World.layer))

const latency = (postgres: number, mode: Mode, processes: number) =>
  Effect.gen(function* () {
    const { people, quiet, server } = yield* make(postgres, mode, processes)
    const saidAt = new Map<string, number>()
    const times: Array<number> = []
    yield* Stream.runForEach(server.events, (event) =>
      Effect.sync(() => {
        if (event._tag !== "Replied") return
        const at = saidAt.get(event.text)
        if (at !== undefined) times.push(now() - at)
      })
    ).pipe(Effect.forkScoped({ startImmediately: true }))
    for (let n = 0; n < 1500; n++) {
      const text = `message ${n}`
      // The first ones compile.
      if (n >= 500) saidAt.set(text, now())
      yield* people[n % people.length]!.say(text)
      yield* Effect.sleep("20 millis")
    }
    yield* quiet
    const sorted = times.toSorted((a, b) => a - b)
    return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
  }).pipe(Effect.scoped, Effect.provide(World.layer))

const contenders = [
  ["alone, in memory", "memory", 1],
  ["alone, in PostgreSQL", "postgres", 1],
  ["a cluster of one runner", "cluster", 1],
  ["a cluster of three", "cluster", 3]
] as const

const main = Effect.gen(function* () {
  const { port } = yield* startPostgres
  const results = new Map<string, Array<Effect.Success<ReturnType<typeof measure>>>>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, mode, processes] of contenders) {
      const result = yield* measure(port, mode, processes)
      results.set(name, [...(results.get(name) ?? []), result])
    }
  }
  const first = results.get(contenders[0][0])!
  console.log(
    "us for each message: on the clock, processor of all bots, of the busiest, of the database; processor to the first"
  )
  for (const [name, all] of results) {
    const of = (key: "wall" | "bots" | "most" | "database") => Math.round(median(all.map((result) => result[key])))
    const ratio = median(all.map(({ bots }, round) => bots / first[round]!.bots))
    console.log(`${name}: ${of("wall")}, ${of("bots")}, ${of("most")}, ${of("database")}; ${ratio.toFixed(2)}`)
  }
  for (const [name, mode, processes] of [contenders[0], contenders[3]] as const) {
    const { p50, p99 } = yield* latency(port, mode, processes)
    console.log(`${name}, 50 a second: an answer after ${p50} ms (p50), ${p99} ms (p99)`)
  }
}).pipe(Effect.scoped, Effect.provide(NodeServices.layer))

await Effect.runPromise(main)
process.exit(0)
