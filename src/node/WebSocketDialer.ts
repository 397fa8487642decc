/**
 * The dialer on `ws`: an `effect/socket` Socket over one WebSocket, read in batches.
 *
 * Guarantee: what arrives in one turn of the event loop is one pull; what nobody pulls is bounded, by pausing the connection; an
 * error carries what went wrong, and never the request or its token; a refused upgrade is closed, whatever the server does, and its
 * redirect not followed; closing the scope closes with 1000 and waits for the close event.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import type { Agent, IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocket } from "ws"
import * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Mailbox from "../internal/Mailbox.ts"
import * as SocketFailure from "../internal/SocketFailure.ts"
import * as Answer from "../internal/Answer.ts"
import * as MixinApi from "../MixinApi.ts"

/**
 * The agent that the WebSocket and REST go through: a proxy's, from a package such as `https-proxy-agent`. None by default, but
 * `NodeBlaze.layerConfig` takes the proxy of the environment then.
 *
 * @category references
 * @since 0.1.0
 */
export const ProxyAgent = Context.Reference<Agent | undefined>("effect-blaze/node/WebSocketDialer/ProxyAgent", {
  defaultValue: () => undefined
})

/** How many bytes may wait unread before the connection is paused. */
const highWaterMark = 128 * 1024

/** How many bytes may wait unsent before a write waits for its own to be gone. */
const sendHighWaterMark = 1024 * 1024

/** How many bytes are gathered before they are handed to the system. */
const gatherSize = 4 * 1024

/** The largest compressed frame; what it inflates to is bounded by `Settings.maximumFrameSize`. */
const maximumPayload = 16 * 1024 * 1024

const closeTimeout = "2 seconds"

const failedDial = (error: unknown) =>
  error instanceof Error && /timed out/.test(error.message)
    ? SocketFailure.unopened(new BlazeSocket.FailedDial({ problem: "timeout" }), "Timeout")
    : SocketFailure.unopened(new BlazeSocket.FailedDial({ problem: BlazeError.problemOf(error, "handshake failed") }))

/** How much of a refusal is read, and for how long: an error of the API is short, and comes at once. */
const maximumRefusal = 16 * 1024
const refusalTimeout = "2 seconds"

// Only JSON can be the API's word. What else stands in front of it says is not looked at.
const refusalBody = (response: IncomingMessage): Effect.Effect<string> =>
  /json/i.test(response.headers["content-type"] ?? "")
    ? Effect.callback<string>((resume) => {
        const chunks: Array<Buffer> = []
        let size = 0
        const done = () => resume(Effect.succeed(Buffer.concat(chunks).toString()))
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk)
          size += chunk.length
          if (size > maximumRefusal) done()
        })
        response.on("end", done)
        response.on("error", done)
        response.on("close", done)
      }).pipe(Effect.timeoutOption(refusalTimeout), Effect.map(Option.getOrElse(() => "")))
    : Effect.succeed("")

const headerText = (value: string | Array<string> | undefined) => (Array.isArray(value) ? value[0] : value)

/** Why the server would not talk WebSocket. */
const refusalOf = Effect.fnUntraced(function* (response: IncomingMessage) {
  const body = yield* refusalBody(response)
  const headers = {
    "retry-after": response.headers["retry-after"],
    "x-server-time": headerText(response.headers["x-server-time"]),
    date: response.headers.date
  }
  const serverTime = Option.getOrUndefined(Answer.serverTime(headers))
  const retryAfter = Option.getOrUndefined(Answer.retryAfter(headers, yield* Clock.currentTimeMillis))
  const cause = new BlazeSocket.RefusedUpgrade({
    status: response.statusCode ?? 0,
    ...(body === "" ? {} : { body }),
    ...(serverTime === undefined ? {} : { serverTime }),
    ...(retryAfter === undefined ? {} : { retryAfter })
  })
  return SocketFailure.unopened(cause)
})

/** One connection from the call that dials it on. */
interface Line {
  ws: WebSocket | undefined
  tcp: Duplex | undefined
  /** Frames, pings and pongs. */
  signs: number
  /** What broke it: the close event tells 1006 only. */
  problem: string | undefined
}

/** What arrives, up to `highWaterMark` bytes before reading is paused. */
const makeIncoming = (line: Line) => {
  let size = 0
  let isWaking = false
  let isClosing = false
  const mailbox = Mailbox.make<Uint8Array | string, Socket.SocketError>(() => {
    size = 0
    if (line.ws?.isPaused) line.ws.resume()
  })
  const finish = (error: Socket.SocketError) => {
    mailbox.end(error)
    mailbox.wake()
  }
  const deliver = () => {
    isWaking = false
    mailbox.wake()
  }
  return {
    pull: mailbox.pull,
    ended: mailbox.ended,
    finish,
    // What still arrives is not looked at, so that it cannot pause the connection again and keep the close frame from us.
    ignore: () => {
      isClosing = true
      mailbox.clear()
    },
    listen: (socket: WebSocket) => {
      socket.on("message", (data: Buffer, isBinary: boolean) => {
        line.signs++
        if (isClosing) return
        mailbox.put(isBinary ? data : data.toString())
        size += data.length
        if (size >= highWaterMark) socket.pause()
        // Frames that came in one read are told apart synchronously: a turn later all of them are here.
        if (isWaking || !mailbox.isAwaited()) return
        isWaking = true
        setImmediate(deliver)
      })
      socket.on("ping", () => line.signs++)
      socket.on("pong", () => line.signs++)
      socket.on("close", (code: number, reason: Buffer) =>
        finish(SocketFailure.closed(code, reason.toString() || line.problem))
      )
    }
  }
}

/** What is written in one turn of the event loop leaves in a few system calls: not one for each, and not so late that the server waits for the last of many. */
const makeSend = (line: Line) => {
  let isGathering = false
  let gathered = 0
  const release = () => {
    isGathering = false
    line.tcp?.uncork()
  }
  return (socket: WebSocket, chunk: Uint8Array | string, callback: (error?: Error | null) => void) => {
    if (!isGathering) {
      isGathering = true
      gathered = 0
      line.tcp?.cork()
      process.nextTick(release)
    }
    socket.send(chunk, callback)
    gathered += chunk.length
    if (gathered < gatherSize) return
    gathered = 0
    line.tcp?.uncork()
    line.tcp?.cork()
  }
}

/** Dials, and waits until the server talks WebSocket. */
const handshake = (open: () => WebSocket, line: Line, listen: (socket: WebSocket) => void) => {
  const broken = (error: Error) => {
    line.problem ??= BlazeError.problemOf(error, "")
  }
  return Effect.callback<WebSocket, Socket.SocketError>((resume) => {
    let socket: WebSocket
    try {
      socket = open()
    } catch (error) {
      return resume(Effect.fail(failedDial(error)))
    }
    line.ws = socket
    socket.on("upgrade", (response) => {
      line.tcp = response.socket
      line.tcp.on("error", broken)
    })
    socket.on("open", () => resume(Effect.succeed(socket)))
    socket.on("unexpected-response", (request, response) => {
      // A server that keeps the connection open would hold it for ever.
      const destroy = Effect.sync(() => request.destroy())
      resume(Effect.ensuring(Effect.flip(refusalOf(response)), destroy))
    })
    // Errors come before the close event, which ends an open connection; before it is open they are the end of the handshake.
    socket.on("error", (error) => {
      broken(error)
      resume(Effect.fail(failedDial(error)))
    })
    listen(socket)
    return Effect.sync(() => socket.terminate())
  })
}

const make = (open: () => WebSocket): BlazeSocket.Dialed => {
  const line: Line = { ws: undefined, tcp: undefined, signs: 0, problem: undefined }
  const incoming = makeIncoming(line)
  const send = makeSend(line)

  const acquire = handshake(open, line, incoming.listen)

  const close = (socket: WebSocket) =>
    Effect.callback<void>((resume) => {
      if (socket.readyState === WebSocket.CLOSED) return resume(Effect.void)
      socket.on("close", () => resume(Effect.void))
      incoming.ignore()
      if (socket.isPaused) socket.resume()
      socket.close(1000)
    }).pipe(
      Effect.timeoutOption(closeTimeout),
      Effect.andThen(
        Effect.sync(() => {
          socket.terminate()
          incoming.finish(SocketFailure.closed(1006))
        })
      )
    )

  const reader = Effect.as(Effect.acquireRelease(acquire, close, { interruptible: true }), {
    pull: incoming.pull,
    upgrade: Socket.SocketUpgradeError.unsupported
  })

  const isSaturated = () => line.ws !== undefined && line.ws.bufferedAmount >= sendHighWaterMark

  const write = (chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      const end = incoming.ended()
      if (end !== undefined) return Effect.fail(end)
      const { ws } = line
      if (ws === undefined || ws.readyState !== WebSocket.OPEN) return Effect.fail(SocketFailure.closed(1006))
      if (Socket.isCloseEvent(chunk)) {
        ws.close(chunk.code, chunk.reason)
        return Effect.void
      }
      if (!isSaturated()) {
        send(ws, chunk, ignore)
        return Effect.void
      }
      return Effect.callback<void, Socket.SocketError>((resume) => {
        send(ws, chunk, (error) =>
          resume(error ? Effect.fail(incoming.ended() ?? SocketFailure.closed(1006)) : Effect.void)
        )
      })
    })

  return {
    socket: Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }),
    ping: Effect.sync(() => {
      if (line.ws?.readyState === WebSocket.OPEN) line.ws.ping()
    }),
    terminate: Effect.sync(() => line.ws?.terminate()),
    signsOfLife: () => line.signs,
    isPaused: () => line.ws?.isPaused ?? false,
    isSaturated
  }
}

// A failed write is followed by the close event, which tells everybody who waits.
const ignore = () => {}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<BlazeSocket.Dialer> = Layer.effect(
  BlazeSocket.Dialer,
  Effect.gen(function* () {
    const agent = yield* ProxyAgent
    return BlazeSocket.Dialer.of({
      dial: ({ handshakeTimeout, subprotocol, token, url }) =>
        Effect.sync(() =>
          make(
            () =>
              new WebSocket(url, subprotocol, {
                headers: { authorization: `Bearer ${Redacted.value(token)}`, "user-agent": MixinApi.userAgent },
                handshakeTimeout: Duration.toMillis(handshakeTimeout),
                maxPayload: maximumPayload,
                perMessageDeflate: false,
                followRedirects: false,
                ...(agent === undefined ? {} : { agent })
              })
          )
        )
    })
  })
)
