import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Schedule, Stream, SubscriptionRef } from "effect"
import { Blaze, Bot, Settings } from "effect-blaze"
import { NodeBlaze, WebSocketDialer } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { Agent } from "node:http"
import { createServer, connect, type AddressInfo, type Socket } from "node:net"
import { eventually, found } from "./support.ts"

const names = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [name, name.toLowerCase()])

/** The environment of this process, without any proxy but those given. */
const withEnvironment = (environment: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = names.map((name) => [name, process.env[name]] as const)
      for (const name of names) delete process.env[name]
      Object.assign(process.env, environment)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

/** A proxy on loopback: what it was asked for, and all that came in clear. */
const proxy = (onData: (socket: Socket, data: Buffer, asked: Array<string>) => void) =>
  Effect.gen(function* () {
    const asked: Array<string> = []
    const seen: Array<Buffer> = []
    const open = new Set<Socket>()
    const server = createServer((socket) => {
      open.add(socket)
      socket.on("error", () => {})
      socket.on("data", (data) => {
        seen.push(data)
        onData(socket, data, asked)
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of open) socket.destroy()
        })
    )
    return { asked, seen, port: (server.address() as AddressInfo).port }
  })

/** From now on both ends hear each other. */
const join = (socket: Socket, host: string, port: number, granted: Uint8Array | string) => {
  socket.removeAllListeners("data")
  const target = connect(port, host, () => {
    socket.write(granted)
    target.pipe(socket)
    socket.pipe(target)
  })
  target.on("error", () => socket.destroy())
  socket.on("close", () => target.destroy())
}

const httpProxy = (answer?: string) =>
  proxy((socket, data, asked) => {
    const target = /^CONNECT (\S+):(\d+) /.exec(data.toString())
    if (target === null) return
    asked.push(`${target[1]}:${target[2]}`)
    if (answer === undefined) join(socket, target[1]!, Number(target[2]), "HTTP/1.1 200 OK\r\n\r\n")
    else if (answer === "") socket.write("HTTP/1.1 200 OK\r\n\r\n")
    else socket.end(`HTTP/1.1 ${answer}\r\nContent-Length: 0\r\n\r\n`)
  })

// RFC 1928: version and methods, then a request whose address is a name.
const socksProxy = proxy((socket, data, asked) => {
  if (data[1] !== 1 || data.length < 5) return void socket.write(Uint8Array.of(5, 0))
  const isName = data[3] === 3
  const host = isName ? data.subarray(5, 5 + data[4]!).toString() : [...data.subarray(4, 8)].join(".")
  const port = data.readUInt16BE(data.length - 2)
  asked.push(`${host}:${port}`)
  join(socket, "127.0.0.1", port, Uint8Array.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0))
})

const soon = Settings.layer({
  reconnect: Schedule.spaced("20 millis"),
  stableAfter: "1 minute",
  acknowledgeBatch: 100,
  acknowledgeWithin: "20 millis"
})

const client = (environment: Readonly<Record<string, string>>) =>
  NodeBlaze.layerConfig.pipe(Layer.provide([ConfigProvider.layer(ConfigProvider.fromUnknown(environment)), soon]))

const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  return { bot, alice, environment: local.environment(bot), port: new URL(local.url).port }
})

describe("the proxy of the environment", () => {
  const cases = [
    ["HTTP_PROXY", httpProxy(), "http"],
    ["http_proxy", httpProxy(), "http"],
    ["ALL_PROXY", httpProxy(), "http"],
    ["all_proxy", httpProxy(), "http"],
    ["ALL_PROXY", socksProxy, "socks5h"],
    ["ALL_PROXY", socksProxy, "socks5"]
  ] as const
  for (const [name, make, scheme] of cases) {
    it.live(`${name} with ${scheme}:// carries the socket and REST`, () =>
      Effect.gen(function* () {
        const { alice, bot, environment, port } = yield* scene
        const proxy = yield* make
        yield* withEnvironment({ [name]: `${scheme}://127.0.0.1:${proxy.port}` })
        yield* Effect.gen(function* () {
          yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("hi")))
          yield* alice.say("hello")
          yield* eventually(Effect.map(alice.reads, (texts) => texts.length === 1))
          yield* eventually(Effect.map(bot.pending, (pending) => pending.length === 0))
        }).pipe(Effect.provide(client(environment)))
        assert.isAtLeast(proxy.asked.length, 2)
        for (const target of proxy.asked) assert.strictEqual(target, `127.0.0.1:${port}`)
      }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
    )
  }

  const unasked = [
    ["NO_PROXY names the host", { NO_PROXY: "example.com,127.0.0.1" }],
    ["no_proxy names everything", { no_proxy: "*" }]
  ] as const
  for (const [name, environment] of unasked) {
    it.live(`is not asked where ${name}`, () =>
      Effect.gen(function* () {
        const { bot, environment: settings } = yield* scene
        const { asked, port } = yield* httpProxy()
        yield* withEnvironment({ ...environment, ALL_PROXY: `http://127.0.0.1:${port}` })
        yield* Effect.gen(function* () {
          yield* Blaze.Blaze
          yield* eventually(Effect.map(bot.connections, (open) => open === 1))
        }).pipe(Effect.provide(client(settings)))
        assert.deepStrictEqual(asked, [])
      }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
    )
  }

  it.live("is not asked where the program has an agent of its own", () =>
    Effect.gen(function* () {
      const { bot, environment } = yield* scene
      const { asked, port } = yield* httpProxy()
      yield* withEnvironment({ ALL_PROXY: `http://127.0.0.1:${port}` })
      const agent = new Agent()
      yield* Effect.gen(function* () {
        yield* Blaze.Blaze
        yield* eventually(Effect.map(bot.connections, (open) => open === 1))
      }).pipe(Effect.provide(client(environment).pipe(Layer.provide(Layer.succeed(WebSocketDialer.ProxyAgent, agent)))))
      assert.deepStrictEqual(asked, [])
    }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
  )

  /** What a bot waits for, when a proxy does not let it through to a host that is somewhere else. */
  const waits = Effect.fnUntraced(function* (environment: Readonly<Record<string, string>>, url: string) {
    const { environment: settings } = yield* scene
    yield* withEnvironment(environment)
    return yield* Effect.gen(function* () {
      const blaze = yield* Blaze.Blaze
      const status = yield* SubscriptionRef.changes(blaze.status).pipe(
        Stream.filter((status: Blaze.Status) => status._tag === "Waiting"),
        Stream.runHead
      )
      assert(status._tag === "Some" && status.value._tag === "Waiting")
      return status.value.reason
    }).pipe(
      Effect.provide(
        client({ ...settings, BLAZE_URL: url, BLAZE_API_URL: url.replace("wss", "https") }).pipe(
          Layer.provide(Settings.layer({ handshakeTimeout: "1 second" }))
        )
      )
    )
  })

  for (const name of ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"]) {
    it.live(`${name} is asked for the host itself, and its refusal is told, without its password`, () =>
      Effect.gen(function* () {
        const { asked, port, seen } = yield* httpProxy("407 Proxy Authentication Required")
        const error = yield* waits({ [name]: `http://alice:pass-813@127.0.0.1:${port}` }, "wss://blaze.example")
        assert(error.reason._tag === "HandshakeRefused")
        assert.strictEqual(error.reason.status, 407)
        assert.include(error.message, "it is the proxy")
        assert.strictEqual(asked[0], "blaze.example:443")
        assert.deepStrictEqual(found(error, /pass-813|Bearer|eyJ/), [])
        assert.notMatch(Buffer.concat(seen).toString("latin1"), /Bearer|eyJ/)
      }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
    )
  }

  it.live("sees nothing of a token: what goes through it to another host is encrypted", () =>
    Effect.gen(function* () {
      const { asked, port, seen } = yield* httpProxy("")
      yield* waits({ HTTPS_PROXY: `http://127.0.0.1:${port}` }, "wss://blaze.example")
      assert.isAtLeast(asked.length, 1)
      // A record of TLS, a handshake.
      const [, first] = seen
      assert.deepStrictEqual([...first!.subarray(0, 2)], [0x16, 0x03])
      assert.notMatch(Buffer.concat(seen).toString("latin1"), /Bearer|eyJ/)
    }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
  )

  it.live("is a setting that is checked at start", () =>
    Effect.gen(function* () {
      const { environment } = yield* scene
      yield* withEnvironment({ ALL_PROXY: "ftp://alice:pass-813@127.0.0.1" })
      const error = yield* Effect.flip(Blaze.Blaze.pipe(Effect.provide(client(environment))))
      assert.strictEqual(error.reason._tag, "InvalidSetting")
      assert.include(error.message, "HTTPS_PROXY or ALL_PROXY")
      assert.deepStrictEqual(found(error, /pass-813/), [])
    }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
  )
})

it.live("BLAZE_URL and BLAZE_API_URL may be lists: the first that can be reached is used", () =>
  Effect.gen(function* () {
    const { alice, bot, environment, port } = yield* scene
    yield* withEnvironment({})
    yield* Effect.gen(function* () {
      const blaze = yield* Blaze.Blaze
      yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("hi")))
      yield* alice.say("hello")
      yield* eventually(Effect.map(bot.pending, (pending) => pending.length === 0))
      const status = yield* SubscriptionRef.get(blaze.status)
      assert(status._tag === "Connected")
      assert.deepStrictEqual([status.host, status.apiHost], [`127.0.0.1:${port}`, `127.0.0.1:${port}`])
    }).pipe(
      Effect.provide(
        client({
          ...environment,
          BLAZE_URL: `ws://127.0.0.1:1/, ${environment.BLAZE_URL}`,
          BLAZE_API_URL: `http://127.0.0.1:1,${environment.BLAZE_API_URL}`
        })
      )
    )
  }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
)
