/**
 * What travels between a server on loopback and its bots, for who wants to look at it.
 *
 * Guarantee: whoever listens hears every frame and every request once, in their order, as they travel; where nobody does, nothing is kept.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * @category models
 * @since 0.1.0
 */
export type Heard =
  | { readonly _tag: "Frame"; readonly by: "bot" | "server"; readonly frame: Uint8Array | string }
  | {
      readonly _tag: "Request"
      readonly method: string
      readonly uri: string
      readonly body: string
      readonly status: number
      readonly answer: string
    }

/**
 * Hears it where it happens: nobody, by default.
 *
 * @category references
 * @since 0.1.0
 */
export const Overheard = Context.Reference<((heard: Heard) => void) | undefined>("effect-blaze/testing/Overheard", {
  defaultValue: () => undefined
})
