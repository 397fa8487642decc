/**
 * Deliveries that were handed out, and that nobody will settle.
 *
 * Guarantee: each is told of once; none is while somebody is at work on any, or anything happens to one, unless it is five minutes old.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Ids from "../Ids.ts"
import type * as Outstanding from "./Outstanding.ts"

type Open = Outstanding.Open

/**
 * How often is looked, and who is told. A delivery is told of when nothing has happened between two looks.
 *
 * @category references
 * @since 0.1.0
 */
export const Watch = Context.Reference<{
  readonly period: Duration.Duration
  readonly tell: (dropped: ReadonlyArray<Open>, sentence: string) => Effect.Effect<void>
}>("effect-blaze/internal/Dropped/Watch", {
  defaultValue: () => ({ period: Duration.seconds(15), tell: (_, sentence) => Effect.logWarning(sentence) })
})

const lateAfter = 5 * 60_000
const maximumListed = 20

const advice = {
  left: "An operator has left them out or lost them (filter, drop, changes, debounce, throttle, switchMap, a buffer that drops or slides, groupedWithin without a handler for all), or they wait for time: in a window, or in Keyed's quiet or every. Delivery.filter settles what it leaves out; who settles by hand says Delivery.hold meanwhile.",
  ended:
    "Their stream has ended before it had handled them (take, takeWhile, head): the next one gets them, or the next process.",
  stuck:
    "Their stream does not ask for more: a branch of partition or broadcastN has ended or is full, or a window is still open."
} as const

/** Those that nobody was told of, who is now; so many as fit in a line. */
const notTold = (entries: Iterable<Open>) => {
  const found: Array<Open> = []
  for (const entry of entries) {
    if (entry.warned) continue
    entry.warned = true
    found.push(entry)
    if (found.length === maximumListed) break
  }
  return found
}

/**
 * Looks at what is out: gives how many are taken to be dropped. `isAwaited` is whether somebody waits for more.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeInspection = Effect.fnUntraced(function* (
  outstanding: Pick<Outstanding.Outstanding, "activity" | "count" | "entries">,
  isAwaited: () => boolean,
  now: () => number
) {
  const { tell } = yield* Watch
  let seen = -1

  const reasonOf = (entry: Open) =>
    entry.hands() === "Ended" ? advice.ended : isAwaited() ? advice.left : advice.stuck

  // What a consumer that was cut short has left is not dropped: the next one begins with it.
  const idle = () => Array.from(outstanding.entries()).filter((entry) => entry.hands() !== "Cut")

  const late = function* (time: number) {
    for (const entry of outstanding.entries()) {
      if (time - entry.since < lateAfter) return
      yield entry
    }
  }

  return Effect.suspend(() => {
    const activity = outstanding.activity()
    const isIdle = activity === seen && outstanding.count().held === 0
    seen = activity
    const dropped = isIdle ? idle() : []
    const entries = notTold(isIdle && dropped.length > 0 ? dropped : late(now()))
    const [first] = entries
    if (first === undefined) return Effect.succeed(dropped.length)
    const ids = Ids.list(entries.map(({ value }) => value!.id))
    const sentence =
      dropped.length > 0
        ? `nobody is at work on any: ${ids}. ${reasonOf(first)}`
        : `that was 5 minutes ago: ${ids}. ${advice.left} What interrupts a handler within its stream leaves its message to the next one.`
    return Effect.as(
      tell(entries, `These messages were handed out and are neither acknowledged nor deferred, and ${sentence}`),
      dropped.length
    )
  })
})
