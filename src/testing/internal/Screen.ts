/**
 * What somebody sees on a phone of what a bot has sent: until it is taken back, or disappears.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Schema from "effect/Schema"
import * as Ids from "../../Ids.ts"

interface Message {
  readonly messageId: Ids.MessageId
  readonly conversationId: Ids.ConversationId
  readonly category: string
  readonly text: string
  /** After how many seconds it disappears, once it was read; 0 is never. */
  readonly expireIn: number
}

/** @category models */
export const Recall = Schema.Struct({ message_id: Ids.MessageId })
const decodeRecall = Schema.decodeUnknownSync(Schema.fromJsonString(Recall))

/** @category models */
export const Pin = Schema.Struct({
  action: Schema.Literals(["PIN", "UNPIN"]),
  message_ids: Schema.Array(Ids.MessageId)
})
const decodePin = Schema.decodeUnknownSync(Schema.fromJsonString(Pin))

/**
 * A phone's screen, by a clock in milliseconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <M extends Message>(now: () => number) => {
  let messages: Array<M> = []
  const ends = new Map<Ids.MessageId, number>()
  let pins: ReadonlyArray<{ readonly messageId: Ids.MessageId; readonly conversationId: Ids.ConversationId }> = []

  const unpin = (id: Ids.MessageId) => {
    pins = pins.filter(({ messageId }) => messageId !== id)
  }
  const remove = (isGone: (message: M) => boolean) => {
    messages = messages.filter((message) => {
      if (!isGone(message)) return true
      ends.delete(message.messageId)
      unpin(message.messageId)
      return false
    })
  }

  /** Somebody takes back what was said, by the bot or by a person. */
  const recall = (id: Ids.MessageId) => {
    remove(({ messageId }) => messageId === id)
    unpin(id)
  }

  const shown = (): ReadonlyArray<M> => {
    if (ends.size > 0) remove(({ messageId }) => now() >= (ends.get(messageId) ?? Infinity))
    return messages
  }

  return {
    shown,
    recall,
    /** Something has come: a message, or what becomes of others. */
    arrive: (message: M) => {
      const { category, conversationId, text } = message
      if (category === "MESSAGE_RECALL") {
        return recall(decodeRecall(text).message_id)
      }
      if (category === "MESSAGE_PIN") {
        const { action, message_ids } = decodePin(text)
        const others = pins.filter(({ messageId }) => !message_ids.includes(messageId))
        pins =
          action === "UNPIN"
            ? others
            : [...others, ...Arr.dedupe(message_ids).map((messageId) => ({ messageId, conversationId }))]
        return
      }
      messages.push(message)
    },
    /** It is looked at. */
    read: ({ expireIn, messageId }: M) => {
      if (expireIn > 0 && !ends.has(messageId)) ends.set(messageId, now() + 1000 * expireIn)
    },
    pins: (conversation: Ids.ConversationId): ReadonlyArray<Ids.MessageId> => {
      shown()
      return pins.filter(({ conversationId }) => conversationId === conversation).map(({ messageId }) => messageId)
    }
  }
}

/** @since 0.1.0 */
export type Screen<M extends Message> = ReturnType<typeof make<M>>
