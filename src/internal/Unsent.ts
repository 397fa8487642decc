/**
 * A message that is stored before it is sent.
 *
 * Guarantee: nothing but models.
 *
 * @since 0.1.0
 */
import type * as Ids from "../Ids.ts"

/**
 * A message that is stored and not sent yet: `content` is JSON, made by `Outbox`; `storedAt` is milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unsent {
  readonly id: Ids.MessageId
  readonly to: { readonly user: Ids.UserId } | { readonly conversation: Ids.ConversationId }
  readonly content: string
  readonly storedAt: number
  /** By itself, in order for each conversation; or with a hundred others, in no order, and perhaps to somebody who has not met the bot. */
  readonly way: "Alone" | "InBatches" | "FirstContact"
}

/**
 * One that is waiting for its turn. Who was stored later has a greater number.
 *
 * @category models
 * @since 0.1.0
 */
export interface Waiting extends Unsent {
  readonly number: number
}

/**
 * What became of one: the server has it or, with a `problem`, which is an error as JSON, will never take it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent extends Pick<Unsent, "id" | "way"> {
  readonly problem: string | undefined
}

/**
 * What is known of one that was stored.
 *
 * @category models
 * @since 0.1.0
 */
export type Known = "Waiting" | Pick<Sent, "problem">
