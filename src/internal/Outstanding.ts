/**
 * Messages that were handed out and are not settled: who works on them, and what a consumer has left.
 *
 * Guarantee: what a consumer left goes back to the inbox before what waits there, in order and once; what somebody works on stays where
 * it is; whatever is done to one is seen.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Ids from "../Ids.ts"
import type * as Inbox from "./Inbox.ts"
import type * as Message from "../Message.ts"
import * as Underway from "./Underway.ts"

/**
 * A message that was handed out and is not settled.
 *
 * @category models
 * @since 0.1.0
 */
export type Open = Underway.Entry<Message.Message>

interface Holds {
  /** Somebody works on it, and will settle it. */
  readonly hold: (entry: Open) => void
  /** Who worked on it does not any more. */
  readonly release: (entry: Open) => void
  /** What became of it is being stored. */
  readonly settle: (entry: Open) => void
  /** It has been stored, or could not be: then it may stay held. */
  readonly unsettle: (entry: Open, staysHeld: boolean) => void
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Outstanding extends Underway.Underway<Message.Message>, Holds {
  /** Grows with whatever happens to what is open. */
  readonly activity: () => number
  /** How many are open, and how many of them somebody holds. */
  readonly count: () => { readonly open: number; readonly held: number }
  /** How many are open, without what is on its way to the next consumer. */
  readonly handedOut: () => number
  /** It was released unsettled: the consumer of now gets it. */
  readonly handBack: (entry: Open) => void
  /** A consumer begins with what the one before it left, but for what somebody still works on. */
  readonly takeOver: () => void
  /** What is on its way to the next consumer is there. */
  readonly takeReturned: (id: Ids.MessageId) => Open | undefined
}

const makeHolds = (onChange: () => void): Holds & { readonly held: () => number } => {
  let held = 0
  const hold = (entry: Open) => {
    onChange()
    entry.holders++
    held++
  }
  const release = (entry: Open) => {
    if (entry.holders === 0) return
    onChange()
    entry.holders--
    held--
  }
  return {
    hold,
    release,
    held: () => held,
    settle: (entry) => {
      entry.isSettling = true
      hold(entry)
    },
    unsettle: (entry, staysHeld) => {
      entry.isSettling = false
      if (!staysHeld) release(entry)
    }
  }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  inbox: Pick<Inbox.Inbox, "offer">,
  fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
): Outstanding => {
  const open = Underway.make<Message.Message>()
  // On its way through the inbox it stays open: an acknowledgement that comes late still counts.
  const returned = new Map<Ids.MessageId, Open>()
  const leaving = new Set<Open>()
  let activity = 0
  const { held, ...holds } = makeHolds(() => activity++)

  const isLeft = (entry: Open) => entry.value !== undefined && entry.holders === 0 && !returned.has(entry.value.id)

  const giveBack = (entries: ReadonlyArray<Open>) => {
    for (const entry of entries) returned.set(entry.value!.id, entry)
    inbox.offer(
      entries.map((entry) => entry.value!),
      "first"
    )
  }

  return {
    ...open,
    ...holds,
    activity: () => activity,
    count: () => ({ open: open.size(), held: held() }),
    handedOut: () => open.size() - returned.size,
    begin: (message, since) => {
      activity++
      return open.begin(message, since)
    },
    end: (entry) => {
      activity++
      const message = open.end(entry)
      if (message !== undefined) returned.delete(message.id)
      return message
    },
    // What is left in one go goes back in one go, in order: one by one each would stand before the last.
    handBack: (entry) => {
      if (!isLeft(entry)) return
      const isFirst = leaving.size === 0
      leaving.add(entry)
      if (!isFirst) return
      fork(
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => {
            const left = Array.from(leaving).filter(isLeft)
            leaving.clear()
            giveBack(left.toSorted((a, b) => a.number - b.number))
          })
        )
      )
    },
    takeOver: () => giveBack(Array.from(open.entries()).filter((entry) => isLeft(entry) && entry.hands() !== "AtWork")),
    takeReturned: (id) => {
      const entry = returned.get(id)
      returned.delete(id)
      return entry
    }
  }
}
