/**
 * The server's half of a token: what it must be for a request to be let in.
 *
 * Guarantee: it accepts what the documentation allows and nothing else: the algorithm of the registered key, a signature by it,
 * this request, this session, not expired, issued within 5 minutes of the server's time, and not used before. A body is read for a
 * token that is good in all else, and for no other.
 *
 * @since 0.1.0
 */
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Base64 from "../../Base64.ts"
import * as BlazeError from "../../BlazeError.ts"
import * as Ordered from "../../internal/Ordered.ts"
import * as Signer from "../../Signer.ts"
import type * as BlazeServer from "../BlazeServer.ts"

const part = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownOption(Schema.fromJsonString(schema))
  return (encoded: string) => Option.flatMap(Base64.decode(encoded), (bytes) => decode(new TextDecoder().decode(bytes)))
}

const decodeHeader = part(Schema.Struct({ alg: Schema.String }))
const decodeClaims = part(
  Schema.Struct({
    uid: Schema.String,
    sid: Schema.String,
    iat: Schema.Int,
    exp: Schema.Int,
    sig: Schema.String
  })
)

const algorithmOf = (key: Signature.PublicKey) => (key.algorithm._tag === "Ed25519" ? "EdDSA" : "RS512")

/**
 * The bot that a token claims to speak for, whether it may or not.
 *
 * @since 0.1.0
 */
export const claimedBot = (
  server: Pick<BlazeServer.BlazeServer["Service"], "botById">,
  token: string
): Option.Option<BlazeServer.BotAccount> =>
  Option.flatMap(decodeClaims(token.split(".")[1] ?? ""), ({ uid }) => server.botById(uid))

/**
 * A request whose body is read when it is asked for.
 *
 * @since 0.1.0
 */
export interface Request<E, R> extends Omit<Signer.SignedRequest, "body"> {
  readonly body: Effect.Effect<string, E, R>
}

/**
 * The tokens that were used, each for as long as it would be let in otherwise: tells whether one is used for the first time.
 *
 * @since 0.1.0
 */
export type Used = (token: string, until: number, now: number) => boolean

/**
 * @category constructors
 * @since 0.1.0
 */
export const makeUsed = (): Used => {
  const used = Ordered.make<string, number>()
  return (token, until, now) => {
    for (const { key, value: end } of used.entries()) {
      if (end >= now) break
      used.delete(key)
    }
    if (used.has(token)) return false
    used.set(token, until)
    return true
  }
}

/**
 * The bot that a token speaks for, if the token is good for the request. Times are in milliseconds.
 *
 * @since 0.1.0
 */
export const verify = Effect.fnUntraced(function* <E, R>(
  server: Pick<BlazeServer.BlazeServer["Service"], "botById" | "now">,
  token: string,
  request: Request<E, R>,
  used: Used
) {
  const none = Option.none<BlazeServer.BotAccount>()
  const [header = "", claims = "", signed = "", ...rest] = token.split(".")
  const decodedHeader = decodeHeader(header)
  const decodedClaims = decodeClaims(claims)
  const bytes = Base64.decode(signed)
  if (rest.length > 0 || Option.isNone(decodedHeader) || Option.isNone(decodedClaims) || Option.isNone(bytes))
    return none

  const { exp, iat, sid, sig, uid } = decodedClaims.value
  const bot = Option.filter(server.botById(uid), (bot) => bot.sessionId === sid)
  if (Option.isNone(bot) || decodedHeader.value.alg !== algorithmOf(bot.value.publicKey)) return none
  const time = server.now()
  if (exp * 1000 <= time || Math.abs(iat * 1000 - time) > BlazeError.toleratedClockDifference) return none

  const signature = yield* Signature.Signature
  const valid = yield* Effect.orElseSucceed(
    signature.verify(bot.value.publicKey, bytes.value, new TextEncoder().encode(`${header}.${claims}`)),
    () => false
  )
  if (!valid) return none
  if (sig !== (yield* Signer.requestSignature({ ...request, body: yield* request.body }))) return none
  // What is signed, and not the signature: there is more than one way to write the same bytes in base64.
  // Of how long a life it says it has, nothing is remembered: its time of issue is what ends it first, or else that.
  const until = Math.min(exp * 1000, iat * 1000 + BlazeError.toleratedClockDifference)
  return used(`${header}.${claims}`, until, time) ? bot : none
})
