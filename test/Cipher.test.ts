import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Result } from "effect"
import { Keystore, Signer } from "effect-blaze"
import { SynchronousCryptography } from "effect-blaze/node"
import { Aead, Cipher as Ciphers, Digest, KeyAgreement, SecureRandom } from "effect/crypto"
import { inspect } from "node:util"
import * as Cipher from "../src/internal/Cipher.ts"
import { bytes, hex, seeded, vectors } from "./support.ts"

interface Recipient {
  readonly session_id: string
  readonly session_public_key_base64url: string
  readonly ed25519_seed_hex: string
}

const messages = vectors<
  {
    readonly ciphertext_base64url: string
    readonly sender_ed25519_private64_base64url?: string
    readonly recipients: ReadonlyArray<Recipient>
  },
  { readonly plaintext_hex?: string; readonly error?: string }
>("encrypted-messages")

const platforms = { WebCrypto: NodeCrypto.layer, Node: SynchronousCryptography.layer }

const fromHex = (text: string) => new Uint8Array(Buffer.from(text, "hex"))
const sessionOf = (seed: Uint8Array, sessionId = crypto.randomUUID() as string) =>
  Cipher.makeSession(sessionId, Redacted.make(seed))
const ownOf = ({ ed25519_seed_hex, session_id }: Recipient) => sessionOf(fromHex(ed25519_seed_hex), session_id)

/** Somebody with so many phones. */
const phones = Effect.fnUntraced(function* (count: number) {
  const own = yield* Effect.forEach(Array.from({ length: count }), () =>
    sessionOf(crypto.getRandomValues(new Uint8Array(32)))
  )
  const recipients = yield* Effect.forEach(own, ({ publicKey, sessionId }) =>
    Effect.map(publicKey, (publicKey) => ({ sessionId, publicKey }))
  )
  return { own, recipients }
})

for (const [platform, layer] of Object.entries(platforms)) {
  describe(`encrypted messages, on ${platform}`, () => {
    for (const { expected, input, name } of messages) {
      it.effect(`opens what a published client has sealed: ${name}`, () =>
        Effect.gen(function* () {
          for (const recipient of input.recipients) {
            const own = yield* ownOf(recipient)
            assert.strictEqual(
              Buffer.from(yield* own.publicKey).toString("base64url"),
              recipient.session_public_key_base64url
            )
            const opened = yield* Effect.result(Cipher.open(bytes(input.ciphertext_base64url), own))
            if (expected.error === undefined) assert.strictEqual(hex(Result.getOrThrow(opened)), expected.plaintext_hex)
            else assert(Result.isFailure(opened), expected.error)
          }
        }).pipe(Effect.provide(layer))
      )
    }

    for (const { expected, input, name } of vectors<
      {
        readonly ed25519_seed_hex?: string
        readonly my_ed25519_seed_hex?: string
        readonly pin_token_base64url_x25519?: string
      },
      { readonly x25519_public_hex?: string; readonly shared_key_hex?: string }
    >("x25519")) {
      it.effect(`has the point of a seed, and its secrets: ${name}`, () =>
        Effect.gen(function* () {
          const own = yield* sessionOf(fromHex(input.ed25519_seed_hex ?? input.my_ed25519_seed_hex!))
          if (expected.x25519_public_hex !== undefined) {
            assert.strictEqual(hex(yield* own.publicKey), expected.x25519_public_hex)
            return
          }
          const secret = yield* own.sharedSecret(bytes(input.pin_token_base64url_x25519!))
          assert.strictEqual(hex(Redacted.value(Option.getOrThrow(secret))), expected.shared_key_hex)
          assert.strictEqual(inspect(Option.getOrThrow(secret)), "<redacted>")
        }).pipe(Effect.provide(layer))
      )
    }

    it.effect("seals for each of its sessions, and for nobody else", () =>
      Effect.gen(function* () {
        const sender = yield* sessionOf(new Uint8Array(32).fill(1))
        const stranger = yield* sessionOf(new Uint8Array(32).fill(2))
        for (const [count, size] of [
          [1, 0],
          [2, 1],
          [3, 100_000],
          [510, 17]
        ] as const) {
          const { own, recipients } = yield* phones(count)
          const payload = Uint8Array.from({ length: size }, (_, index) => index)
          const sealed = yield* Cipher.seal(payload, sender, recipients)
          assert.strictEqual(sealed.length, 35 + 64 * count + 28 + size)
          for (const phone of [own[0]!, own.at(-1)!]) {
            assert.deepStrictEqual(yield* Cipher.open(sealed, phone), payload)
          }
          const [first] = own
          for (const other of [stranger, { ...stranger, sessionId: first!.sessionId }]) {
            assert.isTrue(Result.isFailure(yield* Effect.result(Cipher.open(sealed, other))))
          }
        }
        const other = yield* Cipher.seal(new Uint8Array(16), sender, (yield* phones(1)).recipients)
        const same = yield* Cipher.seal(new Uint8Array(16), sender, (yield* phones(1)).recipients)
        assert.notStrictEqual(hex(other.subarray(-32)), hex(same.subarray(-32)))
      }).pipe(Effect.provide(layer))
    )

    it.effect("names the session whose key is none, and never seals for a point of low order", () =>
      Effect.gen(function* () {
        const sender = yield* sessionOf(new Uint8Array(32).fill(1))
        const { recipients } = yield* phones(1)
        for (const publicKey of [new Uint8Array(32), new Uint8Array(0), new Uint8Array(33)]) {
          const result = yield* Effect.result(
            Cipher.seal(new Uint8Array(1), sender, [...recipients, { sessionId: "bad", publicKey }])
          )
          assert.deepStrictEqual(result, Result.fail({ sessionId: "bad" }))
        }
      }).pipe(Effect.provide(layer))
    )

    it.effect("gives nothing of what was changed, cut short or made longer, wherever that is", () =>
      Effect.gen(function* () {
        const sender = yield* sessionOf(new Uint8Array(32).fill(1))
        const { own, recipients } = yield* phones(2)
        const [, second] = own
        const sealed = yield* Cipher.seal(new TextEncoder().encode("attack at dawn"), sender, recipients)
        // The entry of the other session, and the highest bit of the sender's point, which X25519 passes over, are not this one's.
        const isFree = (index: number) => (index >= 35 && index < 99) || index === 34
        for (let index = 0; index < sealed.length; index++) {
          const changed = Uint8Array.from(sealed)
          changed[index]! ^= index === 34 ? 0x80 : 1 << (index % 8)
          const opened = yield* Effect.result(Cipher.open(changed, second!))
          assert.strictEqual(Result.isSuccess(opened), isFree(index), `byte ${index}`)
        }
        for (let length = 0; length < sealed.length; length++) {
          assert.isTrue(Result.isFailure(yield* Effect.result(Cipher.open(sealed.subarray(0, length), second!))))
        }
        for (const longer of [
          [...sealed, 0],
          [...sealed.subarray(0, 35), ...new Uint8Array(64), ...sealed.subarray(35)]
        ]) {
          assert.isTrue(Result.isFailure(yield* Effect.result(Cipher.open(Uint8Array.from(longer), second!))))
        }
      }).pipe(Effect.provide(layer))
    )
  })
}

describe("encrypted messages", () => {
  it.effect("of any bytes at all are read or refused, with a reason, and nothing else", () =>
    Effect.gen(function* () {
      const random = seeded(13)
      const own = yield* sessionOf(new Uint8Array(32).fill(1))
      const sealed = yield* Cipher.seal(new Uint8Array(40), own, [
        { sessionId: own.sessionId, publicKey: yield* own.publicKey }
      ])
      for (let round = 0; round < 3000; round++) {
        const changed =
          random() < 0.2
            ? Uint8Array.from({ length: Math.floor(400 * random()) }, () => 256 * random())
            : Uint8Array.from(sealed)
        for (let change = 0; change < 1 + 3 * random(); change++) {
          if (changed.length > 0) changed[Math.floor(changed.length * random())] = 256 * random()
        }
        const cut = random() < 0.3 ? changed.subarray(0, changed.length * random()) : changed
        const opened = yield* Effect.result(Cipher.open(cut, own))
        if (Result.isFailure(opened)) assert.match(opened.failure, /^(it is|it was|the key of) /)
        else assert.strictEqual(hex(opened.success), hex(new Uint8Array(40)))
      }
    }).pipe(Effect.provide(SynchronousCryptography.layer))
  )

  for (const { expected, input, name } of vectors<
    { readonly session_ids: ReadonlyArray<string> },
    { readonly checksum: string }
  >("session-checksums")) {
    it.effect(`have the checksum of their sessions: ${name}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* Cipher.checksum(input.session_ids), expected.checksum)
      }).pipe(Effect.provide(NodeCrypto.layerDigest))
    )
  }

  it.effect("cannot be read by a bot with an RSA key, whose signer says so", () =>
    Effect.gen(function* () {
      const generated = yield* Keystore.fromUnknown({
        app_id: crypto.randomUUID(),
        session_id: crypto.randomUUID(),
        private_key: (yield* Effect.promise(() => import("node:crypto"))).generateKeyPairSync("rsa", {
          modulusLength: 2048,
          privateKeyEncoding: { type: "pkcs1", format: "pem" },
          publicKeyEncoding: { type: "pkcs1", format: "pem" }
        }).privateKey
      })
      assert.isUndefined((yield* Signer.make(generated)).session)
    }).pipe(Effect.provide(NodeCrypto.layer))
  )
})

describe("the cryptography of Node", () => {
  const key = new Uint8Array(32).fill(3)
  const data = Uint8Array.from({ length: 100 }, (_, index) => index)
  const iv = new Uint8Array(16).fill(5)

  /** What somebody gets who uses all of it. */
  const used = Effect.gen(function* () {
    const aead = yield* Aead.Aead
    const cipher = yield* Ciphers.Cipher
    const agreement = yield* KeyAgreement.KeyAgreement
    const results: Array<string> = []
    const note = (effect: Effect.Effect<Uint8Array, { readonly message: string }>) =>
      Effect.match(effect, {
        onFailure: ({ message }) => results.push(message),
        onSuccess: (bytes) => results.push(hex(bytes))
      })
    for (const algorithm of [Aead.aes128Gcm, Aead.aes256Gcm, Aead.chacha20Poly1305]) {
      const own = yield* Aead.key(algorithm, key.subarray(0, algorithm.keyLength))
      const nonce = iv.subarray(0, algorithm.nonceLength)
      const sealed = yield* aead.encrypt(own, data, { nonce, aad: iv })
      yield* note(Effect.succeed(sealed))
      yield* note(aead.decrypt(own, sealed, { nonce, aad: iv }))
      yield* note(aead.decrypt(own, sealed, { nonce }))
      yield* note(aead.encrypt(own, data, { nonce: iv.subarray(1) }))
      yield* note(aead.decrypt(own, sealed.subarray(0, 8), { nonce }))
    }
    for (const algorithm of [Ciphers.aes128Cbc, Ciphers.aes256Cbc, Ciphers.aes128Ctr, Ciphers.aes256Ctr]) {
      const own = yield* Ciphers.key(algorithm, key.subarray(0, algorithm.keyLength))
      const sealed = yield* cipher.encrypt(own, data, { iv })
      yield* note(Effect.succeed(sealed))
      yield* note(cipher.decrypt(own, sealed, { iv }))
      yield* note(cipher.decrypt(own, sealed.subarray(3), { iv }))
      yield* note(cipher.decrypt(own, new Uint8Array(0), { iv }))
      yield* note(cipher.decrypt(own, sealed, { iv: iv.subarray(1) }))
      yield* note(cipher.encrypt(own, data, { iv: new Uint8Array(0) }))
    }
    const digest = yield* Digest.Digest
    for (const algorithm of [Digest.md5, Digest.sha1, Digest.sha256, Digest.sha384, Digest.sha512]) {
      for (const input of [data, new Uint8Array(0)]) {
        yield* note(digest.digest(algorithm, input))
        results.push(yield* digest.digestHex(algorithm, input))
      }
    }
    const own = yield* KeyAgreement.privateKey(KeyAgreement.x25519, key)
    const peer = yield* KeyAgreement.publicKey(KeyAgreement.x25519, data.subarray(0, 32))
    const none = yield* KeyAgreement.publicKey(KeyAgreement.x25519, new Uint8Array(32))
    yield* note(Effect.flatMap(agreement.publicKeyOf(own), KeyAgreement.toBytes))
    yield* note(agreement.deriveSharedSecret(own, peer))
    results.push(String(Result.isFailure(yield* Effect.result(agreement.deriveSharedSecret(own, none)))))
    const pair = yield* agreement.generateKeyPair(KeyAgreement.ecdhP256)
    results.push(String((yield* agreement.deriveSharedSecret(pair.privateKey, pair.publicKey)).length))
    return results
  })

  it.effect("gives what WebCrypto gives, and fails with the same", () =>
    Effect.gen(function* () {
      const node = yield* Effect.provide(used, SynchronousCryptography.layer)
      assert.deepStrictEqual(node, yield* Effect.provide(used, NodeCrypto.layer))
      assert.strictEqual(new Set(node).size > 20, true)
    })
  )

  it("is done at once", () => {
    const once = Effect.gen(function* () {
      const own = yield* sessionOf(key)
      const sealed = yield* Cipher.seal(data, own, [{ sessionId: own.sessionId, publicKey: yield* own.publicKey }])
      return hex(yield* Cipher.open(sealed, own))
    })
    assert.strictEqual(Effect.runSync(Effect.provide(once, SynchronousCryptography.layer)), hex(data))
  })

  it.effect("draws from the random numbers that it is given", () =>
    Effect.gen(function* () {
      const fixed = Layer.succeed(
        SecureRandom.SecureRandom,
        SecureRandom.make((size) => new Uint8Array(size).fill(7))
      )
      const own = yield* sessionOf(key, "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8")
      const seal = Effect.flatMap(own.publicKey, (publicKey) =>
        Cipher.seal(data, own, [{ sessionId: own.sessionId, publicKey }])
      ).pipe(Effect.provide(SynchronousCryptography.layerWith(fixed)))
      assert.deepStrictEqual(yield* seal, yield* seal)
    }).pipe(Effect.provide(SynchronousCryptography.layer))
  )
})
