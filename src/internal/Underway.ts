/**
 * What has begun and not ended, oldest first.
 *
 * Guarantee: beginning and ending cost the same however much is under way, nothing that has ended is held, and what is kept is at
 * most twice what is under way.
 *
 * @since 0.1.0
 */

/**
 * Whether it may still be ended: by who is at work, not by who has ended in peace or was cut short.
 *
 * @category models
 * @since 0.1.0
 */
export type Hands = "AtWork" | "Ended" | "Cut"

/**
 * @category models
 * @since 0.1.0
 */
export interface Entry<out A> {
  /** Gone once it has ended. */
  readonly value: A | undefined
  /** When it began, in milliseconds of `Elapsed.now`. */
  readonly since: number
  /** How many had begun before it. */
  readonly number: number
  /** It was warned of already. */
  warned: boolean
  /** How many work on it now. */
  holders: number
  /** What is known of whoever has it, though nobody has said that it is worked on. */
  hands: () => Hands
  /** Nobody works on it before he says so: whoever has it takes it out of a queue of his. */
  isQueued: boolean
  /** What became of it is being stored: it has no other end any more. */
  isSettling: boolean
  /** What it was to be acknowledged with was based on what has changed: who works on it is to handle it again. */
  isOvertaken: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Underway<A> {
  readonly begin: (value: A, since: number) => Entry<A>
  /** Gives the value the first time, nothing after that. */
  readonly end: (entry: Entry<A>) => A | undefined
  /** Puts another value in the place of one that has not ended. */
  readonly replace: (entry: Entry<A>, value: A) => void
  readonly size: () => number
  /** How many entries take memory, those that have ended included. */
  readonly kept: () => number
  readonly oldest: () => Entry<A> | undefined
  /** Those under way, oldest first. */
  readonly entries: () => Iterable<Entry<A>>
}

const minimumCapacity = 64

/**
 * Of an entry that nobody has.
 *
 * @category models
 * @since 0.1.0
 */
export const inNobodysHands = (): Hands => "Cut"

/**
 * **Details**
 *
 * In place of a `Map` in order of insertion: the tables that a busy one leaves behind keep what was in them alive until the next full
 * collection, which made most of what a message is made of survive.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(): Underway<A> => {
  let entries: Array<{ -readonly [Key in keyof Entry<A>]: Entry<A>[Key] }> = []
  let first = 0
  let size = 0
  let begun = 0

  const skip = () => {
    while (first < entries.length && entries[first]!.value === undefined) first++
  }

  return {
    begin: (value, since) => {
      if (entries.length >= minimumCapacity && entries.length >= 2 * size) {
        entries = entries.filter((entry) => entry.value !== undefined)
        first = 0
      }
      const entry = {
        value,
        since,
        number: begun++,
        warned: false,
        holders: 0,
        hands: inNobodysHands,
        isQueued: false,
        isSettling: false,
        isOvertaken: false
      }
      entries.push(entry)
      size++
      return entry
    },
    end: (entry) => {
      const { value } = entry
      if (value === undefined) return undefined
      const own: { value: A | undefined } = entry
      own.value = undefined
      size--
      return value
    },
    replace: (entry, value) => {
      if (entry.value === undefined) return
      const own: { value: A | undefined } = entry
      own.value = value
    },
    size: () => size,
    kept: () => entries.length,
    oldest: () => {
      skip()
      return entries[first]
    },
    entries: function* () {
      skip()
      // What begins meanwhile may put another array in the place of this one.
      const current = entries
      for (let index = first; index < current.length; index++) {
        const entry = current[index]!
        if (entry.value !== undefined) yield entry
      }
    }
  }
}
