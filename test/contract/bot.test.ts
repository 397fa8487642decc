import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Stream, SubscriptionRef } from "effect"
import { Blaze, BlazeSocket, Bot, Message, Settings } from "effect-blaze"
import { both, scene } from "./faces.ts"

const echo = Bot.match({
  Text: (delivery) => delivery.reply(delivery.message.text),
  orElse: () => Effect.void
})

const acknowledgedAll = (bot: { readonly pending: Effect.Effect<ReadonlyArray<string>> }) =>
  Effect.map(bot.pending, (pending) => pending.length === 0)

describe("a bot", () => {
  both(
    "answers, acknowledges, loses its connection, comes back and goes on",
    Effect.gen(function* () {
      const { alice, bot, client, reaches } = yield* scene
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("one")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        yield* reaches(acknowledgedAll(bot))
        yield* bot.cut
        yield* alice.say("two")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 2))
        yield* reaches(acknowledgedAll(bot))
        yield* bot.close(1001, "going away")
        yield* alice.say("three")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 3))
        yield* reaches(acknowledgedAll(bot))
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(yield* alice.reads, ["one", "two", "three"])
      assert.deepStrictEqual(yield* bot.closeCodes, [1006, 1001, 1000])
      for (const [first] of yield* bot.requests) assert.strictEqual(first, "LIST_PENDING_MESSAGES")
    })
  )

  both(
    "notices a connection that is half-open, and gets what was said meanwhile over the next one",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("one")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        yield* bot.halfOpen
        yield* alice.say("two")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 2))
        yield* reaches(acknowledgedAll(bot))
        assert.isAtLeast(yield* bot.handshakes, 2)
      }).pipe(Effect.provide(client.pipe(Layer.provide(Settings.layer({ pingPeriod: "50 millis" })))))
      // What has not gone wrong yet can be taken back.
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      yield* server.heal
      yield* alice.say("three")
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 3))
      }).pipe(Effect.provide(client))
    })
  )

  both(
    "makes one handshake against a server that answers 401, and fails with Unauthorized",
    Effect.gen(function* () {
      const { bot, client, quiet, server } = yield* scene
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      const error = yield* Effect.gen(function* () {
        const error = yield* Effect.flip(Bot.run(echo))
        yield* quiet
        return error
      }).pipe(Effect.provide(client))
      assert.strictEqual(error.reason._tag, "Unauthorized")
      assert.include(error.message, "check that the keystore belongs to this bot")
      assert.strictEqual(yield* bot.handshakes, 1)
    })
  )

  both(
    "names the difference when the 401 comes from a clock that is 10 minutes off",
    Effect.gen(function* () {
      const { client, server } = yield* scene
      yield* server.setClockOffset(Duration.millis(-600_000))
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      const error = yield* Effect.flip(Bot.run(echo)).pipe(Effect.provide(client))
      assert(error.reason._tag === "Unauthorized")
      assert.isBelow(Math.abs(error.reason.clockDifference! - 600_000), 2000)
      assert.match(error.message, /10m ahead of the server's/)
    })
  )

  for (const [code, tag] of [
    [401, "Unauthorized"],
    [20121, "Unauthorized"],
    [10006, "ClientTooOld"]
  ] as const) {
    both(
      `stops for good at an ERROR frame with code ${code}`,
      Effect.gen(function* () {
        const { bot, client, quiet, server } = yield* scene
        yield* server.inject({ _tag: "ErrorFrame", code })
        const error = yield* Effect.gen(function* () {
          const error = yield* Effect.flip(Bot.run(echo))
          yield* quiet
          const blaze = yield* Blaze.Blaze
          const again = yield* Effect.flip(blaze.request("ANYTHING"))
          assert.strictEqual(again.reason._tag, tag)
          return error
        }).pipe(Effect.provide(client))
        assert.strictEqual(error.reason._tag, tag)
        assert.strictEqual(yield* bot.handshakes, 1)
      })
    )
  }

  both(
    "asks GET /me for the time after an ERROR frame with 401",
    Effect.gen(function* () {
      const { client, server } = yield* scene
      yield* server.inject({ _tag: "ErrorFrame", code: 401 })
      const error = yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        yield* server.setClockOffset(Duration.minutes(20))
        return yield* Effect.flip(Stream.runDrain(blaze.deliveries))
      }).pipe(Effect.provide(client))
      assert.match(error.message, /20m behind the server's/)
    })
  )

  for (const status of [403, 429, 503]) {
    both(
      `comes back after a handshake that was refused with ${status}`,
      Effect.gen(function* () {
        const { alice, bot, client, reaches, server } = yield* scene
        yield* server.inject({ _tag: "RefuseHandshake", status }, 2)
        yield* Effect.gen(function* () {
          yield* Effect.forkChild(Bot.run(echo))
          yield* alice.say("hi")
          yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        }).pipe(Effect.provide(client))
        assert.strictEqual(yield* bot.handshakes, 3)
      })
    )
  }

  both(
    "never dispatches its own echoes, answers or receipts as messages",
    Effect.gen(function* () {
      const { alice, bot, client, quiet, reaches, server } = yield* scene
      const seen: Array<Message.Message> = []
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(
          Bot.run((delivery) => {
            seen.push(delivery.message)
            return delivery.reply("answer")
          })
        )
        // The answer to this request comes when nobody waits for it any more.
        yield* server.inject({ _tag: "DelayAnswer", by: "50 millis" })
        yield* alice.say("hi")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        yield* reaches(acknowledgedAll(bot))
        yield* quiet
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(
        seen.map(({ senderId }) => senderId),
        [alice.userId]
      )
      assert.deepStrictEqual((yield* bot.acknowledged).flat(), [seen[0]!.id])
    })
  )

  both(
    "handles a message once that is pushed twice",
    Effect.gen(function* () {
      const { alice, bot, client, quiet, reaches, server } = yield* scene
      let handled = 0
      yield* server.inject({ _tag: "DuplicatePush" }, 2)
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(() => Effect.sync(() => handled++)))
        yield* alice.say("one")
        yield* alice.say("two")
        yield* reaches(acknowledgedAll(bot))
        yield* quiet
      }).pipe(Effect.provide(client))
      assert.strictEqual(handled, 2)
    })
  )

  both(
    "dispatches nothing that came after a damaged frame on the same connection, and everything on the next",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      const handled: Array<string> = []
      yield* alice.say("one")
      yield* alice.say("two")
      yield* alice.say("three")
      yield* server.inject({ _tag: "CorruptPush" })
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.sync(() => handled.push(Message.isText(delivery.message) ? delivery.message.text : ""))
          )
        )
        yield* reaches(acknowledgedAll(bot))
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(handled, ["one", "two", "three"])
      assert.strictEqual(yield* bot.handshakes, 2)
    })
  )

  for (const [name, frame] of [
    ["a text frame", "hello"],
    ["bytes that are not gzip", new TextEncoder().encode("this is not gzip at all")]
  ] as const) {
    both(
      `survives ${name}`,
      Effect.gen(function* () {
        const { alice, bot, client, reaches } = yield* scene
        yield* Effect.gen(function* () {
          yield* Effect.forkChild(Bot.run(echo))
          yield* reaches(Effect.map(bot.connections, (open) => open === 1))
          yield* bot.push(frame)
          yield* reaches(Effect.map(bot.handshakes, (count) => count === 2))
          yield* alice.say("still here?")
          yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        }).pipe(Effect.provide(client))
      })
    )
  }

  both(
    "resends with the same id when the answer never came, and the person reads it once",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* reaches(Effect.map(bot.connections, (open) => open === 1))
        yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, 2)
        yield* alice.say("hi")
        yield* reaches(acknowledgedAll(bot))
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(yield* alice.reads, ["hi"])
    })
  )

  both(
    "acknowledges again after REST failed with 500, HTML and an error in a 202",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      yield* server.inject({ _tag: "FailRest", status: 500, body: "" })
      yield* server.inject({ _tag: "FailRest", status: 200, body: "<html>busy</html>" })
      yield* server.inject({ _tag: "FailRest", status: 202, body: '{"error":{"status":202,"code":429}}' })
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("hi")
        yield* reaches(acknowledgedAll(bot))
      }).pipe(Effect.provide(client))
      assert.strictEqual((yield* bot.acknowledged).length, 1)
    })
  )

  both(
    "ends as Unauthorized when REST answers an acknowledgement with 401",
    Effect.gen(function* () {
      const { alice, bot, client, server } = yield* scene
      yield* server.inject({ _tag: "FailRest", status: 401, body: '{"error":{"status":202,"code":401}}' })
      const error = yield* Effect.gen(function* () {
        yield* alice.say("hi")
        const fiber = yield* Effect.forkChild(Effect.flip(Bot.run(echo)))
        const { reaches } = yield* scene
        yield* reaches(Effect.sync(() => fiber.pollUnsafe() !== undefined))
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(client))
      assert.strictEqual(error.reason._tag, "Unauthorized")
      assert.strictEqual(yield* bot.handshakes, 1)
    })
  )

  both(
    "goes on when a 401 to an acknowledgement is not Mixin's, and GET /me takes the bot",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      yield* server.inject({ _tag: "FailRest", status: 401, body: "<html>" })
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("hi")
        yield* reaches(acknowledgedAll(bot))
      }).pipe(Effect.provide(client))
      assert.strictEqual(yield* bot.handshakes, 1)
    })
  )

  both(
    "a 20121 in the answer to a request of the program's own fails that request, and the bot goes on",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(echo))
        yield* reaches(Effect.map(bot.connections, (open) => open === 1))
        yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 20121 })
        const blaze = yield* Blaze.Blaze
        const error = yield* Effect.flip(blaze.send({ user: alice.userId }, "hi"))
        assert(error.reason._tag === "ApiFailure")
        assert.strictEqual(error.reason.code, 20121)
        assert.isFalse(error.isRetryable)
        yield* alice.say("still here?")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
      }).pipe(Effect.provide(client))
      assert.strictEqual(yield* bot.handshakes, 1)
    })
  )

  both(
    "a 20121 in the answer to an acknowledgement on the socket ends the bot",
    Effect.gen(function* () {
      const { alice, clientOverSocket, server } = yield* scene
      yield* server.inject({ _tag: "FailRequest", action: "ACKNOWLEDGE_MESSAGE_RECEIPTS", code: 20121 })
      const error = yield* Effect.gen(function* () {
        yield* alice.say("hi")
        const fiber = yield* Effect.forkChild(Effect.flip(Bot.run(echo)))
        const { reaches } = yield* scene
        yield* reaches(Effect.sync(() => fiber.pollUnsafe() !== undefined))
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(clientOverSocket))
      assert.strictEqual(error.reason._tag, "Unauthorized")
      assert.match(error.message, /\(20121\)/)
      assert.notInclude(error.message, "401")
    })
  )

  both(
    "tells its status as data",
    Effect.gen(function* () {
      const { bot, client, reaches } = yield* scene
      const seen: Array<Blaze.Status["_tag"]> = []
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        yield* Effect.forkChild(
          SubscriptionRef.changes(blaze.status).pipe(
            Stream.map(({ _tag }) => _tag),
            // What is known of a connection changes without another tag.
            Stream.changes,
            Stream.runForEach((tag) => Effect.sync(() => seen.push(tag)))
          )
        )
        yield* reaches(Effect.sync(() => seen.at(-1) === "Connected"))
        yield* bot.cut
        yield* reaches(Effect.sync(() => seen.filter((tag) => tag === "Connected").length === 2))
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(seen.slice(seen.indexOf("Connected")), [
        "Connected",
        "Waiting",
        "Connecting",
        "Connected",
        "Stopped"
      ])
    })
  )

  both(
    "has one consumer: a second one fails with a sentence",
    Effect.gen(function* () {
      const { alice, client, reaches } = yield* scene
      yield* Effect.gen(function* () {
        const first = yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("hi")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        const error = yield* Effect.flip(Bot.run(echo))
        assert.strictEqual(error.reason._tag, "AlreadyConsumed")
        assert.include(error.message, "combine the two into one handler")
        yield* Fiber.interrupt(first)
        const next = yield* Effect.forkChild(Bot.run(echo))
        yield* alice.say("again")
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 2))
        yield* Fiber.interrupt(next)
      }).pipe(Effect.provide(client))
    })
  )

  both(
    "lets one connection carry its frames raw",
    Effect.gen(function* () {
      const { socket } = yield* scene
      yield* Effect.gen(function* () {
        const wire = yield* Effect.flatMap(BlazeSocket.BlazeSocket, ({ open }) => open)
        const id = crypto.randomUUID()
        yield* wire.send({ id, action: "LIST_PENDING_MESSAGES" })
        const [frame] = yield* wire.receive
        const envelope = yield* Effect.fromResult(wire.decode(frame))
        assert.deepStrictEqual([envelope.id, envelope.action], [id, "LIST_PENDING_MESSAGES"])
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )
})
