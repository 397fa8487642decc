/**
 * The built-in server on loopback: real WebSockets and real HTTP, with tokens verified.
 *
 * Guarantee: a bot needs nothing but another address to talk to it in place of Mixin; it listens on this machine only.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import type * as Digest from "effect/crypto/Digest"
import type * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as MixinApi from "../MixinApi.ts"
import * as ZlibGzip from "../node/ZlibGzip.ts"
import * as BlazeServer from "./BlazeServer.ts"
import * as TokenVerifier from "./TokenVerifier.ts"

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
    }
  }
>()("effect-blaze/testing/LocalServer") {}

type Requirements = BlazeServer.BlazeServer | Digest.Digest | Signature.Signature

/** How often the server pings. Source: what the official Node client needs to stay connected. */
const pingPeriod = "15 seconds"

const CurrentBot = Context.Reference<Option.Option<BlazeServer.BotAccount>>(
  "effect-blaze/testing/LocalServer/CurrentBot",
  { defaultValue: Option.none }
)

const errorBody = (code: number, description: string) => ({ error: { status: 202, code, description } })

const handlers = HttpApiBuilder.group(
  MixinApi.Api,
  "mixin",
  Effect.fnUntraced(function* (handlers) {
    const server = yield* BlazeServer.BlazeServer
    const bot = Effect.map(CurrentBot, Option.getOrThrow)
    return handlers
      .handle("acknowledge", ({ payload }) =>
        payload.length > BlazeServer.maximumAcknowledgements
          ? Effect.fail(new MixinApi.ErrorAnswer(errorBody(10002, "Invalid field messages")))
          : Effect.map(bot, (bot) => {
              server.acknowledge(bot, payload)
              return { data: null }
            })
      )
      .handle("me", () => Effect.map(bot, (bot) => ({ data: server.me(bot) })))
  })
)

const bearer = (authorization: string | undefined) => /^Bearer (.+)$/.exec(authorization ?? "")?.[1] ?? ""

const json = (body: unknown, status = 202) => HttpServerResponse.jsonUnsafe(body, { status })

const rest = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const routes = yield* HttpRouter.toHttpEffect(HttpApiBuilder.layer(MixinApi.Api).pipe(Layer.provide(handlers)))

  const respond = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* request.text
    const failure = server.restFailure()
    if (Option.isSome(failure)) return HttpServerResponse.text(failure.value.body, { status: failure.value.status })
    const bot = yield* TokenVerifier.verify(server, bearer(request.headers["authorization"]), {
      method: request.method,
      uri: request.url,
      body
    })
    if (Option.isNone(bot)) return json(errorBody(401, "Unauthorized"))
    const response = yield* Effect.provideService(routes, CurrentBot, bot)
    return response.status < 400 ? response : json(errorBody(response.status, "The request is not valid."))
  }).pipe(
    // What no route takes fails the router, and a payload of another form dies in it.
    Effect.catchTag("HttpServerError", () => Effect.succeed(json(errorBody(404, "The endpoint is not found.")))),
    Effect.catchCause(() => Effect.succeed(json(errorBody(400, "The request body can't be parsed."))))
  )

  return Effect.gen(function* () {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    return HttpServerResponse.setHeaders(yield* respond, {
      "x-request-id": headers["x-request-id"] ?? "",
      ...timeHeaders(server.now())
    })
  })
})

const timeHeaders = (now: number) => ({
  date: new Date(now).toUTCString(),
  "x-server-time": String(BigInt(Math.round(now)) * 1_000_000n)
})

const refuse = (socket: Duplex, status: number, now: number) => {
  const headers = Object.entries(timeHeaders(now)).map(([name, value]) => `${name}: ${value}\r\n`)
  // A refusal of the bot is the API's own word; any other is that of something in front of it.
  const body = status === 401 ? JSON.stringify(errorBody(401, "Unauthorized, maybe invalid token.")) : ""
  socket.end(
    `HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? ""}\r\n${headers.join("")}connection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  )
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
      handleProtocols: () => BlazeSocket.subprotocol
    })

    const connect = (bot: BlazeServer.BotAccount, request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      // The upgrade is granted within this very call, before anything can be sent on it.
      let ws: WebSocket | undefined
      const early: Array<(ws: WebSocket) => void> = []
      const whenOpen = (act: (ws: WebSocket) => void) => (ws === undefined ? void early.push(act) : act(ws))
      const session = server.connect(bot, {
        send: (frame) => whenOpen((ws) => ws.send(frame, () => {})),
        together: (send) => {
          socket.cork()
          send()
          socket.uncork()
        },
        close: (code, reason) => whenOpen((ws) => ws.close(code, reason)),
        drop: () => whenOpen((ws) => ws.terminate())
      })
      if (Result.isFailure(session)) return refuse(socket, session.failure.status, server.now())
      sockets.handleUpgrade(request, socket, head, (opened) => {
        ws = opened
        opened.on("message", (data: Buffer, isBinary: boolean) =>
          session.success.receive(isBinary ? data : data.toString())
        )
        opened.on("close", (code: number) => session.success.closed(code))
        opened.on("error", () => {})
        for (const act of early) act(opened)
      })
    }

    http.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => {})
      const offered = (request.headers["sec-websocket-protocol"] ?? "").split(/ *, */)
      const admit = Effect.gen(function* () {
        const token = bearer(request.headers.authorization)
        const bot = yield* TokenVerifier.verify(server, token, {
          method: "GET",
          uri: request.url ?? "/",
          body: ""
        })
        const status = !offered.includes(BlazeSocket.subprotocol) ? 400 : Option.isNone(bot) ? 401 : 101
        if (status === 101) return connect(Option.getOrThrow(bot), request, socket, head)
        server.refuse(TokenVerifier.claimedBot(server, token), status)
        refuse(socket, status, server.now())
      })
      Effect.runForkWith(context)(admit)
    })

    const handler = yield* NodeHttpServer.makeHandler(yield* rest, { scope })
    http.on("request", handler)

    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        http.listen(port, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          for (const ws of sockets.clients) ws.terminate()
          http.close(() => resume(Effect.void))
          http.closeAllConnections()
        })
    )
    yield* Effect.sync(() => sockets.clients.forEach((ws) => ws.ping())).pipe(
      Effect.repeat(Schedule.spaced(pingPeriod)),
      Effect.forkScoped
    )

    const { port: listening } = http.address() as AddressInfo
    const url = `ws://127.0.0.1:${listening}/`
    const apiUrl = `http://127.0.0.1:${listening}`
    return LocalServer.of({
      url,
      apiUrl,
      environment: (bot) => ({ BLAZE_KEYSTORE: bot.keystore, BLAZE_URL: url, BLAZE_API_URL: apiUrl })
    })
  })

/**
 * A server on a port of 127.0.0.1, on a free one by default.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: {
  readonly port?: number | undefined
}): Layer.Layer<LocalServer | BlazeServer.BlazeServer> =>
  Layer.effect(LocalServer, make(options?.port ?? 0)).pipe(
    Layer.provideMerge(BlazeServer.layer),
    Layer.provide(
      Layer.mergeAll(
        ZlibGzip.layer,
        NodeCrypto.layerDigest,
        NodeCrypto.layerSecureRandom,
        NodeCrypto.layerSignature,
        HttpServer.layerServices,
        HttpRouter.layer
      )
    )
  )
