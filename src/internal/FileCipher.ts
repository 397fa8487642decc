/**
 * Files of encrypted messages: AES-256-CBC, and a code of authenticity over it.
 *
 * Guarantee: of a file that was changed not a byte is given.
 *
 * Source: the official Flutter app. `digest` covers the whole, the code everything before it.
 *
 * @since 0.1.0
 */
import * as Cipher from "effect/crypto/Cipher"
import type * as CryptoError from "effect/crypto/CryptoError"
import * as Digest from "effect/crypto/Digest"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

type Primitives = Cipher.Cipher | Mac.Mac | Digest.Digest

const ivLength = 16
const macLength = 32
/** One half encrypts, the other one authenticates. */
const keyLength = 64

/** How many bytes encryption adds, at the most. */
export const overhead = ivLength + 16 + macLength

/**
 * A file as it is stored, with what it takes to read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sealed {
  readonly bytes: Uint8Array
  readonly key: Redacted.Redacted<Uint8Array>
  /** SHA-256 of all of it. */
  readonly digest: Uint8Array
}

const keysOf = (key: Uint8Array) =>
  Effect.all([Cipher.key(Cipher.aes256Cbc, key.subarray(0, 32)), Mac.key(Mac.hmacSha256, key.subarray(32))])

/**
 * @category encryption
 * @since 0.1.0
 */
export const seal = Effect.fnUntraced(function* (
  file: Uint8Array
): Effect.fn.Return<Sealed, CryptoError.CryptoError, Primitives | SecureRandom.SecureRandom> {
  const { randomBytes } = yield* SecureRandom.SecureRandom
  const digest = yield* Digest.Digest
  const cipher = yield* Cipher.Cipher
  const mac = yield* Mac.Mac
  const key = yield* randomBytes(keyLength)
  const iv = yield* randomBytes(ivLength)
  const [cipherKey, macKey] = yield* keysOf(key)
  const encrypted = yield* cipher.encrypt(cipherKey, file, { iv })
  const bytes = new Uint8Array(ivLength + encrypted.length + macLength)
  bytes.set(iv)
  bytes.set(encrypted, ivLength)
  bytes.set(yield* mac.sign(macKey, bytes.subarray(0, -macLength)), bytes.length - macLength)
  return { bytes, key: Redacted.make(key), digest: yield* digest.digest(Digest.sha256, bytes) }
}, Effect.orDie)

/**
 * Reads a file, or fails with why it cannot be read.
 *
 * @category decryption
 * @since 0.1.0
 */
export const open = Effect.fnUntraced(
  function* ({
    bytes,
    digest: expected,
    key
  }: Sealed): Effect.fn.Return<Uint8Array, string | CryptoError.CryptoError, Primitives> {
    const digest = yield* Digest.Digest
    const cipher = yield* Cipher.Cipher
    const mac = yield* Mac.Mac
    const secret = Redacted.value(key)
    if (secret.length !== keyLength) return yield* Effect.fail("its key is none")
    if (bytes.length < ivLength + macLength) return yield* Effect.fail("it is cut short")
    if (!Mac.timingSafeEqual(expected, yield* digest.digest(Digest.sha256, bytes)))
      return yield* Effect.fail("its digest is another")
    const [cipherKey, macKey] = yield* keysOf(secret)
    const end = bytes.length - macLength
    if (!(yield* mac.verify(macKey, bytes.subarray(end), bytes.subarray(0, end)))) {
      return yield* Effect.fail("it was changed on its way")
    }
    return yield* cipher.decrypt(cipherKey, bytes.subarray(ivLength, end), { iv: bytes.subarray(0, ivLength) })
  },
  Effect.mapError((error) => (typeof error === "string" ? error : "it was changed on its way"))
)
