/**
 * Random numbers by a seed and a name.
 *
 * Guarantee: streams of different names do not disturb each other, so that leaving out what one decides changes no other.
 *
 * @since 0.1.0
 */
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Gzip from "../../Gzip.ts"
import * as BufferBase64 from "../../node/BufferBase64.ts"
import * as SynchronousCryptography from "../../node/SynchronousCryptography.ts"
import type * as Signer from "../../Signer.ts"
import * as ZlibGzip from "../../node/ZlibGzip.ts"

type Name = ReadonlyArray<string | number>

/**
 * A stream of random numbers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const random = (...name: Name): typeof Random.Random.Service =>
  Effect.runSync(Random.withSeed(Random.Random, name.join(" ")))

/**
 * One number that a name stands for, from 0 up to 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const number = (...name: Name): number => {
  // The last bits of the hash of a text follow from its last letters alone.
  let hash = Hash.string(name.join(" "))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/** Random bytes, for ids and keys that are the same in every run: no secrets. */
const layerSecureRandom = (...name: Name): Layer.Layer<SecureRandom.SecureRandom> =>
  Layer.sync(SecureRandom.SecureRandom, () => {
    const stream = random(...name)
    return SecureRandom.make((size) => Uint8Array.from({ length: size }, () => stream.nextDoubleUnsafe() * 256))
  })

/**
 * What a bot and the server in memory need of the platform, without anything that is random.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform = (...name: Name): Layer.Layer<Gzip.Gzip | Signer.Cryptography> =>
  SynchronousCryptography.layerWith(layerSecureRandom(...name)).pipe(
    Layer.merge(Layer.mergeAll(BufferBase64.layer, ZlibGzip.layer))
  )
