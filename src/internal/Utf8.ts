/**
 * Text as bytes, for whoever is done with them at once.
 *
 * Guarantee: what a call gives is good until the next one.
 *
 * @since 0.1.0
 */

const scratchSize = 3 * 1024
/** A unit of UTF-16 takes three bytes at the most. */
const maximumLength = scratchSize / 3

/**
 * **Details**
 *
 * An array of its own for each short text takes five times as long.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeEncoder = (): ((text: string) => Uint8Array) => {
  const encoder = new TextEncoder()
  const scratch = new Uint8Array(scratchSize)
  return (text) =>
    text.length > maximumLength ? encoder.encode(text) : scratch.subarray(0, encoder.encodeInto(text, scratch).written)
}
