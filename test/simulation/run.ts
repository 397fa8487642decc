// npm run test:simulation -- [--seeds N] [--from N] [--bots echo,moody,restless | --pipelines] [--stop]
// npm run test:simulation -- --removed | --planted | --week
//
// The library in every weather, seed by seed, on all cores, or the pipelines of the docs; with --removed, whether it is noticed when a guarantee is taken out; with
// --planted, whether strangers find the bugs of a shop, and leave the good one alone over 50 seeds; with --week, whether a week of 50
// people is the same in two processes, one of which has little of the machine.
import { Effect, Result } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { find, options } from "./planted.ts"
import { type Bug, bugs as shopBugs, shop } from "./shop.ts"
import { type BotName, bots, simulate } from "./library.ts"
import { pipelines, simulatePipeline } from "./pipelines.ts"
import { type Removal, removals } from "./removed.ts"

const { values: args } = parseArgs({
  options: {
    seeds: { type: "string", default: "25" },
    from: { type: "string", default: "1" },
    bots: { type: "string", default: Object.keys(bots).join() },
    /** The pipelines of the docs in place of the bots. */
    pipelines: { type: "boolean", default: false },
    /** Ends with the first violation. */
    stop: { type: "boolean", default: false },
    removed: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    week: { type: "boolean", default: false },
    /** One process of several: the seeds that leave this rest. */
    rest: { type: "string" }
  }
})
const root = fileURLToPath(new URL("../..", import.meta.url))
const cores = availableParallelism()
const seeds = Number(args.seeds)
const from = Number(args.from)
const names = args.pipelines ? Object.keys(pipelines) : args.bots.split(",")

const runSeeds = async (rest: number) => {
  let violations = 0
  const totals: Record<string, { seeds: number; messages: number; lives: number; handshakes: number }> = {}
  for (let seed = from; seed < from + seeds; seed++) {
    if (seed % cores !== rest) continue
    for (const name of names) {
      const { outcome, violations: found } = await Effect.runPromise(
        name in pipelines ? simulatePipeline(name, seed) : simulate(name as BotName, seed)
      )
      const total = (totals[name] ??= { seeds: 0, messages: 0, lives: 0, handshakes: 0 })
      total.seeds++
      total.messages += outcome.said.length
      total.lives += outcome.lives
      total.handshakes += outcome.handshakes
      const [first] = found
      if (first === undefined) continue
      violations++
      console.log(`${name}, seed ${seed}: ${first.expectation}: ${first.detail} (and ${found.length - 1} more)`)
      if (args.stop) return 1
    }
  }
  for (const [name, total] of Object.entries(totals)) console.log(`${name}: ${JSON.stringify(total)}`)
  return violations === 0 ? 0 : 1
}

/** Runs this program in a process of its own; gives its exit code and what it printed. */
const runProcess = (directory: string, options: ReadonlyArray<string>, file = "run.ts") =>
  new Promise<{ readonly code: number; readonly text: string }>((resolve) => {
    const program = join(directory, "test", "simulation", file)
    const process_ = spawn(process.execPath, ["--conditions=effect-blaze-source", program, ...options], {
      cwd: directory
    })
    let text = ""
    process_.stdout.on("data", (data) => (text += data))
    process_.stderr.on("data", (data) => (text += data))
    process_.on("close", (code) => resolve({ code: code ?? 1, text }))
  })

const runAll = async () => {
  const common = ["--seeds", args.seeds, "--from", args.from, "--bots", names.join(), ...(args.stop ? ["--stop"] : [])]
  const results = await Promise.all(
    Array.from({ length: cores }, (_, rest) => runProcess(root, [...common, "--rest", String(rest)]))
  )
  for (const { text } of results) process.stdout.write(text)
  const failed = results.some(({ code }) => code !== 0)
  console.log(failed ? "simulation: FAILED" : `simulation: ok, ${seeds} seeds`)
  return failed ? 1 : 0
}

const without = async ({ file, from, to, what }: Removal) => {
  const directory = mkdtempSync(join(tmpdir(), "effect-blaze-removed-"))
  for (const part of ["src", "docs/examples", "test/simulation", "test/support.ts", "package.json"]) {
    cpSync(join(root, part), join(directory, part), { recursive: true })
  }
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  const path = join(directory, "src", file)
  const source = readFileSync(path, "utf8")
  const isThere = source.split(from).length === 2
  writeFileSync(
    path,
    source.replace(from, () => to)
  )
  const results = isThere
    ? await Promise.all(
        Array.from({ length: cores }, (_, rest) =>
          runProcess(directory, ["--seeds", "25", "--stop", "--rest", String(rest)])
        )
      )
    : []
  rmSync(directory, { recursive: true })
  const noticed = results.flatMap(({ text }) => text.split("\n").filter((line) => line.includes(", seed ")))
  const verdict = !isThere ? "NOT THERE" : noticed.length > 0 ? "noticed" : "NOT NOTICED"
  console.log(`${verdict}: ${what}${noticed.length > 0 ? `\n  ${noticed[0]}` : ""}`)
  return noticed.length > 0
}

const runRemoved = async () => {
  let unnoticed = 0
  for (const removal of removals) if (!(await without(removal))) unnoticed++
  console.log(unnoticed === 0 ? `removed: ok, ${removals.length} noticed` : `removed: FAILED, ${unnoticed} not noticed`)
  return unnoticed === 0 ? 0 : 1
}

const runPlanted = async () => {
  let failed = 0
  for (const bug of Object.keys(shopBugs) as ReadonlyArray<Bug>) {
    const { seconds, told, wrong } = await Effect.runPromise(find(bug, { people: 20, days: 2 }))
    if (wrong !== undefined) failed++
    console.log(`${wrong ?? "found"}: the shop that ${bug}, ${seconds.toFixed(1)} s\n  ${told}`)
  }
  const good = await Effect.runPromise(
    Effect.result(BlazeTest.strangers(shop(), { ...options, people: 20, days: 2, seeds: 50 }))
  )
  if (Result.isFailure(good)) failed++
  console.log(Result.isFailure(good) ? good.failure.message : `the good shop: ${JSON.stringify(good.success)}`)
  console.log(failed === 0 ? "planted: ok" : `planted: FAILED, ${failed}`)
  return failed === 0 ? 0 : 1
}

const runWeek = async () => {
  // The first one has processes beside it that never rest, one for each core.
  const busy = Array.from({ length: cores }, () => spawn(process.execPath, ["-e", "for(;;);"]))
  const results = [await runProcess(root, ["7", "50", "7"], "week.ts")]
  for (const child of busy) child.kill("SIGKILL")
  results.push(await runProcess(root, ["7", "50", "7"], "week.ts"))
  for (const { text } of results) process.stdout.write(text)
  const hashes = new Set(results.map(({ text }) => (/"hash":"(\w+)"/.exec(text) ?? [])[1]))
  const isSame = hashes.size === 1 && !hashes.has(undefined)
  console.log(isSame ? "week: ok, the same twice" : "week: FAILED, it differs")
  return isSame ? 0 : 1
}

const runChosen = () => {
  if (args.removed) return runRemoved()
  if (args.planted) return runPlanted()
  if (args.week) return runWeek()
  return args.rest === undefined ? runAll() : runSeeds(Number(args.rest))
}
process.exitCode = await runChosen()
