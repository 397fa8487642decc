/**
 * Loaded before the bot in its process: says how the bot's metrics stand whenever `dev` asks, over the descriptor that is between the two,
 * and ends the bot when `dev` was killed.
 *
 * Guarantee: the bot is none the wiser: it fails at nothing that fails here, and ends when it would have ended, or after `dev`; its threads
 * and its own processes, for which this is loaded too, have no part in it.
 *
 * @since 0.1.0
 */
import { createRequire } from "node:module"
import { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { isMainThread } from "node:worker_threads"
import type * as EffectModule from "effect/Effect"
import type * as MetricModule from "effect/Metric"
import type * as Scene from "./Scene.ts"

/** The process of `dev`. */
const parent = Number(new URL(import.meta.url).searchParams.get("parent"))

const maximumLength = 100
const maximumMetrics = 200
const maximumWords = 10

/** The two modules of the library that the bot runs on, which may be another than the one of this file. */
const modulesOf = async (program: string) => {
  const ofLibrary = createRequire(createRequire(program).resolve("effect-blaze/package.json"))
  const load = (name: string) => import(pathToFileURL(ofLibrary.resolve(name)).href)
  const [Effect, Metric] = await Promise.all([load("effect/Effect"), load("effect/Metric")])
  return { Effect: Effect as typeof EffectModule, Metric: Metric as typeof MetricModule }
}

/** Some of many, without a look at the rest. */
const some = <A>(all: Iterable<A>, maximum: number): ReadonlyArray<A> => {
  const taken: Array<A> = []
  for (const each of all) if (taken.push(each) === maximum) break
  return taken
}

// Of whatever a program has put there that is not type-checked.
const cut = (text: unknown) => String(text ?? "").slice(0, maximumLength)

const valueOf = (metric: MetricModule.Metric.Snapshot): string => {
  switch (metric.type) {
    case "Counter":
      return String(metric.state.count)
    case "Gauge":
      return String(metric.state.value)
    case "Histogram":
    case "Summary": {
      const { count, max, sum } = metric.state
      return count === 0
        ? "none"
        : `${count}, ${(sum / count).toPrecision(3)} on average, ${max.toPrecision(3)} at most`
    }
    case "Frequency":
      return some(metric.state.occurrences, maximumWords)
        .map(([word, count]) => `${cut(word)}: ${count}`)
        .join(", ")
  }
}

const shown = (metric: MetricModule.Metric.Snapshot): Scene.Metric => {
  const labels = Object.entries(metric.attributes ?? {}).filter(([name]) => name !== "bot")
  return {
    name: cut(metric.id),
    labels: cut(labels.map(([name, value]) => `${name} ${cut(value)}`).join(", ")),
    value: cut(valueOf(metric)),
    description: cut(metric.description)
  }
}

const isOurs = ({ id }: MetricModule.Metric.Snapshot) => String(id).startsWith("blaze_")

/** Those of the library first: the page looks for some of them. */
const ordered = (all: ReadonlyArray<MetricModule.Metric.Snapshot>) => {
  const byName = all.toSorted((a, b) => (String(a.id) < String(b.id) ? -1 : 1))
  return [...byName.filter(isOurs), ...byName.filter((metric) => !isOurs(metric))]
}

/** The other side closes its descriptors a little before its children are somebody else's. */
const goodbye = 1000

const report = async (program: string) => {
  const socket = new Socket({ fd: 3 })
  socket.unref()
  socket.resume()
  socket.on("error", () => socket.destroy())
  socket.on("close", async () => {
    await sleep(goodbye, undefined, { ref: false })
    if (process.ppid !== parent) process.kill(process.pid, "SIGTERM")
  })
  const { Effect, Metric } = await modulesOf(program)
  socket.on("data", () => {
    try {
      const all = ordered(Effect.runSync(Metric.snapshot)).slice(0, maximumMetrics)
      socket.write(`${JSON.stringify(all.map(shown))}\n`)
    } catch {
      // What cannot be shown is not.
    }
  })
}

const [, program] = process.argv
// Threads share the descriptor, and would close it; what a process of the bot's own has under its number is something else.
if (isMainThread && process.ppid === parent && program !== undefined) report(program).catch(() => {})
