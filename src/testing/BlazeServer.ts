/**
 * A Blaze server of one's own: people, bots, conversations, pending messages and receipts, over the Clock of the program.
 *
 * Guarantee: it keeps the rules that the real one documents: nothing is pushed before `LIST_PENDING_MESSAGES`, what is not
 * acknowledged comes back for 7 days, the first of equal message ids counts. It has two faces: `BlazeTest` in memory and
 * `LocalServer` on loopback.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Signature from "effect/crypto/Signature"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Layer from "effect/Layer"
import * as MutableList from "effect/MutableList"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Base64 from "../Base64.ts"
import * as Envelope from "../Envelope.ts"
import * as Gzip from "../Gzip.ts"
import * as Ids from "../Ids.ts"
import type * as MixinApi from "../MixinApi.ts"

/**
 * Something that goes wrong once, or as often as `inject` is told.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault =
  /** The upgrade is answered with a status. */
  | { readonly _tag: "RefuseHandshake"; readonly status: number }
  /** The upgrade succeeds, and an `ERROR` frame is all that follows. */
  | { readonly _tag: "ErrorFrame"; readonly code: number }
  /** The connection ends right after the upgrade, without a close frame. */
  | { readonly _tag: "DropConnection" }
  /** A request of this action (any, when left out) is answered with an error. */
  | { readonly _tag: "FailRequest"; readonly action?: string | undefined; readonly code: number }
  /** A request of this action (any, when left out) is not answered. */
  | { readonly _tag: "IgnoreRequest"; readonly action?: string | undefined }
  /** An answer comes late. */
  | { readonly _tag: "DelayAnswer"; readonly by: Duration.Input }
  /** A pushed message comes twice. */
  | { readonly _tag: "DuplicatePush" }
  /** A pushed message comes as a damaged frame. */
  | { readonly _tag: "CorruptPush" }
  /** A REST request is answered with this status and body. */
  | { readonly _tag: "FailRest"; readonly status: number; readonly body: string }

/**
 * What happened, as it happens.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Disconnected"; readonly code: number }
  | { readonly _tag: "Refused"; readonly status: number }
  | { readonly _tag: "Said"; readonly by: string; readonly text: string; readonly messageId: Ids.MessageId }
  | { readonly _tag: "Replied"; readonly to: string; readonly text: string; readonly messageId: Ids.MessageId }
  | { readonly _tag: "Receipt"; readonly messageId: Ids.MessageId; readonly status: "DELIVERED" | "READ" }
  | { readonly _tag: "Acknowledged"; readonly messageIds: ReadonlyArray<Ids.MessageId> }

/**
 * A message that a bot sent, as the server took it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent {
  readonly messageId: Ids.MessageId
  readonly conversationId: Ids.ConversationId
  readonly category: string
  /** The payload as text. */
  readonly text: string
  readonly quotedMessageId: Option.Option<string>
  /** How often a request with this id arrived. */
  readonly attempts: number
}

/**
 * A bot, as the server knows it, and what the server has seen of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface BotAccount {
  readonly userId: Ids.UserId
  readonly sessionId: string
  readonly publicKey: Signature.PublicKey
  /** The keystore in JSON, of the shape that the dashboard gives today. */
  readonly keystore: string
  /** What the bot sent, without the repetitions. */
  readonly sent: Effect.Effect<ReadonlyArray<Sent>>
  /** The message ids of every acknowledgement request, in the order they came. */
  readonly acknowledged: Effect.Effect<ReadonlyArray<ReadonlyArray<Ids.MessageId>>>
  /** What waits for an acknowledgement. */
  readonly pending: Effect.Effect<ReadonlyArray<Ids.MessageId>>
  /** How many upgrades were asked for, whether granted or not. */
  readonly handshakes: Effect.Effect<number>
  /** The close codes of the connections that ended; 1006 is one without a close frame. */
  readonly closeCodes: Effect.Effect<ReadonlyArray<number>>
  /** How many connections are open. */
  readonly connections: Effect.Effect<number>
  /** The actions of the requests of every connection, in order. */
  readonly requests: Effect.Effect<ReadonlyArray<ReadonlyArray<string>>>
  /** Ends every connection without a close frame. */
  readonly cut: Effect.Effect<void>
  /** Ends every connection with a close frame. */
  readonly close: (code: number, reason?: string) => Effect.Effect<void>
  /** Sends raw bytes, or a text frame, on every connection. */
  readonly push: (frame: Uint8Array | string) => Effect.Effect<void>
}

/**
 * A person with a phone: it takes what the bot sends at once, and the person reads when asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Person {
  readonly name: string
  readonly userId: Ids.UserId
  /** The conversation with the bot. */
  readonly conversationId: Ids.ConversationId
  /** Writes text, to the bot or in a group. */
  readonly say: (text: string, conversation?: Ids.ConversationId) => Effect.Effect<Ids.MessageId>
  /** Sends any category with any payload. */
  readonly send: (
    category: string,
    payload: string | Uint8Array,
    conversation?: Ids.ConversationId
  ) => Effect.Effect<Ids.MessageId>
  /** Adds the bot to the contacts, whereupon the system greets it with "你好" in the person's name. */
  readonly addBot: Effect.Effect<Ids.MessageId>
  /** Everything the bot has written to this person, which is read thereby. */
  readonly reads: Effect.Effect<ReadonlyArray<string>>
}

/**
 * One open connection, for a face to carry bytes in and out.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerSession {
  readonly receive: (frame: Uint8Array | string) => void
  readonly closed: (code: number) => void
}

/**
 * What a face gives the server for one connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Output {
  readonly send: (frame: Uint8Array | string) => void
  /** Sends many frames at the price of one. */
  readonly together: (send: () => void) => void
  readonly close: (code: number, reason: string) => void
  readonly drop: () => void
}

/**
 * An answer over REST.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestFailure {
  readonly status: number
  readonly body: string
}

/**
 * @category services
 * @since 0.1.0
 */
export class BlazeServer extends Context.Service<
  BlazeServer,
  {
    /** Registers a bot with a new key. */
    readonly makeBot: Effect.Effect<BotAccount>
    readonly botById: (userId: string) => Option.Option<BotAccount>
    /** A person who talks to a bot; the same name gives the same person. */
    readonly user: (bot: BotAccount, name: string) => Effect.Effect<Person>
    /** A group of a bot and some people. */
    readonly group: (bot: BotAccount, people: ReadonlyArray<Person>) => Effect.Effect<Ids.ConversationId>
    /** Makes something go wrong, `times` times (once). */
    readonly inject: (fault: Fault, times?: number) => Effect.Effect<void>
    /** Sets the server's clock apart from the program's. */
    readonly setClockOffset: (offset: Duration.Input) => Effect.Effect<void>
    /** The server's time in milliseconds. */
    readonly now: () => number
    readonly events: Stream.Stream<Event>
    /** For the faces: a handshake, refused or granted. */
    readonly connect: (bot: BotAccount, output: Output) => Result.Result<ServerSession, { readonly status: number }>
    /** For the faces: a handshake that was refused before it came to the rules. */
    readonly refuse: (bot: Option.Option<BotAccount>, status: number) => void
    /** For the faces: the fault that the next REST request meets. */
    readonly restFailure: () => Option.Option<RestFailure>
    /** For the faces: acknowledgements over REST. */
    readonly acknowledge: (bot: BotAccount, messages: ReadonlyArray<Envelope.Acknowledgement>) => void
    /** For the faces: `GET /me`. */
    readonly me: (bot: BotAccount) => MixinApi.User
  }
>()("effect-blaze/testing/BlazeServer") {}

/** How long an unacknowledged message is kept: 7 days. Source: the official documentation. */
const retention = Duration.toMillis("7 days")

/** How many messages a bot may send in a minute. Source: the official documentation. */
const sendsPerMinute = 100_000

const maximumRequestSize = 128 * 1024
const maximumPerFrame = 80
const maximumPerRequest = 100

/** How many frames are sent in one turn of the event loop, so that a long listing does not stop the server. */
const framesPerTurn = 256

const CreateMessage = Schema.Struct({
  conversation_id: Ids.ConversationId,
  message_id: Ids.MessageId,
  category: Schema.NonEmptyString,
  recipient_id: Schema.optional(Schema.NullOr(Schema.String)),
  data: Schema.optional(Schema.NullOr(Schema.String)),
  data_base64: Schema.optional(Schema.NullOr(Schema.String)),
  quote_message_id: Schema.optional(Schema.NullOr(Schema.String))
})
const decodeCreateMessage = Schema.decodeUnknownResult(CreateMessage)
const decodeAcknowledgement = Schema.decodeUnknownResult(Envelope.Acknowledgement)
const decodeAcknowledgements = Schema.decodeUnknownResult(
  Schema.Struct({ messages: Schema.Array(Envelope.Acknowledgement) })
)

const text = (payload: string | Uint8Array) =>
  typeof payload === "string" ? payload : new TextDecoder().decode(payload)

interface Failure {
  readonly code: number
  readonly description: string
}

const invalid = (field: string): Failure => ({ code: 10002, description: `Invalid field ${field}` })

interface Pending {
  readonly view: Envelope.MessageView
  readonly at: number
}

interface BotState {
  readonly account: BotAccount
  readonly pending: Map<string, Pending>
  readonly sent: Map<string, { sent: Sent; recipients: ReadonlyArray<PersonState>; statuses: Map<string, string> }>
  readonly acknowledged: Array<ReadonlyArray<Ids.MessageId>>
  readonly sessions: Set<Session>
  readonly requests: Array<Array<string>>
  readonly closeCodes: Array<number>
  readonly sendTimes: Array<number>
  handshakes: number
}

interface PersonState {
  readonly name: string
  readonly userId: Ids.UserId
  readonly bot: BotState
  readonly received: Array<{ readonly messageId: Ids.MessageId; readonly text: string }>
}

interface Session {
  readonly output: Output
  /** What is to be sent after a long listing has begun, in order. */
  readonly waiting: MutableList.MutableList<() => void>
  sending: boolean
  listed: boolean
}

// Everything keeps its order: behind a listing that is being sent, answers wait as they would in the real stream.
const postpone = (session: Session, send: () => void): boolean => {
  if (session.sending || session.waiting.length === 0) return false
  MutableList.append(session.waiting, send)
  return true
}

const sendWaiting = (session: Session) =>
  Effect.sync(() =>
    session.output.together(() => {
      session.sending = true
      for (let count = 0; count < framesPerTurn && session.waiting.length > 0; count++) {
        ;(MutableList.take(session.waiting) as () => void)()
      }
      session.sending = false
    })
  ).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ until: () => session.waiting.length === 0 }))

const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const digest = yield* Digest.Digest
  const random = yield* SecureRandom.SecureRandom
  const signature = yield* Signature.Signature
  const { gunzip, gzip } = yield* Gzip.Gzip
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const events = yield* PubSub.sliding<Event>(10_000)

  const bots = new Map<string, BotState>()
  const people = new Map<string, PersonState>()
  const conversations = new Map<string, { readonly bot: BotState; readonly members: Set<PersonState> }>()
  const faults: Array<{ readonly fault: Fault; times: number }> = []
  let offset = 0

  const now = () => clock.currentTimeMillisUnsafe() + offset
  const timestamp = () => new Date(now()).toISOString()
  const publish = (event: Event) => PubSub.publishUnsafe(events, event)
  const stateOf = (bot: BotAccount) => bots.get(bot.userId)!

  const takeFault = <Tag extends Fault["_tag"]>(
    tag: Tag,
    applies: (fault: Extract<Fault, { _tag: Tag }>) => boolean = () => true
  ): Extract<Fault, { _tag: Tag }> | undefined => {
    const index = faults.findIndex(({ fault }) => fault._tag === tag && applies(fault as Extract<Fault, { _tag: Tag }>))
    const entry = faults[index]
    if (entry === undefined) return undefined
    if (--entry.times <= 0) faults.splice(index, 1)
    return entry.fault as Extract<Fault, { _tag: Tag }>
  }

  const encoder = new TextEncoder()
  const encode = (envelope: object) => gzip(encoder.encode(JSON.stringify(envelope)))

  const pushView = (session: Session, view: Envelope.MessageView, action: string = Envelope.Action.createMessage) => {
    if (postpone(session, () => pushView(session, view, action))) return
    const frame = encode({ id: SecureRandom.uuidV4Unsafe(), action, data: view })
    const corrupt = action === Envelope.Action.createMessage && takeFault("CorruptPush") !== undefined
    session.output.send(corrupt ? frame.subarray(0, frame.length - 4) : frame)
    if (action === Envelope.Action.createMessage && takeFault("DuplicatePush")) session.output.send(frame)
  }

  const expire = (bot: BotState) => {
    for (const [id, { at }] of bot.pending) {
      if (now() - at < retention) break
      bot.pending.delete(id)
    }
  }

  const enqueue = (bot: BotState, view: Envelope.MessageView) => {
    if (bot.pending.has(view.message_id)) return
    bot.pending.set(view.message_id, { view, at: now() })
    for (const session of bot.sessions) if (session.listed) pushView(session, view)
  }

  const receipt = (bot: BotState, messageId: Ids.MessageId, person: PersonState, status: "DELIVERED" | "READ") => {
    const record = bot.sent.get(messageId)
    if (record === undefined || record.statuses.get(person.userId) === status) return
    record.statuses.set(person.userId, status)
    publish({ _tag: "Receipt", messageId, status })
    const view = {
      type: "message",
      message_id: messageId,
      conversation_id: "",
      user_id: person.userId,
      category: "",
      data: "",
      status,
      source: Envelope.Action.acknowledgeReceipt,
      created_at: timestamp(),
      updated_at: timestamp()
    }
    for (const session of bot.sessions) {
      if (session.listed) pushView(session, view, Envelope.Action.acknowledgeReceipt)
    }
  }

  const acknowledge = (bot: BotState, messages: ReadonlyArray<Envelope.Acknowledgement>) => {
    const messageIds = messages.map(({ message_id }) => message_id as Ids.MessageId)
    for (const id of messageIds) bot.pending.delete(id)
    bot.acknowledged.push(messageIds)
    publish({ _tag: "Acknowledged", messageIds })
  }

  const createMessage = (bot: BotState, params: unknown): Result.Result<object, Failure> => {
    const decoded = decodeCreateMessage(params)
    if (Result.isFailure(decoded)) return Result.fail(invalid("params"))
    const request = decoded.success
    if (!/^(PLAIN_|ENCRYPTED_|APP_|MESSAGE_)/.test(request.category)) return Result.fail(invalid("category"))
    const bytes = Option.getOrUndefined(Base64.decode(request.data_base64 || request.data || ""))
    if (bytes === undefined) return Result.fail(invalid("data"))
    const conversation = conversations.get(request.conversation_id)
    if (conversation === undefined || conversation.bot !== bot) {
      return Result.fail({ code: 403, description: "Forbidden" })
    }
    const at = now()
    while (bot.sendTimes.length > 0 && at - bot.sendTimes[0]! >= 60_000) bot.sendTimes.shift()
    if (bot.sendTimes.length >= sendsPerMinute) return Result.fail({ code: 429, description: "Too Many Requests" })
    bot.sendTimes.push(at)

    const known = bot.sent.get(request.message_id)
    if (known !== undefined) known.sent = { ...known.sent, attempts: known.sent.attempts + 1 }
    else {
      const sent: Sent = {
        messageId: request.message_id,
        conversationId: request.conversation_id,
        category: request.category,
        text: text(bytes),
        quotedMessageId: request.quote_message_id ? Option.some(request.quote_message_id) : Option.none(),
        attempts: 1
      }
      const recipients = [...conversation.members]
      bot.sent.set(sent.messageId, { sent, recipients, statuses: new Map() })
      for (const person of recipients) {
        person.received.push({ messageId: sent.messageId, text: sent.text })
        publish({ _tag: "Replied", to: person.name, text: sent.text, messageId: sent.messageId })
        receipt(bot, sent.messageId, person, "DELIVERED")
      }
    }
    return Result.succeed({
      type: "message",
      representative_id: "",
      quote_message_id: "",
      conversation_id: "",
      user_id: bot.account.userId,
      session_id: bot.account.sessionId,
      message_id: request.message_id,
      category: "",
      data: "",
      status: "SENT",
      source: "",
      created_at: timestamp(),
      updated_at: timestamp()
    })
  }

  const answer = (bot: BotState, request: Envelope.Request): Result.Result<object | undefined, Failure> => {
    switch (request.action) {
      case Envelope.Action.createMessage:
        return createMessage(bot, request.params)
      case Envelope.Action.acknowledgeReceipt: {
        const single = decodeAcknowledgement(request.params)
        if (Result.isFailure(single)) return Result.fail(invalid("params"))
        acknowledge(bot, [single.success])
        return Result.succeed(undefined)
      }
      case Envelope.Action.acknowledgeReceipts: {
        const batch = decodeAcknowledgements(request.params)
        if (Result.isFailure(batch) || batch.success.messages.length > maximumPerFrame) {
          return Result.fail(invalid("messages"))
        }
        acknowledge(bot, batch.success.messages)
        return Result.succeed(undefined)
      }
      default:
        return Result.succeed(undefined)
    }
  }

  const receive = (bot: BotState, session: Session, requests: Array<string>, frame: Uint8Array | string) => {
    if (typeof frame === "string") return session.output.close(1003, "binary frames only")
    const bytes = gunzip(frame, 2 * maximumRequestSize)
    let json: unknown
    try {
      json = JSON.parse(text(Result.getOrElse(bytes, () => "")))
    } catch {
      json = undefined
    }
    const decoded = Envelope.decodeRequest(json)
    if (Result.isFailure(decoded)) return session.output.close(1002, "not an envelope")
    const request = decoded.success
    requests.push(request.action)
    const applies = (fault: { readonly action?: string | undefined }) =>
      fault.action === undefined || fault.action === request.action
    if (takeFault("IgnoreRequest", applies)) return
    const failed = takeFault("FailRequest", applies)
    const tooLarge = Result.isSuccess(bytes) && bytes.success.length > maximumRequestSize
    const result = failed
      ? Result.fail<Failure>({ code: failed.code, description: "injected" })
      : tooLarge
        ? Result.fail<Failure>({ code: 400, description: "Bad Request" })
        : answer(bot, request)
    const response = encode({
      id: request.id,
      action: request.action,
      ...(Result.isSuccess(result)
        ? { data: result.success }
        : {
            error: { status: result.failure.code >= 500 && result.failure.code < 10_000 ? 500 : 202, ...result.failure }
          })
    })
    const finish = () => {
      if (postpone(session, finish)) return
      session.output.send(response)
      if (request.action === Envelope.Action.listPendingMessages && Result.isSuccess(result)) {
        session.listed = true
        expire(bot)
        const views = [...bot.pending.values()].map(({ view }) => ({
          ...view,
          source: Envelope.Action.listPendingMessages
        }))
        if (views.length <= framesPerTurn)
          return session.output.together(() => views.forEach((view) => pushView(session, view)))
        const idle = session.waiting.length === 0
        for (const view of views) MutableList.append(session.waiting, () => pushView(session, view))
        if (idle) Effect.runForkWith(context)(Effect.forkIn(sendWaiting(session), scope))
      }
    }
    const delayed = takeFault("DelayAnswer")
    if (delayed === undefined) finish()
    else {
      Effect.runForkWith(context)(
        Effect.delay(Effect.sync(finish), delayed.by).pipe(Effect.forkIn(scope), Effect.asVoid)
      )
    }
  }

  const connect = (account: BotAccount, output: Output): Result.Result<ServerSession, { readonly status: number }> => {
    const bot = stateOf(account)
    bot.handshakes++
    const refused = takeFault("RefuseHandshake")
    if (refused) {
      publish({ _tag: "Refused", status: refused.status })
      return Result.fail({ status: refused.status })
    }
    const session: Session = { output, waiting: MutableList.make(), sending: false, listed: false }
    const requests: Array<string> = []
    bot.requests.push(requests)
    bot.sessions.add(session)
    publish({ _tag: "Connected" })
    const closed = (code: number) => {
      if (!bot.sessions.delete(session)) return
      MutableList.clear(session.waiting)
      bot.closeCodes.push(code)
      publish({ _tag: "Disconnected", code })
    }
    const error = takeFault("ErrorFrame")
    const dropped = takeFault("DropConnection")
    if (error) {
      output.send(
        encode({
          id: SecureRandom.uuidV4Unsafe(),
          action: Envelope.Action.error,
          error: { status: 202, code: error.code, description: "injected" }
        })
      )
    }
    if (dropped) output.drop()
    return Result.succeed({
      receive: (frame) => {
        if (error === undefined) receive(bot, session, requests, frame)
      },
      closed
    })
  }

  const makeBot = Effect.gen(function* () {
    const userId = SecureRandom.uuidV4Unsafe() as Ids.UserId
    const sessionId = SecureRandom.uuidV4Unsafe()
    const { privateKey, publicKey } = yield* Effect.orDie(signature.generateKeyPair(Signature.ed25519))
    const seed = yield* Effect.orDie(Signature.toBytes(privateKey))
    const read = <A>(f: (bot: BotState) => A) => Effect.sync(() => f(stateOf(account)))
    const each = (f: (session: Session) => void) => read((bot) => [...bot.sessions].forEach(f))
    const account: BotAccount = {
      userId,
      sessionId,
      publicKey,
      keystore: JSON.stringify({
        app_id: userId,
        session_id: sessionId,
        server_public_key: Hex.encode(yield* random.randomBytes(32)),
        session_private_key: Hex.encode(seed)
      }),
      sent: read((bot) => [...bot.sent.values()].map(({ sent }) => sent)),
      acknowledged: read((bot) => bot.acknowledged.slice()),
      pending: read((bot) => [...bot.pending.keys()] as Array<Ids.MessageId>),
      handshakes: read((bot) => bot.handshakes),
      closeCodes: read((bot) => bot.closeCodes.slice()),
      connections: read((bot) => bot.sessions.size),
      requests: read((bot) => bot.requests.map((requests) => requests.slice())),
      cut: each((session) => session.output.drop()),
      close: (code, reason = "") => each((session) => session.output.close(code, reason)),
      push: (frame) => each((session) => session.output.send(frame))
    }
    bots.set(userId, {
      account,
      pending: new Map(),
      sent: new Map(),
      acknowledged: [],
      sessions: new Set(),
      requests: [],
      closeCodes: [],
      sendTimes: [],
      handshakes: 0
    })
    return account
  })

  const user = Effect.fnUntraced(function* (account: BotAccount, name: string) {
    const bot = stateOf(account)
    const key = `${account.userId} ${name}`
    const person: PersonState = people.get(key) ?? {
      name,
      userId: SecureRandom.uuidV4Unsafe() as Ids.UserId,
      bot,
      received: []
    }
    people.set(key, person)
    const contact = yield* Ids.contactConversation(account.userId, person.userId).pipe(
      Effect.provideService(Digest.Digest, digest)
    )
    const send = (category: string, payload: string | Uint8Array, conversation = contact) =>
      Effect.sync(() => {
        if (conversation === contact && !conversations.has(contact)) {
          conversations.set(contact, { bot, members: new Set([person]) })
        }
        const dataBase64 = Base64.encode(payload)
        const messageId = SecureRandom.uuidV4Unsafe() as Ids.MessageId
        publish({ _tag: "Said", by: name, text: text(payload), messageId })
        enqueue(bot, {
          message_id: messageId,
          conversation_id: conversation,
          user_id: person.userId,
          session_id: "",
          representative_id: "",
          quote_message_id: "",
          category,
          data: dataBase64
            .replace(/-/g, "+")
            .replace(/_/g, "/")
            .padEnd(Math.ceil(dataBase64.length / 4) * 4, "="),
          data_base64: dataBase64,
          status: "SENT",
          source: Envelope.Action.createMessage,
          silent: false,
          created_at: timestamp(),
          updated_at: timestamp()
        })
        return messageId
      })
    const result: Person = {
      name,
      userId: person.userId,
      conversationId: contact,
      say: (content, conversation) => send("PLAIN_TEXT", content, conversation),
      send,
      addBot: Effect.suspend(() => send("PLAIN_TEXT", "你好")),
      reads: Effect.sync(() => {
        for (const { messageId } of person.received) receipt(bot, messageId, person, "READ")
        return person.received.map(({ text }) => text)
      })
    }
    return result
  })

  return BlazeServer.of({
    makeBot,
    botById: (userId) => Option.map(Option.fromNullishOr(bots.get(userId)), ({ account }) => account),
    user,
    group: (account, members) =>
      Effect.sync(() => {
        const id = SecureRandom.uuidV4Unsafe() as Ids.ConversationId
        const states = members.map(({ name }) => people.get(`${account.userId} ${name}`)!)
        conversations.set(id, { bot: stateOf(account), members: new Set(states) })
        return id
      }),
    inject: (fault, times = 1) => Effect.sync(() => void faults.push({ fault, times })),
    setClockOffset: (input) => Effect.sync(() => void (offset = Duration.toMillis(input))),
    now,
    events: Stream.fromPubSub(events),
    connect,
    refuse: (account, status) => {
      if (Option.isSome(account)) stateOf(account.value).handshakes++
      publish({ _tag: "Refused", status })
    },
    restFailure: () => Option.fromNullishOr(takeFault("FailRest")),
    acknowledge: (account, messages) => acknowledge(stateOf(account), messages),
    me: (account) => ({ user_id: account.userId, full_name: "bot", identity_number: "7000" })
  })
})

/** How many messages one REST request may acknowledge. */
export const maximumAcknowledgements = maximumPerRequest

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  BlazeServer,
  never,
  Digest.Digest | SecureRandom.SecureRandom | Signature.Signature | Gzip.Gzip
> = Layer.effect(BlazeServer, make)
