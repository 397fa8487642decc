/**
 * Ids that were checked where they came from, or made here.
 *
 * Guarantee: nothing is looked at again, and nothing but the type is added.
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import type * as Ids from "../Ids.ts"

/** @since 0.1.0 */
export const userId = Brand.nominal<Ids.UserId>()
/** @since 0.1.0 */
export const conversationId = Brand.nominal<Ids.ConversationId>()
/** @since 0.1.0 */
export const messageId = Brand.nominal<Ids.MessageId>()
