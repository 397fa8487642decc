/**
 * Answers that were made and never run.
 *
 * Guarantee: the log tells of them, once a minute at most; an answer that runs later, forked by its handler say, is none of them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Elapsed from "./Elapsed.ts"
import * as Ids from "../Ids.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Unrun {
  /** The handler of a message has succeeded before all of its answers had begun; `isStill` says whether that is so later. */
  readonly suspect: (id: Ids.MessageId, isStill: () => boolean) => void
  /** Nothing will have to be told. */
  readonly isEmpty: () => boolean
  /** Tells of those that have had their time. */
  readonly tell: Effect.Effect<void>
}

/** How long an answer has to begin after its handler, in milliseconds. */
const patience = 1000
const warningPeriod = 60_000

/** How many are looked at again: a program that makes one such answer makes many. */
const maximumSuspects = 20

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (now: () => number): Unrun => {
  let suspects: Array<{ readonly id: Ids.MessageId; readonly since: number; readonly isStill: () => boolean }> = []
  const isDue = ({ since }: { readonly since: number }) => now() - since >= patience
  const seldom = Elapsed.seldom(now, warningPeriod)
  return {
    suspect: (id, isStill) => {
      if (suspects.length < maximumSuspects) suspects.push({ id, since: now(), isStill })
    },
    isEmpty: () => suspects.length === 0,
    tell: Effect.suspend(() => {
      const unrun = suspects.filter((suspect) => isDue(suspect) && suspect.isStill()).map(({ id }) => id)
      suspects = suspects.filter((suspect) => !isDue(suspect))
      if (unrun.length === 0) return Effect.void
      return seldom(() =>
        Effect.logWarning(
          `The handlers of these messages have made an answer, and succeeded, and never run it: ${Ids.list(unrun)}. An answer sends nothing until it is given back or yielded (yield*).`
        )
      )
    })
  }
}
