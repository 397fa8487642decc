// npm run test:cluster [-- scenario ...], or -- --minutes 10
//
// One bot on three runners, each a process, with PostgreSQL on loopback and the server of the bot here. Runners are killed, stopped, frozen
// and cut off from the database while people talk. In the end nothing was lost, each conversation was answered in its order, once for each
// message, and what a handler counts has been counted once. How long the socket was away is measured, and has to be less than a minute. With
// --minutes a runner is killed or stopped every 20 seconds, for so long, and another one begins.
import { NodeServices } from "@effect/platform-node"
import { Effect, Exit } from "effect"
import { parseArgs } from "node:util"
import { start as startPostgres } from "../postgres/server.ts"
import { eventually, seeded } from "../support.ts"
import { now } from "./clock.ts"
import * as World from "./world.ts"

const second = 1000

const signal = (runner: World.Runner, name: NodeJS.Signals) => Effect.sync(() => void process.kill(runner.pid, name))

/** All runners are there, and one of them holds the socket. */
const ready = (world: World.World, count: number) =>
  eventually(
    Effect.sync(
      () =>
        world.sockets() === 1 &&
        world.runners.filter((runner) => runner.lines().some(({ what }) => what === "H")).length === count
    )
  )

/** How long no socket was open since a time, until one is again. */
const awaySince = (world: World.World, from: number) => {
  let open = 0
  let away = 0
  let closedAt: number | undefined
  for (const { at, event } of world.events) {
    if (event._tag === "Connected") {
      if (open++ === 0 && closedAt !== undefined && at >= from) away = Math.max(away, at - Math.max(closedAt, from))
    } else if (event._tag === "Disconnected" && --open === 0) closedAt = at
  }
  return away
}

/** How long the slowest conversation waited for a handler since a time. */
const silenceSince = (world: World.World, from: number) => {
  const handled = new Map<string, number>()
  for (const { at, text, what } of world.lines()) if (what === "R" && !handled.has(text)) handled.set(text, at)
  return world
    .messages()
    .reduce((most, { at, id }) => (at < from ? most : Math.max(most, (handled.get(id) ?? at) - at)), 0)
}

const others = Effect.fnUntraced(function* (world: World.World) {
  const holder = yield* world.holder
  return { holder: holder!, other: world.runners.find((runner) => runner !== holder)! }
})

const ends = (whom: "holder" | "other", name: NodeJS.Signals) =>
  Effect.fnUntraced(function* (world: World.World) {
    const victim = (yield* others(world))[whom]
    const from = now()
    yield* signal(victim, name)
    yield* victim.ended
    yield* eventually(Effect.sync(() => world.sockets() === 1))
    yield* Effect.sleep("6 seconds")
    return { from, figures: {} }
  })

const frozen = Effect.fnUntraced(function* (world: World.World) {
  const { holder } = yield* others(world)
  const from = now()
  yield* signal(holder, "SIGSTOP")
  yield* Effect.sleep("20 seconds")
  yield* signal(holder, "SIGCONT")
  const woken = now()
  yield* Effect.sleep("10 seconds")
  return { from, figures: { "two sockets after waking, ms": World.overlap(world, woken) } }
})

const partition = (whom: "all" | "holder") =>
  Effect.fnUntraced(function* (world: World.World) {
    const { holder } = yield* others(world)
    const from = now()
    yield* world.watchSockets
    for (const runner of whom === "all" ? world.runners : [holder]) runner.proxy.stall(20 * second)
    yield* Effect.sleep("20 seconds")
    yield* eventually(Effect.sync(() => world.sockets() === 1))
    yield* Effect.sleep("8 seconds")
    return {
      from,
      figures: {},
      problems: world.mostSockets() > 1 ? [`${world.mostSockets()} sockets at once in a partition`] : []
    }
  })

const rolling = Effect.fnUntraced(function* (world: World.World) {
  const from = now()
  const old = [...world.runners]
  for (const runner of old) {
    yield* world.start
    yield* Effect.sleep("6 seconds")
    yield* signal(runner, "SIGTERM")
    yield* runner.ended
  }
  yield* Effect.sleep("6 seconds")
  return { from, figures: {} }
})

const joins = Effect.fnUntraced(function* (world: World.World) {
  const from = now()
  const runner = yield* world.start
  yield* eventually(Effect.sync(() => runner.lines().some(({ what }) => what === "R")))
  yield* Effect.sleep("3 seconds")
  return { from, figures: {} }
})

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string" }, seed: { type: "string" } }
})
const seed = Number(args.seed ?? now() % 1_000_000)

const killing = Effect.fnUntraced(function* (world: World.World) {
  const from = now()
  const random = seeded(seed)
  let living = [...world.runners]
  let kills = 0
  while (now() - from < Number(args.minutes) * 60 * second) {
    yield* Effect.sleep("20 seconds")
    const victim = living[Math.floor(random() * living.length)]!
    yield* signal(victim, random() < 0.7 ? "SIGKILL" : "SIGTERM")
    kills++
    living = [...living.filter((runner) => runner !== victim), yield* world.start]
  }
  yield* Effect.sleep("20 seconds")
  return { from, figures: { kills, seed } }
})

/** Another bot in the same database: each has a socket, and all of its conversations. */
const neighbour = Effect.fnUntraced(function* (world: World.World, postgres: number) {
  const from = now()
  const problems = yield* Effect.gen(function* () {
    const other = yield* World.make(postgres, { database: world.database })
    yield* other.start
    yield* other.start
    yield* ready(other, 2)
    yield* other.talk
    yield* Effect.sleep("5 seconds")
    yield* other.hush
    yield* other.quiet
    return (yield* other.judge).problems
  }).pipe(Effect.scoped, Effect.provide(World.layer))
  return { from, figures: {}, problems: problems.map((problem) => `the other bot: ${problem}`) }
})

const scenarios = {
  "holder SIGKILL": ends("holder", "SIGKILL"),
  "holder SIGTERM": ends("holder", "SIGTERM"),
  "other runner SIGKILL": ends("other", "SIGKILL"),
  "other runner SIGTERM": ends("other", "SIGTERM"),
  "holder frozen 20 s": frozen,
  "database gone 20 s, for all": partition("all"),
  "database gone 20 s, for the holder": partition("holder"),
  "rolling deploy": rolling,
  "a runner joins": joins,
  "two bots in one database": neighbour
}

const all: Readonly<Record<string, (typeof scenarios)[keyof typeof scenarios] | typeof killing>> = {
  ...scenarios,
  "killed every 20 s": killing
}

const run = (name: string, postgres: number) =>
  Effect.gen(function* () {
    const world = yield* World.make(postgres, { work: 100 })
    for (let n = 0; n < 3; n++) yield* world.start
    yield* ready(world, 3)
    // Until the shards have come to rest.
    yield* Effect.sleep("5 seconds")
    yield* world.talk
    yield* Effect.sleep("3 seconds")
    const {
      figures,
      from,
      problems = []
    } = (yield* all[name]!(world, postgres)) as {
      from: number
      figures: Record<string, number>
      problems?: ReadonlyArray<string>
    }
    yield* world.hush
    const quiet = yield* Effect.exit(world.quiet)
    const away = awaySince(world, from)
    const judged = yield* world.judge
    const wrong = [...problems, ...judged.problems]
    if (Exit.isFailure(quiet)) wrong.push("it did not come to rest")
    if (away > 60 * second) wrong.push(`the socket was away for ${away} ms`)
    const facts = {
      "socket away, ms": away,
      "longest wait, ms": silenceSince(world, from),
      messages: world.said(),
      "handled twice": judged.twice,
      ...figures
    }
    console.log(`${wrong.length === 0 ? "ok    " : "FAILED"} ${name}: ${JSON.stringify(facts)}`)
    for (const problem of wrong) console.log(`       ${problem}`)
    if (wrong.length > 0 || process.env.VERBOSE !== undefined) {
      for (const { at, runner, text, what } of world.lines().toSorted((a, b) => a.at - b.at)) {
        if (what !== "B" && what !== "R")
          console.log(`       ${((at - from) / 1000).toFixed(2)} ${runner.name} ${what} ${text.slice(0, 300)}`)
      }
      for (const { at, event } of world.events) {
        if (event._tag === "Connected" || event._tag === "Disconnected")
          console.log(`       ${((at - from) / 1000).toFixed(2)} server ${event._tag}`)
      }
    }
    return wrong.length === 0
  }).pipe(Effect.scoped, Effect.provide(World.layer))

const names =
  args.minutes === undefined
    ? Object.keys(scenarios).filter((name) => positionals.length === 0 || positionals.includes(name))
    : ["killed every 20 s"]

const main = Effect.gen(function* () {
  const { port } = yield* startPostgres
  const results = yield* Effect.forEach(names, (name) => run(name, port))
  return results.filter((isOk) => !isOk).length
}).pipe(Effect.scoped, Effect.provide(NodeServices.layer))

const failed = await Effect.runPromise(main)
console.log(failed === 0 ? `cluster: ok (${names.length} runs)` : `cluster: FAILED, ${failed} of ${names.length}`)
process.exit(failed === 0 ? 0 : 1)
