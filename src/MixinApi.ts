/**
 * The REST endpoints next to Blaze, defined once and used by the client and by the built-in server.
 *
 * Guarantee: every request carries a fresh token over exactly the bytes that are sent, to the address it was made for and nowhere
 * else; every answer, whatever its status or form, becomes either its data or a `BlazeError`, and what stands in front of the API is
 * never taken for it; no trace headers go to Mixin.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"
import * as Signer from "./Signer.ts"

/**
 * The address of the REST API, or several: when one cannot be reached the next is used, from then on.
 *
 * @category references
 * @since 0.1.0
 */
export const BaseUrl = Context.Reference<string | ReadonlyArray<string>>("effect-blaze/MixinApi/BaseUrl", {
  defaultValue: () => "https://api.mixin.one"
})

/** What the client says it is, over REST and at the handshake. A test holds it to the version of the package. */
export const userAgent = "effect-blaze/0.1.0"

/** How many messages one request may acknowledge. Source: the official documentation. */
export const maximumAcknowledgements = 100

const requestTimeout = "10 seconds"
const maximumAnswerSize = 1024 * 1024

/**
 * A user as the API shows it, as far as this library reads it.
 *
 * @category models
 * @since 0.1.0
 */
export const User = Schema.Struct({
  user_id: Ids.UserId,
  full_name: Schema.optional(Schema.NullOr(Schema.String)),
  identity_number: Schema.optional(Schema.NullOr(Schema.String))
})
/** @since 0.1.0 */
export type User = typeof User.Type

/**
 * The answer to a request that failed; its HTTP status is 202 for errors of the API.
 *
 * @category models
 * @since 0.1.0
 */
export class ErrorAnswer extends Schema.Class<ErrorAnswer>("effect-blaze/MixinApi/ErrorAnswer")({
  error: Envelope.ErrorBody
}) {}

const answer = <S extends Schema.Top>(data: S) => Schema.Struct({ data })
const failure = ErrorAnswer.pipe(HttpApiSchema.status(202))

/**
 * The endpoints.
 *
 * @category definitions
 * @since 0.1.0
 */
export class Api extends HttpApi.make("mixin").add(
  HttpApiGroup.make("mixin", { topLevel: true }).add(
    HttpApiEndpoint.post("acknowledge", "/acknowledgements", {
      payload: Schema.Array(Envelope.Acknowledgement),
      success: answer(Schema.Unknown),
      error: failure
    }),
    HttpApiEndpoint.get("me", "/me", { success: answer(User), error: failure })
  )
) {}

/**
 * The REST API in the name of one bot.
 *
 * @category services
 * @since 0.1.0
 */
export class MixinApi extends Context.Service<
  MixinApi,
  {
    /** Marks up to 100 messages as read. */
    readonly acknowledge: (
      messages: ReadonlyArray<Envelope.Acknowledgement>
    ) => Effect.Effect<void, BlazeError.BlazeError>
    /** The bot itself. */
    readonly me: Effect.Effect<User, BlazeError.BlazeError>
    /** The server's time in milliseconds, from the headers of whatever it answers to `GET /me`. */
    readonly serverTime: Effect.Effect<Option.Option<number>>
    /** The host that requests go to now. */
    readonly host: SubscriptionRef.SubscriptionRef<string>
  }
>()("effect-blaze/MixinApi") {}

/**
 * The time that the headers of an answer tell, in milliseconds: `X-Server-Time` in nanoseconds, else `Date`.
 *
 * @since 0.1.0
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
 *
 * @since 0.1.0
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

const bad = (problem: string) => BlazeError.make(new BlazeError.BadInput({ problem }))

const sign = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
  const signer = yield* Signer.Signer
  const id = yield* (yield* SecureRandom.SecureRandom).uuidV4()
  const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
  const url = new URL(request.url)
  const token = yield* signer.token({ method: request.method, uri: url.pathname + url.search, body, id })
  return HttpClientRequest.setHeaders(request, {
    accept: "application/json",
    authorization: `Bearer ${Redacted.value(token)}`,
    "user-agent": userAgent,
    "x-request-id": id
  })
})

// The platform's error holds the request with its token, so only what is wrong is taken out of it.
const unreachable = (error: HttpClientError.HttpClientError): BlazeError.BlazeError => {
  const cause = Predicate.hasProperty(error.reason, "cause") ? error.reason.cause : undefined
  return BlazeError.make(
    new BlazeError.Unreachable({
      host: hostOf(error.request.url),
      problem: BlazeError.problemOf(cause, error.reason._tag)
    })
  )
}

const hostOf = (address: string) => (URL.canParse(address) ? new URL(address).host : "the server")

const unreadable = bad("an answer that could not be read")
const tooLarge = bad(`an answer of more than ${maximumAnswerSize} bytes`)

const decodeError = Schema.decodeUnknownResult(ErrorAnswer)
const decodeUser = Schema.decodeUnknownEffect(User)

const isOk = (status: number) => status >= 200 && status < 300

/**
 * An answer over HTTP as plain data: to a request, or to the upgrade of a connection.
 *
 * @category models
 * @since 0.1.0
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
 *
 * @since 0.1.0
 */
export const readAnswer = Effect.fnUntraced(function* (
  answer: Answer
): Effect.fn.Return<unknown, BlazeError.BlazeError> {
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
    const error = Envelope.toBlazeError(failed.success.error)
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
 *
 * @since 0.1.0
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

// Where the transport itself holds the body to a length, a stream would only count again.
const isShort = ({ headers }: HttpClientResponse.HttpClientResponse) =>
  Number(headers["content-length"] ?? Infinity) <= maximumAnswerSize && headers["content-encoding"] === undefined

const readBounded = (response: HttpClientResponse.HttpClientResponse) =>
  response.stream.pipe(
    Stream.mapError(() => unreadable),
    Stream.limitBytes(maximumAnswerSize, () => Stream.fail(tooLarge)),
    Stream.decodeText(),
    Stream.mkString
  )

const read = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse, signedAt: number) {
  const { headers, request, status } = response
  const body = yield* isShort(response) ? Effect.mapError(response.text, () => unreadable) : readBounded(response)
  const data = yield* readAnswer({
    host: hostOf(request.url),
    status,
    body,
    serverTime: serverTime(headers),
    retryAfter: retryAfter(headers, yield* Clock.currentTimeMillis),
    signedAt
  })
  const requestId = headers["x-request-id"]
  return { data, isForeign: requestId !== undefined && requestId !== request.headers["x-request-id"] }
})

// The transport that comes with browsers follows redirects by itself, and would take the token along.
const withoutRedirects = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.updateContext(effect, (context: Context.Context<R>) =>
    Context.add(context, FetchHttpClient.RequestInit, {
      ...Option.getOrUndefined(Context.getOption(context, FetchHttpClient.RequestInit)),
      redirect: "manual"
    })
  )

const run = <A, E>(operation: string, effect: Effect.Effect<A, E>) =>
  effect.pipe(
    Effect.timeout(requestTimeout),
    Effect.mapError((error) =>
      BlazeError.isBlazeError(error)
        ? error
        : Cause.isTimeoutError(error)
          ? BlazeError.make(new BlazeError.Timeout({ operation }))
          : bad("an answer of an unexpected form")
    ),
    withoutRedirects,
    // A span of the platform's own would end with its error, which holds the request and the token.
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
  )

interface Address {
  readonly host: string
  readonly prefix: string
}

/** Makes a request, once for each address, and once more for a token that had grown old on its way. */
const makeCall = (
  addresses: ReadonlyArray<Address>,
  inUse: { index: number },
  host: SubscriptionRef.SubscriptionRef<string>
) => {
  // How many requests the API has taken as the bot's.
  let accepted = 0

  const turnFrom = (tried: number) => {
    // Others may have turned to the next address while this one was waited for.
    if (addresses.length === 1 || inUse.index !== tried) return Effect.void
    inUse.index = (tried + 1) % addresses.length
    return SubscriptionRef.set(host, addresses[inUse.index]!.host)
  }

  return Effect.fnUntraced(function* <A>(
    operation: string,
    request: (signedAt: number) => Effect.Effect<A, unknown>
  ): Effect.fn.Return<A, BlazeError.BlazeError> {
    let untried = addresses.length
    let acceptedAtRefusal: number | undefined
    while (true) {
      const tried = inUse.index
      const result = yield* Effect.result(
        run(
          `waiting for the answer to ${operation} of ${addresses[tried]!.host}`,
          Effect.flatMap(Clock.currentTimeMillis, request)
        )
      )
      if (Result.isSuccess(result)) {
        accepted++
        return result.success
      }
      const error = result.failure
      if (error.reason._tag === "Unauthorized") {
        if (error.isFatal || acceptedAtRefusal === accepted) return yield* BlazeError.standing(error)
        acceptedAtRefusal = accepted
        continue
      }
      if (error.reason._tag === "ApiFailure") accepted++
      if (!error.isHostBound) return yield* error
      yield* turnFrom(tried)
      if (--untried === 0) return yield* error
    }
  })
}

/**
 * The API over HTTP.
 *
 * **Details**
 *
 * A proxy comes with the `HttpClient`; on Node `WebSocketDialer.ProxyAgent` sets one for both REST and the socket.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  MixinApi,
  BlazeError.BlazeError,
  HttpClient.HttpClient | Signer.Signer | SecureRandom.SecureRandom
> = Layer.effect(
  MixinApi,
  Effect.gen(function* () {
    const baseUrl = yield* BaseUrl
    const addresses = yield* Effect.map(Effect.fromResult(BlazeError.requireSecureAll(baseUrl, "http")), (urls) =>
      urls.map(({ host, href }) => ({ host, prefix: href.replace(/\/$/, "") }))
    )
    const context = yield* Effect.context<Signer.Signer | SecureRandom.SecureRandom>()
    const host = yield* SubscriptionRef.make(addresses[0]!.host)
    const inUse = { index: 0 }
    const signed = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest((request) => HttpClientRequest.prependUrl(request, addresses[inUse.index]!.prefix)),
      HttpClient.mapRequestEffect((request) => Effect.provideContext(sign(request), context))
    )
    const client = yield* HttpApiClient.makeWith(Api, {
      httpClient: HttpClient.transformResponse(
        signed,
        (response: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>) =>
          Effect.mapError(response, unreachable)
      )
    })

    const call = makeCall(addresses, inUse, host)
    const me = call(
      "GET /me",
      Effect.fnUntraced(function* (signedAt: number) {
        const answer = yield* read(yield* client.me({ responseMode: "response-only" }), signedAt)
        return answer.isForeign ? yield* bad("the answer to another request") : yield* decodeUser(answer.data)
      })
    )

    let warned = false
    const acknowledge = Effect.fnUntraced(function* (messages: ReadonlyArray<Envelope.Acknowledgement>) {
      const { isForeign } = yield* call("POST /acknowledgements", (signedAt) =>
        Effect.flatMap(client.acknowledge({ payload: messages, responseMode: "response-only" }), (response) =>
          read(response, signedAt)
        )
      )
      // Nothing in the answer is read: a gateway that writes an id of its own takes nothing from it.
      if (!isForeign || warned) return
      warned = true
      yield* Effect.logWarning(
        `The answers of ${addresses[inUse.index]!.host} have an X-Request-Id that is not the request's, as behind a gateway that writes its own; acknowledgements are taken to be done all the same.`
      )
    })

    return MixinApi.of({
      acknowledge: (messages) => Effect.catch(acknowledge(messages), (error) => Effect.flip(decide(error, me))),
      me,
      serverTime: run(
        "waiting for the server's time",
        Effect.map(signed.execute(HttpClientRequest.get("/me")), (response) => serverTime(response.headers))
      ).pipe(Effect.orElseSucceed(() => Option.none<number>())),
      host
    })
  })
)
