/**
 * A Blaze server of one's own: people, bots, conversations, pending messages and receipts, over the Clock of the program.
 *
 * Guarantee: it keeps the rules that the real one documents: nothing is pushed before `LIST_PENDING_MESSAGES`, what is not
 * acknowledged comes back for 7 days, the first of equal message ids counts; and its frames have the shape of those that were
 * captured, to the order of the keys. It has two faces: `BlazeTest` in memory and `LocalServer` on loopback.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as KeyFormat from "effect/crypto/KeyFormat"
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
import { gzipSync } from "fflate"
import * as Base64 from "../Base64.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Endpoint from "../Endpoint.ts"
import * as Envelope from "../Envelope.ts"
import * as Decoding from "../internal/Decoding.ts"
import * as Gzip from "../Gzip.ts"
import * as Nanoseconds from "../internal/Nanoseconds.ts"
import * as Utf8 from "../internal/Utf8.ts"
import * as Ids from "../Ids.ts"
import * as Branded from "../internal/Branded.ts"
import * as Uuid from "../internal/Uuid.ts"
import * as Keystore from "../Keystore.ts"
import type * as Signer from "../Signer.ts"
import * as Buttons from "./internal/Buttons.ts"
import * as Directory from "./internal/Directory.ts"
import * as Face from "./internal/Face.ts"
import * as Payloads from "./internal/Payloads.ts"
import * as Payments from "./internal/Payments.ts"
import * as Phones from "./internal/Phones.ts"
import * as Profiles from "./internal/Profiles.ts"
import * as RestApi from "./internal/RestApi.ts"
import * as RestRules from "./internal/RestRules.ts"
import * as Screen from "./internal/Screen.ts"

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
  /** The next upload or download of a file breaks off after so many bytes. */
  | { readonly _tag: "CutTransfer"; readonly after: number }
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
  | {
      readonly _tag: "Replied"
      readonly to: string
      readonly conversationId: Ids.ConversationId
      readonly category: string
      readonly text: string
      readonly messageId: Ids.MessageId
    }
  | { readonly _tag: "Receipt"; readonly messageId: Ids.MessageId; readonly status: "DELIVERED" | "READ" }
  | { readonly _tag: "Acknowledged"; readonly messageIds: ReadonlyArray<Ids.MessageId> }

/**
 * What the server compresses frames with: level 3 and the header that Go writes, however short they are. `LocalServer` has zlib do it.
 *
 * @category references
 * @since 0.1.0
 */
export const Compression = Context.Reference<(bytes: Uint8Array) => Uint8Array>(
  "effect-blaze/testing/BlazeServer/Compression",
  { defaultValue: () => (bytes) => Face.withGoHeader(gzipSync(bytes, { level: Face.compressionLevel, mtime: 0 })) }
)

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
  /** In whose name it is, where that is not the bot's. */
  readonly representativeId: Option.Option<Ids.UserId>
  /** Whether it arrives without a notification. */
  readonly silent: boolean
  /** How many seconds after it was read it disappears, its own or those of its conversation; 0 is never. */
  readonly expireIn: number
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
  /** The keystore in JSON. */
  readonly keystore: string
  /** By which people find and mention it. */
  readonly identityNumber: string
  /** What the bot sent, without the repetitions. */
  readonly sent: Effect.Effect<ReadonlyArray<Sent>>
  /** The message ids of every acknowledgement request, in the order they came. */
  readonly acknowledged: Effect.Effect<ReadonlyArray<ReadonlyArray<Ids.MessageId>>>
  /** What waits for an acknowledgement. */
  readonly pending: Effect.Effect<ReadonlyArray<Ids.MessageId>>
  /** The same, as it is sent. */
  readonly pendingViews: Effect.Effect<ReadonlyArray<Envelope.MessageView>>
  /** How many slots for files it has asked for. */
  readonly attachments: Effect.Effect<number>
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
  /** Has every connection carry nothing any more, in either direction, while both sides hold it for open. */
  readonly halfOpen: Effect.Effect<void>
  /** Sends raw bytes, or a text frame, on every connection. */
  readonly push: (frame: Uint8Array | string) => Effect.Effect<void>
}

/**
 * A message that a person has got from the bot.
 *
 * @category models
 * @since 0.1.0
 */
export type Received = Omit<Sent, "attempts">

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
  /** Writes text, to the bot or in a group that the person is in: to write in another dies. */
  readonly say: (text: string, conversation?: Ids.ConversationId) => Effect.Effect<Ids.MessageId>
  /** Sends any category with any payload. */
  readonly send: (
    category: string,
    payload: string | Uint8Array,
    conversation?: Ids.ConversationId
  ) => Effect.Effect<Ids.MessageId>
  /**
   * Uploads a file and sends it: `PLAIN_IMAGE`, say, with what its payload has beside the id of the file, its size and its type.
   */
  readonly sendFile: (
    category: string,
    bytes: Uint8Array,
    fields?: Readonly<Record<string, unknown>>,
    conversation?: Ids.ConversationId
  ) => Effect.Effect<Ids.MessageId>
  /** The bytes of the file that a message has, decrypted where it is encrypted; nothing where there is none, or none that can be read. */
  readonly openFile: (message: Pick<Received, "text">) => Effect.Effect<Option.Option<Uint8Array>>
  /** Adds the bot to the contacts, whereupon the system greets it with "你好" in the person's name. */
  readonly addBot: Effect.Effect<Ids.MessageId>
  /** Everything the bot has written to this person, which is read thereby. */
  readonly reads: Effect.Effect<ReadonlyArray<string>>
  /** What the bot has written to this person and was not read before, which is read thereby: nothing, when nothing more was said. */
  readonly unread: Effect.Effect<ReadonlyArray<string>>
  /** What the bot has pinned, in the conversation with it or in a group. */
  readonly pinned: (conversation?: Ids.ConversationId) => Effect.Effect<ReadonlyArray<Ids.MessageId>>
  /** The labels of the buttons that the bot has shown last. */
  readonly buttons: Effect.Effect<ReadonlyArray<string>>
  /** By which others find and mention this person. */
  readonly identityNumber: string
  /**
   * Everything the bot has sent to this person, of whatever kind: as the phone shows it, without what was taken back or has disappeared.
   */
  readonly received: Effect.Effect<ReadonlyArray<Received>>
  /** Writes text that quotes a message. */
  readonly quote: (
    messageId: Ids.MessageId,
    text: string,
    conversation?: Ids.ConversationId
  ) => Effect.Effect<Ids.MessageId>
  /** Takes a message back. */
  readonly recall: (messageId: Ids.MessageId, conversation?: Ids.ConversationId) => Effect.Effect<Ids.MessageId>
  /**
   * Taps the button of this label, or the card of this title, the newest that the bot has shown: says what it says, and gives its action.
   * Dies when there is none.
   */
  readonly tap: (label: string) => Effect.Effect<string>
  /** Pays the bot, which is told so, and finds it in `GET /safe/snapshots`. */
  readonly pay: (payment: {
    readonly asset: string
    readonly amount: string
    readonly memo?: string | undefined
    readonly trace?: string | undefined
  }) => Effect.Effect<Ids.MessageId>
  /** Enters a group of the bot, or leaves it; the bot in it is told so. */
  readonly join: (group: Ids.ConversationId) => Effect.Effect<void>
  readonly leave: (group: Ids.ConversationId) => Effect.Effect<void>
  /** Who is in a group takes the bot into it that is not in it any more, or puts it out of one, which is the last that it is told of the group. */
  readonly invite: (group: Ids.ConversationId) => Effect.Effect<void>
  readonly expel: (group: Ids.ConversationId) => Effect.Effect<void>
  /** The owner of a group makes somebody in it an admin, or a member again: a person, or the bot, which is told so. */
  readonly appoint: (
    group: Ids.ConversationId,
    who: { readonly userId: Ids.UserId },
    role: "Admin" | "Member"
  ) => Effect.Effect<void>
  /** Lets the bot speak in this person's name: the permission `MESSAGES:REPRESENT`. */
  readonly authorize: Effect.Effect<void>
  /** Takes that back. */
  readonly revoke: Effect.Effect<void>
  /** Blocks the bot: what it writes is refused with 403 from then on. */
  readonly block: Effect.Effect<void>
  readonly unblock: Effect.Effect<void>
  /** While the phone is off nothing arrives on it; when it is on again, all of it does. */
  readonly turnOff: Effect.Effect<void>
  readonly turnOn: Effect.Effect<void>
  /**
   * Goes on with another phone: another session, with another key, which alone can read what is encrypted from then on; or with an old app
   * that has no key.
   */
  readonly changePhone: (options?: { readonly hasKey?: boolean | undefined }) => Effect.Effect<void>
}

/**
 * What is said in a group reaches a bot that is in it: all of it, or what begins with a mention of the bot or quotes one of its messages.
 * Which of the two Mixin does is not known for certain: the official documentation says the latter, and quotes are seen to be lost now
 * and then.
 *
 * @category models
 * @since 0.1.0
 */
export type GroupRule = "everything" | "mentions"

/**
 * The key of a bot: a new one for an algorithm, or that of a keystore of one's own, in any shape that `Keystore` reads.
 *
 * **Details**
 *
 * A new Ed25519 key comes in the shape that the dashboard gives today, a new RSA key in that of the old one: 1024 bits, PKCS#1.
 *
 * @category models
 * @since 0.1.0
 */
export type BotKey = { readonly algorithm: "EdDSA" | "RS512" } | { readonly keystore: string }

/**
 * What Mixin itself tells in a conversation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notice {
  readonly conversationId: Ids.ConversationId
  /** `SYSTEM_ACCOUNT_SNAPSHOT`, say. */
  readonly category: string
  readonly payload: string | Uint8Array
  /** In whose name: the bot's own for its transfers and its groups. The nil user, which is Mixin, when left out. */
  readonly userId?: Ids.UserId | undefined
}

/**
 * @category services
 * @since 0.1.0
 */
export class BlazeServer extends Context.Service<
  BlazeServer,
  {
    /** Registers a bot with a new Ed25519 key. */
    readonly makeBot: Effect.Effect<BotAccount>
    /**
     * Registers a bot with a key of your choice; a bot that is known gets a new session, and the tokens of the old one are refused.
     * Fails with `InvalidSetting` when the keystore cannot be used.
     */
    readonly makeBotWith: (key: BotKey) => Effect.Effect<BotAccount, BlazeError.BlazeError>
    readonly botById: (userId: string) => Option.Option<BotAccount>
    /** A person who talks to a bot; the same name gives the same person. */
    readonly user: (bot: BotAccount, name: string) => Effect.Effect<Person>
    /** A group of a bot and some people. */
    readonly group: (bot: BotAccount, people: ReadonlyArray<Person>) => Effect.Effect<Ids.ConversationId>
    /** Has Mixin itself tell a bot something: of a transfer, or of what became of a group. */
    readonly notify: (bot: BotAccount, notice: Notice) => Effect.Effect<Ids.MessageId>
    /** Sets what a bot gets of what is said in its groups: everything by default. */
    readonly setGroupRule: (rule: GroupRule) => Effect.Effect<void>
    /**
     * Ticks "encryption" for a bot, as its owner can: from then on what people say to it comes encrypted. Their apps have no key for a bot
     * whose own is an RSA key, and go on in plain. Off by default.
     */
    readonly setEncryption: (bot: BotAccount, isOn: boolean) => Effect.Effect<void>
    /** Makes something go wrong, `times` times (once). */
    readonly inject: (fault: Fault, times?: number) => Effect.Effect<void>
    /** Takes back what was injected and has not gone wrong yet. */
    readonly heal: Effect.Effect<void>
    /** Sets the server's clock apart from the program's. */
    readonly setClockOffset: (offset: Duration.Input) => Effect.Effect<void>
    /** The server's time in milliseconds. */
    readonly now: () => number
    readonly events: Stream.Stream<Event>
  }
>()("effect-blaze/testing/BlazeServer") {}

/** How long an unacknowledged message is kept: 7 days. Source: the official documentation. */
const retention = Duration.toMillis("7 days")

/** How many messages a bot may send in a minute. Source: the official documentation. */
const sendsPerMinute = 100_000

/** How many messages one frame may acknowledge. Source: the newest servers' limit, as clients state it. */
const maximumPerFrame = 80

/** How long a file can be had: 7 days. A guess, as long as a message is kept; the documentation says only that it ends. */
const fileRetention = Duration.toMillis("7 days")

/** How many receipts of a bot can be asked for. */
const maximumReceipts = 10_000

/** How many frames are sent in one turn of the event loop, so that a long listing does not stop the server. */
const framesPerTurn = 256

/** An id, or the empty text that some clients write for none. */
const idOrNothing = Schema.optional(Schema.NullOr(Schema.Union([Schema.Literal(""), Ids.MessageId])))

const encryptedPrefix = "ENCRYPTED_"

const CreateMessage = Schema.Struct({
  conversation_id: Ids.ConversationId,
  message_id: Ids.MessageId,
  category: Schema.NonEmptyString,
  recipient_id: idOrNothing,
  representative_id: Schema.optional(Schema.NullOr(Schema.Union([Schema.Literal(""), Ids.UserId]))),
  data: Schema.optional(Schema.NullOr(Schema.String)),
  data_base64: Schema.optional(Schema.NullOr(Schema.String)),
  quote_message_id: idOrNothing,
  silent: Schema.optional(Schema.NullOr(Schema.Boolean)),
  expire_in: Schema.optional(Schema.NullOr(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))))
})
const decodeCreateMessage = Schema.decodeUnknownResult(CreateMessage)
const decodeEncryptedMessage = Schema.decodeUnknownResult(
  Schema.Struct({
    ...CreateMessage.fields,
    category: Schema.String.check(Schema.isStartingWith(encryptedPrefix)),
    checksum: Schema.String,
    recipient_sessions: Schema.Array(Schema.Struct({ session_id: Schema.String }))
  })
)
const decodeAcknowledgement = Schema.decodeUnknownResult(Envelope.Acknowledgement)
const decodeAcknowledgements = Schema.decodeUnknownResult(
  Schema.Struct({ messages: Schema.Array(Envelope.Acknowledgement) })
)
const decodeMessages = Schema.decodeUnknownResult(Schema.Struct({ messages: Schema.Array(Schema.Unknown) }))

const encoder = new TextEncoder()

const text = (payload: string | Uint8Array) =>
  typeof payload === "string" ? payload : new TextDecoder("utf-8", { ignoreBOM: true }).decode(payload)

const invalid = (field: string) => Face.failure(10002, field)

const nilId = "00000000-0000-0000-0000-000000000000"

/** As whom Mixin itself speaks. */
const mixin = Branded.userId(nilId)

/** A message view as the server writes it: every field is there, in this order, whatever is in it. */
interface View extends Required<Omit<Envelope.MessageView, "message_id">> {
  readonly type: "message"
  readonly message_id: string
}

const emptyView: View = {
  type: "message",
  representative_id: "",
  quote_message_id: "",
  conversation_id: "",
  user_id: "",
  session_id: "",
  message_id: "",
  category: "",
  data: "",
  data_base64: "",
  status: "SENT",
  source: Envelope.Action.createMessage,
  silent: false,
  expire_in: 0,
  created_at: Profiles.noTime,
  updated_at: Profiles.noTime
}

/** What came of a request; `afterwards` happens when the answer is out. */
type Answer = Result.Result<{ readonly data?: View; readonly afterwards?: () => void }, Envelope.ErrorBody>

interface Pending {
  readonly view: View
  readonly at: number
}

/** A message of a bot, and how far it has come: receipts follow the answer, however early somebody reads. */
interface Outgoing {
  sent: Sent
  readonly answer: View
  readonly recipients: ReadonlyArray<PersonState>
  readonly readers: Set<PersonState>
  answered: boolean
}

interface BotState {
  account: BotAccount
  readonly pending: Map<string, Pending>
  readonly sent: Map<string, Outgoing>
  readonly acknowledged: Array<ReadonlyArray<Ids.MessageId>>
  readonly sessions: Set<Session>
  readonly requests: Array<Array<string>>
  readonly closeCodes: Array<number>
  readonly sendTimes: Array<number>
  handshakes: number
  /** How many notices of Mixin's own. */
  notices: number
  /** What it was told of its own messages. */
  readonly receipts: Array<View>
  /** The slots for files that it was given. */
  readonly attachments: Map<string, { readonly at: number; readonly attachment: Endpoint.Attachment }>
  /** How many of them it asked for itself. */
  slots: number
  phone: Phones.Phone
  /** Whether what people say to it comes encrypted. */
  isEncrypted: boolean
}

/** A message on its way to a phone. */
interface Arriving {
  readonly message: Received
  /** What is done when it arrives. */
  delivered: () => void
}

interface PersonState {
  readonly name: string
  readonly userId: Ids.UserId
  phone: Phones.Phone
  /** How many phones came before this one. */
  phones: number
  readonly bot: BotState
  /** The conversation with the bot, whether it is open or not. */
  readonly contact: Ids.ConversationId
  /** How many messages. */
  said: number
  /** Has blocked the bot. */
  blocks: boolean
  /** The bot may speak in this person's name. */
  represented: boolean
  /** What waits until the phone is on again. */
  off: Array<Arriving> | undefined
  readonly screen: Screen.Screen<Received>
}

interface Session {
  readonly output: Face.Output
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

const nanosPerMilli = 1_000_000

/**
 * The server's times as it writes them: RFC 3339 with 0 to 9 digits of a second's fraction, zeros at the end cut as Go does.
 *
 * Each is that of the clock to the millisecond. What is below is made up, the same in every run: it has 0 to 6 digits in turn, and
 * grows while the clock stands, so that the order of the times is that of the messages.
 */
const timestamps = (now: () => number) => {
  let count = 0
  let last = { milli: Number.NaN, nanos: 0 }
  return () => {
    const milli = Math.floor(now())
    const unit = 10 ** (6 - (count++ % 7))
    if (milli !== last.milli) last = { milli, nanos: 123_456 - (123_456 % unit) }
    else {
      const next = (Math.floor(last.nanos / unit) + 1) * unit
      // A thousandth of what is left at the most, so that there is always some.
      const isNear = next - last.nanos <= (nanosPerMilli - last.nanos) / 1000
      last = { milli, nanos: isNear ? next : Math.min(last.nanos + 1, nanosPerMilli - 1) }
    }
    const date = new Date(milli).toISOString()
    const seconds = date.slice(0, -5)
    const fraction = `${date.slice(-4, -1)}${String(last.nanos).padStart(6, "0")}`
    let length = fraction.length
    while (fraction[length - 1] === "0") length--
    return length === 0 ? `${seconds}Z` : `${seconds}.${fraction.slice(0, length)}Z`
  }
}

/** The line of a PEM holds 64 characters, and the dashboards ended it as Windows does. */
const pem = (label: string, bytes: Uint8Array) => {
  const lines = padded(Base64.encode(bytes)).match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\r\n")
}

/** Base64 as the rest of the world writes it, from the URL's alphabet. */
const padded = (base64: string) =>
  base64
    .replace(/-/g, "+")
    .replace(/_/g, "/")
    .padEnd(Math.ceil(base64.length / 4) * 4, "=")

const rsa1024 = Signature.rsaPkcs1v15({ hash: Digest.sha512, modulusLength: 1024 })

// In PKCS#8 this much stands before the PKCS#1 key of 1024 bits.
const pkcs8Header = 26

/** The server's clock, which can be set apart from the program's. */
const makeTime = (clock: Clock.Clock) => {
  let offset = 0
  const now = () => clock.currentTimeMillisUnsafe() + offset
  return {
    now,
    timestamp: timestamps(now),
    setOffset: (millis: number) => {
      offset = millis
    }
  }
}
type Time = ReturnType<typeof makeTime>

type Publish = (event: Event) => void

// What is begun in passing ends with the server.
const makeFork = Effect.gen(function* () {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  return (effect: Effect.Effect<unknown>): void => {
    Effect.runForkWith(context)(Effect.forkIn(effect, scope))
  }
})
type Fork = Effect.Success<typeof makeFork>

/** What was injected and has not gone wrong yet. */
const makeFaults = () => {
  const faults: Array<{ readonly fault: Fault; times: number }> = []
  return {
    inject: (fault: Fault, times: number) => void faults.push({ fault, times }),
    heal: () => void (faults.length = 0),
    /** The first fault of a kind that applies, which has gone wrong once more thereby. */
    take: <Tag extends Fault["_tag"]>(
      tag: Tag,
      applies: (fault: Extract<Fault, { _tag: Tag }>) => boolean = () => true
    ): Extract<Fault, { _tag: Tag }> | undefined => {
      if (faults.length === 0) return undefined
      const index = faults.findIndex(
        ({ fault }) => fault._tag === tag && applies(fault as Extract<Fault, { _tag: Tag }>)
      )
      const entry = faults[index]
      if (entry === undefined) return undefined
      if (--entry.times <= 0) faults.splice(index, 1)
      return entry.fault as Extract<Fault, { _tag: Tag }>
    }
  }
}
type Faults = ReturnType<typeof makeFaults>

/** Who is known to the server, and who talks where. */
const makeRegistry = () => {
  const bots = new Map<string, BotState>()
  const users = new Map<string, PersonState>()
  return {
    bots,
    users,
    sessionOf: (id: string) =>
      Option.map(Option.fromUndefinedOr(users.get(id) ?? bots.get(id)), ({ phone }) => phone.session),
    stateOf: ({ userId }: Pick<BotAccount, "userId">) => bots.get(userId)!,
    /** By the bot's id and the name. */
    people: new Map<string, PersonState>()
  }
}
type Registry = ReturnType<typeof makeRegistry>
type Conversations = Directory.Directory<BotState, PersonState>

const makeNewIds = Effect.gen(function* () {
  const digest = yield* Digest.Digest
  const randomId = yield* Uuid.makeRandom
  const uuid = () => Effect.runSync(randomId)
  const nonce = uuid()
  // Those of people and messages follow from who and which: leaving one out changes no other.
  const derive = (...parts: ReadonlyArray<string>) => Uuid.derive(digest, [nonce, ...parts])
  const groups = new Map<string, number>()
  const nextMessage = (who: string, count: number) =>
    Effect.map(derive("message", who, String(count)), Branded.messageId)
  const contact = (bot: BotAccount, person: Pick<PersonState, "userId">) =>
    Ids.contactConversation(bot.userId, person.userId).pipe(Effect.provideService(Digest.Digest, digest))
  return {
    uuid,
    derive,
    deriveUnsafe: (...parts: ReadonlyArray<string>) => Effect.runSync(derive(...parts)),
    contact,
    contactUnsafe: (bot: BotAccount, person: PersonState) => Effect.runSync(contact(bot, person)),
    nextGroup: (account: BotAccount, members: ReadonlyArray<Person>) =>
      Effect.suspend(() => {
        const key = [account.userId, ...members.map(({ userId }) => userId)].join(" ")
        const count = groups.get(key) ?? 0
        groups.set(key, count + 1)
        return Effect.map(derive("group", key, String(count)), Branded.conversationId)
      }),
    nextMessage,
    nextMessageUnsafe: (who: string, count: number) => Effect.runSync(nextMessage(who, count))
  }
})
type NewIds = Effect.Success<typeof makeNewIds>

/** Envelopes and the frames that they travel in. */
const makeCodec = Effect.gen(function* () {
  const { gunzip } = yield* Gzip.Gzip
  const compress = yield* Compression
  const encode = Utf8.makeEncoder()
  return {
    encode: (envelope: object) => compress(encode(JSON.stringify(envelope))),
    decode: (frame: Uint8Array) => {
      const bytes = gunzip(frame, 2 * Face.maximumRequestSize)
      let json: unknown
      try {
        json = JSON.parse(text(Result.getOrElse(bytes, () => "")))
      } catch {
        json = undefined
      }
      return {
        request: Decoding.request(json),
        isTooLarge: Result.isSuccess(bytes) && bytes.success.length > Face.maximumRequestSize
      }
    }
  }
})
type Codec = Effect.Success<typeof makeCodec>

/** Sends a bot what it has not asked for. */
const makePushView = ({ encode }: Codec, faults: Faults, uuid: () => string) => {
  const pushView = (session: Session, view: View, action: string = Envelope.Action.createMessage) => {
    if (postpone(session, () => pushView(session, view, action))) return
    const frame = encode({ id: uuid(), action, data: view })
    const corrupt = action === Envelope.Action.createMessage && faults.take("CorruptPush") !== undefined
    session.output.send(corrupt ? frame.subarray(0, frame.length - 4) : frame)
    if (action === Envelope.Action.createMessage && faults.take("DuplicatePush")) session.output.send(frame)
  }
  return pushView
}
type PushView = ReturnType<typeof makePushView>

/** A message for a bot. */
interface Incoming {
  readonly by: string
  readonly from: Pick<View, "conversation_id" | "user_id" | "session_id" | "category"> &
    Partial<Pick<View, "quote_message_id" | "expire_in">>
  readonly payload: string | Uint8Array
  /** The payload as it travels, where that is encrypted. */
  readonly sealed?: Uint8Array | undefined
  readonly messageId: Ids.MessageId
}

const makeEnqueue =
  ({ now, timestamp }: Time, publish: Publish, pushView: PushView) =>
  (bot: BotState, { by, from, messageId, payload, sealed }: Incoming) => {
    const dataBase64 = Base64.encode(sealed ?? payload)
    const time = timestamp()
    const view: View = {
      ...emptyView,
      ...from,
      message_id: messageId,
      data: padded(dataBase64),
      data_base64: dataBase64,
      created_at: time,
      updated_at: time
    }
    bot.pending.set(messageId, { view, at: now() })
    for (const session of bot.sessions) if (session.listed) pushView(session, view)
    publish({ _tag: "Said", by, text: text(payload), messageId })
  }
type Enqueue = ReturnType<typeof makeEnqueue>

/** Tells a bot how far its messages have come. */
const makeReceipts = ({ timestamp }: Time, publish: Publish, pushView: PushView) => {
  const receipt = (bot: BotState, messageId: Ids.MessageId, status: "DELIVERED" | "READ") => {
    publish({ _tag: "Receipt", messageId, status })
    const source = Envelope.Action.acknowledgeReceipt
    const view: View = { ...emptyView, message_id: messageId, status, source, updated_at: timestamp() }
    bot.receipts.push(view)
    if (bot.receipts.length > maximumReceipts) bot.receipts.shift()
    for (const session of bot.sessions) if (session.listed) pushView(session, view, source)
  }
  return {
    answered: (bot: BotState, outgoing: Outgoing) => {
      if (outgoing.answered) return
      outgoing.answered = true
      for (const person of outgoing.recipients) {
        const delivered = () => {
          receipt(bot, outgoing.sent.messageId, "DELIVERED")
          if (outgoing.readers.has(person)) receipt(bot, outgoing.sent.messageId, "READ")
        }
        const waiting = person.off?.find(({ message }) => message.messageId === outgoing.sent.messageId)
        if (waiting === undefined) delivered()
        else waiting.delivered = delivered
      }
    },
    isRead: (person: PersonState, messageId: Ids.MessageId) =>
      person.bot.sent.get(messageId)?.readers.has(person) === true,
    read: (person: PersonState, messageId: Ids.MessageId) => {
      const outgoing = person.bot.sent.get(messageId)
      if (outgoing === undefined || outgoing.readers.has(person)) return
      outgoing.readers.add(person)
      if (outgoing.answered) receipt(person.bot, messageId, "READ")
    }
  }
}
type Receipts = ReturnType<typeof makeReceipts>

const makeAcknowledge = (publish: Publish) => (bot: BotState, messages: ReadonlyArray<Envelope.Acknowledgement>) => {
  const messageIds = messages.map(({ message_id }) => Branded.messageId(message_id))
  for (const id of messageIds) bot.pending.delete(id)
  bot.acknowledged.push(messageIds)
  publish({ _tag: "Acknowledged", messageIds })
}

/** Whether a bot may send so many more messages now, which count if so. */
const maySend = (bot: BotState, at: number, count: number): boolean => {
  while (bot.sendTimes.length > 0 && at - bot.sendTimes[0]! >= 60_000) bot.sendTimes.shift()
  if (bot.sendTimes.length + count > sendsPerMinute) return false
  for (let n = 0; n < count; n++) bot.sendTimes.push(at)
  return true
}

/** A message of a bot that the server would take. */
interface Sendable {
  readonly request: typeof CreateMessage.Type
  readonly bytes: Uint8Array
  readonly recipients: ReadonlyArray<PersonState>
  /** How many seconds messages last there. */
  readonly lasting: number
}

type CheckPlace = ReturnType<typeof makeCheckPlace>

const makeCheckMessage =
  (checkPlace: CheckPlace) =>
  (bot: BotState, params: unknown): Result.Result<Sendable, Envelope.ErrorBody> => {
    const decoded = decodeCreateMessage(params)
    if (Result.isFailure(decoded)) return Result.fail(invalid(RestRules.fieldOf(decoded.failure.message)))
    const request = decoded.success
    const bytes = Option.getOrUndefined(Base64.decode(request.data_base64 || request.data || ""))
    if (bytes === undefined) return Result.fail(invalid("data"))
    const problem = Payloads.problem(request.category, bytes)
    if (problem !== undefined) return Result.fail(invalid(problem))
    return Result.flatMap(checkPlace(bot, request), ({ lasting, mayRecall, recipients }) =>
      request.category === "MESSAGE_RECALL" && !mayRecall(text(bytes))
        ? Result.fail(Face.failure(403))
        : Result.succeed({ request, bytes, recipients, lasting })
    )
  }

/** Who reads what a bot says in a conversation, if it may speak there, and in whose name it does. */
const makeCheckPlace =
  (conversations: Conversations, { users }: Registry) =>
  (bot: BotState, { conversation_id, representative_id }: typeof CreateMessage.Type) => {
    const conversation = conversations.get(conversation_id)
    if (conversation === undefined || conversation.bot !== bot || conversation.botRole === undefined) {
      return Result.fail(Face.failure(403))
    }
    const isGroup = conversation.category === "GROUP"
    const recipients = [...conversation.members.keys()]
    if (!isGroup && recipients.some(({ blocks }) => blocks)) return Result.fail(Face.failure(403))
    if (representative_id) {
      const represented = users.get(representative_id)
      if (represented?.bot !== bot || !represented.represented) return Result.fail(Face.failure(403))
    }
    // Its own messages, where it has sent them; who runs a group takes back anybody's, as in the apps.
    const mayRecall = (payload: string) => {
      const { message_id } = decodeRecall(payload)
      const own = bot.sent.get(message_id)
      return own === undefined
        ? isGroup && Directory.isManager(conversation)
        : own.sent.conversationId === conversation_id
    }
    return Result.succeed({ isGroup, recipients, lasting: conversation.expireIn, mayRecall })
  }

const decodeRecall = Schema.decodeUnknownSync(Schema.fromJsonString(Screen.Recall))

/** A message for other sessions than those that its recipient has now. */
interface Outdated {
  readonly request: typeof CreateMessage.Type
  readonly recipient: PersonState
}

/**
 * As for what is in plain. The real server cannot look inside; this one has the keys of everybody, and refuses what their apps could not
 * show.
 */
const makeCheckEncrypted =
  (checkPlace: CheckPlace, phones: Phones.Phones) =>
  (bot: BotState, params: unknown): Result.Result<Sendable | Outdated, Envelope.ErrorBody> => {
    const decoded = decodeEncryptedMessage(params)
    if (Result.isFailure(decoded)) return Result.fail(invalid(RestRules.fieldOf(decoded.failure.message)))
    const request = decoded.success
    const sealed = Option.getOrUndefined(Base64.decode(request.data_base64 || request.data || ""))
    if (sealed === undefined) return Result.fail(invalid("data"))
    const place = checkPlace(bot, request)
    if (Result.isFailure(place)) return Result.fail(place.failure)
    const { isGroup, lasting, recipients } = place.success
    if (request.checksum !== phones.checksum(request.recipient_sessions)) return Result.fail(invalid("checksum"))
    if (request.checksum !== phones.checksum(recipients.map(({ phone }) => phone.session))) {
      const [recipient] = recipients
      return isGroup || recipient === undefined
        ? Result.fail(Face.failure(20140))
        : Result.succeed({ request, recipient })
    }
    const opened = Option.all(recipients.map(({ phone }) => phones.open(sealed, phone)))
    const [bytes] = Option.getOrElse(opened, () => [])
    if (bytes === undefined) return Result.fail(invalid("data"))
    const problem = Payloads.problem(request.category.replace(encryptedPrefix, "PLAIN_"), bytes)
    if (problem !== undefined) return Result.fail(invalid(problem))
    return Result.succeed({ request, bytes, recipients, lasting })
  }

/** Several that are encrypted; those for sessions that somebody has no more are not sent, and said to be so. */
const makeSendEncrypted =
  (
    check: ReturnType<typeof makeCheckEncrypted>,
    now: () => number,
    send: (bot: BotState, sendable: Sendable) => void
  ): RestApi.Server<BotState>["sendEncrypted"] =>
  (bot, messages) => {
    const checked = Result.all(messages.map((params) => check(bot, params)))
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    if (!maySend(bot, now(), messages.length)) return Result.fail(Face.failure(429))
    return Result.succeed(
      checked.success.map((message) => {
        const { request } = message
        const stateOf = (person: PersonState | undefined, state: string) => ({
          message_id: request.message_id,
          ...(person === undefined ? {} : { recipient_id: person.userId, sessions: [person.phone.session] }),
          state
        })
        if ("recipient" in message) return stateOf(message.recipient, "FAILED")
        send(bot, message)
        return stateOf(request.recipient_id ? message.recipients[0] : undefined, "SUCCESS")
      })
    )
  }

/** Takes a message of a bot, once, and brings it to whom it is for. */
const makeAccept =
  (timestamp: () => string, publish: Publish) =>
  (bot: BotState, { bytes, lasting, recipients, request }: Sendable): Outgoing => {
    const known = bot.sent.get(request.message_id)
    if (known !== undefined) {
      known.sent = { ...known.sent, attempts: known.sent.attempts + 1 }
      return known
    }
    const received: Received = {
      messageId: request.message_id,
      conversationId: request.conversation_id,
      category: request.category,
      text: text(bytes),
      quotedMessageId: request.quote_message_id ? Option.some(request.quote_message_id) : Option.none(),
      representativeId: request.representative_id ? Option.some(request.representative_id) : Option.none(),
      silent: request.silent ?? false,
      expireIn: request.expire_in || lasting
    }
    const time = timestamp()
    const { category, conversationId, messageId, text: said } = received
    const outgoing: Outgoing = {
      sent: { ...received, attempts: 1 },
      answer: {
        ...emptyView,
        user_id: bot.account.userId,
        message_id: messageId,
        created_at: time,
        updated_at: time
      },
      recipients,
      readers: new Set(),
      answered: false
    }
    bot.sent.set(messageId, outgoing)
    for (const person of recipients) {
      if (person.off === undefined) person.screen.arrive(received)
      else person.off.push({ message: received, delivered: () => {} })
      publish({ _tag: "Replied", to: person.name, conversationId, category, text: said, messageId })
    }
    return outgoing
  }

/** What a bot sends: over the socket one message, over REST several, all of them or none. */
const makeSending = (
  checkPlace: CheckPlace,
  phones: Phones.Phones,
  { now, timestamp }: Time,
  publish: Publish,
  { answered }: Receipts
) => {
  const checkMessage = makeCheckMessage(checkPlace)

  const accept = makeAccept(timestamp, publish)

  const take = (bot: BotState, params: unknown): Result.Result<Outgoing, Envelope.ErrorBody> =>
    Result.flatMap(checkMessage(bot, params), (sendable) =>
      maySend(bot, now(), 1) ? Result.succeed(accept(bot, sendable)) : Result.fail(Face.failure(429))
    )

  return {
    encrypted: makeSendEncrypted(makeCheckEncrypted(checkPlace, phones), now, (bot, sendable) =>
      answered(bot, accept(bot, sendable))
    ),
    one: (bot: BotState, params: unknown): Answer =>
      Result.map(take(bot, params), (outgoing) => ({
        data: outgoing.answer,
        afterwards: () => answered(bot, outgoing)
      })),
    /** What Mixin tells somebody of a bot's doing. */
    tell: (
      bot: BotState,
      person: PersonState,
      {
        payload,
        ...notice
      }: { readonly message_id: Ids.MessageId; readonly category: string; readonly payload: string }
    ): View => {
      const request = { ...notice, conversation_id: person.contact }
      const outgoing = accept(bot, { request, bytes: encoder.encode(payload), recipients: [person], lasting: 0 })
      answered(bot, outgoing)
      return { ...outgoing.answer, conversation_id: person.contact, category: notice.category }
    },
    /** The same over REST, where nothing comes after the answer. */
    alone: (bot: BotState, params: unknown): Result.Result<View, Envelope.ErrorBody> =>
      Result.map(take(bot, params), (outgoing) => {
        answered(bot, outgoing)
        return outgoing.answer
      }),
    all: (bot: BotState, messages: ReadonlyArray<unknown>): Result.Result<void, Envelope.ErrorBody> => {
      const checked = Result.all(messages.map((params) => checkMessage(bot, params)))
      if (Result.isFailure(checked)) return Result.fail(checked.failure)
      if (!maySend(bot, now(), messages.length)) return Result.fail(Face.failure(429))
      for (const sendable of checked.success) answered(bot, accept(bot, sendable))
      return Result.void
    }
  }
}
type Sending = ReturnType<typeof makeSending>

const makeListPending = ({ now }: Time, fork: Fork, pushView: PushView) => {
  const expire = (bot: BotState) => {
    for (const [id, { at }] of bot.pending) {
      if (now() - at < retention) break
      bot.pending.delete(id)
    }
  }
  return (bot: BotState, session: Session) => {
    session.listed = true
    expire(bot)
    const source = Envelope.Action.listPendingMessages
    const views = [...bot.pending.values()].map(({ view }) => ({ ...view, source }))
    if (views.length <= framesPerTurn) {
      return session.output.together(() => views.forEach((view) => pushView(session, view)))
    }
    const idle = session.waiting.length === 0
    for (const view of views) MutableList.append(session.waiting, () => pushView(session, view))
    if (idle) fork(sendWaiting(session))
  }
}

/** What the server says to a request that reaches it. */
type GiveAnswer = (bot: BotState, session: Session, request: Envelope.Request) => Answer

const makeGiveAnswer =
  (
    listPending: ReturnType<typeof makeListPending>,
    sending: Sending,
    acknowledge: ReturnType<typeof makeAcknowledge>
  ): GiveAnswer =>
  (bot, session, request) => {
    switch (request.action) {
      case Envelope.Action.listPendingMessages:
        return Result.succeed({ afterwards: () => listPending(bot, session) })
      case Envelope.Action.createMessage:
        return sending.one(bot, request.params)
      case Envelope.Action.createPlainMessages: {
        const batch = decodeMessages(request.params)
        if (Result.isFailure(batch) || batch.success.messages.length > Endpoint.maximumMessages) {
          return Result.fail(invalid("messages"))
        }
        return Result.map(sending.all(bot, batch.success.messages), () => ({}))
      }
      case Envelope.Action.acknowledgeReceipt: {
        const single = decodeAcknowledgement(request.params)
        if (Result.isFailure(single)) return Result.fail(invalid(RestRules.fieldOf(single.failure.message)))
        acknowledge(bot, [single.success])
        return Result.succeed({})
      }
      case Envelope.Action.acknowledgeReceipts: {
        const batch = decodeAcknowledgements(request.params)
        if (Result.isFailure(batch) || batch.success.messages.length > maximumPerFrame) {
          return Result.fail(invalid("messages"))
        }
        acknowledge(bot, batch.success.messages)
        return Result.succeed({})
      }
      default:
        return Result.fail(invalid("action"))
    }
  }

/** What comes on a connection is answered, unless something goes wrong with it. */
const makeReceive =
  (codec: Codec, faults: Faults, fork: Fork, giveAnswer: GiveAnswer) =>
  (bot: BotState, session: Session, requests: Array<string>, frame: Uint8Array | string) => {
    if (typeof frame === "string") return session.output.close(1003, "binary frames only")
    const { isTooLarge, request: decoded } = codec.decode(frame)
    if (Result.isFailure(decoded)) return session.output.close(1002, "not an envelope")
    const request = decoded.success
    requests.push(request.action)
    const applies = (fault: { readonly action?: string | undefined }) =>
      fault.action === undefined || fault.action === request.action
    if (faults.take("IgnoreRequest", applies)) return
    const failed = faults.take("FailRequest", applies)
    const result: Answer = failed
      ? Result.fail(Face.failure(failed.code))
      : isTooLarge
        ? Result.fail(Face.failure(400))
        : giveAnswer(bot, session, request)
    const response = codec.encode({
      id: request.id,
      action: request.action,
      ...(Result.isSuccess(result) ? { data: result.success.data } : { error: result.failure })
    })
    const finish = () => {
      if (postpone(session, finish)) return
      session.output.send(response)
      if (Result.isSuccess(result)) result.success.afterwards?.()
    }
    const delayed = faults.take("DelayAnswer")
    if (delayed === undefined) finish()
    else fork(Effect.delay(Effect.sync(finish), delayed.by))
  }

/** A handshake, and the connection that comes of it. */
const makeConnect =
  ({ encode }: Codec, faults: Faults, publish: Publish, receive: ReturnType<typeof makeReceive>) =>
  (bot: BotState, output: Face.Output): Result.Result<Face.ServerSession, { readonly status: number }> => {
    bot.handshakes++
    const refused = faults.take("RefuseHandshake")
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
    const error = faults.take("ErrorFrame")
    const dropped = faults.take("DropConnection")
    if (error) output.send(encode({ id: nilId, action: Envelope.Action.error, error: Face.failure(error.code) }))
    if (dropped) output.drop()
    return Result.succeed({
      receive: (frame) => {
        if (error === undefined) receive(bot, session, requests, frame)
      },
      closed
    })
  }

const makeNewKeystore = (
  uuid: () => string,
  random: SecureRandom.SecureRandom["Service"],
  signature: Signature.Signature["Service"]
) =>
  Effect.fnUntraced(function* (algorithm: "EdDSA" | "RS512") {
    const userId = uuid()
    const sessionId = uuid()
    if (algorithm === "RS512") {
      const { privateKey } = yield* signature.generateKeyPair(rsa1024)
      const pkcs8 = yield* KeyFormat.encode(KeyFormat.pkcs8, privateKey)
      return JSON.stringify({
        pin: "123456",
        client_id: userId,
        session_id: sessionId,
        pin_token: padded(Base64.encode(yield* random.randomBytes(128))),
        private_key: pem("RSA PRIVATE KEY", pkcs8.subarray(pkcs8Header))
      })
    }
    const { privateKey } = yield* signature.generateKeyPair(Signature.ed25519)
    // The server's half is a point of the curve: clients that encrypt a PIN compute with it.
    const server = yield* signature.generateKeyPair(Signature.ed25519)
    return JSON.stringify({
      app_id: userId,
      session_id: sessionId,
      server_public_key: Hex.encode(yield* Signature.toBytes(server.publicKey)),
      session_private_key: Hex.encode(yield* Signature.toBytes(privateKey))
    })
  }, Effect.orDie)

/** What the program sees of a bot, whichever session it has by then. */
const accountOf = (
  identity: Pick<BotAccount, "userId" | "sessionId" | "publicKey" | "keystore">,
  stateOf: Registry["stateOf"]
): BotAccount => {
  const read = <A>(f: (bot: BotState) => A) => Effect.sync(() => f(stateOf(identity)))
  const each = (f: (session: Session) => void) => read((bot) => [...bot.sessions].forEach(f))
  return {
    ...identity,
    identityNumber: Profiles.identityNumber(identity.userId, true),
    sent: read((bot) => [...bot.sent.values()].map(({ sent }) => sent)),
    acknowledged: read((bot) => bot.acknowledged.slice()),
    pending: read((bot) => Array.from(bot.pending.keys(), (id) => Branded.messageId(id))),
    pendingViews: read((bot) => Array.from(bot.pending.values(), ({ view }) => view)),
    attachments: read((bot) => bot.slots),
    handshakes: read((bot) => bot.handshakes),
    closeCodes: read((bot) => bot.closeCodes.slice()),
    connections: read((bot) => bot.sessions.size),
    requests: read((bot) => bot.requests.map((requests) => requests.slice())),
    cut: each((session) => session.output.drop()),
    halfOpen: each((session) => session.output.stall()),
    close: (code, reason = "") => each((session) => session.output.close(code, reason)),
    push: (frame) => each((session) => session.output.send(frame))
  }
}

/** Registers bots; one that is known keeps what waits for it. */
const makeRegister = Effect.fnUntraced(function* (
  { bots, stateOf }: Registry,
  phones: Phones.Phones,
  uuid: () => string
) {
  const signature = yield* Signature.Signature
  const newKeystore = makeNewKeystore(uuid, yield* SecureRandom.SecureRandom, signature)
  return Effect.fnUntraced(function* (key: BotKey) {
    const keystore = "keystore" in key ? key.keystore : yield* newKeystore(key.algorithm)
    const {
      key: privateHalf,
      sessionId,
      userId
    } = yield* Effect.provideService(Keystore.fromString(keystore), Signature.Signature, signature)
    const publicKey = yield* Effect.orDie<Signature.PublicKey, unknown, never>(
      privateHalf._tag === "Rsa"
        ? signature.publicKeyOf(privateHalf.privateKey)
        : Signature.publicKey(Signature.ed25519, privateHalf.publicKey)
    )
    const account = accountOf({ userId, sessionId, publicKey, keystore }, stateOf)
    const phone = phones.phone(userId, sessionId, privateHalf._tag === "Rsa" ? undefined : privateHalf.seed)
    const known = bots.get(userId)
    if (known !== undefined) {
      known.account = account
      known.phone = phone
      return account
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
      handshakes: 0,
      notices: 0,
      receipts: [],
      attachments: new Map(),
      slots: 0,
      phone,
      isEncrypted: false
    })
    return account
  })
})

/** The buttons of the newest message that has some. */
const shownButtons = (received: ReadonlyArray<Received>): ReturnType<typeof Buttons.of> =>
  received.map(Buttons.of).findLast((buttons) => buttons.length > 0) ?? []

/** The newest button of a label among what somebody has got, and where it is. */
const findButton = (received: ReadonlyArray<Received>, label: string) => {
  for (const message of received.toReversed()) {
    const button = Buttons.of(message).find((button) => button.label === label)
    if (button !== undefined) return { action: button.action, conversationId: message.conversationId }
  }
}

const isId = Schema.is(Ids.UserId)

const wrong = (sentence: string) => Effect.die(new Error(sentence))

/** A group of somebody's bot. Dies for what is none: a test that acts there is not what its author meant. */
const groupFor = (conversations: Conversations, { bot, name }: PersonState, id: Ids.ConversationId) =>
  Effect.suspend(() => {
    const conversation = conversations.get(id)
    if (conversation === undefined) return wrong(`There is no group ${id}.`)
    if (conversation.category !== "GROUP") return wrong(`${id} is a conversation of two, and no group.`)
    if (conversation.bot !== bot) return wrong(`The group ${id} is one of another bot than ${name}'s.`)
    return Effect.succeed(conversation)
  })

/** The same for who must be in it. */
const ownGroup = (conversations: Conversations, person: PersonState, id: Ids.ConversationId) =>
  Effect.flatMap(groupFor(conversations, person, id), (conversation) =>
    conversation.members.has(person)
      ? Effect.succeed(conversation)
      : wrong(`${person.name} is not in the group ${id}, and can do nothing there but join.`)
  )

/** Who comes into groups and goes, and has the bot come and go. */
const makeMoves = (
  person: PersonState,
  conversations: Conversations
): Pick<Person, "join" | "leave" | "invite" | "expel" | "appoint"> => {
  const { bot, name, userId } = person
  const inOwn = (id: Ids.ConversationId, act: (group: NonNullable<ReturnType<Conversations["get"]>>) => void) =>
    Effect.map(ownGroup(conversations, person, id), act)
  return {
    join: (id) =>
      Effect.map(groupFor(conversations, person, id), (group) => conversations.enter(group, person, "JOIN", userId)),
    leave: (id) =>
      Effect.map(groupFor(conversations, person, id), (group) => conversations.leave(group, person, "EXIT", userId)),
    invite: (id) => inOwn(id, (group) => conversations.enterBot(group, "ADD", userId)),
    expel: (id) => inOwn(id, (group) => conversations.leaveBot(group, "REMOVE", userId)),
    appoint: (id, who, role) =>
      Effect.flatMap(ownGroup(conversations, person, id), (group) => {
        const wire = role === "Admin" ? "ADMIN" : ""
        if (group.members.get(person)?.role !== "OWNER") return wrong(`${name} is not the owner of the group ${id}.`)
        const member = [...group.members.keys()].find(({ userId }) => userId === who.userId)
        if (member !== undefined) return Effect.sync(() => conversations.appoint(group, member, userId, wire))
        return group.botRole === undefined || who.userId !== bot.account.userId
          ? wrong(`${who.userId} is not in the group ${id}.`)
          : Effect.sync(() => conversations.appointBot(group, userId, wire))
      })
  }
}

/** What a person does besides speaking. */
const makeDoings = (
  person: PersonState,
  payments: Payments.Payments,
  say: Person["say"],
  conversations: Conversations,
  notify: BlazeServer["Service"]["notify"],
  derive: NewIds["derive"]
): ReturnType<typeof makeMoves> &
  Pick<Person, "tap" | "pay" | "authorize" | "revoke" | "block" | "unblock" | "turnOff" | "turnOn"> => {
  const { contact } = person
  return {
    ...makeMoves(person, conversations),
    tap: Effect.fnUntraced(function* (label) {
      const button = findButton(person.screen.shown(), label)
      if (button === undefined) return yield* wrong(`${person.name} sees no button "${label}".`)
      const { action, conversationId } = button
      if (action.startsWith("input:")) yield* say(action.slice("input:".length), conversationId)
      return action
    }),
    pay: Effect.fnUntraced(function* ({ amount, asset: given, memo = "", trace }) {
      const asset = Ids.toLowerCase(given)
      if (!isId(asset)) return yield* wrong(`${person.name} pays with an asset whose id is no UUID: "${given}".`)
      conversations.open(contact, person.bot, "CONTACT", person.userId, [person])
      const id = yield* derive("payment", person.userId, String(person.said++))
      const payment = {
        snapshot_id: id,
        opponent_id: person.userId,
        transaction_hash: "",
        asset_id: asset,
        trace_id: trace ?? id,
        memo: Hex.encode(memo)
      }
      const payload = { type: "snapshot", user_id: person.bot.account.userId, amount, ...payment }
      payments.record(person.bot, {
        ...payment,
        amount: BigDecimal.fromStringUnsafe(amount),
        request_id: payment.trace_id
      })
      return yield* notify(person.bot.account, {
        category: "SYSTEM_SAFE_SNAPSHOT",
        conversationId: contact,
        payload: JSON.stringify(payload)
      })
    }),
    authorize: Effect.sync(() => void (person.represented = true)),
    revoke: Effect.sync(() => void (person.represented = false)),
    block: Effect.sync(() => void (person.blocks = true)),
    unblock: Effect.sync(() => void (person.blocks = false)),
    turnOff: Effect.sync(() => void (person.off ??= [])),
    turnOn: Effect.sync(() => {
      const arriving = person.off ?? []
      person.off = undefined
      for (const { delivered, message } of arriving) {
        person.screen.arrive(message)
        delivered()
      }
    })
  }
}

/** Whether a bot gets what is said in a group. */
const makeReaches =
  (conversations: Conversations, isBlocked: (person: PersonState) => boolean, rule: () => GroupRule) =>
  (
    person: PersonState,
    conversation: string,
    category: string,
    payload: string | Uint8Array,
    quoted: string
  ): boolean => {
    const { bot } = person
    const place = conversations.get(conversation)
    if (place?.category !== "GROUP") return !isBlocked(person)
    if (place.botRole === undefined) return false
    if (rule() === "everything") return true
    if (bot.sent.has(quoted)) return true
    return (
      category.endsWith("_TEXT") && text(payload).startsWith(`@${Profiles.identityNumber(bot.account.userId, true)}`)
    )
  }

/** Somebody who speaks, to the bot and in groups. */
const makeSpeak = (
  person: PersonState,
  key: string,
  conversations: Conversations,
  ids: NewIds,
  phones: Phones.Phones,
  enqueue: Enqueue,
  reaches: ReturnType<typeof makeReaches>
) => {
  const { bot, contact, name, userId } = person
  const enter = (conversation: Ids.ConversationId) =>
    conversation === contact
      ? Effect.sync(() => conversations.open(contact, bot, "CONTACT", userId, [person]))
      : ownGroup(conversations, person, conversation)
  return (category: string, payload: string | Uint8Array, conversation = contact, quoted = "") =>
    enter(conversation).pipe(
      Effect.flatMap(() => ids.nextMessage(key, person.said++)),
      Effect.map((messageId) => {
        if (!reaches(person, conversation, category, payload, quoted)) return messageId
        const sealed =
          bot.isEncrypted && category.startsWith("PLAIN_")
            ? phones.seal(typeof payload === "string" ? encoder.encode(payload) : payload, person.phone, bot.phone)
            : undefined
        const from = {
          conversation_id: conversation,
          user_id: userId,
          session_id: person.phone.session.session_id,
          category: sealed === undefined ? category : category.replace("PLAIN_", encryptedPrefix),
          expire_in: conversations.get(conversation)?.expireIn ?? 0,
          ...(quoted === "" ? {} : { quote_message_id: quoted })
        }
        enqueue(bot, { by: name, from, payload, sealed, messageId })
        return messageId
      })
    )
}

const FilePayload = Schema.Struct({
  attachment_id: Schema.String,
  key: Schema.optionalKey(Schema.String),
  digest: Schema.optionalKey(Schema.String)
})
const decodeFilePayload = Schema.decodeUnknownOption(Schema.fromJsonString(FilePayload))

/** The files of people: what they send they have uploaded, and encrypted where their apps encrypt. */
const makeFiles = (
  phones: Phones.Phones,
  store: () => Face.Store,
  createAttachment: RestApi.Server<BotState>["createAttachment"]
) => ({
  upload: (bot: BotState, bytes: Uint8Array, fields: Readonly<Record<string, unknown>> = {}) =>
    Effect.suspend(() => {
      const { attachment_id } = createAttachment(bot)
      const sealed = bot.isEncrypted && bot.phone.own !== undefined ? phones.sealFile(bytes) : undefined
      const payload = {
        attachment_id,
        mime_type: "application/octet-stream",
        size: bytes.length,
        ...fields,
        ...(sealed === undefined ? {} : { key: padded(sealed.key), digest: padded(sealed.digest) })
      }
      return Effect.as(store().put(attachment_id, sealed?.bytes ?? bytes), JSON.stringify(payload))
    }),
  open: ({ text }: Pick<Received, "text">) =>
    Option.match(decodeFilePayload(text), {
      onNone: () => Effect.succeedNone,
      onSome: ({ attachment_id, digest, key }) =>
        Effect.map(
          store().get(attachment_id),
          Option.flatMap((bytes) =>
            key === undefined ? Option.some(bytes) : phones.openFile(bytes, key, digest ?? "")
          )
        )
    })
})

/** Somebody looks at what is meant of what the phone shows. */
const makeReading =
  (person: PersonState, { read }: Receipts) =>
  (isMeant: (message: Received) => boolean) =>
    Effect.sync(() => {
      const messages = person.screen.shown().filter(isMeant)
      for (const message of messages) {
        person.screen.read(message)
        read(person, message.messageId)
      }
      return messages.map(({ text }) => text)
    })

const makeUser = (
  registry: Registry,
  payments: Payments.Payments,
  conversations: Conversations,
  ids: NewIds,
  phones: Phones.Phones,
  files: ReturnType<typeof makeFiles>,
  enqueue: Enqueue,
  receipts: Receipts,
  reaches: ReturnType<typeof makeReaches>,
  now: () => number
) => {
  const { people, users } = registry
  const notify = makeNotify(registry, conversations, ids, enqueue)
  return Effect.fnUntraced(function* (account: BotAccount, name: string) {
    const bot = registry.stateOf(account)
    const key = `${account.userId} ${name}`
    const userId = Branded.userId(yield* ids.derive("person", key))
    const contact = yield* ids.contact(account, { userId })
    const nextPhone = (count: number, hasKey: boolean) =>
      Effect.map(ids.derive("session", key, ...(count === 0 ? [] : [String(count)])), (sessionId) =>
        phones.person(userId, sessionId, hasKey)
      )
    const person: PersonState = people.get(key) ?? {
      name,
      userId,
      phone: yield* nextPhone(0, true),
      phones: 0,
      bot,
      contact,
      said: 0,
      blocks: false,
      represented: false,
      off: undefined,
      screen: Screen.make(now)
    }
    people.set(key, person)
    users.set(person.userId, person)
    const speak = makeSpeak(person, key, conversations, ids, phones, enqueue, reaches)
    const say: Person["say"] = (content, conversation) => speak("PLAIN_TEXT", content, conversation)
    const reading = makeReading(person, receipts)
    const result: Person = {
      name,
      userId: person.userId,
      identityNumber: Profiles.identityNumber(person.userId, false),
      conversationId: contact,
      say,
      send: (category, payload, conversation) => speak(category, payload, conversation),
      sendFile: (category, bytes, fields, conversation) =>
        Effect.flatMap(files.upload(bot, bytes, fields), (payload) => speak(category, payload, conversation)),
      openFile: files.open,
      quote: (messageId, content, conversation) => speak("PLAIN_TEXT", content, conversation, messageId),
      recall: (message_id, conversation) =>
        Effect.tap(speak("MESSAGE_RECALL", JSON.stringify({ message_id }), conversation), () =>
          Effect.sync(() => {
            // Everybody's phone hears of it.
            for (const other of people.values()) if (other.bot === bot) other.screen.recall(message_id)
          })
        ),
      addBot: Effect.suspend(() => say("你好")),
      received: Effect.sync(() => person.screen.shown().slice()),
      reads: reading(() => true),
      unread: reading(({ messageId }) => !receipts.isRead(person, messageId)),
      pinned: (conversation = contact) => Effect.sync(() => person.screen.pins(conversation)),
      buttons: Effect.sync(() => shownButtons(person.screen.shown()).map(({ label }) => label)),
      changePhone: ({ hasKey = true } = {}) =>
        Effect.suspend(() =>
          Effect.map(nextPhone(++person.phones, hasKey), (phone) => {
            person.phone = phone
          })
        ),
      ...makeDoings(person, payments, say, conversations, notify, ids.derive)
    }
    return result
  })
}

const makeGroup =
  (
    { people, stateOf }: Registry,
    conversations: Conversations,
    { nextGroup }: NewIds
  ): BlazeServer["Service"]["group"] =>
  (account, members) =>
    Effect.map(nextGroup(account, members), (id) => {
      const states = members.map(({ name }) => people.get(`${account.userId} ${name}`)!)
      conversations.open(id, stateOf(account), "GROUP", states[0]?.userId ?? account.userId, states)
      return id
    })

/** Tells a bot what has changed in a group that it is in: in its own name where it has made the group, or has done it. */
const makeTell =
  ({ nextMessageUnsafe }: NewIds, enqueue: Enqueue) =>
  ({ bot, creatorId, id }: Directory.Conversation<BotState, PersonState>, change: Directory.Change): void =>
    enqueue(bot, {
      by: "Mixin",
      from: {
        conversation_id: id,
        ...speaker(bot.account, [creatorId, change.user_id].includes(bot.account.userId) ? bot.account.userId : mixin),
        category: "SYSTEM_CONVERSATION"
      },
      payload: JSON.stringify(change),
      messageId: nextMessageUnsafe(bot.account.userId, bot.notices++)
    })

const speaker = (account: BotAccount, userId: Ids.UserId) => ({
  user_id: userId,
  session_id: userId === account.userId ? account.sessionId : ""
})

/** What Mixin tells in the conversation of a person opens it. */
const makeNotify =
  (
    { stateOf, users }: Registry,
    conversations: Conversations,
    { nextMessage }: NewIds,
    enqueue: Enqueue
  ): BlazeServer["Service"]["notify"] =>
  (account, { category, conversationId, payload, userId = mixin }) =>
    Effect.suspend(() =>
      Effect.map(nextMessage(account.userId, stateOf(account).notices++), (messageId) => {
        const bot = stateOf(account)
        if (conversations.get(conversationId) === undefined) {
          const person = [...users.values()].find(({ contact }) => contact === conversationId)
          if (person?.bot === bot) conversations.open(person.contact, bot, "CONTACT", person.userId, [person])
        }
        const from = {
          conversation_id: conversationId,
          ...speaker(account, userId),
          category
        }
        enqueue(bot, { by: "Mixin", from, payload, messageId })
        return messageId
      })
    )

const refusal = ({ code, field }: { readonly code: number; readonly field?: string }) => Face.failure(code, field)

/** Whom a request names, each with the role that it asks for. */
const peopleOf = ({ users }: Registry, asked: ReadonlyArray<typeof Endpoint.ParticipantRequest.Type>) => {
  const people = asked.flatMap(({ role = "", user_id }) => {
    const person = users.get(user_id)
    return person === undefined ? [] : [{ person, role }]
  })
  return people.length === asked.length ? Result.succeed(people) : Result.fail(invalid("participants"))
}

/** Makes a conversation, or gives the one that is there where the bot is in it. */
const makeCreate =
  (
    registry: Registry,
    conversations: Conversations,
    contactOf: (bot: BotAccount, person: PersonState) => Ids.ConversationId
  ): RestApi.Server<BotState>["create"] =>
  (bot, { category, conversation_id, participants, ...names }) =>
    Result.flatMap(peopleOf(registry, participants), (asked) => {
      const known = conversations.get(conversation_id)
      if (known !== undefined && (known.bot !== bot || known.botRole === undefined)) {
        return Result.fail(Face.failure(403))
      }
      if (category === "GROUP") {
        const isContact = [...registry.users.values()].some(({ contact }) => contact === conversation_id)
        if (isContact) return Result.fail(invalid("conversation_id"))
        return Result.mapBoth(conversations.create(conversation_id, bot, asked, names), {
          onFailure: refusal,
          onSuccess: conversations.view
        })
      }
      const people = asked.map(({ person }) => person)
      const [person] = people
      if (person === undefined || people.length > 1) return Result.fail(invalid("participants"))
      if (conversation_id !== contactOf(bot.account, person)) return Result.fail(invalid("conversation_id"))
      if (person.blocks) return Result.fail(Face.failure(403))
      const { userId } = bot.account
      return Result.succeed(conversations.view(conversations.open(conversation_id, bot, "CONTACT", userId, people)))
    })

/** What the REST API does to conversations. */
const makeConversationRules = (
  registry: Registry,
  conversations: Conversations,
  contactOf: (bot: BotAccount, person: PersonState) => Ids.ConversationId
): Pick<
  RestApi.Server<BotState>,
  "conversation" | "create" | "update" | "change" | "rotate" | "mute" | "disappear" | "join" | "exit"
> => {
  type Conversation = Directory.Conversation<BotState, PersonState>
  const known = (bot: BotState, id: string) => Result.fromOption(conversations.of(bot, id), () => Face.failure(404))
  /** What is done to a conversation that the bot is in, as the API shows it afterwards. */
  const changed =
    <Arguments extends ReadonlyArray<unknown>>(
      change: (
        conversation: Conversation,
        ...args: Arguments
      ) => Result.Result<Conversation, { readonly code: number; readonly field?: string }>
    ) =>
    (bot: BotState, id: string, ...args: Arguments) =>
      Result.flatMap(known(bot, id), (conversation) =>
        Result.mapBoth(change(conversation, ...args), { onFailure: refusal, onSuccess: conversations.view })
      )
  return {
    conversation: (bot, id) => Option.map(conversations.of(bot, id), conversations.view),
    create: makeCreate(registry, conversations, contactOf),
    update: changed(conversations.update),
    rotate: changed(conversations.rotate),
    mute: changed(conversations.mute),
    disappear: changed(conversations.disappear),
    join: (bot, code) =>
      Result.map(
        Result.fromOption(conversations.byCode(bot, code), () => Face.failure(404)),
        (conversation) => {
          conversations.enterBot(conversation, "JOIN", bot.account.userId)
          return conversations.view(conversation)
        }
      ),
    exit: (bot, id) =>
      Result.flatMap(known(bot, id), (conversation) => {
        if (conversation.category !== "GROUP") return Result.fail(Face.failure(403))
        return Result.succeed(conversations.leaveBot(conversation, "EXIT", bot.account.userId))
      }),
    change: (bot, id, action, asked) =>
      Result.flatMap(known(bot, id), (conversation) =>
        Result.flatMap(peopleOf(registry, asked), (people) =>
          Result.mapBoth(conversations.change(conversation, action, people), {
            onFailure: refusal,
            onSuccess: conversations.view
          })
        )
      )
  }
}

/** Mixin tells somebody of a transfer of a bot's, in the conversation of the two. */
const makeNotifyTransfer =
  (
    { users }: Registry,
    conversations: Conversations,
    { deriveUnsafe }: NewIds,
    sending: Sending
  ): RestApi.Server<BotState>["notifyTransfer"] =>
  (bot, { output_index, receiver_id, transaction_hash }) => {
    const person = users.get(receiver_id)
    if (person === undefined || person.bot !== bot) return Result.fail(Face.failure(404))
    conversations.open(person.contact, bot, "CONTACT", person.userId, [person])
    return Result.succeed(
      sending.tell(bot, person, {
        message_id: Branded.messageId(deriveUnsafe("transfer", transaction_hash, String(output_index))),
        category: "SYSTEM_SAFE_SNAPSHOT",
        payload: JSON.stringify({
          type: "snapshot",
          transaction_hash,
          user_id: receiver_id,
          opponent_id: bot.account.userId
        })
      })
    )
  }

/** What the REST API tells of people, and of the bot itself. */
const makePeopleRules = (
  { bots, users }: Registry,
  profiles: Profiles.Profiles,
  conversations: Conversations
): Pick<
  RestApi.Server<BotState>,
  "me" | "updateMe" | "prefer" | "rotateMyCode" | "user" | "search" | "friends" | "blocked" | "relate" | "code"
> => {
  const shown = (bot: BotState, id: string): Option.Option<Endpoint.User> => {
    const person = users.get(id)
    if (person !== undefined) return Option.some(profiles.person(bot.account, person))
    return Option.map(Option.fromUndefinedOr(bots.get(id)), (other) =>
      other === bot ? profiles.me(bot.account) : profiles.bot(other.account)
    )
  }
  const people = (bot: BotState, relationship: string) =>
    [...users.values()]
      .filter((person) => person.bot === bot && profiles.relationship(bot.account, person) === relationship)
      .map((person) => profiles.person(bot.account, person))
  const botOf = (code: string) => [...bots.values()].find(({ account }) => profiles.me(account).code_id === code)
  return {
    code: (bot, code) =>
      Option.orElse(
        Option.map(conversations.byCode(bot, code), (group) => ({
          type: "conversation" as const,
          ...conversations.view(group)
        })),
        () =>
          Option.flatMap(Option.fromUndefinedOr(botOf(code)), ({ account }) =>
            Option.map(shown(bot, account.userId), (user) => ({ type: "user" as const, ...user }))
          )
      ),
    me: ({ account }) => profiles.me(account),
    updateMe: ({ account }, changes) => profiles.update(account, changes),
    prefer: ({ account }, preferences) => profiles.prefer(account, preferences),
    rotateMyCode: ({ account }) => profiles.rotateCode(account),
    user: shown,
    search: (bot, query) => {
      const id = [...users.keys(), ...bots.keys()].find(
        (id) => Profiles.identityNumber(Branded.userId(id), bots.has(id)) === query
      )
      return id === undefined ? Option.none() : shown(bot, id)
    },
    friends: (bot) => people(bot, "FRIEND"),
    blocked: (bot) => people(bot, "BLOCKING"),
    relate: (bot, { user_id, ...asked }) =>
      Option.map(Option.fromUndefinedOr(users.get(user_id)), (person) => profiles.relate(bot.account, person, asked))
  }
}

/** The slots for files, whose bytes a face takes and gives. */
const makeAttachmentRules = (
  { now, timestamp }: Time,
  uuid: () => string,
  origin: () => string
): Pick<RestApi.Server<BotState>, "createAttachment" | "attachment"> => ({
  createAttachment: (bot) => {
    const id = uuid()
    const url = `${origin()}${Face.attachmentPath}${id}`
    const attachment = { attachment_id: id, upload_url: url, view_url: url, created_at: timestamp() }
    bot.attachments.set(id, { at: now(), attachment })
    return attachment
  },
  attachment: (bot, id) => {
    const known = bot.attachments.get(id)
    return known !== undefined && now() - known.at < fileRetention ? Option.some(known.attachment) : Option.none()
  }
})

/** How many receipts are given at once. A guess: apps ask until nothing newer comes. */
const receiptsPerRequest = 500

const receiptsSince = ({ receipts }: BotState, nanos: bigint) =>
  receipts.filter(({ updated_at }) => (Nanoseconds.fromText(updated_at) ?? 0n) >= nanos).slice(0, receiptsPerRequest)

const makeConversations = (
  { now, timestamp }: Time,
  newCode: (id: string, count: number) => string,
  tell: ReturnType<typeof makeTell>
): Conversations =>
  Directory.make({
    timestamp,
    timeIn: (seconds) => new Date(now() + 1000 * seconds).toISOString(),
    newCode,
    tell
  })

/** What the REST API answers. */
const makeRules = (
  registry: Registry,
  conversations: Conversations,
  ids: NewIds,
  profiles: Profiles.Profiles,
  attachments: ReturnType<typeof makeAttachmentRules>,
  acknowledge: ReturnType<typeof makeAcknowledge>,
  sending: Sending
) =>
  RestApi.makeRules<BotState>({
    ...makeConversationRules(registry, conversations, ids.contactUnsafe),
    ...makePeopleRules(registry, profiles, conversations),
    notifyTransfer: makeNotifyTransfer(registry, conversations, ids, sending),
    ...attachments,
    createAttachment: (bot) => {
      bot.slots++
      return attachments.createAttachment(bot)
    },
    receiptsSince,
    failure: Face.failure,
    acknowledge,
    send: sending.all,
    sendOne: sending.alone,
    sendEncrypted: sending.encrypted,
    sessions: registry.sessionOf
  })

/** Where files are, as the face says that has them. */
const makeFilePlaces = () => ({ origin: "https://attachments.invalid", store: Face.memoryStore() })

/** The way in for the faces. */
const makeFace = (
  registry: Registry,
  faults: Faults,
  publish: Publish,
  connect: ReturnType<typeof makeConnect>,
  attachment: RestApi.Server<BotState>["attachment"],
  rules: ReadonlyArray<RestRules.Rule<BotState>>
): Omit<Face.Face, "listen" | "setOrigin" | "store" | "setStore"> => ({
  connect: (account, output) => connect(registry.stateOf(account), output),
  refuse: (account, status) => {
    if (Option.isSome(account)) registry.stateOf(account.value).handshakes++
    publish({ _tag: "Refused", status })
  },
  request: (account, request) => {
    const injected = faults.take("FailRest")
    if (injected !== undefined) return injected
    if (Option.isNone(account)) return RestRules.failed(Face.failure(401))
    return RestRules.answer(rules, registry.stateOf(account.value), request, Face.failure(404))
  },
  sessionOf: (account) => registry.stateOf(account).phone.own,
  isAttachment: (id) => [...registry.bots.values()].some((bot) => Option.isSome(attachment(bot, id))),
  takeCut: () => faults.take("CutTransfer")?.after
})

const make = Effect.gen(function* () {
  const time = makeTime(yield* Clock.Clock)
  const codec = yield* makeCodec
  const fork = yield* makeFork
  const events = yield* PubSub.sliding<Event>(10_000)
  const listeners: Array<Publish> = []
  const publish = (event: Event) => {
    for (const listener of listeners) listener(event)
    PubSub.publishUnsafe(events, event)
  }
  const faults = makeFaults()
  const registry = makeRegistry()
  const ids = yield* makeNewIds
  const phones = yield* Phones.make
  const payments = Payments.make(time.timestamp)

  const pushView = makePushView(codec, faults, ids.uuid)
  const receipts = makeReceipts(time, publish, pushView)
  const acknowledge = makeAcknowledge(publish)
  const enqueue = makeEnqueue(time, publish, pushView)
  const code = (...parts: ReadonlyArray<unknown>) => ids.deriveUnsafe("code", ...parts.map(String))
  const profiles = Profiles.make(code)
  const conversations = makeConversations(time, code, makeTell(ids, enqueue))
  const sending = makeSending(makeCheckPlace(conversations, registry), phones, time, publish, receipts)
  const giveAnswer = makeGiveAnswer(makeListPending(time, fork, pushView), sending, acknowledge)
  const connect = makeConnect(codec, faults, publish, makeReceive(codec, faults, fork, giveAnswer))

  const files = makeFilePlaces()
  const attachments = makeAttachmentRules(time, ids.uuid, () => files.origin)
  const rules = makeRules(registry, conversations, ids, profiles, attachments, acknowledge, sending)

  let groupRule: GroupRule = "everything"
  const isBlocked = (person: PersonState) => profiles.relationship(person.bot.account, person) === "BLOCKING"

  const makeBotWith = yield* makeRegister(registry, phones, ids.uuid)

  const face: Face.Face = {
    ...makeFace(registry, faults, publish, connect, attachments.attachment, [...rules, ...payments.rules]),
    setOrigin: (url) => void (files.origin = url),
    store: () => files.store,
    setStore: (other) => void (files.store = other),
    listen: (listener) => void listeners.push(listener)
  }

  return BlazeServer.of(
    Face.behind(face, {
      makeBot: Effect.orDie(makeBotWith({ algorithm: "EdDSA" })),
      makeBotWith,
      botById: (userId) => Option.map(Option.fromNullishOr(registry.bots.get(userId)), ({ account }) => account),
      user: makeUser(
        registry,
        payments,
        conversations,
        ids,
        phones,
        makeFiles(phones, () => files.store, attachments.createAttachment),
        enqueue,
        receipts,
        makeReaches(conversations, isBlocked, () => groupRule),
        time.now
      ),
      group: makeGroup(registry, conversations, ids),
      notify: makeNotify(registry, conversations, ids, enqueue),
      setEncryption: (bot, isOn) => Effect.sync(() => void (registry.stateOf(bot).isEncrypted = isOn)),
      setGroupRule: (rule) => Effect.sync(() => void (groupRule = rule)),
      inject: (fault, times = 1) => Effect.sync(() => faults.inject(fault, times)),
      heal: Effect.sync(faults.heal),
      setClockOffset: (input) => Effect.sync(() => time.setOffset(Duration.toMillis(input))),
      now: time.now,
      events: Stream.fromPubSub(events)
    })
  )
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<BlazeServer, never, Signer.Cryptography | Gzip.Gzip> = Layer.effect(BlazeServer, make)
