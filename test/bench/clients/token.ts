// The signature that Mixin asks for, with nothing but what is in Node.
import { createHash, createPrivateKey, sign } from "node:crypto"

interface Keys {
  readonly app_id: string
  readonly session_id: string
  readonly session_private_key: string
}

export const makeToken = (keystore: Keys) => {
  const seed = Buffer.from(keystore.session_private_key, "hex")
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed])
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })
  const header = Buffer.from('{"alg":"EdDSA","typ":"JWT"}').toString("base64url")
  return (method: string, uri: string, body: string, jti: string) => {
    const iat = Math.floor(Date.now() / 1000)
    const sig = createHash("sha256")
      .update(method + uri + body)
      .digest("hex")
    const claims = { uid: keystore.app_id, sid: keystore.session_id, iat, exp: iat + 3600, jti, sig, scp: "FULL" }
    const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`
    return `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`
  }
}
