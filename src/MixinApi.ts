/**
 * The REST endpoints next to Blaze, defined once and used by the client and by the built-in server.
 *
 * Guarantee: every request carries a fresh token over exactly the bytes that are sent, and every answer, whatever its status or
 * form, becomes either its data or a `BlazeError`; no trace headers go to Mixin.
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
import * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"
import * as Signer from "./Signer.ts"

/**
 * The address of the REST API.
 *
 * @category references
 * @since 0.1.0
 */
export const BaseUrl = Context.Reference<string>("effect-blaze/MixinApi/BaseUrl", {
  defaultValue: () => "https://api.mixin.one"
})

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

const bad = (problem: string) => BlazeError.make(new BlazeError.BadInput({ problem }))

const sign = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
  const signer = yield* Signer.Signer
  const id = yield* (yield* SecureRandom.SecureRandom).uuidV4()
  const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
  const url = new URL(request.url)
  const token = yield* signer.token({ method: request.method, uri: url.pathname + url.search, body, id })
  return HttpClientRequest.setHeaders(request, {
    authorization: `Bearer ${Redacted.value(token)}`,
    "x-request-id": id
  })
})

// The platform's error holds the request with its token, so only the code of the failure is taken out of it.
const unreachable = (error: HttpClientError.HttpClientError, host: string): BlazeError.BlazeError => {
  const cause = Predicate.hasProperty(error.reason, "cause") ? error.reason.cause : undefined
  const code = Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : error.reason._tag
  return BlazeError.make(new BlazeError.Unreachable({ host, problem: code }))
}

const unreadable = bad("an answer that could not be read")
const tooLarge = bad(`an answer of more than ${maximumAnswerSize} bytes`)

const decodeError = Schema.decodeUnknownResult(ErrorAnswer)
const decodeUser = Schema.decodeUnknownEffect(User)

const isOk = (status: number) => status >= 200 && status < 300

const unauthorized = (time: Option.Option<number>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.fail(BlazeError.unauthorized(now, Option.getOrUndefined(time)))
  )

/**
 * Reads an answer: its `data`, or why it has none. What Mixin says with a 200 or 202 may be an error, a proxy in front of it may
 * say HTML, and an empty body is as good as `{}`.
 *
 * @since 0.1.0
 */
export const readAnswer = Effect.fnUntraced(function* (answer: {
  readonly status: number
  readonly body: string
  readonly serverTime: Option.Option<number>
}): Effect.fn.Return<unknown, BlazeError.BlazeError> {
  const { body, serverTime, status } = answer
  if (status === 401) return yield* unauthorized(serverTime)
  const refused = () => BlazeError.fromApi({ code: status, status })
  let json: unknown = {}
  try {
    if (body.trim() !== "") json = JSON.parse(body)
  } catch {
    return yield* isOk(status) ? bad("an answer that is not JSON") : refused()
  }
  const failed = decodeError(json)
  if (Result.isSuccess(failed)) {
    const error = Envelope.toBlazeError(failed.success.error)
    return yield* error.reason._tag === "Unauthorized" ? unauthorized(serverTime) : error
  }
  if (!isOk(status)) return yield* refused()
  return Predicate.hasProperty(json, "data") ? json.data : null
})

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

const read = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
  const requestId = response.headers["x-request-id"]
  if (requestId !== undefined && requestId !== response.request.headers["x-request-id"]) {
    return yield* bad("the answer to another request")
  }
  const body = yield* isShort(response) ? Effect.mapError(response.text, () => unreadable) : readBounded(response)
  return yield* readAnswer({ status: response.status, body, serverTime: serverTime(response.headers) })
})

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
    Effect.provideService(HttpClient.TracerPropagationEnabled, false)
  )

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
    const context = yield* Effect.context<Signer.Signer | SecureRandom.SecureRandom>()
    const { host } = yield* Effect.fromResult(BlazeError.requireSecure(baseUrl, "http"))
    const signed = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(baseUrl)),
      HttpClient.mapRequestEffect((request) => Effect.provideContext(sign(request), context))
    )
    const client = yield* HttpApiClient.makeWith(Api, {
      httpClient: HttpClient.transformResponse(
        signed,
        (response: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>) =>
          Effect.mapError(response, (error) => unreachable(error, host))
      )
    })

    return MixinApi.of({
      acknowledge: (messages) =>
        Effect.asVoid(
          run(
            "waiting for the answer to POST /acknowledgements",
            Effect.flatMap(client.acknowledge({ payload: messages, responseMode: "response-only" }), read)
          )
        ),
      me: run(
        "waiting for the answer to GET /me",
        client.me({ responseMode: "response-only" }).pipe(Effect.flatMap(read), Effect.flatMap(decodeUser))
      ),
      serverTime: run(
        "waiting for the server's time",
        Effect.map(signed.execute(HttpClientRequest.get("/me")), (response) => serverTime(response.headers))
      ).pipe(Effect.orElseSucceed(() => Option.none<number>()))
    })
  })
)
