// What an attack on the encryption of messages found, and has been mended since.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Result, Scope, Stream } from "effect"
import {
  Blaze,
  BlazeError,
  Broadcast,
  Button,
  Delivery,
  type Endpoint,
  type Ids,
  Message,
  MixinApi,
  Outgoing,
  Sender,
  Settings
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { pass } from "./support.ts"

type Ask = MixinApi.MixinApi["Service"]["request"]

/** A bot in memory, whose requests are noted and may be answered otherwise. */
const bot = (
  settings: Partial<Settings.Settings>,
  asked: Array<string> = [],
  answer: (
    path: string,
    asked: Effect.Effect<unknown, BlazeError.BlazeError>
  ) => Effect.Effect<unknown, BlazeError.BlazeError> = (_path, asked) => asked
) => {
  const api = Effect.map(MixinApi.MixinApi, (api) => ({
    ...api,
    request: ((endpoint: Endpoint.Endpoint, input: never) => {
      asked.push(endpoint.path)
      return answer(endpoint.path, (api.request as (...args: ReadonlyArray<unknown>) => never)(endpoint, input))
    }) as Ask
  }))
  return Blaze.layer.pipe(
    Layer.provide(Layer.effect(MixinApi.MixinApi, api)),
    Layer.provide([BlazeTest.layerTransport, BlazeTest.layerPlatform]),
    Layer.provide(Settings.layer({ encryption: "Always", flushTimeout: 0, ...settings }))
  )
}

const people = Effect.fnUntraced(function* (count: number) {
  const server = yield* BlazeServer.BlazeServer
  const account = yield* BlazeTest.Account
  const names = Array.from({ length: count }, (_, n) => `person ${n}`)
  const all = yield* Effect.forEach(names, (name) => server.user(account, name))
  yield* Effect.forEach(all, ({ addBot }) => addBot)
  return all
})

const kinds = (person: BlazeServer.Person) =>
  Effect.map(person.received, (received) => received.map(({ category }) => category))

const refusal = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
  Result.isFailure(result) ? result.failure.message : "sent"

const announce = (users: ReadonlyArray<Ids.UserId>) =>
  Stream.fromIterable(users).pipe(
    Broadcast.sendAll(() => "the sale begins", { key: "sale" }),
    Stream.runCollect
  )

const apiFailure = (code: number) => Effect.fail(BlazeError.fromApi({ code, status: 202, description: "no" }))

const batch = Effect.fnUntraced(function* (contents: ReadonlyArray<readonly [BlazeServer.Person, Outgoing.Content]>) {
  const sender = yield* Sender.Sender
  const messages = yield* Effect.forEach(contents, ([{ userId }, content], n) =>
    Effect.map(sender.derive(String(n)), (id) => ({ to: { user: userId }, content, id }))
  )
  return yield* Effect.result(sender.sendBatch(messages))
})

const buttons = Outgoing.buttons([Button.say("Yes", "yes")])

describe("an announcement that goes encrypted", () => {
  it.effect("is refused for whom it cannot be encrypted for, and sent to all others", () =>
    Effect.gen(function* () {
      const all = yield* people(5)
      yield* all[2]!.changePhone({ hasKey: false })
      const outcomes = yield* Effect.provide(announce(all.map(({ userId }) => userId)), bot({}))
      const refused = outcomes.filter(({ _tag }) => _tag === "Refused")
      assert.deepStrictEqual(
        refused.map(({ userId }) => userId),
        [all[2]!.userId]
      )
      assert.deepStrictEqual(yield* Effect.forEach(all, kinds), [
        ["ENCRYPTED_TEXT"],
        ["ENCRYPTED_TEXT"],
        [],
        ["ENCRYPTED_TEXT"],
        ["ENCRYPTED_TEXT"]
      ])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect(
    "asks for the sessions of a hundred people at once, and takes nothing from them for an id that is none",
    () =>
      Effect.gen(function* () {
        const all = yield* people(100)
        const asked: Array<string> = []
        const nonsense = "nonsense" as Ids.UserId
        const ids = [...all.map(({ userId }, n) => (n === 7 ? (userId.toUpperCase() as Ids.UserId) : userId)), nonsense]
        const outcomes = yield* Effect.provide(announce(ids), bot({}, asked))
        assert.deepStrictEqual(
          outcomes.filter(({ _tag }) => _tag === "Refused").map(({ userId }) => userId),
          [nonsense]
        )
        assert.strictEqual(asked.filter((path) => path === "/sessions/fetch").length, 1)
        assert.isTrue((yield* Effect.forEach(all, kinds)).every((received) => received.join() === "ENCRYPTED_TEXT"))
      }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})

describe("a batch that goes encrypted", () => {
  it.effect("keeps its order, with what Mixin does not encrypt in it", () =>
    Effect.gen(function* () {
      const [alice] = yield* people(1)
      const contents = ["choose:", buttons, "or not", buttons].map((content) => [alice!, content] as const)
      assert.strictEqual(refusal(yield* Effect.provide(batch(contents), bot({}))), "sent")
      assert.deepStrictEqual(yield* kinds(alice!), [
        "ENCRYPTED_TEXT",
        "APP_BUTTON_GROUP",
        "ENCRYPTED_TEXT",
        "APP_BUTTON_GROUP"
      ])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("is not begun when a part of it cannot be encrypted", () =>
    Effect.gen(function* () {
      const [alice, bob] = yield* people(2)
      yield* bob!.changePhone({ hasKey: false })
      const contents = [
        [alice!, buttons],
        [bob!, "text"],
        [alice!, "text"]
      ] as const
      assert.match(
        refusal(yield* Effect.provide(batch(contents), bot({}))),
        /has no key to encrypt for\. It was not sent/
      )
      assert.deepStrictEqual(yield* Effect.forEach([alice!, bob!], kinds), [[], []])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})

describe("what is sent encrypted", () => {
  for (const encryptionRequired of [true, false]) {
    it.effect(
      `${encryptionRequired ? "is not sent" : "goes in plain"} when the server has refused its sessions twice`,
      () =>
        Effect.gen(function* () {
          const [alice] = yield* people(1)
          const layer = bot({ encryptionRequired }, [], (path, asked) =>
            path === "/encrypted_messages" ? apiFailure(20140) : asked
          )
          const sent = yield* Effect.flatMap(Blaze.Blaze, ({ send }) =>
            Effect.result(send({ user: alice!.userId }, "hi"))
          ).pipe(Effect.provide(layer))
          assert.match(refusal(sent), encryptionRequired ? /^Cannot encrypt this: .*other apps by now/ : /^sent$/)
          assert.deepStrictEqual(yield* kinds(alice!), encryptionRequired ? [] : ["PLAIN_TEXT"])
        }).pipe(Effect.provide(BlazeTest.layerServer))
    )
  }

  it.effect("is within the quota when it is sent once more", () =>
    Effect.gen(function* () {
      const [alice] = yield* people(1)
      const asked: Array<string> = []
      const sending = Effect.gen(function* () {
        const { send } = yield* Blaze.Blaze
        for (let n = 0; n < 4; n++) {
          yield* alice!.changePhone()
          yield* send({ user: alice!.userId }, `message ${n}`)
        }
      }).pipe(Effect.provide(bot({ quotaMessages: 5, quotaWindow: "1 hour", answerShare: 0 }, asked)))
      yield* Effect.forkChild(sending)
      yield* pass(5)
      assert.strictEqual(asked.filter((path) => path === "/encrypted_messages").length, 5)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.live("is not sent by a bot that has ended", () =>
    Effect.gen(function* () {
      const [alice] = yield* people(1)
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(bot({}), scope)
      const { send } = yield* Effect.provideContext(Blaze.Blaze, context)
      yield* send({ user: alice!.userId }, "while it runs")
      yield* Scope.close(scope, Exit.void)
      assert.match(refusal(yield* Effect.result(send({ user: alice!.userId }, "hi"))), /shutting down/)
      assert.deepStrictEqual(yield* kinds(alice!), ["ENCRYPTED_TEXT"])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})

describe("what comes encrypted", () => {
  const say = Effect.fnUntraced(function* (count: number) {
    const server = yield* BlazeServer.BlazeServer
    const account = yield* BlazeTest.Account
    const alice = yield* server.user(account, "alice")
    yield* server.setEncryption(account, true)
    for (let n = 0; n < count; n++) yield* alice.send("ENCRYPTED_TEXT", Uint8Array.of(n))
    return account
  })

  it.effect("and was left by one consumer may be acknowledged while the next one waits for it", () =>
    Effect.gen(function* () {
      const account = yield* say(300)
      const { deliveries } = yield* Blaze.Blaze
      const kept: Array<Delivery.Delivery> = []
      const first = yield* Effect.forkChild(
        Stream.runForEach(deliveries, (delivery) => Effect.sync(() => kept.push(delivery)))
      )
      yield* pass(1)
      yield* Fiber.interrupt(first)
      assert.strictEqual(kept.length, 300)
      const second = yield* Effect.forkChild(
        Effect.exit(
          Stream.runForEach(
            deliveries,
            Delivery.handle(() => Effect.void)
          )
        )
      )
      yield* Effect.forEach(kept.toReversed(), (delivery) => Effect.andThen(delivery.ack, Effect.yieldNow))
      yield* pass(5)
      assert.isUndefined(second.pollUnsafe())
      assert.deepStrictEqual(yield* account.pending, [])
    }).pipe(Effect.provide(bot({})), Effect.provide(BlazeTest.layerServer))
  )

  it.live("is handed out though the pull that brings it is cut short again and again", () =>
    Effect.gen(function* () {
      const account = yield* say(1000)
      const { deliveries } = yield* Blaze.Blaze
      const pull = yield* Stream.toPull(deliveries.pipe(Stream.mapEffect(Delivery.handle(() => Effect.void))))
      yield* Effect.forkChild(Effect.forever(Effect.timeoutOption(pull, "5 millis")))
      yield* Effect.repeat(Effect.andThen(Effect.sleep("10 millis"), account.pending), {
        until: (pending) => pending.length === 0
      })
    }).pipe(Effect.provide(bot({})), Effect.provide(BlazeTest.layerServer), Effect.scoped)
  )

  it("has bytes of its own for whoever reads it, and is the same to the next", () => {
    const sealed = Message.fromView({
      message_id: "928c5c40-769c-3e97-8387-fb1ae0645311",
      category: "ENCRYPTED_TEXT",
      data: "AQ=="
    })
    const message = Message.decrypted(sealed, Result.succeed(new TextEncoder().encode("plain")))
    message.bytes.fill(42)
    assert(Message.isText(message))
    assert.strictEqual(message.text, "plain")
  })

  it.effect("is read from the one of its two fields that is sound", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const account = yield* BlazeTest.Account
      const alice = yield* server.user(account, "alice")
      yield* server.setEncryption(account, true)
      yield* alice.say("hi")
      const { deliveries } = yield* Blaze.Blaze
      const [first] = yield* Stream.runCollect(Stream.take(deliveries, 1))
      const { view } = first!.message
      assert.isTrue(first!.message.isEncrypted)
      yield* server.notify(account, {
        conversationId: alice.conversationId,
        category: "ENCRYPTED_TEXT",
        payload: Buffer.from(view.data!, "base64"),
        userId: alice.userId
      })
      const [second] = yield* Stream.runCollect(Stream.take(deliveries, 1))
      assert(Message.isText(second!.message))
      assert.strictEqual(second!.message.text, "hi")
      assert.isTrue(Option.isNone(second!.message.quotedMessageId))
    }).pipe(Effect.provide(bot({})), Effect.provide(BlazeTest.layerServer))
  )
})
