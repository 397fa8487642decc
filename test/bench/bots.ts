// Many bots in one process that nobody talks to: what each holds, what it takes to connect one, and what their liveness costs.
import { jobFor, type Server, start } from "./measure.ts"
import { type Contender, type Mode, modes, references } from "./modes.ts"
import { comparisons, median, show, type Table } from "./statistics.ts"

/** Three ping periods. */
const watched = 30_000

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** For each bot; times are milliseconds. */
interface Crowd {
  readonly heap: number
  readonly cpu: number
  readonly wall: number
  readonly memory: number
  /** Processor time of all of them together while they are watched. */
  readonly idle: number
}

const once = async (
  server: Server,
  contender: Contender,
  mode: Mode,
  count: number,
  watching: boolean
): Promise<Crowd> => {
  const client = await start(contender.program, jobFor(server, contender, mode, count))
  const usage = async () => {
    const usage = client.next("Usage")
    client.ask({ _tag: "Report" })
    return usage
  }
  server.ask({ _tag: "Begin" })
  const before = await usage()
  const done = client.next("Done")
  const begun = performance.now()
  client.ask({ _tag: "Go" })
  await done
  const wall = (performance.now() - begun) / count
  await pause(2000)
  const after = await usage()
  client.ask({ _tag: "Mark" })
  if (watching) await pause(watched)
  const idle = await usage()
  await client.close()
  return {
    heap: (after.heap - before.heap) / count,
    cpu: after.cpu / count,
    wall,
    memory: idle.memory,
    idle: watching ? idle.cpu : Number.NaN
  }
}

export const bots = async (server: Server, count: number, rounds: number): Promise<Table> => {
  const receive = modes["receive"]!
  const load = { ...receive.load, work: "idle" as const, count }
  const loaded = server.next("Loaded")
  server.ask({ _tag: "Load", load })
  await loaded
  const wanted = new Set<string>([...references, "bot"])
  const contenders = receive.contenders.filter(({ acks, client }) => acks === "rest" && wanted.has(client))
  const results = new Map<string, Array<Crowd>>(contenders.map(({ client }) => [client, []]))
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // One look at what they do while they idle is enough: it takes long, and says the same each time.
      const crowd = await once(server, contender, { ...receive, load }, count, round === 0)
      results.get(contender.client)!.push(crowd)
    }
  }
  const theirs = references.map((name) => ({ name, results: results.get(name) }))
  return {
    title: `bots: ${count} idle bots in one process, ${rounds} rounds, medians; watched for ${watched / 1000} s in the first`,
    rows: [...results].map(([name, crowds]) => ({
      name,
      values: {
        "heap KB each": show(median(crowds.map(({ heap }) => heap / 1024)), 1),
        "CPU ms to connect, each": show(median(crowds.map(({ cpu }) => cpu))),
        ...comparisons(crowds, theirs, "CPU", ({ cpu }) => cpu),
        "wall ms to connect, each": show(median(crowds.map(({ wall }) => wall))),
        ...comparisons(crowds, theirs, "wall", ({ wall }) => wall),
        "idle CPU % of a core, all": show((crowds[0]!.idle * 100) / watched),
        "memory MiB": show(median(crowds.map(({ memory }) => memory)), 0)
      }
    }))
  }
}
