// The built-in server on loopback: who may connect, what it reads of whom, and what it leaves behind.
import { NodeCrypto, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { BlazeSocket, Keystore, Signer } from "effect-blaze"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import * as Http from "node:http"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { WebSocket } from "ws"
import { eventually } from "./support.ts"

const tokenFor = (bot: BlazeServer.BotAccount, request: Signer.SignedRequest) =>
  Keystore.fromString(bot.keystore).pipe(
    Effect.flatMap(Signer.make),
    Effect.flatMap((signer) => signer.token(request)),
    Effect.map((token) => `Bearer ${Redacted.value(token)}`),
    Effect.provide(NodeCrypto.layer)
  )

const handshake = { method: "GET", uri: "/", body: "" }

const acknowledgement = JSON.stringify([{ message_id: crypto.randomUUID(), status: "READ" }])

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Http.IncomingHttpHeaders
}

/** Sends a request; what `write` does not end stays open, and the answer must come all the same. */
const send = (
  url: string,
  options: Http.RequestOptions,
  write: (request: Http.ClientRequest) => void = (request) => request.end()
) =>
  Effect.callback<Answer>((resume) => {
    const request = Http.request(url, { agent: false, ...options }, (response) => {
      let body = ""
      response.on("data", (chunk) => (body += chunk))
      response.on("end", () => {
        resume(Effect.succeed({ status: response.statusCode ?? 0, body, headers: response.headers }))
        request.destroy()
      })
    })
    request.on("error", (error) => resume(Effect.die(error)))
    write(request)
    return Effect.sync(() => request.destroy())
  })

const sending = (body: string) => (request: Http.ClientRequest) => request.end(body)

/** A body without an end, as fast as it is taken. */
const endless = (request: Http.ClientRequest) => {
  const chunk = Buffer.alloc(64 * 1024, " ")
  request.flushHeaders()
  const write = () => {
    while (!request.destroyed && request.write(chunk)) {}
    request.once("drain", write)
  }
  write()
}

const unauthorized = '{"error":{"status":202,"code":401,"description":"Unauthorized, maybe invalid token."}}'
const notReadable =
  '{"error":{"status":202,"code":400,"description":"The request body can’t be pasred as valid data."}}'

/** A connection of bytes, until the end of the scope. */
const connect = (port: number, host = "127.0.0.1", options: Net.SocketConstructorOpts = {}) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket, Error>((resume) => {
      const socket = new Net.Socket(options)
      socket.once("error", (error) => resume(Effect.fail(error)))
      socket.connect(port, host, () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const upgrade = (authorization: string, version = 13) =>
  [
    "GET / HTTP/1.1",
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Version: ${version}`,
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    `Authorization: ${authorization}`,
    "",
    ""
  ].join("\r\n")

const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  return { server, local, bot, port: Number(new URL(local.apiUrl).port) }
})

const test = <E>(
  name: string,
  body: Effect.Effect<void, E, LocalServer.LocalServer | BlazeServer.BlazeServer | Scope.Scope>
) => it.live(name, () => body.pipe(Effect.scoped, Effect.provide(LocalServer.layer())), 60_000)

describe("LocalServer", () => {
  test(
    "listens on 127.0.0.1 and nowhere else",
    Effect.gen(function* () {
      const { local, port } = yield* scene
      assert.deepStrictEqual([local.url, local.apiUrl], [`ws://127.0.0.1:${port}/`, `http://127.0.0.1:${port}`])
      yield* connect(port)
      // Whatever listens on all addresses of this machine listens on these too.
      for (const host of ["127.0.0.2", "::1"]) yield* Effect.flip(connect(port, host))
    })
  )

  it.live("two servers in one program share nothing, and the same layer mentioned twice is one", () =>
    Effect.gen(function* () {
      const scene = Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const { url } = yield* LocalServer.LocalServer
        return { server, url, bot: yield* server.makeBot }
      })
      class Seen extends Context.Service<Seen, Effect.Success<typeof scene>>()("test/Seen") {}
      const over = (layer: ReturnType<typeof LocalServer.layer>) =>
        Layer.effectContext(Effect.map(scene, (seen) => Context.make(Seen, seen))).pipe(Layer.provide(layer))
      const one = LocalServer.layer()
      const all: Array<Effect.Success<typeof scene>> = []
      const note = (layer: Layer.Layer<Seen, unknown>) =>
        Layer.effectDiscard(Effect.map(Seen, (seen) => void all.push(seen))).pipe(Layer.provide(layer))
      yield* Layer.build(Layer.mergeAll(note(over(one)), note(over(one)), note(over(LocalServer.layer()))))
      const urls = all.map(({ url }) => url)
      assert.strictEqual(new Set(urls).size, 2)
      for (const { server, url } of all) {
        for (const other of all) {
          assert.strictEqual(server.botById(other.bot.userId)._tag, url === other.url ? "Some" : "None")
        }
      }
    }).pipe(Effect.scoped)
  )

  const application = (path: "/health" | "/me") =>
    HttpRouter.serve(HttpRouter.add("GET", path, HttpServerResponse.text("the application's own")), {
      disableLogger: true,
      disableListenLog: true
    }).pipe(Layer.provideMerge(NodeHttpServer.layer(Http.createServer, { port: 0, host: "127.0.0.1" })))

  for (const [name, path, layer] of [
    ["beside it", "/health", Layer.merge(application("/health"), LocalServer.layer())],
    ["beside it", "/me", Layer.merge(application("/me"), LocalServer.layer())],
    ["around it", "/me", LocalServer.layer().pipe(Layer.provideMerge(application("/me")))]
  ] as const) {
    it.live(`shares no route with an application ${name}, which has ${path}`, () =>
      Effect.gen(function* () {
        const { apiUrl } = yield* LocalServer.LocalServer
        const { address } = yield* HttpServer.HttpServer
        assert(address._tag === "InetAddressV4")
        const url = `http://127.0.0.1:${address.port}`
        assert.strictEqual((yield* send(url + path, {})).body, "the application's own")
        const other = path === "/me" ? "/acknowledgements" : "/me"
        assert.strictEqual((yield* send(url + other, {})).status, 404)
        assert.strictEqual((yield* send(apiUrl + path, {})).body, unauthorized)
        assert.strictEqual((yield* send(`${apiUrl}/me`, {})).body, unauthorized)
      }).pipe(Effect.provide(layer))
    )
  }

  test(
    "a port that cannot be listened on is an error in one sentence",
    Effect.gen(function* () {
      const { port } = yield* scene
      const problem = (port: number) =>
        Effect.map(Effect.flip(Effect.scoped(Layer.build(LocalServer.layer({ port })))), ({ message }) => message)
      assert.strictEqual(
        yield* problem(port),
        `The address cannot be used: port ${port} of 127.0.0.1 must be free, and another program listens there.`
      )
      assert.strictEqual(
        yield* problem(70_000),
        "The address cannot be used: port 70000 of 127.0.0.1 must be one that can be listened on (ERR_SOCKET_BAD_PORT)."
      )
    })
  )

  test(
    "reads nothing of a body before the token is checked",
    Effect.gen(function* () {
      const { bot, local } = yield* scene
      const url = `${local.apiUrl}/acknowledgements`
      const post = { method: "POST", uri: "/acknowledgements", body: "[]" }
      const forged = (yield* tokenFor(bot, post)).slice(0, -8) + "AAAAAAAA"
      for (const headers of [{}, { authorization: "Bearer x.y.z" }, { authorization: forged }]) {
        // A body that is announced and never comes.
        const announced = { method: "POST", headers: { ...headers, "content-length": 100_000 } }
        assert.strictEqual((yield* send(url, announced, (request) => request.flushHeaders())).body, unauthorized)
        const answer = yield* send(url, { method: "POST", headers: { ...headers, connection: "keep-alive" } }, endless)
        assert.strictEqual(answer.body, unauthorized)
        assert.strictEqual(answer.headers.connection, "close")
      }
    })
  )

  it.live("takes a file whose size is told and allowed, keeps no part of one, and leaves nothing on the disk", () =>
    Effect.gen(function* () {
      const temporary = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "effect-blaze-test-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true }))
      )
      const before = process.env["TMPDIR"]
      yield* Effect.acquireRelease(
        Effect.sync(() => void (process.env["TMPDIR"] = temporary)),
        () =>
          Effect.sync(() => {
            if (before === undefined) delete process.env["TMPDIR"]
            else process.env["TMPDIR"] = before
          })
      )
      const files = Effect.promise(async () => {
        const entries = await readdir(temporary, { recursive: true, withFileTypes: true })
        return entries.filter((entry) => entry.isFile()).length
      })
      yield* Effect.gen(function* () {
        const { bot, local } = yield* scene
        const authorization = yield* tokenFor(bot, { method: "POST", uri: "/attachments", body: "" })
        const slot = yield* send(`${local.apiUrl}/attachments`, { method: "POST", headers: { authorization } })
        const { upload_url: url } = (JSON.parse(slot.body) as { data: { upload_url: string } }).data
        const put = (headers: Http.OutgoingHttpHeaders, write: (request: Http.ClientRequest) => void) =>
          send(url, { method: "PUT", headers }, write)
        const hello = sending("hello")
        assert.strictEqual((yield* put({ "transfer-encoding": "chunked" }, hello)).status, 411)
        const largest = 2 * 1024 ** 3
        const announced = yield* put({ "content-length": largest + 1 }, (request) => request.flushHeaders())
        assert.deepStrictEqual([announced.status, announced.headers.connection], [413, "close"])
        assert.strictEqual(yield* files, 0)
        const gone = Http.request(url, { agent: false, method: "PUT", headers: { "content-length": largest } })
        gone.on("error", () => {})
        gone.write("hello")
        yield* eventually(Effect.map(files, (count) => count === 1))
        gone.destroy()
        yield* eventually(Effect.map(files, (count) => count === 0))
        assert.strictEqual((yield* send(url, {})).status, 404)
        assert.strictEqual((yield* put({ "content-length": 5 }, hello)).status, 200)
        assert.strictEqual(yield* files, 1)
        assert.strictEqual((yield* send(url, {})).body, "hello")
        assert.strictEqual((yield* put({ "content-length": 3 }, sending("bye"))).status, 200)
        assert.strictEqual(yield* files, 1)
        assert.strictEqual((yield* send(url, {})).body, "bye")
      }).pipe(Effect.provide(LocalServer.layer()))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(temporary)), [])
    }).pipe(Effect.scoped)
  )

  test(
    "takes a body of 128 KiB and no more, and a token that is good for it alone",
    Effect.gen(function* () {
      const { bot, local } = yield* scene
      const url = `${local.apiUrl}/acknowledgements`
      const post = Effect.fnUntraced(function* (body: string, signed = body) {
        const authorization = yield* tokenFor(bot, { method: "POST", uri: "/acknowledgements", body: signed })
        const headers = { authorization, "content-type": "application/json" }
        return (yield* send(url, { method: "POST", headers }, sending(body))).body
      })
      assert.strictEqual(yield* post(acknowledgement), "{}")
      assert.strictEqual(yield* post(acknowledgement.padEnd(131_072)), "{}")
      assert.strictEqual(yield* post(acknowledgement, "[]"), unauthorized)
      assert.strictEqual(yield* post(acknowledgement.padEnd(131_073)), notReadable)
      assert.strictEqual(yield* post("[{"), notReadable)
      const many = Array.from({ length: 101 }, () => ({ message_id: crypto.randomUUID(), status: "READ" }))
      assert.strictEqual(
        yield* post(JSON.stringify(many)),
        '{"error":{"status":202,"code":10002,"description":"The request data has invalid field.","extra":"messages"}}'
      )
      assert.strictEqual(
        yield* post('[{"message_id":"928c5c40-769c-3e97-8387-fb1ae0645311","status":"EATEN"}]'),
        '{"error":{"status":202,"code":10002,"description":"The request data has invalid field.","extra":"status"}}'
      )
      const authorization = yield* tokenFor(bot, { method: "POST", uri: "/acknowledgements", body: "" })
      const answer = yield* send(url, { method: "POST", headers: { authorization } }, endless)
      assert.strictEqual(answer.body, notReadable)
      assert.strictEqual((yield* bot.acknowledged).length, 2)
      const got = yield* tokenFor(bot, { method: "GET", uri: "/acknowledgements", body: "" })
      assert.include((yield* send(url, { headers: { authorization: got } })).body, '"code":404')
      const lost = yield* tokenFor(bot, { method: "GET", uri: "/nowhere", body: "" })
      assert.strictEqual(
        (yield* send(`${local.apiUrl}/nowhere`, { headers: { authorization: lost } })).body,
        '{"error":{"status":202,"code":404,"description":"The endpoint is not found."}}'
      )
    })
  )

  test(
    "echoes the subprotocol that was offered, and grants an upgrade without one",
    Effect.gen(function* () {
      const { bot, local } = yield* scene
      const protocolFor = Effect.fnUntraced(function* (offered: ReadonlyArray<string>) {
        const authorization = yield* tokenFor(bot, handshake)
        return yield* Effect.callback<string>((resume) => {
          const ws = new WebSocket(local.url, [...offered], { headers: { authorization } })
          ws.on("error", (error) => resume(Effect.die(error)))
          ws.on("open", () => {
            resume(Effect.succeed(ws.protocol))
            ws.close()
          })
        })
      })
      assert.strictEqual(yield* protocolFor([]), "")
      assert.strictEqual(yield* protocolFor([BlazeSocket.subprotocol]), BlazeSocket.subprotocol)
      assert.strictEqual(yield* protocolFor(["MixinBot-Blaze-1"]), "MixinBot-Blaze-1")
      assert.strictEqual(yield* protocolFor(["Other", BlazeSocket.subprotocol]), BlazeSocket.subprotocol)
    })
  )

  test(
    "an upgrade that is not granted after all, or whose client is gone, leaves no session",
    Effect.gen(function* () {
      const { bot, port } = yield* scene
      const odd = yield* connect(port)
      odd.resume()
      odd.write(upgrade(yield* tokenFor(bot, handshake), 99))
      yield* eventually(Effect.map(bot.handshakes, (count) => count === 1))
      assert.strictEqual(yield* bot.connections, 0)
      for (let n = 0; n < 20; n++) {
        const request = upgrade(yield* tokenFor(bot, handshake))
        const gone = yield* connect(port)
        yield* Effect.callback<void>((resume) => {
          gone.write(request, () => {
            gone.resetAndDestroy()
            resume(Effect.void)
          })
        })
      }
      const last = yield* connect(port)
      last.write(upgrade(yield* tokenFor(bot, handshake)))
      yield* Effect.callback<void>((resume) => void last.once("data", () => resume(Effect.void)))
      yield* eventually(Effect.map(bot.connections, (count) => count === 1))
    })
  )

  it.live(
    "waits for nobody when it ends: not for who is silent, nor for who was refused and keeps his half open",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(LocalServer.layer(), scope)
        yield* Effect.gen(function* () {
          const { bot, port, server } = yield* Effect.provideContext(scene, context)
          yield* connect(port)
          const dribbling = yield* connect(port)
          dribbling.write("GET /me HTTP/1.1\r\n")
          const answerTo = Effect.fnUntraced(function* (authorization: string) {
            const socket = yield* connect(port, "127.0.0.1", { allowHalfOpen: true })
            socket.on("error", () => {})
            socket.write(upgrade(authorization))
            const line = yield* Effect.callback<string>((resume) => {
              socket.once("data", (data) => resume(Effect.succeed(data.toString().split("\r\n")[0]!)))
            })
            return [socket, line] as const
          })
          const [refused, unauthorized] = yield* answerTo("Bearer nobody")
          assert.strictEqual(unauthorized, "HTTP/1.1 401 Unauthorized")
          yield* server.inject({ _tag: "RefuseHandshake", status: 503 })
          const [other, unavailable] = yield* answerTo(yield* tokenFor(bot, handshake))
          assert.strictEqual(unavailable, "HTTP/1.1 503 Service Unavailable")
          // Who goes on writing finds the connection gone, and not a server that waits for more.
          for (const socket of [refused, other]) {
            yield* eventually(Effect.sync(() => socket.destroyed || (socket.write(" "), false)))
          }
          const [, granted] = yield* answerTo(yield* tokenFor(bot, handshake))
          assert.strictEqual(granted, "HTTP/1.1 101 Switching Protocols")
          yield* Scope.close(scope, Exit.void)
          yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.join() === "1006"))
        }).pipe(Effect.scoped)
      }),
    60_000
  )

  it.live(
    "waits for no upgrade that is under way when it ends",
    () =>
      Effect.gen(function* () {
        // How far a handshake has come after so many turns is not known; one of them is in the middle.
        for (let turns = 0; turns < 40; turns++) {
          const scope = yield* Scope.make()
          const context = yield* Layer.buildWithScope(LocalServer.layer(), scope)
          const { bot, port } = yield* Effect.provideContext(scene, context)
          const client = yield* connect(port, "127.0.0.1", { allowHalfOpen: true })
          client.on("error", () => {})
          client.write(upgrade(yield* tokenFor(bot, handshake)))
          for (let turn = 0; turn < turns; turn++) {
            yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
          }
          yield* Scope.close(scope, Exit.void)
          yield* eventually(Effect.map(bot.connections, (count) => count === 0))
        }
      }).pipe(Effect.scoped),
    60_000
  )

  test(
    "a bot that gets a new session is refused with the old one",
    Effect.gen(function* () {
      const { bot, local, server } = yield* scene
      const old = yield* tokenFor(bot, { method: "GET", uri: "/me", body: "" })
      const keystore = { ...JSON.parse(bot.keystore), session_id: crypto.randomUUID() }
      const renewed = yield* server.makeBotWith({ keystore: JSON.stringify(keystore) })
      const fresh = yield* tokenFor(renewed, { method: "GET", uri: "/me", body: "" })
      const me = (authorization: string) => send(`${local.apiUrl}/me`, { headers: { authorization } })
      assert.strictEqual((yield* me(old)).body, unauthorized)
      assert.strictEqual(JSON.parse((yield* me(fresh)).body).data.user_id, bot.userId)
    })
  )
})
