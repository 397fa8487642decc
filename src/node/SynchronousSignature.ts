/**
 * Ed25519 signatures on node:crypto, which makes one at once, for half of what WebCrypto's thread costs.
 *
 * Guarantee: the same bytes as WebCrypto's; every other key and operation goes there.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createPrivateKey, type KeyObject, sign } from "node:crypto"

// RFC 8410: an Ed25519 key in PKCS#8 is its seed behind these bytes.
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex")

const importKey = (seed: Uint8Array) =>
  createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: "der", type: "pkcs8" })

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Signature.Signature> = Layer.effect(
  Signature.Signature,
  Effect.map(Signature.Signature, (webCrypto) => {
    const imported = new WeakMap<Signature.PrivateKey, KeyObject>()
    return {
      ...webCrypto,
      sign: Effect.fnUntraced(function* (privateKey: Signature.PrivateKey, data: Uint8Array) {
        if (privateKey.algorithm._tag !== "Ed25519") return yield* webCrypto.sign(privateKey, data)
        const key = imported.get(privateKey) ?? importKey(yield* Signature.toBytes(privateKey))
        imported.set(privateKey, key)
        return new Uint8Array(sign(null, data, key))
      })
    }
  })
).pipe(Layer.provide(NodeCrypto.layerSignature))
