/**
 * What a bot reads and sends encrypted.
 *
 * Guarantee: an encrypted message becomes what it holds, or `Unknown` with the reason; what goes encrypted is for all the sessions of those
 * whom it is for, as the server has them, and leaves in plain only where the settings allow that; it keeps its id over every try.
 *
 * @since 0.1.0
 */
import type * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Base64 from "../Base64.ts"
import * as BlazeError from "../BlazeError.ts"
import * as Conversations from "../Conversations.ts"
import * as Endpoint from "../Endpoint.ts"
import type * as Ids from "../Ids.ts"
import * as Message from "../Message.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Outgoing from "../Outgoing.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as Cipher from "./Cipher.ts"
import * as Sessions from "./Sessions.ts"

const rsa =
  "the keystore has an RSA key, which cannot read or write it: make a new session for the bot at developers.mixin.one, which comes with an Ed25519 key, or turn encryption off there"

/**
 * Reads what came encrypted.
 *
 * @category decryption
 * @since 0.1.0
 */
export const makeReader: Effect.Effect<
  (message: Message.Message) => Effect.Effect<Message.Message>,
  never,
  Signer.Signer | Cipher.Ciphers
> = Effect.gen(function* () {
  const { session } = yield* Signer.Signer
  const decode = yield* Base64.Decoder
  const ciphers = yield* Effect.context<Cipher.Ciphers>()
  let isTold = false
  const tell = Effect.suspend(() => {
    if (isTold) return Effect.void
    isTold = true
    return Effect.logWarning(`Messages to this bot are encrypted, and ${rsa}.`)
  })
  const read = ({ view }: Message.Message, own: Cipher.Session): Effect.Effect<Uint8Array, string> =>
    Option.match(decode(view.data_base64 || view.data || ""), {
      onNone: () => Effect.fail("it is not base64"),
      onSome: (sealed) => Effect.provideContext(Cipher.open(sealed, own), ciphers)
    })
  return (message) =>
    session === undefined
      ? Effect.as(tell, Message.decrypted(message, Result.fail(`it is encrypted, and ${rsa}`)))
      : Effect.map(Effect.result(read(message, session)), (payload) => Message.decrypted(message, payload))
})

/** What `Outgoing.toParams` gives. */
type Params = Readonly<Record<string, unknown>>

/**
 * @category models
 * @since 0.1.0
 */
export interface Encryption {
  /** Whether it goes encrypted: what is of a category, and answers a message in its conversation or none. */
  readonly applies: (category: string, answered: Message.Message | undefined) => boolean
  /** Sends messages, of a request each or together. */
  readonly send: (messages: ReadonlyArray<Params>) => Effect.Effect<void, BlazeError.BlazeError>
}

const checksumInvalid = 20140

const notEncrypted = (problem: string) => BlazeError.make(new BlazeError.NotEncrypted({ problem }))

/** Whom a message is for, besides the bot. */
const makeRecipients = Effect.gen(function* () {
  const { userId } = yield* Signer.Signer
  const conversations = yield* Conversations.Conversations
  return {
    of: ({ conversation_id, recipient_id }: Params): Effect.Effect<ReadonlyArray<Ids.UserId>, BlazeError.BlazeError> =>
      recipient_id === undefined
        ? Effect.flatMap(
            conversations.get(conversation_id as Ids.ConversationId),
            Option.match({
              onNone: () => Effect.fail(notEncrypted("who is in the conversation is not known")),
              onSome: ({ members }) =>
                Effect.succeed(members.map((member) => member.userId).filter((id) => id !== userId))
            })
          )
        : Effect.succeed([recipient_id as Ids.UserId]),
    forget: ({ conversation_id }: Params) => conversations.forget(conversation_id as Ids.ConversationId)
  }
})

const keyOf = ({ public_key, session_id, user_id }: Endpoint.Session) =>
  Option.match(
    Option.filter(Base64.decode(public_key ?? ""), (key) => key.length === 32),
    {
      onNone: () => Effect.fail(notEncrypted(`an app of ${user_id ?? "somebody"} has no key to encrypt for`)),
      onSome: (publicKey): Effect.Effect<Cipher.Recipient, BlazeError.BlazeError> =>
        Effect.succeed({ sessionId: session_id, publicKey })
    }
  )
/** Makes of a message what `POST /encrypted_messages` takes. */
const makeEncrypt = Effect.fnUntraced(function* (
  own: Cipher.Session,
  recipientsOf: Effect.Success<typeof makeRecipients>["of"],
  sessionsOf: Sessions.Sessions["of"]
) {
  const services = yield* Effect.context<Cipher.Ciphers | SecureRandom.SecureRandom | Digest.Digest>()
  const encrypt = Effect.fnUntraced(function* (
    message: Params
  ): Effect.fn.Return<Params, BlazeError.BlazeError, Cipher.Ciphers | SecureRandom.SecureRandom | Digest.Digest> {
    const people = yield* recipientsOf(message)
    const sessions = yield* Effect.flatMap(sessionsOf(people), Effect.forEach(keyOf))
    if (sessions.length === 0)
      return yield* notEncrypted(`${people.join(", ") || "nobody"} has no app that could read it`)
    if (sessions.length > Cipher.maximumSessions) {
      return yield* notEncrypted(`${sessions.length} apps would read it, and Mixin allows ${Cipher.maximumSessions}`)
    }
    const payload = Option.getOrThrow(Base64.decode(message["data_base64"] as string))
    const sealed = yield* Effect.mapError(Cipher.seal(payload, own, sessions), ({ sessionId }) =>
      notEncrypted(`the key of the session ${sessionId} is none`)
    )
    const encrypted = {
      ...message,
      category: (message["category"] as string).replace("PLAIN_", "ENCRYPTED_"),
      data_base64: Base64.encode(sealed),
      checksum: yield* Cipher.checksum(sessions.map(({ sessionId }) => sessionId)),
      recipient_sessions: sessions.map(({ sessionId }) => ({ session_id: sessionId }))
    }
    if (JSON.stringify(encrypted).length > maximumBytes) {
      return yield* BlazeError.make(
        new BlazeError.InvalidContent({
          field: "the content",
          expected: `at most ${Outgoing.maximumRequestSize / 1024} KiB as sent, encrypted for ${sessions.length} apps`
        })
      )
    }
    return encrypted
  })
  return (message: Params) => Effect.provideContext(encrypt(message), services)
})

/** The brackets of an array are part of a request. */
const maximumBytes = Outgoing.maximumRequestSize - 2

/** As many together as one request may have. */
const requestsOf = (messages: ReadonlyArray<Params>): ReadonlyArray<ReadonlyArray<Params>> => {
  const requests: Array<Array<Params>> = []
  let size = Infinity
  for (const message of messages) {
    const own = JSON.stringify(message).length + 1
    if (size + own > maximumBytes || requests.at(-1)!.length === Endpoint.maximumMessages) {
      requests.push([])
      size = 0
    }
    requests.at(-1)!.push(message)
    size += own
  }
  return requests
}

const isState =
  (...codes: ReadonlyArray<number>) =>
  ({ reason }: BlazeError.BlazeError) =>
    reason._tag === "ApiFailure" && codes.includes(reason.code)

/**
 * Sends encrypted: what the server refuses, because it has other sessions of somebody than were known, is encrypted for those and sent once
 * more.
 */
const makeSend = Effect.fnUntraced(function* (own: Cipher.Session, settings: Settings.Checked) {
  const api = yield* MixinApi.MixinApi
  const recipients = yield* makeRecipients
  const sessions = yield* Sessions.make
  const encrypt = yield* makeEncrypt(own, recipients.of, sessions.of)

  const sendPlain = (messages: ReadonlyArray<Params>) =>
    messages.length === 0 ? Effect.void : api.request(Endpoint.messages, { payload: messages })

  /** Sends what can be encrypted so; what cannot in plain, if it may. */
  const attempt = Effect.fnUntraced(function* (messages: ReadonlyArray<Params>) {
    const plain: Array<Params> = []
    const encrypted: Array<Params> = []
    for (const message of messages) {
      const made = yield* Effect.result(encrypt(message))
      if (Result.isSuccess(made)) encrypted.push(made.success)
      else if (made.failure.reason._tag === "NotEncrypted" && !settings.encryptionRequired) plain.push(message)
      else return yield* made.failure
    }
    const states = yield* Effect.forEach(requestsOf(encrypted), (payload) =>
      api.request(Endpoint.encryptedMessages, { payload })
    )
    yield* sendPlain(plain)
    return states.flat().filter(({ state }) => state === "FAILED")
  })

  const forget = (message: Params) =>
    Effect.andThen(
      Effect.flatMap(recipients.of(message), Effect.forEach(sessions.forget, { discard: true })),
      recipients.forget(message)
    )

  const refresh = (messages: ReadonlyArray<Params>, states: ReadonlyArray<typeof Endpoint.EncryptedState.Type>) =>
    Effect.forEach(
      messages,
      (message) => {
        const state = states.find(({ message_id }) => message_id === message["message_id"])
        const recipient = message["recipient_id"] as Ids.UserId | undefined
        return state?.sessions === undefined || recipient === undefined
          ? forget(message)
          : sessions.set(
              recipient,
              state.sessions.map((session) => ({ ...session, user_id: recipient }))
            )
      },
      { discard: true }
    )

  return Effect.fnUntraced(function* (messages: ReadonlyArray<Params>): Effect.fn.Return<void, BlazeError.BlazeError> {
    const first = yield* Effect.result(attempt(messages))
    if (Result.isFailure(first) && !isState(checksumInvalid)(first.failure)) return yield* first.failure
    const states = Result.getOrElse(first, () => [])
    const failed = Result.isFailure(first)
      ? messages
      : messages.filter(({ message_id }) => states.some((state) => state.message_id === message_id))
    if (failed.length === 0) return
    yield* refresh(failed, states)
    const again = yield* attempt(failed)
    if (again.length === 0) return
    const still = failed.filter(({ message_id }) => again.some((state) => state.message_id === message_id))
    if (settings.encryptionRequired) return yield* notEncrypted("Mixin says that its recipients have other apps by now")
    yield* sendPlain(still)
  })
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Encryption,
  BlazeError.BlazeError,
  | Signer.Signer
  | MixinApi.MixinApi
  | Conversations.Conversations
  | Cipher.Ciphers
  | SecureRandom.SecureRandom
  | Digest.Digest
> = Effect.gen(function* () {
  const { session } = yield* Signer.Signer
  const settings = yield* Settings.checked
  const { encryption } = settings
  if (session === undefined) {
    if (encryption === "Always") {
      return yield* BlazeError.make(
        new BlazeError.InvalidSetting({
          setting: "option",
          field: "Settings.encryption",
          expected: `InKind or Never, for ${rsa}`
        })
      )
    }
    return { applies: () => false, send: () => Effect.fail(notEncrypted(rsa)) }
  }
  return {
    applies: (category, answered) =>
      category.startsWith("PLAIN_") &&
      (encryption === "Always" || (encryption === "InKind" && answered?.isEncrypted === true)),
    send: yield* makeSend(session, settings)
  }
})
