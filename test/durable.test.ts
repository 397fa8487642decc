// A bot with a file, in a process of its own, is killed with SIGKILL after the first event that the server sees, then in another world
// after the second, and so on, until a run has no more events. Each time the next process leaves what an undisturbed run leaves: the same
// answers, once and in order, nothing pending, the same remembered, and what was stored to be sent; and begins with nothing that was stored as
// handled. What is in the file after the kill is all of what was done for a message, or nothing of it.
import { NodeServices } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundled } from "./bundled.ts"
import { eventually } from "./support.ts"

/** Who says what; "later" is put aside at first. */
const script = [
  ["alice", "one"],
  ["bob", "two"],
  ["carol", "later"],
  ["alice", "three"],
  ["bob", "four"]
] as const

const names = ["alice", "bob", "carol"] as const
const saidBy = (name: string) => script.flatMap(([who, text]) => (who === name ? [text] : []))

const answersTo = (texts: ReadonlyArray<string>) => texts.flatMap((text, n) => [`echo ${text}`, `number ${n + 1}`])

/** What was stored to be sent, besides the answers: a note to the first, and something to everybody. */
const later = { alice: ["a note", "announced"], bob: ["announced"], carol: ["announced"] }

const storedIn = (
  file: string
): { readonly ids: ReadonlySet<string>; readonly told: ReadonlyArray<ReadonlyArray<string>> } => {
  if (!existsSync(file)) return { ids: new Set(), told: [] }
  const client = new DatabaseSync(file)
  try {
    const rows = client.prepare("SELECT ids FROM blaze_handled").all()
    const states = client.prepare("SELECT value FROM blaze_state").all()
    return {
      ids: new Set(rows.flatMap(({ ids }) => JSON.parse(String(ids)) as Array<string>)),
      told: states.map(({ value }) => JSON.parse(String(value)) as Array<string>)
    }
  } catch {
    // It was killed before it had made its tables.
    return { ids: new Set(), told: [] }
  } finally {
    client.close()
  }
}

const begunIn = (directory: string, from: number) => {
  const file = join(directory, "record")
  if (!existsSync(file)) return []
  const lines = readFileSync(file, "utf8").split("\n").slice(from)
  return lines.filter((line) => line.startsWith("B ")).map((line) => line.slice(2))
}

/** One world, whose first process is killed after so many events; gives whether there were so many, and what is wrong. */
const world = (killAfter: number) =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const people = {
      alice: yield* server.user(bot, "alice"),
      bob: yield* server.user(bot, "bob"),
      carol: yield* server.user(bot, "carol")
    }
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-blaze-durable-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true }))
    )
    const file = join(directory, "bot.sqlite")
    const start = bundled("test/programs/durable.ts", {
      ...local.environment(bot),
      DIRECTORY: directory,
      PEOPLE: names.map((name) => people[name].userId).join()
    })

    const first = yield* start
    let events = 0
    yield* Stream.runForEach(server.events, () =>
      Effect.sync(() => {
        if (++events === killAfter) process.kill(first.pid, "SIGKILL")
      })
    ).pipe(Effect.forkScoped({ startImmediately: true }))
    yield* eventually(Effect.map(bot.connections, (count) => count > 0 || events >= killAfter))
    for (const [name, text] of script) yield* people[name].say(text)

    const isDone = Effect.gen(function* () {
      const pending = yield* bot.pending
      const texts = yield* Effect.forEach(names, (name) => people[name].received)
      return pending.length === 0 && texts.flat().length >= 2 * script.length + Object.values(later).flat().length
    })
    yield* eventually(Effect.map(isDone, (done) => done || events >= killAfter))
    const isKilled = events >= killAfter
    const problems: Array<string> = []
    if (isKilled) {
      yield* first.exitCode.pipe(Effect.ignore)
      const stored = storedIn(file)
      if (stored.told.flat().length !== stored.ids.size) {
        problems.push(`${stored.ids.size} stored as handled, and of ${stored.told.flat().length} what was written`)
      }
      const record = join(directory, "record")
      const before = existsSync(record) ? readFileSync(record, "utf8").split("\n").length - 1 : 0
      const second = yield* start
      yield* eventually(isDone)
      for (const id of begunIn(directory, before)) {
        if (stored.ids.has(id)) problems.push(`begun again though stored: ${id}`)
      }
      yield* second.kill({ killSignal: "SIGTERM", forceKillAfter: "1 minute" }).pipe(Effect.ignore)
    } else yield* first.kill({ killSignal: "SIGTERM", forceKillAfter: "1 minute" }).pipe(Effect.ignore)
    for (const name of names) {
      const texts = (yield* people[name].received).map(({ text }) => text)
      const isLater = (text: string) => later[name].includes(text)
      const answers = texts.filter((text) => !isLater(text))
      if (answers.join() !== answersTo(saidBy(name)).join()) problems.push(`${name} got ${texts.join()}`)
      if (texts.filter(isLater).toSorted().join() !== later[name].join()) problems.push(`${name} got ${texts.join()}`)
    }
    const told = storedIn(file).told.map((texts) => texts.join())
    if (
      told.toSorted().join(";") !==
      names
        .map((name) => saidBy(name).join())
        .toSorted()
        .join(";")
    ) {
      problems.push(`it remembers ${told.join("; ")}`)
    }
    return { isKilled, problems, events }
  }).pipe(Effect.scoped, Effect.provide(Layer.fresh(LocalServer.layer())))

it.live("a bot that is killed after any event leaves to the next process what it would have left undisturbed", () =>
  Stream.iterate(1, (killAfter) => killAfter + 1).pipe(
    Stream.mapEffect((killAfter) => Effect.map(world(killAfter), (end) => ({ ...end, killAfter })), { concurrency: 2 }),
    Stream.takeUntil(({ isKilled }) => !isKilled),
    Stream.runCollect,
    Effect.map((ends) => {
      const problems = ends.flatMap(({ killAfter, problems }) =>
        problems.map((problem) => `killed after event ${killAfter}: ${problem}`)
      )
      assert.deepStrictEqual(problems, [])
      // Each of the events that an undisturbed run has was the last one of a process.
      assert.isAbove(ends.length, 30)
    }),
    Effect.provide(NodeServices.layer)
  )
)
