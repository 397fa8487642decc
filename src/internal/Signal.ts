/**
 * Waiting until something is so.
 *
 * Guarantee: whoever waits goes on once it is so and somebody has said that things have changed; one that is interrupted leaves
 * nothing behind.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Signal {
  /** Waits until `condition` holds. Another fiber may have changed that again by the time that this one goes on. */
  readonly until: (condition: () => boolean) => Effect.Effect<void>
  /** Things have changed: those whose condition holds now go on, in the order in which they came. */
  readonly notify: () => void
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Signal => {
  let waiters: Array<() => void> = []
  return {
    until: (condition) =>
      Effect.callback<void>((resume) => {
        if (condition()) return resume(Effect.void)
        let gone = false
        const waiter = () => {
          if (gone) return
          if (condition()) resume(Effect.void)
          else waiters.push(waiter)
        }
        waiters.push(waiter)
        return Effect.sync(() => {
          gone = true
          waiters = waiters.filter((other) => other !== waiter)
        })
      }),
    notify: () => {
      if (waiters.length === 0) return
      const woken = waiters
      waiters = []
      for (const waiter of woken) waiter()
    }
  }
}
