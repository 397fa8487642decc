/**
 * The dialer on a WebSocket of the web, for Bun, Deno and workers: an `effect/socket` Socket over one, read in batches.
 *
 * Guarantee: what nobody reads is bounded, by ending the connection, for nothing can pause it; an error carries what went wrong, and never
 * the request or its token; closing the scope closes with 1000 and waits for the close event.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Answer from "../internal/Answer.ts"
import * as Mailbox from "../internal/Mailbox.ts"
import * as SocketFailure from "../internal/SocketFailure.ts"
import * as MixinApi from "../MixinApi.ts"

/**
 * As much of a WebSocket as is taken here.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebSocketLike {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  readonly send: (data: Uint8Array<ArrayBuffer> | string) => void
  readonly close: (code?: number, reason?: string) => void
  /** Ends the connection without the closing handshake, where the platform can: Bun's. */
  readonly terminate?: () => void
  readonly addEventListener: (type: "open" | "message" | "close" | "error", listener: (event: never) => void) => void
}

/**
 * Opens one, with the header that has the token.
 *
 * @category models
 * @since 0.1.0
 */
export type Open = (
  url: string,
  options: { readonly protocols: Array<string>; readonly headers: Record<string, string> }
) => WebSocketLike

type Constructor = new (...args: Parameters<Open>) => WebSocketLike

/**
 * Opens the platform's own. That it takes headers is no standard, and so in Bun, Deno and Node.
 *
 * @category constructors
 * @since 0.1.0
 */
export const openGlobal: Open = (url, options) =>
  new (globalThis as unknown as { readonly WebSocket: Constructor }).WebSocket(url, options)

/** How many bytes may wait unread before the connection is ended. */
const maximumUnread = 16 * 1024 * 1024

/** How many bytes may be unsent before no acknowledgement or request of the library's own is added. */
const sendHighWaterMark = 1024 * 1024

const closeTimeout = "2 seconds"
const refusalTimeout = "5 seconds"
const maximumRefusal = 16 * 1024

const connecting = 0
const opened = 1
const closed = 3

const failedDial = (problem: string) => SocketFailure.unopened(new BlazeSocket.FailedDial({ problem }))

/** What arrives. */
const makeIncoming = (terminate: () => void) => {
  let unread = 0
  let signs = 0
  const mailbox = Mailbox.make<Uint8Array | string, Socket.SocketError>(() => {
    unread = 0
  })
  const finish = (error: Socket.SocketError) => {
    mailbox.end(error)
    mailbox.wake()
  }
  return {
    pull: mailbox.pull,
    ended: mailbox.ended,
    clear: mailbox.clear,
    finish,
    signs: () => signs,
    take: (data: unknown) => {
      signs++
      if (mailbox.ended() !== undefined) return
      const frame = typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer)
      unread += frame.length
      if (unread > maximumUnread) {
        // What is not acknowledged comes again with the next one.
        finish(SocketFailure.closed(1006, "more came than could be read"))
        return terminate()
      }
      mailbox.put(frame)
      mailbox.wake()
    }
  }
}

/** Why the server would not talk WebSocket, which a WebSocket of the web does not say: it is asked over HTTP, and refuses the bot there, too. */
const refusalOf = (client: HttpClient.HttpClient, url: string, headers: Record<string, string>) =>
  Effect.gen(function* () {
    const response = yield* client.execute(HttpClientRequest.get(url.replace(/^ws/, "http"), { headers }))
    const { status } = response
    const body = (yield* response.text).slice(0, maximumRefusal)
    const serverTime = Answer.serverTime(response.headers)
    const said = yield* Effect.result(Answer.read({ host: new URL(url).host, status, body, serverTime }))
    if (Result.isSuccess(said) || !said.failure.isFatal) return unexplained
    return SocketFailure.unopened(
      new BlazeSocket.RefusedUpgrade({
        status,
        body,
        ...(Option.isNone(serverTime) ? {} : { serverTime: serverTime.value })
      })
    )
  }).pipe(
    Effect.timeout(refusalTimeout),
    Effect.orElseSucceed(() => unexplained)
  )

const unexplained = failedDial("the handshake failed, and the platform does not say why")

/** Dials, and waits until the server talks WebSocket. */
const handshake = (
  dial: () => WebSocketLike,
  refusal: Effect.Effect<Socket.SocketError>,
  incoming: ReturnType<typeof makeIncoming>,
  began: (socket: WebSocketLike) => void
) =>
  Effect.callback<WebSocketLike, Socket.SocketError>((resume) => {
    let socket: WebSocketLike
    try {
      socket = dial()
    } catch (error) {
      return resume(Effect.fail(failedDial(BlazeError.problemOf(error, "no WebSocket with headers"))))
    }
    began(socket)
    socket.binaryType = "arraybuffer"
    let wasOpen = false
    const failed = () => {
      if (!wasOpen) resume(Effect.flip(refusal))
    }
    socket.addEventListener("open", () => {
      wasOpen = true
      resume(Effect.succeed(socket))
    })
    socket.addEventListener("message", ({ data }: { readonly data: unknown }) => incoming.take(data))
    socket.addEventListener("close", ({ code, reason }: { readonly code: number; readonly reason: string }) => {
      incoming.finish(SocketFailure.closed(code, reason))
      failed()
    })
    socket.addEventListener("error", failed)
    return Effect.sync(() => {
      if (socket.readyState === connecting) socket.close()
    })
  })

const make = (
  open: Open,
  client: HttpClient.HttpClient,
  url: string,
  protocol: string,
  headers: Record<string, string>
): BlazeSocket.Dialed => {
  let line: WebSocketLike | undefined
  const terminate = () => (line?.terminate === undefined ? line?.close() : line.terminate())
  const incoming = makeIncoming(terminate)

  const acquire = handshake(
    () => open(url, { protocols: [protocol], headers }),
    refusalOf(client, url, headers),
    incoming,
    (socket) => {
      line = socket
    }
  )

  const close = (socket: WebSocketLike) =>
    Effect.callback<void>((resume) => {
      // One that has ended without the other side may never be told that it is closed.
      if (socket.readyState === closed || incoming.ended() !== undefined) return resume(Effect.void)
      socket.addEventListener("close", () => resume(Effect.void))
      incoming.clear()
      socket.close(1000)
    }).pipe(
      Effect.timeoutOption(closeTimeout),
      Effect.andThen(
        Effect.sync(() => {
          incoming.finish(SocketFailure.closed(1006))
          if (socket.readyState !== closed) terminate()
        })
      )
    )

  const write = (chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      const end = incoming.ended()
      if (end !== undefined) return Effect.fail(end)
      if (line?.readyState !== opened) return Effect.fail(SocketFailure.closed(1006))
      if (Socket.isCloseEvent(chunk)) line.close(chunk.code, chunk.reason)
      else line.send(chunk as Uint8Array<ArrayBuffer> | string)
      return Effect.void
    })

  return {
    socket: Socket.make({
      reader: Effect.as(Effect.acquireRelease(acquire, close, { interruptible: true }), {
        pull: incoming.pull,
        upgrade: Socket.SocketUpgradeError.unsupported
      }),
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }),
    ping: undefined,
    terminate: Effect.sync(() => {
      incoming.finish(SocketFailure.closed(1006))
      terminate()
    }),
    signsOfLife: incoming.signs,
    isPaused: () => false,
    isSaturated: () => line !== undefined && line.bufferedAmount >= sendHighWaterMark
  }
}

/**
 * On a WebSocket that `open` makes. It needs one that takes headers, as those of Bun, Deno and Node do and those of browsers do not.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (open: Open): Layer.Layer<BlazeSocket.Dialer, never, HttpClient.HttpClient> =>
  Layer.effect(
    BlazeSocket.Dialer,
    Effect.map(HttpClient.HttpClient, (client) =>
      BlazeSocket.Dialer.of({
        dial: ({ subprotocol, token, url }) =>
          Effect.sync(() =>
            make(open, client, url.href, subprotocol, {
              authorization: `Bearer ${Redacted.value(token)}`,
              "user-agent": MixinApi.userAgent
            })
          )
      })
    )
  )
