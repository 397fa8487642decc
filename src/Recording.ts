/**
 * What a bot receives, as lines of JSON: to look at, and to replay against a pipeline.
 *
 * Guarantee: a line that was redacted has no word that anybody wrote, and no id that the server knows; equal ids have equal names.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Base64 from "./Base64.ts"
import * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Decoding from "./internal/Decoding.ts"
import * as Message from "./Message.ts"
import * as Ordered from "./internal/Ordered.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Writes `0` for the digits of what people wrote and `x` for all else but space and the punctuation of ASCII, nothing for other payloads, and
   * made-up ids: no by default. The 100 000 ids that were met last keep their names.
   */
  readonly redact?: boolean | undefined
}

/** How many ids keep their names. */
const maximumNames = 100_000

const makeNames = () => {
  const names = Ordered.make<string, string>()
  let made = 0
  return (id: string): string => {
    // Old clients and the system have none.
    if (id === "" || /^[0-]+$/.test(id)) return id
    const known = names.get(id)
    const name = known ?? `00000000-0000-4000-8000-${(++made).toString(16).padStart(12, "0")}`
    names.set(id, name)
    names.keep(maximumNames)
    return name
  }
}

/** Whatever is no digit and none of the signs between words of ASCII may be part of one. */
const redactText = (text: string) => text.replace(/\p{N}/gu, "0").replace(/[^0\s!-/:-@[-`{-~]/gu, "x")

/** What the server writes of its own: its words, and its times. */
const ownWords = /^(?:[A-Z][A-Z_]{0,63}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)$/

const ids = ["message_id", "conversation_id", "user_id", "representative_id", "session_id", "quote_message_id"] as const
const plain = ["category", "status", "source", "silent", "expire_in", "created_at", "updated_at"] as const

const redacted = (message: Message.Message, nameOf: (id: string) => string) => {
  const { view } = message
  const line: Record<string, unknown> = {}
  for (const field of plain) {
    const value = view[field]
    if (typeof value !== "string" || ownWords.test(value)) line[field] = value
  }
  for (const field of ids) {
    const id = view[field]
    if (typeof id === "string") line[field] = nameOf(id.toLowerCase())
  }
  const isWritten = message._tag === "Text" || message._tag === "Post"
  line["data_base64"] = isWritten ? Base64.encode(redactText(message.text)) : ""
  return line
}

/**
 * Gives the line of a message.
 *
 * **When to use**
 *
 * Use in a handler, or in `Stream.tap` before a pipeline, and write the line wherever lines are kept.
 *
 * **Example** (Record what comes in)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Recording } from "effect-blaze"
 *
 * const lines: Array<string> = []
 * const record = Recording.make({ redact: true })
 * const program = Bot.run((delivery) => Effect.sync(() => void lines.push(record(delivery.message))))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ redact = false }: Options = {}): ((message: Message.Message) => string) => {
  const nameOf = makeNames()
  return (message) => JSON.stringify(redact ? redacted(message, nameOf) : message.view)
}

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/**
 * Reads lines back, blank ones aside; the first that is no message fails with its number.
 *
 * @category reading
 * @since 0.1.0
 */
export const read = (
  lines: Iterable<string>
): Result.Result<ReadonlyArray<Envelope.MessageView>, BlazeError.BlazeError> => {
  const views: Array<Envelope.MessageView> = []
  let number = 0
  for (const line of lines) {
    number++
    if (line.trim() === "") continue
    const view = Decoding.messageView(parse(line))
    if (Result.isFailure(view)) {
      return Result.fail(BlazeError.make(new BlazeError.BadInput({ problem: `line ${number} of the recording` })))
    }
    views.push(view.success)
  }
  return Result.succeed(views)
}
