/**
 * Of what kind an error of something else is.
 *
 * Guarantee: nothing that might be in the error is told.
 *
 * @since 0.1.0
 */
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
