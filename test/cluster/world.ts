// A bot on several runners, each in a process of its own and with a way of its own to the database; the server of the bot, its people, and
// what became of what they said.
import { Effect, Layer, type Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { ChildProcessSpawner } from "effect/process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundled } from "../bundled.ts"
import * as Proxy from "../faults/proxy.ts"
import { client, createDatabase, urlOf } from "../postgres/server.ts"
import { eventually } from "../support.ts"
import { now } from "./clock.ts"

export interface Runner {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly proxy: Proxy.Proxy
  readonly ended: Effect.Effect<void>
  readonly lines: () => ReadonlyArray<Line>
}

export interface Line {
  readonly at: number
  readonly what: string
  readonly text: string
}

interface Seen {
  readonly at: number
  readonly event: BlazeServer.Event
}

export interface Options {
  readonly conversations?: number
  readonly work?: number
  /** That of another world. */
  readonly database?: string
}

let ports = 21_000 + (process.pid % 5000)

const linesOf = (path: string): ReadonlyArray<Line> => {
  if (!existsSync(path)) return []
  return readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [at, what, ...text] = line.split(" ")
      return { at: Number(at), what: what!, text: text.join(" ") }
    })
}

/** Makes one on a PostgreSQL that is there. */
export const make = Effect.fnUntraced(function* (postgres: number, options: Options = {}) {
  const { conversations = 20, work = 0 } = options
  const database = options.database ?? (yield* createDatabase(postgres))
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const people = yield* Effect.forEach(Array.from({ length: conversations }), (_, n) => server.user(bot, `p${n}`))
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-blaze-cluster-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

  const events: Array<Seen> = []
  let open = 0
  let most = 0
  yield* Stream.runForEach(server.events, (event) =>
    Effect.sync(() => {
      events.push({ at: now(), event })
      if (event._tag === "Connected") most = Math.max(most, ++open)
      if (event._tag === "Disconnected") open--
    })
  ).pipe(Effect.forkScoped({ startImmediately: true }))

  const runners: Array<Runner> = []
  let begun = 0
  const start: Effect.Effect<Runner, never, ChildProcessSpawner.ChildProcessSpawner | Scope.Scope> = Effect.gen(
    function* () {
      const name = `r${begun++}`
      const port = ports++
      const proxy = yield* Proxy.make(postgres)
      const record = join(directory, name)
      const handle: ChildProcessSpawner.ChildProcessHandle = yield* bundled("test/cluster/runner.ts", {
        ...local.environment(bot),
        HOST: "127.0.0.1",
        PORT: String(port),
        DATABASE_URL: urlOf(proxy.port, database),
        RECORD: record,
        WORK: String(work)
      })
      const pid = Number(handle.pid)
      const runner: Runner = {
        name,
        port,
        pid,
        proxy,
        ended: Effect.ignore(handle.exitCode),
        lines: () => linesOf(record)
      }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const signal of ["SIGCONT", "SIGKILL"] as const) {
            try {
              process.kill(pid, signal)
            } catch {
              // It has ended.
            }
          }
        })
      )
      runners.push(runner)
      return runner
    }
  ).pipe(Effect.orDie)

  const said: Array<{ readonly by: number; readonly text: string; readonly id: string; readonly at: number }> = []
  const sayAll = (n: number) =>
    Effect.forEach(
      people,
      (person, by) => Effect.map(person.say(String(n)), (id) => said.push({ by, text: String(n), id, at: now() })),
      { discard: true }
    )
  let rounds = 0
  let isTalking = false
  /** Everybody says something every so often, until `hush`. */
  const talk = Effect.suspend(() => {
    isTalking = true
    return Effect.forkScoped(
      Effect.gen(function* () {
        while (isTalking) {
          yield* sayAll(rounds++)
          yield* Effect.sleep("250 millis")
        }
      })
    )
  })

  const lines = () => runners.flatMap((runner) => runner.lines().map((line) => ({ ...line, runner })))
  return {
    bot,
    database,
    events,
    runners,
    start,
    talk,
    hush: Effect.sync(() => (isTalking = false)),
    lines,
    sockets: () => open,
    mostSockets: () => most,
    /** As of now, the most that are open at once from here on. */
    watchSockets: Effect.sync(() => (most = open)),
    /** Who holds the socket, as whoever told last says. */
    holder: Effect.sync(() => {
      const told = lines()
        .filter(({ what }) => what === "H")
        .toSorted((a, b) => a.at - b.at)
        .at(-1)
      return runners.find(({ port }) => told?.text.endsWith(`:${port}`) === true)
    }),
    said: () => said.length,
    messages: () => said,
    /** What is wrong with what became of what was said, and how much was handled twice. */
    judge: Effect.gen(function* () {
      const problems: Array<string> = []
      const pending = yield* bot.pending
      if (pending.length > 0) problems.push(`${pending.length} not acknowledged`)
      const all = lines()
      const order = new Map(said.map(({ by, id, text }) => [id, { by, n: Number(text) }]))
      const times = new Map<string, number>()
      for (const { text, what } of all) if (what === "R") times.set(text, (times.get(text) ?? 0) + 1)
      const lost = said.filter(({ id }) => !times.has(id))
      if (lost.length > 0) problems.push(`${lost.length} never handled`)
      // By when each was begun with for the first time.
      const first = new Map<string, number>()
      for (const { at, text, what } of all) {
        if (what === "B" && at < (first.get(text) ?? Infinity)) first.set(text, at)
      }
      const last = new Map<number, readonly [n: number, at: number]>()
      let disorder = 0
      for (const [id, { by, n }] of order) {
        const at = first.get(id) ?? Infinity
        const before = last.get(by)
        if (before !== undefined && at < before[1]) disorder++
        last.set(by, [n, at])
      }
      if (disorder > 0) problems.push(`${disorder} begun with before the one before`)
      for (const [by, person] of people.entries()) {
        const answers = (yield* person.received).map(({ text }) => text)
        const wanted = said
          .filter((each) => each.by === by)
          .flatMap(({ text }) => [`answer to ${text}`, ...(Number(text) % 10 === 0 ? [`note on ${text}`] : [])])
        if (answers.toSorted().join() !== wanted.toSorted().join()) {
          problems.push(`p${by} got ${answers.length} answers to ${wanted.length}`)
        }
      }
      const counts = yield* Effect.flatMap(
        SqlClient.SqlClient,
        (sql) => sql<{ value: string }>`SELECT value FROM blaze_state WHERE bot = ${bot.userId}`
      ).pipe(Effect.provide(client(postgres, database)))
      const counted = counts.reduce((sum, { value }) => sum + Number(value), 0)
      if (counted !== said.length) problems.push(`${counted} counted of ${said.length}`)
      const twice = [...times.values()].filter((count) => count > 1).length
      return { problems, twice }
    }),
    /** Waits until all that was said is acknowledged, and what was stored to be sent has arrived. */
    quiet: eventually(
      Effect.gen(function* () {
        const pending = yield* bot.pending
        const received = yield* Effect.forEach(people, (person) => person.received)
        const notes = said.filter(({ text }) => Number(text) % 10 === 0).length
        return pending.length === 0 && received.flat().length >= said.length + notes
      })
    )
  }
})

/** For how long two sockets were open at once since a time, in milliseconds. */
export const overlap = ({ events }: Pick<World, "events">, from: number) => {
  let open = 0
  let since = from
  let both = 0
  for (const { at, event } of events) {
    if (event._tag !== "Connected" && event._tag !== "Disconnected") continue
    if (open > 1 && at > from) both += at - Math.max(since, from)
    open += event._tag === "Connected" ? 1 : -1
    since = at
  }
  return both
}

export type World = Effect.Success<ReturnType<typeof make>>

/** A server of its own for one world. */
export const layer = Layer.fresh(LocalServer.layer())
