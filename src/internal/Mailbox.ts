/**
 * What has arrived for one reader who takes all of it at once.
 *
 * Guarantee: what was put in comes out in its order and once, and the end after it; a reader that is interrupted leaves nothing behind.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Mailbox<A, E> {
  /** Puts something in; the reader gets it with the next `wake`. */
  readonly put: (item: A) => void
  /** Nothing comes any more; what is there is still given out. Only the first reason counts. */
  readonly end: (reason: E) => void
  readonly ended: () => E | undefined
  /** Hands over what is there to who waits for it. */
  readonly wake: () => void
  readonly isAwaited: () => boolean
  /** How much is there. */
  readonly size: () => number
  readonly clear: () => void
  /** All that is there, waiting for something if need be. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, E>
}

/**
 * Calls `taken` each time that it was emptied by its reader.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, E>(taken: () => void = () => {}): Mailbox<A, E> => {
  type Items = Arr.NonEmptyReadonlyArray<A>
  let items: Array<A> = []
  let reason: E | undefined
  let reader: ((effect: Effect.Effect<Items, E>) => void) | undefined

  const wake = () => {
    const resume = reader
    if (resume === undefined || (items.length === 0 && reason === undefined)) return
    reader = undefined
    if (items.length === 0) return resume(Effect.fail(reason!))
    const all = items as unknown as Items
    items = []
    taken()
    resume(Effect.succeed(all))
  }

  return {
    put: (item) => items.push(item),
    end: (why) => {
      reason ??= why
    },
    ended: () => reason,
    wake,
    isAwaited: () => reader !== undefined,
    size: () => items.length,
    clear: () => {
      items = []
    },
    pull: Effect.callback<Items, E>((resume) => {
      reader = resume
      wake()
      return Effect.sync(() => {
        reader = undefined
      })
    })
  }
}
