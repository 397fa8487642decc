/**
 * What is stored of a message that is to be sent, and of what became of it: as text.
 *
 * Guarantee: what a later version cannot read is told, and not taken for something else.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BlazeError from "../BlazeError.ts"
import * as Ids from "../Ids.ts"
import type * as Outgoing from "../Outgoing.ts"
import type * as Unsent from "./Unsent.ts"

const Content = Schema.fromJsonString(
  Schema.Struct({
    category: Schema.String,
    dataBase64: Schema.String,
    quotedMessageId: Schema.optionalKey(Ids.MessageId),
    silent: Schema.Boolean,
    representativeId: Schema.optionalKey(Ids.UserId),
    expireIn: Schema.Int,
    names: Schema.optionalKey(Schema.Literals(["Bot", "Message"]))
  })
)
const encodeContent = Schema.encodeSync(Content)
const decodeContent = Schema.decodeOption(Content)

const Problem = Schema.fromJsonString(Schema.toCodecJson(BlazeError.BlazeError))
const encodeProblem = Schema.encodeSync(Problem)
const decodeProblem = Schema.decodeOption(Problem)

/**
 * Content whose file has been uploaded and that breaks no limit.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromOutgoing = ({
  category,
  dataBase64,
  expireIn,
  names,
  quotedMessageId,
  representativeId,
  silent
}: Outgoing.Outgoing): string =>
  encodeContent({
    category,
    dataBase64,
    silent,
    expireIn,
    ...(quotedMessageId === undefined ? {} : { quotedMessageId }),
    ...(representativeId === undefined ? {} : { representativeId }),
    ...(names === undefined ? {} : { names })
  })

/**
 * The content again, where this version can read it. The id that it was stored with is that of its part.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toOutgoing = (content: string): Outgoing.Outgoing | undefined =>
  Option.getOrUndefined(
    Option.map(decodeContent(content), ({ names, quotedMessageId, representativeId, ...rest }) => ({
      ...rest,
      names,
      quotedMessageId,
      representativeId,
      part: 0,
      file: undefined,
      lengths: [],
      problem: undefined
    }))
  )

/**
 * What is said of what this version cannot read.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unreadable: BlazeError.BlazeError = BlazeError.make(
  new BlazeError.InvalidContent({ field: "what was stored", expected: "of a form that this version knows" })
)

/**
 * What is said of what cannot be sent because of an error of the program's, which is in the log.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unsayable: BlazeError.BlazeError = BlazeError.make(
  new BlazeError.InvalidContent({ field: "what was stored", expected: "sent without an error; the log has it" })
)

/**
 * @category conversions
 * @since 0.1.0
 */
export const toError = (problem: string): BlazeError.BlazeError =>
  Option.getOrElse(decodeProblem(problem), () => unreadable)

/**
 * What became of a message, with the error that is stored as its problem.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fate extends Unsent.Sent {
  readonly error: BlazeError.BlazeError | undefined
}

/**
 * The server has it or, with an error, will never take it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fateOf = ({ id, way }: Unsent.Unsent, error: BlazeError.BlazeError | undefined): Fate => ({
  id,
  way,
  error,
  problem: error && encodeProblem(error)
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const failed = (problem: string): BlazeError.BlazeError =>
  BlazeError.make(new BlazeError.OutboxFailed({ problem }))
