// Guarantee 10: whatever is logged, traced, measured or thrown, at every level and however it is looked at, holds no key, PIN, token or
// content.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Fiber, Layer, Logger, Metric, References, Schedule, Tracer } from "effect"
import { Blaze, type BlazeError, Bot, Keystore, Message, Settings, Signer, Telemetry } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { PrometheusMetrics } from "effect/observability"
import { inspect } from "node:util"
import { eventually, found } from "./support.ts"

const content = "the eagle lands at midnight"
const token = /eyJhbGci/
const deep = { depth: Infinity, showHidden: true, maxStringLength: Infinity, maxArrayLength: Infinity } as const

const see = (value: unknown): string => {
  let json: string
  try {
    json = JSON.stringify(value) ?? ""
  } catch {
    json = ""
  }
  // What inspect does not show is looked through too.
  const hidden = found(value, token).map((place) => `eyJhbGci at ${place}`)
  return `${inspect(value, deep)} ${json} ${String(value)} ${hidden.join()}`
}

it("a token in a property that is hidden, behind a symbol, in bytes or in a map is found", () => {
  const hidden = Object.defineProperty(new Error("no"), "request", { value: { headers: new Map([["a", "eyJhbGci"]]) } })
  const deep = {
    [Symbol("it")]: [
      {
        get cause() {
          return { bytes: Buffer.from("Bearer eyJhbGci") }
        }
      }
    ]
  }
  assert.isAbove(found(hidden, token).length, 0)
  assert.isAbove(found(deep, token).length, 0)
  assert.deepStrictEqual(found({ a: [new Error("no")] }, token), [])
})

describe("secrets", () => {
  it.live("a run with every log level, every error, all spans and metrics shows no key, PIN, token or content", () => {
    const seen: Array<string> = []
    const spans: Array<Tracer.Span> = []
    const logger = Logger.make((options) => {
      seen.push(see(options.message), Cause.pretty(options.cause), see(options.cause))
    })
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const local = yield* LocalServer.LocalServer
      const bot = yield* server.makeBot
      const alice = yield* server.user(bot, "alice")
      const { session_private_key } = JSON.parse(bot.keystore) as { session_private_key: string }
      const pin = "pin-739154"
      const environment = {
        ...local.environment(bot),
        BLAZE_KEYSTORE: JSON.stringify({ ...JSON.parse(bot.keystore), pin })
      }
      const client = NodeBlaze.layerConfig.pipe(
        Layer.provide([
          ConfigProvider.layer(ConfigProvider.fromUnknown(environment)),
          Settings.layer({
            reconnect: Schedule.spaced("20 millis"),
            stableAfter: "1 minute",
            acknowledgeBatch: 100,
            acknowledgeWithin: "10 millis",
            acknowledgeRetry: Schedule.spaced("10 millis"),
            flushTimeout: "50 millis"
          })
        ])
      )
      const note = (error: unknown) => Effect.sync(() => void seen.push(see(error)))
      const noteCause = (cause: Cause.Cause<BlazeError.BlazeError>) =>
        Effect.sync(() => void seen.push(Cause.pretty(cause), see(cause), see(Cause.squash(cause))))

      // Everything that goes wrong with a connection, an acknowledgement, a request and a handler.
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 })
      yield* server.inject({ _tag: "FailRest", status: 500, body: content })
      yield* server.inject({ _tag: "FailRest", status: 200, body: `<html>${content}</html>` })
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 })
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const fiber = yield* Effect.forkChild(
          Bot.run(
            (delivery) =>
              Message.isText(delivery.message) && delivery.message.text.includes("fail")
                ? Effect.fail("a handler's own error")
                : delivery.reply(content),
            { retry: Schedule.recurs(0) }
          )
        )
        yield* alice.say(content)
        yield* alice.say(`fail ${content}`)
        yield* eventually(Effect.map(alice.reads, (texts) => texts.length === 1))
        yield* Effect.flip(blaze.send({ user: alice.userId }, content.repeat(10_000))).pipe(Effect.tap(note))
        yield* Effect.flip(blaze.send({ conversation: bot.userId as never }, content)).pipe(Effect.tap(note))
        yield* bot.push(content)
        yield* bot.push(new TextEncoder().encode(content))
        yield* eventually(Effect.map(bot.handshakes, (count) => count >= 3))
        yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
        yield* server.inject({ _tag: "FailRest", status: 401, body: "" }, Infinity)
        yield* bot.cut
        const exit = yield* Fiber.await(fiber)
        if (exit._tag === "Failure") yield* noteCause(exit.cause)
        yield* note(blaze)
      }).pipe(Effect.provide(client), Effect.provideService(Telemetry.Traced, true))

      yield* Effect.flip(Keystore.fromString(bot.keystore.replace(/.{8}"}$/, '"}'))).pipe(
        Effect.tap(note),
        Effect.orDie
      )
      yield* Effect.flip(Keystore.fromString(bot.keystore.slice(1))).pipe(Effect.tap(note), Effect.orDie)
      yield* Effect.flatMap(Keystore.fromString(bot.keystore), (keystore) =>
        Effect.andThen(note(keystore), Effect.flatMap(Signer.make(keystore), note))
      )
      for (const span of spans) seen.push(span.name, see(span.attributes), see(span.status))
      seen.push(see(yield* Metric.snapshot), yield* PrometheusMetrics.format())

      const all = seen.join("\n")
      assert.isAbove(spans.length, 5)
      assert.isAbove(all.length, 10_000)
      assert.include(all, "blaze.handle")
      const seed = [...Buffer.from(session_private_key, "hex")]
      for (const [what, secret] of [
        ["the key", session_private_key],
        ["the key in base64", Buffer.from(seed).toString("base64url").slice(0, 20)],
        ["the key as bytes", seed.slice(0, 6).join(", ")],
        ["the PIN", pin],
        ["a token", "eyJhbGci"],
        ["content", content],
        ["content in base64", Buffer.from(content).toString("base64").slice(0, 20)]
      ] as const) {
        const at = all.indexOf(secret)
        assert.strictEqual(at, -1, `${what} is seen in: ${all.slice(Math.max(0, at - 300), at + 40)}`)
      }
    }).pipe(
      Effect.provide([
        Logger.layer([logger]),
        Layer.succeed(References.MinimumLogLevel, "All"),
        NodeServices.layer,
        NodeBlaze.layerPlatform
      ]),
      Effect.withTracer(tracer),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      // Outside of all that is watched: what the server in this process logs is its own affair.
      Effect.provide(LocalServer.layer())
    )
  })
})
