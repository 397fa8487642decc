/**
 * An `HttpClient` whose requests are made in the name of a bot: paths alone, for the address is the API's.
 *
 * Guarantee: a token goes to the API's own address and to no other, and stands in no message of an error and in no span; no trace headers go to Mixin.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as BlazeError from "../BlazeError.ts"

/**
 * A request as it is signed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signable {
  readonly method: string
  /** The path with what follows it. */
  readonly uri: string
  readonly body: string
  /** What the body is: JSON when left out. */
  readonly contentType?: string | undefined
}

// What a path becomes on its way through the platform, which knows whole addresses only. Nothing is ever sent there.
const origin = "https://api.invalid"

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** What is signed and sent: nothing for bytes that would be others as a text. */
const textOf = (body: HttpBody.HttpBody): string | undefined => {
  if (body._tag === "Empty") return ""
  try {
    return body._tag === "Uint8Array" ? decoder.decode(body.body) : undefined
  } catch {
    return undefined
  }
}

const failed = (reason: HttpClientError.HttpClientError["reason"]) =>
  Effect.fail(new HttpClientError.HttpClientError({ reason }))

/**
 * A client that has `send` make its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  send: (
    signable: Signable,
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, BlazeError.BlazeError>
): HttpClient.HttpClient =>
  HttpClient.make((request, url) => {
    if (url.origin !== origin) {
      const description = "only a path, as /safe/snapshots: the token is for the API's own address"
      return failed(new HttpClientError.InvalidUrlError({ request, description }))
    }
    const body = textOf(request.body)
    if (body === undefined) {
      const description = "only a body that is text can be signed"
      return failed(new HttpClientError.EncodeError({ request, description }))
    }
    const contentType = request.body._tag === "Uint8Array" ? request.body.contentType : undefined
    const signable = { method: request.method, uri: url.pathname + url.search, body, contentType }
    return Effect.catch(send(signable, request), (error) =>
      failed(new HttpClientError.TransportError({ request, description: error.message }))
    )
  }).pipe(
    HttpClient.mapRequestInput((request) =>
      request.url.startsWith("/") ? HttpClientRequest.prependUrl(request, origin) : request
    ),
    HttpClient.transform((effect) => Effect.provideService(effect, HttpClient.TracerPropagationEnabled, false))
  )
