/**
 * Bytes to and from the addresses that the API names for files.
 *
 * Guarantee: no token goes there, and no trace headers; a redirect to another scheme or into a private network is not followed; nothing that
 * stands still is waited for without end, and of an address, which is a credential, only the host is told.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlazeError from "../BlazeError.ts"
import * as Settings from "../Settings.ts"
import * as PublicAddress from "./PublicAddress.ts"

/**
 * A file from some place on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Part {
  /** Where it begins: 0, where the host does not give parts. */
  readonly from: number
  /** How many bytes the whole has, where the host tells. */
  readonly size: number | undefined
  readonly bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface FileTransfer {
  readonly put: (
    address: string,
    bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>,
    size: number
  ) => Effect.Effect<void, BlazeError.BlazeError>
  readonly get: (address: string, from: number) => Effect.Effect<Part, BlazeError.BlazeError, Scope.Scope>
}

const maximumRedirects = 5

type Operation = BlazeError.FileFailed["operation"]

const passing = [401, 403, 404, 408, 409, 410, 425, 429]

/**
 * Why a file did not travel, if the status says so; what may be otherwise the next time is tried again.
 *
 * @category errors
 * @since 0.1.0
 */
export const refused = (operation: Operation, host: string, status: number) =>
  BlazeError.make(
    new BlazeError.FileFailed({
      operation,
      problem: `${host} answered with HTTP status ${status}`,
      // A slot may have run out, and the next one will do; of a file that is not there any more there is no other.
      isLasting: status < 500 && !(operation === "upload" ? passing : [408, 425, 429]).includes(status)
    })
  )

const forbidden = (operation: Operation) =>
  BlazeError.make(
    new BlazeError.FileFailed({
      operation,
      problem: "the address that was given for it is not encrypted, or within a private network",
      isLasting: true
    })
  )

const unreachable = (host: string) => (error: HttpClientError.HttpClientError) => {
  const cause = Predicate.hasProperty(error.reason, "cause") ? error.reason.cause : undefined
  // The body's own error, that of whoever reads the file.
  if (BlazeError.isBlazeError(cause)) return cause
  return BlazeError.make(new BlazeError.Unreachable({ host, problem: BlazeError.problemOf(cause, error.reason._tag) }))
}

const timedOut = (operation: Operation, host: string) =>
  BlazeError.make(
    new BlazeError.Timeout({ operation: `the ${operation} of a file with ${host}, of which nothing came on` })
  )

const sizeOf = ({ headers, status }: HttpClientResponse.HttpClientResponse): number | undefined => {
  const total = status === 200 ? headers["content-length"] : /\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1]
  return /^\d+$/.test(total ?? "") && headers["content-encoding"] === undefined ? Number(total) : undefined
}

const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )

/** Fails once nothing has come on for as long as is waited. */
const standstill = (operation: Operation, host: string, transferTimeout: Duration.Duration, progress: () => number) =>
  Effect.gen(function* () {
    while (true) {
      const before = progress()
      yield* Effect.sleep(transferTimeout)
      if (progress() === before) return yield* timedOut(operation, host)
    }
  })

/**
 * Fails once a pull has waited for as long as is said, and twice that at the most. One watch for all of them: a timer and a race for each
 * took a third of the time of a download.
 */
const watched =
  (after: Duration.Duration, failure: () => BlazeError.BlazeError) =>
  <A>(self: Stream.Stream<A, BlazeError.BlazeError>): Stream.Stream<A, BlazeError.BlazeError> =>
    Stream.transformPull(self, (pull, scope) =>
      Effect.gen(function* () {
        const run = Effect.runForkWith(yield* Effect.context<never>())
        let pulls = 0
        let stop: (() => void) | undefined
        const watch = Effect.gen(function* () {
          while (true) {
            const before = stop === undefined ? -1 : pulls
            yield* Effect.sleep(after)
            if (pulls === before) stop?.()
          }
        })
        yield* Effect.forkIn(watch, scope)
        return Effect.callback<Effect.Success<typeof pull>, Effect.Error<typeof pull>>((resume) => {
          pulls++
          const fiber = run(pull)
          stop = () => {
            stop = undefined
            resume(Effect.fail(failure()))
            fiber.interruptUnsafe()
          }
          fiber.addObserver((exit) => {
            stop = undefined
            resume(exit)
          })
          return Fiber.interrupt(fiber)
        })
      })
    )

/**
 * Over HTTP. `apiOrigins` are those of the API itself, on whatever network they are.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  apiOrigins: ReadonlySet<string>,
  userAgent: string
): Effect.fn.Return<FileTransfer, BlazeError.BlazeError, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const { transferTimeout } = yield* Settings.checked

  const addressOf = (operation: Operation, address: string, base?: string) => {
    const url = PublicAddress.parse(address, base, apiOrigins)
    return url === undefined ? Effect.fail(forbidden(operation)) : Effect.succeed(url)
  }

  const request = Effect.fnUntraced(function* (
    url: URL,
    from: number,
    redirects: number
  ): Effect.fn.Return<readonly [HttpClientResponse.HttpClientResponse, URL], BlazeError.BlazeError, Scope.Scope> {
    const headers = { "user-agent": userAgent, ...(from > 0 ? { range: `bytes=${from}-` } : {}) }
    const response = yield* client.execute(HttpClientRequest.get(url, { headers })).pipe(
      Effect.mapError(unreachable(url.host)),
      Effect.timeoutOrElse({
        duration: transferTimeout,
        orElse: () => Effect.fail(timedOut("download", url.host))
      })
    )
    const { location } = response.headers
    if (response.status < 300 || response.status >= 400 || location === undefined) return [response, url]
    if (redirects === 0) return yield* refused("download", url.host, response.status)
    return yield* request(yield* addressOf("download", location, url.href), from, redirects - 1)
  })

  return {
    put: Effect.fnUntraced(function* (address, bytes, size) {
      const url = yield* addressOf("upload", address)
      let progress = 0
      const body = Stream.tap(bytes, () => Effect.sync(() => progress++))
      const sent = client.execute(
        HttpClientRequest.put(url, { headers: { "user-agent": userAgent, "x-amz-acl": "public-read" } }).pipe(
          HttpClientRequest.bodyStream(body, { contentType: "application/octet-stream", contentLength: size })
        )
      )
      const { status } = yield* Effect.raceFirst(
        Effect.mapError(sent, unreachable(url.host)),
        standstill("upload", url.host, transferTimeout, () => progress)
      )
      if (status >= 300) return yield* refused("upload", url.host, status)
    }, quietly),
    get: (address, from) =>
      Effect.gen(function* () {
        const [response, { host }] = yield* request(yield* addressOf("download", address), from, maximumRedirects)
        const { headers, status, stream } = response
        const size = sizeOf(response)
        // Nothing stands behind what was had already, which is all of it.
        if (status === 416 && from > 0 && size === from) return { from, size, bytes: Stream.empty }
        if (status !== 200 && status !== 206) return yield* refused("download", host, status)
        const begin = status === 206 ? /^bytes (\d+)-/.exec(headers["content-range"] ?? "")?.[1] : "0"
        if (status === 206 && Number(begin) !== from) {
          return yield* BlazeError.make(
            new BlazeError.FileFailed({
              operation: "download",
              problem: `${host} gave another part than it was asked for`,
              isLasting: false
            })
          )
        }
        return {
          from: Number(begin),
          size,
          bytes: stream.pipe(
            Stream.mapError(unreachable(host)),
            watched(transferTimeout, () => timedOut("download", host))
          )
        }
      }).pipe(quietly)
  }
})
