/**
 * Whatever takes the bot's private key: a signed JSON Web Token for each connection and each request, and the secrets that it shares with
 * the sessions of others.
 *
 * Guarantee: tokens are byte-identical to those of the official clients and never used twice; they and the secrets are `Redacted`; `iat` and
 * `exp` come from Effect's Clock.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as KeyAgreement from "effect/crypto/KeyAgreement"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as BlazeError from "./BlazeError.ts"
import type * as Ids from "./Ids.ts"
import * as Cipher from "./internal/Cipher.ts"
import * as Claims from "./internal/Claims.ts"
import * as Keystore from "./Keystore.ts"

/**
 * The request that a token is good for. `uri` is path and query as sent, `body` the exact text, empty when there is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface SignedRequest {
  readonly method: string
  readonly uri: string
  readonly body: string
  /** A UUID; REST repeats it in `X-Request-Id`. A random one when left out. */
  readonly id?: string | undefined
}

/** How long a token is good for: 1 hour, in seconds. Source: the official Node client; servers are told to accept up to 90 days. */
export const lifetime = 3600

const encoder = new TextEncoder()

/**
 * The `sig` claim: SHA-256 over METHOD + URI + BODY without separators, in lower-case hex.
 *
 * @category claims
 * @since 0.1.0
 */
export const requestSignature = Effect.fnUntraced(function* (
  request: SignedRequest
): Effect.fn.Return<string, never, Digest.Digest> {
  const digest = yield* Digest.Digest
  return yield* digest.digestHex(
    Digest.sha256,
    encoder.encode(request.method.toUpperCase() + request.uri + request.body)
  )
})

/**
 * Signs requests in the name of one bot.
 *
 * **Example** (A token for the handshake)
 *
 * ```ts
 * import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
 * import { Effect, Layer, Redacted } from "effect"
 * import { Signer } from "effect-blaze"
 *
 * const keystore = `{
 *   "app_id": "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
 *   "session_id": "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
 *   "session_private_key": "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
 * }`
 *
 * const program = Effect.gen(function*() {
 *   const signer = yield* Signer.Signer
 *   const token = yield* signer.token({ method: "GET", uri: "/", body: "" })
 *   console.assert(Redacted.value(token).split(".").length === 3)
 *   console.assert(String(token) === "<redacted>")
 * })
 *
 * await Effect.runPromise(program.pipe(
 *   Effect.provide(Signer.layerString(keystore).pipe(Layer.provide(NodeCrypto.layer)))
 * ))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Signer extends Context.Service<
  Signer,
  {
    /** The bot that signs. */
    readonly userId: Ids.UserId
    /** A fresh token for one request. */
    readonly token: (request: SignedRequest) => Effect.Effect<Redacted.Redacted<string>>
    /** What reads and writes encrypted messages; an RSA key cannot. */
    readonly session?: Cipher.Session | undefined
  }
>()("effect-blaze/Signer") {}

/**
 * The cryptography that a bot takes: hashes, random numbers and signatures; for encrypted messages secrets that two share, and ciphers.
 *
 * @category services
 * @since 0.1.0
 */
export type Cryptography = Requirements | Cipher.Ciphers

/**
 * A signer for a keystore; the key is imported once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  keystore: Keystore.Keystore
): Effect.fn.Return<Signer["Service"], never, Requirements> {
  const sign = yield* Claims.signer(keystore.key)
  const random = yield* SecureRandom.SecureRandom
  const digest = yield* Digest.Digest
  return Signer.of({
    userId: keystore.userId,
    token: Effect.fnUntraced(function* (request: SignedRequest) {
      const iat = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const claims = {
        uid: keystore.userId,
        sid: keystore.sessionId,
        iat,
        exp: iat + lifetime,
        jti: request.id ?? (yield* random.uuidV4()),
        sig: yield* requestSignature(request).pipe(Effect.provideService(Digest.Digest, digest)),
        scp: "FULL"
      }
      return Redacted.make(yield* sign(claims))
    }),
    session:
      keystore.key._tag === "Ed25519" ? yield* Cipher.makeSession(keystore.sessionId, keystore.key.seed) : undefined
  })
})

type Requirements = Signature.Signature | Digest.Digest | SecureRandom.SecureRandom | KeyAgreement.KeyAgreement

/**
 * A signer for a keystore that is at hand.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (keystore: Keystore.Keystore): Layer.Layer<Signer, never, Requirements> =>
  Layer.effect(Signer, make(keystore))

/**
 * A signer for a keystore in JSON text.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerString = (keystore: string): Layer.Layer<Signer, BlazeError.BlazeError, Requirements> =>
  Layer.effect(Signer, Effect.flatMap(Keystore.fromString(keystore), make))

/**
 * A signer for the keystore that `BLAZE_KEYSTORE` names, see `Keystore.fromConfig`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = Layer.effect(Signer, Effect.flatMap(Keystore.fromConfig, make))
