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
import type * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"

const decoder = new TextDecoder()
const noBytes = new Uint8Array(0)

/** What a message takes besides its payload, in bytes: measured over views with all fields. */
const overhead = 1024

/**
 * What every message has, whatever its kind.
 *
 * @category models
 * @since 0.1.0
 */
abstract class Base {
  abstract readonly _tag: string

  /** The message as the server sent it. */
  readonly view: Envelope.MessageView

  constructor(view: Envelope.MessageView) {
    this.view = view
  }

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

  get isSystem(): boolean {
    return this.category.startsWith("SYSTEM_")
  }
  get isFromPerson(): boolean {
    return !/^(SYSTEM_|MESSAGE_|WEBRTC_|KRAKEN_|SIGNAL_|PLAIN_JSON)/.test(this.category)
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

  /** The payload, decoded from base64; empty when it is not base64. */
  get bytes(): Uint8Array {
    return Option.getOrElse(Base64.decode(this.view.data_base64 || this.view.data || ""), () => noBytes)
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

  constructor(view: Envelope.MessageView, payload: typeof StickerPayload.Type) {
    super(view)
    const byId = "sticker_id" in payload
    this.stickerId = byId ? Option.some(payload.sticker_id) : Option.none()
    this.name = byId ? Option.none() : Option.some(payload.name)
    this.albumId = byId ? Option.none() : Option.some(payload.album_id)
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

  constructor(view: Envelope.MessageView, payload: typeof ContactPayload.Type) {
    super(view)
    this.userId = payload.user_id
  }
}

const text = Schema.optional(Schema.NullOr(Schema.String))
const LocationPayload = Schema.Struct({
  longitude: Schema.Finite,
  latitude: Schema.Finite,
  name: text,
  address: text
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

  constructor(view: Envelope.MessageView, payload: typeof LocationPayload.Type) {
    super(view)
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
export type Message = Text | Post | Sticker | Contact | Location | Unknown

const json =
  <A>(
    decode: (payload: unknown) => Result.Result<A, unknown>,
    make: (view: Envelope.MessageView, payload: A) => Message
  ) =>
  (view: Envelope.MessageView): Message => {
    const unknown = new Unknown(view)
    let payload: unknown
    try {
      payload = JSON.parse(decoder.decode(unknown.bytes))
    } catch {
      return unknown
    }
    const decoded = decode(payload)
    return Result.isSuccess(decoded) ? make(view, decoded.success) : unknown
  }

const constructors: ReadonlyMap<string, (view: Envelope.MessageView) => Message> = new Map([
  ["PLAIN_TEXT", (view: Envelope.MessageView): Message => new Text(view)],
  ["PLAIN_POST", (view: Envelope.MessageView): Message => new Post(view)],
  [
    "PLAIN_STICKER",
    json(Schema.decodeUnknownResult(StickerPayload), (view, payload): Message => new Sticker(view, payload))
  ],
  [
    "PLAIN_CONTACT",
    json(Schema.decodeUnknownResult(ContactPayload), (view, payload): Message => new Contact(view, payload))
  ],
  [
    "PLAIN_LOCATION",
    json(Schema.decodeUnknownResult(LocationPayload), (view, payload): Message => new Location(view, payload))
  ]
])

/**
 * The message that a view shows.
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
export const fromView = (view: Envelope.MessageView): Message =>
  constructors.get(view.category ?? "")?.(view) ?? new Unknown(view)

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
export const isUnknown: (message: Message) => message is Unknown = is("Unknown")
