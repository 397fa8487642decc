/**
 * Loaded before the bot in its process: says how the bot's metrics stand whenever `dev` asks, over the descriptor that is between the two.
 *
 * Guarantee: the bot is none the wiser: it ends when it would have ended, and fails at nothing that fails here.
 *
 * @since 0.1.0
 */
import { createRequire } from "node:module"
import { Socket } from "node:net"
import { pathToFileURL } from "node:url"
import type * as EffectModule from "effect/Effect"
import type * as MetricModule from "effect/Metric"
import type * as Scene from "./Scene.ts"

/** What `dev` has for a description, and for anything else that is a program's own. */
const maximumLength = 200
const maximumMetrics = 200

/** The two modules of the library that the bot runs on, which may be another than the one of this file. */
const modulesOf = async (program: string) => {
  const ofLibrary = createRequire(createRequire(program).resolve("effect-blaze/package.json"))
  const load = (name: string) => import(pathToFileURL(ofLibrary.resolve(name)).href)
  const [Effect, Metric] = await Promise.all([load("effect/Effect"), load("effect/Metric")])
  return { Effect: Effect as typeof EffectModule, Metric: Metric as typeof MetricModule }
}

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
      return [...metric.state.occurrences].map(([word, count]) => `${word}: ${count}`).join(", ")
  }
}

const shown = (metric: MetricModule.Metric.Snapshot): Scene.Metric => {
  const labels = Object.entries(metric.attributes ?? {}).filter(([name]) => name !== "bot")
  return {
    name: metric.id.slice(0, maximumLength),
    labels: labels
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")
      .slice(0, maximumLength),
    value: valueOf(metric).slice(0, maximumLength),
    description: (metric.description ?? "").slice(0, maximumLength)
  }
}

const report = async (program: string) => {
  const { Effect, Metric } = await modulesOf(program)
  const socket = new Socket({ fd: 3 })
  socket.unref()
  socket.on("error", () => socket.destroy())
  socket.on("data", () => {
    const all = Effect.runSync(Metric.snapshot)
      .slice(0, maximumMetrics)
      .map(shown)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    socket.write(`${JSON.stringify(all)}\n`)
  })
}

const [, program] = process.argv
if (program !== undefined) report(program).catch(() => {})
