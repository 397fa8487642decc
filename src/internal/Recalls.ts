/**
 * Messages that their sender takes back before they are handled.
 *
 * Guarantee: a recall takes back what its own sender has said in the same conversation and no handler has begun with; whatever else it
 * names, it takes nothing.
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
  /** A recall has come for a message that is at hand. */
  readonly note: (recall: Message.Recall) => void
  /** Whether a message is taken back, which it is once. */
  readonly takes: (message: Message.Message) => boolean
  /** The same, of a recall and a message that it names. */
  readonly takesFor: (recall: Message.Recall, message: Message.Message) => boolean
  /** Whether a message is a recall that has taken something back. */
  readonly hasTaken: (message: Message.Message) => boolean
  /** The message, which may be a recall, is done with. */
  readonly forget: (message: Message.Message) => void
}

// By the account that has sent it, and nobody in whose name it has.
const keyOf = ({ conversationId, view }: Message.Message, id: Ids.MessageId) =>
  `${id} ${conversationId} ${view.user_id}`

/** How many are noted: beyond that a message is handled, and its recall after it. */
const maximum = 10_000

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (onTaken: () => void): Recalls => {
  /** By what must be so of the message that is to be taken back. */
  const noted = new Map<string, Message.Recall>()
  /** The recalls that have taken something back. */
  const effective = new Set<Ids.MessageId>()

  const taken = (recall: Message.Recall): true => {
    if (effective.size < maximum) effective.add(recall.id)
    onTaken()
    return true
  }

  return {
    note: (recall) => {
      const key = keyOf(recall, recall.messageId)
      if (noted.size < maximum && !noted.has(key)) noted.set(key, recall)
    },
    takes: (message) => {
      const recall = noted.size === 0 ? undefined : noted.get(keyOf(message, message.id))
      return recall !== undefined && taken(recall)
    },
    takesFor: (recall, message) => keyOf(recall, recall.messageId) === keyOf(message, message.id) && taken(recall),
    hasTaken: (message) => message._tag === "Recall" && effective.has(message.id),
    forget: (message) => {
      if (noted.size > 0) noted.delete(keyOf(message, message.id))
      if (effective.size > 0) effective.delete(message.id)
    }
  }
}
