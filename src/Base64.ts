/**
 * Base64 as Mixin's clients write it: either alphabet, padding optional, line breaks anywhere.
 *
 * Guarantee: what any one of Go's four decoders accepts is accepted and gives the same bytes; what all of them refuse is refused.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

/**
 * Decodes, or gives `None` for text that is not base64.
 *
 * **Example** (Both alphabets)
 *
 * ```ts
 * import { Option } from "effect"
 * import { Base64 } from "effect-blaze"
 *
 * console.assert(Option.isSome(Base64.decode("-_8")))
 * console.assert(Option.isSome(Base64.decode("+/8=")))
 * console.assert(Option.isNone(Base64.decode("+_8=")))
 * ```
 *
 * @since 0.1.0
 */
export const decode = (text: string): Option.Option<Uint8Array> => {
  const url = /[-_]/.test(text)
  if (url && /[+/]/.test(text)) return Option.none()
  let standard = text.replace(/[\r\n]/g, "")
  if (url) standard = standard.replace(/-/g, "+").replace(/_/g, "/")
  if (!standard.includes("=")) standard = standard.padEnd(Math.ceil(standard.length / 4) * 4, "=")
  return Result.getSuccess(Base64.decode(standard))
}

/**
 * Decodes payloads, or gives `None` for text that is not base64.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoder {
  /** The bytes, which nobody else has. */
  readonly decode: (text: string) => Option.Option<Uint8Array>
  /** The text that they are; what is not UTF-8 becomes U+FFFD, and a mark of byte order is a character like any other. */
  readonly decodeText: (text: string) => Option.Option<string>
}

/**
 * The text that bytes are; what is not UTF-8 becomes U+FFFD, and a mark of byte order is a character like any other.
 *
 * @category decoding
 * @since 0.1.0
 */
export const textOf = (bytes: Uint8Array): string => textDecoder.decode(bytes)

const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * A decoder whose texts are read from its bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const decoderOf = (decode: Decoder["decode"]): Decoder => ({
  decode,
  decodeText: (text) => Option.map(decode(text), textOf)
})

/**
 * The decoder that runs anywhere.
 *
 * @category constructors
 * @since 0.1.0
 */
export const portable: Decoder = decoderOf(decode)

/**
 * What decodes the payloads of messages: `portable`, or what a platform has that does the same in less time.
 *
 * @category references
 * @since 0.1.0
 */
export const Decoder = Context.Reference<Decoder>("effect-blaze/Base64/Decoder", { defaultValue: () => portable })

/**
 * The raw URL form without padding, which is what this library sends.
 *
 * @since 0.1.0
 */
export const encode = (bytes: Uint8Array | string): string =>
  // What a platform has for it takes a tenth of the time, and takes no other characters.
  typeof bytes === "string" && ascii.test(bytes) ? toUrl(btoa(bytes)) : Base64Url.encode(bytes)

const ascii = /^[\0-\x7f]*$/

const toUrl = (standard: string): string => {
  const end = standard.indexOf("=")
  const digits = end < 0 ? standard : standard.slice(0, end)
  return digits.replace(/\+/g, "-").replace(/\//g, "_")
}
