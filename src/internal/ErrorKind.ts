/**
 * Of what kind an error of something else is.
 *
 * Guarantee: nothing that might be in the error is told.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

/**
 * Its tag, or that of its reason, in parentheses and after a space; nothing where it has none.
 *
 * @category conversions
 * @since 0.1.0
 */
export const of = (error: unknown): string => {
  const reason = Predicate.hasProperty(error, "reason") ? error.reason : error
  return Predicate.hasProperty(reason, "_tag") ? ` (${String(reason._tag)})` : ""
}

/**
 * Has something else come of whatever a client of somebody else's ends with: it may die of what is wrong with its connection, or be
 * interrupted by its own doing. Whose fiber is interrupted does not come here.
 *
 * @category combinators
 * @since 0.1.0
 */
export const catchAny = <A, R, B, E2, R2>(
  effect: Effect.Effect<A, unknown, R>,
  otherwise: (kind: string) => Effect.Effect<B, E2, R2>
): Effect.Effect<A | B, E2, R | R2> => Effect.catchCause(effect, (cause) => otherwise(of(Cause.squash(cause))))
