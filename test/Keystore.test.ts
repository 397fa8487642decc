import { NodeCrypto, NodeFileSystem } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { BlazeError, Keystore } from "effect-blaze"
import { generateKeyPairSync } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import { pem, vectors } from "./support.ts"

const userId = "82d20bc7-9a97-4a69-bcd0-4da502374f6c"
const sessionId = "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8"
const seed = "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
const publicKey = "f08b2de8a2a324333aef0f7f8b3281755fb94c0a0e63787cbc18fde96cad1856"
const both = Buffer.from(seed + publicKey, "hex")

const current = { app_id: userId, session_id: sessionId, session_private_key: seed, server_public_key: "00" }

const platform = Layer.mergeAll(NodeCrypto.layerSignature, NodeFileSystem.layer)
const read = (json: unknown) => Keystore.fromUnknown(json).pipe(Effect.provide(platform))
const refusal = (json: unknown) =>
  Effect.map(Effect.flip(read(json)), (error) => {
    assert.strictEqual(error.reason._tag, "InvalidSetting")
    return error
  })

describe("Keystore", () => {
  const shapes: Record<string, unknown> = {
    "the app of today": current,
    "upper-case ids": { ...current, app_id: userId.toUpperCase() },
    "a network user": { app_id: userId, session_id: sessionId, session_private_key: seed, pin_token_base64: "AA" },
    "a bare user": { user_id: userId, session_id: sessionId, session_private_key: seed, server_public_key: "00" },
    "the old dashboard, raw URL base64": {
      pin: "123456",
      client_id: userId,
      session_id: sessionId,
      pin_token: "x",
      private_key: both.toString("base64url")
    },
    "the old dashboard, padded base64": {
      client_id: userId,
      session_id: sessionId,
      private_key: both.toString("base64")
    },
    "64 bytes in hex": { ...current, session_private_key: both.toString("hex") },
    "a seed in base64": { ...current, session_private_key: Buffer.from(seed, "hex").toString("base64") },
    "null for what is absent": { ...current, private_key: null, client_id: null }
  }
  for (const [name, shape] of Object.entries(shapes)) {
    it.effect(`reads ${name}`, () =>
      Effect.gen(function* () {
        const keystore = yield* read(shape)
        assert.strictEqual(keystore.userId, userId)
        assert.strictEqual(keystore.sessionId, sessionId)
        assert(keystore.key._tag === "Ed25519")
        assert.strictEqual(Buffer.from(Redacted.value(keystore.key.seed)).toString("hex"), seed)
        assert.strictEqual(Buffer.from(keystore.key.publicKey).toString("hex"), publicKey)
      })
    )
  }

  const rsa = vectors<{ keystore: Record<string, never> }, unknown>("tokens").filter(({ name }) =>
    name.startsWith("rs512")
  )
  for (const { input, name } of rsa) {
    it.effect(`reads ${name}`, () =>
      Effect.gen(function* () {
        const text = pem(input.keystore["private_key"]!)
        for (const private_key of [text, text.replaceAll("\r\n", "\n").replaceAll("\n", "\\n")]) {
          const keystore = yield* read({ ...input.keystore, private_key })
          assert.strictEqual(keystore.key._tag, "Rsa")
        }
      })
    )
  }

  const wrong: Record<string, readonly [unknown, RegExp]> = {
    "no JSON object": [[], /: it must be a JSON object/],
    "a number for a key": [{ ...current, session_private_key: 7 }, /: session_private_key must be a string/],
    "no user id": [{ ...current, app_id: undefined }, /: app_id must be there, and it is missing/],
    "a broken user id": [{ ...current, app_id: undefined, client_id: "secret-id" }, /: client_id must be a UUID/],
    "no session id": [{ ...current, session_id: "" }, /: session_id must be there/],
    "no key": [{ ...current, session_private_key: undefined }, /: session_private_key must be there/],
    "a short key": [
      { ...current, session_private_key: "5ec4e7" },
      /: session_private_key must be 64 hexadecimal digits/
    ],
    "halves that do not belong together": [
      { ...current, session_private_key: Buffer.alloc(64, 7).toString("base64") },
      /: session_private_key must be 64 bytes whose second half/
    ],
    "a cut PEM": [
      { client_id: userId, session_id: sessionId, private_key: "-----BEGIN RSA PRIVATE KEY-----\nMIIC5ec4e7" },
      /: private_key must be an RSA private key as PEM/
    ],
    "a PEM that holds no key": [
      {
        client_id: userId,
        session_id: sessionId,
        private_key: "-----BEGIN PRIVATE KEY-----\nMIIC5ec4e7==\n-----END PRIVATE KEY-----"
      },
      /: private_key must be an RSA private key as PEM/
    ],
    "an RSA key that is too short to sign": [
      {
        client_id: userId,
        session_id: sessionId,
        private_key: generateKeyPairSync("rsa", {
          modulusLength: 512,
          privateKeyEncoding: { type: "pkcs1", format: "pem" },
          publicKeyEncoding: { type: "pkcs1", format: "pem" }
        }).privateKey
      },
      /: private_key must be an RSA key that can sign/
    ],
    "an OAuth authorization": [
      { app_id: userId, scope: "PROFILE:READ", authorization_id: sessionId, session_private_key: seed },
      /must be the keystore of a bot; this one is an OAuth authorization/
    ]
  }
  for (const [name, [shape, sentence]] of Object.entries(wrong)) {
    it.effect(`refuses ${name} in one sentence without the value`, () =>
      Effect.gen(function* () {
        const error = yield* refusal(shape)
        assert.match(error.message, sentence)
        assert.isFalse(error.message.includes("\n"))
        const seen = inspect(error, { depth: Infinity, showHidden: true }) + JSON.stringify(error)
        assert.notMatch(seen, /5ec4e7|secret-id|be53769c/)
      })
    )
  }

  it.effect("shows no key, however it is looked at", () =>
    Effect.gen(function* () {
      for (const keystore of [
        yield* read(current),
        yield* read({ ...rsa[1]!.input.keystore, private_key: pem(rsa[1]!.input.keystore["private_key"]!) })
      ]) {
        const seen = `${inspect(keystore, { depth: Infinity, showHidden: true })} ${JSON.stringify(keystore)} ${keystore}`
        assert.notMatch(seen, /be53769c|190, *83, *118|MII/)
      }
    })
  )

  describe("fromConfig", () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-blaze-"))
    afterAll(() => rmSync(directory, { recursive: true }))

    const config = (BLAZE_KEYSTORE?: string) =>
      Keystore.fromConfig.pipe(
        Effect.provide(platform),
        Effect.provide(
          ConfigProvider.layer(ConfigProvider.fromUnknown(BLAZE_KEYSTORE === undefined ? {} : { BLAZE_KEYSTORE }))
        )
      )
    const file = (content: string) => {
      const path = join(directory, `${crypto.randomUUID()}.json`)
      writeFileSync(path, content)
      return path
    }

    it.effect("takes the JSON itself", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* config(` ${JSON.stringify(current)}`)).userId, userId)
      })
    )

    it.effect("takes the path of a file", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* config(file(JSON.stringify(current)))).userId, userId)
      })
    )

    for (const [name, setting, sentence] of [
      ["nothing set", undefined, "BLAZE_KEYSTORE must be set to the path"],
      [
        "a missing file",
        "/nonexistent/keystore.json",
        "the path must be that of a file that can be read (there is none)"
      ],
      ["a file that is not JSON", file("app_id=1"), "it must be JSON, and it is not"]
    ] as const) {
      it.effect(`refuses ${name}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(config(setting))
          assert(BlazeError.isBlazeError(error))
          assert.include(error.message, sentence)
        })
      )
    }
  })
})
