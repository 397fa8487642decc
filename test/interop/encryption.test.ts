// Encrypted messages of this library and of published clients: what one seals the other opens.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import Module, { createRequire } from "node:module"
import * as Cipher from "../../src/internal/Cipher.ts"
import * as SynchronousCryptography from "../../src/node/SynchronousCryptography.ts"
import { keystoreOf2023 } from "./keystores.ts"

const require = createRequire(import.meta.url)

interface Community {
  readonly decryptMessageData: (data: string, sessionId: string, privateKey: string) => string
  readonly encryptMessageData: (
    data: Buffer,
    sessions: ReadonlyArray<{ readonly session_id: string; readonly public_key: string }>,
    privateKey: Buffer
  ) => string
  readonly generateUserCheckSum: (sessions: ReadonlyArray<{ readonly session_id: string }>) => string
}

/** The client keeps these to itself. */
const community = (() => {
  const main = require.resolve("mixin-node-sdk")
  const path = main.replace(/index\.js$/, "mixin-node-sdk.cjs.development.js")
  const names = ["decryptMessageData", "encryptMessageData", "generateUserCheckSum"]
  const loaded = new Module(path) as Module & { _compile: (text: string, path: string) => void; paths: Array<string> }
  loaded.paths = require.resolve.paths("mixin-node-sdk") ?? []
  loaded._compile(`${readFileSync(path, "utf8")}\n${names.map((name) => `exports.${name} = ${name};`).join("")}`, path)
  return loaded.exports as Community
})()

const official = require("@mixin.dev/mixin-node-sdk") as {
  readonly sharedEd25519Key: (keystore: Record<string, string>) => Uint8Array
}

/** A session with its key in the forms of both. */
const session = Effect.gen(function* () {
  const seed = randomBytes(32)
  const sessionId: string = randomUUID()
  const own = yield* Cipher.makeSession(sessionId, Redacted.make(new Uint8Array(seed)))
  const { private_key } = keystoreOf2023(
    JSON.stringify({
      app_id: sessionId,
      session_id: sessionId,
      session_private_key: seed.toString("hex"),
      server_public_key: ""
    })
  )
  const publicKey = yield* own.publicKey
  return {
    seed: seed.toString("hex"),
    own,
    privateKey: private_key!,
    recipient: { sessionId, publicKey },
    shown: { session_id: sessionId, public_key: Buffer.from(publicKey).toString("base64url") }
  }
})

const sizes = [0, 1, 15, 16, 17, 1000, 100_000]

describe("what is encrypted", () => {
  for (const count of [1, 2, 3, 17, 100, 510]) {
    it.effect(`for ${count} sessions by mixin-node-sdk is read here, and the reverse`, () =>
      Effect.gen(function* () {
        const sender = yield* session
        const sessions = yield* Effect.forEach(Array.from({ length: count }), () => session)
        const readers = new Set([sessions[0]!, sessions[count >> 1]!, sessions.at(-1)!])
        for (const size of sizes) {
          const payload = randomBytes(size)
          const theirs = community.encryptMessageData(
            payload,
            sessions.map(({ shown }) => shown),
            Buffer.from(sender.privateKey, "base64")
          )
          const ours = yield* Cipher.seal(
            new Uint8Array(payload),
            sender.own,
            sessions.map(({ recipient }) => recipient)
          )
          assert.strictEqual(ours.length, Buffer.from(theirs, "base64url").length)
          for (const { own, privateKey, shown } of readers) {
            const opened = yield* Cipher.open(new Uint8Array(Buffer.from(theirs, "base64url")), own)
            assert.isTrue(payload.equals(opened))
            const read = community.decryptMessageData(
              Buffer.from(ours).toString("base64url"),
              shown.session_id,
              privateKey
            )
            assert.isTrue(payload.equals(Buffer.from(read, "base64")))
          }
        }
        const checksum = yield* Cipher.checksum(sessions.map(({ shown }) => shown.session_id))
        assert.strictEqual(checksum, community.generateUserCheckSum(sessions.map(({ shown }) => shown)))
      }).pipe(Effect.provide(SynchronousCryptography.layer))
    )
  }

  it.effect("has the secrets that the official client has", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 20; round++) {
        const [mine, other] = [yield* session, yield* session]
        const secret = yield* mine.own.sharedSecret(other.recipient.publicKey)
        const theirs = official.sharedEd25519Key({
          app_id: randomUUID(),
          session_id: randomUUID(),
          pin_token_base64: other.shown.public_key,
          session_private_key: mine.seed,
          server_public_key: ed25519Of(other.privateKey)
        })
        assert.deepStrictEqual(Redacted.value(Option.getOrThrow(secret)), new Uint8Array(theirs))
      }
    }).pipe(Effect.provide(SynchronousCryptography.layer))
  )
})

const ed25519Of = (privateKey: string) => Buffer.from(privateKey, "base64").subarray(32).toString("hex")
