/**
 * How messages leave.
 *
 * Guarantee: what is sent keeps its id over every try, so that the server keeps one; an answer has the same id in every run of its
 * handler; nothing leaves beyond the quota, and nothing that breaks a rule of Mixin leaves at all.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as BlazeError from "../BlazeError.ts"
import type * as Cipher from "./Cipher.ts"
import * as Connection from "./Connection.ts"
import * as Encryption from "./Encryption.ts"
import * as Uploads from "./Uploads.ts"
import * as Delivery from "../Delivery.ts"
import * as Handling from "./Handling.ts"
import * as Envelope from "../Envelope.ts"
import * as Ids from "../Ids.ts"
import * as Branded from "./Branded.ts"
import * as Recent from "./Recent.ts"
import * as Halving from "./Halving.ts"
import * as Together from "./Together.ts"
import * as Retrying from "./Retrying.ts"
import * as Uuid from "./Uuid.ts"
import type * as Message from "../Message.ts"
import * as Outgoing from "../Outgoing.ts"
import type * as Attachments from "../Attachments.ts"
import * as Conversations from "../Conversations.ts"
import * as Endpoint from "../Endpoint.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Quota from "../Quota.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * The port to the way a message travels.
 *
 * @category services
 * @since 0.1.0
 */
export class Transport extends Context.Service<
  Transport,
  {
    /** Waits until something can be sent. */
    readonly ready: Effect.Effect<void, BlazeError.BlazeError>
    /** Sends the params of a `CREATE_MESSAGE`, or fails at once when nothing can be sent now. `further` takes a place for each further time. */
    readonly sendNow: (
      kind: Quota.Kind,
      params: unknown,
      further: Effect.Effect<void, BlazeError.BlazeError>
    ) => Effect.Effect<unknown, BlazeError.BlazeError>
  }
>()("effect-blaze/Sending/Transport") {}

/**
 * Over the socket.
 *
 * @category constructors
 * @since 0.1.0
 */
export const overSocket: Effect.Effect<Transport["Service"], never, Connection.Connection> = Effect.map(
  Connection.Connection,
  ({ session, sessionNow }) => ({
    ready: Effect.asVoid(session),
    // Not the session that was waited for: the connection may have been made anew since then.
    sendNow: (_, params) => Effect.flatMap(sessionNow, ({ request }) => request(Envelope.Action.createMessage, params))
  })
)

/** How many requests with messages of a kind are out at once. */
const requestsAtOnce = 4

type Params = Readonly<Record<string, unknown>>

/**
 * Over REST: what is sent while other requests are out goes together in the next one. There is nothing to wait for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const overRest: Effect.Effect<Transport["Service"], never, MixinApi.MixinApi> = Effect.gen(function* () {
  const { request } = yield* MixinApi.MixinApi
  const makeSend = Together.make<Params, BlazeError.BlazeError>({
    send: (payload) => request(Endpoint.messages, { payload }),
    // Mixin takes all of a request or refuses all.
    isOfOne: (error) => !error.isRetryable && !error.isFatal,
    mayBeOfOne: Halving.mayBeOfOne,
    atOnce: requestsAtOnce,
    maximum: Endpoint.maximumMessages,
    maximumWeight: maximumRequest,
    weight: maximumSizeOf
  })
  // Answers wait for no announcements.
  const ways: Readonly<Record<Quota.Kind, Effect.Success<typeof makeSend>>> = {
    answer: yield* makeSend,
    announcement: yield* makeSend
  }
  return {
    ready: Effect.void,
    sendNow: (kind, params, further) =>
      Predicate.isReadonlyObject(params) ? ways[kind](params, further) : Effect.fail(noParams)
  }
})

const noParams = BlazeError.make(
  new BlazeError.InvalidContent({ field: `the params of ${Envelope.Action.createMessage}`, expected: "an object" })
)

/** More characters than a message has as JSON besides its data. */
const maximumEnvelope = 512

const maximumRequest = Outgoing.maximumRequestSize - 1024

const maximumSizeOf = ({ data_base64 }: Params) => String(data_base64).length + maximumEnvelope

/**
 * One message of several.
 *
 * @category models
 * @since 0.1.0
 */
interface BatchMessage {
  readonly to: Delivery.Recipient
  readonly content: Outgoing.Content
  readonly id: Ids.MessageId
}

/**
 * @category services
 * @since 0.1.0
 */
export class Sending extends Context.Service<
  Sending,
  {
    /** Sends, and waits until the server has it; tells the id that it has before. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      id: Ids.MessageId | undefined,
      begin?: (id: Ids.MessageId) => void
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /** Sends with an id that is derived from the message, the recipient and the content or key. */
    readonly answer: (
      message: Message.Message,
      to: Delivery.Recipient,
      content: Outgoing.Content,
      options: Delivery.AnswerOptions | undefined
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /** The id that it has on the server, where it is sent with one or with none. */
    readonly idOf: (content: Outgoing.Content, id: Ids.MessageId | undefined) => Effect.Effect<Ids.MessageId>
    /** What is sent of it later, under the id that it has on the server: its file is uploaded, and what breaks a limit fails. */
    readonly prepare: (
      content: Outgoing.Content,
      id: Ids.MessageId
    ) => Effect.Effect<Outgoing.Outgoing, BlazeError.BlazeError>
    /** Sends several over REST, in one request that Mixin takes or refuses whole. */
    readonly sendBatch: (
      messages: ReadonlyArray<BatchMessage>
    ) => Effect.Effect<ReadonlyArray<Ids.MessageId>, BlazeError.BlazeError>
    /** How many messages that takes. */
    readonly maximumBatch: number
    /** Sends params as they are, once; gives the `data` of the answer. */
    readonly post: (kind: Quota.Kind, params: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
    /** The conversation that a message to somebody goes to. */
    readonly conversationOf: (to: Delivery.Recipient) => Effect.Effect<Ids.ConversationId>
    /** An id that follows from the bot and some texts. */
    readonly deriveFor: (...parts: ReadonlyArray<string>) => Effect.Effect<Ids.MessageId>
    /** Whether it was sent to a group, as far as is remembered. */
    readonly hasSent: (id: Ids.MessageId) => boolean
    /** A UUID for a side effect of a message, the same in every run. */
    readonly derive: (message: Message.Message, name: string) => Effect.Effect<Ids.MessageId>
  }
>()("effect-blaze/Sending") {}
type Service = Sending["Service"]

/** How many of the messages that went to groups are remembered. */
const maximumSent = 10_000

/** Where messages of a bot go. */
const makeAddresses = (userId: Ids.UserId, digest: Digest.Digest["Service"]) => {
  const contactOf = (user: Ids.UserId) =>
    Effect.mapEager(Uuid.fold(digest, userId, Ids.toLowerCase(user)), Branded.conversationId)
  return {
    conversationOf: (to: Delivery.Recipient): Effect.Effect<Ids.ConversationId> =>
      "conversation" in to
        ? Effect.succeed(Branded.conversationId(Ids.toLowerCase(to.conversation)))
        : contactOf(to.user),
    /** Whom an answer goes to, where that is one: the sender, and nobody whom a message was sent for. */
    recipientOf: (message: Message.Message, to: Delivery.Recipient): Effect.Effect<Ids.UserId | undefined> => {
      if ("user" in to) return Effect.succeed(to.user)
      const { user_id } = message.view
      if (!user_id || to.conversation !== message.conversationId) return Effect.undefined
      const sender = Branded.userId(user_id)
      return Effect.map(contactOf(sender), (contact) => (contact === to.conversation ? sender : undefined))
    }
  }
}

const userOf = (to: Delivery.Recipient) => ("user" in to ? to.user : undefined)

const tooLarge = (maximum: number) =>
  BlazeError.make(
    new BlazeError.InvalidContent({
      field: "the batch",
      expected: `at most ${maximum} messages, of ${Outgoing.maximumRequestSize / 1024} KiB together`
    })
  )

const isTooLarge = (payload: ReadonlyArray<Params>) => {
  const atMost = payload.reduce((sum, params) => sum + maximumSizeOf(params), 0)
  // Written twice only where it may matter.
  return atMost > maximumRequest && JSON.stringify(payload).length > maximumRequest
}

/** Before something is sent, tells once of each doubt that there may be about it. */
const makeDoubted = () => {
  const told = new Set<string>()
  return <A, E>(outgoing: Outgoing.Outgoing, sent: Effect.Effect<A, E>): Effect.Effect<A, E> => {
    // Plain text, which nearly everything is, has one length, and no doubt about it.
    if (outgoing.lengths.length < 2) return sent
    const doubts = Outgoing.doubts(outgoing).filter((doubt) => !told.has(doubt))
    for (const doubt of doubts) told.add(doubt)
    return Effect.andThen(
      Effect.forEach(doubts, (doubt) => Effect.logWarning(`In what is sent, ${doubt}.`), { discard: true }),
      sent
    )
  }
}

/** Several messages in one request, and again until Mixin has said what comes of them. */
const makeSendBatch = Effect.fnUntraced(function* (
  conversationOf: Service["conversationOf"],
  derive: (parts: ReadonlyArray<string>) => Effect.Effect<Ids.MessageId>,
  { doubted, encryption, metered, settings, uploads }: Parts
) {
  const { counted, further, maximumBatch, withinQuota } = metered
  const api = yield* MixinApi.MixinApi
  const { userId: botId } = yield* Signer.Signer

  // A hundred at a time: where nothing has to be waited for, nothing is.
  const paramsOf = ({ content, id, to }: BatchMessage) => {
    const outgoing = Outgoing.fromContent(content)
    const { category, file, part } = outgoing
    return Effect.flatMapEager(conversationOf(to), (conversationId) =>
      Effect.flatMapEager(partId(id, part, derive), (messageId) => {
        const address = { botId, conversationId, messageId, recipientId: userOf(to) }
        const params = (filled: Outgoing.Outgoing) => Effect.fromResult(Outgoing.toParams(filled, address, settings))
        return doubted(
          outgoing,
          file === undefined
            ? params(outgoing)
            : Effect.flatMap(uploads.fill(outgoing, file, messageId, encryption.applies(category, undefined)), params)
        )
      })
    )
  }

  return Effect.fnUntraced(function* (
    messages: ReadonlyArray<BatchMessage>
  ): Effect.fn.Return<ReadonlyArray<Ids.MessageId>, BlazeError.BlazeError> {
    if (messages.length > maximumBatch) return yield* tooLarge(maximumBatch)
    const payload = yield* Effect.forEach(messages, paramsOf)
    if (isTooLarge(payload)) return yield* tooLarge(maximumBatch)
    const isEncrypted = payload.some(({ category }) => encryption.applies(String(category), undefined))
    const attempt = counted(
      messages.length,
      withinQuota("announcement", messages.length, () =>
        isEncrypted ? encryption.send(payload, further("announcement")) : api.request(Endpoint.messages, { payload })
      )
    )
    const isRepresented = payload.some(({ representative_id }) => representative_id !== undefined)
    yield* permitted(isRepresented, Retrying.retried(attempt, settings.sendRetry))
    return payload.map(({ message_id }) => Branded.messageId(String(message_id)))
  })
})

/** What makes one answer to a message another than the next: its key, or what is in it and in whose name. */
const saidIn = (
  { category, dataBase64, part, representativeId }: Outgoing.Outgoing,
  key: string | undefined,
  content: ReadonlyArray<string> = [category, dataBase64]
): ReadonlyArray<string> => [
  ...(key === undefined ? content : ["key", key]),
  ...(key === undefined && representativeId !== undefined ? [`for ${representativeId}`] : []),
  ...(part > 0 ? [`part ${part}`] : [])
]

/** Names the permission that a refusal may be for the want of. */
const permitted = <A>(
  isRepresented: boolean,
  sent: Effect.Effect<A, BlazeError.BlazeError>
): Effect.Effect<A, BlazeError.BlazeError> =>
  isRepresented ? Effect.mapError(sent, (error) => BlazeError.needing(error, "MESSAGES:REPRESENT")) : sent

/** An id of the program's own is that of the first part; the others follow from it. */
const partId = (
  id: Ids.MessageId,
  part: number,
  derive: (parts: ReadonlyArray<string>) => Effect.Effect<Ids.MessageId>
): Effect.Effect<Ids.MessageId> => (part > 1 ? derive(["part", id, String(part)]) : Effect.succeed(id))

/** Takes a place in the quota for so many messages, and counts what comes of sending them. */
const makeMetered = Effect.gen(function* () {
  const quota = yield* Quota.Quota
  const meter = yield* Meter.Meter
  const { userId } = yield* Signer.Signer
  const { sends, sendWaits } = Telemetry.metrics
  const take = (kind: Quota.Kind, count: number) =>
    Effect.map(quota.take(userId, kind, count), (waited) => {
      if (waited) meter.measure(sendWaits, 1)
    })
  return {
    /** For what is sent once more. */
    further: (kind: Quota.Kind) => (count: number) => take(kind, count),
    maximumBatch: Math.min(Endpoint.maximumMessages, quota.maximumBatch),
    withinQuota: <A>(
      kind: Quota.Kind,
      count: number,
      send: () => Effect.Effect<A, BlazeError.BlazeError>
    ): Effect.Effect<A, BlazeError.BlazeError> => Effect.flatMap(take(kind, count), send),
    counted: <A>(
      count: number,
      sent: Effect.Effect<A, BlazeError.BlazeError>
    ): Effect.Effect<A, BlazeError.BlazeError> =>
      Effect.onExit(sent, (exit) => {
        meter.measure(sends, count, exit._tag)
        return Effect.void
      })
  }
})

/** What both ways of sending take. */
const makeParts = Effect.gen(function* () {
  return {
    metered: yield* makeMetered,
    settings: yield* Settings.checked,
    encryption: yield* Encryption.make,
    uploads: yield* Uploads.make,
    doubted: makeDoubted()
  }
})
type Parts = Effect.Success<typeof makeParts>

/** Sends one message, and again until the server has said what comes of it. */
const makeSendTo = Effect.fnUntraced(function* (
  post: Service["post"],
  ready: Transport["Service"]["ready"],
  { doubted, encryption, metered, settings, uploads }: Parts,
  said: Recent.Recent<Ids.MessageId>
) {
  const { userId } = yield* Signer.Signer
  const { createContact, hasMet } = yield* Conversations.Conversations
  const observer = yield* Handling.Observer

  const sendTo = (
    kind: Quota.Kind,
    to: Delivery.Recipient,
    conversationId: Ids.ConversationId,
    recipientId: Ids.UserId | undefined,
    content: Outgoing.Outgoing,
    messageId: Ids.MessageId,
    answered?: Message.Message
  ): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> => {
    const answeredHere = answered?.conversationId === conversationId ? answered : undefined
    const isEncrypted = encryption.applies(content.category, answeredHere)
    if (content.file !== undefined) {
      return Effect.flatMap(uploads.fill(content, content.file, messageId, isEncrypted), (filled) =>
        sendTo(kind, to, conversationId, recipientId, filled, messageId, answered)
      )
    }
    const params = Outgoing.toParams(content, { botId: userId, conversationId, messageId, recipientId }, settings)
    if (Result.isFailure(params)) return Effect.fail(params.failure)
    if (recipientId === undefined) said.add(messageId)
    const attempt = isEncrypted
      ? Effect.andThen(
          ready,
          metered.withinQuota(kind, 1, () => encryption.send([params.success], metered.further(kind)))
        )
      : post(kind, params.success)
    const retried = permitted(
      content.representativeId !== undefined,
      Retrying.retried(metered.counted(1, attempt), settings.sendRetry)
    )
    // Mixin takes nothing for a conversation that is not there, and one with a person is not until somebody has made it.
    const isThere = "conversation" in to || answeredHere !== undefined || hasMet(conversationId)
    const sent = Effect.as(isThere ? retried : Effect.andThen(createContact(to.user), retried), messageId)
    const told = doubted(content, sent)
    return observer === undefined ? told : Effect.andThen(observer.sending(messageId, answered?.id), told)
  }
  return sendTo
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Service,
  BlazeError.BlazeError,
  | Transport
  | Quota.Quota
  | Signer.Signer
  | Meter.Meter
  | Conversations.Conversations
  | Attachments.Attachments
  | MixinApi.MixinApi
  | Cipher.Ciphers
  | Digest.Digest
  | SecureRandom.SecureRandom
> = Effect.gen(function* () {
  const { ready, sendNow } = yield* Transport
  const { userId } = yield* Signer.Signer
  const parts = yield* makeParts
  const newId = Effect.map(yield* Uuid.makeRandom, Branded.messageId)
  const digest = yield* Digest.Digest
  const derive = (parts: ReadonlyArray<string>) => Effect.mapEager(Uuid.derive(digest, parts), Branded.messageId)
  const { encryption, metered, settings, uploads } = parts
  const { conversationOf, recipientOf } = makeAddresses(userId, digest)
  const said = Recent.make<Ids.MessageId>(maximumSent)

  // In this order: what waits for a connection must not use the quota of one minute and be sent in another.
  const post: Service["post"] = (kind, params) =>
    Effect.andThen(
      ready,
      metered.withinQuota(kind, 1, () => sendNow(kind, params, metered.further(kind)(1)))
    )

  const sendTo = yield* makeSendTo(post, ready, parts, said)
  const idOf = ({ part }: Outgoing.Outgoing, id: Ids.MessageId | undefined) =>
    id === undefined ? newId : partId(id, part, derive)

  return {
    post,
    conversationOf,
    sendBatch: yield* makeSendBatch(conversationOf, derive, parts),
    maximumBatch: metered.maximumBatch,
    send: (to, content, id, begin) => {
      const outgoing = Outgoing.fromContent(content)
      return Effect.flatMap(idOf(outgoing, id), (id) => {
        begin?.(id)
        return Effect.flatMap(conversationOf(to), (conversationId) =>
          sendTo("announcement", to, conversationId, userOf(to), outgoing, id)
        )
      })
    },
    answer: (message, to, content, options) =>
      Effect.suspend(() => {
        const outgoing = Outgoing.fromContent(content)
        const { file } = outgoing
        const idFor = (conversationId: Ids.ConversationId, said: ReadonlyArray<string>) =>
          options?.id === undefined
            ? derive(["answer", message.id, conversationId, ...said])
            : partId(options.id, outgoing.part, derive)
        const saying = (said: ReadonlyArray<string>) =>
          Effect.flatMap(conversationOf(to), (conversationId) =>
            Effect.flatMap(idFor(conversationId, said), (id) =>
              Effect.flatMap(recipientOf(message, to), (recipientId) =>
                sendTo("answer", to, conversationId, recipientId, outgoing, id, message)
              )
            )
          )
        if (file === undefined) return saying(saidIn(outgoing, options?.key))
        if (options?.key === undefined && options?.id === undefined) {
          return Effect.flatMap(uploads.identify(outgoing, file), (identity) =>
            saying(saidIn(outgoing, undefined, identity))
          )
        }
        uploads.keyed(file)
        return saying(saidIn(outgoing, options.key))
      }),
    idOf: (content, id) => idOf(Outgoing.fromContent(content), id),
    prepare: Effect.fnUntraced(function* (content, messageId) {
      const outgoing = Outgoing.fromContent(content)
      const { category, file } = outgoing
      const filled =
        file === undefined
          ? outgoing
          : yield* uploads.fill(outgoing, file, messageId, encryption.applies(category, undefined))
      const nowhere = { botId: userId, conversationId: Branded.conversationId(""), messageId }
      yield* Effect.fromResult(Outgoing.toParams(filled, nowhere, settings))
      return yield* parts.doubted(filled, Effect.succeed(filled))
    }),
    hasSent: said.has,
    deriveFor: (...parts) => derive(["bot", userId, ...parts]),
    derive: (message, name) => derive(["derive", message.id, name])
  }
})
