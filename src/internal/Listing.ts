/**
 * Whether what was pending on the server has been listed, as far as that can be told.
 *
 * Guarantee: it is never said while something is left to the server for want of room, nor while reading pauses, nor within a second of the
 * last message that the server pushed because of a listing.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Elapsed from "./Elapsed.ts"
import type * as Inbox from "./Inbox.ts"

/** How long nothing of a listing has to come before it is taken to be over: the server does not mark its end. */
const quietPeriod = 1000

/**
 * @category models
 * @since 0.1.0
 */
export interface Listing {
  /** A listing was answered, or something came of it. */
  readonly heard: () => void
  /** As `Inbox.mayRead`: what comes after a pause may be of a listing from before. */
  readonly mayRead: Effect.Effect<void>
  /** Says so whenever it has been listed, and when it has not any more. */
  readonly watch: (tell: (listed: boolean) => Effect.Effect<void>) => Effect.Effect<never>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  inbox: Pick<Inbox.Inbox, "allListed" | "isRefusing" | "mayRead" | "mayReadNow" | "refusing">
): Effect.fn.Return<Listing> {
  const now = yield* Elapsed.now
  let heardAt = now()

  const heard = () => {
    heardAt = now()
  }

  const afterPause = Effect.andThen(inbox.mayRead, Effect.sync(heard))
  const mayRead = Effect.suspend(() => (inbox.mayReadNow() ? Effect.void : afterPause))

  const quiet = Effect.gen(function* () {
    while (true) {
      yield* inbox.allListed
      yield* mayRead
      const quietAt = heardAt + quietPeriod
      if (quietAt > now()) yield* Elapsed.sleepUntil(now, quietAt)
      else if (!inbox.isRefusing()) return
    }
  })

  return {
    heard,
    mayRead,
    watch: (tell) =>
      Effect.gen(function* () {
        while (true) {
          yield* quiet
          yield* tell(true)
          yield* inbox.refusing
          yield* tell(false)
        }
      })
  }
})
