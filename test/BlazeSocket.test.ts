import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Redacted, Result, Schedule, type Scope, Stream } from "effect"
import { BlazeSocket, type Envelope, MixinApi, PortableGzip, Settings, Signer } from "effect-blaze"
import * as Frame from "../src/internal/Frame.ts"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { createServer, type IncomingHttpHeaders, type Server } from "node:http"
import type { AddressInfo, Socket as NetSocket } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { eventually, found, setWall } from "./support.ts"
import * as SecureAddress from "../src/internal/SecureAddress.ts"

const open = Effect.flatMap(BlazeSocket.BlazeSocket, (socket) => socket.open)

/** A peer that shows life only when the test says so. */
const quietPeer = (handshake: (url: URL) => Effect.Effect<void, Socket.SocketError> = () => Effect.void) => {
  const peer = { life: 0, pings: 0, paused: false, terminated: false, dies: false, tokens: [] as Array<string> }
  let end: (effect: Effect.Effect<never, Socket.SocketError>) => void = () => {}
  const closed = Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) }))
  const layer = BlazeSocket.layer.pipe(
    Layer.provide(
      Layer.succeed(BlazeSocket.Dialer, {
        dial: ({ token, url }) =>
          Effect.sync(() => {
            peer.tokens.push(Redacted.value(token))
            return {
              socket: Socket.make({
                reader: Effect.as(handshake(url), {
                  pull: Effect.callback<never, Socket.SocketError>((resume) => void (end = resume)),
                  upgrade: Socket.SocketUpgradeError.unsupported
                }),
                writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
              }),
              ping: Effect.suspend(() => {
                peer.pings++
                return peer.dies ? Effect.die("it has no ping") : Effect.void
              }),
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
    Layer.provide([PortableGzip.layer, NodeCrypto.layer])
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

  it.effect("notices a silent peer though its pings die of something", () => {
    const { layer, peer } = quietPeer()
    peer.dies = true
    return Effect.gen(function* () {
      const wire = yield* open
      yield* Effect.forkChild(Effect.exit(wire.receive))
      for (let period = 0; period < 2; period++) yield* tick(10)
      assert.deepStrictEqual([peer.terminated, peer.pings], [true, 2])
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

describe("a refusal", () => {
  for (const [asleep, tokenAge] of [
    [61_000, 61_000],
    [60_000, undefined]
  ] as const) {
    it.effect(
      `of a token that was ${asleep} ms old when the answer came is ${tokenAge === undefined ? "" : "not "}final`,
      () => {
        const wall = setWall()
        const { layer } = quietPeer(() => {
          wall.set(asleep)
          const cause = new BlazeSocket.RefusedUpgrade({ status: 401, body: '{"error":{"code":401}}' })
          return Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))
        })
        return Effect.gen(function* () {
          const error = yield* Effect.flip(Effect.scoped(open))
          assert(error.reason._tag === "Unauthorized")
          assert.strictEqual(error.reason.tokenAge, tokenAge)
          assert.strictEqual(error.isFatal, tokenAge === undefined)
          if (tokenAge !== undefined) assert.include(error.message, "its token was 1m 1s old")
        }).pipe(Effect.provide(layer), wall.provide)
      }
    )
  }
})

describe("several addresses", () => {
  /** A dialer whose handshakes end as the host's name says, and the hosts that were dialled. */
  const dialled = (urls: string | ReadonlyArray<string>) => {
    const hosts: Array<string> = []
    const causes: Readonly<Record<string, unknown>> = {
      away: new BlazeSocket.FailedDial({ problem: "ENOTFOUND" }),
      blocked: new BlazeSocket.RefusedUpgrade({ status: 451 }),
      refuses: new BlazeSocket.RefusedUpgrade({ status: 401, body: '{"error":{"code":401}}' })
    }
    const { layer, peer } = quietPeer((url) => {
      hosts.push(url.hostname)
      const cause = causes[url.hostname.split(".")[0]!]
      return cause === undefined
        ? Effect.void
        : Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))
    })
    return { hosts, peer, layer: layer.pipe(Layer.provide(Settings.layer({ url: urls }))) }
  }

  it.effect("one that cannot be reached is followed by the next, which stays in use", () => {
    const { hosts, layer } = dialled(["wss://away.example", "wss://blocked.example", "wss://good.example"])
    return Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(Effect.scoped(open))).reason._tag, "Unreachable")
      assert.strictEqual((yield* Effect.flip(Effect.scoped(open))).reason._tag, "HandshakeRefused")
      const wire = yield* Effect.scoped(open)
      assert.strictEqual(wire.host, "good.example")
      yield* Effect.scoped(open)
      assert.deepStrictEqual(hosts, ["away.example", "blocked.example", "good.example", "good.example"])
    }).pipe(Effect.provide(layer))
  })

  it.effect(
    "after the last the first has its turn again, and a refusal of the bot is no reason to go elsewhere",
    () => {
      const { hosts, layer } = dialled(["wss://away.example", "wss://away.other", "wss://refuses.example"])
      return Effect.gen(function* () {
        for (let n = 0; n < 4; n++) yield* Effect.flip(Effect.scoped(open))
        assert.deepStrictEqual(hosts, ["away.example", "away.other", "refuses.example", "refuses.example"])
      }).pipe(Effect.provide(layer))
    }
  )

  it.effect("each has to be one that a token may be sent to", () =>
    Effect.gen(function* () {
      for (const urls of [[], ["wss://good.example", "ws://good.example"]]) {
        const error = yield* Effect.flip(Effect.scoped(open).pipe(Effect.provide(dialled(urls).layer)))
        assert.strictEqual(error.reason._tag, "InvalidSetting")
      }
    })
  )
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
      assert.strictEqual(Result.isSuccess(SecureAddress.one(address, "ws")), allowed)
    })
  }
})

/** A bot's raw socket against some server on loopback. */
const against = (url: string, keystore: string, timeout: Duration.Input = "1 minute") =>
  BlazeSocket.layer.pipe(
    Layer.provide([Signer.layerString(keystore), Frame.layer]),
    Layer.provide([NodeBlaze.layerPlatform, Settings.layer({ url, handshakeTimeout: timeout })])
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

const acceptOf = (headers: IncomingHttpHeaders) =>
  createHash("sha1").update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

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
          assert.strictEqual(seen[0]!["user-agent"], MixinApi.userAgent)
          assert.strictEqual(seen[0]!["url"], "/")
        }).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
    )
  })

  const answered =
    (head: string, body = "") =>
    (_: unknown, socket: Duplex) =>
      void socket.end(`HTTP/1.1 ${head}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`)

  const refusedWith = (head: string, body = "", more: (server: Server) => void = () => {}) =>
    withServer(
      (server) => {
        server.on("upgrade", answered(head, body))
        more(server)
      },
      (url) => Effect.flip(open).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
    )

  const inJson = "\r\nContent-Type: application/json"

  it.live("tells the time of a refusal in Mixin's words, and no secret", () =>
    Effect.gen(function* () {
      const error = yield* refusedWith(
        `401 Unauthorized\r\nX-Server-Time: 1767225600000000000${inJson}`,
        '{"error":{"status":202,"code":401}}'
      )
      assert(error.reason._tag === "Unauthorized")
      assert.isAbove(error.reason.clockDifference!, 300_000)
      assert.deepStrictEqual(found(error, /Bearer|eyJ|be53769c/), [])
    })
  )

  for (const [head, body, expected] of [
    ["401 Unauthorized", "", "HandshakeRefused 401"],
    ["401 Unauthorized\r\nContent-Type: text/html", "<html>", "HandshakeRefused 401"],
    [`401 Unauthorized${inJson}`, '{"message":"who?"}', "HandshakeRefused 401"],
    [`202 Accepted${inJson}`, '{"error":{"status":202,"code":20121}}', "Unauthorized"],
    [`403 Forbidden${inJson}`, '{"error":{"status":202,"code":10006}}', "ClientTooOld"],
    [`500 Internal Server Error${inJson}`, '{"error":{"status":500,"code":7000}}', "ApiFailure"],
    [`500 Internal Server Error${inJson}`, '{"error":{"status":500,"code":401}}', "ApiFailure"],
    ["200 OK", "<html>", "HandshakeRefused 200"],
    ["403 Forbidden", "<html>", "HandshakeRefused 403"],
    ["429 Too Many Requests", "", "HandshakeRefused 429"],
    ["451 Unavailable For Legal Reasons", "", "HandshakeRefused 451"],
    ["503 Service Unavailable", "", "HandshakeRefused 503"]
  ] as const) {
    it.live(`an upgrade that is answered with ${head.split("\r\n")[0]!} and ${body || "nothing"} is ${expected}`, () =>
      Effect.gen(function* () {
        const error = yield* refusedWith(head, body)
        const { reason } = error
        const isRefused = reason._tag === "HandshakeRefused"
        assert.strictEqual(isRefused ? `HandshakeRefused ${reason.status}` : reason._tag, expected)
        if (isRefused) {
          assert.isFalse(error.isFatal)
          assert.match(
            error.message,
            new RegExp(`with 127\\.0\\.0\\.1:\\d+ was refused with HTTP status ${reason.status}`)
          )
        }
      })
    )
  }

  it.live("tells for how long it is asked to stay away", () =>
    Effect.gen(function* () {
      const error = yield* refusedWith("503 Service Unavailable\r\nRetry-After: 20")
      assert.strictEqual(Duration.toMillis(error.retryAfter), 20_000)
      assert.include(error.message, "asked to come back in 20s")
    })
  )

  it.live("a redirect of the upgrade is a refusal, and nobody reaches its target", () => {
    const reached: Array<string> = []
    return withServer(
      (target) => {
        target.on("upgrade", ({ headers }, socket) => {
          reached.push(String(headers.authorization))
          socket.end()
        })
        target.on("request", ({ headers }, response) => {
          reached.push(String(headers.authorization))
          response.end()
        })
      },
      (target) =>
        Effect.gen(function* () {
          for (const status of ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"]) {
            const error = yield* refusedWith(`${status}\r\nLocation: ${target}`)
            assert(error.reason._tag === "HandshakeRefused")
            assert.strictEqual(error.reason.status, Number(status.slice(0, 3)))
          }
          assert.deepStrictEqual(reached, [])
        })
    )
  })

  for (const [name, head] of [
    ["503 with no body", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"],
    ["503 whose body does not end", "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<html>"],
    ["503 whose JSON does not end", "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\r\n{"]
  ] as const) {
    it.live(`a ${name} on a connection that the server keeps open is closed by us`, () =>
      Effect.gen(function* () {
        const closed = yield* Deferred.make<void>()
        yield* withServer(
          (server) =>
            server.on("upgrade", (_, socket) => {
              socket.on("error", () => {})
              socket.on("end", () => Deferred.doneUnsafe(closed, Effect.void))
              socket.resume()
              socket.write(head)
            }),
          (url) =>
            Effect.gen(function* () {
              const error = yield* Effect.flip(open).pipe(Effect.scoped, Effect.provide(against(url, keystore, 30_000)))
              assert(error.reason._tag === "HandshakeRefused")
              yield* Effect.timeout(Deferred.await(closed), "60 seconds")
            })
        )
      })
    )
  }

  for (const [name, head, says] of [
    ["no subprotocol", "Sec-WebSocket-Accept: ACCEPT", "Server sent no subprotocol"],
    [
      "another subprotocol",
      "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: x",
      "Server sent an invalid subprotocol"
    ],
    ["a wrong key", "Sec-WebSocket-Accept: wrong", "Invalid Sec-WebSocket-Accept header"]
  ] as const) {
    it.live(`says so when the upgrade is granted with ${name}`, () =>
      withServer(
        (server) =>
          server.on("upgrade", ({ headers }, socket) => {
            socket.on("error", () => {})
            socket.write(
              `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${head.replace("ACCEPT", acceptOf(headers))}\r\n\r\n`
            )
          }),
        (url) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(open)
            assert(error.reason._tag === "Unreachable")
            assert.strictEqual(error.reason.problem, says)
            assert.isTrue(error.isRetryable)
            assert.deepStrictEqual(found(error, /Bearer|eyJ/), [])
          }).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
      )
    )
  }

  for (const [code, bytes] of [
    ["WS_ERR_UNEXPECTED_RSV_1", [0xc2, 0x01, 0x00]],
    ["WS_ERR_UNEXPECTED_RSV_2_3", [0xa2, 0x01, 0x00]],
    ["WS_ERR_INVALID_OPCODE", [0x83, 0x01, 0x00]],
    ["WS_ERR_UNEXPECTED_MASK", [0x82, 0x81, 0, 0, 0, 0, 0]],
    ["WS_ERR_INVALID_CLOSE_CODE", [0x88, 0x02, 0x03, 0xed]],
    ["WS_ERR_INVALID_UTF8", [0x81, 0x02, 0xff, 0xfe]],
    ["WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", [0x82, 0x7f, 0, 0, 0, 0, 0x40, 0, 0, 0]]
  ] as const) {
    it.live(`a stream that is damaged tells ${code}`, () =>
      withServer(
        (server) => {
          const sockets = new WebSocketServer({ server, handleProtocols: () => "Mixin-Blaze-1" })
          sockets.on("connection", (ws, { socket }) => {
            ws.on("error", () => {})
            socket.write(Uint8Array.from(bytes))
          })
        },
        (url) =>
          Effect.gen(function* () {
            const wire = yield* open
            const error = yield* Effect.flip(wire.receive)
            assert(error.reason._tag === "ConnectionLost")
            assert.include(error.message, code)
            assert.deepStrictEqual(found(error, /Bearer|eyJ/), [])
          }).pipe(Effect.scoped, Effect.provide(against(url, keystore)))
      )
    )
  }

  it.live("the token covers the query of the address", () => {
    const seen: Array<{ readonly url: string | undefined; readonly sig: string }> = []
    return withServer(
      (server) =>
        server.on("upgrade", ({ headers, url }, socket) => {
          const claims = String(headers.authorization).split(".")[1]!
          seen.push({ url, sig: JSON.parse(Buffer.from(claims, "base64url").toString()).sig })
          socket.end()
        }),
      (url) =>
        Effect.gen(function* () {
          yield* Effect.exit(open).pipe(Effect.scoped, Effect.provide(against(`${url}blaze?a=1&b=%20`, keystore)))
          assert.deepStrictEqual(seen, [
            { url: "/blaze?a=1&b=%20", sig: createHash("sha256").update("GET/blaze?a=1&b=%20").digest("hex") }
          ])
        })
    )
  })

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
      assert.deepStrictEqual(found(error, /Bearer|eyJ/), [])
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
          const accept = acceptOf(headers)
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
          yield* ping!
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

describe("BlazeSocket.duplex", () => {
  const list: Envelope.Request = { id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", action: "LIST_PENDING_MESSAGES" }
  const run = <E>(requests: Stream.Stream<Envelope.Request, E>) => {
    const got: Array<string> = []
    return Effect.map(
      requests.pipe(
        Stream.pipeThroughChannel(BlazeSocket.duplex<E>()),
        Stream.runForEach(({ action, data }) =>
          Effect.sync(() => got.push(data === undefined ? `${action} answered` : action))
        ),
        Effect.provide(BlazeTest.layerSocket),
        Effect.forkChild
      ),
      (fiber) => ({ fiber, got })
    )
  }

  it.effect("envelopes go on when the requests have ended, until the connection does", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const account = yield* BlazeTest.Account
      const { fiber, got } = yield* run(Stream.make(list))
      yield* BlazeTest.settle
      yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.deepStrictEqual(got, ["LIST_PENDING_MESSAGES answered", "CREATE_MESSAGE"])
      yield* account.cut
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error.reason._tag, "ConnectionLost")
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("a failure of the requests ends it, and closes the connection", () =>
    Effect.gen(function* () {
      const account = yield* BlazeTest.Account
      const { fiber } = yield* run(Stream.concat(Stream.make(list), Stream.fail("no more paper")))
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("no more paper"))
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* account.closeCodes, [1000])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("a consumer that has enough closes the connection", () =>
    Effect.gen(function* () {
      const account = yield* BlazeTest.Account
      const actions = yield* Stream.make(list).pipe(
        Stream.pipeThroughChannel(BlazeSocket.duplex()),
        Stream.take(1),
        Stream.runCollect,
        Effect.provide(BlazeTest.layerSocket)
      )
      assert.strictEqual(actions.length, 1)
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* account.closeCodes, [1000])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})
