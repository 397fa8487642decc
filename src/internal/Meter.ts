/**
 * What measures: counters, gauges, histograms and spans of one bot.
 *
 * Guarantee: what is measured carries ids and numbers, never content or secrets; a measurement on the hot path is one addition.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Elapsed from "./Elapsed.ts"
import type * as Ids from "../Ids.ts"
import type * as Telemetry from "../Telemetry.ts"

/**
 * Gives an effect a span: where in this library it was made tells nobody anything, and costs more than the rest of the span.
 *
 * @category spans
 * @since 0.1.0
 */
export const withSpan = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  name: (typeof Telemetry.span)[keyof typeof Telemetry.span],
  attributes: Record<string, unknown> = {}
) => Effect.withSpan(self, name, { attributes, captureStackTrace: false })

/**
 * Measures for one bot, synchronously.
 *
 * @category services
 * @since 0.1.0
 */
export class Meter extends Context.Service<
  Meter,
  {
    /** Adds to a counter, sets a gauge, or records in a histogram. */
    readonly measure: <State>(metric: Metric.Metric<number, State>, value: number, label?: string) => void
    /** Milliseconds that nobody can set, see `Elapsed.now`. */
    readonly now: () => number
  }
>()("effect-blaze/internal/Meter") {}

const maximumLabels = 64
const other = "other"

/**
 * Measures in the metric registry and by the clock of the program that asks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (userId: Ids.UserId): Effect.fn.Return<Meter["Service"]> {
  const context = yield* Effect.context<never>()
  const now = yield* Elapsed.now
  const attributes = { ...(yield* Metric.CurrentMetricAttributes), bot: userId }
  const contexts = new Map<string, typeof context>()
  const contextOf = (label: string) => {
    const known = contexts.get(label)
    if (known !== undefined) return known
    // A category is a label that comes from outside, so the number of series is bounded here.
    if (contexts.size >= maximumLabels - 1 && label !== other) return contextOf(other)
    const labelled = Context.add(
      context,
      Metric.CurrentMetricAttributes,
      label === "" ? attributes : { ...attributes, kind: label }
    )
    contexts.set(label, labelled)
    return labelled
  }
  return {
    measure: (metric, value, label = "") => metric.updateUnsafe(value, contextOf(label)),
    now
  }
})

/**
 * Of one bot.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (userId: Ids.UserId): Layer.Layer<Meter> => Layer.effect(Meter, make(userId))
