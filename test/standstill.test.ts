// Nobody waits for ever, and nothing is asked for only once.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Schedule, Stream } from "effect"
import { Blaze, Bot, Delivery, Message, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

const list = "LIST_PENDING_MESSAGES"
const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

describe("receipts", () => {
  it.effect("arrive though the inbox is full of messages that wait for handlers that wait for receipts", () => {
    let done = 0
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      yield* Effect.forkChild(
        Bot.run(
          (delivery) =>
            Effect.gen(function* () {
              const read = yield* blaze.receipts.pipe(
                Stream.filter(({ status }) => status === "READ"),
                Stream.runHead,
                Effect.forkChild({ startImmediately: true })
              )
              yield* delivery.reply(`did you read ${delivery.message.id}?`)
              yield* Fiber.join(read)
              done++
            }),
          { concurrency: 2, inFlight: { messages: 4, bytes: 1e9 } }
        )
      )
      yield* BlazeTest.settle
      for (let n = 0; n < 30; n++) yield* alice.say(`question ${n}`)
      for (let n = 0; n < 60; n++) {
        yield* pass(5)
        yield* alice.reads
      }
      assert.strictEqual(done, 30)
    }).pipe(Effect.provide(BlazeTest.layer.pipe(Layer.provide(Settings.layer({ inboxMessages: 4, inboxBytes: 1e9 })))))
  })
})

describe("a listing", () => {
  it.effect("that is slow every time has more time with each connection in a row", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const blaze = yield* Blaze.Blaze
      yield* server.inject({ _tag: "IgnoreRequest", action: list }, Infinity)
      yield* Effect.forkChild(Stream.runDrain(blaze.deliveries))
      yield* BlazeTest.settle
      const at: Array<number> = []
      for (let second = 0; second < 200; second++) {
        yield* pass(1)
        if ((yield* bot.handshakes) > at.length + 1) at.push(second + 1)
      }
      // 5, 10, 20, 40 and 60 seconds, and one second between two connections.
      assert.deepStrictEqual(at, [6, 17, 38, 79, 140])
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(Settings.layer({ reconnect: Schedule.spaced("1 second"), stableAfter: "1 minute" }))
        )
      )
    )
  )

  it.effect("that failed, on a connection that never ends, is asked for again until it is answered", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const handled: Array<string> = []
      let ready = false
      yield* Effect.forkChild(
        Bot.run(({ message }) =>
          Effect.sync(() => {
            if (!ready) return Delivery.Defer
            handled.push(Message.isText(message) ? message.text : "")
            return Delivery.Ack
          })
        )
      )
      yield* BlazeTest.settle
      for (const text of ["1", "2"]) yield* alice.say(text)
      yield* pass(1)
      ready = true
      yield* server.inject({ _tag: "FailRequest", action: list, code: 7000 }, 3)
      for (let n = 0; n < 70; n++) yield* pass(10)
      assert.deepStrictEqual(handled, ["1", "2"])
      assert.deepStrictEqual(
        (yield* bot.requests).map((requests) => requests.filter((action) => action === list).length),
        [5]
      )
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(
            Settings.layer({ defer: Schedule.spaced("30 seconds"), deferredMessages: 1, deferredBytes: 1_000_000 })
          )
        )
      )
    )
  )
})

describe("a send", () => {
  it.effect("that is under way when its session ends is sent again on the next, with the same id", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const blaze = yield* Blaze.Blaze
      yield* BlazeTest.settle
      yield* alice.say("1") // fills the inbox
      yield* BlazeTest.settle
      yield* server.inject({ _tag: "IgnoreRequest", action: "CREATE_MESSAGE" }, 2)
      yield* Effect.forkChild(Effect.exit(blaze.request("CREATE_MESSAGE", { x: 1 })))
      yield* BlazeTest.settle
      yield* alice.say("2") // refused: there is room neither here nor there
      yield* BlazeTest.settle
      yield* server.inject({ _tag: "IgnoreRequest", action: list })
      yield* blaze.deliveries.pipe(
        Stream.mapEffect(Delivery.handle(() => Effect.void)),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* pass(2)
      const send = yield* Effect.forkChild(blaze.send({ user: alice.userId }, "an announcement"))
      for (let n = 0; n < 20; n++) yield* pass(1)
      const id = yield* Fiber.join(send)
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ messageId }) => messageId),
        [id]
      )
      assert.strictEqual(yield* bot.handshakes, 2)
      assert.isBelow(yield* seconds, 60)
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(Layer.provide([Settings.layer({ inboxMessages: 1, inboxBytes: 1e9, overflowBytes: 0 })]))
      )
    )
  )
})
