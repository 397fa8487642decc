import { NodeCrypto, NodeFileSystem } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { BlazeError, Keystore } from "effect-blaze"
import { Signature } from "effect/crypto"
import { generateKeyPairSync } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { pathToFileURL } from "node:url"
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
    "null for what is absent": { ...current, private_key: null, client_id: null },
    "names in camel case": { appId: userId, sessionId, sessionPrivateKey: seed, serverPublicKey: "00" },
    "names in capitals": { CLIENT_ID: userId, SESSION_ID: sessionId, PRIVATE_KEY: both.toString("base64") },
    "an empty name beside a full one": { ...current, appId: "", clientId: "" },
    "a pin that is a number": { ...current, pin: 123456 },
    "quotes and white space around values": {
      app_id: ` "${userId}"\n`,
      session_id: `'${sessionId}' `,
      session_private_key: `\uFEFF"${seed}"\n`
    },
    "upper-case session": { ...current, session_id: sessionId.toUpperCase() },
    "a key whose base64 has line breaks": {
      client_id: userId,
      session_id: sessionId,
      private_key: both.toString("base64").replace(/(.{20})/g, "$1\r\n ")
    },
    "an Ed25519 key as PEM": {
      ...current,
      session_private_key: `-----BEGIN PRIVATE KEY-----\n${Buffer.from(`302e020100300506032b657004220420${seed}`, "hex").toString("base64")}\n-----END PRIVATE KEY-----`
    },
    "a keystore three objects deep": { bots: { echo: { keystore: current } } },
    "a keystore inside other objects": { user_id: "the owner", bots: [{ name: "echo", keystore: current }] }
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

  it.effect("reads 64 bytes that begin as an RSA key does", () =>
    Effect.gen(function* () {
      const seed = Buffer.alloc(32, 0x30)
      const signature = yield* Signature.Signature
      const key = yield* Signature.privateKey(Signature.ed25519, seed)
      const publicKey = yield* Effect.flatMap(signature.publicKeyOf(key), Signature.toBytes)
      const keystore = yield* read({
        ...current,
        session_private_key: Buffer.concat([seed, publicKey]).toString("base64")
      })
      assert(keystore.key._tag === "Ed25519")
      assert.deepStrictEqual(keystore.key.publicKey, publicKey)
    }).pipe(Effect.provide(platform))
  )

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

  const keys = {
    "PKCS#1": generateKeyPairSync("rsa", {
      modulusLength: 1024,
      privateKeyEncoding: { type: "pkcs1", format: "pem" },
      publicKeyEncoding: { type: "pkcs1", format: "pem" }
    }),
    "PKCS#8": generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" }
    })
  }
  const spellings: Record<string, (lines: ReadonlyArray<string>) => string> = {
    "as it is": (lines) => lines.join("\n"),
    "CRLF for line ends": (lines) => lines.join("\r\n"),
    "a literal \\n for line ends": (lines) => lines.join("\\n"),
    "a literal \\r\\n for line ends": (lines) => lines.join("\\r\\n"),
    "two backslashes": (lines) => lines.join("\\\\n"),
    "spaces for line ends": (lines) => lines.join(" "),
    "nothing for line ends": (lines) => lines.join(""),
    "white space around lines": (lines) => lines.map((line) => `\t${line}  `).join("\n\n"),
    "quotes around": (lines) => `"${lines.join("\\n")}"`,
    "words around": (lines) => `Bag Attributes: none\n${lines.join("\n")}\n# end`,
    headers: ([begin, ...rest]) => [begin, "Comment: my-bot", "", ...rest].join("\n"),
    "the other label": (lines) =>
      lines.join("\n").replaceAll(/(RSA )?PRIVATE/g, (label) => (label === "PRIVATE" ? "RSA PRIVATE" : "PRIVATE")),
    "no BEGIN and no END": (lines) => lines.slice(1, -1).join("\n"),
    "the whole in base64": (lines) => Buffer.from(lines.join("\n")).toString("base64")
  }
  for (const [form, { privateKey }] of Object.entries(keys)) {
    for (const [name, spell] of Object.entries(spellings)) {
      it.effect(`reads an RSA key in ${form} with ${name}`, () =>
        Effect.gen(function* () {
          const sign = (private_key: string) =>
            Effect.gen(function* () {
              const { key } = yield* Keystore.fromUnknown({ client_id: userId, session_id: sessionId, private_key })
              assert(key._tag === "Rsa")
              const signature = yield* Signature.Signature
              return Buffer.from(yield* signature.sign(key.privateKey, Buffer.from("x"))).toString("hex")
            }).pipe(Effect.provide(platform))
          assert.strictEqual(yield* sign(spell(privateKey.trim().split("\n"))), yield* sign(privateKey))
        })
      )
    }
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
    "bytes that are no key": [
      { ...current, session_private_key: Buffer.alloc(100, 7).toString("base64") },
      /: session_private_key must be 64 hexadecimal digits/
    ],
    "a key in no form at all": [
      { ...current, session_private_key: "5ec4e7?" },
      /: session_private_key must be 64 hexadecimal digits/
    ],
    "a keystore that lies deeper": [{ bots: { echo: { of: { keystore: current } } } }, /: app_id must be there/],
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
    "a public key": [
      { client_id: userId, session_id: sessionId, private_key: keys["PKCS#8"].publicKey },
      /: private_key must be the private key, and this is the public one/
    ],
    "a key with a passphrase": [
      {
        client_id: userId,
        session_id: sessionId,
        private_key:
          "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIC5ec4e7\n-----END RSA PRIVATE KEY-----"
      },
      /: private_key must be a key without a passphrase/
    ],
    "two keystores": [
      { bots: [current, { ...current, app_id: sessionId }] },
      /: it must be the keystore of one bot, and it holds 2/
    ],
    "camel case with a broken id": [
      { appId: "secret-id", sessionId, sessionPrivateKey: seed },
      /: app_id must be a UUID/
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

    const config = (BLAZE_KEYSTORE?: string, environment: Readonly<Record<string, string>> = {}) =>
      Keystore.fromConfig.pipe(
        Effect.provide(platform),
        Effect.provide(
          ConfigProvider.layer(
            ConfigProvider.fromUnknown(BLAZE_KEYSTORE === undefined ? environment : { ...environment, BLAZE_KEYSTORE })
          )
        )
      )
    const file = (content: string | Uint8Array) => {
      const path = join(directory, `${crypto.randomUUID()}.json`)
      writeFileSync(path, content)
      return path
    }

    const json = JSON.stringify(current)
    const pretty = JSON.stringify(current, undefined, 2)
    const utf16 = Buffer.from(`\uFEFF${pretty}`, "utf16le")
    const contents: Record<string, string | Uint8Array> = {
      "as it is": json,
      "a byte order mark": `\uFEFF${json}`,
      "single quotes around": `'${pretty}'`,
      "double quotes around": `"${json}"`,
      "quotes around, and its own escaped": JSON.stringify(json),
      "its quotes escaped": json.replaceAll('"', '\\"'),
      "a comma behind the last field": pretty.replace(/\n}$/, ",\n}"),
      "white space around": `\r\n ${pretty}\n\n`,
      "base64 around": Buffer.from(pretty).toString("base64"),
      "base64 in lines around": Buffer.from(json)
        .toString("base64")
        .replace(/(.{40})/g, "$1\n"),
      "base64url around, and a byte order mark inside": Buffer.from(`\uFEFF${json}`).toString("base64url"),
      "a key with real line breaks": `{"client_id":"${userId}","session_id":"${sessionId}","private_key":"${keys["PKCS#8"].privateKey}"}`
    }
    for (const [name, content] of Object.entries(contents)) {
      it.effect(`takes JSON with ${name}, itself or in a file`, () =>
        Effect.gen(function* () {
          assert.strictEqual((yield* config(String(content))).userId, userId)
          assert.strictEqual((yield* config(file(content))).userId, userId)
        })
      )
    }
    for (const [name, content] of Object.entries({
      "UTF-16, little-endian": utf16,
      "UTF-16, big-endian": Buffer.from(utf16).swap16(),
      "UTF-16 without a byte order mark": utf16.subarray(2),
      "UTF-16, big-endian, without a byte order mark": Buffer.from(utf16).swap16().subarray(2)
    })) {
      it.effect(`takes a file in ${name}`, () =>
        Effect.gen(function* () {
          assert.strictEqual((yield* config(file(content))).userId, userId)
        })
      )
    }

    const path = file(json)
    const odd = join(directory, "my bot (1).json")
    writeFileSync(odd, json)
    for (const [name, setting] of Object.entries({
      "as it is": path,
      "white space around": ` ${path}\n`,
      "double quotes around": `"${path}"`,
      "single quotes around": `'${path}'`,
      "a byte order mark": `\uFEFF${path}`,
      "spaces in it": odd,
      "file: before it": pathToFileURL(path).href,
      "file: before it and spaces in it": pathToFileURL(odd).href,
      "~ for the home": `~/${basename(path)}`
    })) {
      it.effect(`takes a path with ${name}`, () =>
        Effect.gen(function* () {
          assert.strictEqual((yield* config(setting, { HOME: directory })).userId, userId)
        })
      )
    }

    it.effect("takes a path with ~ where Windows keeps the home", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* config(`~/${basename(path)}`, { USERPROFILE: directory })).userId, userId)
      })
    )

    for (const [name, setting, sentence] of [
      ["nothing set", undefined, "BLAZE_KEYSTORE must be set to the path"],
      ["an empty setting", ' "" ', "BLAZE_KEYSTORE must be set to the path"],
      [
        "a missing file",
        "/nonexistent/keystore-2.json",
        "the path /nonexistent/keystore-2.json must be that of a file that can be read (there is none)"
      ],
      [
        "a missing file of the working directory",
        "nonexistent.json",
        `the path ${process.cwd()}/nonexistent.json must be that of a file that can be read (there is none)`
      ],
      [
        "a missing file of the home",
        "~/nonexistent.json",
        "the path /home/alice/nonexistent.json must be that of a file that can be read (there is none)"
      ],
      ["a missing file without an extension", "conf/keystore", `the path ${process.cwd()}/conf/keystore must be`],
      [
        "a folder that is named by an id",
        `/pods/${userId}/keystore.json`,
        `the path /pods/${userId}/keystore.json must be`
      ],
      ["an address that is none", "file:///nonexistent/%zz", "the path must be that of a file"],
      ["the longest path that is told", `/${"a".repeat(259)}`, `the path /${"a".repeat(259)} must be`],
      ["a longer one", `/${"a".repeat(260)}`, "the path must be that of a file"],
      ["a file whose name no system takes", "/a\0b", "that of a file that can be read (it cannot)"],
      ["a directory", directory, "(it is a directory)"],
      ["a list of settings", file("app_id=1"), "it must be JSON, and it is a list of settings"],
      ["an empty file", file("\uFEFF\n"), "it must be JSON, and it is empty"],
      ["a web page", file("<!DOCTYPE html>"), "it must be JSON, and it is a web page"],
      ["a cut file", file(pretty.slice(0, -2)), "it must be JSON, and its end is missing"],
      ["JSON after a shell", json.replaceAll('"', ""), "it must be JSON, and its double quotes are missing"],
      ["the name of another file", file("keystore.json"), "it must be JSON, and it is a path"],
      ["a key alone in a file", file(keys["PKCS#1"].privateKey), "it must be JSON, and it is a key alone"],
      ["another file", file("hello"), "it must be JSON, and it is not"]
    ] as const) {
      it.effect(`refuses ${name}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(config(setting, { HOME: "/home/alice" }))
          assert(BlazeError.isBlazeError(error))
          assert.include(error.message, sentence)
          assert.isFalse(error.message.includes("\n"))
        })
      )
    }

    for (const [name, setting] of Object.entries({
      "in hex": seed,
      "cut, in hex": seed.slice(0, 40),
      "in hex, with an extension": `${seed}.json`,
      "in hex, behind a slash": `/${seed}`,
      "in hex, in a folder": `/keys/${seed}`,
      "in base64": both.toString("base64"),
      "in base64 that begins with a slash": `/${both.toString("base64").slice(1)}`,
      "in base64url": both.toString("base64url"),
      "as a setting": `session_private_key=${seed}`,
      "in an address": `https://bot:${seed.slice(0, 20)}@example.org/keystore.json`,
      "as PEM": keys["PKCS#1"].privateKey,
      "as PEM in one line": keys["PKCS#8"].privateKey.replaceAll("\n", ""),
      "as the body of a PEM": keys["PKCS#8"].privateKey.split("\n").slice(1, -2).join("")
    })) {
      it.effect(`never tells a key that is there in place of a path: ${name}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(config(setting))
          assert(BlazeError.isBlazeError(error))
          assert.include(error.message, "the path must be that of a file")
          const seen = inspect(error, { depth: Infinity, showHidden: true }) + JSON.stringify(error)
          for (let at = 0; at + 12 <= setting.length; at++) assert.notInclude(seen, setting.slice(at, at + 12))
        })
      )
    }

    it.effect("says of a key that is there in place of a path that it is one", () =>
      Effect.gen(function* () {
        for (const key of [seed, both.toString("base64"), keys["PKCS#1"].privateKey]) {
          assert.include((yield* Effect.flip(config(key))).message, "it is a key alone")
        }
      })
    )
  })
})
