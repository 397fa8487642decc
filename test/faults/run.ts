// npm run test:faults -- --seed N --messages M [--store sqlite]
//
// A bot in a process of its own, over real sockets, through a proxy that cuts, stalls, half-opens and delays, against a server that
// duplicates, damages, fails and forgets, with handlers that fail and a process that is killed. In the end the records of both sides are
// compared. A fault is tied to a count of acknowledged messages, so that a seed repeats the plan. With a store no handler begins with what
// an earlier process has stored as handled.
import { NodeServices } from "@effect/platform-node"
import { Effect, Fiber, Layer, Option, Schedule, Stream } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { gzipSync } from "node:zlib"
import { seeded } from "../support.ts"
import * as Proxy from "./proxy.ts"

const { values: args } = parseArgs({
  options: { seed: { type: "string" }, messages: { type: "string" }, store: { type: "string" } }
})
const seed = Number(args.seed ?? Date.now() % 1_000_000)
const total = Number(args.messages ?? 100_000)
const conversations = 200
/** The first messages of a lifetime after which its heap is measured for the first time. */
const measureAfter = Math.min(10_000, Math.floor(total / 10))
const faultCount = Math.max(60, Math.ceil(total / 180))
const maximumPending = 2000

const random = seeded(seed)
const pick = <A>(items: ReadonlyArray<A>) => items[Math.floor(random() * items.length)]!

const kinds = [
  "cut",
  "stall",
  "half-open",
  "delay",
  "close",
  "duplicate",
  "corrupt",
  "oversized",
  "text frame",
  "late answer",
  "no answer",
  "7000",
  "429",
  "refused upgrade",
  "dropped upgrade",
  "REST 500",
  "REST HTML",
  "REST 429"
] as const
type Kind = (typeof kinds)[number] | "kill -9"

interface Planned {
  readonly at: number
  readonly kind: Kind
}

// Kills come in the first four fifths, so that the last lifetime is long enough to be measured.
const plan: Array<Planned> = []
for (let n = 0; n < faultCount; n++) plan.push({ at: Math.floor(random() * total * 0.97), kind: pick(kinds) })
const kills = Math.max(2, Math.round(total / 5000))
for (let n = 0; n < kills; n++) plan.push({ at: Math.floor(random() * total * 0.75), kind: "kill -9" })
plan.sort((a, b) => a.at - b.at)

const bomb = new Uint8Array(gzipSync(Buffer.alloc(20 * 1024 * 1024)))

const main = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const proxy = yield* Proxy.make(Number(new URL(local.url).port))
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-blaze-faults-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )
  const record = join(directory, "record")
  const descriptor = openSync(record, "a+")
  yield* Effect.addFinalizer(() => Effect.sync(() => closeSync(descriptor)))

  const counts = new Map<Kind, number>()
  const succeeded = new Map<string, Array<number>>()
  const heaps: Array<readonly [lifetime: number, bytes: number]> = []
  const lastAttempt = new Map<string, number>()
  const attempted = new Set<string>()
  const sequence = new Map<string, readonly [conversation: number, n: number]>()
  let offset = 0
  let rest = ""
  let premature = 0
  let twice = 0
  let disorder = 0
  let rejections = 0
  let effects = 0
  const derivedIds = new Map<string, string>()
  let acknowledged = 0
  let redelivered = 0
  let lifetime = 0

  const database = args.store === "sqlite" ? join(directory, "bot.sqlite") : ""
  /** What is stored as handled when a process begins, which begins with none of it. */
  let stored: ReadonlySet<string> = new Set()
  let again = 0
  const readStored = () => {
    if (database === "" || !existsSync(database)) return
    const client = new DatabaseSync(database)
    const rows = client.prepare("SELECT ids FROM blaze_handled").all()
    client.close()
    stored = new Set(rows.flatMap(({ ids }) => JSON.parse(String(ids)) as Array<string>))
  }

  const buffer = Buffer.alloc(1 << 20)
  const readRecord = () => {
    let size: number
    while ((size = readSync(descriptor, buffer, 0, buffer.length, offset)) > 0) {
      offset += size
      const lines = (rest + buffer.toString("utf8", 0, size)).split("\n")
      rest = lines.pop()!
      for (const line of lines) {
        const [life = "", what, value = ""] = line.split(" ")
        if (what === "S") {
          const lives = succeeded.get(value) ?? []
          if (lives.includes(Number(life))) twice++
          if (lives.length > 0) redelivered++
          succeeded.set(value, [...lives, Number(life)])
        } else if (what === "A") {
          if (stored.has(value) && Number(life) === lifetime) again++
          const place = sequence.get(value)
          if (place === undefined) continue
          // What an earlier process has put aside is offered when it is its time, and not in its turn.
          const isFirst = !attempted.has(value)
          attempted.add(value)
          if (database !== "" && !isFirst) continue
          const key = `${life} ${place[0]}`
          if (place[1] <= (lastAttempt.get(key) ?? -1)) disorder++
          lastAttempt.set(key, Math.max(place[1], lastAttempt.get(key) ?? -1))
        } else if (what === "H") heaps.push([Number(life), Number(value)])
        else if (what === "D") {
          const [id = "", derived] = value.split("/")
          if ((derivedIds.get(id) ?? derived) !== derived) effects++
          derivedIds.set(id, derived!)
        } else if (what === "U") rejections++
      }
    }
  }

  // An acknowledgement comes after the success was written: so it has to be there when the server hears of it.
  const done = new Set<string>()
  yield* Effect.forkScoped(
    Stream.runForEach(server.events, (event) =>
      Effect.sync(() => {
        if (event._tag !== "Acknowledged") return
        readRecord()
        for (const id of event.messageIds) {
          if (!succeeded.has(id)) premature++
          if (!done.has(id)) acknowledged++
          done.add(id)
        }
      })
    )
  )
  yield* Effect.yieldNow

  const start = Effect.suspend(() => {
    readRecord()
    readStored()
    lifetime++
    const environment = local.environment(bot)
    return spawner.spawn(
      ChildProcess.make(
        process.execPath,
        ["--conditions=effect-blaze-source", "--expose-gc", fileURLToPath(new URL("bot.ts", import.meta.url))],
        {
          env: {
            ...environment,
            BLAZE_URL: `ws://127.0.0.1:${proxy.port}/`,
            BLAZE_API_URL: `http://127.0.0.1:${proxy.port}`,
            LIFETIME: String(lifetime),
            SEED: String(seed),
            RECORD: record,
            MEASURE_AFTER: String(measureAfter),
            ACKS: seed % 2 === 0 ? "socket" : "rest",
            STORE: database
          },
          stdin: "ignore",
          stdout: "inherit",
          stderr: "inherit"
        }
      )
    )
  })

  let child = yield* start

  const act = (kind: Kind): Effect.Effect<unknown, unknown, import("effect").Scope.Scope> => {
    const rest = (status: number, body: string) => server.inject({ _tag: "FailRest", status, body })
    const injected = {
      duplicate: server.inject({ _tag: "DuplicatePush" }),
      corrupt: server.inject({ _tag: "CorruptPush" }),
      "late answer": server.inject({ _tag: "DelayAnswer", by: Math.floor(random() * 1500) }),
      "no answer": server.inject({ _tag: "IgnoreRequest" }),
      7000: server.inject({ _tag: "FailRequest", code: 7000 }),
      429: server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 429 }),
      "refused upgrade": Effect.andThen(server.inject({ _tag: "RefuseHandshake", status: 503 }), bot.cut),
      "dropped upgrade": Effect.andThen(server.inject({ _tag: "DropConnection" }), bot.cut),
      "REST 500": rest(500, ""),
      "REST HTML": rest(200, "<html>busy</html>"),
      "REST 429": rest(202, '{"error":{"status":202,"code":429,"description":"Too Many Requests"}}'),
      oversized: bot.push(bomb),
      "text frame": bot.push("hello"),
      close: bot.close(1001, "going away"),
      cut: Effect.sync(proxy.cut),
      stall: Effect.sync(() => proxy.stall(100 + random() * 700)),
      "half-open": Effect.sync(proxy.halfOpen),
      delay: Effect.sync(() => proxy.delay(5 + random() * 60, 500)),
      "kill -9": Effect.gen(function* () {
        yield* child.kill({ killSignal: "SIGKILL" })
        child = yield* start
      })
    }
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
    return injected[kind]
  }

  const people = yield* Effect.forEach(Array.from({ length: conversations }), (_, n) => server.user(bot, `person ${n}`))
  const next = people.map(() => 0)
  let said = 0

  const began = Date.now()
  const ticking = process.stdout.isTTY
    ? yield* Effect.forkScoped(
        Effect.repeat(
          Effect.sync(() => process.stdout.write(`\r${acknowledged} of ${total}, lifetime ${lifetime} `)),
          Schedule.spaced("1 second")
        )
      )
    : undefined

  yield* Effect.gen(function* () {
    while (acknowledged < total) {
      while (said < total && said - acknowledged < maximumPending) {
        const n = Math.floor(random() * conversations)
        const id = yield* people[n]!.say(`${n}/${next[n]}`)
        sequence.set(id, [n, next[n]!])
        next[n] = next[n]! + 1
        said++
      }
      while (plan.length > 0 && plan[0]!.at <= acknowledged) yield* act(plan.shift()!.kind)
      yield* Effect.sleep("5 millis")
    }
    // Only a hang takes so long, however slow the machine.
  }).pipe(Effect.timeoutOption(`${Math.max(600, total / 50)} seconds`))
  if (ticking) yield* Fiber.interrupt(ticking)

  yield* child.kill({ killSignal: "SIGTERM", forceKillAfter: "2 minutes" }).pipe(Effect.ignore)
  readRecord()
  const seconds = (Date.now() - began) / 1000

  const pending = (yield* bot.pending).length
  const lost = [...sequence.keys()].filter((id) => !succeeded.has(id)).length
  const answers = new Map<string, number>()
  for (const { text } of yield* bot.sent) answers.set(text, (answers.get(text) ?? 0) + 1)
  const duplicates = [...answers.values()].filter((count) => count > 1).length
  const [first, last] = heaps.filter(([life]) => life === lifetime).map(([, bytes]) => bytes)
  const growth = first === undefined || last === undefined ? Option.none() : Option.some((last - first) / 2 ** 20)
  const faults = [...counts.values()].reduce((sum, count) => sum + count, 0)

  const rows: ReadonlyArray<readonly [what: string, value: string | number, good: boolean | undefined]> = [
    ["seed", seed, undefined],
    ["messages said", said, said === total],
    ["messages left unacknowledged", pending, pending === 0],
    ["lost", lost, lost === 0],
    ["acknowledged before their handler succeeded", premature, premature === 0],
    ["handled twice within one lifetime", twice, twice === 0],
    ["duplicate answers on the server", duplicates, duplicates === 0],
    ["first attempts out of order", disorder, disorder === 0],
    ["unhandled rejections", rejections, rejections === 0],
    [
      "heap growth in the last lifetime, MiB",
      Option.isSome(growth) ? growth.value.toFixed(1) : "not measured",
      Option.isSome(growth) && growth.value <= 20
    ],
    ["handled again after a crash", redelivered, undefined],
    ["begun again though stored as handled", again, again === 0],
    ["lifetimes", lifetime, undefined],
    ["connections", yield* bot.handshakes, undefined],
    ["answers", answers.size, undefined],
    ["faults", faults, total < 100_000 || faults >= 500],
    ["side effects with more than one id", effects, effects === 0],
    ...[...counts].map(([kind, count]) => [`  ${kind}`, count, undefined] as const),
    ["seconds", seconds.toFixed(1), undefined]
  ]
  for (const [what, value, good] of rows) {
    console.log(`${what.padEnd(46)} ${String(value).padStart(12)} ${good === undefined ? "" : good ? "ok" : "FAILED"}`)
  }
  process.exitCode = rows.some(([, , good]) => good === false) ? 1 : 0
})

await main.pipe(
  Effect.scoped,
  Effect.provide(Layer.mergeAll(NodeServices.layer, LocalServer.layer())),
  Effect.runPromise
)
process.exit()
