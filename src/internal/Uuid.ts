/**
 * UUIDs: random ones, and those that follow from a name.
 *
 * Guarantee: a derived one is a pure function of its parts; no two random ones share a byte that was drawn.
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"

const encoder = new TextEncoder()

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** A UUID of a version from its bytes. */
const fromBytes = (digest: Uint8Array, version: number): string => {
  let id = ""
  for (let index = 0; index < 16; index++) {
    let byte = digest[index]!
    if (index === 6) byte = (byte & 0x0f) | (version << 4)
    if (index === 8) byte = (byte & 0x3f) | 0x80
    id += index === 4 || index === 6 || index === 8 || index === 10 ? `-${hex[byte]}` : hex[byte]
  }
  return id
}

const pooled = 256

/**
 * Makes random UUIDs (version 4). Their bytes are drawn 256 ids at a time, since the platform takes longer to be asked than to answer.
 *
 * @category random ids
 * @since 0.1.0
 */
export const makeRandom: Effect.Effect<Effect.Effect<string>, never, SecureRandom.SecureRandom> = Effect.map(
  SecureRandom.SecureRandom,
  (random) => {
    let pool: Uint8Array = new Uint8Array(0)
    let used = 0
    // Looked at and taken in one step: between two, another fiber may take the last.
    const take: Effect.Effect<string> = Effect.suspend(() => {
      if (used < pool.length) {
        const bytes = pool.subarray(used, used + 16)
        used += 16
        return Effect.succeed(fromBytes(bytes, 4))
      }
      return Effect.flatMap(random.randomBytes(16 * pooled), (bytes) => {
        pool = bytes
        used = 0
        return take
      })
    })
    return take
  }
)

// A fixed namespace of our own (RFC 9562 section 5.5), so that ids derived here never meet ids derived elsewhere.
const namespace = Uint8Array.of(
  0x6b,
  0x1d,
  0x2f,
  0x5e,
  0x0c,
  0x57,
  0x4a,
  0x0e,
  0x9b,
  0x7a,
  0x3e,
  0x1f,
  0x8d,
  0x24,
  0x61,
  0xc3
)

/**
 * A version 5 UUID made from a list of parts.
 *
 * @category derived ids
 * @since 0.1.0
 */
export const derive = (digest: Digest.Digest["Service"], parts: ReadonlyArray<string>): Effect.Effect<string> => {
  let name = ""
  for (const part of parts) name += `${part.length}:${part}`
  // A unit of UTF-16 takes three bytes at the most.
  const bytes = new Uint8Array(namespace.length + 3 * name.length)
  bytes.set(namespace)
  const { written } = encoder.encodeInto(name, bytes.subarray(namespace.length))
  const hashed = digest.digest(Digest.sha1, bytes.subarray(0, namespace.length + written))
  return Effect.mapEager(hashed, (hash) => fromBytes(hash, 5))
}

/**
 * The version 3 UUID of two texts, whichever comes first: MD5 of the smaller and the larger one, without a namespace. Source: every
 * official client.
 *
 * @category derived ids
 * @since 0.1.0
 */
export const fold = (digest: Digest.Digest["Service"], a: string, b: string): Effect.Effect<string> =>
  Effect.mapEager(digest.digest(Digest.md5, encoder.encode(a < b ? a + b : b + a)), (hash) => fromBytes(hash, 3))

/**
 * The 16 bytes of a UUID, or of whatever has its form.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toBytes = (id: string): Uint8Array => {
  const digits = id.replaceAll("-", "")
  return Uint8Array.from({ length: 16 }, (_, index) => Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16))
}
