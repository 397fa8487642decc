/**
 * One error with tagged reasons, and the one place that says which end a connection for good and which are worth another try.
 *
 * Guarantee: the message of every reason is one sentence that says what happened and what to do, and no reason holds a key,
 * a token or the content of a message.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"

const seconds = (millis: number): string => Duration.format(Duration.seconds(Math.round(Math.abs(millis) / 1000)))

/**
 * The server does not accept the bot: a wrong or revoked key, or a clock that is more than 5 minutes off. Fatal, unless it was said
 * to a token that had grown old on its way.
 *
 * **Details**
 *
 * `code` is 20121 when the server said that, and absent for 401. `clockDifference` is in milliseconds, local time minus server time,
 * and is there when the server told a time that is more than 5 minutes away from ours. `tokenAge`, in milliseconds, is there when
 * the token was older than a minute when the refusal came: the machine slept, or the request waited somewhere.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>("effect-blaze/Unauthorized")("Unauthorized", {
  code: Schema.optionalKey(Schema.Int),
  clockDifference: Schema.optionalKey(Schema.Finite),
  tokenAge: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    const refused = `Mixin refused the bot (${this.code ?? 401})`
    if (this.tokenAge !== undefined) {
      return `${refused}: its token was ${seconds(this.tokenAge)} old when the answer came, as after a sleep of this machine; a fresh one is tried once.`
    }
    if (this.clockDifference !== undefined) {
      return `${refused} because this machine's clock is ${seconds(this.clockDifference)} ${
        this.clockDifference > 0 ? "ahead of" : "behind"
      } the server's: set the clock (at most 5 minutes are tolerated) and start again.`
    }
    return `${refused}: check that the keystore belongs to this bot and that its session was not replaced by a newer one.`
  }
}

/**
 * The server no longer speaks to clients of this version (error code 10006). Fatal.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ClientTooOld extends Schema.TaggedError<ClientTooOld>("effect-blaze/ClientTooOld")("ClientTooOld", {}) {
  override get message(): string {
    return "Mixin says that this client is too old (10006): install the newest effect-blaze."
  }
}

// What an HTTP answer that is not the API's own word tells.
const httpAnswer = {
  host: Schema.String,
  status: Schema.Int,
  retryAfter: Schema.optionalKey(Schema.Finite)
}

const afterwards = (retryAfter: number | undefined): string =>
  retryAfter === undefined ? "" : `, and asked to come back in ${seconds(retryAfter)}`

// Statuses that say more than their number does.
const hints: Readonly<Record<number, string>> = {
  407: "; it is the proxy, which wants a user and a password",
  413: "; the request is too large for it"
}

/**
 * The upgrade to WebSocket was answered with another HTTP status than 101, and not in Mixin's words. A redirect is not followed.
 *
 * **Details**
 *
 * `retryAfter` is what the answer asked to wait, in milliseconds, five minutes at most.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeRefused extends Schema.TaggedError<HandshakeRefused>("effect-blaze/HandshakeRefused")(
  "HandshakeRefused",
  httpAnswer
) {
  override get message(): string {
    return `The WebSocket handshake with ${this.host} was refused with HTTP status ${this.status}${
      hints[this.status] ?? ""
    }${afterwards(this.retryAfter)}.`
  }
}

/**
 * A request to the API was answered by something that stands in front of it: a proxy, a gateway, a firewall, a portal, which are
 * intermediaries in the terms of HTTP. Its answer is not Mixin's JSON and says nothing about the request; a redirect is not followed.
 *
 * **Details**
 *
 * `retryAfter` is what the answer asked to wait, in milliseconds, five minutes at most.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Intermediary extends Schema.TaggedError<Intermediary>("effect-blaze/Intermediary")(
  "Intermediary",
  httpAnswer
) {
  override get message(): string {
    return `Something in front of ${this.host} answered with HTTP status ${this.status} in place of Mixin${
      hints[this.status] ?? ""
    }${afterwards(this.retryAfter)}.`
  }
}

/**
 * No connection could be made at all: the name does not resolve, nobody listens, or TLS failed.
 *
 * **Details**
 *
 * `problem` is the error code of the platform (`ECONNREFUSED`, `ENOTFOUND`, ...), or what is wrong with the handshake.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unreachable extends Schema.TaggedError<Unreachable>("effect-blaze/Unreachable")("Unreachable", {
  host: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `Cannot reach ${this.host} (${this.problem}): check the network, the proxy and the address.`
  }
}

/**
 * An established connection ended.
 *
 * **Details**
 *
 * `code` is the close code of the WebSocket, 1006 when it ended without a close frame. `detail` is what the other end, or this
 * library, gave as the reason.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>("effect-blaze/ConnectionLost")(
  "ConnectionLost",
  { code: Schema.Int, detail: Schema.optionalKey(Schema.String) }
) {
  override get message(): string {
    return `The connection was lost (close code ${this.code}${this.detail ? `, ${this.detail}` : ""}).`
  }
}

/**
 * Something did not happen in time. `operation` says what was waited for.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Timeout extends Schema.TaggedError<Timeout>("effect-blaze/Timeout")("Timeout", {
  operation: Schema.String
}) {
  override get message(): string {
    return `Timed out: ${this.operation}.`
  }
}

// What a code comes to for who sends a message, where its number and the server's words do not say it.
const advice: Readonly<Record<number, string>> = {
  403: " The bot may not write there: it is not in the group, or the person has blocked it or does not know it yet. There are three ways to a person: who writes to the bot first, adds it as a contact, or authorises it, can be written to."
}

/**
 * The server answered a request with an error of its own.
 *
 * **Details**
 *
 * `code` is the one to switch on; `status` is 202 for errors of the API and 500 for errors of the server. `field` names the
 * invalid field of a 10002 when the server told it, `permission` the one that a request refused with 403 needs of somebody. `retryAfter` is what the answer asked to wait, in milliseconds.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ApiFailure extends Schema.TaggedError<ApiFailure>("effect-blaze/ApiFailure")("ApiFailure", {
  code: Schema.Int,
  status: Schema.optionalKey(Schema.Int),
  description: Schema.optionalKey(Schema.String),
  field: Schema.optionalKey(Schema.String),
  permission: Schema.optionalKey(Schema.String),
  retryAfter: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return `Mixin answered with error ${this.code}${this.description ? ` (${this.description})` : ""}${
      this.field ? `, field ${this.field}` : ""
    }.${advice[this.code] ?? ""}${
      this.permission ? ` What was sent needs the permission ${this.permission} of the person in whose name it is.` : ""
    }`
  }
}

/**
 * What arrived is not what the protocol allows: a text frame, damaged gzip, too many bytes, broken JSON, or HTML from REST.
 *
 * @category reasons
 * @since 0.1.0
 */
export class BadInput extends Schema.TaggedError<BadInput>("effect-blaze/BadInput")("BadInput", {
  problem: Schema.String
}) {
  override get message(): string {
    return `Received something that is not Blaze: ${this.problem}.`
  }
}

/**
 * What should be sent breaks a limit of Mixin; nothing was sent.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidContent extends Schema.TaggedError<InvalidContent>("effect-blaze/InvalidContent")(
  "InvalidContent",
  { field: Schema.String, expected: Schema.String }
) {
  override get message(): string {
    return `Cannot send this: ${this.field} must be ${this.expected}.`
  }
}

/**
 * A file could not be read, uploaded, downloaded or written.
 *
 * **Details**
 *
 * `isLasting` says that the next try would come to the same: the file is larger than is allowed, it was changed, or it is not there any more.
 *
 * @category reasons
 * @since 0.1.0
 */
export class FileFailed extends Schema.TaggedError<FileFailed>("effect-blaze/FileFailed")("FileFailed", {
  operation: Schema.Literals(["reading", "upload", "download", "writing"]),
  problem: Schema.String,
  isLasting: Schema.Boolean
}) {
  override get message(): string {
    return `The ${this.operation} of a file failed: ${this.problem}.`
  }
}

/**
 * What should go encrypted cannot: somebody's app has no key to encrypt for, say.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotEncrypted extends Schema.TaggedError<NotEncrypted>("effect-blaze/NotEncrypted")("NotEncrypted", {
  problem: Schema.String
}) {
  override get message(): string {
    return `Cannot encrypt this: ${this.problem}. It was not sent; with the setting encryptionRequired at false it goes in plain.`
  }
}

/**
 * What was to be stored and sent later could not be stored, or what became of it is not known. `problem` says why.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OutboxFailed extends Schema.TaggedError<OutboxFailed>("effect-blaze/OutboxFailed")("OutboxFailed", {
  problem: Schema.String
}) {
  override get message(): string {
    return `Of what is stored to be sent: ${this.problem}.`
  }
}

/**
 * What is remembered could not be read or written. `problem` says why, and nothing that is remembered.
 *
 * @category reasons
 * @since 0.1.0
 */
export class StateFailed extends Schema.TaggedError<StateFailed>("effect-blaze/StateFailed")("StateFailed", {
  state: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `The state ${JSON.stringify(this.state.slice(0, 50))} cannot be used: ${this.problem}.`
  }
}

/**
 * What is remembered has changed since it was read: nothing was written. Whoever reads it again may write.
 *
 * @category reasons
 * @since 0.1.0
 */
export class StateChanged extends Schema.TaggedError<StateChanged>("effect-blaze/StateChanged")("StateChanged", {
  state: Schema.String
}) {
  override get message(): string {
    return `The state ${JSON.stringify(this.state.slice(0, 50))} has changed since it was read: nothing was written. Read it again.`
  }
}

/**
 * Something the program was given cannot be used. `field` names where, `expected` says what belongs there; the value is never
 * told, for it may be a key.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidSetting extends Schema.TaggedError<InvalidSetting>("effect-blaze/InvalidSetting")(
  "InvalidSetting",
  { setting: Schema.Literals(["keystore", "address", "option"]), field: Schema.String, expected: Schema.String }
) {
  override get message(): string {
    return `The ${this.setting} cannot be used: ${this.field} must be ${this.expected}.`
  }
}

/**
 * Two consumers would share one stream of messages, and each would miss what the other took.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AlreadyConsumed extends Schema.TaggedError<AlreadyConsumed>("effect-blaze/AlreadyConsumed")(
  "AlreadyConsumed",
  {}
) {
  override get message(): string {
    return "This bot's messages already have a consumer, and a second one would steal from it: combine the two into one handler."
  }
}

/**
 * The bot is shutting down or has ended; nothing more is sent or received.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Closed extends Schema.TaggedError<Closed>("effect-blaze/Closed")("Closed", {}) {
  override get message(): string {
    return "The bot is shutting down; this was not sent."
  }
}

/** @since 0.1.0 */
export const Reason = Schema.Union([
  Unauthorized,
  ClientTooOld,
  HandshakeRefused,
  Intermediary,
  Unreachable,
  ConnectionLost,
  Timeout,
  ApiFailure,
  BadInput,
  InvalidContent,
  FileFailed,
  NotEncrypted,
  OutboxFailed,
  StateFailed,
  StateChanged,
  InvalidSetting,
  AlreadyConsumed,
  Closed
])
/** @since 0.1.0 */
export type Reason = typeof Reason.Type

/**
 * The error of this library: look at `reason`, or use `Effect.catchReason`.
 *
 * **Example** (Telling a refused message from the rest)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BlazeError } from "effect-blaze"
 *
 * const failed = Effect.fail(BlazeError.fromApi({ code: 403, description: "Forbidden" }))
 *
 * const handled = failed.pipe(
 *   Effect.catchReason("BlazeError", "ApiFailure", (reason) => Effect.succeed(`refused with ${reason.code}`))
 * )
 * console.assert(Effect.runSync(handled) === "refused with 403")
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class BlazeError extends Schema.TaggedError<BlazeError>("effect-blaze/BlazeError")("BlazeError", {
  reason: Reason
}) {
  override get message(): string {
    return this.reason.message
  }

  /** The connection will not be tried again. */
  get isFatal(): boolean {
    const { reason } = this
    return (reason._tag === "Unauthorized" && reason.tokenAge === undefined) || reason._tag === "ClientTooOld"
  }

  /** Another attempt with the same ids may succeed, and cannot do harm. */
  get isRetryable(): boolean {
    const { reason } = this
    switch (reason._tag) {
      case "Unauthorized":
        return !this.isFatal
      case "ApiFailure":
        return retryableCodes.has(reason.code) || isServerError(reason.code) || isServerError(reason.status)
      case "FileFailed":
        return !reason.isLasting && (reason.operation === "upload" || reason.operation === "download")
      case "HandshakeRefused":
      case "Intermediary":
      case "Unreachable":
      case "ConnectionLost":
      case "Timeout":
      case "BadInput":
        return true
      default:
        return false
    }
  }

  /** No further try can change it: what was to be sent breaks a rule of Mixin, or Mixin's answer is one that stays. */
  get isFinal(): boolean {
    const { reason } = this
    return (
      reason._tag === "InvalidContent" ||
      (reason._tag === "FileFailed" && reason.isLasting) ||
      (reason._tag === "ApiFailure" && finalCodes.has(reason.code) && !isServerError(reason.status))
    )
  }

  /** This machine's clock is the cause, by the server's time. */
  get isClockWrong(): boolean {
    return this.reason._tag === "Unauthorized" && this.isFatal && this.reason.clockDifference !== undefined
  }

  /** It was the host that could not be reached, or what stands in front of it: another address may do better. */
  get isHostBound(): boolean {
    switch (this.reason._tag) {
      case "HandshakeRefused":
      case "Intermediary":
        return this.reason.status !== 413
      case "Unreachable":
      case "Timeout":
        return true
      default:
        return false
    }
  }

  /** A 401 that Mixin did not write: only an answer of the API tells whether it concerns the bot. */
  get isUndecided(): boolean {
    const { reason } = this
    return (reason._tag === "HandshakeRefused" || reason._tag === "Intermediary") && reason.status === 401
  }

  /** The request was larger than what stands in front of the API takes. */
  get isTooLarge(): boolean {
    return this.reason._tag === "Intermediary" && this.reason.status === 413
  }

  /** The pause that the other end asked for, beside one's own. */
  get retryAfter(): Duration.Duration {
    return Duration.millis(("retryAfter" in this.reason ? this.reason.retryAfter : undefined) ?? 0)
  }

  /** The process exits with 1, see `Runtime.runMain`. */
  override readonly [Runtime.errorExitCode] = 1
}

/** @since 0.1.0 */
export const isBlazeError = (u: unknown): u is BlazeError => Predicate.isTagged(u, "BlazeError")

/**
 * Wraps a reason. The error has no stack: where it was made tells less than the sentence, and a program that ends with it prints one
 * line.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: Reason): BlazeError => {
  const error = new BlazeError({ reason })
  error.stack = `BlazeError: ${error.message}`
  return error
}

// Sources: the official documentation and clients. Whatever is not listed gives the same answer when it is sent again.
const retryableCodes: ReadonlySet<number> = new Set([408, 429, 7000, 7001, 10001, 10104, 10105, 30103])
// Sources: the same. A code that nobody knows is none of these: it is tried like an error of the program's own.
const finalCodes: ReadonlySet<number> = new Set([
  400, 403, 404, 10002, 10404, 20116, 20117, 20119, 20120, 20123, 20124, 20125, 20127, 20131, 20133, 20134, 20135,
  20150, 30102
])
const isServerError = (code: number | undefined) => code !== undefined && code >= 500 && code < 600
const authorizationExpiredCode = 20121
const clientTooOldCode = 10006

/**
 * The error for an `error` object of the server, whether it came in a frame or over REST. One with a status of 500 to 599 passes,
 * whatever its code is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromApi = (error: {
  readonly code: number
  readonly status?: number | undefined
  readonly description?: string | undefined
  readonly field?: string | undefined
}): BlazeError => {
  if (!isServerError(error.status)) {
    if (error.code === 401) return make(new Unauthorized({}))
    if (error.code === authorizationExpiredCode) return make(new Unauthorized({ code: authorizationExpiredCode }))
    if (error.code === clientTooOldCode) return make(new ClientTooOld({}))
  }
  return make(
    new ApiFailure({
      code: error.code,
      ...(error.status === undefined ? {} : { status: error.status }),
      ...(error.description === undefined ? {} : { description: error.description.slice(0, 200) }),
      ...(error.field === undefined ? {} : { field: error.field.slice(0, 100) })
    })
  )
}

/**
 * What an answer says to a request of the program's own: a 20121 there concerns the request, not the bot.
 *
 * @category combinators
 * @since 0.1.0
 */
export const ofRequest = (error: BlazeError): BlazeError =>
  error.reason._tag === "Unauthorized" && error.reason.code === authorizationExpiredCode
    ? make(new ApiFailure({ code: authorizationExpiredCode, description: "the authorization has expired" }))
    : error

/**
 * What an answer says to a request that needs a permission of somebody: a 403 names it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const needing = (error: BlazeError, permission: string): BlazeError =>
  error.reason._tag === "ApiFailure" && error.reason.code === 403
    ? make(new ApiFailure({ ...error.reason, permission }))
    : error

/**
 * What the end of a connection says to the requests that were out on it: an answer of Mixin that ended it answers none of them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const ofConnection = (error: BlazeError): BlazeError =>
  error.reason._tag === "ApiFailure"
    ? make(new ConnectionLost({ code: 1006, detail: `the server ended it with error ${error.reason.code}` }))
    : error

/** How far apart two clocks may be before Mixin refuses a token: 5 minutes, in milliseconds. Source: the official documentation. */
export const toleratedClockDifference = 300_000

/** How old a token may be, in milliseconds, for a refusal of it to be final. Source: the official Android and Flutter clients. */
const maximumTokenAge = 60_000

/**
 * A refusal with what is known of its circumstances, in milliseconds since 1970: the clock is named as the cause when the server's
 * time says so, and a token that was signed too long ago is no proof against the bot.
 *
 * @category combinators
 * @since 0.1.0
 */
export const explain = (
  error: BlazeError,
  known: { readonly now: number; readonly serverTime?: number | undefined; readonly signedAt?: number | undefined }
): BlazeError => {
  if (error.reason._tag !== "Unauthorized") return error
  const { code } = error.reason
  const difference = known.serverTime === undefined ? 0 : known.now - known.serverTime
  const age = known.signedAt === undefined ? 0 : known.now - known.signedAt
  return make(
    new Unauthorized({
      ...(code === undefined ? {} : { code }),
      ...(Math.abs(difference) > toleratedClockDifference ? { clockDifference: difference } : {}),
      ...(age > maximumTokenAge ? { tokenAge: age } : {})
    })
  )
}

/**
 * A refusal that stands, however old its token was.
 *
 * @category combinators
 * @since 0.1.0
 */
export const standing = (error: BlazeError): BlazeError => {
  if (error.reason._tag !== "Unauthorized" || error.reason.tokenAge === undefined) return error
  const { clockDifference, code } = error.reason
  return make(
    new Unauthorized({
      ...(code === undefined ? {} : { code }),
      ...(clockDifference === undefined ? {} : { clockDifference })
    })
  )
}

const maximumProblem = 100

/**
 * What an error of the platform says, in a few words that can be shown: its code, else its first line. Such an error itself holds
 * the request, and with it the token.
 *
 * @since 0.1.0
 */
export const problemOf = (error: unknown, otherwise: string): string => {
  if (!Predicate.isObject(error)) return otherwise
  if ("code" in error && Predicate.isString(error.code)) return error.code.slice(0, maximumProblem)
  if (!("message" in error) || !Predicate.isString(error.message)) return otherwise
  const [line = ""] = error.message.split("\n")
  // An agent may put its proxy's address, with the password, or the request into its message.
  return line === "" || /\/\/|@|bearer|basic|authorization|eyJ/i.test(line) ? otherwise : line.slice(0, maximumProblem)
}
