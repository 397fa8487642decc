/**
 * What can be sent, with Mixin's limits checked before anything leaves.
 *
 * Guarantee: content that breaks a limit fails the send with `InvalidContent` that names the field; nothing is sent.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Base64 from "./Base64.ts"
import * as BlazeError from "./BlazeError.ts"
import * as Ids from "./Ids.ts"

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
  /** After how many seconds the message disappears; 0 is never. */
  readonly expireIn: number
  /** The limit that the content breaks, if it breaks one. */
  readonly problem: BlazeError.InvalidContent | undefined
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
}

/** The longest text, in UTF-16 code units. Source: the limit of Mixin's own apps. */
export const maximumTextLength = 64 * 1024

/** The largest request, in bytes of JSON: 128 KiB. Source: the official documentation. */
export const maximumRequestSize = 128 * 1024

const expected = (field: string, what: string) => new BlazeError.InvalidContent({ field, expected: what })

/** Whole seconds, or nothing for what is no time. */
const secondsOf = (input: Duration.Input | undefined): number | undefined => {
  if (input === undefined) return 0
  const seconds = Duration.fromInput(input).pipe(
    Option.map(Duration.toSeconds),
    Option.getOrElse(() => NaN)
  )
  return Number.isFinite(seconds) && seconds >= 0 && !Number.isNaN(input) ? Math.ceil(seconds) : undefined
}

const make = (
  category: string,
  payload: string,
  options: Options | undefined,
  problem?: BlazeError.InvalidContent | false
): Outgoing => {
  const expireIn = secondsOf(options?.expireIn)
  return {
    category,
    dataBase64: Base64.encode(payload),
    quotedMessageId: options?.quote,
    silent: options?.silent ?? false,
    expireIn: expireIn ?? 0,
    problem:
      problem ||
      (expireIn === undefined ? expected("expireIn", 'a time such as "1 hour", zero or more and finite') : undefined)
  }
}

const textProblem = (content: string) =>
  (content.length === 0 || content.length > maximumTextLength) &&
  expected("the text", `1 to ${maximumTextLength} characters long`)

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
  make("PLAIN_TEXT", content, options, textProblem(content))

/**
 * Markdown, shown as a page of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const post = (markdown: string, options?: Options): Outgoing =>
  make("PLAIN_POST", markdown, options, textProblem(markdown))

const isUserId = Schema.is(Ids.UserId)

const withId = (
  category: string,
  field: string,
  name: string,
  value: string,
  options: Options | undefined
): Outgoing => {
  const id = Ids.toLowerCase(value)
  return make(category, JSON.stringify({ [field]: id }), options, !isUserId(id) && expected(name, "a UUID"))
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
  return make(
    "PLAIN_LOCATION",
    JSON.stringify(place),
    options,
    !valid && expected("the location", "a longitude within 180 and a latitude within 90 degrees, and not 0, 0")
  )
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromContent = (content: Content): Outgoing => (typeof content === "string" ? text(content) : content)

const optional = (outgoing: Outgoing) => ({
  ...(outgoing.quotedMessageId === undefined ? {} : { quote_message_id: outgoing.quotedMessageId }),
  ...(outgoing.silent ? { silent: true } : {}),
  ...(outgoing.expireIn > 0 ? { expire_in: outgoing.expireIn } : {})
})

/**
 * The parameters of the request that sends the content, or the limit it breaks.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toParams = (
  outgoing: Outgoing,
  address: {
    readonly conversationId: Ids.ConversationId
    readonly recipientId?: Ids.UserId | undefined
    readonly messageId: Ids.MessageId
  }
): Result.Result<Record<string, unknown>, BlazeError.BlazeError> => {
  if (outgoing.problem !== undefined) return Result.fail(BlazeError.make(outgoing.problem))
  if (outgoing.dataBase64.length > maximumRequestSize - 1024) {
    return Result.fail(BlazeError.make(expected("the content", `at most ${maximumRequestSize / 1024} KiB as sent`)))
  }
  return Result.succeed({
    conversation_id: address.conversationId,
    ...(address.recipientId === undefined ? {} : { recipient_id: address.recipientId }),
    message_id: address.messageId,
    category: outgoing.category,
    data_base64: outgoing.dataBase64,
    ...optional(outgoing)
  })
}
