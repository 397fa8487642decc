/**
 * An interruption after which the same is done again.
 *
 * Guarantee: whoever looks at how something has ended can tell it from every other interruption, and leaves to it what it had.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"

class Restart extends Context.Service<Restart, true>()("effect-blaze/internal/Restart") {}

const restarting = Context.make(Restart, true)

/**
 * Interrupts a fiber in order to begin again.
 *
 * @category interruption
 * @since 0.1.0
 */
export const interrupt = (fiber: Fiber.Fiber<unknown, unknown>): void =>
  fiber.interruptUnsafe(undefined, restarting as unknown as Context.Context<never>)

/**
 * Whether what has ended was interrupted to begin again.
 *
 * @category interruption
 * @since 0.1.0
 */
export const isIn = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) && Context.getOrUndefined(Cause.annotations(cause), Restart) === true
