/**
 * What can be sent, with Mixin's limits checked before anything leaves.
 *
 * Guarantee: content that breaks a limit fails the send with `InvalidContent` that names the field; nothing is sent.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as StandardBase64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Attachments from "./Attachments.ts"
import * as Base64 from "./Base64.ts"
import * as BlazeError from "./BlazeError.ts"
import type * as Button from "./Button.ts"
import * as Ids from "./Ids.ts"
import * as Link from "./Link.ts"
import type * as Message from "./Message.ts"
import * as WholeSeconds from "./internal/WholeSeconds.ts"
import * as Settings from "./Settings.ts"

/**
 * A message to be sent: its category and its payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly category: string
  /** Raw URL base64, the form that servers decode whatever their age. */
  readonly dataBase64: string
  readonly quotedMessageId: Ids.MessageId | undefined
  readonly silent: boolean
  /** In whose name it is sent, where that is not the bot's. */
  readonly representativeId: Ids.UserId | undefined
  /** After how many seconds the message disappears; 0 is never. */
  readonly expireIn: number
  /** Which part of a longer whole it is, see `split`; 0 is no part. */
  readonly part: number
  /** What its payload names, which the library fills in: the bot that a card is from, the message that a transcript is. */
  readonly names: "Bot" | "Message" | undefined
  /** The file that it is sent with, which is uploaded when it is sent. */
  readonly file: File | undefined
  /** How long its parts are, where the settings have a limit. */
  readonly lengths: ReadonlyArray<Length>
  /** What is wrong with the content, if something is. */
  readonly problem: BlazeError.InvalidContent | undefined
}

/**
 * What can be too long. See `Settings`.
 *
 * @category models
 * @since 0.1.0
 */
export type Limits = Pick<
  Settings.Settings,
  "maximumTextLength" | "maximumButtons" | "maximumLabelLength" | "maximumTitleLength" | "maximumDescriptionLength"
>

/**
 * How long a part of the content is: characters are UTF-16 code units.
 *
 * @category models
 * @since 0.1.0
 */
export interface Length {
  readonly field: string
  readonly limit: keyof Limits
  readonly length: number
}

/**
 * What `reply` and `send` take: text, or anything made by a constructor of this module.
 *
 * @category models
 * @since 0.1.0
 */
export type Content = string | Outgoing

/**
 * What any message can have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The message that this one answers, shown above it. */
  readonly quote?: Ids.MessageId | undefined
  /** Arrive without a notification. */
  readonly silent?: boolean | undefined
  /** Disappear after this time, counted in whole seconds. */
  readonly expireIn?: Duration.Input | undefined
  /**
   * Speak in the name of somebody who has given the bot the permission `MESSAGES:REPRESENT`. Without it the send fails with an `ApiFailure`
   * of code 403 that names the permission. Source: the official bot guide.
   */
  readonly representative?: Ids.UserId | undefined
}

/** The largest request, in bytes of JSON: 128 KiB. Source: the official documentation. */
export const maximumRequestSize = 128 * 1024

const expected = (field: string, what: string) => new BlazeError.InvalidContent({ field, expected: what })

/**
 * Where the file of a message comes from: a path, its bytes, a stream of them, or a file that was uploaded before.
 *
 * @category models
 * @since 0.1.0
 */
export type FileSource = Attachments.Source | Attachments.Attachment

/**
 * What a file tells of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Facts {
  readonly name: string | undefined
  readonly mimeType: string | undefined
  /** In pixels, of a picture. */
  readonly width: number | undefined
  readonly height: number | undefined
}

/**
 * A file to be sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface File {
  readonly kind: "Image" | "Video" | "Audio" | "File"
  readonly source: FileSource
  readonly name: string | undefined
  /** Its payload, without the attachment. */
  readonly describe: (facts: Facts) => Result.Result<Record<string, unknown>, BlazeError.InvalidContent>
}

interface Parts {
  readonly part?: number
  readonly names?: Outgoing["names"]
  readonly file?: File | undefined
  readonly lengths?: ReadonlyArray<Length>
  readonly problem?: BlazeError.InvalidContent | false | undefined
}

const isUserId = Schema.is(Ids.UserId)

const make = (category: string, payload: string, options: Options | undefined, parts: Parts = {}): Outgoing =>
  encoded(category, Base64.encode(payload), options, parts)

const encoded = (
  category: string,
  dataBase64: string,
  options: Options | undefined,
  { file, lengths = [], names, part = 0, problem }: Parts
): Outgoing => {
  const expireIn = WholeSeconds.from(options?.expireIn ?? 0)
  return {
    category,
    dataBase64,
    quotedMessageId: options?.quote,
    silent: options?.silent ?? false,
    representativeId: options?.representative,
    expireIn: expireIn ?? 0,
    part,
    names,
    file,
    lengths,
    problem:
      problem ||
      (expireIn === undefined ? expected("expireIn", 'a time such as "1 hour", zero or more and finite') : undefined) ||
      (options?.representative === undefined || isUserId(options.representative)
        ? undefined
        : expected("the representative", "a user's id"))
  }
}

const ofText = (content: string): Parts => ({
  lengths: [{ field: "the text", limit: "maximumTextLength", length: content.length }],
  problem: content.length === 0 && expected("the text", "at least one character long")
})

/**
 * Plain text. A plain string does the same wherever content is taken.
 *
 * **Example** (A quiet note that disappears)
 *
 * ```ts
 * import { Outgoing } from "effect-blaze"
 *
 * const note = Outgoing.text("back in a minute", { silent: true, expireIn: "1 hour" })
 * console.assert(note.expireIn === 3600)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const text = (content: string, options?: Options): Outgoing =>
  make("PLAIN_TEXT", content, options, ofText(content))

/**
 * Markdown, shown as a page of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const post = (markdown: string, options?: Options): Outgoing =>
  make("PLAIN_POST", markdown, options, ofText(markdown))

const withId = (
  category: string,
  field: string,
  name: string,
  value: string,
  options: Options | undefined
): Outgoing => {
  const id = Ids.toLowerCase(value)
  return make(category, JSON.stringify({ [field]: id }), options, {
    problem: !isUserId(id) && expected(name, "a UUID")
  })
}

/**
 * A sticker, by its id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sticker = (stickerId: string, options?: Options): Outgoing =>
  withId("PLAIN_STICKER", "sticker_id", "the sticker's id", stickerId, options)

/**
 * The contact card of a user.
 *
 * @category constructors
 * @since 0.1.0
 */
export const contact = (userId: Ids.UserId, options?: Options): Outgoing =>
  withId("PLAIN_CONTACT", "user_id", "the contact's user id", userId, options)

/**
 * A place, in degrees. Mixin's apps refuse 0, 0, which is what a broken receiver reports.
 *
 * @category constructors
 * @since 0.1.0
 */
export const location = (
  place: {
    readonly longitude: number
    readonly latitude: number
    readonly name?: string | undefined
    readonly address?: string | undefined
  },
  options?: Options
): Outgoing => {
  const { latitude, longitude } = place
  const valid = Math.abs(longitude) <= 180 && Math.abs(latitude) <= 90 && (longitude !== 0 || latitude !== 0)
  return make("PLAIN_LOCATION", JSON.stringify(place), options, {
    problem: !valid && expected("the location", "a longitude within 180 and a latitude within 90 degrees, and not 0, 0")
  })
}

/**
 * What is said of any file; what is left out is found out: the type by the bytes of a picture or the end of the name, `report.pdf` say.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileOptions extends Options {
  readonly name?: string | undefined
  readonly mimeType?: string | undefined
}

/**
 * What an app shows until it has the picture: a small JPEG, or a BlurHash as text.
 *
 * @category models
 * @since 0.1.0
 */
export type Thumbnail = Uint8Array | string

const thumbnailOf = (thumbnail: Thumbnail | undefined) =>
  thumbnail === undefined
    ? {}
    : { thumbnail: typeof thumbnail === "string" ? thumbnail : StandardBase64.encode(thumbnail) }

const isSide = (side: number | undefined): side is number => side !== undefined && Number.isInteger(side) && side > 0

const octets = "application/octet-stream"

const withFile = (
  category: string,
  kind: File["kind"],
  source: FileSource,
  options: FileOptions | undefined,
  describe: (facts: Facts) => Record<string, unknown> | BlazeError.InvalidContent
): Outgoing =>
  encoded(category, "", options, {
    file: {
      kind,
      source,
      name: options?.name,
      describe: (facts) => {
        const payload = describe(facts)
        if (payload instanceof BlazeError.InvalidContent) return Result.fail(payload)
        return Result.succeed({ mime_type: options?.mimeType ?? facts.mimeType ?? octets, ...payload })
      }
    }
  })

/**
 * A picture, by its path, its bytes, or a stream of them. Its type and its size are read from its bytes; those of a stream are given.
 *
 * **Details**
 *
 * The file is uploaded when the message is sent. As an answer it has the same id in every run: that follows from the bytes, or from the `key`
 * of the answer or of the stream, which spares reading a large file twice.
 *
 * **Example** (A picture that is made)
 *
 * ```ts
 * import { Bot, Outgoing } from "effect-blaze"
 *
 * declare const chart: (text: string) => Uint8Array
 * const bot = Bot.match({
 *   Text: (delivery) => delivery.reply(Outgoing.image(chart(delivery.message.text), { caption: "today" })),
 *   orElse: (delivery) => delivery.reply("Say what I shall draw.")
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const image = (
  source: FileSource,
  options?: FileOptions & {
    /** In pixels. */
    readonly width?: number | undefined
    readonly height?: number | undefined
    readonly thumbnail?: Thumbnail | undefined
    readonly caption?: string | undefined
  }
): Outgoing =>
  withFile("PLAIN_IMAGE", "Image", source, options, (facts) => {
    const width = options?.width ?? facts.width
    const height = options?.height ?? facts.height
    if (!isSide(width) || !isSide(height)) {
      return expected("the picture", "one whose width and height can be read, or are given with it")
    }
    return {
      width,
      height,
      ...thumbnailOf(options?.thumbnail),
      ...(options?.caption === undefined ? {} : { caption: options.caption })
    }
  })

/** Whole milliseconds, as Mixin's apps write them. */
const millisOf = (input: Duration.Input): number | undefined => {
  const millis = Option.getOrElse(Option.map(Duration.fromInput(input), Duration.toMillis), () => NaN)
  // What is less is read as seconds, as the documentation's sample has them.
  return Number.isFinite(millis) && millis > 0 ? Math.max(100, Math.round(millis)) : undefined
}

const noDuration = expected("the duration", 'a time such as "3 seconds", and longer than nothing')

/**
 * A film, whose size and duration its bytes do not tell here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const video = (
  source: FileSource,
  options: FileOptions & {
    /** In pixels. */
    readonly width: number
    readonly height: number
    readonly duration: Duration.Input
    readonly thumbnail?: Thumbnail | undefined
    readonly caption?: string | undefined
  }
): Outgoing =>
  withFile("PLAIN_VIDEO", "Video", source, options, () => {
    const { height, width } = options
    const duration = millisOf(options.duration)
    if (!isSide(width) || !isSide(height)) return expected("the film", "one with a width and a height in whole pixels")
    if (duration === undefined) return noDuration
    return {
      width,
      height,
      duration,
      ...thumbnailOf(options.thumbnail),
      ...(options.caption === undefined ? {} : { caption: options.caption })
    }
  })

/**
 * Something recorded, whose duration its bytes do not tell here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const audio = (
  source: FileSource,
  options: FileOptions & {
    readonly duration: Duration.Input
    /** How loud it is, over its time: a byte for each part of it. */
    readonly waveform?: Uint8Array | undefined
  }
): Outgoing =>
  withFile("PLAIN_AUDIO", "Audio", source, options, () => {
    const duration = millisOf(options.duration)
    if (duration === undefined) return noDuration
    const { waveform } = options
    return { duration, ...(waveform === undefined ? {} : { waveform: StandardBase64.encode(waveform) }) }
  })

/**
 * A file of any type, with its name.
 *
 * @category constructors
 * @since 0.1.0
 */
export const file = (source: FileSource, options?: FileOptions): Outgoing =>
  withFile("PLAIN_DATA", "File", source, options, ({ name = "file" }) => ({ name }))

/**
 * What a payload says of its attachment.
 *
 * @category conversions
 * @since 0.1.0
 */
export const attached = ({
  attachmentId,
  createdAt,
  secret,
  size
}: Attachments.Attachment): Record<string, unknown> => ({
  attachment_id: attachmentId,
  ...(size === undefined ? {} : { size }),
  ...(createdAt === undefined ? {} : { created_at: createdAt }),
  ...(secret === undefined
    ? {}
    : {
        key: StandardBase64.encode(Redacted.value(secret.key)),
        digest: StandardBase64.encode(secret.digest)
      })
})

/**
 * A film that is being sent, at an address.
 *
 * @category constructors
 * @since 0.1.0
 */
export const live = (
  stream: {
    readonly url: string
    readonly thumbUrl?: string | undefined
    /** In pixels. */
    readonly width: number
    readonly height: number
    /** Whether people may pass it on: yes. */
    readonly shareable?: boolean | undefined
  },
  options?: Options
): Outgoing => {
  const { height, shareable, thumbUrl, url, width } = stream
  const payload = {
    url,
    ...(thumbUrl === undefined ? {} : { thumb_url: thumbUrl }),
    width,
    height,
    ...(shareable === undefined ? {} : { shareable })
  }
  return make("PLAIN_LIVE", JSON.stringify(payload), options, {
    problem:
      (!isAddress(url) && expected("the address", "one that begins with https:// or http://")) ||
      (!isAddress(thumbUrl) && expected("the thumbnail's address", "one that begins with https:// or http://")) ||
      ((!isSide(width) || !isSide(height)) && expected("the film", "one with a width and a height in whole pixels"))
  })
}

/**
 * A text of a transcript.
 *
 * @category models
 * @since 0.1.0
 */
export interface TranscriptText {
  /** The message that it was. */
  readonly messageId: Ids.MessageId
  /** Who has written it. */
  readonly name: string
  readonly userId?: Ids.UserId | undefined
  readonly text: string
  /** RFC 3339, as `message.createdAt`. */
  readonly createdAt: string
}

/**
 * Texts that were written, passed on as one message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const transcript = (texts: ReadonlyArray<TranscriptText>, options?: Options): Outgoing => {
  const payload = texts.map(({ createdAt, messageId, name, text, userId }) => ({
    message_id: messageId,
    ...(userId === undefined ? {} : { user_id: userId }),
    user_full_name: name,
    category: "PLAIN_TEXT",
    content: text,
    created_at: createdAt
  }))
  return make("PLAIN_TRANSCRIPT", JSON.stringify(payload), options, {
    names: "Message",
    problem:
      (texts.length === 0 && expected("the transcript", "at least one text")) ||
      (texts.some(({ createdAt }) => !/^\d{4}-\d\d-\d\dT/.test(createdAt) || Number.isNaN(Date.parse(createdAt))) &&
        expected("the time of a text", "a date as 2026-01-01T00:00:00Z"))
  })
}

const buttonLengths = (buttons: ReadonlyArray<Button.Button>): ReadonlyArray<Length> => [
  { field: "the buttons", limit: "maximumButtons", length: buttons.length },
  ...buttons.map(({ label }): Length => ({
    field: "a button's label",
    limit: "maximumLabelLength",
    length: label.length
  }))
]

const problemOf = (buttons: ReadonlyArray<Button.Button>) => buttons.find(({ problem }) => problem)?.problem

const toWire = ({ action, color, label }: Button.Button) => ({ label, color, action })

/**
 * Buttons beneath each other, see `Button`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const buttons = (group: ReadonlyArray<Button.Button>, options?: Options): Outgoing =>
  make("APP_BUTTON_GROUP", JSON.stringify(group.map(toWire)), options, {
    lengths: buttonLengths(group),
    problem: group.length === 0 ? expected("the buttons", "at least one") : problemOf(group)
  })

/**
 * What a card shows: an icon, and one action for the whole of it; or a cover, and buttons.
 *
 * @category models
 * @since 0.1.0
 */
export type Card = {
  readonly title: string
  readonly description: string
  /** Whether people may pass it on: yes. */
  readonly shareable?: boolean | undefined
} & (
  | { readonly iconUrl: string; readonly action: string; readonly coverUrl?: undefined; readonly buttons?: undefined }
  | {
      readonly coverUrl?: string | undefined
      readonly buttons?: ReadonlyArray<Button.Button> | undefined
      readonly iconUrl?: undefined
      readonly action?: undefined
    }
)

const isAddress = (address: string | undefined) => address === undefined || /^https?:$/.test(Link.protocolOf(address))

/**
 * A card. Which bot it is from is filled in.
 *
 * **Example** (A card with buttons)
 *
 * ```ts
 * import { Button, Outgoing } from "effect-blaze"
 *
 * const card = Outgoing.card({
 *   title: "Bitcoin",
 *   description: "97 000 USD",
 *   coverUrl: "https://example.com/chart.png",
 *   buttons: [Button.say("Again", "/price BTC")]
 * })
 * console.assert(card.category === "APP_CARD" && card.problem === undefined)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const card = (content: Card, options?: Options): Outgoing => {
  const { action, buttons = [], coverUrl, description, iconUrl, shareable, title } = content
  const payload = {
    title,
    description,
    ...(iconUrl === undefined ? {} : { icon_url: iconUrl, action }),
    ...(coverUrl === undefined ? {} : { cover_url: coverUrl }),
    ...(buttons.length === 0 ? {} : { actions: buttons.map(toWire) }),
    ...(shareable === undefined ? {} : { shareable })
  }
  return make("APP_CARD", JSON.stringify(payload), options, {
    names: "Bot",
    lengths: [
      { field: "the title", limit: "maximumTitleLength", length: title.length },
      { field: "the description", limit: "maximumDescriptionLength", length: description.length },
      ...buttonLengths(buttons)
    ],
    problem:
      (title === "" && expected("the title", "at least one character long")) ||
      (action !== undefined &&
        !/^(?:https?|mixin):$/.test(Link.protocolOf(action)) &&
        !/^input:\s*\S/.test(action) &&
        expected("the action", "an address that begins with https://, http:// or mixin://, or input:TEXT")) ||
      (!isAddress(iconUrl) && expected("the icon's address", "one that begins with https:// or http://")) ||
      (!isAddress(coverUrl) && expected("the cover's address", "one that begins with https:// or http://")) ||
      problemOf(buttons)
  })
}

const isMessageId = Schema.is(Ids.MessageId)

/**
 * Takes back a message: one of the bot's own or, where it runs a group, anybody's there. To be sent where the message is.
 *
 * **When to use**
 *
 * Use with what takes content, `Broadcast.run` say. For one message there are `delivery.recall` and `blaze.recall`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const recall = (messageId: Ids.MessageId): Outgoing =>
  make("MESSAGE_RECALL", JSON.stringify({ message_id: messageId }), undefined, {
    problem: !isMessageId(messageId) && expected("what is recalled", "a message's id")
  })

const pinning = (action: "PIN" | "UNPIN", given: Ids.MessageId | ReadonlyArray<Ids.MessageId>): Outgoing => {
  const messageIds = Arr.ensure(given)
  return make("MESSAGE_PIN", JSON.stringify({ action, message_ids: messageIds }), undefined, {
    problem:
      (messageIds.length === 0 || !messageIds.every((id) => isMessageId(id))) &&
      expected("what is pinned", "the ids of one message or several")
  })
}

/**
 * Pins messages of anybody's where they are, above the conversation. To be sent there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pin = (messageIds: Ids.MessageId | ReadonlyArray<Ids.MessageId>): Outgoing => pinning("PIN", messageIds)

/**
 * Takes that back.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unpin = (messageIds: Ids.MessageId | ReadonlyArray<Ids.MessageId>): Outgoing =>
  pinning("UNPIN", messageIds)

// What bots may send; docs/protocol.md section 5.
const sendable = /^(?:PLAIN_(?!JSON$)|APP_)/

/**
 * What arrived, passed on as it is: any kind that a bot may send, also one that this version cannot read, with the message that it
 * quotes. `quote` in the options takes the place of that; `quote: undefined` leaves it out.
 *
 * **Details**
 *
 * What only people and the system may send fails with `InvalidContent`, and so does what is encrypted and could not be decrypted: a message
 * whose handler fails with that is given up, and only the log tells of it. What came encrypted goes on in plain, unless the setting
 * `encryption` says otherwise.
 *
 * **Example** (A relay)
 *
 * ```ts
 * import { Bot, Ids, Outgoing } from "effect-blaze"
 *
 * const staff = Ids.ConversationId.make("11111111-1111-3111-8111-111111111111")
 * const relay = Bot.match({
 *   orElse: (delivery) => delivery.send({ conversation: staff }, Outgoing.forward(delivery.message))
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const forward = (message: Message.Message, options?: Options): Outgoing =>
  encoded(
    message.plainCategory,
    Base64.encode(message.bytes),
    options !== undefined && "quote" in options
      ? options
      : { ...options, quote: Option.getOrUndefined(message.quotedMessageId) },
    { problem: notSendable(message) }
  )

const notSendable = (message: Message.Message) => {
  const name = JSON.stringify(message.category)
  if (message._tag === "Unknown" && message.isSealed) {
    return expected("what is passed on", `one that this bot can read, and of ${name} it cannot: ${message.reason}`)
  }
  return (
    !sendable.test(message.plainCategory) &&
    expected("what is passed on", `of a kind that a bot may send, and it is ${name}`)
  )
}

/** How many bytes of text fit one request, with what is around them. */
const maximumTextBytes = 90_000

const encoder = new TextEncoder()

/** Where a text is cut at the latest: as many characters as are allowed and fit, and no half of one. */
const latestCut = (text: string, maximumLength: number): number => {
  const { read } = encoder.encodeInto(text.slice(0, maximumLength), new Uint8Array(maximumTextBytes))
  const code = text.charCodeAt(read - 1)
  return read < text.length && code >= 0xd800 && code < 0xdc00 ? read - 1 : read
}

// The best place first: after a paragraph, a line, a sentence, a word.
const ends = [/\n\s*\n/g, /\n/g, /[.!?\u3002\uff01\uff1f]\s*/g, /\s/g]

const cutOf = (text: string, maximumLength: number): number => {
  const latest = latestCut(text, maximumLength)
  if (latest >= text.length) return text.length
  const head = text.slice(0, latest)
  for (const end of ends) {
    const last = [...head.matchAll(end)].at(-1)
    // A part of a few words, for the sake of a paragraph's end, reads worse than a cut elsewhere.
    if (last !== undefined && last.index > latest / 4) return last.index + last[0].length
  }
  return latest
}

/**
 * A text that may be too long for one message, as several: cut after a paragraph, a line, a sentence or a word. Each part has an id of
 * its own as an answer, so that two equal ones both arrive.
 *
 * **Example** (A long answer)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Outgoing } from "effect-blaze"
 *
 * const report = "..."
 * const bot = Bot.match({
 *   orElse: (delivery) => Effect.forEach(Outgoing.split(report), (part) => delivery.reply(part))
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const split = (
  content: string,
  options?: Options & {
    /** How long a part may be, in UTF-16 code units: 64 Ki. */
    readonly maximumLength?: number | undefined
  }
): ReadonlyArray<Outgoing> => {
  const given = options?.maximumLength ?? Settings.defaults.maximumTextLength
  const maximumLength = Number.isNaN(given) ? Settings.defaults.maximumTextLength : Math.max(2, given)
  const parts: Array<Outgoing> = []
  let rest = content.trim()
  while (rest !== "") {
    const cut = cutOf(rest, maximumLength)
    const part = rest.slice(0, cut).trimEnd()
    parts.push(make("PLAIN_TEXT", part, options, { ...ofText(part), part: parts.length + 1 }))
    rest = rest.slice(cut).trimStart()
  }
  return parts
}

/**
 * A mention, to be written in a text: `@7000` shows the name of the user whose identity number that is.
 *
 * @category texts
 * @since 0.1.0
 */
export const mention = (user: { readonly identityNumber: string }): string => `@${user.identityNumber}`

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromContent = (content: Content): Outgoing => (typeof content === "string" ? text(content) : content)

const optional = (outgoing: Outgoing) => ({
  ...(outgoing.quotedMessageId === undefined ? {} : { quote_message_id: outgoing.quotedMessageId }),
  ...(outgoing.representativeId === undefined ? {} : { representative_id: outgoing.representativeId }),
  ...(outgoing.silent ? { silent: true } : {}),
  ...(outgoing.expireIn > 0 ? { expire_in: outgoing.expireIn } : {})
})

/** The limit that the content breaks, if it breaks one. */
const excess = ({ lengths }: Outgoing, limits: Limits): BlazeError.InvalidContent | undefined => {
  const broken = lengths.find(({ length, limit }) => length > limits[limit])
  return broken && expected(broken.field, `at most ${limits[broken.limit]}${unit(broken.limit)}`)
}

const unit = (limit: keyof Limits) => (limit === "maximumButtons" ? "" : " characters long")

// Mixin's own pages and apps do not agree, and whether its server refuses what is above these is not known.
const strictest: Partial<Limits> = { maximumButtons: 6, maximumTitleLength: 36 }

/**
 * What the settings allow and the strictest of Mixin's own pages does not, in words.
 *
 * @category conversions
 * @since 0.1.0
 */
export const doubts = ({ lengths }: Outgoing): ReadonlyArray<string> =>
  lengths.flatMap(({ field, length, limit }) => {
    const allowed = strictest[limit]
    if (allowed === undefined || length <= allowed) return []
    return [`${field} should be at most ${allowed}${unit(limit)}, says one of Mixin's pages, and others allow more`]
  })

const named = (
  { dataBase64, names }: Outgoing,
  { botId, messageId }: { readonly botId: Ids.UserId; readonly messageId: Ids.MessageId }
): string => {
  if (names === undefined) return dataBase64
  const payload = JSON.parse(new TextDecoder().decode(Option.getOrThrow(Base64.decode(dataBase64))))
  const whole =
    names === "Bot"
      ? { app_id: botId, ...payload }
      : payload.map((entry: object) => ({ transcript_id: messageId, ...entry }))
  return Base64.encode(JSON.stringify(whole))
}

const unsentFile = expected("the file", "uploaded first, as reply and send do it")

/**
 * The parameters of the request that sends the content, or what is wrong with it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toParams = (
  outgoing: Outgoing,
  address: {
    readonly botId: Ids.UserId
    readonly conversationId: Ids.ConversationId
    readonly recipientId?: Ids.UserId | undefined
    readonly messageId: Ids.MessageId
  },
  limits: Limits = Settings.defaults
): Result.Result<Record<string, unknown>, BlazeError.BlazeError> => {
  const problem = outgoing.problem ?? (outgoing.file === undefined ? excess(outgoing, limits) : unsentFile)
  if (problem !== undefined) return Result.fail(BlazeError.make(problem))
  if (outgoing.dataBase64.length > maximumRequestSize - 1024) {
    return Result.fail(BlazeError.make(expected("the content", `at most ${maximumRequestSize / 1024} KiB as sent`)))
  }
  return Result.succeed({
    conversation_id: address.conversationId,
    ...(address.recipientId === undefined ? {} : { recipient_id: address.recipientId }),
    message_id: address.messageId,
    category: outgoing.category,
    data_base64: named(outgoing, address),
    ...optional(outgoing)
  })
}
