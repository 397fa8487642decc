/**
 * What the first bytes of a picture tell.
 *
 * Guarantee: a picture that cannot be read tells nothing, and does no harm.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Picture {
  /** `png`, `jpg` and so on. */
  readonly type: string | undefined
  readonly width: number
  readonly height: number
}

/** From there on a photograph is shown on its side. Source: EXIF. */
const firstTurned = 5

/**
 * Its size as it is shown, and its type. The library that reads them is loaded with the first picture.
 *
 * @category accessors
 * @since 0.1.0
 */
export const read = (head: Uint8Array): Effect.Effect<Picture | undefined> =>
  Effect.tryPromise(async () => {
    const { imageSize } = await import("image-size")
    const { height, orientation = 1, type, width } = imageSize(head)
    return orientation < firstTurned ? { type, width, height } : { type, width: height, height: width }
  }).pipe(Effect.orElseSucceed(() => undefined))
