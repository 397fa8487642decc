/**
 * The page, over HTTP.
 *
 * Guarantee: it is served on 127.0.0.1 alone, to who knows the token in its address, and to no page of anybody else.
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as ByteSize from "effect/ByteSize"
import * as Hex from "effect/encoding/Hex"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createServer } from "node:http"
import { lookup } from "mrmime"
import type * as Playground from "./Playground.ts"
import * as Scene from "./Scene.ts"

const host = "127.0.0.1"

const headers = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY"
}

/** Nothing that somebody has sent becomes a page of this origin. */
const fileHeaders = { ...headers, "content-security-policy": "default-src 'none'; sandbox" }

const nothing = HttpServerResponse.text("There is nothing here.\n", { status: 404, headers })

/** How often at most the page is told of changes. */
const period = "40 millis"

/** How large a request of the page may be: a file in base64. */
const maximumBody = ByteSize.mebibytes(16)

const decodeAction = Schema.decodeUnknownEffect(Scene.Action)

/** The types that are shown in the page; all others are downloaded. */
const isImage = (type: string) => /^image\/(png|jpeg|gif|webp)$/.test(type)

const sniffed = (bytes: Uint8Array) => {
  const start = Hex.encode(bytes.subarray(0, 4))
  if (start === "89504e47") return "image/png"
  if (start.startsWith("ffd8ff")) return "image/jpeg"
  if (start === "47494638") return "image/gif"
  return start === "52494646" ? "image/webp" : "application/octet-stream"
}

const statics = Effect.fnUntraced(function* (directory: string, name: string) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = name === "" ? "index.html" : name
  if (!/^[\w-]+(\/[\w-]+)*(\.[\w-]+)*$/.test(file)) return nothing
  const bytes = yield* Effect.option(files.readFile(path.join(directory, file)))
  return Option.match(bytes, {
    onNone: () => nothing,
    onSome: (bytes) =>
      HttpServerResponse.uint8Array(bytes, { contentType: lookup(file) ?? "application/octet-stream", headers })
  })
})

const encoder = new TextEncoder()

const events = ({ changes, scene }: Playground.Playground) =>
  HttpServerResponse.stream(
    changes.pipe(
      // The last of what changes within a period, and the first at once.
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.mapEffect(() => scene),
      Stream.map((scene) => encoder.encode(`data: ${JSON.stringify(scene)}\n\n`)),
      Stream.tap(() => Effect.sleep(period))
    ),
    { contentType: "text/event-stream", headers }
  )

const answered = (playground: Playground.Playground) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.headers["content-type"] !== "application/json")
      return HttpServerResponse.empty({ status: 415, headers })
    const body = yield* Effect.provideService(request.json, HttpIncomingMessage.MaxBodySize, maximumBody)
    const result = yield* Effect.flatMap(decodeAction(body), playground.act)
    return HttpServerResponse.jsonUnsafe(result ?? null, { headers })
  }).pipe(
    Effect.catch((error) =>
      Effect.succeed(HttpServerResponse.jsonUnsafe({ problem: error.message }, { status: 400, headers }))
    )
  )

const fileOf = (playground: Playground.Playground, id: string) =>
  Effect.map(
    playground.file(id),
    Option.match({
      onNone: () => nothing,
      onSome: (bytes) => {
        const contentType = sniffed(bytes)
        const disposition = isImage(contentType) ? "inline" : "attachment"
        return HttpServerResponse.uint8Array(bytes, {
          contentType,
          headers: { ...fileHeaders, "content-disposition": disposition }
        })
      }
    })
  )

/**
 * Serves the page for as long as the scope is open; gives its address.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = Effect.fnUntraced(function* (options: {
  readonly playground: Playground.Playground
  /** Where the page's files are. */
  readonly directory: string
  readonly port: number
}) {
  const { directory, playground, port } = options
  const random = yield* SecureRandom.SecureRandom
  const token = Hex.encode(yield* random.randomBytes(16))
  const context = yield* Layer.build(
    NodeHttpServer.layer(() => createServer(), { host, port, gracefulShutdownTimeout: 0 })
  )
  const { address } = yield* Effect.provide(HttpServer.HttpServer, context)
  const listening = "port" in address ? address.port : port
  const own = [`${host}:${listening}`, `localhost:${listening}`]

  const respond = Effect.gen(function* () {
    const { headers: given, method, url } = yield* HttpServerRequest.HttpServerRequest
    const { pathname } = new URL(url, "http://localhost")
    const isOwn =
      own.includes(given["host"] ?? "") &&
      (given["origin"] === undefined || own.some((host) => given["origin"] === `http://${host}`))
    if (!isOwn || !pathname.startsWith(`/${token}/`)) return nothing
    const path = pathname.slice(token.length + 2)
    if (path === "action") return method === "POST" ? yield* answered(playground) : nothing
    if (method !== "GET") return nothing
    if (path === "events") return events(playground)
    return path.startsWith("files/") ? yield* fileOf(playground, path.slice(6)) : yield* statics(directory, path)
  })
  yield* Layer.build(HttpServer.serve(respond)).pipe(Effect.provide(context))
  return `http://${host}:${listening}/${token}/`
})
