// Programs as their users start them: processes of their own, against the built-in server over real sockets.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { Telemetry } from "effect-blaze"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { FetchHttpClient, HttpClient } from "effect/http"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import { createServer, type AddressInfo } from "node:net"
import * as Wallet from "./faults/wallet.ts"
import { eventually, listen, outcome, program } from "./support.ts"

const platform = Layer.mergeAll(NodeServices.layer, LocalServer.layer(), FetchHttpClient.layer)

const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  return { server, bot, alice, environment: local.environment(bot) }
})

// Below those that the system gives to connections, one of which could take it before the program does.
let nextPort = 20_000 + (process.pid % 10_000)

const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const port = nextPort++
  const server = createServer()
  server.on("error", () => resume(freePort))
  server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(port))))
})

const acknowledgedAll = (bot: BlazeServer.BotAccount) => Effect.map(bot.pending, (pending) => pending.length === 0)

const interrupt = { killSignal: "SIGINT" } as const

describe("the examples", () => {
  it.live("docs/examples/echo.ts answers and acknowledges", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      yield* alice.say("hi")
      const process = yield* program("docs/examples/echo.ts", environment)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "hi"))
      yield* process.kill(interrupt)
      yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.join() === "1000"))
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/pipeline.ts answers text and acknowledges everything", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      yield* alice.say("hello")
      yield* alice.send("PLAIN_STICKER", "{}")
      const process = yield* program("docs/examples/pipeline.ts", environment)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "5 characters"))
      yield* process.kill(interrupt)
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/commands.ts answers a command", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      yield* alice.say("/price eth")
      const process = yield* program("docs/examples/commands.ts", environment)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "ETH: 3400 USD"))
      yield* process.kill(interrupt)
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/relay.ts passes on, and knows after a restart whose question is answered", () =>
    Effect.gen(function* () {
      const { alice, bot, environment, server } = yield* scene
      const carol = yield* server.user(bot, "carol")
      const staff = yield* server.group(bot, [carol])
      const files = yield* FileSystem.FileSystem
      const directory = yield* files.makeTempDirectoryScoped()
      const variables = { ...environment, STAFF_GROUP: staff, DATA: directory }
      yield* alice.say("where is it?")
      const first = yield* program("docs/examples/relay.ts", variables)
      yield* eventually(Effect.map(carol.received, (received) => received.length === 2))
      yield* first.kill(interrupt)
      const [question] = yield* carol.received
      yield* carol.quote(question!.messageId, "here", staff)
      const second = yield* program("docs/examples/relay.ts", variables)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "here"))
      yield* second.kill(interrupt)
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/payout.ts pays through a wallet, answers and acknowledges", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      const wallet = yield* Wallet.make
      const asset = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"
      yield* alice.pay({ asset, amount: "2.50" })
      const process = yield* program("docs/examples/payout.ts", { ...environment, WALLET: wallet.url })
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "You get your 2.5 back."))
      const paid = [...wallet.paid.values()].map((body) => JSON.parse(body))
      assert.deepStrictEqual(paid, [{ to: alice.userId, asset, amount: "2.5" }])
      yield* process.kill(interrupt)
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/raw-socket.ts shows two envelopes and ends", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      yield* alice.say("hi")
      const { code, output } = yield* Effect.flatMap(program("docs/examples/raw-socket.ts", environment), outcome)
      assert.deepStrictEqual([code, output], [0, "LIST_PENDING_MESSAGES answered\nCREATE_MESSAGE pushed\n"])
      yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.join() === "1000"))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("docs/examples/app.ts answers, and tells a customer what happened elsewhere", () =>
    Effect.gen(function* () {
      const { alice, environment } = yield* scene
      const port = yield* freePort
      yield* alice.say("where is it?")
      const process = yield* program("docs/examples/app.ts", { ...environment, PORT: String(port) })
      const { says } = yield* listen(process)
      yield* says(`Listening on http://127.0.0.1:${port}`)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.length === 1))
      const response = yield* HttpClient.post(`http://127.0.0.1:${port}/shipped/${alice.userId}`)
      assert.strictEqual(response.status, 204)
      assert.strictEqual((yield* alice.reads)[1], "your order has shipped")
      yield* process.kill(interrupt)
    }).pipe(Effect.scoped, Effect.provide(platform))
  )
})

describe("metrics", () => {
  it.live("docs/examples/metrics.ts serves them for Prometheus", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      const port = yield* freePort
      yield* alice.say("one")
      yield* alice.send("PLAIN_FUTURE", "?")
      const process = yield* program("docs/examples/metrics.ts", { ...environment, PORT: String(port) })
      yield* eventually(acknowledgedAll(bot))
      const metrics = Effect.flatMap(HttpClient.get(`http://127.0.0.1:${port}/metrics`), ({ text }) => text).pipe(
        Effect.orElseSucceed(() => "")
      )
      for (const line of [
        `blaze_connects_total{bot="${bot.userId}",kind="Success"} 1`,
        `blaze_messages_total{bot="${bot.userId}",kind="PLAIN_TEXT"} 1`,
        `blaze_messages_total{bot="${bot.userId}",kind="PLAIN_FUTURE"} 1`,
        `blaze_backlog_total{bot="${bot.userId}"} 2`,
        `blaze_handler_seconds_count{bot="${bot.userId}",kind="acknowledged"} 2`,
        `blaze_sends_total{bot="${bot.userId}",kind="Success"} 1`,
        `blaze_ack_batch_size_sum{bot="${bot.userId}"} 2`,
        `blaze_acks_pending{bot="${bot.userId}"} 0`
      ]) {
        yield* eventually(Effect.map(metrics, (text) => text.includes(line)))
      }
      yield* process.kill(interrupt)
    }).pipe(Effect.scoped, Effect.provide(platform))
  )
})

describe("observability", () => {
  it.live("docs/examples/otlp.ts sends metrics and spans to a collector, and nothing that was said", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      const taken = new Map<string, string>()
      const collector = Http.createServer((request, response) => {
        let body = ""
        request.on("data", (data) => (body += String(data)))
        request.on("end", () => {
          taken.set(request.url!, (taken.get(request.url!) ?? "") + body)
          response.end("{}")
        })
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          collector.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () => Effect.sync(() => collector.close().closeAllConnections())
      )
      const { port } = collector.address() as AddressInfo
      yield* alice.say("a secret")
      const process = yield* program("docs/examples/otlp.ts", {
        ...environment,
        OTLP_URL: `http://127.0.0.1:${port}`
      })
      yield* eventually(acknowledgedAll(bot))
      const says = (path: string, text: string) =>
        eventually(Effect.sync(() => taken.get(path)?.includes(text) === true))
      // What is left is sent when it ends.
      yield* process.kill(interrupt)
      yield* says("/v1/metrics", "blaze_handler_seconds")
      yield* says("/v1/traces", "blaze.connect")
      assert.notInclude([...taken.values()].join(""), "a secret")
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it("the dashboard shows each metric but four, and neither it nor an alert asks for one that is none", () => {
    const names = new Set(Object.values(Telemetry.metrics).map(({ id }) => id))
    const asked = (path: string) =>
      new Set(
        [...readFileSync(new URL(`../${path}`, import.meta.url), "utf8").matchAll(/blaze_\w+/g)].map(([name]) =>
          name.replace(/_(bucket|count|sum)$/, "")
        )
      )
    const dashboard = asked("docs/examples/grafana.json")
    for (const name of [...dashboard, ...asked("docs/examples/alerts.yaml")]) assert.isTrue(names.has(name), name)
    const unseen = [...names].filter((name) => !dashboard.has(name))
    assert.deepStrictEqual(unseen, [
      "blaze_frames_received_total",
      "blaze_frames_sent_total",
      "blaze_own_messages_total",
      "blaze_ack_batch_size"
    ])
  })
})

describe("Ctrl-C during work", () => {
  it.live("lets handlers finish, flushes acknowledgements, and closes with 1000", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      const done = yield* alice.say("one")
      const waiting = yield* alice.say("two") // the same conversation: not begun when the signal comes
      const process = yield* program("test/programs/slow-bot.ts", environment)
      const { says } = yield* listen(process)
      yield* says("started")
      assert.deepStrictEqual(yield* alice.reads, [])
      yield* process.kill(interrupt)
      assert.deepStrictEqual(yield* alice.reads, ["done"])
      assert.deepStrictEqual(yield* bot.acknowledged, [[done]])
      assert.deepStrictEqual(yield* bot.pending, [waiting])
      yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.join() === "1000"))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )
})

describe("npm start", () => {
  const start = (environment: Record<string, string>) =>
    Effect.flatMap(program("docs/examples/start.ts", environment), outcome)

  it.live("shows the conversation, with a cut, and ends with 0", () =>
    Effect.gen(function* () {
      const { code, output } = yield* start({})
      assert.strictEqual(code, 0, output)
      for (const expected of [
        "你好",
        "Hello, who are you?",
        "✓ sent  ✓✓ delivered  ✓✓ read",
        "the connection was cut",
        "Are you still there?",
        "closed the connection (1000)",
        "5 replies, 0 messages left unacknowledged, 2 connections"
      ]) {
        assert.include(output, expected)
      }
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("Ctrl-C ends it with 0, after the bot has drained", () =>
    Effect.gen(function* () {
      const process = yield* program("docs/examples/start.ts", {})
      const { ended, says } = yield* listen(process)
      yield* says("the bot is connected")
      // Where this process sleeps for long enough the other has come to its end by itself, which looks the same.
      yield* Effect.ignore(process.kill(interrupt))
      const { code, output } = yield* ended
      assert.strictEqual(code, 0, output)
      assert.include(output, "left unacknowledged")
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  for (const [name, keystore, sentence] of [
    ["a missing keystore file", "/nonexistent.json", "the path /nonexistent.json must be that of a file"],
    ["a broken keystore", '{"app_id":"x"}', "app_id must be a UUID"],
    ["an empty setting", "", "BLAZE_KEYSTORE must be set to the path"],
    ["a directory", "/tmp", "the path /tmp must be"]
  ] as const) {
    it.live(`says in one sentence what is wrong with ${name}, and ends with 1`, () =>
      Effect.gen(function* () {
        const { code, output } = yield* start({ BLAZE_KEYSTORE: keystore })
        assert.strictEqual(code, 1)
        assert.strictEqual(output.trim().split("\n").length, 1, output)
        assert.include(output, sentence)
      }).pipe(Effect.scoped, Effect.provide(platform))
    )
  }

  it.live("says in one sentence that the token is refused, and ends with 1", () =>
    Effect.gen(function* () {
      const { environment, server } = yield* scene
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      const { code, output } = yield* start(environment)
      assert.deepStrictEqual([code, output.trim().split("\n").length], [1, 1], output)
      assert.include(output, "check that the keystore belongs to this bot")
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("says in one sentence that the host cannot be reached, and ends with 1", () =>
    Effect.gen(function* () {
      const { environment } = yield* scene
      const { code, output } = yield* start({ ...environment, BLAZE_URL: "ws://127.0.0.1:1/" })
      assert.deepStrictEqual([code, output.trim().split("\n").length], [1, 1], output)
      assert.include(output, "Cannot reach 127.0.0.1:1 (ECONNREFUSED)")
    }).pipe(Effect.scoped, Effect.provide(platform))
  )

  it.live("runs the same bot elsewhere with BLAZE_KEYSTORE, until Ctrl-C", () =>
    Effect.gen(function* () {
      const { alice, bot, environment } = yield* scene
      yield* alice.say("hi")
      const process = yield* program("docs/examples/start.ts", environment)
      const { ended } = yield* listen(process)
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "hi"))
      yield* process.kill(interrupt)
      const { code, output } = yield* ended
      assert.strictEqual(code, 0, output)
      assert.isTrue(yield* acknowledgedAll(bot))
    }).pipe(Effect.scoped, Effect.provide(platform))
  )
})
