import { assert, describe } from "@effect/vitest"
import { Array, Effect, Fiber, Option, Result, Stream } from "effect"
import { Blaze, BlazeSocket, Bot, Endpoint, Envelope, Ids, Message, MixinApi } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { createPrivateKey } from "node:crypto"
import { both, scene } from "./faces.ts"
import * as Decoding from "../../src/internal/Decoding.ts"

const id = () => crypto.randomUUID()
const list = { id: id(), action: Envelope.Action.listPendingMessages }
const view = (envelope: Envelope.Incoming) => Result.getOrThrow(Decoding.messageView(envelope.data))
const textOf = (envelope: Envelope.Incoming) => {
  const message = Message.fromView(view(envelope))
  return Message.isText(message) ? message.text : message._tag
}

const open = Effect.flatMap(BlazeSocket.BlazeSocket, (socket) => socket.open)
const take = (wire: BlazeSocket.Wire, count: number) => Stream.runCollect(Stream.take(wire.envelopes, count))

const ownKeystore = JSON.stringify({
  client_id: "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  private_key: Buffer.from("be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2", "hex").toString("base64")
})

/** Whether a number of 32 bytes is a point of Ed25519: x² = (y² - 1) / (d y² + 1) has a solution. RFC 8032, section 5.1.3. */
const isPoint = (hexadecimal: string) => {
  const p = 2n ** 255n - 19n
  const power = (base: bigint, exponent: bigint): bigint =>
    exponent === 0n ? 1n : (power((base * base) % p, exponent / 2n) * (exponent % 2n === 1n ? base : 1n)) % p
  const bytes = Buffer.from(Buffer.from(hexadecimal, "hex").toReversed())
  const y = BigInt(`0x${bytes.toString("hex")}`) % 2n ** 255n
  const d = (p - ((121665n * power(121666n, p - 2n)) % p)) % p
  const square = ((y * y - 1n + p) * power((d * y * y + 1n) % p, p - 2n)) % p
  return y < p && bytes.length === 32 && power(square, (p - 1n) / 2n) <= 1n
}

describe("the built-in server", () => {
  both(
    "pushes nothing before LIST_PENDING_MESSAGES, then answers it and pushes the oldest first",
    Effect.gen(function* () {
      const { alice, quiet, socket } = yield* scene
      yield* Effect.gen(function* () {
        yield* alice.say("one")
        const wire = yield* open
        yield* alice.say("two")
        const first = yield* Effect.forkChild(take(wire, 3))
        yield* quiet
        assert.isUndefined(first.pollUnsafe())
        yield* wire.send(list)
        const [answer, ...pushes] = yield* Fiber.join(first)
        assert.deepStrictEqual([answer?.id, answer?.action, answer?.data], [list.id, list.action, undefined])
        assert.deepStrictEqual(pushes.map(textOf), ["one", "two"])
        assert.deepStrictEqual(
          pushes.map((push) => view(push).source),
          ["LIST_PENDING_MESSAGES", "LIST_PENDING_MESSAGES"]
        )
        yield* alice.say("three")
        const [live] = yield* take(wire, 1)
        assert.strictEqual(view(live!).source, "CREATE_MESSAGE")
        assert.strictEqual(new Set([answer, ...pushes, live].map((envelope) => envelope!.id)).size, 4)
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "redelivers what was not acknowledged, and not what was",
    Effect.gen(function* () {
      const { alice, bot, reaches, socket } = yield* scene
      const [one] = [yield* alice.say("one"), yield* alice.say("two")]
      const session = Effect.gen(function* () {
        const wire = yield* open
        yield* wire.send(list)
        return yield* take(wire, 3)
      }).pipe(Effect.scoped, Effect.provide(socket))
      assert.deepStrictEqual((yield* session).slice(1).map(textOf), ["one", "two"])
      yield* Effect.gen(function* () {
        const wire = yield* open
        const params = { message_id: one, status: "READ" }
        yield* wire.send({ id: id(), action: Envelope.Action.acknowledgeReceipt, params })
        yield* reaches(Effect.map(bot.pending, (pending) => pending.length === 1))
        yield* wire.send(list)
        assert.deepStrictEqual((yield* take(wire, 3)).slice(2).map(textOf), ["two"])
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "forgets what was not acknowledged in 7 days",
    Effect.gen(function* () {
      const { alice, quiet, server, socket } = yield* scene
      yield* alice.say("old")
      yield* server.setClockOffset("7 days")
      yield* alice.say("new")
      yield* server.setClockOffset(0) // the token must be good
      yield* Effect.gen(function* () {
        const wire = yield* open
        yield* server.setClockOffset("7 days")
        yield* wire.send(list)
        assert.deepStrictEqual((yield* take(wire, 2)).slice(1).map(textOf), ["new"])
        yield* quiet
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "keeps the first of equal message ids",
    Effect.gen(function* () {
      const { alice, bot, client } = yield* scene
      yield* alice.addBot
      const messageId = Ids.MessageId.make(id())
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        yield* blaze.send({ user: alice.userId }, "first", { id: messageId })
        yield* blaze.send({ user: alice.userId }, "second", { id: messageId })
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(yield* alice.reads, ["first"])
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ attempts, text }) => [text, attempts]),
        [["first", 2]]
      )
    })
  )

  both(
    "greets the bot in the name of whoever adds it, and tells what became of the reply",
    Effect.gen(function* () {
      const { alice, client, reaches } = yield* scene
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const receipts = yield* Effect.forkChild(Stream.runCollect(Stream.take(blaze.receipts, 2)))
        const greeted: Array<string> = []
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.suspend(() => {
              if (Message.isText(delivery.message)) greeted.push(delivery.message.text)
              return delivery.reply("welcome")
            })
          )
        )
        yield* alice.addBot
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        assert.deepStrictEqual(greeted, ["你好"])
        assert.deepStrictEqual(
          (yield* Fiber.join(receipts)).map(({ status }) => status),
          ["DELIVERED", "READ"]
        )
      }).pipe(Effect.provide(client))
    })
  )

  both(
    "carries a group's messages both ways",
    Effect.gen(function* () {
      const { alice, bot, client, reaches, server } = yield* scene
      const bob = yield* server.user(bot, "bob")
      const group = yield* server.group(bot, [alice, bob])
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("to all of you")))
        yield* alice.say("hello everybody", group)
        yield* reaches(Effect.map(bob.reads, (texts) => texts.includes("to all of you")))
        assert.deepStrictEqual(yield* alice.reads, ["to all of you"])
      }).pipe(Effect.provide(client))
    })
  )

  both(
    "refuses what breaks its rules with their error codes",
    Effect.gen(function* () {
      const { alice, client, api } = yield* scene
      yield* alice.addBot
      const params = {
        conversation_id: alice.conversationId,
        message_id: id(),
        category: "PLAIN_TEXT",
        data_base64: "aGk"
      }
      const acknowledgements = (count: number) =>
        Array.makeBy(count, () => ({ message_id: id(), status: "READ" as const }))
      yield* Effect.gen(function* () {
        const { request } = yield* Blaze.Blaze
        const code = (action: string, params: unknown) =>
          Effect.map(Effect.flip(request(action, params)), ({ reason }) =>
            reason._tag === "ApiFailure" ? reason.code : reason._tag
          )
        assert.strictEqual(yield* code("CREATE_MESSAGE", { ...params, conversation_id: id() }), 403)
        assert.strictEqual(yield* code("CREATE_MESSAGE", { ...params, message_id: "x" }), 10002)
        assert.strictEqual(yield* code("CREATE_MESSAGE", { ...params, category: "SIGNAL_TEXT" }), 10002)
        assert.strictEqual(yield* code("CREATE_MESSAGE", { ...params, data_base64: "YW Jj" }), 10002)
        assert.strictEqual(yield* code("CREATE_MESSAGE", { ...params, data_base64: "a".repeat(131_072) }), 400)
        const messages = acknowledgements(81)
        assert.strictEqual(yield* code("ACKNOWLEDGE_MESSAGE_RECEIPTS", { messages }), 10002)
        assert.strictEqual(yield* code("SOMETHING_NEW", {}), 10002)
      }).pipe(Effect.provide(client))
      yield* Effect.gen(function* () {
        const rest = yield* MixinApi.MixinApi
        yield* rest.request(Endpoint.acknowledge, { payload: acknowledgements(100) })
      }).pipe(Effect.provide(api))
    })
  )

  both(
    "answers GET /me and tells its time",
    Effect.gen(function* () {
      const { api, bot, server } = yield* scene
      yield* Effect.gen(function* () {
        const rest = yield* MixinApi.MixinApi
        assert.strictEqual((yield* rest.request(Endpoint.me, {})).user_id, bot.userId)
        yield* server.setClockOffset("10 minutes")
        const time = Option.getOrThrow(yield* rest.serverTime)
        assert.isBelow(Math.abs(time - server.now()), 2000)
      }).pipe(Effect.provide(api))
    })
  )

  for (const [name, key] of [
    ["an RSA key", { algorithm: "RS512" }],
    ["a keystore of one's own", { keystore: ownKeystore }]
  ] as const) {
    both(
      `takes a bot with ${name}`,
      Effect.gen(function* () {
        const { client, reaches, server } = yield* scene
        const bot = yield* server.makeBotWith(key)
        const alice = yield* server.user(bot, "alice")
        yield* Effect.gen(function* () {
          yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("hello")))
          yield* alice.say("hi")
          yield* reaches(Effect.map(bot.pending, (pending) => pending.length === 0))
        }).pipe(Effect.provide(client), Effect.provideService(BlazeTest.Account, bot))
        assert.deepStrictEqual(yield* alice.reads, ["hello"])
        assert.strictEqual(yield* bot.handshakes, 1)
      })
    )
  }

  both(
    "gives keystores of the shapes that the dashboards gave",
    Effect.gen(function* () {
      const { bot, server } = yield* scene
      const rsa = yield* server.makeBotWith({ algorithm: "RS512" })
      const { client_id, private_key, session_id, ...rest } = JSON.parse(rsa.keystore) as Record<string, string>
      assert.deepStrictEqual([client_id, session_id], [rsa.userId, rsa.sessionId])
      assert.deepStrictEqual(Object.keys(rest), ["pin", "pin_token"])
      const { asymmetricKeyDetails, asymmetricKeyType } = createPrivateKey({ key: private_key!, format: "pem" })
      assert.deepStrictEqual([asymmetricKeyType, asymmetricKeyDetails?.modulusLength], ["rsa", 1024])
      assert.match(private_key!, /^-----BEGIN RSA [A-Z ]+-----\r\n([\w+/=]{1,64}\r\n)+-----END RSA [A-Z ]+-----\r\n$/)

      // Every other number of 32 bytes is a point, so it takes some to see that all of them are.
      const others = yield* Effect.all(Array.makeBy(9, () => server.makeBot))
      for (const { keystore } of [bot, ...others]) assert.isTrue(isPoint(JSON.parse(keystore).server_public_key))

      const error = yield* Effect.flip(server.makeBotWith({ keystore: "{}" }))
      assert.strictEqual(error.reason._tag, "InvalidSetting")
    })
  )

  both(
    "takes acknowledgements over the socket too",
    Effect.gen(function* () {
      const { alice, bot, clientOverSocket, reaches } = yield* scene
      const ids = [yield* alice.say("one"), yield* alice.say("two")]
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(Bot.run(() => Effect.void))
        yield* reaches(Effect.map(bot.acknowledged, (batches) => batches.length === 1))
      }).pipe(Effect.provide(clientOverSocket))
      assert.deepStrictEqual(yield* bot.acknowledged, [ids])
      assert.deepStrictEqual(yield* bot.requests, [["LIST_PENDING_MESSAGES", "ACKNOWLEDGE_MESSAGE_RECEIPTS"]])
    })
  )
})
