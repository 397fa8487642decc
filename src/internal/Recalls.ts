/**
 * Messages that their sender takes back before they are handled.
 *
 * Guarantee: a recall takes back what its own sender has said in the same conversation and no handler has begun with; whatever else it
 * names, it takes nothing, and nothing is remembered of it once that is done with.
 *
 * @since 0.1.0
 */
import type * as Ids from "../Ids.ts"
import type * as Message from "../Message.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Recalls {
  /** A recall has come for a message that is at hand, and is not done with. */
  readonly note: (recall: Message.Recall) => void
  /** Whether a message is taken back by a recall that was noted. */
  readonly takes: (message: Message.Message) => boolean
  /** A recall has taken its message back. */
  readonly taken: (recall: Message.Recall) => void
  /** Whether a message is a recall that has taken something back. */
  readonly hasTaken: (message: Message.Message) => boolean
  /** The message, which may be a recall, is done with. */
  readonly forget: (id: Ids.MessageId) => void
}

/** How many are noted: beyond that a message is handled, and its recall after it. */
const maximum = 10_000

/**
 * Who has said something where, for a recall to be matched with: the account that has sent it, and nobody in whose name it has.
 *
 * @category conversions
 * @since 0.1.0
 */
export const speakerOf = ({ conversationId, view }: Message.Message): string => `${conversationId} ${view.user_id}`

/**
 * Whether a recall is for a message: no notice of the system's can be taken back.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isFor = (recall: Message.Recall, message: Message.Message): boolean =>
  recall.messageId === message.id && message.isSaid && speakerOf(recall) === speakerOf(message)

/**
 * `isOpen` is whether a recall is not done with itself.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (isOpen: (id: Ids.MessageId) => boolean, onTaken: () => void): Recalls => {
  const noted = new Map<Ids.MessageId, Array<Message.Recall>>()
  let count = 0
  /** The recalls that have taken something back. */
  const effective = new Set<Ids.MessageId>()

  const taken = (recall: Message.Recall) => {
    if (isOpen(recall.id)) effective.add(recall.id)
    onTaken()
  }

  return {
    note: (recall) => {
      if (count >= maximum) return
      count++
      const others = noted.get(recall.messageId)
      if (others === undefined) noted.set(recall.messageId, [recall])
      else others.push(recall)
    },
    takes: (message) => {
      const recall = noted.get(message.id)?.find((recall) => isFor(recall, message))
      if (recall !== undefined) taken(recall)
      return recall !== undefined
    },
    taken,
    hasTaken: ({ id }) => effective.has(id),
    forget: (id) => {
      count -= noted.get(id)?.length ?? 0
      noted.delete(id)
      effective.delete(id)
    }
  }
}
