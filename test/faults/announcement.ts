// npm run test:announcement -- --recipients N
//
// An announcement to very many, from a process of its own: one recipient in a hundred has blocked the bot, one batch in a hundred fails, the
// connection is lost twice, and the process is killed in the middle and begins again. In the end everybody who may be reached has the message
// once. So again with a durable one, which goes on in a process that is told nothing. Before that, without faults, the rates beside a bare
// loop of fetch.
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer, Option, Schedule, Stream } from "effect"
import { Endpoint } from "effect-blaze"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
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

/** A server, and announcers in processes of their own. */
const makeWorld = Effect.gen(function* () {
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
  return { server, directory, start, finish, port: Number(new URL(local.url).port) }
})

/** How many milliseconds each takes. */
const round = Effect.fnUntraced(function* (order: ReadonlyArray<string>) {
  const { directory, finish, port, start } = yield* makeWorld
  const times: Record<string, number> = {}
  for (const who of order) {
    const { bot, file } = yield* makeCrowd(directory, who)
    const environment = who === "bare" ? { BARE: "1" } : who === "durable" ? { FILE: `${file}.sqlite` } : {}
    const { millis } = yield* finish(yield* start(bot, file, port, environment))
    times[who] = millis
  }
  const [bare, ours, durable] = ["bare", "ours", "durable"].map((who) => times[who]!)
  console.log(
    `${recipients} recipients: ${ours!.toFixed(0)} ms, durable ${durable!.toFixed(0)} ms, a bare loop ${bare!.toFixed(0)} ms`
  )
  return { ours: ours! / bare!, durable: durable! / bare! }
})

/** A crowd, one in a hundred of which has blocked the bot, and a way to the server that can be cut and where requests fail. */
const makeFaulty = Effect.gen(function* () {
  const { directory, finish, port, server, start } = yield* makeWorld
  const proxy = yield* Proxy.make(port)
  const random = seeded(7)
  const { bot, file, people } = yield* makeCrowd(directory, "faults")
  const blocked = new Set<number>()
  while (blocked.size < recipients / 100) blocked.add(Math.floor(random() * recipients))
  for (const n of blocked) yield* people[n]!.block
  const until = <E>(condition: Effect.Effect<boolean, E>) =>
    Effect.repeat(condition, { until: (is) => is, schedule: Schedule.spaced("20 millis") })
  const wrong = Effect.forEach(people, (person, n) =>
    Effect.map(person.received, ({ length }) => length !== (blocked.has(n) ? 0 : 1))
  )
  const failing = server
    .inject({ _tag: "FailRest", status: 503, body: "" })
    .pipe(
      Effect.andThen(Effect.sleep(`${Math.max(50, recipients / 1000)} millis`)),
      Effect.repeat({ times: Math.ceil(recipients / 10_000) })
    )
  return {
    bot,
    file,
    blocked: blocked.size,
    cut: proxy.cut,
    failing,
    finish,
    // What is sent again counts too, and the server takes 100 000 a minute.
    start: (environment: Record<string, string>) =>
      start(bot, file, proxy.port, { BLAZE_QUOTA_MESSAGES: "9000", ...environment }),
    until,
    reached: (share: number) => until(Effect.map(bot.sent, ({ length }) => length >= recipients * share)),
    wrong: Effect.map(wrong, (each) => each.filter((is) => is).length)
  }
})

const told = (name: string, isRight: boolean) => {
  console.log(isRight ? `${name}: ok` : `${name}: FAILED`)
  if (!isRight) process.exitCode = 1
}

/** One that is begun again after a kill. */
const again = Effect.gen(function* () {
  const { blocked, bot, cut, failing, finish, reached, start, wrong } = yield* makeFaulty
  const child = yield* start({})
  yield* Effect.forkScoped(failing)
  yield* reached(0.2)
  cut()
  yield* reached(0.4)
  yield* child.kill({ killSignal: "SIGKILL" })
  const before = (yield* bot.sent).length
  const second = yield* start({})
  yield* reached(0.7)
  cut()
  const report = yield* finish(second)
  const sent = (yield* bot.sent).length
  const missed = yield* wrong
  console.log(
    `killed after ${before}; in the end ${sent} messages on the server, ${report.refused} refused, ${missed} with too many or too few, ${(report.peak / 2 ** 20).toFixed(0)} MiB of heap at most`
  )
  told("announcement", missed === 0 && sent === recipients - blocked && report.refused === blocked && before < sent)
})

/** A durable one, killed when all is stored and once more, which goes on without being begun again. */
const byItself = Effect.gen(function* () {
  const { blocked, bot, cut, failing, file, finish, reached, start, until, wrong } = yield* makeFaulty
  const filename = `${file}.sqlite`
  const stored = Effect.sync(() => {
    const client = new DatabaseSync(filename)
    const [row] = client.prepare("SELECT count(*) AS count FROM blaze_outbox").all()
    client.close()
    return Number(row?.["count"])
  })
  const first = yield* start({ FILE: filename })
  yield* Effect.forkScoped(failing)
  yield* reached(0.1)
  cut()
  yield* until(Effect.map(stored, (count) => count === recipients))
  yield* first.kill({ killSignal: "SIGKILL" })
  const before = (yield* bot.sent).length
  const second = yield* start({ FILE: filename, KEY: "none" })
  yield* reached(0.7)
  yield* second.kill({ killSignal: "SIGKILL" })
  const third = yield* start({ FILE: filename, KEY: "none" })
  yield* reached(1 - blocked / recipients)
  yield* third.kill({ killSignal: "SIGTERM", forceKillAfter: "1 minute" })
  const tried = (yield* bot.sent).reduce((sum, { attempts }) => sum + attempts, 0)
  const report = yield* finish(yield* start({ FILE: filename }))
  const sent = (yield* bot.sent).length
  const missed = yield* wrong
  console.log(
    `durable: killed after ${before}, and again; in the end ${sent} messages on the server, ${report.refused} refused, ${missed} with too many or too few, ${tried - sent} sent twice, ${(report.peak / 2 ** 20).toFixed(0)} MiB of heap at most, a file of ${(statSync(filename).size / 2 ** 20).toFixed(0)} MiB`
  )
  told(
    "durable announcement",
    missed === 0 && sent === recipients - blocked && report.refused === blocked && before < sent
  )
})

// Each with a server of its own, which keeps all that it was sent.
const alone = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.scoped, Effect.provide(Layer.fresh(LocalServer.layer())))

const main = Effect.gen(function* () {
  const ratios = yield* Effect.forEach(
    [
      ["bare", "ours", "durable"],
      ["durable", "ours", "bare"],
      ["ours", "bare", "durable"]
    ],
    (order) => alone(round(order))
  )
  console.log(
    `the rate: ${median(ratios.map(({ ours }) => ours)).toFixed(2)} times a bare loop's time, durable ${median(ratios.map(({ durable }) => durable)).toFixed(2)} times (medians of ${ratios.length})`
  )
  yield* alone(again)
  yield* alone(byItself)
})

await Effect.runPromise(main.pipe(Effect.provide(NodeServices.layer)))
process.exit()
