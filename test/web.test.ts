// A bot on the WebSocket of the platform, over real sockets: what `effect-blaze/web` does elsewhere it does on Node, too.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, type Scope } from "effect"
import { BlazeSocket, Bot, Settings, Signer } from "effect-blaze"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { WebBlaze, WebDialer } from "effect-blaze/web"
import { FetchHttpClient } from "effect/http"
import { eventually, textOf } from "./support.ts"

const world = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  return { server, local, bot, alice }
})

const botOf = (keystore: string, { apiUrl, url }: { readonly apiUrl: string; readonly url: string }) =>
  WebBlaze.layer(Signer.layerString(keystore)).pipe(
    Layer.provide(Settings.layer({ url, apiUrl, pingPeriod: "200 millis" }))
  )

const test = <E>(
  title: string,
  body: Effect.Effect<void, E, BlazeServer.BlazeServer | LocalServer.LocalServer | Scope.Scope>
) => it.live(title, () => Effect.scoped(body).pipe(Effect.provide(Layer.fresh(LocalServer.layer()))))

const echo = Bot.run((delivery) => delivery.reply(`re ${textOf(delivery)}`))

describe("a bot on the platform's WebSocket", () => {
  test(
    "answers in order, comes back when the connection is cut, and closes with 1000",
    Effect.gen(function* () {
      const { alice, bot, local } = yield* world
      const running = yield* Effect.forkChild(Effect.provide(echo, botOf(bot.keystore, local)))
      for (let n = 0; n < 300; n++) yield* alice.say(`${n}`)
      yield* eventually(Effect.map(alice.reads, ({ length }) => length === 300))
      yield* bot.cut
      for (let n = 300; n < 500; n++) yield* alice.say(`${n}`)
      yield* eventually(Effect.map(alice.reads, ({ length }) => length === 500))
      assert.deepStrictEqual(
        yield* alice.reads,
        Array.from({ length: 500 }, (_, n) => `re ${n}`)
      )
      yield* eventually(Effect.map(bot.pending, ({ length }) => length === 0))
      yield* Fiber.interrupt(running)
      yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.join() === "1006,1000"))
    })
  )

  test(
    "stops when Mixin refuses it, though the WebSocket does not say why",
    Effect.gen(function* () {
      const { bot, local, server } = yield* world
      // Its session is an old one.
      yield* server.makeBotWith({ keystore: bot.keystore })
      const { app_id, session_private_key } = JSON.parse(bot.keystore)
      const old = JSON.stringify({ app_id, session_id: crypto.randomUUID(), session_private_key })
      const error = yield* Effect.flip(Effect.provide(echo, botOf(old, local)))
      assert.strictEqual(error.reason._tag, "Unauthorized")
    })
  )

  test(
    "asks a silent server what is pending, and leaves one that says nothing at all",
    Effect.gen(function* () {
      const { alice, bot, local } = yield* world
      const running = yield* Effect.forkChild(Effect.provide(echo, botOf(bot.keystore, local)))
      const listings = Effect.map(bot.requests, (requests) =>
        requests.flat().filter((action) => action.startsWith("LIST"))
      )
      // The one at the beginning, and one in each silent period.
      yield* eventually(Effect.map(listings, ({ length }) => length >= 5))
      assert.strictEqual(yield* bot.handshakes, 1)
      yield* bot.halfOpen
      yield* eventually(Effect.map(bot.handshakes, (count) => count >= 2))
      yield* alice.say("still there?")
      yield* eventually(Effect.map(alice.reads, (texts) => texts.join() === "re still there?"))
      yield* Fiber.interrupt(running)
    })
  )

  test(
    "ends a connection on which more comes than is read, since nothing can pause it",
    Effect.gen(function* () {
      const { bot, local } = yield* world
      yield* Effect.gen(function* () {
        const socket = yield* BlazeSocket.BlazeSocket
        const wire = yield* socket.open
        yield* eventually(Effect.map(bot.connections, (count) => count === 1))
        for (let n = 0; n < 40; n++) yield* bot.push(new Uint8Array(1024 * 1024))
        yield* eventually(Effect.map(bot.connections, (count) => count === 0))
        const read = Effect.forever(wire.receive)
        const error = yield* Effect.flip(read)
        assert.include(error.message, "more came than could be read")
      }).pipe(
        Effect.scoped,
        Effect.provide(
          BlazeSocket.layer.pipe(
            Layer.provide(WebDialer.layer(WebDialer.openGlobal)),
            Layer.provide(Signer.layerString(bot.keystore)),
            Layer.provide(FetchHttpClient.layer),
            Layer.provide(BlazeTest.layerPlatform),
            Layer.provide(Settings.layer({ url: local.url, apiUrl: local.apiUrl }))
          )
        )
      )
    })
  )
})
