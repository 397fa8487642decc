// npm run test:announcement -- --recipients N
//
// An announcement to very many, from a process of its own: one recipient in a hundred has blocked the bot, one batch in a hundred fails, the
// connection is lost twice, and the process is killed in the middle and begins again. In the end everybody who may be reached has the message
// once. Before that, without faults, its rate beside a bare loop of fetch.
import { NodeServices } from "@effect/platform-node"
import { Effect, Option, Schedule, Stream } from "effect"
import { Endpoint } from "effect-blaze"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Face from "../../src/testing/internal/Face.ts"
import { seeded } from "../support.ts"
import * as Proxy from "./proxy.ts"

const { values: args } = parseArgs({ options: { recipients: { type: "string", default: "100000" } } })
const recipients = Number(args.recipients)

interface Report {
  readonly millis: number
  readonly peak: number
  readonly accepted: number
  readonly refused: number
}

const median = (numbers: ReadonlyArray<number>) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!

/** A bot and its recipients, whose conversations are there, and who are listed in a file. */
const makeCrowd = Effect.fnUntraced(function* (directory: string, name: string) {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* server.makeBot
  const people: Array<BlazeServer.Person> = []
  for (let n = 0; n < recipients; n++) {
    const person = yield* server.user(bot, `${name} ${n}`)
    const payload = {
      category: "CONTACT",
      conversation_id: person.conversationId,
      participants: [{ user_id: person.userId }]
    }
    Face.of(server).request(Option.some(bot), { method: "POST", uri: Endpoint.createConversation.path, payload })
    people.push(person)
  }
  const file = join(directory, name)
  writeFileSync(file, people.map(({ conversationId, userId }) => `${userId} ${conversationId}\n`).join(""))
  return { bot, people, file }
})

const main = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-blaze-announcement-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

  const start = (bot: BlazeServer.BotAccount, file: string, port: number, environment: Record<string, string>) =>
    spawner.spawn(
      ChildProcess.make(
        process.execPath,
        ["--conditions=effect-blaze-source", "--expose-gc", fileURLToPath(new URL("announcer.ts", import.meta.url))],
        {
          env: {
            ...local.environment(bot),
            BLAZE_URL: `ws://127.0.0.1:${port}/`,
            BLAZE_API_URL: `http://127.0.0.1:${port}`,
            USERS: file,
            KEY: "sale",
            ...environment
          },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "inherit"
        }
      )
    )
  // What it logs comes before its report.
  const finish = (child: ChildProcessSpawner.ChildProcessHandle) =>
    Stream.mkString(Stream.decodeText(child.stdout)).pipe(
      Effect.map((text) => JSON.parse(text.trim().split("\n").at(-1)!) as Report)
    )

  const port = Number(new URL(local.url).port)
  const ratios: Array<number> = []
  for (let round = 0; round < 3; round++) {
    const times: Record<string, number> = {}
    for (const who of round % 2 === 0 ? ["bare", "ours"] : ["ours", "bare"]) {
      const { bot, file } = yield* makeCrowd(directory, `${who} ${round}`)
      const { millis } = yield* finish(yield* start(bot, file, port, { BARE: who === "bare" ? "1" : "0" }))
      times[who] = millis
    }
    ratios.push(times["ours"]! / times["bare"]!)
    console.log(
      `${recipients} recipients: ${times["ours"]!.toFixed(0)} ms, a bare loop ${times["bare"]!.toFixed(0)} ms`
    )
  }
  console.log(`the rate: ${median(ratios).toFixed(2)} times a bare loop's time (median of ${ratios.length})`)

  const proxy = yield* Proxy.make(port)
  const random = seeded(7)
  const { bot, file, people } = yield* makeCrowd(directory, "faults")
  const blocked = new Set<number>()
  while (blocked.size < recipients / 100) blocked.add(Math.floor(random() * recipients))
  for (const n of blocked) yield* people[n]!.block
  const reached = (share: number) =>
    bot.sent.pipe(
      Effect.map(({ length }) => length >= recipients * share),
      Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("20 millis") })
    )
  const child = yield* start(bot, file, proxy.port, {})
  yield* Effect.forkScoped(
    server
      .inject({ _tag: "FailRest", status: 503, body: "" })
      .pipe(
        Effect.andThen(Effect.sleep(`${Math.max(50, recipients / 1000)} millis`)),
        Effect.repeat({ times: Math.ceil(recipients / 10_000) })
      )
  )
  yield* reached(0.2)
  proxy.cut()
  yield* reached(0.4)
  yield* child.kill({ killSignal: "SIGKILL" })
  const before = (yield* bot.sent).length
  const again = yield* start(bot, file, proxy.port, {})
  yield* reached(0.7)
  proxy.cut()
  const report = yield* finish(again)
  const sent = yield* bot.sent
  let wrong = 0
  for (const [n, person] of people.entries()) {
    const { length } = yield* person.received
    if (length !== (blocked.has(n) ? 0 : 1)) wrong++
  }
  const megabytes = report.peak / 2 ** 20
  console.log(
    `killed after ${before}; in the end ${sent.length} messages on the server, ${report.refused} refused, ${wrong} with too many or too few, ${megabytes.toFixed(0)} MiB of heap at most`
  )
  const isRight =
    wrong === 0 && sent.length === recipients - blocked.size && report.refused === blocked.size && before < sent.length
  console.log(isRight ? "announcement: ok" : "announcement: FAILED")
  process.exitCode = isRight ? 0 : 1
})

await Effect.runPromise(
  main.pipe(Effect.scoped, Effect.provide(LocalServer.layer()), Effect.provide(NodeServices.layer))
)
