import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { Keystore, Signer } from "effect-blaze"
import { TestClock } from "effect/testing"
import { SynchronousCryptography } from "effect-blaze/node"
import * as TokenVerifier from "../src/testing/internal/TokenVerifier.ts"
import type { BlazeServer } from "effect-blaze/testing"
import { Signature } from "effect/crypto"
import { inspect } from "node:util"
import { pem, vectors } from "./support.ts"
import * as Claims from "../src/internal/Claims.ts"

interface TokenInput {
  readonly keystore: Record<string, string>
  readonly method: string
  readonly uri: string
  readonly body: string
  readonly now: number
  readonly exp_in: number
  readonly jti: string
  readonly claim_order: ReadonlyArray<string>
}

const tokens = vectors<TokenInput, { token: string }>("tokens").map(({ input, ...rest }) => ({
  ...rest,
  input: {
    ...input,
    keystore: input.keystore["private_key"]
      ? { ...input.keystore, private_key: pem(input.keystore["private_key"]) }
      : input.keystore
  } as TokenInput
}))

const decode = (token: string) => JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString())

const signatures = { WebCrypto: NodeCrypto.layerSignature, Node: SynchronousCryptography.layer }

describe("Signer", () => {
  for (const { expected, input, name } of tokens) {
    for (const [platform, signature] of Object.entries(signatures)) {
      it.effect(`signs the claims of: ${name} (${platform})`, () =>
        Effect.gen(function* () {
          // An OAuth keystore runs no bot, but its key signs like any other.
          const { authorization_id, ...shape } = input.keystore
          const keystore = yield* Keystore.fromUnknown(
            authorization_id ? { ...shape, session_id: authorization_id } : shape
          )
          const sign = yield* Claims.signer(keystore.key)
          const claims: Record<string, string | number> = {
            uid: keystore.userId,
            sid: keystore.sessionId,
            iss: keystore.userId,
            aid: keystore.sessionId,
            iat: input.now,
            exp: input.now + input.exp_in,
            jti: input.jti,
            sig: yield* Signer.requestSignature(input),
            scp: input.keystore["scope"] ?? "FULL"
          }
          const ordered = Object.fromEntries(input.claim_order.map((claim) => [claim, claims[claim]!]))
          assert.strictEqual(yield* sign(ordered), expected.token)
        }).pipe(Effect.provide([signature, NodeCrypto.layerDigest]))
      )
    }

    if (input.claim_order.join() === "uid,sid,iat,exp,jti,sig,scp" && input.exp_in === Signer.lifetime) {
      it.effect(`makes the token of: ${name}`, () =>
        Effect.gen(function* () {
          yield* TestClock.setTime(input.now * 1000 + 999)
          const signer = yield* Effect.flatMap(Keystore.fromUnknown(input.keystore), Signer.make)
          const token = yield* signer.token({ method: input.method, uri: input.uri, body: input.body, id: input.jti })
          assert.strictEqual(Redacted.value(token), expected.token)
        }).pipe(Effect.provide(NodeCrypto.layer))
      )
    }
  }

  for (const file of ["request-sig", "http-requests"]) {
    for (const { expected, input, name } of vectors<
      { method: string; uri?: string; url?: string; body: string },
      { sig?: string; claims?: { sig: string } }
    >(file)) {
      it.effect(`sig of ${file}: ${name}`, () =>
        Effect.gen(function* () {
          const sig = yield* Signer.requestSignature({ ...input, uri: input.uri ?? input.url! })
          assert.strictEqual(sig, expected.sig ?? expected.claims?.sig)
        }).pipe(Effect.provide(NodeCrypto.layerDigest))
      )
    }
  }

  it.effect("signs in the name of the keystore's bot, whether that comes as JSON or is at hand", () =>
    Effect.gen(function* () {
      const { keystore: shape } = tokens[0]!.input
      const keystore = yield* Keystore.fromUnknown(
        shape["authorization_id"] ? { ...shape, session_id: shape["authorization_id"], authorization_id: null } : shape
      )
      const json = JSON.stringify({
        app_id: keystore.userId,
        session_id: keystore.sessionId,
        session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
      })
      for (const layer of [Signer.layer(keystore), Signer.layerString(json)]) {
        const signer = yield* Effect.provide(Signer.Signer, layer, { local: true })
        assert.strictEqual(signer.userId, keystore.userId)
        const token = decode(Redacted.value(yield* signer.token({ method: "GET", uri: "/", body: "" })))
        assert.strictEqual(token.sid, keystore.sessionId)
      }
    }).pipe(Effect.provide(NodeCrypto.layer))
  )

  it.effect("never makes the same token twice, and shows none", () =>
    Effect.gen(function* () {
      const signer = yield* Effect.flatMap(Keystore.fromUnknown(tokens[0]!.input.keystore), Signer.make)
      const request = { method: "GET", uri: "/", body: "" }
      const [one, two] = [yield* signer.token(request), yield* signer.token(request)]
      assert.notStrictEqual(decode(Redacted.value(one)).jti, decode(Redacted.value(two)).jti)
      assert.notInclude(inspect(one, { depth: Infinity, showHidden: true }), "eyJ")
    }).pipe(Effect.provide(NodeCrypto.layer))
  )
})

describe("the tokens that the built-in server refuses", () => {
  interface Input {
    readonly token: string
    readonly server_now: number
    readonly method: string
    readonly uri: string
    readonly body: string
    readonly registered_public_key_hex: string
  }
  for (const { expected, input, name } of vectors<Input, { accept: boolean; reason: string }>("tokens-negative")) {
    it.effect(`${name}: ${expected.reason}`, () =>
      Effect.gen(function* () {
        const publicKey = yield* Signature.publicKey(
          Signature.ed25519,
          new Uint8Array(Buffer.from(input.registered_public_key_hex, "hex"))
        )
        const server = {
          now: () => input.server_now * 1000,
          botById: (userId: string) =>
            userId === "82d20bc7-9a97-4a69-bcd0-4da502374f6c"
              ? Option.some({ publicKey, sessionId: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8" } as BlazeServer.BotAccount)
              : Option.none()
        }
        const request = { ...input, body: Effect.succeed(input.body) }
        assert.strictEqual(
          Option.isSome(yield* TokenVerifier.verify(server, input.token, request, TokenVerifier.makeUsed())),
          expected.accept
        )
      }).pipe(Effect.provide(NodeCrypto.layer))
    )
  }

  it.effect(
    "a token is good once, and is remembered for as long as it could be used again, whatever life it says it has",
    () =>
      Effect.gen(function* () {
        const { keystore } = tokens[0]!.input
        const { key, sessionId, userId } = yield* Keystore.fromUnknown(keystore)
        assert(key._tag === "Ed25519")
        const publicKey = yield* Signature.publicKey(Signature.ed25519, key.publicKey)
        const issued = 1_800_000_000
        const request = { method: "GET", uri: "/", body: Effect.succeed("") }
        const sign = yield* Claims.signer(key)
        const sig = yield* Signer.requestSignature({ ...request, body: "" })
        const token = (lives: number) => sign({ uid: userId, sid: sessionId, iat: issued, exp: issued + lives, sig })
        const remembered: Array<number> = []
        const really = TokenVerifier.makeUsed()
        const used: TokenVerifier.Used = (token, until, now) => {
          remembered.push(until / 1000 - issued)
          return really(token, until, now)
        }
        const isLetIn = (token: string, after: number) =>
          Effect.map(
            TokenVerifier.verify(
              {
                now: () => (issued + after) * 1000,
                botById: () => Option.some({ publicKey, sessionId } as BlazeServer.BotAccount)
              },
              token,
              request,
              used
            ),
            Option.isSome
          )
        const year = yield* token(365 * 86_400)
        const minute = yield* token(60)
        assert.deepStrictEqual([yield* isLetIn(year, 0), yield* isLetIn(minute, 0)], [true, true])
        assert.deepStrictEqual(remembered, [300, 60])
        assert.deepStrictEqual([yield* isLetIn(minute, 59.9), yield* isLetIn(minute, 60)], [false, false])
        assert.deepStrictEqual([yield* isLetIn(year, 300), yield* isLetIn(year, 300.1)], [false, false])
      }).pipe(Effect.provide(NodeCrypto.layer))
  )

  it("what cannot be used again any more is forgotten, and nothing else, in whatever order it came", () => {
    const used = TokenVerifier.makeUsed()
    assert.deepStrictEqual([used("a", 100, 0), used("b", 50, 0), used("a", 100, 100)], [true, true, false])
    assert.isTrue(used("c", 200, 101))
    // Only what is forgotten is new again.
    assert.deepStrictEqual([used("a", 100, 101), used("c", 200, 101)], [true, false])
    assert.isTrue(used("b", 50, 101))
  })
})
