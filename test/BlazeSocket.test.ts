import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Redacted, Result, Schedule, type Scope } from "effect"
import { BlazeError, BlazeSocket, Frame, Gzip, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo, Socket as NetSocket } from "node:net"
import { inspect } from "node:util"
import { WebSocketServer } from "ws"
import { eventually } from "./support.ts"

const open = Effect.flatMap(BlazeSocket.BlazeSocket, (socket) => socket.open)

/** A peer that shows life only when the test says so. */
const quietPeer = () => {
  const peer = { life: 0, pings: 0, paused: false, terminated: false, tokens: [] as Array<string> }
  let end: (effect: Effect.Effect<never, Socket.SocketError>) => void = () => {}
  const closed = Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) }))
  const layer = BlazeSocket.layer.pipe(
    Layer.provide(
      Layer.succeed(BlazeSocket.Dialer, {
        dial: ({ token }) =>
          Effect.sync(() => {
            peer.tokens.push(Redacted.value(token))
            return {
              socket: Socket.make({
                reader: Effect.succeed({
                  pull: Effect.callback<never, Socket.SocketError>((resume) => void (end = resume)),
                  upgrade: Socket.SocketUpgradeError.unsupported
                }),
                writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
              }),
              ping: Effect.sync(() => void peer.pings++),
              terminate: Effect.sync(() => {
                peer.terminated = true
                end(closed)
              }),
              signsOfLife: () => peer.life,
              isPaused: () => peer.paused,
              isSaturated: () => false
            }
          })
      })
    ),
    Layer.provide([
      Frame.layer,
      Signer.layerString(
        JSON.stringify({
          app_id: "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
          session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
          session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
        })
      )
    ]),
    Layer.provide([Gzip.layerFflate, NodeCrypto.layer])
  )
  return { peer, layer }
}

const tick = (seconds: number) =>
  Effect.gen(function* () {
    yield* BlazeTest.settle
    yield* TestClock.adjust(seconds * 1000)
    yield* BlazeTest.settle
  })

describe("liveness", () => {
  it.effect("notices a silent peer within two periods of 10 seconds, whose pings went out", () => {
    const { layer, peer } = quietPeer()
    return Effect.gen(function* () {
      const wire = yield* open
      const fiber = yield* Effect.forkChild(Effect.flip(wire.receive))
      yield* tick(10)
      assert.isFalse(peer.terminated)
      yield* tick(10)
      assert.isTrue(peer.terminated)
      assert.strictEqual(peer.pings, 2)
      const error = yield* Fiber.join(fiber)
      assert.include(error.message, "no sign of life for two ping periods")
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("any sign of life counts", () => {
    const { layer, peer } = quietPeer()
    return Effect.gen(function* () {
      const wire = yield* open
      yield* Effect.forkChild(Effect.exit(wire.receive))
      for (let period = 0; period < 10; period++) {
        peer.life += period % 2
        yield* tick(10)
      }
      assert.isFalse(peer.terminated)
      yield* tick(20)
      assert.isTrue(peer.terminated)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("the silence of a connection we paused does not count, and our pings go on", () => {
    const { layer, peer } = quietPeer()
    return Effect.gen(function* () {
      yield* open
      peer.paused = true
      yield* tick(100)
      assert.isFalse(peer.terminated)
      assert.isAtLeast(peer.pings, 10)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("every connection has a token of its own", () => {
    const { layer, peer } = quietPeer()
    return Effect.gen(function* () {
      yield* Effect.scoped(open)
      yield* Effect.scoped(open)
      assert.strictEqual(new Set(peer.tokens).size, 2)
    }).pipe(Effect.provide(layer))
  })
})

describe("addresses", () => {
  for (const [address, allowed] of [
    ["wss://blaze.mixin.one/", true],
    ["ws://127.0.0.1:1234/", true],
    ["ws://localhost/", true],
    ["ws://[::1]:1/", true],
    ["ws://blaze.mixin.one/", false],
    ["ws://127.0.0.1.example.com/", false],
    ["http://127.0.0.1/", false],
    ["ftp://127.0.0.1/", false],
    ["https://example.com", false],
    ["ws://127.0.0.1:1/#x", false],
    ["", false],
    ["not an address", false]
  ] as const) {
    it(`${address} is ${allowed ? "taken" : "refused"}`, () => {
      assert.strictEqual(Result.isSuccess(BlazeError.requireSecure(address, "ws")), allowed)
    })
  }
})

/** A bot's raw socket against some server on loopback. */
const against = (url: string, keystore: string, timeout: Duration.Input = "1 minute") =>
  BlazeSocket.layer.pipe(
    Layer.provide([Signer.layerString(keystore), Frame.layer]),
    Layer.provide([
      NodeBlaze.layerPlatform,
      Layer.succeed(BlazeSocket.Url, url),
      Layer.succeed(BlazeSocket.HandshakeTimeout, timeout)
    ])
  )

/** The dialer of Node by itself, whose state a test can look at. */
const dial = Effect.fnUntraced(function* (url: string) {
  const dialer = yield* BlazeSocket.Dialer
  const dialed = yield* dialer.dial({
    url: new URL(url),
    token: Redacted.make("token"),
    subprotocol: BlazeSocket.subprotocol,
    handshakeTimeout: "1 minute"
  })
  const reader = yield* dialed.socket.reader
  return { ...dialed, reader }
}, Effect.provide(NodeBlaze.layerPlatform))

/** Turns of the event loop: what has arrived in this machine is read, and what is to be called back is. */
const turns = (count: number) =>
  Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))).pipe(
    Effect.repeat({ times: count }),
    Effect.asVoid
  )

/** A server that writes frames as fast as they are taken, and counts what it has written and what it was told. */
const flooding = (frame: Buffer, count: number) => {
  const peer = { written: 0, pings: 0, codes: [] as Array<number> }
  const configure = (server: Server) => {
    const sockets = new WebSocketServer({ server, handleProtocols: () => BlazeSocket.subprotocol })
    sockets.on("connection", (ws) => {
      const write = () => {
        if (peer.written === count) return
        // In order, so that a test can tell what is missing.
        frame.writeUInt32BE(peer.written++)
        ws.send(Buffer.from(frame), write)
      }
      ws.on("ping", () => peer.pings++)
      ws.on("close", (code) => peer.codes.push(code))
      ws.on("error", () => {})
      write()
    })
  }
  return { peer, configure }
}

const withServer = <A, E, R>(
  configure: (server: Server) => void,
  use: (url: string) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> => {
  const sockets = new Set<NetSocket>()
  return Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer()
      // An upgraded connection is none of the server's any more.
      server.on("connection", (socket) => sockets.add(socket))
      configure(server)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(
    Effect.flatMap((server) => use(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`)),
    Effect.scoped
  )
}

const keystore = JSON.stringify({
  app_id: "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
})

describe("the dialer of Node", () => {
  it.live("offers the subprotocol and the token, and no permessage-deflate", () => {
    const seen: Array<Record<string, unknown>> = []
    return withServer(
      (server) => {
        const sockets = new WebSocketServer({ server, perMessageDeflate: true })
        sockets.on("connection", (_, { headers, url }) => seen.push({ ...headers, url }))
      },
      (url) =>
        Effect.gen(function* () {
          yield* open
          assert.strictEqual(seen[0]!["sec-websocket-protocol"], "Mixin-Blaze-1")
          assert.match(String(seen[0]!["authorization"]), /^Bearer [\w-]+\.[\w-]+\.[\w-]+$/)
          assert.isUndefined(seen[0]!["sec-websocket-extensions"])
          assert.strictEqual(seen[0]!["url"], "/")
        }).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
    )
  })

  it.live("tells the status and the time of a refused upgrade, and no secret", () =>
    withServer(
      (server) =>
        server.on("upgrade", (_, socket) =>
          socket.end("HTTP/1.1 401 Unauthorized\r\nX-Server-Time: 1767225600000000000\r\nConnection: close\r\n\r\n")
        ),
      (url) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(open)
          assert(error.reason._tag === "Unauthorized")
          assert.isAbove(error.reason.clockDifference!, 300_000)
          assert.notMatch(inspect(error, { depth: Infinity, showHidden: true }), /Bearer|eyJ|be53769c/)
        }).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
    )
  )

  it.live("gives up a handshake that is never answered", () =>
    withServer(
      (server) => server.on("upgrade", () => {}),
      (url) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(open)
          assert.strictEqual(error.reason._tag, "Timeout")
        }).pipe(Effect.scoped, Effect.provide(against(url, keystore, 50)))
    )
  )

  it.live("says in one sentence that nobody listens", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open)
      assert(error.reason._tag === "Unreachable")
      assert.strictEqual(error.reason.problem, "ECONNREFUSED")
      assert.notMatch(inspect(error, { depth: Infinity, showHidden: true }), /Bearer|eyJ/)
    }).pipe(Effect.scoped, Effect.provide(against("ws://127.0.0.1:1/", keystore)))
  )

  it.live("gives up a handshake that is answered byte by byte, for ever", () =>
    withServer(
      (server) =>
        server.on("upgrade", (_, socket) => {
          socket.on("error", () => {})
          socket.write("HTTP/1.1 101 Switching Protocols\r\n")
          Effect.runFork(
            Effect.sync(() => socket.write("x: y\r\n")).pipe(
              Effect.repeat({ while: () => !socket.destroyed, schedule: Schedule.spaced(20) })
            )
          )
        }),
      (url) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(open)
          assert.strictEqual(error.reason._tag, "Timeout")
        }).pipe(Effect.scoped, Effect.provide(against(url, keystore, 200)))
    )
  )

  it.live("waits for the close event", () => {
    const codes: Array<number> = []
    return withServer(
      (server) => {
        const sockets = new WebSocketServer({ server, handleProtocols: () => "Mixin-Blaze-1" })
        sockets.on("connection", (ws) => ws.on("close", (code) => codes.push(code)))
      },
      (url) =>
        Effect.gen(function* () {
          yield* Effect.scoped(open)
          assert.deepStrictEqual(codes, [1000])
        }).pipe(Effect.provide(against(url, keystore)))
    )
  })

  it.effect("waits two seconds, and not for ever, for a close event that does not come", () => {
    let closing = false
    return withServer(
      (server) =>
        // It takes the connection and never answers a frame, the close frame neither.
        server.on("upgrade", ({ headers }, socket) => {
          const accept = createHash("sha1")
            .update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest("base64")
          socket.write(
            `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: Mixin-Blaze-1\r\n\r\n`
          )
          socket.on("data", () => (closing = true))
        }),
      (url) =>
        Effect.gen(function* () {
          const closed = yield* Effect.forkChild(Effect.scoped(dial(url)))
          yield* eventually(Effect.sync(() => closing))
          yield* TestClock.adjust(1999)
          yield* turns(100)
          assert.isUndefined(closed.pollUnsafe())
          yield* TestClock.adjust(1)
          yield* Fiber.join(closed)
        })
    )
  })

  it.live("takes the pong for a sign of life", () => {
    const { configure } = flooding(Buffer.alloc(4), 0)
    return withServer(configure, (url) =>
      Effect.gen(function* () {
        const { ping, signsOfLife } = yield* dial(url)
        for (let count = 1; count <= 3; count++) {
          yield* ping
          yield* eventually(Effect.sync(() => signsOfLife() === count))
        }
      })
    )
  })

  it.live("has one socket for a connection: acquiring its reader again does not dial", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const local = yield* LocalServer.LocalServer
      const bot = yield* server.makeBot
      yield* Effect.gen(function* () {
        const wire = yield* open
        const reader = yield* wire.socket.reader
        yield* wire.send({ id: crypto.randomUUID(), action: "LIST_PENDING_MESSAGES" })
        assert.strictEqual((yield* reader.pull).length, 1)
      }).pipe(Effect.scoped, Effect.provide(against(local.url, bot.keystore)))
      assert.strictEqual(yield* bot.handshakes, 1)
    }).pipe(Effect.provide(LocalServer.layer()))
  )

  // On a clock that stands still: where closing waited for its time to be over, this would hang.
  it.effect("closes a paused connection at once, whatever still waits in it", () => {
    const { configure, peer } = flooding(Buffer.alloc(64 * 1024), 1000)
    return withServer(configure, (url) =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { isPaused } = yield* dial(url)
            yield* eventually(Effect.sync(isPaused))
          })
        )
        yield* eventually(Effect.sync(() => peer.codes.join() === "1000"))
      })
    )
  })

  it.live("pauses a connection that nobody reads, holds little of a flood, and goes on where it stopped", () => {
    const size = 16 * 1024
    const count = 4000
    const { configure, peer } = flooding(Buffer.alloc(size), count)
    return withServer(configure, (url) =>
      Effect.gen(function* () {
        const { isPaused, reader, signsOfLife } = yield* dial(url)
        yield* eventually(Effect.sync(isPaused))
        // As long as it takes the server to run into the wall: nothing more is taken from it.
        let written = -1
        while (written < peer.written) {
          written = peer.written
          yield* turns(1000)
        }
        assert.isBelow(signsOfLife() * size, 512 * 1024)
        assert.isBelow(peer.written, count / 2)
        const numbers: Array<number> = []
        while (numbers.length < count) {
          for (const frame of yield* reader.pull) numbers.push((frame as Buffer).readUInt32BE())
          assert.isBelow(signsOfLife() * size - numbers.length * size, 512 * 1024)
        }
        assert.deepStrictEqual(
          numbers,
          Array.from({ length: count }, (_, n) => n)
        )
      })
    )
  })
})
