// Runs contenders in turn against the load server, each in a process of its own.
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Finished, FromClient, FromServer, Job, Listening, ToClient, ToServer } from "./job.ts"
import type { Contender, Mode } from "./modes.ts"
import { quantile } from "./statistics.ts"

/** One run of one contender. Times are milliseconds, memory MiB. */
export interface Measurement {
  readonly wall: number
  readonly cpu: number
  readonly memory: number
  readonly heap: number
  readonly serverCpu: number
  readonly p50: number
  readonly p99: number
}

export interface Server {
  readonly listening: Listening
  readonly ask: (message: ToServer) => void
  readonly next: <Tag extends FromServer["_tag"]>(tag: Tag) => Promise<Extract<FromServer, { readonly _tag: Tag }>>
  readonly close: () => void
}

/** A run that takes longer has come to a halt. */
const deadline = 2 * 60_000
/** So long a million messages may take until they are compressed. */
const loadDeadline = 10 * 60_000

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

const next = <M extends { readonly _tag: string }, Tag extends M["_tag"]>(
  child: ChildProcess,
  tag: Tag,
  millis = deadline
) =>
  new Promise<Extract<M, { readonly _tag: Tag }>>((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      child.off("message", onMessage)
      child.off("exit", onExit)
    }
    const onMessage = (message: unknown) => {
      if ((message as M)._tag !== tag) return
      end()
      resolve(message as Extract<M, { readonly _tag: Tag }>)
    }
    const onExit = (code: number | null) => {
      end()
      reject(new Error(`${child.spawnargs.join(" ")} ended with ${code} before ${tag}`))
    }
    const timer = setTimeout(() => {
      end()
      reject(new Error(`${child.spawnargs.join(" ")}: no ${tag} within ${millis / 60_000} minutes`))
    }, millis)
    child.on("message", onMessage)
    child.on("exit", onExit)
  })

export const openServer = async (): Promise<Server> => {
  const child = fork(path("load-server.ts"), { execArgv: ["--max-old-space-size=16384"] })
  const listening = await next<FromServer, "Listening">(child, "Listening")
  return {
    listening,
    ask: (message) => void child.send(message),
    next: (tag) => next<FromServer, typeof tag>(child, tag, tag === "Loaded" ? loadDeadline : deadline),
    close: () => child.disconnect()
  }
}

export const keystore = {
  app_id: "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
}

export const jobFor = (server: Server, contender: Contender, mode: Mode, count: number): Job => ({
  client: contender.client,
  work: mode.load.work,
  acks: contender.acks,
  count,
  inFlight: mode.inFlight,
  url: server.listening.url,
  apiUrl: server.listening.apiUrl,
  keystore
})

export const start = async (program: string, job: Job) => {
  const child = fork(path(program), [JSON.stringify(job)], { execArgv: ["--expose-gc"] })
  await next<FromClient, "Ready">(child, "Ready")
  return {
    ask: (message: ToClient) => void child.send(message),
    next: <Tag extends FromClient["_tag"]>(tag: Tag) => next<FromClient, Tag>(child, tag),
    close: async () => {
      const gone = new Promise((resolve) => child.once("exit", resolve))
      child.disconnect()
      await gone
    }
  }
}

/** Has every text been read that was served, and given back where it was to be? */
const verify = (what: string, characters: number, served: number) => {
  if (characters !== served) throw new Error(`${what} ${characters} characters of ${served} that were served`)
}

const once = async (
  server: Server,
  contender: Contender,
  mode: Mode,
  count: number,
  served: number
): Promise<Measurement> => {
  const client = await start(contender.program, jobFor(server, contender, mode, count))
  server.ask({ _tag: "Begin" })
  const finished: Promise<Finished> = server.next("Finished")
  // Whoever waits for the answers to what it sends is done when they are there.
  const done = mode.load.work === "send" && contender.client !== "discard" ? client.next("Done") : undefined
  client.ask({ _tag: "Go" })
  const { echoed, latencies, serverCpu, wall } = await finished
  await done
  client.ask({ _tag: "Report" })
  const { characters, cpu, heap, memory } = await client.next("Usage")
  await client.close()
  if (mode.load.work !== "discard") verify(`${contender.name} has read`, characters, served)
  if (mode.load.work === "echo") verify(`${contender.name} has echoed`, echoed, served)
  return { wall, cpu, memory, heap, serverCpu, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

/** Every contender once in every round, the first of a round another one each time. */
export const measure = async (
  server: Server,
  mode: Mode,
  contenders: ReadonlyArray<Contender>,
  count: number,
  rounds: number
): Promise<ReadonlyMap<string, ReadonlyArray<Measurement>>> => {
  const loaded = server.next("Loaded")
  // A short run has a short warm-up, so that something is left to be measured.
  const warmUp = Math.min(mode.load.warmUp, Math.floor(count / 5))
  server.ask({ _tag: "Load", load: { ...mode.load, warmUp, count } })
  const { characters } = await loaded
  const results = new Map<string, Array<Measurement>>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let place = 0; place < contenders.length; place++) {
      const contender = contenders[(place + round) % contenders.length]!
      results.get(contender.name)!.push(await once(server, contender, mode, count, characters))
    }
  }
  return results
}
