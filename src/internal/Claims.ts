/**
 * Claims, signed: a JSON Web Token.
 *
 * Guarantee: claims are written in the order in which they are given, as the official clients write them.
 *
 * @since 0.1.0
 */
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Base64 from "../Base64.ts"
import type * as Keystore from "../Keystore.ts"

const encoder = new TextEncoder()

const json = (value: unknown) => Base64.encode(JSON.stringify(value))

/**
 * Signs claims with a key that is imported once, in the order in which they are given.
 *
 * @category constructors
 * @since 0.1.0
 */
export const signer = Effect.fnUntraced(function* (
  key: Keystore.Key
): Effect.fn.Return<
  (claims: Readonly<Record<string, string | number>>) => Effect.Effect<string>,
  never,
  Signature.Signature
> {
  const signature = yield* Signature.Signature
  const [alg, privateKey] =
    key._tag === "Ed25519"
      ? ["EdDSA", yield* Effect.orDie(Signature.privateKey(Signature.ed25519, Redacted.value(key.seed)))]
      : ["RS512", key.privateKey]
  const header = json({ alg, typ: "JWT" })
  return (claims) => {
    const signed = `${header}.${json(claims)}`
    return Effect.map(
      Effect.orDie(signature.sign(privateKey, encoder.encode(signed))),
      (bytes) => `${signed}.${Base64.encode(bytes)}`
    )
  }
})
