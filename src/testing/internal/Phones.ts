/**
 * On what people read, and bots: the sessions of the built-in server, with their keys.
 *
 * Guarantee: nobody reads what is not sealed for one of the sessions that somebody has now; the keys of a person are the same in every run.
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import type * as KeyAgreement from "effect/crypto/KeyAgreement"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Base64 from "../../Base64.ts"
import type * as Endpoint from "../../Endpoint.ts"
import type * as Ids from "../../Ids.ts"
import * as Cipher from "../../internal/Cipher.ts"
import * as FileCipher from "../../internal/FileCipher.ts"

/**
 * A phone, or the program of a bot: its session, with a key or, as that of an old app or of a bot with an RSA key, without one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Phone {
  readonly own: Cipher.Session | undefined
  /** What others see of it. */
  readonly session: Endpoint.Session
}

type Cryptography = Cipher.Ciphers | SecureRandom.SecureRandom | Digest.Digest | KeyAgreement.KeyAgreement

/** @since 0.1.0 */
export const make = Effect.gen(function* () {
  const services = yield* Effect.context<Cryptography>()
  const run = <A>(effect: Effect.Effect<A, never, Cryptography>): A =>
    Effect.runSync(Effect.provideContext(effect, services))

  const phone = (userId: Ids.UserId, sessionId: string, seed: Redacted.Redacted<Uint8Array> | undefined): Phone => {
    const own = seed === undefined ? undefined : run(Cipher.makeSession(sessionId, seed))
    const publicKey = own === undefined ? "" : Base64.encode(run(own.publicKey))
    return {
      own,
      session: {
        user_id: userId,
        session_id: sessionId,
        public_key: publicKey,
        platform: own === undefined ? "" : "iOS"
      }
    }
  }

  return {
    phone,
    /** A phone whose key follows from the id of its session. */
    person: (userId: Ids.UserId, sessionId: string, hasKey: boolean): Phone => {
      const seed = run(
        Effect.flatMap(Digest.Digest, ({ digest }) =>
          digest(Digest.sha256, new TextEncoder().encode(`the key of ${sessionId}`))
        )
      )
      return phone(userId, sessionId, hasKey ? Redacted.make(seed) : undefined)
    },
    /** What somebody writes on a phone for another; nothing where one of the two has no key. */
    seal: (payload: Uint8Array, from: Phone, to: Phone): Uint8Array | undefined => {
      if (from.own === undefined || to.own === undefined) return undefined
      const recipient = { sessionId: to.own.sessionId, publicKey: run(to.own.publicKey) }
      return run(Effect.orDie(Cipher.seal(payload, from.own, [recipient])))
    },
    /** What somebody reads. */
    open: (sealed: Uint8Array, { own }: Phone): Option.Option<Uint8Array> =>
      own === undefined ? Option.none() : Result.getSuccess(run(Effect.result(Cipher.open(sealed, own)))),
    /** A file as an app stores it, and what its payload says of that. */
    sealFile: (file: Uint8Array) => {
      const { bytes, digest, key } = run(FileCipher.seal(file))
      return { bytes, digest: Base64.encode(digest), key: Base64.encode(Redacted.value(key)) }
    },
    openFile: (bytes: Uint8Array, key: string, digest: string): Option.Option<Uint8Array> =>
      Option.flatMap(Option.all({ key: Base64.decode(key), digest: Base64.decode(digest) }), (secret) =>
        Result.getSuccess(
          run(Effect.result(FileCipher.open({ bytes, digest: secret.digest, key: Redacted.make(secret.key) })))
        )
      ),
    checksum: (sessions: ReadonlyArray<Endpoint.Session>): string =>
      run(Cipher.checksum(sessions.map(({ session_id }) => session_id)))
  }
})

/** @since 0.1.0 */
export type Phones = Effect.Success<typeof make>
