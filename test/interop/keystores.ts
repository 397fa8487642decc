import { createPrivateKey, createPublicKey } from "node:crypto"

/** The keystore of a bot as the dashboard gave it when `mixin-node-sdk` was current: both halves of the key, in base64. */
export const keystoreOf2023 = (keystore: string): Record<string, string> => {
  const { app_id, server_public_key, session_id, session_private_key } = JSON.parse(keystore) as Record<string, string>
  const seed = Buffer.from(session_private_key!, "hex")
  // In PKCS#8 this stands before the seed.
  const key = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed])
  const { x } = createPublicKey(createPrivateKey({ key, format: "der", type: "pkcs8" })).export({ format: "jwk" })
  return {
    client_id: app_id!,
    session_id: session_id!,
    pin_token: Buffer.from(server_public_key!, "hex").toString("base64"),
    private_key: Buffer.concat([seed, Buffer.from(x!, "base64url")]).toString("base64"),
    pin: "123456"
  }
}
