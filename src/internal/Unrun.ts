/**
 * Answers that were made and never run.
 *
 * Guarantee: the log tells of them once, for it may be meant; where one answer to a message begins, within a minute, it is none of them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Ids from "../Ids.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Unrun {
  /** The handler of a message has succeeded before any of its answers had begun; `isStill` says whether that is so later. */
  readonly suspect: (id: Ids.MessageId, isStill: () => boolean) => void
  /** Nothing will have to be told. */
  readonly isEmpty: () => boolean
  /** Tells of those that have had their time. */
  readonly tell: Effect.Effect<void>
}

/** How long an answer has to begin after its handler, in milliseconds: one that is forked may wait. */
const patience = 60_000

/** How many are looked at again: a program that makes one such answer makes many. */
const maximumSuspects = 20

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (now: () => number): Unrun => {
  let suspects: Array<{ readonly id: Ids.MessageId; readonly since: number; readonly isStill: () => boolean }> = []
  let isTold = false
  const isDue = ({ since }: { readonly since: number }) => now() - since >= patience
  return {
    suspect: (id, isStill) => {
      if (!isTold && suspects.length < maximumSuspects) suspects.push({ id, since: now(), isStill })
    },
    isEmpty: () => suspects.length === 0,
    tell: Effect.suspend(() => {
      const unrun = suspects.filter((suspect) => isDue(suspect) && suspect.isStill()).map(({ id }) => id)
      suspects = suspects.filter((suspect) => !isDue(suspect))
      if (unrun.length === 0) return Effect.void
      isTold = true
      suspects = []
      return Effect.logWarning(
        `The handlers of these messages have made an answer and run none: ${Ids.list(unrun)}. An answer sends nothing until it is given back or yielded (yield*). This is told once.`
      )
    })
  }
}
