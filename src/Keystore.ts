/**
 * Reads every shape of keystore that Mixin's dashboards and tools have handed out, and keeps the key out of sight.
 *
 * Guarantee: a keystore that cannot be used is refused in one sentence that names the field and what belongs there, never the
 * value; the private key is `Redacted` from the moment it is read.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as KeyFormat from "effect/crypto/KeyFormat"
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Base64 from "./Base64.ts"
import * as BlazeError from "./BlazeError.ts"
import * as Ids from "./Ids.ts"

/**
 * What signs the tokens: the 32-byte seed of an Ed25519 key and its public key, or an RSA key as effect/crypto holds it.
 *
 * @category models
 * @since 0.1.0
 */
export const Key = Schema.Union([
  Schema.TaggedStruct("Ed25519", {
    seed: Schema.Redacted(Schema.Uint8Array),
    publicKey: Schema.Uint8Array
  }),
  Schema.TaggedStruct("Rsa", {
    privateKey: Schema.declare((u): u is Signature.PrivateKey<Signature.RsaPkcs1v15> => Signature.isPrivateKey(u))
  })
])
/** @since 0.1.0 */
export type Key = typeof Key.Type

/**
 * Who the bot is, and the key it signs with.
 *
 * **Details**
 *
 * These shapes are read: today's `app_id, session_id, session_private_key, server_public_key` (hex); the older
 * `client_id, session_id, private_key` with an RSA key in PEM (1024 bits too, PKCS#1 or PKCS#8) or an Ed25519 key in base64;
 * network users (`pin_token_base64`) and bare users (`user_id`). An OAuth keystore acts for a person and cannot run a bot. Fields that
 * tokens do not need, such as `server_public_key` and `pin`, are not looked at.
 *
 * @category models
 * @since 0.1.0
 */
export class Keystore extends Schema.Class<Keystore>("effect-blaze/Keystore")({
  userId: Ids.UserId,
  sessionId: Schema.String,
  key: Key
}) {}

const text = Schema.optional(Schema.NullOr(Schema.String))
const Shape = Schema.Struct({
  app_id: text,
  client_id: text,
  user_id: text,
  session_id: text,
  session_private_key: text,
  private_key: text,
  authorization_id: text
})

const invalid = (field: string, expected: string) =>
  BlazeError.make(new BlazeError.InvalidSetting({ setting: "keystore", field, expected }))

const missing = (field: string) => invalid(field, "there, and it is missing")

const decodeUuid = Schema.decodeUnknownResult(Ids.UserId)

const uuidField = (field: string, value: string | null | undefined) =>
  !value
    ? Effect.fail(missing(field))
    : Effect.mapError(Effect.fromResult(decodeUuid(value?.trim().toLowerCase())), () =>
        invalid(field, "a UUID such as 773e5e77-4107-45c2-b648-8fc722ed77f5")
      )

const ed25519 = Effect.fnUntraced(
  function* (field: string, bytes: Uint8Array) {
    const signature = yield* Signature.Signature
    const seed = bytes.slice(0, 32)
    const privateKey = yield* Signature.privateKey(Signature.ed25519, seed)
    const publicKey = yield* Effect.flatMap(signature.publicKeyOf(privateKey), Signature.toBytes)
    if (bytes.length === 64 && !bytes.subarray(32).every((byte, index) => byte === publicKey[index])) {
      return yield* invalid(field, "64 bytes whose second half is the public key of the first")
    }
    return Key.make({ _tag: "Ed25519", seed: Redacted.make(seed), publicKey })
  },
  (effect, field) => Effect.catchTag(effect, "CryptoError", () => Effect.fail(invalid(field, "an Ed25519 private key")))
)

const rsa = Effect.fnUntraced(
  function* (field: string, pem: string) {
    // Dashboards wrote the line ends as CRLF, and people paste them into environments as a literal \n.
    const normalised =
      pem
        .replace(/\\r|\r/g, "")
        .replace(/\\n/g, "\n")
        .trim() + "\n"
    const format = normalised.includes("RSA PRIVATE KEY") ? KeyFormat.pkcs1 : KeyFormat.pkcs8
    const privateKey = yield* KeyFormat.decodePrivate(KeyFormat.pem(format), Signature.rsaPkcs1v15Sha512, normalised)
    // Decoding looks at the frame of the key only; signing finds out whether what is inside is a key.
    const signature = yield* Signature.Signature
    yield* Effect.catchDefect(signature.sign(privateKey, new Uint8Array(1)), () =>
      Effect.fail(invalid(field, "an RSA key that can sign, of 1024 bits or more"))
    )
    return Key.make({ _tag: "Rsa", privateKey })
  },
  (effect, field) =>
    Effect.catchTag(effect, "CryptoError", () =>
      Effect.fail(invalid(field, "an RSA private key as PEM, from BEGIN to END with its line breaks"))
    )
)

const bytesOf = (value: string): Option.Option<Uint8Array> =>
  /^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/.test(value) ? Result.getSuccess(Hex.decode(value)) : Base64.decode(value)

const decodeKey = (field: string, value: string | null | undefined) => {
  if (!value) return Effect.fail(missing(field))
  if (value.includes("PRIVATE KEY")) return rsa(field, value)
  const bytes = Option.getOrUndefined(bytesOf(value.trim()))
  return bytes?.length === 32 || bytes?.length === 64
    ? ed25519(field, bytes)
    : Effect.fail(invalid(field, "64 hexadecimal digits, or 32 or 64 bytes in base64, or an RSA key as PEM"))
}

const decodeShape = Schema.decodeUnknownEffect(Shape)

/**
 * Reads a keystore from parsed JSON.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUnknown = Effect.fnUntraced(function* (
  json: unknown
): Effect.fn.Return<Keystore, BlazeError.BlazeError, Signature.Signature> {
  const shape = yield* Effect.mapError(decodeShape(json), (error) => {
    const [field] = /\["([a-z_]+)"\]/.exec(error.message)?.slice(1) ?? []
    return field === undefined ? invalid("it", "a JSON object") : invalid(field, "a string")
  })
  if (shape.authorization_id) {
    return yield* invalid(
      "it",
      "the keystore of a bot; this one is an OAuth authorization, which acts for a person and cannot receive a bot's messages"
    )
  }
  const idField = shape.app_id ? "app_id" : shape.client_id ? "client_id" : shape.user_id ? "user_id" : "app_id"
  const keyField = shape.session_private_key || !shape.private_key ? "session_private_key" : "private_key"
  return new Keystore({
    userId: yield* uuidField(idField, shape[idField]),
    sessionId: yield* uuidField("session_id", shape.session_id),
    key: yield* decodeKey(keyField, shape[keyField])
  })
})

const parse = Schema.decodeEffect(Schema.fromJsonString(Schema.Unknown))

/**
 * Reads a keystore from JSON text.
 *
 * **Example** (The keystore that the dashboard gives today)
 *
 * ```ts
 * import { NodeCrypto } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Keystore } from "effect-blaze"
 *
 * const program = Keystore.fromString(`{
 *   "app_id": "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
 *   "session_id": "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
 *   "server_public_key": "0000000000000000000000000000000000000000000000000000000000000000",
 *   "session_private_key": "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
 * }`)
 *
 * const keystore = await Effect.runPromise(program.pipe(Effect.provide(NodeCrypto.layerSignature)))
 * console.assert(keystore.userId === "82d20bc7-9a97-4a69-bcd0-4da502374f6c")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromString = (json: string): Effect.Effect<Keystore, BlazeError.BlazeError, Signature.Signature> =>
  Effect.flatMap(
    Effect.mapError(parse(json), () =>
      invalid(
        "it",
        json.trim() === "" ? "JSON, and it is empty: download it again" : "JSON, and it is not: download it again"
      )
    ),
    fromUnknown
  )

const unreadable: Readonly<Record<string, string>> = {
  NotFound: "there is none",
  PermissionDenied: "this user may not read it",
  BadResource: "it is a directory"
}

/**
 * Reads a keystore from a JSON file.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFile = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<Keystore, BlazeError.BlazeError, Signature.Signature | FileSystem.FileSystem> {
  const files = yield* FileSystem.FileSystem
  const json = yield* Effect.mapError(files.readFileString(path), ({ reason }) =>
    invalid("the path", `that of a file that can be read (${unreadable[reason._tag] ?? "it cannot"})`)
  )
  return yield* fromString(json)
})

/**
 * Reads the keystore that the setting `BLAZE_KEYSTORE` names: the path of a JSON file, or the JSON itself.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromConfig: Effect.Effect<Keystore, BlazeError.BlazeError, Signature.Signature | FileSystem.FileSystem> =
  Effect.gen(function* () {
    const setting = yield* Effect.mapError(Config.Redacted("BLAZE_KEYSTORE"), () =>
      invalid("BLAZE_KEYSTORE", "set to the path of the keystore file, or to its JSON")
    )
    const value = Redacted.value(setting).trim()
    return yield* value.startsWith("{") ? fromString(value) : fromFile(value)
  })
