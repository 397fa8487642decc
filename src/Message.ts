/**
 * Incoming messages: a tagged union by category, with `Unknown` so that a new category never breaks a bot.
 *
 * Guarantee: every view that has an id becomes a message; its `_tag` is final when it is made, and reading it never throws.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Base64 from "./Base64.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"

const decoder = new TextDecoder()
const noBytes = new Uint8Array(0)

type Decode = typeof Base64.Decoder.Service

/** What a message takes besides its payload, in bytes: measured over views with all fields. */
const overhead = 1024

// protocol.md section 5. A category that is empty is that of an echo or of a view without content.
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
  readonly #decode: Decode

  constructor(view: Envelope.MessageView, decode: Decode) {
    this.view = view
    this.#decode = decode
  }

  /** As the server wrote it, in upper case too, so that it can be acknowledged. */
  get id(): Ids.MessageId {
    return this.view.message_id as Ids.MessageId
  }

  get conversationId(): Ids.ConversationId {
    return (this.view.conversation_id ?? "") as Ids.ConversationId
  }

  /** Who speaks: the user whom the sending app represents, else the sender. Source: the official Dart client. */
  get senderId(): Ids.UserId {
    return (this.view.representative_id || this.view.user_id || "") as Ids.UserId
  }

  /** `PLAIN_TEXT` and so on; protocol section 5. */
  get category(): string {
    return this.view.category ?? ""
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
    return this.view.quote_message_id ? Option.some(this.view.quote_message_id as Ids.MessageId) : Option.none()
  }

  /** It was waiting on the server when the bot connected, as opposed to sent just now. */
  get fromBacklog(): boolean {
    return this.view.source === "LIST_PENDING_MESSAGES"
  }

  /** About how many bytes of memory it takes. */
  get size(): number {
    return overhead + (this.view.data?.length ?? 0) + (this.view.data_base64?.length ?? 0)
  }

  /** The payload, decoded from the one of its two fields that is sound; empty when neither is base64. */
  get bytes(): Uint8Array {
    const { data, data_base64 } = this.view
    const decoded = this.#decode(data_base64 || data || "")
    return Option.getOrElse(
      Option.orElse(decoded, () => this.#decode(data ?? "")),
      () => noBytes
    )
  }
}

abstract class BaseText extends Base {
  #text: string | undefined

  /** Decoded on first read; bytes that are not UTF-8 become U+FFFD. */
  get text(): string {
    return (this.#text ??= decoder.decode(this.bytes))
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

  constructor(view: Envelope.MessageView, decode: Decode, payload: typeof StickerPayload.Type) {
    super(view, decode)
    const byId = "sticker_id" in payload
    this.stickerId = byId ? Option.some(Ids.toLowerCase(payload.sticker_id)) : Option.none()
    this.name = byId ? Option.none() : Option.some(payload.name)
    this.albumId = byId ? Option.none() : Option.some(Ids.toLowerCase(payload.album_id))
  }
}

/**
 * A message that only the bot's own session can read; this version cannot. Category `ENCRYPTED_TEXT` and so on.
 *
 * @category models
 * @since 0.1.0
 */
export class Encrypted extends Base {
  readonly _tag = "Encrypted"

  /** The category of what is inside: `PLAIN_TEXT` for `ENCRYPTED_TEXT`. Source: fox-one's Go client. */
  get plainCategory(): string {
    return this.category.replace(encrypted, "PLAIN_")
  }
}

const encrypted = "ENCRYPTED_"

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

  constructor(view: Envelope.MessageView, decode: Decode, payload: typeof ContactPayload.Type) {
    super(view, decode)
    this.userId = payload.user_id
  }
}

const LocationPayload = Schema.Struct({
  longitude: Envelope.FiniteOrText,
  latitude: Envelope.FiniteOrText,
  name: Envelope.salvaged(Schema.String),
  address: Envelope.salvaged(Schema.String)
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

  constructor(view: Envelope.MessageView, decode: Decode, payload: typeof LocationPayload.Type) {
    super(view, decode)
    this.longitude = payload.longitude
    this.latitude = payload.latitude
    this.name = payload.name ? Option.some(payload.name) : Option.none()
    this.address = payload.address ? Option.some(payload.address) : Option.none()
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
}

/** @since 0.1.0 */
export type Message = Text | Post | Sticker | Contact | Location | Encrypted | Unknown

type Make = (view: Envelope.MessageView, decode: Decode) => Message

const json =
  <A>(
    decodePayload: (payload: unknown) => Result.Result<A, unknown>,
    Kind: new (view: Envelope.MessageView, decode: Decode, payload: A) => Message
  ): Make =>
  (view, decode) => {
    const unknown = new Unknown(view, decode)
    let payload: unknown
    try {
      payload = JSON.parse(decoder.decode(unknown.bytes))
    } catch {
      return unknown
    }
    const decoded = decodePayload(payload)
    return Result.isSuccess(decoded) ? new Kind(view, decode, decoded.success) : unknown
  }

// An empty text has one; a text whose fields are of other types does not, and is not an empty text.
const hasPayload = ({ data, data_base64 }: Envelope.MessageView) => data_base64 !== undefined || data !== undefined

const text =
  (Kind: new (view: Envelope.MessageView, decode: Decode) => Message): Make =>
  (view, decode) =>
    hasPayload(view) ? new Kind(view, decode) : new Unknown(view, decode)

const constructors: ReadonlyMap<string, Make> = new Map([
  ["PLAIN_TEXT", text(Text)],
  ["PLAIN_POST", text(Post)],
  ["PLAIN_STICKER", json(Schema.decodeUnknownResult(StickerPayload), Sticker)],
  ["PLAIN_CONTACT", json(Schema.decodeUnknownResult(ContactPayload), Contact)],
  ["PLAIN_LOCATION", json(Schema.decodeUnknownResult(LocationPayload), Location)]
])

/**
 * The message that a view shows; `decode` reads its payload when somebody asks for it, see `Base64.Decoder`.
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
export const fromView = (view: Envelope.MessageView, decode: typeof Base64.Decoder.Service = Base64.decode): Message =>
  constructors.get(view.category ?? "")?.(view, decode) ??
  (view.category?.startsWith(encrypted) ? new Encrypted(view, decode) : new Unknown(view, decode))

const is =
  <Tag extends Message["_tag"]>(tag: Tag) =>
  (message: Message): message is Extract<Message, { readonly _tag: Tag }> =>
    message._tag === tag

/** @since 0.1.0 */
export const isText: (message: Message) => message is Text = is("Text")
/** @since 0.1.0 */
export const isPost: (message: Message) => message is Post = is("Post")
/** @since 0.1.0 */
export const isSticker: (message: Message) => message is Sticker = is("Sticker")
/** @since 0.1.0 */
export const isContact: (message: Message) => message is Contact = is("Contact")
/** @since 0.1.0 */
export const isLocation: (message: Message) => message is Location = is("Location")
/** @since 0.1.0 */
export const isEncrypted: (message: Message) => message is Encrypted = is("Encrypted")
/** @since 0.1.0 */
export const isUnknown: (message: Message) => message is Unknown = is("Unknown")
