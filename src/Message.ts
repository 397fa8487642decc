/**
 * Incoming messages: a tagged union by category, with `Unknown` so that a new category never breaks a bot.
 *
 * Guarantee: every view that has an id becomes a message; its `_tag` is final when it is made, and reading it never throws.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Attachments from "./Attachments.ts"
import * as Base64 from "./Base64.ts"
import type * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Fields from "./internal/Fields.ts"
import * as Ids from "./Ids.ts"
import * as Digits from "./internal/Digits.ts"
import * as Roles from "./internal/Role.ts"
import * as Branded from "./internal/Branded.ts"

const jsonDecoder = new TextDecoder()
const noBytes = new Uint8Array(0)

const filled = (text: string | undefined) => (text ? Option.some(text) : Option.none<string>())

/** What a message takes besides its payload, in bytes: measured over views with all fields. */
const overhead = 1024

const encrypted = "ENCRYPTED_"

// docs/protocol.md section 5. A category that is empty is that of an echo or of a view without content.
const unsaid = /^(?:SYSTEM_|MESSAGE_|SIGNAL_|WEBRTC_|KRAKEN_|(?:PLAIN|ENCRYPTED)_JSON$|$)/

/**
 * What every message has, whatever its kind.
 *
 * @category models
 * @since 0.1.0
 */
abstract class Base {
  abstract readonly _tag: string

  /** The message as the server sent it, but for fields that were odd, see `Envelope.MessageView`. */
  readonly view: Envelope.MessageView
  readonly #decoder: Base64.Decoder

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder) {
    this.view = view
    this.#decoder = decoder
  }

  /** As the server wrote it, in upper case too, so that it can be acknowledged. */
  get id(): Ids.MessageId {
    return Branded.messageId(this.view.message_id)
  }

  get conversationId(): Ids.ConversationId {
    return Branded.conversationId(this.view.conversation_id ?? "")
  }

  /** Who speaks: the user whom the sending app represents, else the sender. Source: the official Dart client. */
  get senderId(): Ids.UserId {
    return Branded.userId(this.view.representative_id || this.view.user_id || "")
  }

  /** `PLAIN_TEXT` and so on, as it was sent; `docs/protocol.md` section 5. */
  get category(): string {
    return this.view.category ?? ""
  }

  /** It came encrypted; what could be decrypted of that is of its own kind, the rest `Unknown`. */
  get isEncrypted(): boolean {
    return this.category.startsWith(encrypted)
  }

  /** The category of what is inside: `PLAIN_TEXT` for `ENCRYPTED_TEXT`, else its own. Source: fox-one's Go client. */
  get plainCategory(): string {
    return this.isEncrypted ? this.category.replace(encrypted, "PLAIN_") : this.category
  }

  /** A notice of the system, of a transfer or of a change in a group, say: nobody said it. */
  get isSystem(): boolean {
    return this.category.startsWith("SYSTEM_")
  }

  /**
   * Somebody said it: a text, a picture, a card, encrypted or of a category yet to come. What the system, a recall, a pin, a call
   * or another device of somebody's has sent is not said, and nobody waits for an answer to it.
   */
  get isSaid(): boolean {
    return !unsaid.test(this.category)
  }

  /** RFC 3339 with up to nine fraction digits, as the server sent it: a `Date` would cut it to milliseconds. */
  get createdAt(): string {
    return this.view.created_at ?? ""
  }

  get quotedMessageId(): Option.Option<Ids.MessageId> {
    return this.view.quote_message_id ? Option.some(Branded.messageId(this.view.quote_message_id)) : Option.none()
  }

  /** It was waiting on the server when the bot connected, as opposed to sent just now. */
  get fromBacklog(): boolean {
    return this.view.source === "LIST_PENDING_MESSAGES"
  }

  /** About how many bytes of memory it takes. */
  get size(): number {
    return overhead + (this.view.data?.length ?? 0) + (this.view.data_base64?.length ?? 0)
  }

  /**
   * The payload, decoded from the one of its two fields that is sound, and decrypted; empty when neither is base64, or it could not be
   * decrypted.
   */
  get bytes(): Uint8Array {
    return Option.getOrElse(this.read(this.#decoder.decode), () => noBytes)
  }

  protected get payloadText(): string {
    return Option.getOrElse(this.read(this.#decoder.decodeText), () => "")
  }

  private read<A>(decode: (text: string) => Option.Option<A>): Option.Option<A> {
    const { data, data_base64 } = this.view
    return Option.orElse(decode(data_base64 || data || ""), () => decode(data ?? ""))
  }
}

abstract class BaseText extends Base {
  #text: string | undefined

  /** Decoded on first read; bytes that are not UTF-8 become U+FFFD. */
  get text(): string {
    return (this.#text ??= this.payloadText)
  }
}

/**
 * Text as somebody typed it. Category `PLAIN_TEXT`.
 *
 * @category models
 * @since 0.1.0
 */
export class Text extends BaseText {
  readonly _tag = "Text"
}

/**
 * A post: `text` is Markdown. Category `PLAIN_POST`.
 *
 * @category models
 * @since 0.1.0
 */
export class Post extends BaseText {
  readonly _tag = "Post"
}

const StickerPayload = Schema.Union([
  Schema.Struct({ sticker_id: Schema.NonEmptyString }),
  Schema.Struct({ name: Schema.NonEmptyString, album_id: Schema.NonEmptyString })
])

/**
 * A sticker. Category `PLAIN_STICKER`; old clients name it by album and name in place of an id.
 *
 * @category models
 * @since 0.1.0
 */
export class Sticker extends Base {
  readonly _tag = "Sticker"
  readonly stickerId: Option.Option<string>
  readonly name: Option.Option<string>
  readonly albumId: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof StickerPayload.Type) {
    super(view, decoder)
    const byId = "sticker_id" in payload
    this.stickerId = byId ? Option.some(Ids.toLowerCase(payload.sticker_id)) : Option.none()
    this.name = byId ? Option.none() : Option.some(payload.name)
    this.albumId = byId ? Option.none() : Option.some(Ids.toLowerCase(payload.album_id))
  }
}

/**
 * What an app shows of a picture until it has it: a small JPEG or PNG, or a BlurHash.
 *
 * @category models
 * @since 0.1.0
 */
export type Thumbnail =
  | { readonly _tag: "Picture"; readonly bytes: Uint8Array }
  | { readonly _tag: "BlurHash"; readonly text: string }

const filePayload = {
  attachment_id: Schema.NonEmptyString,
  mime_type: Fields.salvaged(Schema.NonEmptyString),
  size: Fields.salvaged(Fields.FiniteOrText.check(Schema.isGreaterThanOrEqualTo(0))),
  name: Fields.salvaged(Schema.NonEmptyString),
  created_at: Fields.salvaged(Schema.String),
  key: Fields.salvaged(Schema.String),
  digest: Fields.salvaged(Schema.String)
}
const side = Fields.salvaged(Fields.FiniteOrText.check(Schema.isGreaterThan(0)))
const FilePayload = Schema.Struct(filePayload)

const bytesIn = (text: string) => Option.getOrElse(Base64.decode(text), () => noBytes)

const secretOf = ({ digest, key }: typeof FilePayload.Type): Attachments.Attachment["secret"] => {
  if (key === undefined) return undefined
  // A key without a digest reads nothing.
  return { key: Redacted.make(bytesIn(key)), digest: bytesIn(digest ?? "") }
}

/** A message with a file. */
abstract class Media extends Base {
  /** The file, for `Attachments.download` and the like. */
  readonly attachment: Attachments.Attachment
  /** As whoever sent it says. */
  readonly mimeType: Option.Option<string>
  /** What the file is called, as whoever sent it says: nothing that a path could be made of without looking at it. */
  readonly name: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof FilePayload.Type) {
    super(view, decoder)
    this.attachment = {
      attachmentId: payload.attachment_id,
      size: payload.size,
      secret: secretOf(payload),
      createdAt: payload.created_at
    }
    this.mimeType = Option.fromUndefinedOr(payload.mime_type)
    this.name = Option.fromUndefinedOr(payload.name)
  }

  /** The bytes of the file, as they come: at most as many as the setting `maximumDownload` says. */
  get download(): Stream.Stream<Uint8Array, BlazeError.BlazeError, Attachments.Attachments> {
    return Attachments.download(this.attachment)
  }

  /** Writes the file to a path: beside it at first, and in its place once all of it is there. */
  saveTo(path: string): Effect.Effect<void, BlazeError.BlazeError, Attachments.Attachments | FileSystem.FileSystem> {
    return Attachments.saveTo(this.attachment, path)
  }
}

const thumbnailOf = (text: string | undefined): Option.Option<Thumbnail> => {
  if (!text) return Option.none()
  const bytes = Option.getOrElse(Base64.decode(text), () => noBytes)
  const isPicture = (bytes[0] === 0xff && bytes[1] === 0xd8) || (bytes[0] === 0x89 && bytes[1] === 0x50)
  return Option.some(isPicture ? { _tag: "Picture", bytes } : { _tag: "BlurHash", text })
}

const ImagePayload = Schema.Struct({
  ...filePayload,
  width: side,
  height: side,
  thumbnail: Fields.salvaged(Schema.String),
  caption: Fields.salvaged(Schema.String)
})

/**
 * A picture. Category `PLAIN_IMAGE`.
 *
 * @category models
 * @since 0.1.0
 */
export class Image extends Media {
  readonly _tag = "Image"
  /** In pixels, as whoever sent it says. */
  readonly width: Option.Option<number>
  readonly height: Option.Option<number>
  readonly thumbnail: Option.Option<Thumbnail>
  readonly caption: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof ImagePayload.Type) {
    super(view, decoder, payload)
    this.width = Option.fromUndefinedOr(payload.width)
    this.height = Option.fromUndefinedOr(payload.height)
    this.thumbnail = thumbnailOf(payload.thumbnail)
    this.caption = filled(payload.caption)
  }
}

/**
 * How long something takes. Apps write milliseconds, and whoever went by the documentation's sample seconds; nothing that somebody has
 * recorded is shorter than a tenth of a second.
 */
const durationOf = (duration: number | undefined): Option.Option<Duration.Duration> =>
  duration === undefined
    ? Option.none()
    : Option.some(duration < 100 ? Duration.seconds(duration) : Duration.millis(duration))

const VideoPayload = Schema.Struct({ ...ImagePayload.fields, duration: side })

/**
 * A film. Category `PLAIN_VIDEO`.
 *
 * @category models
 * @since 0.1.0
 */
export class Video extends Media {
  readonly _tag = "Video"
  /** In pixels, as whoever sent it says. */
  readonly width: Option.Option<number>
  readonly height: Option.Option<number>
  readonly duration: Option.Option<Duration.Duration>
  readonly thumbnail: Option.Option<Thumbnail>
  readonly caption: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof VideoPayload.Type) {
    super(view, decoder, payload)
    this.width = Option.fromUndefinedOr(payload.width)
    this.height = Option.fromUndefinedOr(payload.height)
    this.duration = durationOf(payload.duration)
    this.thumbnail = thumbnailOf(payload.thumbnail)
    this.caption = filled(payload.caption)
  }
}

const AudioPayload = Schema.Struct({
  ...filePayload,
  duration: side,
  waveform: Fields.salvaged(Schema.String),
  wave_form: Fields.salvaged(Schema.String)
})

/**
 * Something recorded. Category `PLAIN_AUDIO`.
 *
 * @category models
 * @since 0.1.0
 */
export class Audio extends Media {
  readonly _tag = "Audio"
  readonly duration: Option.Option<Duration.Duration>
  /** How loud it is, over its time. */
  readonly waveform: Option.Option<Uint8Array>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof AudioPayload.Type) {
    super(view, decoder, payload)
    this.duration = durationOf(payload.duration)
    this.waveform = Option.flatMap(filled(payload.waveform || payload.wave_form), Base64.decode)
  }
}

/**
 * A file of any type. Category `PLAIN_DATA`.
 *
 * @category models
 * @since 0.1.0
 */
export class File extends Media {
  readonly _tag = "File"
}

const LivePayload = Schema.Struct({
  url: Schema.NonEmptyString,
  thumb_url: Fields.salvaged(Schema.NonEmptyString),
  width: side,
  height: side,
  shareable: Fields.salvaged(Schema.Boolean)
})

/**
 * A film that is being sent, at an address. Category `PLAIN_LIVE`.
 *
 * @category models
 * @since 0.1.0
 */
export class Live extends Base {
  readonly _tag = "Live"
  readonly url: string
  readonly thumbUrl: Option.Option<string>
  readonly width: Option.Option<number>
  readonly height: Option.Option<number>
  readonly isShareable: boolean

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof LivePayload.Type) {
    super(view, decoder)
    this.url = payload.url
    this.thumbUrl = Option.fromUndefinedOr(payload.thumb_url)
    this.width = Option.fromUndefinedOr(payload.width)
    this.height = Option.fromUndefinedOr(payload.height)
    this.isShareable = payload.shareable ?? true
  }
}

const TranscriptPayload = Schema.Array(
  Schema.Struct({
    message_id: Fields.salvaged(Ids.MessageId),
    user_id: Fields.salvaged(Ids.UserId),
    user_full_name: Fields.salvaged(Schema.String),
    name: Fields.salvaged(Schema.String),
    category: Fields.salvaged(Schema.String),
    content: Fields.salvaged(Schema.String),
    created_at: Fields.salvaged(Schema.String)
  })
)

/**
 * One message of a transcript.
 *
 * @category models
 * @since 0.1.0
 */
export interface TranscriptEntry {
  readonly messageId: Option.Option<Ids.MessageId>
  readonly userId: Option.Option<Ids.UserId>
  /** Who has written it. */
  readonly name: string
  readonly category: string
  /** The text, of a text. */
  readonly content: string
  readonly createdAt: string
}

/**
 * Several messages that somebody passes on as one. Category `PLAIN_TRANSCRIPT`; of the media in it each client writes other fields, which are
 * in its bytes.
 *
 * @category models
 * @since 0.1.0
 */
export class Transcript extends Base {
  readonly _tag = "Transcript"
  readonly entries: ReadonlyArray<TranscriptEntry>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof TranscriptPayload.Type) {
    super(view, decoder)
    this.entries = payload.map((entry) => ({
      messageId: Option.fromUndefinedOr(entry.message_id),
      userId: Option.fromUndefinedOr(entry.user_id),
      name: entry.user_full_name ?? entry.name ?? "",
      category: entry.category ?? "",
      content: entry.content ?? "",
      createdAt: entry.created_at ?? ""
    }))
  }
}

const ContactPayload = Schema.Struct({ user_id: Ids.UserId })

/**
 * Somebody's contact card; `userId` is whose. Category `PLAIN_CONTACT`.
 *
 * @category models
 * @since 0.1.0
 */
export class Contact extends Base {
  readonly _tag = "Contact"
  readonly userId: Ids.UserId

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof ContactPayload.Type) {
    super(view, decoder)
    this.userId = payload.user_id
  }
}

const LocationPayload = Schema.Struct({
  longitude: Fields.FiniteOrText,
  latitude: Fields.FiniteOrText,
  name: Fields.salvaged(Schema.String),
  address: Fields.salvaged(Schema.String)
})

/**
 * A place, in degrees. Category `PLAIN_LOCATION`.
 *
 * @category models
 * @since 0.1.0
 */
export class Location extends Base {
  readonly _tag = "Location"
  readonly longitude: number
  readonly latitude: number
  readonly name: Option.Option<string>
  readonly address: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof LocationPayload.Type) {
    super(view, decoder)
    this.longitude = payload.longitude
    this.latitude = payload.latitude
    this.name = payload.name ? Option.some(payload.name) : Option.none()
    this.address = payload.address ? Option.some(payload.address) : Option.none()
  }
}

/**
 * A button: what it is called, and what a tap on it does. `input:TEXT` has the person say the text, an address is opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Button {
  readonly label: string
  readonly action: string
  readonly color: Option.Option<string>
}

const ButtonPayload = Schema.Struct({
  label: Schema.String,
  action: Schema.String,
  color: Fields.salvaged(Schema.String)
})

const toButton = ({ action, color, label }: typeof ButtonPayload.Type): Button => ({
  label,
  action,
  color: Option.fromUndefinedOr(color)
})

const ButtonsPayload = Schema.Array(ButtonPayload)

/**
 * Buttons beneath each other. Category `APP_BUTTON_GROUP`.
 *
 * @category models
 * @since 0.1.0
 */
export class Buttons extends Base {
  readonly _tag = "Buttons"
  readonly buttons: ReadonlyArray<Button>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof ButtonsPayload.Type) {
    super(view, decoder)
    this.buttons = payload.map(toButton)
  }
}

const CardPayload = Schema.Struct({
  app_id: Fields.salvaged(Ids.UserId),
  title: Schema.String,
  description: Fields.salvaged(Schema.String),
  icon_url: Fields.salvaged(Schema.String),
  cover_url: Fields.salvaged(Schema.String),
  cover: Fields.salvaged(Schema.Struct({ url: Schema.String })),
  action: Fields.salvaged(Schema.String),
  actions: Fields.salvaged(Schema.Array(ButtonPayload)),
  shareable: Fields.salvaged(Schema.Boolean)
})

/**
 * A card: old ones have an icon and one action for the whole, new ones a cover and buttons. Where there is an action, Mixin's apps look at
 * neither cover nor buttons. Category `APP_CARD`.
 *
 * @category models
 * @since 0.1.0
 */
export class Card extends Base {
  readonly _tag = "Card"
  /** The bot that it is from. */
  readonly appId: Option.Option<Ids.UserId>
  readonly title: string
  readonly description: string
  readonly iconUrl: Option.Option<string>
  readonly coverUrl: Option.Option<string>
  readonly action: Option.Option<string>
  readonly buttons: ReadonlyArray<Button>
  readonly isShareable: boolean

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof CardPayload.Type) {
    super(view, decoder)
    this.appId = Option.fromUndefinedOr(payload.app_id)
    this.title = payload.title
    this.description = payload.description ?? ""
    this.iconUrl = filled(payload.icon_url)
    this.coverUrl = filled(payload.cover_url || payload.cover?.url)
    this.action = filled(payload.action)
    this.buttons = (payload.actions ?? []).map(toButton)
    this.isShareable = payload.shareable ?? true
  }
}

const SnapshotPayload = Schema.Struct({
  snapshot_id: Schema.NonEmptyString,
  asset_id: Schema.NonEmptyString,
  amount: Fields.Decimal,
  opponent_id: Fields.salvaged(Ids.UserId),
  counter_user_id: Fields.salvaged(Ids.UserId),
  trace_id: Fields.salvaged(Schema.NonEmptyString),
  memo: Fields.salvaged(Schema.String),
  transaction_hash: Fields.salvaged(Schema.NonEmptyString),
  inscription_hash: Fields.salvaged(Schema.NonEmptyString),
  created_at: Fields.salvaged(Schema.String)
})

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const readMemo = (memo: string): string => {
  const bytes = memo.length > 0 ? Result.getSuccess(Hex.decode(memo)) : Option.none()
  if (Option.isNone(bytes)) return memo
  try {
    return strictDecoder.decode(bytes.value)
  } catch {
    return memo
  }
}

/**
 * A notice of the system: somebody has paid the bot, or the bot somebody. Categories `SYSTEM_ACCOUNT_SNAPSHOT`, `SYSTEM_SAFE_SNAPSHOT` and
 * `SYSTEM_SAFE_INSCRIPTION`.
 *
 * **Gotchas**
 *
 * A notice is not the ledger: it may come late, again, or not at all. Look the transfer up, or poll `GET /safe/snapshots`, before
 * something is given for it.
 *
 * @category models
 * @since 0.1.0
 */
export class Snapshot extends Base {
  readonly _tag = "Snapshot"
  readonly snapshotId: string
  readonly assetId: string
  /** How much, exactly as it was written, without its sign. */
  readonly amount: BigDecimal.BigDecimal
  /** `Received`: the bot has more than before. */
  readonly direction: "Received" | "Sent"
  /** Who paid, or was paid; nobody for a deposit from outside. */
  readonly opponentId: Option.Option<Ids.UserId>
  /** What makes the transfer happen once: that of the payment link, say. */
  readonly traceId: Option.Option<string>
  /** As it was sent: hexadecimal in Safe, often base64 before. */
  readonly memo: string
  /** The memo as text: in Safe what hexadecimal hides, if it hides one; else as it was sent. */
  readonly memoText: string
  readonly transactionHash: Option.Option<string>
  readonly inscriptionHash: Option.Option<string>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof SnapshotPayload.Type) {
    super(view, decoder)
    const amount = BigDecimal.fromStringUnsafe(payload.amount)
    this.snapshotId = Ids.toLowerCase(payload.snapshot_id)
    this.assetId = Ids.toLowerCase(payload.asset_id)
    this.amount = BigDecimal.abs(amount)
    this.direction = BigDecimal.isNegative(amount) ? "Sent" : "Received"
    this.opponentId = Option.fromUndefinedOr(payload.opponent_id ?? payload.counter_user_id)
    this.traceId = Option.map(Option.fromUndefinedOr(payload.trace_id), Ids.toLowerCase)
    this.memo = payload.memo ?? ""
    this.memoText = this.isSafe ? readMemo(this.memo) : this.memo
    this.transactionHash = Option.fromUndefinedOr(payload.transaction_hash)
    this.inscriptionHash = Option.fromUndefinedOr(payload.inscription_hash)
  }

  /** The amount in plain digits, as wallets and people write it: without an exponent. */
  get amountText(): string {
    return Digits.of(this.amount)
  }

  /** Whether it is a transfer of Safe, as opposed to the API before it. */
  get isSafe(): boolean {
    return this.category !== "SYSTEM_ACCOUNT_SNAPSHOT"
  }
}

const groupActions = {
  CREATE: "Created",
  ADD: "Added",
  REMOVE: "Removed",
  JOIN: "Joined",
  EXIT: "Left",
  ROLE: "RoleChanged",
  UPDATE: "Updated",
  EXPIRE: "ExpirationChanged"
} as const

export type { Role } from "./internal/Role.ts"

const GroupEventPayload = Schema.Struct({
  action: Schema.Literals(["CREATE", "ADD", "REMOVE", "JOIN", "EXIT", "ROLE", "UPDATE", "EXPIRE"]),
  participant_id: Fields.salvaged(Ids.UserId),
  user_id: Fields.salvaged(Ids.UserId),
  role: Fields.salvaged(Schema.String),
  expire_in: Fields.salvaged(Fields.FiniteOrText)
})

/**
 * A notice of the system: something has changed in a group. Category `SYSTEM_CONVERSATION`.
 *
 * @category models
 * @since 0.1.0
 */
export class GroupEvent extends Base {
  readonly _tag = "GroupEvent"
  readonly action: (typeof groupActions)[keyof typeof groupActions]
  /** Who was added or removed, joined, left, or is something else now. */
  readonly participantId: Option.Option<Ids.UserId>
  /** Who did it. */
  readonly actorId: Option.Option<Ids.UserId>
  /** What the participant is now, where the notice says so. */
  readonly role: Option.Option<Roles.Role>
  /** After how many seconds messages disappear from now on. */
  readonly expireIn: Option.Option<number>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof GroupEventPayload.Type) {
    super(view, decoder)
    this.action = groupActions[payload.action]
    this.participantId = Option.fromUndefinedOr(payload.participant_id)
    this.actorId = Option.filter(
      Option.fromUndefinedOr(
        payload.user_id ?? (view.user_id === undefined ? undefined : Branded.userId(view.user_id))
      ),
      (id) => id !== "" && id !== nobody
    )
    this.role = Option.fromUndefinedOr(payload.role === undefined ? undefined : Roles.fromWire(payload.role))
    this.expireIn = Option.fromUndefinedOr(payload.expire_in)
  }

  /** Whether it is about somebody: `delivery.message.isAbout(delivery.botId)` tells that the bot itself was added, say. */
  isAbout(userId: Ids.UserId): boolean {
    return Option.contains(this.participantId, userId)
  }
}

// As whom the system speaks. Source: the official Flutter app.
const nobody = "00000000-0000-0000-0000-000000000000"

const RecallPayload = Schema.Struct({ message_id: Ids.MessageId })

/**
 * Somebody has taken a message back. Category `MESSAGE_RECALL`.
 *
 * @category models
 * @since 0.1.0
 */
export class Recall extends Base {
  readonly _tag = "Recall"
  /** The message that is taken back. */
  readonly messageId: Ids.MessageId

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof RecallPayload.Type) {
    super(view, decoder)
    this.messageId = payload.message_id
  }
}

const PinPayload = Schema.Struct({
  action: Schema.Literals(["PIN", "UNPIN"]),
  message_ids: Schema.Array(Ids.MessageId)
})

/**
 * Somebody has pinned messages in a conversation, or unpinned them. Category `MESSAGE_PIN`.
 *
 * @category models
 * @since 0.1.0
 */
export class Pin extends Base {
  readonly _tag = "Pin"
  readonly isPinned: boolean
  readonly messageIds: ReadonlyArray<Ids.MessageId>

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, payload: typeof PinPayload.Type) {
    super(view, decoder)
    this.isPinned = payload.action === "PIN"
    this.messageIds = payload.message_ids
  }
}

/**
 * A category this version does not know, or a known one whose payload is not what it should be.
 *
 * @category models
 * @since 0.1.0
 */
export class Unknown extends Base {
  readonly _tag = "Unknown"
  /** Why it is not of a kind that is known, for a log. */
  readonly reason: string
  /** It is encrypted, and could not be decrypted: there is nothing in it to read or to pass on. */
  readonly isSealed: boolean

  constructor(view: Envelope.MessageView, decoder: Base64.Decoder, reason: string, isSealed = false) {
    super(view, decoder)
    this.reason = reason
    this.isSealed = isSealed
  }
}

/** @since 0.1.0 */
export type Message =
  | Text
  | Post
  | Image
  | Video
  | Audio
  | File
  | Live
  | Transcript
  | Sticker
  | Contact
  | Location
  | Buttons
  | Card
  | Snapshot
  | GroupEvent
  | Recall
  | Pin
  | Unknown

/** How much of what a schema says is kept: it may quote all that somebody sent. */
const maximumReason = 300

type Make = (view: Envelope.MessageView, decoder: Base64.Decoder) => Message

const json = <A>(
  schema: Schema.Decoder<A>,
  Kind: new (view: Envelope.MessageView, decoder: Base64.Decoder, payload: A) => Message
): Make => {
  const decodePayload = Schema.decodeUnknownResult(schema)
  return (view, decoder) => {
    const unread = new Unknown(view, decoder, "a payload that is not JSON")
    let payload: unknown
    try {
      payload = JSON.parse(jsonDecoder.decode(unread.bytes))
    } catch {
      return unread
    }
    const decoded = decodePayload(payload)
    return Result.isSuccess(decoded)
      ? new Kind(view, decoder, decoded.success)
      : new Unknown(view, decoder, `a payload of another form: ${decoded.failure.message.slice(0, maximumReason)}`)
  }
}

// An empty text has one; a text whose fields are of other types does not, and is not an empty text.
const hasPayload = ({ data, data_base64 }: Envelope.MessageView) => data_base64 !== undefined || data !== undefined

const text =
  (Kind: new (view: Envelope.MessageView, decoder: Base64.Decoder) => Message): Make =>
  (view, decoder) =>
    hasPayload(view) ? new Kind(view, decoder) : new Unknown(view, decoder, "a text without a payload")

const constructors: ReadonlyMap<string, Make> = new Map([
  ["PLAIN_TEXT", text(Text)],
  ["PLAIN_POST", text(Post)],
  ["PLAIN_IMAGE", json(ImagePayload, Image)],
  ["PLAIN_VIDEO", json(VideoPayload, Video)],
  ["PLAIN_AUDIO", json(AudioPayload, Audio)],
  ["PLAIN_DATA", json(FilePayload, File)],
  ["PLAIN_LIVE", json(LivePayload, Live)],
  ["PLAIN_TRANSCRIPT", json(TranscriptPayload, Transcript)],
  ["PLAIN_STICKER", json(StickerPayload, Sticker)],
  ["PLAIN_CONTACT", json(ContactPayload, Contact)],
  ["PLAIN_LOCATION", json(LocationPayload, Location)],
  ["APP_BUTTON_GROUP", json(ButtonsPayload, Buttons)],
  ["APP_CARD", json(CardPayload, Card)],
  ["SYSTEM_ACCOUNT_SNAPSHOT", json(SnapshotPayload, Snapshot)],
  ["SYSTEM_SAFE_SNAPSHOT", json(SnapshotPayload, Snapshot)],
  ["SYSTEM_SAFE_INSCRIPTION", json(SnapshotPayload, Snapshot)],
  ["SYSTEM_CONVERSATION", json(GroupEventPayload, GroupEvent)],
  ["MESSAGE_RECALL", json(RecallPayload, Recall)],
  ["MESSAGE_PIN", json(PinPayload, Pin)]
])

/**
 * The message that a view shows; `decoder` reads its payload when somebody asks for it, see `Base64.Decoder`.
 *
 * **Example** (A view off the wire)
 *
 * ```ts
 * import { Message } from "effect-blaze"
 *
 * const message = Message.fromView({ message_id: "928c5c40-769c-3e97-8387-fb1ae0645311", category: "PLAIN_TEXT", data: "aGk=" })
 * console.assert(Message.isText(message) && message.text === "hi")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromView = (view: Envelope.MessageView, decoder: Base64.Decoder = Base64.portable): Message =>
  constructors.get(view.category ?? "")?.(view, decoder) ??
  (view.category?.startsWith(encrypted)
    ? sealed(view, "it is encrypted, and was not decrypted")
    : ofNoKind(view, decoder, view.category))

const ofNoKind = (view: Envelope.MessageView, decoder: Base64.Decoder, category = "") =>
  new Unknown(view, decoder, `the category ${JSON.stringify(category)}`)

/** Its bytes are nobody's payload. */
const sealed = (view: Envelope.MessageView, reason: string) =>
  new Unknown(view, Base64.decoderOf(Option.none), reason, true)

/**
 * The message that an encrypted one holds, of its own kind, by its payload or by why that could not be had. `message.view` stays as it came.
 *
 * @category constructors
 * @since 0.1.0
 */
export const decrypted = (message: Message, payload: Result.Result<Uint8Array, string>): Message => {
  const { plainCategory, view } = message
  if (Result.isFailure(payload)) return sealed(view, payload.failure)
  const decoder = Base64.decoderOf(() => Option.some(payload.success.slice()))
  return constructors.get(plainCategory)?.(view, decoder) ?? ofNoKind(view, decoder, plainCategory)
}

const is =
  <Tag extends Message["_tag"]>(tag: Tag) =>
  (message: Message): message is Extract<Message, { readonly _tag: Tag }> =>
    message._tag === tag

/** @since 0.1.0 */
export const isText: (message: Message) => message is Text = is("Text")
/** @since 0.1.0 */
export const isPost: (message: Message) => message is Post = is("Post")
/** @since 0.1.0 */
export const isImage: (message: Message) => message is Image = is("Image")
/** @since 0.1.0 */
export const isVideo: (message: Message) => message is Video = is("Video")
/** @since 0.1.0 */
export const isAudio: (message: Message) => message is Audio = is("Audio")
/** @since 0.1.0 */
export const isFile: (message: Message) => message is File = is("File")
/** @since 0.1.0 */
export const isLive: (message: Message) => message is Live = is("Live")
/** @since 0.1.0 */
export const isTranscript: (message: Message) => message is Transcript = is("Transcript")
/** @since 0.1.0 */
export const isSticker: (message: Message) => message is Sticker = is("Sticker")
/** @since 0.1.0 */
export const isContact: (message: Message) => message is Contact = is("Contact")
/** @since 0.1.0 */
export const isLocation: (message: Message) => message is Location = is("Location")
/** @since 0.1.0 */
export const isButtons: (message: Message) => message is Buttons = is("Buttons")
/** @since 0.1.0 */
export const isCard: (message: Message) => message is Card = is("Card")
/** @since 0.1.0 */
export const isSnapshot: (message: Message) => message is Snapshot = is("Snapshot")
/** @since 0.1.0 */
export const isGroupEvent: (message: Message) => message is GroupEvent = is("GroupEvent")
/** @since 0.1.0 */
export const isRecall: (message: Message) => message is Recall = is("Recall")
/** @since 0.1.0 */
export const isPin: (message: Message) => message is Pin = is("Pin")
/** @since 0.1.0 */
export const isUnknown: (message: Message) => message is Unknown = is("Unknown")
