/**
 * An answer over HTTP, read: its data, or why it has none.
 *
 * Guarantee: every answer, whatever its status or form, becomes either its data or a `BlazeError`; what stands in front of the API is
 * never taken for it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as BlazeError from "../BlazeError.ts"
import * as Envelope from "../Envelope.ts"
import * as Decoding from "./Decoding.ts"

/** The answer to a request that failed; its HTTP status is 202 for errors of the API. */
const decodeError = Schema.decodeUnknownResult(Schema.Struct({ error: Envelope.ErrorBody }))

const isOk = (status: number) => status >= 200 && status < 300

/**
 * The time that the headers of an answer tell, in milliseconds: `X-Server-Time` in nanoseconds, else `Date`.
 */
export const serverTime = (headers: Readonly<Record<string, string | undefined>>): Option.Option<number> => {
  const nanoseconds = headers["x-server-time"]
  const time =
    nanoseconds !== undefined && /^\d{16,20}$/.test(nanoseconds)
      ? Number(nanoseconds) / 1e6
      : Date.parse(headers["date"] ?? "")
  return Number.isFinite(time) ? Option.some(time) : Option.none()
}

/** The longest that a `Retry-After` is heeded, in milliseconds. */
const maximumRetryAfter = 300_000

/**
 * The pause that the headers of an answer ask for, in milliseconds, five minutes at most: `Retry-After` in seconds or as a date, which
 * is meant by the clock of whoever wrote it. `now` is ours.
 */
export const retryAfter = (
  headers: Readonly<Record<string, string | undefined>>,
  now: number
): Option.Option<number> => {
  const value = headers["retry-after"]?.trim() ?? ""
  const date = /\d:\d\d.*GMT$/i.test(value) ? Date.parse(value) : Number.NaN
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : date - Option.getOrElse(serverTime(headers), () => now)
  return pause > 0 ? Option.some(Math.min(pause, maximumRetryAfter)) : Option.none()
}

/**
 * An answer over HTTP as plain data: to a request, or to the upgrade of a connection.
 */
export interface Answer {
  readonly host: string
  readonly status: number
  readonly body: string
  /** When its headers tell them, in milliseconds. */
  readonly serverTime: Option.Option<number>
  readonly retryAfter?: Option.Option<number>
  /** When the token of the request was signed, in milliseconds since 1970. */
  readonly signedAt?: number
}

/**
 * Reads an answer: its `data`, or why it has none. What Mixin says with a 200 or 202 may be an error, and an empty body is as good as
 * `{}`. Whatever else has not Mixin's JSON was said by an `Intermediary`.
 */
export const read = Effect.fnUntraced(function* (answer: Answer): Effect.fn.Return<unknown, BlazeError.BlazeError> {
  const { body, host, status } = answer
  const pause = Option.getOrUndefined(answer.retryAfter ?? Option.none())
  const asked = pause === undefined ? {} : { retryAfter: pause }
  const passing = () => BlazeError.make(new BlazeError.Intermediary({ host, status, ...asked }))
  let json: unknown = {}
  try {
    if (body.trim() !== "") json = JSON.parse(body)
  } catch {
    return yield* passing()
  }
  // Gateways write JSON too, with an `error` of another form.
  if (Predicate.hasProperty(json, "error") && json.error !== null) {
    const failed = decodeError(json)
    if (Result.isFailure(failed)) return yield* passing()
    const error = Decoding.blazeError(failed.success.error)
    if (error.reason._tag === "ApiFailure") {
      return yield* BlazeError.make(new BlazeError.ApiFailure({ ...error.reason, ...asked }))
    }
    return yield* BlazeError.explain(error, {
      now: yield* Clock.currentTimeMillis,
      serverTime: Option.getOrUndefined(answer.serverTime),
      signedAt: answer.signedAt
    })
  }
  if (!isOk(status)) return yield* passing()
  return Predicate.hasProperty(json, "data") ? json.data : null
})

/**
 * What a failure comes to. A 401 that Mixin did not write says nothing about the bot: the answer to `GET /me` decides, and where that
 * does not refuse the bot either, the 401 passes.
 */
export const decide = (
  error: BlazeError.BlazeError,
  me: Effect.Effect<unknown, BlazeError.BlazeError>
): Effect.Effect<BlazeError.BlazeError> =>
  error.isUndecided
    ? Effect.map(Effect.result(me), (answer) =>
        Result.isFailure(answer) && answer.failure.isFatal ? answer.failure : error
      )
    : Effect.succeed(error)
