/**
 * Reads every shape of keystore that Mixin's dashboards and tools have handed out, as editors, shells and container tools leave it, and
 * keeps the key out of sight.
 *
 * Guarantee: a keystore that cannot be used is refused in one sentence that names the field and what belongs there, never the
 * value; a path is told only where it cannot be a key; the private key is `Redacted` from the moment it is read.
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
import * as Predicate from "effect/Predicate"
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
 * network users (`pin_token_base64`) and bare users (`user_id`). Names may be in camel case, and the whole may be inside other objects. An OAuth keystore acts for a person and cannot run a bot. Fields that
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

// A byte order mark is white space, too.
const unwrap = (text: string): string => text.replace(/^[\s"'`]+|[\s"'`]+$/g, "")

const uuidField = (field: string, value: string | null | undefined) =>
  !value
    ? Effect.fail(missing(field))
    : Effect.mapError(Effect.fromResult(decodeUuid(unwrap(value))), () =>
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

// The label of a PEM tells less than what is in it: version 0, then in PKCS#8 a sequence, in PKCS#1 a number.
const formatOf = (der: Uint8Array) => {
  const length = der[1] ?? 0
  const start = length < 0x80 ? 2 : length - 0x80 + 2
  return der[start + 3] === 0x30 ? KeyFormat.pkcs8 : KeyFormat.pkcs1
}

const rsa = Effect.fnUntraced(
  function* (field: string, der: Uint8Array) {
    const privateKey = yield* KeyFormat.decodePrivate(formatOf(der), Signature.rsaPkcs1v15Sha512, der)
    // Decoding looks at the frame of the key only; signing finds out whether what is inside is a key.
    const signature = yield* Signature.Signature
    yield* Effect.catchDefect(signature.sign(privateKey, new Uint8Array(1)), () =>
      Effect.fail(invalid(field, "an RSA key that can sign, of 1024 bits or more"))
    )
    return Key.make({ _tag: "Rsa", privateKey })
  },
  (effect, field) =>
    Effect.catchTag(effect, "CryptoError", () =>
      Effect.fail(invalid(field, "an RSA private key as PEM, from BEGIN to END"))
    )
)

// Windows writes UTF-16. What is read here begins with a character of ASCII, the other byte of which is 0.
const textOf = (bytes: Uint8Array): string => {
  const [first, second] = bytes
  const encoding = first === 0xfe || first === 0 ? "utf-16be" : first === 0xff || second === 0 ? "utf-16le" : "utf-8"
  return new TextDecoder(encoding).decode(bytes)
}

const fromBase64 = (text: string) => Base64.decode(text.replace(/\s+/g, ""))

/** The bytes of a key: from hex, base64 or PEM, in any of the ways in which line ends get lost, or from a PEM in base64. */
const bytesOf = (text: string): Option.Option<Uint8Array> => {
  // The lines between BEGIN and END that are headers have a colon.
  const pem = /PRIVATE KEY-+([^]*?)-+END/.exec(text.replace(/\\+[nr]/g, "\n"))?.[1]
  if (pem !== undefined) return fromBase64(pem.replace(/^.*:.*$/gm, ""))
  if (/^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/.test(text)) return Result.getSuccess(Hex.decode(text))
  return Option.flatMap(fromBase64(text), (bytes) => {
    const inner = textOf(bytes)
    return inner.includes("PRIVATE KEY") ? bytesOf(inner) : Option.some(bytes)
  })
}

const isDer = (bytes: Uint8Array) => bytes.length > 64 && bytes[0] === 0x30
const isKey = (bytes: Uint8Array) => bytes.length === 32 || bytes.length === 64 || isDer(bytes)

// RFC 8410: an Ed25519 key in PKCS#8 is its seed behind these bytes.
const pkcs8Seed = /06032b657004220420([0-9a-f]{64})/

const decodeKey = (field: string, value: string | null | undefined) => {
  if (!value) return Effect.fail(missing(field))
  const text = unwrap(value)
  if (text.includes("PUBLIC KEY")) return Effect.fail(invalid(field, "the private key, and this is the public one"))
  if (text.includes("ENCRYPTED")) return Effect.fail(invalid(field, "a key without a passphrase"))
  const bytes = Option.getOrElse(bytesOf(text), () => new Uint8Array(0))
  const [, seed] = pkcs8Seed.exec(Hex.encode(bytes)) ?? []
  if (seed !== undefined) return ed25519(field, Result.getOrThrow(Hex.decode(seed)))
  if (text.includes("PRIVATE KEY") || isDer(bytes)) return rsa(field, bytes)
  return isKey(bytes)
    ? ed25519(field, bytes)
    : Effect.fail(invalid(field, "64 hexadecimal digits, or 32 or 64 bytes in base64, or an RSA key as PEM"))
}

const plainName = (name: string) => name.toLowerCase().replace(/[^a-z]/g, "")
const fieldNames = new Map(Object.keys(Shape.fields).map((name) => [plainName(name), name]))

/** The fields of a keystore, by their own names: other tools write `appId` or `APP_ID`. */
const namedIn = (json: object): Readonly<Record<string, unknown>> => {
  const fields: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(json)) {
    const field = fieldNames.get(plainName(name))
    if (field !== undefined) fields[field] ||= value
  }
  return fields
}

const keystoresIn = (json: unknown, depth = 3): ReadonlyArray<unknown> => {
  if (!Predicate.isObjectOrArray(json)) return []
  const fields = namedIn(json)
  if (fields["session_id"] !== undefined) return [fields]
  return depth === 0 ? [] : Object.values(json).flatMap((value) => keystoresIn(value, depth - 1))
}

const decodeShape = Schema.decodeUnknownEffect(Shape)

/**
 * Reads a keystore from parsed JSON, which may hold it inside other objects.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUnknown = Effect.fnUntraced(function* (
  json: unknown
): Effect.fn.Return<Keystore, BlazeError.BlazeError, Signature.Signature> {
  const found = keystoresIn(json)
  if (found.length > 1) return yield* invalid("it", `the keystore of one bot, and it holds ${found.length}`)
  const fields = found[0] ?? (Predicate.isObject(json) ? namedIn(json) : json)
  const shape = yield* Effect.mapError(decodeShape(fields), (error) => {
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

/** The JSON in a text, which may be in quotes or in base64. */
const jsonIn = (text: string): Option.Option<string> => {
  const plain = unwrap(text)
  if (/^[{[]/.test(plain)) return Option.some(plain)
  return fromBase64(plain).pipe(
    Option.map((bytes) => unwrap(textOf(bytes))),
    // One bracket may come of any word.
    Option.filter((inner) => /^[{[]\s*["{[]/.test(inner))
  )
}

const fromJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const parse = (text: string): Option.Option<unknown> => {
  // A line break within a key, which a shell made of \n, and a comma behind the last field.
  const mended = text.replace(/\s+/g, " ").replace(/, ?([}\]])/g, "$1")
  return fromJson(text).pipe(
    Option.orElse(() => fromJson(mended)),
    // JSON as a string of JSON, whose quotes are gone: each round takes a backslash away.
    Option.orElse(() => Option.filter(fromJson(`"${mended}"`), Predicate.isString)),
    Option.flatMap((json) =>
      !Predicate.isString(json) ? Option.some(json) : json === mended ? Option.none() : parse(json)
    )
  )
}

/** What may be there in place of JSON, and what is to be done. */
const notJson: ReadonlyArray<readonly [RegExp, string]> = [
  [/^$/, "it is empty: download it again"],
  [/^-+BEGIN/, "it is a key alone: the ids of the bot and of its session belong with it"],
  [/^</, "it is a web page: download it again"],
  [/^[{[][^"]*$/, "its double quotes are missing: where a shell reads it, put it in single quotes"],
  [/^[{[][^]*[^}\]]$/, "its end is missing: download it again"],
  [/^\S+\.json$/, "it is a path: set BLAZE_KEYSTORE to it, or use Keystore.fromFile"],
  [/^\w+ *[=:]/, "it is a list of settings"],
  [/^/, "it is not: download it again"]
]

/**
 * Reads a keystore from JSON text.
 *
 * **Example** (The keystore that the dashboard gives today)
 *
 * ```ts
 * import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
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
export const fromString = (json: string): Effect.Effect<Keystore, BlazeError.BlazeError, Signature.Signature> => {
  const text = Option.getOrElse(jsonIn(json), () => unwrap(json))
  return Option.match(parse(text), {
    onSome: fromUnknown,
    onNone: () => Effect.fail(invalid("it", `JSON, and ${notJson.find(([form]) => form.test(text))?.[1]}`))
  })
}

const unreadable: Readonly<Record<string, string>> = {
  NotFound: "there is none",
  PermissionDenied: "this user may not read it",
  BadResource: "it is a directory"
}

const home = Effect.option(Config.String("HOME").pipe(Config.orElse(() => Config.String("USERPROFILE"))))

/** The path that is meant: a shell would have replaced the `~`, and a `file:` address holds a path. */
const pathIn = Effect.fnUntraced(function* (text: string) {
  if (/^~[\\/]/.test(text)) return Option.getOrElse(yield* home, () => "~") + text.slice(1)
  if (!text.startsWith("file:") || !URL.canParse(text)) return text
  const { pathname } = new URL(text)
  return yield* Effect.orElseSucceed(
    Effect.try(() => decodeURIComponent(pathname).replace(/^\/(?=[A-Za-z]:)/, "")),
    () => text
  )
})

const uuids = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

// Somebody may have put a key where the path belongs. A path is told when it has no digits and capitals, as no key does, or reads like a
// path and has no run of characters that could be a part of one.
const isTellable = (path: string) =>
  path.length <= 260 &&
  (/^[a-z_.~/\\-]+$/.test(path) ||
    (/^(?:~|\.{0,2}[\\/]|[A-Za-z]:[\\/])|\.[a-z]{2,5}$/.test(path) &&
      !/[\w+=]{32}|^[\w+/=-]{43,}$|["{}@?\n]|:\/\/|PRIVATE/.test(path.replace(uuids, "id"))))

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
  const meant = yield* pathIn(unwrap(path))
  const bytes = yield* Effect.catch(files.readFile(meant), ({ reason }) =>
    Effect.gen(function* () {
      const why = unreadable[reason._tag] ?? "it cannot"
      if (isTellable(meant)) {
        const isAbsolute = /^(?:[\\/]|[A-Za-z]:)/.test(meant)
        const folder = isAbsolute ? "" : `${yield* Effect.orElseSucceed(files.realPath("."), () => ".")}/`
        return yield* invalid(`the path ${folder}${meant}`, `that of a file that can be read (${why})`)
      }
      return yield* invalid(
        "the path",
        Option.exists(bytesOf(unwrap(path)), isKey)
          ? "that of a file, and it is a key alone: the ids of the bot and of its session belong with it"
          : `that of a file that can be read (${why})`
      )
    })
  )
  return yield* fromString(textOf(bytes))
})

/**
 * Reads the keystore that the setting `BLAZE_KEYSTORE` names: the path of a JSON file, or the JSON itself, which may be in base64.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromConfig: Effect.Effect<Keystore, BlazeError.BlazeError, Signature.Signature | FileSystem.FileSystem> =
  Effect.gen(function* () {
    const unset = invalid("BLAZE_KEYSTORE", "set to the path of the keystore file, or to its JSON")
    const setting = Redacted.value(yield* Effect.mapError(Config.Redacted("BLAZE_KEYSTORE"), () => unset))
    if (unwrap(setting) === "") return yield* unset
    return yield* Option.isSome(jsonIn(setting)) ? fromString(setting) : fromFile(setting)
  })
