// Many bots in one process that nobody talks to: what each holds, and what their liveness costs.
import { jobFor, type Server, start } from "./measure.ts"
import { modes } from "./modes.ts"
import type { Table } from "./statistics.ts"

/** Three ping periods. */
const watched = 30_000

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export const bots = async (server: Server, count: number): Promise<Table> => {
  const mode = modes["receive"]!
  const load = { ...mode.load, work: "idle" as const, count }
  const loaded = server.next("Loaded")
  server.ask({ _tag: "Load", load })
  await loaded
  const rows: Array<Table["rows"][number]> = []
  for (const contender of mode.contenders.filter(({ name }) => name === "bare REST" || name === "bot REST")) {
    const client = await start(contender.program, jobFor(server, contender, { ...mode, load }, count))
    const usage = async () => {
      const usage = client.next("Usage")
      client.ask({ _tag: "Report" })
      return usage
    }
    server.ask({ _tag: "Begin" })
    const before = await usage()
    const done = client.next("Done")
    client.ask({ _tag: "Go" })
    await done
    await pause(2000)
    const after = await usage()
    client.ask({ _tag: "Mark" })
    await pause(watched)
    const idle = await usage()
    await client.close()
    rows.push({
      name: contender.client,
      values: {
        "heap KB each": ((after.heap - before.heap) / 1024 / count).toFixed(1),
        "CPU ms to connect, each": (after.cpu / count).toFixed(2),
        "idle CPU % of a core, all": ((idle.cpu * 100) / watched).toFixed(2),
        "memory MiB": idle.memory.toFixed(0)
      }
    })
  }
  return { title: `bots: ${count} idle bots in one process, watched for ${watched / 1000} s`, rows }
}
