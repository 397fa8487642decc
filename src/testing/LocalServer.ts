/**
 * The built-in server on loopback: real WebSockets and real HTTP, with tokens verified.
 *
 * Guarantee: a bot needs nothing but another address to talk to it in place of Mixin; it listens on this machine only, shares nothing
 * with another server of the same program, holds at most one request's worth of bytes of anybody, and waits for nobody when it ends.
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import type * as Digest from "effect/crypto/Digest"
import type * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as Zlib from "node:zlib"
import { type WebSocket, WebSocketServer } from "ws"
import * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as SynchronousCryptography from "../node/SynchronousCryptography.ts"
import * as ZlibGzip from "../node/ZlibGzip.ts"
import * as BlazeServer from "./BlazeServer.ts"
import * as AttachmentStore from "./internal/AttachmentStore.ts"
import * as Overheard from "./internal/Overheard.ts"
import * as Face from "./internal/Face.ts"
import * as RestRules from "./internal/RestRules.ts"
import * as TokenVerifier from "./internal/TokenVerifier.ts"

/**
 * Where the server listens.
 *
 * @category services
 * @since 0.1.0
 */
export class LocalServer extends Context.Service<
  LocalServer,
  {
    /** The WebSocket address. */
    readonly url: string
    /** The REST address. */
    readonly apiUrl: string
    /** The environment that makes `NodeBlaze.layerConfig` run a bot against this server. */
    readonly environment: (bot: BlazeServer.BotAccount) => {
      readonly BLAZE_KEYSTORE: string
      readonly BLAZE_URL: string
      readonly BLAZE_API_URL: string
      /** A proxy that the environment names is not for this machine. The lower-case name is the one that is looked at first. */
      readonly no_proxy: string
    }
  }
>()("effect-blaze/testing/LocalServer") {}

type Requirements = BlazeServer.BlazeServer | Digest.Digest | Signature.Signature

/** How often the server pings. Source: what the official Node client needs to stay connected. */
const pingPeriod = "15 seconds"

const bearer = (authorization: string | undefined) => /^Bearer (.+)$/.exec(authorization ?? "")?.[1] ?? ""

const maximumBodySize = ByteSize.bytes(Face.maximumRequestSize)

// What is still to come of a body that nobody reads is let through when it is short: whoever is cut off while he sends may never see
// the answer.
const isShort = (headers: Readonly<Record<string, string | undefined>>) =>
  headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) <= Face.maximumRequestSize

const invalidBody = RestRules.failed(Face.failure(400))

const parseJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const respond = Effect.fnUntraced(function* (server: BlazeServer.BlazeServer["Service"], used: TokenVerifier.Used) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const { method, url: uri } = request
  // Nothing of a body is read before the token is known to be somebody's.
  const text = Effect.provideService(request.text, HttpIncomingMessage.MaxBodySize, maximumBodySize)
  const verified = yield* Effect.result(
    TokenVerifier.verify(server, bearer(request.headers["authorization"]), { method, uri, body: text }, used)
  )
  if (Result.isFailure(verified)) return invalidBody
  const bot = verified.success
  if (Option.isNone(bot)) return Face.of(server).request(bot, { method, uri, payload: undefined })
  const body = yield* Effect.orDie(text)
  const payload = body === "" ? Result.succeed(undefined) : parseJson(body)
  return Result.isFailure(payload)
    ? invalidBody
    : Face.of(server).request(bot, { method, uri, payload: payload.success })
})

const rest = Effect.fnUntraced(function* (used: TokenVerifier.Used) {
  const server = yield* BlazeServer.BlazeServer
  const heard = yield* Overheard.Overheard
  const request = yield* HttpServerRequest.HttpServerRequest
  const { headers, method, url: uri } = request
  const { body, status } = yield* respond(server, used)
  // Read before, if it was to be read at all.
  if (heard !== undefined) {
    const asked = yield* request.text.pipe(
      Effect.provideService(HttpIncomingMessage.MaxBodySize, maximumBodySize),
      Effect.orElseSucceed(() => "")
    )
    heard({ _tag: "Request", method, uri, body: asked, status, answer: body })
  }
  return HttpServerResponse.text(body, {
    status,
    contentType: "application/json",
    headers: {
      "x-request-id": headers["x-request-id"] ?? "",
      ...timeHeaders(server.now()),
      ...(isShort(headers) ? {} : { connection: "close" })
    }
  })
})

const timeHeaders = (now: number) => ({
  date: new Date(now).toUTCString(),
  "x-server-time": String(BigInt(Math.round(now)) * 1_000_000n)
})

const refuse = (socket: Duplex, status: number, now: number) => {
  const headers = Object.entries(timeHeaders(now)).map(([name, value]) => `${name}: ${value}\r\n`)
  // Who keeps his half of the connection open has nothing more to say.
  socket.once("finish", () => socket.destroy())
  // A refusal of the bot is the API's own word; any other is that of something in front of it.
  const body = status === 401 ? JSON.stringify({ error: Face.failure(401) }) : ""
  socket.end(
    `HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? ""}\r\n${headers.join("")}connection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  )
}

// What was not offered is not echoed; clients of several years offer other names, or none.
const chooseProtocol = (offered: Set<string>) =>
  offered.has(BlazeSocket.subprotocol) ? BlazeSocket.subprotocol : ([...offered][0] ?? false)

const address = "127.0.0.1"

const cannotListen = (port: number, code: string) =>
  BlazeError.make(
    new BlazeError.InvalidSetting({
      setting: "address",
      field: `port ${port} of ${address}`,
      expected:
        code === "EADDRINUSE" ? "free, and another program listens there" : `one that can be listened on (${code})`
    })
  )

const listen = (http: Http.Server, port: number) =>
  Effect.callback<void, BlazeError.BlazeError>((resume) => {
    const fail = (error: unknown) =>
      resume(Effect.fail(cannotListen(port, String((error as NodeJS.ErrnoException).code))))
    http.once("error", fail)
    try {
      http.listen(port, address, () => {
        http.off("error", fail)
        resume(Effect.void)
      })
    } catch (error) {
      fail(error)
    }
  })

/** Has a bot and the server talk over a WebSocket, or tells the bot why not. */
const makeConnect =
  (server: BlazeServer.BlazeServer["Service"], sockets: WebSocketServer, heard: typeof Overheard.Overheard.Service) =>
  (bot: BlazeServer.BotAccount, request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
    // The upgrade is granted within this very call, before anything can be sent on it.
    let ws: WebSocket | undefined
    let stalled = false
    const early: Array<(ws: WebSocket) => void> = []
    const whenOpen = (act: (ws: WebSocket) => void) => (ws === undefined ? void early.push(act) : act(ws))
    const session = Face.of(server).connect(bot, {
      send: (frame) => {
        heard?.({ _tag: "Frame", by: "server", frame })
        whenOpen((ws) => (stalled ? undefined : ws.send(frame, () => {})))
      },
      together: (send) => {
        socket.cork()
        send()
        socket.uncork()
      },
      close: (code, reason) => whenOpen((ws) => ws.close(code, reason)),
      drop: () => whenOpen((ws) => ws.terminate()),
      stall: () => {
        stalled = true
        socket.pause()
      }
    })
    if (Result.isFailure(session)) return refuse(socket, session.failure.status, server.now())
    sockets.handleUpgrade(request, socket, head, (opened) => {
      ws = opened
      opened.on("message", (data: Buffer, isBinary: boolean) => {
        const frame = isBinary ? data : data.toString()
        heard?.({ _tag: "Frame", by: "bot", frame })
        session.success.receive(frame)
      })
      opened.on("close", (code: number) => session.success.closed(code))
      opened.on("error", () => {})
      for (const act of early) act(opened)
    })
    // Not granted after all: the client is gone, or what it asked for is no WebSocket.
    if (ws === undefined) session.success.closed(1006)
  }

const make = (port: number) =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const context = yield* Effect.context<Requirements>()
    const scope = yield* Effect.scope
    const http = Http.createServer()
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: 2 * Face.maximumRequestSize,
      handleProtocols: chooseProtocol
    })

    // All of them, for Node counts neither what was refused an upgrade nor what still waits for one.
    const connections = new Set<Duplex>()
    http.on("connection", (socket) => {
      connections.add(socket)
      socket.once("close", () => connections.delete(socket))
    })

    const connect = makeConnect(server, sockets, yield* Overheard.Overheard)
    const used = TokenVerifier.makeUsed()
    http.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => {})
      const admit = Effect.gen(function* () {
        const token = bearer(request.headers.authorization)
        const body = Effect.succeed("")
        const signed = { method: "GET", uri: request.url ?? "/", body }
        const bot = yield* TokenVerifier.verify(server, token, signed, used)
        if (Option.isSome(bot)) return connect(bot.value, request, socket, head)
        Face.of(server).refuse(TokenVerifier.claimedBot(server, token), 401)
        refuse(socket, 401, server.now())
      })
      Effect.runForkWith(context)(Effect.forkIn(admit, scope))
    })

    const handler = yield* NodeHttpServer.makeHandler(rest(used), { scope })
    const files = yield* AttachmentStore.make(Face.of(server))
    http.on("request", (request: Http.IncomingMessage, response: Http.ServerResponse) => {
      if (!files(request, response)) handler(request, response)
    })

    yield* Effect.acquireRelease(listen(http, port), () =>
      Effect.callback<void>((resume) => {
        http.close(() => resume(Effect.void))
        for (const socket of connections) socket.destroy()
      })
    )
    yield* Effect.sync(() => sockets.clients.forEach((ws) => ws.ping())).pipe(
      Effect.repeat(Schedule.spaced(pingPeriod)),
      Effect.forkScoped
    )

    const { port: listening } = http.address() as AddressInfo
    const url = `ws://${address}:${listening}/`
    const apiUrl = `http://${address}:${listening}`
    Face.of(server).setOrigin(apiUrl)
    return LocalServer.of({
      url,
      apiUrl,
      environment: (bot) => ({
        BLAZE_KEYSTORE: bot.keystore,
        BLAZE_URL: url,
        BLAZE_API_URL: apiUrl,
        no_proxy: "127.0.0.1"
      })
    })
  })

// Little memory, since all of it is cleared for every frame; and one buffer of about the frame's size, since thousands may wait to be sent.
const compress = (bytes: Uint8Array) =>
  Face.withGoHeader(
    Zlib.gzipSync(bytes, {
      level: Face.compressionLevel,
      windowBits: 10,
      memLevel: 3,
      chunkSize: bytes.length + 64
    })
  )

/**
 * A server on a port of 127.0.0.1, on a free one by default. It fails with `InvalidSetting` when the port cannot be listened on.
 *
 * **Details**
 *
 * Each call gives a server with bots and people of its own; the same layer, mentioned twice, is one server.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: {
  readonly port?: number | undefined
}): Layer.Layer<LocalServer | BlazeServer.BlazeServer, BlazeError.BlazeError> =>
  Layer.effect(LocalServer, make(options?.port ?? 0)).pipe(
    Layer.provideMerge(
      Layer.fresh(BlazeServer.layer).pipe(Layer.provide(Layer.succeed(BlazeServer.Compression, compress)))
    ),
    Layer.provide(Layer.mergeAll(ZlibGzip.layer, SynchronousCryptography.layer, HttpServer.layerServices))
  )
