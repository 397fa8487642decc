// Encrypted messages between bots and people, in memory and over the network.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import {
  Blaze,
  type BlazeError,
  Bot,
  Button,
  type Delivery,
  Endpoint,
  Ids,
  Keyed,
  Message,
  MixinApi,
  Outgoing,
  Sender,
  Settings
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { lines, pass } from "../support.ts"
import { both, scene } from "./faces.ts"

const encrypted = Effect.gen(function* () {
  const found = yield* scene
  yield* found.server.setEncryption(found.bot, true)
  return found
})

/** Runs a bot until so many messages have come from it. */
const answering = Effect.fnUntraced(function* (
  { client, reaches }: Pick<Effect.Success<typeof scene>, "client" | "reaches">,
  handler: Bot.Handler<unknown>,
  condition: Effect.Effect<boolean>,
  settings: Partial<Settings.Settings> = {}
) {
  yield* Bot.run(handler).pipe(
    Effect.provide(client),
    Effect.provide([Settings.layer({ flushTimeout: 0, ...settings }), Layer.succeed(Keyed.Grace, 0)]),
    Effect.forkScoped
  )
  yield* reaches(condition)
})

const echo = Bot.match({
  Text: (it) => it.reply(`${it.message.isEncrypted} ${it.message.text}`),
  orElse: () => Effect.void
})

const has = (person: BlazeServer.Person, count: number) =>
  Effect.map(person.received, (received) => received.length >= count)

const kinds = (person: BlazeServer.Person) =>
  Effect.map(person.received, (received) => received.map(({ category, text }) => `${category} ${text}`))

const reasonOf = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
  Result.isFailure(result) ? result.failure.message : "sent"

describe("a bot whose owner has ticked encryption", () => {
  both(
    "reads what it is told, and answers in kind; what Mixin does not encrypt goes in plain",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice } = all
      yield* alice.say("hi")
      const seen: Array<Message.Message> = []
      yield* answering(
        all,
        Bot.match({
          orElse: Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
            seen.push(delivery.message)
            yield* delivery.reply("hello")
            yield* delivery.reply(Outgoing.post("# Hello"))
            yield* delivery.reply(Outgoing.buttons([Button.say("Yes", "yes")]))
          })
        }),
        has(alice, 3)
      )
      const [message] = seen
      assert(message !== undefined && Message.isText(message))
      assert.deepStrictEqual([message.text, message.isEncrypted, message.category], ["hi", true, "ENCRYPTED_TEXT"])
      assert.notInclude(JSON.stringify(message.view), Buffer.from("hi").toString("base64url"))
      assert.deepStrictEqual(yield* kinds(alice), [
        "ENCRYPTED_TEXT hello",
        "ENCRYPTED_POST # Hello",
        `APP_BUTTON_GROUP ${JSON.stringify([{ label: "Yes", color: "#3D75E3", action: "input:yes" }])}`
      ])
      yield* alice.tap("Yes")
      yield* all.reaches(has(alice, 6))
    })
  )

  both(
    "answers what came in plain in plain, and sends in plain what answers nothing",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      yield* bob.addBot
      yield* alice.say("plain")
      yield* server.setEncryption(bot, true)
      yield* alice.say("secret")
      yield* answering(
        all,
        Bot.match({
          Text: Effect.fnUntraced(function* (it) {
            yield* it.reply(it.message.text)
            if (it.message.text === "secret") yield* it.send({ user: bob.userId }, "by the way")
          }),
          orElse: () => Effect.void
        }),
        has(bob, 2)
      )
      assert.deepStrictEqual(yield* kinds(alice), ["PLAIN_TEXT plain", "ENCRYPTED_TEXT secret"])
      assert.include(yield* kinds(bob), "PLAIN_TEXT by the way")
    })
  )

  both(
    "has its answer encrypted anew, once and with the same id, for somebody who has another phone",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice, bot } = all
      yield* alice.say("one")
      yield* answering(all, echo, has(alice, 1))
      yield* alice.changePhone()
      yield* alice.say("two")
      yield* all.reaches(has(alice, 2))
      yield* alice.say("three")
      yield* all.reaches(has(alice, 3))
      assert.deepStrictEqual(yield* kinds(alice), [
        "ENCRYPTED_TEXT true one",
        "ENCRYPTED_TEXT true two",
        "ENCRYPTED_TEXT true three"
      ])
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ attempts }) => attempts),
        [1, 1, 1]
      )
    })
  )

  both(
    "answers in a group for all who are in it, whoever of them has another phone by then",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      const group = yield* server.group(bot, [alice, bob])
      yield* alice.say("one", group)
      yield* answering(all, echo, has(bob, 1))
      yield* bob.changePhone()
      yield* bob.say("two", group)
      yield* all.reaches(has(alice, 2))
      const carol = yield* server.user(bot, "carol")
      yield* carol.join(group)
      yield* carol.say("three", group)
      yield* all.reaches(has(carol, 1))
      for (const person of [alice, bob]) {
        assert.deepStrictEqual(yield* kinds(person), [
          "ENCRYPTED_TEXT true one",
          "ENCRYPTED_TEXT true two",
          "ENCRYPTED_TEXT true three"
        ])
      }
      assert.deepStrictEqual(yield* kinds(carol), ["ENCRYPTED_TEXT true three"])
    })
  )

  both(
    "answers for who has come into the group, with another phone than the bot knows, though it has not been told of that yet",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice, bot, server } = all
      const group = yield* server.group(bot, [alice])
      const carol = yield* server.user(bot, "carol")
      let runs = 0
      yield* carol.say("known")
      yield* answering(
        all,
        Bot.match({
          Text: Effect.fnUntraced(function* (delivery) {
            if (delivery.message.conversationId === group) {
              runs++
              yield* delivery.conversation
              yield* carol.changePhone()
              yield* carol.join(group)
            }
            yield* delivery.reply("hello")
          }),
          orElse: () => Effect.void
        }),
        has(carol, 1)
      )
      yield* alice.say("hi", group)
      yield* all.reaches(has(carol, 2))
      assert.deepStrictEqual(yield* kinds(carol), ["ENCRYPTED_TEXT hello", "ENCRYPTED_TEXT hello"])
      assert.strictEqual(runs, 1)
    })
  )

  both(
    "reads what is none as Unknown, with why, and goes on",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice } = all
      const sent = [
        new Uint8Array(0),
        Uint8Array.of(1),
        new Uint8Array(200),
        Uint8Array.from({ length: 200 }, (_, index) => (index < 3 ? [1, 1, 0][index]! : 7)),
        Uint8Array.from({ length: 200 }, (_, index) => (index < 3 ? [1, 255, 255][index]! : 7))
      ]
      for (const bytes of sent) yield* alice.send("ENCRYPTED_TEXT", bytes)
      yield* alice.say("still there?")
      const reasons: Array<string> = []
      yield* answering(
        all,
        Bot.match({
          Text: (it) => it.reply(it.message.text),
          Unknown: ({ message }) => Effect.sync(() => reasons.push(`${message.isEncrypted} ${message.reason}`)),
          orElse: () => Effect.void
        }),
        has(alice, 1)
      )
      assert.deepStrictEqual(reasons, [
        "true it is not encrypted in a way that is known",
        "true it is cut short",
        "true it is not encrypted in a way that is known",
        "true it is encrypted for other sessions than this bot's",
        "true it is cut short"
      ])
      assert.deepStrictEqual(yield* kinds(alice), ["ENCRYPTED_TEXT still there?"])
    })
  )
})

describe("what should go encrypted", () => {
  both(
    "goes so always, or never, where the settings say so",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice, bot } = all
      const say = (encryption: Settings.Settings["encryption"]) =>
        Effect.gen(function* () {
          const blaze = yield* Blaze.Blaze
          const sender = yield* Sender.Sender
          yield* blaze.send({ user: alice.userId }, `${encryption} 1`)
          yield* sender.sendBatch([
            { to: { user: alice.userId }, content: `${encryption} 2`, id: yield* sender.derive(encryption, "2") },
            {
              to: { user: alice.userId },
              content: Outgoing.buttons([Button.say("b", "b")]),
              id: yield* sender.derive(encryption, "3")
            }
          ])
        }).pipe(Effect.provide(all.client), Effect.provide(Settings.layer({ encryption, flushTimeout: 0 })))
      yield* alice.say("hi")
      yield* say("Always")
      yield* say("InKind")
      yield* answering(all, echo, has(alice, 7), { encryption: "Never" })
      assert.deepStrictEqual(
        (yield* kinds(alice)).map((kind) => kind.replace(/ \[.*/, "")),
        [
          "ENCRYPTED_TEXT Always 1",
          "ENCRYPTED_TEXT Always 2",
          "APP_BUTTON_GROUP",
          "PLAIN_TEXT InKind 1",
          "PLAIN_TEXT InKind 2",
          "APP_BUTTON_GROUP",
          "PLAIN_TEXT true hi"
        ]
      )
      assert.strictEqual((yield* bot.sent).length, 7)
    })
  )

  both(
    "and cannot, for an old app has no key, is not sent; or in plain, if that is enough",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice } = all
      yield* alice.addBot
      yield* alice.changePhone({ hasKey: false })
      const say = (encryptionRequired: boolean) =>
        Effect.result(
          Effect.flatMap(Blaze.Blaze, ({ send }) => send({ user: alice.userId }, `required: ${encryptionRequired}`))
        ).pipe(
          Effect.provide(all.client),
          Effect.provide(Settings.layer({ encryption: "Always", encryptionRequired, flushTimeout: 0 }))
        )
      const refused = yield* say(true)
      assert.match(
        reasonOf(refused),
        /^Cannot encrypt this: an app of [0-9a-f-]{36} has no key to encrypt for\. It was not sent/
      )
      assert.strictEqual(reasonOf(yield* say(false)), "sent")
      assert.deepStrictEqual(yield* kinds(alice), ["PLAIN_TEXT required: false"])
    })
  )

  both(
    "is for no more apps than Mixin allows",
    Effect.gen(function* () {
      const { bot, client, server } = yield* encrypted
      const crowd = yield* Effect.forEach(
        Array.from({ length: 511 }, (_, n) => `person ${n}`),
        (name) => server.user(bot, name)
      )
      const say = (people: ReadonlyArray<BlazeServer.Person>) =>
        Effect.flatMap(server.group(bot, people), (conversation) =>
          Effect.result(Effect.flatMap(Blaze.Blaze, ({ send }) => send({ conversation }, "hi")))
        )
      const [most, all] = yield* Effect.all([say(crowd.slice(1)), say(crowd)]).pipe(
        Effect.provide(client),
        Effect.provide(Settings.layer({ encryption: "Always", flushTimeout: 0 }))
      )
      assert.strictEqual(reasonOf(most), "sent")
      assert.match(reasonOf(all), /511 apps would read it, and Mixin allows 510/)
      assert.deepStrictEqual(yield* kinds(crowd[510]!), ["ENCRYPTED_TEXT hi"])
    })
  )

  both(
    "is within what one request may have, as it is when it is encrypted",
    Effect.gen(function* () {
      const all = yield* encrypted
      const { alice, bot, server } = all
      yield* alice.addBot
      const others = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, n) => `person ${n}`),
        (name) => server.user(bot, name)
      )
      const group = yield* server.group(bot, others)
      const sent = yield* Effect.gen(function* () {
        const sender = yield* Sender.Sender
        const batch = yield* Effect.forEach([1, 2, 3], (n) =>
          Effect.map(sender.derive(`${n}`), (id) => ({ to: { user: alice.userId }, content: "x".repeat(30_000), id }))
        )
        yield* sender.sendBatch(batch)
        return yield* Effect.result(sender.send({ conversation: group }, "\u{1F512}".repeat(24_380)))
      }).pipe(Effect.provide(all.client), Effect.provide(Settings.layer({ encryption: "Always", flushTimeout: 0 })))
      assert.match(reasonOf(sent), /more than 128 KiB as sent, encrypted for 12 apps/)
      assert.strictEqual((yield* alice.received).length, 3)
    })
  )
})

describe("the built-in server", () => {
  both(
    "takes what is encrypted for the sessions that people have, and says what is wrong with the rest",
    Effect.gen(function* () {
      const { alice, api, bot, server } = yield* encrypted
      yield* alice.addBot
      const rest = yield* Effect.provideContext(MixinApi.MixinApi, yield* Layer.build(api))
      const [session] = yield* rest.request(Endpoint.sessions, { payload: [alice.userId] })
      assert.strictEqual(session!.public_key!.length, 43)
      const own = yield* rest.request(Endpoint.sessions, {
        payload: [bot.userId, alice.userId, Ids.UserId.make("99999999-9999-4999-8999-999999999999")]
      })
      assert.deepStrictEqual(
        own.map(({ user_id }) => user_id),
        [bot.userId, alice.userId]
      )
      const conversation = yield* rest.request(Endpoint.conversation, { path: { id: alice.conversationId } })
      assert.sameDeepMembers([...conversation.participant_sessions!], [...own])

      const post = (fields: Record<string, unknown>) =>
        Effect.result(
          rest.request(Endpoint.encryptedMessages, {
            payload: [
              {
                conversation_id: alice.conversationId,
                recipient_id: alice.userId,
                message_id: crypto.randomUUID(),
                category: "ENCRYPTED_TEXT",
                data_base64: "AQEA",
                checksum: "32541f455923e137662849d18fbce855",
                recipient_sessions: [{ session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8" }],
                ...fields
              }
            ]
          })
        )
      const outdated = yield* post({})
      assert(Result.isSuccess(outdated))
      assert.deepInclude(outdated.success[0], { recipient_id: alice.userId, state: "FAILED", sessions: [session!] })
      const field = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
        Result.isFailure(result) && result.failure.reason._tag === "ApiFailure"
          ? [result.failure.reason.code, result.failure.reason.field]
          : "taken"
      assert.deepStrictEqual(field(yield* post({ checksum: "0" })), [10002, "checksum"])
      assert.deepStrictEqual(field(yield* post({ category: "PLAIN_TEXT" })), [10002, "category"])
      assert.deepStrictEqual(field(yield* post({ conversation_id: crypto.randomUUID() })), [403, undefined])
      const group = yield* server.group(bot, [alice])
      assert.deepStrictEqual(field(yield* post({ conversation_id: group })), [20140, undefined])
      yield* alice.changePhone()
      const [next] = yield* rest.request(Endpoint.sessions, { payload: [alice.userId] })
      assert.notStrictEqual(next!.session_id, session!.session_id)
      const plain = yield* Effect.result(
        rest.request(Endpoint.messages, {
          payload: [
            {
              conversation_id: alice.conversationId,
              message_id: crypto.randomUUID(),
              category: "ENCRYPTED_TEXT",
              data_base64: "AQEA"
            }
          ]
        })
      )
      assert.deepStrictEqual(field(plain), [10002, "category"])
      assert.deepStrictEqual(yield* alice.received, [])
    })
  )
})

describe("a bot with an RSA key", () => {
  const layerRsa = Layer.effect(
    BlazeTest.Account,
    Effect.flatMap(BlazeServer.BlazeServer, (server) => server.makeBotWith({ algorithm: "RS512" }))
  ).pipe(Layer.provideMerge(BlazeServer.layer), Layer.provideMerge(BlazeTest.layerPlatform))

  it.effect("is not made where everything shall go encrypted, and says what key it takes", () =>
    Effect.gen(function* () {
      const made = yield* Effect.result(Effect.scoped(Layer.build(Blaze.layer))).pipe(
        Effect.provide(BlazeTest.layerTransport),
        Effect.provide(Settings.layer({ encryption: "Always" }))
      )
      assert.match(
        reasonOf(made),
        /Settings\.encryption must be InKind or Never, for the keystore has an RSA key.*Ed25519/
      )
    }).pipe(Effect.provide(layerRsa))
  )

  it.effect("reads nothing that is encrypted, and says once what is to be done", () => {
    const log = lines()
    return Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const alice = yield* server.user(bot, "alice")
      yield* server.setEncryption(bot, true)
      yield* alice.say("in plain, for there is no key")
      yield* alice.send("ENCRYPTED_TEXT", new Uint8Array(200))
      yield* alice.send("ENCRYPTED_TEXT", new Uint8Array(200))
      yield* Bot.run(
        Bot.match({
          Text: (it) => it.reply("ok"),
          Unknown: (it) => it.reply(it.message.reason),
          orElse: () => Effect.void
        })
      ).pipe(Effect.provide(Blaze.layer), Effect.provide(BlazeTest.layerTransport), Effect.forkChild)
      yield* pass(5)
      const said = yield* alice.reads
      assert.strictEqual(said[0], "ok")
      assert.match(said[1]!, /^it is encrypted, and the keystore has an RSA key.*Ed25519/)
      assert.deepStrictEqual(log.all.filter((line) => line.includes("RSA")).length, 1)
    }).pipe(Effect.provide(log.layer), Effect.provide(layerRsa))
  })
})
