/**
 * Messages for which the program has no case.
 *
 * Guarantee: whatever passes unread is counted, and the log tells of each category once, and then once a minute at most.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Message from "../Message.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Unread {
  readonly count: (message: Message.Message) => Effect.Effect<void>
  /** Nothing will have to be told. */
  readonly isEmpty: () => boolean
  /** Tells how many there were since the log last told of them. */
  readonly tell: Effect.Effect<void>
}

const minute = 60_000
const maximumCategories = 64

const adviceOn = (category: string) =>
  category.startsWith("ENCRYPTED_")
    ? "They are encrypted, and could not be decrypted or hold what is of no known kind: Unknown has the reason."
    : "Give Bot.match a case Unknown to see them."

const tellUnread = (category: string, count: number) =>
  Effect.logWarning(
    `${count === 1 ? "A message" : `${count} messages`} of category ${category} passed through Bot.match unread, for it has no case for ${
      count === 1 ? "it" : "them"
    }. ${adviceOn(category)}`
  )

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Unread, never, Meter.Meter> = Effect.gen(function* () {
  const meter = yield* Meter.Meter
  // How many messages of a category nobody has read since the log last told of it.
  const unread = new Map<string, { count: number; since: number }>()
  return {
    count: ({ category, isSaid }) =>
      Effect.suspend(() => {
        meter.measure(Telemetry.metrics.unread, 1, category)
        if (!isSaid) return Effect.void
        const name = unread.has(category) || unread.size < maximumCategories ? category : "other"
        const state = unread.get(name)
        if (state !== undefined) {
          state.count++
          return Effect.void
        }
        unread.set(name, { count: 0, since: meter.now() })
        return tellUnread(name, 1)
      }),
    isEmpty: () => unread.size === 0,
    tell: Effect.suspend(() => {
      const now = meter.now()
      return Effect.forEach(
        [...unread],
        ([category, state]) => {
          if (now - state.since < minute) return Effect.void
          const { count } = state
          if (count === 0) {
            unread.delete(category)
            return Effect.void
          }
          unread.set(category, { count: 0, since: now })
          return tellUnread(category, count)
        },
        { discard: true }
      )
    })
  }
})
