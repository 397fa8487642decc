/**
 * The REST API next to Blaze: requests in the name of a bot.
 *
 * Guarantee: every request carries a fresh token over exactly the bytes that are sent, to the address it was made for and nowhere
 * else; no answer is longer than what is read of it, none is waited for in vain, and no trace headers go to Mixin.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpMethod from "effect/http/HttpMethod"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "./BlazeError.ts"
import * as SecureAddress from "./internal/SecureAddress.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Answer from "./internal/Answer.ts"
import * as FileTransfer from "./internal/FileTransfer.ts"
import * as SignedClient from "./internal/SignedClient.ts"
import * as Settings from "./Settings.ts"
import * as Signer from "./Signer.ts"

/** What the client says it is, over REST and at the handshake. A test holds it to the version of the package. */
export const userAgent = "effect-blaze/0.1.0"

const requestTimeout = "10 seconds"
// A list of friends may be long: Mixin gives all of them at once, about 700 bytes each.
const maximumAnswerSize = 16 * 1024 * 1024

/**
 * The REST API in the name of one bot.
 *
 * **Example** (Who am I?)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Endpoint, MixinApi } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function*() {
 *   const api = yield* MixinApi.MixinApi
 *   const me = yield* api.request(Endpoint.me, {})
 *   console.assert(me.identity_number?.startsWith("7000"))
 * })
 *
 * const layer = BlazeTest.layerSocket.pipe(Layer.provide(BlazeTest.layerServer))
 * await Effect.runPromise(program.pipe(Effect.provide(layer)))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class MixinApi extends Context.Service<
  MixinApi,
  {
    /** Makes a request, tried at each address; what it fails with is told with what `GET /me` says of a refusal. */
    readonly request: <Path extends string, Payload, Data>(
      endpoint: Endpoint.Endpoint<Path, Payload, Data>,
      input: Endpoint.Input<Path, Payload>
    ) => Effect.Effect<Data, BlazeError.BlazeError>
    /** The server's time in milliseconds, from the headers of whatever it answers to `GET /me`. */
    readonly serverTime: Effect.Effect<Option.Option<number>>
    /**
     * Makes any other request in the bot's name: an `HttpClient` that takes paths, as `/safe/snapshots?limit=500`, signs them, and sends
     * them to the address that requests go to now, once, with a body that is text. The answer's head has 10 seconds; the rest is as it
     * comes: its status, its `error`, its length and how long it may take are the program's to look at.
     */
    readonly client: HttpClient.HttpClient
    /** Takes files to the addresses that the API names for them, and brings them from there: without a token. `Attachments` uses it. */
    readonly files: FileTransfer.FileTransfer
    /** The host that requests go to now. */
    readonly host: SubscriptionRef.SubscriptionRef<string>
  }
>()("effect-blaze/MixinApi") {}

const bad = (problem: string) => BlazeError.make(new BlazeError.BadInput({ problem }))

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
  const data = yield* Answer.read({
    host: hostOf(request.url),
    status,
    body,
    serverTime: Answer.serverTime(headers),
    retryAfter: Answer.retryAfter(headers, yield* Clock.currentTimeMillis),
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
  readonly href: string
  /** The path that stands before those of the endpoints. */
  readonly path: string
}

const addressOf = ({ host, href, pathname }: URL): Address => ({
  host,
  href: href.slice(0, href.length - pathname.length),
  path: pathname.replace(/\/$/, "")
})

/** Signs a request and gives its response, whatever it says. */
const makeExecute = Effect.gen(function* () {
  const { token } = yield* Signer.Signer
  const { uuidV4 } = yield* SecureRandom.SecureRandom
  const client = yield* HttpClient.HttpClient
  return Effect.fnUntraced(function* (
    address: Address,
    { body, contentType = "application/json", method, uri: path }: SignedClient.Signable,
    headers: Headers.Headers = Headers.empty
  ) {
    const id = yield* uuidV4()
    const uri = address.path + path
    const signed = yield* token({ method, uri, body, id })
    const request = HttpClientRequest.make(method as HttpMethod.HttpMethod)(address.href + uri, {
      headers: {
        accept: "application/json",
        ...headers,
        authorization: `Bearer ${Redacted.value(signed)}`,
        "user-agent": userAgent,
        "x-request-id": id
      },
      ...(body === "" ? {} : { body: HttpBody.text(body, contentType) })
    })
    return yield* Effect.mapError(client.execute(request), unreachable)
  })
})

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
    const urls = yield* Effect.fromResult(SecureAddress.all((yield* Settings.checked).apiUrl, "http"))
    const addresses = urls.map(addressOf)
    const host = yield* SubscriptionRef.make(addresses[0]!.host)
    const inUse = { index: 0 }
    const execute = yield* makeExecute
    const call = makeCall(addresses, inUse, host)
    const files = yield* FileTransfer.make(new Set(addresses.map(({ href }) => new URL(href).origin)), userAgent)

    let warned = false
    const warnOfForeign = Effect.suspend(() => {
      if (warned) return Effect.void
      warned = true
      return Effect.logWarning(
        `The answers of ${addresses[inUse.index]!.host} have an X-Request-Id that is not the request's, as behind a gateway that writes its own; what is acknowledged is taken to be so all the same.`
      )
    })

    const perform = Effect.fnUntraced(function* <Path extends string, Payload, Data>(
      endpoint: Endpoint.Endpoint<Path, Payload, Data>,
      path: string,
      body: string,
      signedAt: number
    ) {
      const response = yield* execute(addresses[inUse.index]!, { method: endpoint.method, uri: path, body })
      const { data, isForeign } = yield* read(response, signedAt)
      // Where nothing in the answer is read, a gateway that writes an id of its own takes nothing from it.
      if (isForeign) yield* endpoint.data === undefined ? warnOfForeign : bad("the answer to another request")
      return yield* Endpoint.decode(endpoint, data)
    })

    const request = Effect.fnUntraced(function* <Path extends string, Payload, Data>(
      endpoint: Endpoint.Endpoint<Path, Payload, Data>,
      input: Endpoint.Input<Path, Payload>
    ): Effect.fn.Return<Data, BlazeError.BlazeError> {
      const path = yield* Endpoint.uri(endpoint, input.path)
      const body = JSON.stringify(yield* Endpoint.encode(endpoint, input.payload)) ?? ""
      return yield* call(`${endpoint.method} ${endpoint.path}`, (signedAt) => perform(endpoint, path, body, signedAt))
    })

    const me = request(Endpoint.me, {})
    return MixinApi.of({
      request: (endpoint, input) =>
        endpoint.path === Endpoint.me.path
          ? request(endpoint, input)
          : Effect.catch(request(endpoint, input), (error) => Effect.flip(Answer.decide(error, me))),
      serverTime: run(
        "waiting for the server's time",
        Effect.map(
          Effect.suspend(() => execute(addresses[inUse.index]!, { method: "GET", uri: Endpoint.me.path, body: "" })),
          (response) => Answer.serverTime(response.headers)
        )
      ).pipe(Effect.orElseSucceed(() => Option.none<number>())),
      files,
      client: SignedClient.make((signable, { headers }) =>
        run(
          `waiting for the answer to ${signable.method} ${signable.uri.split("?")[0]}`,
          Effect.suspend(() => execute(addresses[inUse.index]!, signable, headers))
        )
      ),
      host
    })
  })
)
