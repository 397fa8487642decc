/**
 * Messages that wait to be sent, in memory.
 *
 * Guarantee: no more of their contents than 64 MiB are kept, but for what is stored in one go; how many may wait is for who stores them.
 *
 * @since 0.1.0
 */
import type * as Ids from "../Ids.ts"
import * as Ordered from "./Ordered.ts"
import type * as Unsent from "./Unsent.ts"

/** How many UTF-16 code units of contents there may be. */
const maximumCharacters = 32 * 1024 * 1024

/** Of how many it is remembered what became of them: of more than one announcement stores ahead. */
const maximumDone = 200_000

interface Entry extends Unsent.Waiting {
  /** How many code units its content takes that no other one has. */
  readonly weight: number
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = () => {
  const waiting = Ordered.make<Ids.MessageId, Entry>()
  const done = Ordered.make<Ids.MessageId, Pick<Unsent.Sent, "problem">>()
  let characters = 0
  let last = 0

  return {
    isLasting: false,
    size: waiting.size,
    hasRoom: () => characters < maximumCharacters,
    add: (messages: ReadonlyArray<Unsent.Unsent>) => {
      let previous: string | undefined
      for (const message of messages) {
        if (waiting.has(message.id) || done.has(message.id)) continue
        const weight = message.content === previous ? 0 : message.content.length
        previous = message.content
        characters += weight
        waiting.set(message.id, { ...message, number: ++last, weight })
      }
    },
    next: (inBatches: boolean, after: number, maximum: number): ReadonlyArray<Unsent.Waiting> => {
      const found: Array<Unsent.Waiting> = []
      for (const { value: entry } of waiting.entries()) {
        if (found.length === maximum) break
        if (entry.number > after && (entry.way !== "Alone") === inBatches) found.push(entry)
      }
      return found
    },
    complete: (results: ReadonlyArray<Unsent.Sent>) => {
      for (const { id, problem, way } of results) {
        characters -= waiting.get(id)?.weight ?? 0
        waiting.delete(id)
        if (way !== "Alone" || problem !== undefined) done.set(id, { problem })
      }
      done.keep(maximumDone)
    },
    results: (ids: ReadonlyArray<Ids.MessageId>): ReadonlyArray<Unsent.Known | undefined> =>
      ids.map((id) => (waiting.has(id) ? "Waiting" : done.get(id)))
  }
}
