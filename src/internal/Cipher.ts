/**
 * Encrypted messages, bytes to bytes: one key for the payload, wrapped for each session that may read it.
 *
 * Guarantee: what was changed, cut short or sealed for others is not read, and nothing of it is given; looking at it costs no more than its
 * length. Whom it is not sealed for cannot read it.
 *
 * Source: docs/protocol.md section 9, and the vectors of two published clients.
 *
 * @since 0.1.0
 */
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import type * as CryptoError from "effect/crypto/CryptoError"
import * as Digest from "effect/crypto/Digest"
import * as KeyAgreement from "effect/crypto/KeyAgreement"
import type * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Uuid from "./Uuid.ts"

/**
 * What encrypted messages take of a bot's key: its session, and what it has in common with those of others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly sessionId: string
  /** The session's point of X25519, 32 bytes, which others encrypt for. */
  readonly publicKey: Effect.Effect<Uint8Array>
  /** The secret that the session shares with another one, by that one's point; nothing where that is none. */
  readonly sharedSecret: (publicKey: Uint8Array) => Effect.Effect<Option.Option<Redacted.Redacted<Uint8Array>>>
}

/**
 * The session that a keystore is of, by the seed of its Ed25519 key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSession = Effect.fnUntraced(function* (sessionId: string, seed: Redacted.Redacted<Uint8Array>) {
  const digest = yield* Digest.Digest
  const agreement = yield* KeyAgreement.KeyAgreement
  // RFC 8032: what an Ed25519 key multiplies by is in the first half of its seed's hash. X25519 clears the bits that it must.
  const privateKey = yield* Effect.cached(
    Effect.flatMap(digest.digest(Digest.sha512, Redacted.value(seed)), (hash) =>
      Effect.orDie(KeyAgreement.privateKey(KeyAgreement.x25519, hash.subarray(0, 32)))
    )
  )
  const publicKey = privateKey.pipe(
    Effect.flatMap(agreement.publicKeyOf),
    Effect.flatMap(KeyAgreement.toBytes),
    Effect.orDie
  )
  return {
    sessionId,
    publicKey: yield* Effect.cached(publicKey),
    sharedSecret: (bytes) =>
      Effect.option(
        Effect.map(
          Effect.flatMap(Effect.all([privateKey, KeyAgreement.publicKey(KeyAgreement.x25519, bytes)]), ([own, peer]) =>
            agreement.deriveSharedSecret(own, peer)
          ),
          (secret) => Redacted.make(secret)
        )
      )
  } satisfies Session
})

/**
 * A session of somebody, who may read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recipient {
  /** A UUID. */
  readonly sessionId: string
  /** Its point of X25519, 32 bytes. */
  readonly publicKey: Uint8Array
}

/** The cryptography that encrypted messages and their files take. */
export type Ciphers = Aead.Aead | Cipher.Cipher | Mac.Mac

const version = 1
const headerLength = 35
/** For each session: its id, an initialization vector, the wrapped key. */
const entryLength = 64
const idLength = 16
const ivLength = 16
const keyLength = 16
const nonceLength = 12
const tagLength = 16

/**
 * How many sessions may read a message. Source: the official documentation.
 *
 * @since 0.1.0
 */
export const maximumSessions = 510

const isAt = (bytes: Uint8Array, part: Uint8Array, start: number) => {
  for (let index = 0; index < part.length; index++) if (bytes[start + index] !== part[index]) return false
  return true
}

/** Where the entry of a session begins. */
const findEntry = (sealed: Uint8Array, end: number, sessionId: string): number | undefined => {
  const id = Uuid.toBytes(sessionId)
  for (let start = headerLength; start < end; start += entryLength) if (isAt(sealed, id, start)) return start
  return undefined
}

/**
 * Reads what is sealed for a session, or fails with why it cannot be read.
 *
 * @category decryption
 * @since 0.1.0
 */
export const open = Effect.fnUntraced(
  function* (
    sealed: Uint8Array,
    own: Session
  ): Effect.fn.Return<Uint8Array, string | CryptoError.CryptoError, Ciphers> {
    if (sealed[0] !== version) return yield* Effect.fail("it is not encrypted in a way that is known")
    const count = sealed[1]! | (sealed[2]! << 8)
    const end = headerLength + entryLength * count
    if (!(sealed.length >= end + nonceLength + tagLength)) return yield* Effect.fail("it is cut short")
    const entry = findEntry(sealed, end, own.sessionId)
    if (entry === undefined) return yield* Effect.fail("it is encrypted for other sessions than this bot's")
    const secret = yield* own.sharedSecret(sealed.subarray(3, headerLength))
    if (Option.isNone(secret)) return yield* Effect.fail("the key of its sender is none")
    const cipher = yield* Cipher.Cipher
    const aead = yield* Aead.Aead
    const iv = sealed.subarray(entry + idLength, entry + idLength + ivLength)
    const wrapped = sealed.subarray(entry + idLength + ivLength, entry + entryLength)
    const wrappingKey = yield* Cipher.key(Cipher.aes256Cbc, Redacted.value(secret.value))
    const key = yield* Aead.key(Aead.aes128Gcm, yield* cipher.decrypt(wrappingKey, wrapped, { iv }))
    return yield* aead.decrypt(key, sealed.subarray(end + nonceLength), {
      nonce: sealed.subarray(end, end + nonceLength)
    })
  },
  // One sentence for all of it: which of the steps failed is nothing to tell a stranger.
  Effect.mapError((error) =>
    typeof error === "string" ? error : "it was changed on its way, or encrypted with another key"
  )
)

/**
 * Seals a payload for sessions, or fails with the first of them whose key is none.
 *
 * @category encryption
 * @since 0.1.0
 */
export const seal = Effect.fnUntraced(function* (
  payload: Uint8Array,
  own: Session,
  recipients: ReadonlyArray<Recipient>
): Effect.fn.Return<Uint8Array, { readonly sessionId: string }, Ciphers | SecureRandom.SecureRandom> {
  const cipher = yield* Cipher.Cipher
  const aead = yield* Aead.Aead
  const count = recipients.length
  const random = yield* Effect.flatMap(SecureRandom.SecureRandom, ({ randomBytes }) =>
    randomBytes(keyLength + nonceLength + ivLength * count)
  )
  const key = random.subarray(0, keyLength)
  const nonce = random.subarray(keyLength, keyLength + nonceLength)
  const body = yield* Effect.orDie(
    Effect.flatMap(Aead.key(Aead.aes128Gcm, key), (key) => aead.encrypt(key, payload, { nonce }))
  )

  const end = headerLength + entryLength * count
  const sealed = new Uint8Array(end + nonceLength + body.length)
  sealed.set([version, count & 0xff, count >> 8])
  sealed.set(yield* own.publicKey, 3)
  for (const [index, { publicKey, sessionId }] of recipients.entries()) {
    const secret = yield* own.sharedSecret(publicKey)
    if (Option.isNone(secret)) return yield* Effect.fail({ sessionId })
    const start = keyLength + nonceLength + ivLength * index
    const iv = random.subarray(start, start + ivLength)
    const wrapped = yield* Effect.orDie(
      Effect.flatMap(Cipher.key(Cipher.aes256Cbc, Redacted.value(secret.value)), (wrappingKey) =>
        cipher.encrypt(wrappingKey, key, { iv })
      )
    )
    const entry = headerLength + entryLength * index
    sealed.set(Uuid.toBytes(sessionId), entry)
    sealed.set(iv, entry + idLength)
    sealed.set(wrapped, entry + idLength + ivLength)
  }
  sealed.set(nonce, end)
  sealed.set(body, end + nonceLength)
  return sealed
})

/**
 * What tells the server which sessions a message is sealed for: MD5 over their ids in ascending order; empty for none.
 *
 * @category encryption
 * @since 0.1.0
 */
export const checksum = (sessionIds: ReadonlyArray<string>): Effect.Effect<string, never, Digest.Digest> =>
  sessionIds.length === 0
    ? Effect.succeed("")
    : Effect.flatMap(Digest.Digest, ({ digestHex }) =>
        digestHex(Digest.md5, new TextEncoder().encode(sessionIds.toSorted().join("")))
      )
