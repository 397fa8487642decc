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
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Base64 from "../Base64.ts"
import * as BlazeError from "../BlazeError.ts"
import * as Conversations from "../Conversations.ts"
import * as Endpoint from "../Endpoint.ts"
import * as Ids from "../Ids.ts"
import * as Message from "../Message.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Outgoing from "../Outgoing.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as Branded from "./Branded.ts"
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
  const { decode } = yield* Base64.Decoder
  const ciphers = yield* Effect.context<Cipher.Ciphers>()
  let isTold = false
  const tell = Effect.suspend(() => {
    if (isTold) return Effect.void
    isTold = true
    return Effect.logWarning(`Messages to this bot are encrypted, and ${rsa}.`)
  })
  const read = ({ view }: Message.Message, own: Cipher.Session): Effect.Effect<Uint8Array, string> =>
    Option.match(
      Option.orElse(decode(view.data_base64 || view.data || ""), () => decode(view.data ?? "")),
      {
        onNone: () => Effect.fail("it is not base64"),
        onSome: (sealed) => Effect.provideContext(Cipher.open(sealed, own), ciphers)
      }
    )
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
  /**
   * Sends messages in their order, of a request each or together: encrypted, but for those of which Mixin has no encrypted form. `further`
   * takes a place in the quota for so many that are sent once more.
   */
  readonly send: (
    messages: ReadonlyArray<Params>,
    further: (count: number) => Effect.Effect<void, BlazeError.BlazeError>
  ) => Effect.Effect<void, BlazeError.BlazeError>
}

const checksumInvalid = 20140

const notEncrypted = (problem: string) => BlazeError.make(new BlazeError.NotEncrypted({ problem }))

const isEncryptable = (category: unknown) => typeof category === "string" && category.startsWith("PLAIN_")

const recipientOf = ({ recipient_id }: Params): Ids.UserId | undefined =>
  typeof recipient_id === "string" ? Branded.userId(Ids.toLowerCase(recipient_id)) : undefined

/** Whom a message is for, besides the bot. */
const makeRecipients = Effect.gen(function* () {
  const { userId } = yield* Signer.Signer
  const conversations = yield* Conversations.Conversations
  return {
    of: (message: Params): Effect.Effect<ReadonlyArray<Ids.UserId>, BlazeError.BlazeError> => {
      const recipient = recipientOf(message)
      if (recipient !== undefined) return Effect.succeed([recipient])
      return Effect.flatMap(
        conversations.get(message["conversation_id"] as Ids.ConversationId),
        Option.match({
          onNone: () => Effect.fail(notEncrypted("who is in the conversation is not known")),
          onSome: ({ members }) =>
            Effect.succeed(Arr.dedupe(members.map((member) => member.userId)).filter((id) => id !== userId))
        })
      )
    },
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
const makeEncrypt = Effect.fnUntraced(function* (own: Cipher.Session) {
  const services = yield* Effect.context<Cipher.Ciphers | SecureRandom.SecureRandom | Digest.Digest>()
  const encrypt = Effect.fnUntraced(function* (
    message: Params,
    shown: ReadonlyArray<Endpoint.Session>
  ): Effect.fn.Return<Params, BlazeError.BlazeError, Cipher.Ciphers | SecureRandom.SecureRandom | Digest.Digest> {
    const sessions = yield* Effect.forEach(shown, keyOf)
    if (sessions.length === 0) return yield* notEncrypted("nobody has an app that could read it")
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
      const limit = `${Outgoing.maximumRequestSize / 1024} KiB`
      return yield* notEncrypted(`it has more than ${limit} as sent, encrypted for ${sessions.length} apps`)
    }
    return encrypted
  })
  return (message: Params, sessions: ReadonlyArray<Endpoint.Session>) =>
    Effect.provideContext(encrypt(message, sessions), services)
})

/** The brackets of an array are part of a request. */
const maximumBytes = Outgoing.maximumRequestSize - 2

/** A message as it leaves. */
interface Prepared {
  readonly message: Params
  readonly params: Params
  readonly isEncrypted: boolean
}

const plain = (message: Params): Prepared => ({ message, params: message, isEncrypted: false })

/** In their order, as many together as one request may have: what is encrypted and what is not go to different places. */
const requestsOf = (messages: ReadonlyArray<Prepared>): ReadonlyArray<ReadonlyArray<Prepared>> => {
  const requests: Array<Array<Prepared>> = []
  let size = 0
  for (const prepared of messages) {
    const own = JSON.stringify(prepared.params).length + 1
    const last = requests.at(-1)
    if (
      last !== undefined &&
      last[0]!.isEncrypted === prepared.isEncrypted &&
      last.length < Endpoint.maximumMessages &&
      size + own <= maximumBytes
    ) {
      last.push(prepared)
      size += own
    } else {
      requests.push([prepared])
      size = own
    }
  }
  return requests
}

/** A message that the server has not taken, since it has other sessions of somebody; which ones, where it says so. */
interface Outdated {
  readonly message: Params
  readonly sessions: ReadonlyArray<Endpoint.Session> | undefined
}

const isChecksumInvalid = ({ reason }: BlazeError.BlazeError) =>
  reason._tag === "ApiFailure" && reason.code === checksumInvalid

/** Sends one request, and tells which of it the server has not taken. */
const makePost = Effect.map(MixinApi.MixinApi, (api) =>
  Effect.fnUntraced(function* (
    request: ReadonlyArray<Prepared>
  ): Effect.fn.Return<ReadonlyArray<Outdated>, BlazeError.BlazeError> {
    const payload = request.map(({ params }) => params)
    if (!request[0]!.isEncrypted) {
      yield* api.request(Endpoint.messages, { payload })
      return []
    }
    const answer = yield* Effect.result(api.request(Endpoint.encryptedMessages, { payload }))
    if (Result.isFailure(answer)) {
      if (!isChecksumInvalid(answer.failure)) return yield* answer.failure
      return request.map(({ message }) => ({ message, sessions: undefined }))
    }
    const failed = new Map(
      answer.success.filter(({ state }) => state === "FAILED").map(({ message_id, sessions }) => [message_id, sessions])
    )
    return request.flatMap(({ message }) => {
      const id = message["message_id"] as string
      return failed.has(id) ? [{ message, sessions: failed.get(id) }] : []
    })
  })
)

/**
 * Sends encrypted: what the server refuses, because it has other sessions of somebody than were known, is encrypted for those and sent once
 * more.
 */
const makeSend = Effect.fnUntraced(function* (own: Cipher.Session, { encryptionRequired }: Settings.Checked) {
  const recipients = yield* makeRecipients
  const sessions = yield* Sessions.make
  const encrypt = yield* makeEncrypt(own)
  const post = yield* makePost

  const prepare = (
    message: Params
  ): Effect.Effect<() => Effect.Effect<Prepared, BlazeError.BlazeError>, BlazeError.BlazeError> => {
    if (!isEncryptable(message["category"])) return Effect.succeed(() => Effect.succeed(plain(message)))
    return Effect.map(Effect.result(Effect.flatMap(recipients.of(message), sessions.of)), (known) => () => {
      const encrypted = Effect.map(
        Effect.flatMap(Effect.fromResult(known), (sessions) => encrypt(message, sessions)),
        (params): Prepared => ({ message, params, isEncrypted: true })
      )
      return Effect.catchIf(
        encrypted,
        ({ reason }) => reason._tag === "NotEncrypted" && !encryptionRequired,
        () => Effect.succeed(plain(message))
      )
    })
  }

  /** Nothing is sent before all of it is ready to be. */
  const sendAll = Effect.fnUntraced(function* (messages: ReadonlyArray<Params>) {
    // Those whom several are for are asked for together.
    const ready = yield* Effect.forEach(messages, prepare, { concurrency: "unbounded" })
    const prepared = yield* Effect.forEach(ready, (encrypted) => encrypted())
    return (yield* Effect.forEach(requestsOf(prepared), post)).flat()
  })

  const refresh = ({ message, sessions: current = [] }: Outdated) => {
    const recipient = recipientOf(message)
    if (recipient !== undefined && current.length > 0) {
      return sessions.set(
        recipient,
        current.map((session) => ({ ...session, user_id: recipient }))
      )
    }
    // In this order: who has come into it meanwhile may have been known before.
    return Effect.andThen(
      recipients.forget(message),
      Effect.flatMap(recipients.of(message), Effect.forEach(sessions.forget, { discard: true }))
    )
  }

  const send: Encryption["send"] = Effect.fnUntraced(function* (messages, further) {
    const outdated = yield* sendAll(messages)
    if (outdated.length === 0) return
    yield* Effect.forEach(outdated, refresh, { concurrency: "unbounded", discard: true })
    yield* further(outdated.length)
    const still = yield* sendAll(outdated.map(({ message }) => message))
    if (still.length === 0) return
    if (encryptionRequired) return yield* notEncrypted("Mixin says that its recipients have other apps by now")
    yield* further(still.length)
    yield* Effect.forEach(requestsOf(still.map(({ message }) => plain(message))), post, { discard: true })
  })
  return send
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
      isEncryptable(category) &&
      (encryption === "Always" || (encryption === "InKind" && answered?.isEncrypted === true)),
    send: yield* makeSend(session, settings)
  }
})
