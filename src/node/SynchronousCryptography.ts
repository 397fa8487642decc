/**
 * Cryptography on node:crypto, which does at once what WebCrypto gives to a thread: for what is as short as a token or a message, that
 * is half of the cost.
 *
 * Guarantee: the same bytes as WebCrypto's, and the same errors; every other algorithm, key and operation goes there.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import * as CryptoError from "effect/crypto/CryptoError"
import * as Digest from "effect/crypto/Digest"
import * as KeyAgreement from "effect/crypto/KeyAgreement"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Crypto from "node:crypto"
import type * as Signer from "../Signer.ts"

// RFC 8410: a key of these curves in PKCS#8 is its 32 bytes behind these.
const pkcs8Prefix = {
  ed25519: Buffer.from("302e020100300506032b657004220420", "hex"),
  x25519: Buffer.from("302e020100300506032b656e04220420", "hex")
}
const spkiPrefix = Buffer.from("302a300506032b656e032100", "hex")

const privateKey = (curve: keyof typeof pkcs8Prefix, bytes: Uint8Array) =>
  Crypto.createPrivateKey({ key: Buffer.concat([pkcs8Prefix[curve], bytes]), format: "der", type: "pkcs8" })

const publicKey = (bytes: Uint8Array) =>
  Crypto.createPublicKey({ key: Buffer.concat([spkiPrefix, bytes]), format: "der", type: "spki" })

/** What is imported once for each key, and forgotten with it. */
const importing = <Key extends object, E>(
  toBytes: (key: Key) => Effect.Effect<Uint8Array, E>,
  make: (bytes: Uint8Array) => Crypto.KeyObject
) => {
  const imported = new WeakMap<Key, Crypto.KeyObject>()
  return (key: Key): Effect.Effect<Crypto.KeyObject, E> => {
    const known = imported.get(key)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(toBytes(key), (bytes) => {
      const made = make(bytes)
      imported.set(key, made)
      return made
    })
  }
}

const hashNames = {
  MD5: "md5",
  "SHA-1": "sha1",
  "SHA-256": "sha256",
  "SHA-384": "sha384",
  "SHA-512": "sha512"
} as const

// An id is a hash, and in one call it takes half of what an object that is fed and asked for it takes.
const layerDigest = Layer.succeed(Digest.Digest, {
  // At once: what follows from it is made without a turn of the interpreter.
  digest: (algorithm, data) => Effect.succeed(new Uint8Array(Crypto.hash(hashNames[algorithm.name], data, "buffer"))),
  digestHex: (algorithm, data) => Effect.succeed(Crypto.hash(hashNames[algorithm.name], data, "hex"))
})

const layerSignature = Layer.effect(
  Signature.Signature,
  Effect.map(Signature.Signature, (webCrypto) => {
    const imported = importing(Signature.toBytes, (bytes) => privateKey("ed25519", bytes))
    return {
      ...webCrypto,
      sign: (key: Signature.PrivateKey, data: Uint8Array) =>
        key.algorithm._tag === "Ed25519"
          ? Effect.map(imported(key), (object) => new Uint8Array(Crypto.sign(null, data, object)))
          : webCrypto.sign(key, data)
    }
  })
).pipe(Layer.provide(Signature.layerWebCrypto))

const failed = (module: string, method: string, reason: CryptoError.CryptoErrorReason) => () =>
  new CryptoError.CryptoError({ module, method, reason })

const invalidPeer = failed(
  "KeyAgreement",
  "deriveSharedSecret",
  new CryptoError.InvalidKey({ description: "The public key gives no secret" })
)

const layerKeyAgreement = Layer.effect(
  KeyAgreement.KeyAgreement,
  Effect.map(KeyAgreement.KeyAgreement, (webCrypto) => {
    const imported = importing(KeyAgreement.toBytes, (bytes) => privateKey("x25519", bytes))
    return KeyAgreement.KeyAgreement.of({
      ...webCrypto,
      deriveSharedSecret: (own, peer) =>
        own.algorithm._tag === "X25519" && peer.algorithm._tag === "X25519"
          ? Effect.flatMap(Effect.all([imported(own), KeyAgreement.toBytes(peer)]), ([object, bytes]) =>
              Effect.try({
                // It refuses a point of low order, whose secret would be all zeros.
                try: () => new Uint8Array(Crypto.diffieHellman({ privateKey: object, publicKey: publicKey(bytes) })),
                catch: invalidPeer
              })
            )
          : webCrypto.deriveSharedSecret(own, peer),
      publicKeyOf: (own) =>
        own.algorithm._tag === "X25519"
          ? Effect.flatMap(imported(own), (object) =>
              KeyAgreement.publicKey(
                own.algorithm,
                Crypto.createPublicKey(object).export({ format: "der", type: "spki" }).subarray(spkiPrefix.length)
              )
            )
          : webCrypto.publicKeyOf(own)
    })
  })
).pipe(Layer.provide(KeyAgreement.layerWebCrypto))

const tagLength = 16

const gcm = (algorithm: Crypto.CipherGCMTypes): Aead.Implementation => ({
  encrypt: (key, nonce, plaintext, aad) => {
    const cipher = Crypto.createCipheriv(algorithm, key, nonce, { authTagLength: tagLength }).setAAD(aad)
    return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]))
  },
  decrypt: (key, nonce, ciphertext, aad) => {
    const end = ciphertext.length - tagLength
    const decipher = Crypto.createDecipheriv(algorithm, key, nonce, { authTagLength: tagLength })
      .setAAD(aad)
      .setAuthTag(ciphertext.subarray(end))
    const plaintext = decipher.update(ciphertext.subarray(0, end))
    try {
      return new Uint8Array(Buffer.concat([plaintext, decipher.final()]))
    } catch {
      return undefined
    }
  }
})

const layerAead = Aead.layerWebCryptoWith({
  implementations: { aes128Gcm: gcm("aes-128-gcm"), aes256Gcm: gcm("aes-256-gcm") }
})

const names = {
  aes128Cbc: "aes-128-cbc",
  aes256Cbc: "aes-256-cbc",
  aes128Ctr: "aes-128-ctr",
  aes256Ctr: "aes-256-ctr"
} as const

const decryptionFailed = failed("Cipher", "decrypt", new CryptoError.DecryptionFailed())
const wrongIv = (method: string) =>
  failed("Cipher", method, new CryptoError.InvalidArgument({ description: "IVs must contain exactly 16 bytes" }))

const runCipher =
  (
    method: "encrypt" | "decrypt",
    make: (name: string, key: Uint8Array, iv: Uint8Array) => Crypto.Cipheriv | Crypto.Decipheriv
  ): Cipher.Cipher["Service"]["encrypt"] =>
  (key, data, { iv }) =>
    iv.length !== 16
      ? Effect.fail(wrongIv(method)())
      : Effect.flatMap(Cipher.toBytes(key), (bytes) =>
          Effect.try({
            try: () => {
              const cipher = make(names[key.algorithm.name], bytes, iv)
              return new Uint8Array(Buffer.concat([cipher.update(data), cipher.final()]))
            },
            catch: decryptionFailed
          })
        )

const layerCipher = Layer.effect(
  Cipher.Cipher,
  Effect.map(Cipher.Cipher, (webCrypto) => ({
    ...webCrypto,
    encrypt: runCipher("encrypt", Crypto.createCipheriv),
    decrypt: runCipher("decrypt", Crypto.createDecipheriv)
  }))
).pipe(Layer.provide(Cipher.layerWebCrypto))

/**
 * All the cryptography that a bot takes, with random numbers of one's own: the same in every run, for a test.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (secureRandom: Layer.Layer<SecureRandom.SecureRandom>): Layer.Layer<Signer.Cryptography> =>
  Layer.mergeAll(layerSignature, layerKeyAgreement, layerAead, layerCipher, NodeCrypto.layerMac).pipe(
    Layer.provideMerge(Layer.merge(layerDigest, secureRandom))
  )

/**
 * All the cryptography that a bot takes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Signer.Cryptography> = layerWith(NodeCrypto.layerSecureRandom)
