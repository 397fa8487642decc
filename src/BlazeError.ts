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
import * as Result from "effect/Result"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"

const seconds = (millis: number): string => Duration.format(Duration.seconds(Math.round(Math.abs(millis) / 1000)))

/**
 * The server does not accept the bot: a wrong or revoked key, or a clock that is more than 5 minutes off. Fatal.
 *
 * **Details**
 *
 * `clockDifference` is in milliseconds, local time minus server time, and is there when the server told a time that is more
 * than 5 minutes away from ours.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>("effect-blaze/Unauthorized")("Unauthorized", {
  clockDifference: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return this.clockDifference === undefined
      ? "Mixin refused the bot (401): check that the keystore belongs to this bot and that its session was not replaced by a newer one."
      : `Mixin refused the bot (401) because this machine's clock is ${seconds(this.clockDifference)} ${
          this.clockDifference > 0 ? "ahead of" : "behind"
        } the server's: set the clock (at most 5 minutes are tolerated) and start again.`
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

/**
 * The upgrade to WebSocket was answered with another HTTP status than 101 and 401.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeRefused extends Schema.TaggedError<HandshakeRefused>("effect-blaze/HandshakeRefused")(
  "HandshakeRefused",
  { status: Schema.Int }
) {
  override get message(): string {
    return `The server refused the WebSocket handshake with HTTP status ${this.status}.`
  }
}

/**
 * No connection could be made at all: the name does not resolve, nobody listens, or TLS failed.
 *
 * **Details**
 *
 * `problem` is the error code of the platform (`ECONNREFUSED`, `ENOTFOUND`, ...).
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

/**
 * The server answered a request with an error of its own.
 *
 * **Details**
 *
 * `code` is the one to switch on; `status` is 202 for errors of the API and 500 for errors of the server. `field` names the
 * invalid field of a 10002 when the server told it.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ApiFailure extends Schema.TaggedError<ApiFailure>("effect-blaze/ApiFailure")("ApiFailure", {
  code: Schema.Int,
  status: Schema.optionalKey(Schema.Int),
  description: Schema.optionalKey(Schema.String),
  field: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `Mixin answered with error ${this.code}${this.description ? ` (${this.description})` : ""}${
      this.field ? `, field ${this.field}` : ""
    }.`
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
  Unreachable,
  ConnectionLost,
  Timeout,
  ApiFailure,
  BadInput,
  InvalidContent,
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
    return this.reason._tag === "Unauthorized" || this.reason._tag === "ClientTooOld"
  }

  /** Another attempt with the same ids may succeed, and cannot do harm. */
  get isRetryable(): boolean {
    switch (this.reason._tag) {
      case "ApiFailure":
        return retryableCodes.has(this.reason.code) || (this.reason.code >= 500 && this.reason.code < 600)
      case "HandshakeRefused":
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
    return (
      this.reason._tag === "InvalidContent" || (this.reason._tag === "ApiFailure" && finalCodes.has(this.reason.code))
    )
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

// Sources: the official documentation and clients. Whatever is not listed is final: sending it again gives the same answer.
// Statuses of 500 to 599 come from a proxy in front of the API, which may be another one the next time.
const retryableCodes: ReadonlySet<number> = new Set([408, 429, 7000, 7001, 10001, 10104, 10105, 30103])
// Sources: the same. A code that nobody knows is none of these: it is tried like an error of the program's own.
const finalCodes: ReadonlySet<number> = new Set([
  400, 403, 404, 10002, 10404, 20116, 20117, 20119, 20120, 20123, 20124, 20125, 20127, 20131, 20133, 20134, 20135,
  20150, 30102
])
const unauthorizedCodes: ReadonlySet<number> = new Set([401, 20121])
const clientTooOldCode = 10006

/**
 * The error for an `error` object of the server, whether it came in a frame or over REST.
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
  if (unauthorizedCodes.has(error.code)) return make(new Unauthorized({}))
  if (error.code === clientTooOldCode) return make(new ClientTooOld({}))
  return make(
    new ApiFailure({
      code: error.code,
      ...(error.status === undefined ? {} : { status: error.status }),
      ...(error.description === undefined ? {} : { description: error.description.slice(0, 200) }),
      ...(error.field === undefined ? {} : { field: error.field.slice(0, 100) })
    })
  )
}

/** How far apart two clocks may be before Mixin refuses a token: 5 minutes, in milliseconds. Source: the official documentation. */
export const toleratedClockDifference = 300_000

/**
 * An `Unauthorized` that names the clock as the cause when the server's time says so. Both times are in milliseconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unauthorized = (localTime: number, serverTime: number | undefined): BlazeError => {
  const difference = serverTime === undefined ? 0 : localTime - serverTime
  return make(new Unauthorized(Math.abs(difference) > toleratedClockDifference ? { clockDifference: difference } : {}))
}

const isLoopback = (hostname: string) => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)

/**
 * The address, when it is one that a token may be sent to: encrypted, or on this machine.
 *
 * @since 0.1.0
 */
export const requireSecure = (address: string, scheme: "ws" | "http"): Result.Result<URL, BlazeError> => {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const secure = url?.protocol === `${scheme}s:`
  const local = url?.protocol === `${scheme}:` && isLoopback(url.hostname)
  return url !== undefined && (secure || local) && url.hash === ""
    ? Result.succeed(url)
    : Result.fail(
        make(
          new InvalidSetting({
            setting: "address",
            field: scheme === "ws" ? "BLAZE_URL" : "BLAZE_API_URL",
            expected: `an address that begins with ${scheme}s:// (with ${scheme}:// on this machine only)`
          })
        )
      )
}
