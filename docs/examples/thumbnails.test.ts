// The bot of small pictures, under TestClock and on loopback.
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Option, Schedule } from "effect"
import { Bot, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import sharp from "sharp"
import { thumbnails } from "./thumbnails.ts"

const photo = Effect.promise(async () => {
  const picture = sharp({ create: { width: 1600, height: 800, channels: 3, background: "teal" } })
  return new Uint8Array(await picture.png().toBuffer())
})

/** What she sees: a picture of 320 by 160, and a sentence about what is none. */
const isSmall = Effect.fnUntraced(function* (alice: BlazeServer.Person) {
  const [small, sentence] = yield* alice.received
  const { mime_type, width, height } = JSON.parse(small!.text)
  assert.deepStrictEqual([mime_type, width, height], ["image/jpeg", 320, 160])
  const bytes = Option.getOrThrow(yield* alice.openFile(small!))
  assert.strictEqual((yield* Effect.promise(() => sharp(bytes).metadata())).width, 320)
  assert.strictEqual(sentence!.text, "I cannot read that.")
})

const send = Effect.fnUntraced(function* (alice: BlazeServer.Person) {
  yield* alice.sendFile("PLAIN_IMAGE", yield* photo, { width: 1600, height: 800 })
  yield* alice.sendFile("PLAIN_IMAGE", new Uint8Array(100), { width: 1, height: 1 })
})

it.effect("makes a small picture of one, under TestClock", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(thumbnails))
    yield* send(alice)
    // sharp works in threads of its own, which no clock of a test waits for.
    yield* Effect.yieldNow.pipe(
      Effect.andThen(Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))),
      Effect.andThen(alice.received),
      Effect.repeat({ until: (received) => received.length === 2 })
    )
    yield* isSmall(alice)
  }).pipe(Effect.provide(BlazeTest.layer))
)

it.live("makes a small picture of one, on loopback", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const { apiUrl, url } = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    yield* send(alice)
    const layer = NodeBlaze.layer(Signer.layerString(bot.keystore)).pipe(
      Layer.provide(Settings.layer({ url, apiUrl, flushTimeout: 0 }))
    )
    yield* Bot.run(thumbnails).pipe(Effect.provide(layer), Effect.forkScoped)
    yield* Effect.repeat(alice.received, {
      until: (received) => received.length === 2,
      schedule: Schedule.spaced("20 millis")
    })
    yield* isSmall(alice)
  }).pipe(Effect.provide(LocalServer.layer()), Effect.scoped)
)
