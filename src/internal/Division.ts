/**
 * Into how many parts something is divided that a bot has once.
 *
 * Guarantee: who runs alone has all of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * How many processes send for a bot now, each of which has a part of its quota: one.
 *
 * @category references
 * @since 0.1.0
 */
export const Senders = Context.Reference<() => number>("effect-blaze/internal/Division/Senders", {
  defaultValue: () => () => 1
})
