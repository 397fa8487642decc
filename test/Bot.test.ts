import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  References,
  Schedule,
  Schema,
  Scope,
  Stream,
  SubscriptionRef
} from "effect"
import {
  Blaze,
  BlazeSocket,
  Bot,
  Delivery,
  Ids,
  Keyed,
  Message,
  Outgoing,
  Settings,
  State,
  Store,
  Telemetry,
  Users
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { client, clientWith, lines, pass, push, textOf } from "./support.ts"

// A kind that is misspelt must not fall to orElse, where its messages would be acknowledged unseen.
// @ts-expect-error
Bot.match({ Txt: () => Effect.void, orElse: () => Effect.void })

// The compiler says which kinds there are, all of them and no other.
type Misspelt = { readonly Txt: () => Effect.Effect<void>; readonly orElse: () => Effect.Effect<void> }
type Told = Parameters<typeof Bot.match<Misspelt>>[0]["Txt"]
type Split<Names> = Names extends `${infer First}, ${infer Rest}` ? First | Split<Rest> : Names
type Listed<Text> = Text extends `"Txt" is no kind of message. There are ${infer Names}, and orElse for the rest.`
  ? Split<Names>
  : never
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
type Sentence = Told extends Misspelt["Txt"] & (infer Sentence) ? Sentence : never
true satisfies Same<Listed<Sentence>, Message.Message["_tag"]>

// Beside something else a bot needs what it needs: `any` would be found missing when the program runs.
type IsAny<A> = 0 extends 1 & A ? true : false
const besides = Effect.all([Effect.never, Bot.run(() => Effect.void)])
false satisfies IsAny<Effect.Services<typeof besides>>
const lastWord = Bot.run(() => Effect.void, { onFailure: () => Effect.as(Users.Users, Delivery.Ack) })
true satisfies Same<Effect.Services<typeof lastWord>, Blaze.Blaze | Users.Users>

describe("Bot", () => {
  it.effect("gives each kind to its handler with a delivery of that kind, and the rest to orElse", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const bot2 = Bot.match({
        Text: (delivery) => delivery.reply(`text ${delivery.message.text}`),
        Contact: (delivery) => delivery.reply(Outgoing.contact(delivery.message.userId)),
        Location: (delivery) => delivery.reply(`${delivery.message.longitude}`),
        orElse: (delivery) => delivery.reply(`other ${delivery.message.category}`)
      })
      yield* Effect.forkChild(Bot.run(bot2))
      yield* alice.say("hi")
      yield* alice.send("PLAIN_CONTACT", JSON.stringify({ user_id: alice.userId }))
      yield* alice.send("PLAIN_LOCATION", '{"longitude":8.5,"latitude":47.4}')
      yield* alice.send("PLAIN_FUTURE", "?")
      yield* BlazeTest.settle
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ category, text }) => [category, text]),
        [
          ["PLAIN_TEXT", "text hi"],
          ["PLAIN_CONTACT", JSON.stringify({ user_id: alice.userId })],
          ["PLAIN_TEXT", "8.5"],
          ["PLAIN_TEXT", "other PLAIN_FUTURE"]
        ]
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  for (const [name, fails] of [
    ["fails", () => Effect.fail("no")],
    ["dies", () => Effect.die(new Error("no"))],
    [
      "throws",
      () => {
        throw new Error("no")
      }
    ],
    ["interrupts itself", () => Effect.interrupt]
  ] as const) {
    it.effect(`tries a handler three times that ${name}, then defers, and offers the message again`, () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const id = yield* alice.say("hi")
        const runs: Array<number> = []
        yield* Effect.forkChild(
          Bot.run(() =>
            Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<unknown, string> => {
              runs.push(now / 1000)
              return runs.length < 4 ? fails() : Effect.void
            })
          )
        )
        yield* pass(1)
        yield* pass(2)
        yield* pass(20)
        assert.deepStrictEqual([runs, yield* bot.pending], [[0, 1, 3], [id]])
        yield* pass(10)
        yield* pass(1)
        assert.deepStrictEqual([runs, yield* bot.pending], [[0, 1, 3, 33], []])
      }).pipe(Effect.provide(BlazeTest.layer))
    )
  }

  it.effect("offers a deferred message again by the schedule, redelivered or not, and never drops it", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      yield* alice.say("hi")
      const runs: Array<number> = []
      yield* Effect.forkChild(
        Bot.run(() =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            runs.push(now / 1000)
            return Delivery.Defer
          })
        )
      )
      yield* pass(1)
      yield* bot.cut // the server lists it again on the next connection: that changes nothing
      yield* pass(9)
      for (let count = 0; count < 20; count++) yield* pass(10)
      assert.strictEqual(yield* bot.handshakes, 2)
      assert.deepStrictEqual(runs, [0, 30, 90, 210])
      assert.strictEqual((yield* bot.pending).length, 1)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a deferred message gives up its place in the conversation", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const log: Array<string> = []
      yield* alice.say("one")
      yield* alice.say("two")
      yield* Effect.forkChild(
        Bot.run((delivery) =>
          Effect.sync(() => {
            log.push(textOf(delivery))
            return log.length === 1 ? Delivery.Defer : Delivery.Ack
          })
        )
      )
      yield* pass(30)
      yield* pass(1)
      assert.deepStrictEqual(log, ["one", "two", "one"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("what finds no room among the deferred comes back from the server with the next connection", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const log: Array<string> = []
      for (const text of ["one", "two", "three"]) yield* alice.say(text)
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.sync(() => {
              log.push(textOf(delivery))
              return log.length <= 3 ? Delivery.Defer : Delivery.Ack
            })
          )
        )
        yield* pass(40)
        assert.deepStrictEqual(log, ["one", "two", "three", "one"])
        yield* bot.cut
        yield* pass(5)
        assert.deepStrictEqual(log.slice(4), ["two", "three"])
      }).pipe(
        Effect.provide(
          client.pipe(
            Layer.provide(
              Settings.layer({ defer: Schedule.spaced("30 seconds"), deferredMessages: 1, deferredBytes: 1_000_000 })
            )
          )
        )
      )
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("a dead-letter store is an onFailure that stores and says Ack", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const stored: Array<string> = []
      const id = yield* alice.say("poison")
      yield* Effect.forkChild(
        Bot.run(() => Effect.fail("no"), {
          retry: Schedule.recurs(0),
          onFailure: (delivery, cause) =>
            Effect.sync(() => {
              stored.push(`${delivery.message.id} ${Cause.squash(cause)}`)
              return Delivery.Ack
            })
        })
      )
      yield* pass(1)
      assert.deepStrictEqual(stored, [`${id} no`])
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("gives a message up for what its last run says, and not for why one before had failed", () => {
    const log = lines()
    const Note = State.conversation("note", Schema.String)
    const store = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (memory) => {
        let isFirst = true
        return {
          ...memory,
          commit: (changes: ReadonlyArray<Store.Change>) => {
            if (!isFirst) return memory.commit(changes)
            isFirst = false
            return Effect.succeed(changes.map((): Store.Claim => "Changed"))
          }
        }
      })
    ).pipe(Layer.provide(Store.layerMemory))
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("hi")
      let runs = 0
      yield* Bot.run(() => (runs++ === 0 ? Effect.fail("no stock") : Effect.succeed(Delivery.GiveUp)), {
        retry: Schedule.recurs(0),
        onFailure: (delivery) => Effect.as(Effect.orDie(delivery.state(Note).set("x")), Delivery.Ack)
      }).pipe(Effect.provide(clientWith({ store })), Effect.forkChild)
      yield* pass(5)
      assert.strictEqual(runs, 2)
      assert.match(log.all.join(), /is given up: its handler says so\./)
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0), Effect.provide(log.layer))
  })

  it.effect("ends a try that takes longer than the timeout, and tries again", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      let runs = 0
      let interrupted = 0
      yield* alice.say("hi")
      yield* Effect.forkChild(
        Bot.run(
          () =>
            ++runs === 1
              ? Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => interrupted++)))
              : Effect.sleep("4 seconds"),
          { timeout: "5 seconds" }
        )
      )
      yield* pass(4)
      assert.deepStrictEqual([runs, interrupted], [1, 0])
      yield* pass(1)
      assert.deepStrictEqual([runs, interrupted], [1, 1])
      yield* pass(1)
      assert.strictEqual(runs, 2)
      yield* pass(4)
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect(
    "a try that takes longer than the timeout has failed with a TimeoutError, once, as retry and onFailure are told",
    () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const told: Array<unknown> = []
        yield* alice.say("hi")
        yield* Effect.forkChild(
          Bot.run(() => Effect.never, {
            timeout: "5 seconds",
            retry: Schedule.recurs(0),
            onFailure: (_, cause) => Effect.sync(() => (told.push(...cause.reasons), Delivery.Ack))
          })
        )
        for (let n = 0; n < 12; n++) yield* pass(1)
        assert.deepStrictEqual(told, [...Cause.fail(new Cause.TimeoutError("the handler took too long")).reasons])
        assert.deepStrictEqual(yield* bot.pending, [])
      }).pipe(Effect.provide(BlazeTest.layer))
  )

  for (const traced of [true, false]) {
    it.effect(
      `each try of a handler has ${traced ? "a span with its message's id when Traced is set" : "none otherwise"}`,
      () =>
        Effect.gen(function* () {
          const alice = yield* BlazeTest.user("alice")
          const spans: Array<Option.Option<readonly [string, unknown]>> = []
          const id = yield* alice.say("hi")
          yield* Bot.run(
            () =>
              Effect.flatMap(Effect.option(Effect.currentSpan), (span) => {
                spans.push(Option.map(span, ({ attributes, name }) => [name, attributes.get("messageId")] as const))
                return spans.length < 2 ? Effect.fail("no") : Effect.void
              }),
            { retry: Schedule.recurs(3) }
          ).pipe(Effect.provideService(Telemetry.Traced, traced), Effect.forkChild)
          yield* pass(2)
          const span = traced ? Option.some([Telemetry.span.handle, id] as const) : Option.none()
          assert.deepStrictEqual(spans, [span, span])
        }).pipe(Effect.provide(BlazeTest.layer))
    )
  }

  it.effect("warns once about a handler that has been running for a minute, and lets it run", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${String(message)}`))
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      yield* Effect.forkChild(Bot.run(() => Effect.sleep("3 minutes")))
      yield* pass(40)
      const id = yield* alice.say("hi")
      yield* pass(59)
      assert.deepStrictEqual(lines, [])
      yield* pass(2)
      yield* pass(60)
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0]!, new RegExp(`^Warn.*running for a minute.*${id}`))
      yield* pass(60)
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(Logger.layer([logger])))
  })

  it.effect("spends one fiber on a try, and none besides on a message", () =>
    Effect.gen(function* () {
      let started = 0
      const counting = Effect.provideService(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void started++,
        recordFiberEnd: () => {}
      })
      const alice = yield* BlazeTest.user("alice")
      const count = 500
      const fibers = (bot: Effect.Effect<void, unknown, Blaze.Blaze>, release: Effect.Effect<unknown> = Effect.void) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(counting(bot))
          yield* BlazeTest.settle
          started = 0
          for (let n = 0; n < count; n++) yield* alice.say("hi")
          yield* release
          yield* BlazeTest.settle
          const begun = started
          yield* Fiber.interrupt(fiber)
          return begun
        })
      const isOneEach = (begun: number) => {
        assert.isAtLeast(begun, count)
        assert.isBelow(begun, count + 10)
      }
      isOneEach(yield* fibers(Bot.run(() => Effect.void)))
      isOneEach(yield* fibers(Bot.run(() => Effect.void, { timeout: "1 second" })))
      const held = yield* Deferred.make<void>()
      isOneEach(
        yield* fibers(
          Bot.run(() => Deferred.await(held)),
          Deferred.succeed(held, undefined)
        )
      )
      const blaze = yield* Blaze.Blaze
      const pipeline = blaze.deliveries.pipe(Stream.runForEach((delivery) => delivery.ack))
      assert.isBelow(yield* fibers(pipeline), 10)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a frame that stays bad is passed over after three connections, and what follows it is handled", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      yield* BlazeTest.settle
      // The first message of every listing is damaged, for ever.
      yield* server.inject({ _tag: "CorruptPush" }, 4)
      const poison = yield* alice.say("poison")
      for (let step = 0; step < 3; step++) yield* pass(5)
      const seen: Array<string> = []
      yield* Effect.forkChild(Bot.run((delivery) => Effect.sync(() => seen.push(textOf(delivery)))))
      yield* alice.say("good")
      yield* pass(1)
      assert.deepStrictEqual(seen, ["good"])
      assert.deepStrictEqual(yield* bot.pending, [poison])
      assert.strictEqual(yield* bot.handshakes, 4)
      const status = yield* SubscriptionRef.get(blaze.status)
      assert(status._tag === "Connected")
      assert.strictEqual(status.badFrames, 1)
      // Something new was handed out, so patience begins anew.
      yield* server.inject({ _tag: "CorruptPush" })
      yield* bot.cut
      for (let minute = 0; minute < 3; minute++) yield* pass(60)
      assert.deepStrictEqual(seen, ["good", "poison"])
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("ends within its time though thousands of acknowledgements cannot be sent", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      yield* server.inject({ _tag: "FailRest", status: 500, body: "" }, Infinity)
      for (let n = 0; n < 11_000; n++) yield* alice.say("hi")
      const fiber = yield* Effect.forkChild(Bot.run(() => Effect.void))
      for (let second = 0; second < 5; second++) yield* pass(1)
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("an onFailure that throws defers its message and ends nothing", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const id = yield* alice.say("first")
      yield* alice.say("second")
      yield* Effect.forkChild(
        Bot.run((delivery) => (textOf(delivery) === "first" ? Effect.fail("no") : Effect.void), {
          retry: Schedule.recurs(0),
          onFailure: () => {
            throw new Error("boom")
          }
        })
      )
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [id])
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("asks the server for what found no room among the deferred, though the connection never ends", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const runs = new Map<string, number>()
      yield* Effect.gen(function* () {
        for (const text of ["one", "two", "three"]) yield* alice.say(text)
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.sync(() => {
              const count = (runs.get(textOf(delivery)) ?? 0) + 1
              runs.set(textOf(delivery), count)
              return count === 1 ? Delivery.Defer : Delivery.Ack
            })
          )
        )
        for (let minute = 0; minute < 25; minute++) yield* pass(60)
        assert.deepStrictEqual([...runs.values()], [2, 2, 2])
        assert.deepStrictEqual(yield* bot.pending, [])
        assert.strictEqual(yield* bot.handshakes, 1)
      }).pipe(
        Effect.provide(
          client.pipe(
            Layer.provide(
              Settings.layer({ defer: Schedule.spaced("1 minute"), deferredMessages: 1, deferredBytes: 1_000_000 })
            )
          )
        )
      )
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("a handler that stops for 10 minutes loses nothing, over a connection that ends meanwhile", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const seen: Array<string> = []
      const texts = Array.from({ length: 3000 }, (_, n) => `${n}`)
      const small = client.pipe(Layer.provide(Settings.layer({ inboxMessages: 100, inboxBytes: 1_000_000 })))
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(
          Bot.run(
            (delivery) =>
              Effect.suspend(() => (seen.push(textOf(delivery)) === 1 ? Effect.sleep("10 minutes") : Effect.void)),
            { inFlight: { messages: 50, bytes: 1_000_000 } }
          )
        )
        for (const text of texts) yield* alice.say(text)
        for (let minute = 0; minute < 5; minute++) yield* pass(60)
        yield* bot.close(1001)
        for (let minute = 0; minute < 4; minute++) yield* pass(60)
        assert.strictEqual(seen.length, 1)
        for (let minute = 0; minute < 3; minute++) yield* pass(60)
        assert.deepStrictEqual(seen, texts)
        assert.deepStrictEqual(yield* bot.pending, [])
      }).pipe(Effect.provide(small))
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("a handler that defers or acknowledges by itself has decided", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const deferred = yield* alice.say("later")
      const acknowledged = yield* alice.say("now")
      yield* Effect.forkChild(
        Bot.run((delivery) => (textOf(delivery) === "later" ? delivery.defer : Effect.as(delivery.ack, Delivery.Defer)))
      )
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.acknowledged, [[acknowledged]])
      assert.deepStrictEqual(yield* bot.pending, [deferred])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a consumer begins with what the one before it left, in order, and nothing is lost in between", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const first = yield* Effect.forkChild(Bot.run(() => Effect.never))
      for (const text of ["1", "2", "3"]) yield* alice.say(text)
      yield* BlazeTest.settle
      yield* alice.say("4")
      yield* Fiber.interrupt(first)
      yield* alice.say("5")
      const seen: Array<string> = []
      yield* Effect.forkChild(Bot.run((delivery) => Effect.sync(() => seen.push(textOf(delivery)))))
      yield* pass(1)
      // The first was running when its bot was interrupted, which settles nothing: it is still the first.
      assert.deepStrictEqual(seen, ["1", "2", "3", "4", "5"])
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [])
      assert.strictEqual(yield* bot.handshakes, 1)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect(
    "reads what is sound of a view with fields of the wrong type, and acknowledges it by its id as it is written",
    () =>
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const seen: Array<string> = []
        yield* Effect.forkChild(
          Bot.run(({ message }) =>
            Effect.sync(() => seen.push(`${message._tag} ${message.category} ${message.createdAt}`))
          )
        )
        yield* BlazeTest.settle
        const data = {
          message_id: crypto.randomUUID().toUpperCase() as Ids.MessageId,
          category: "PLAIN_TEXT",
          data: "aGk=",
          silent: 0,
          created_at: 5
        }
        yield* push(bot, data)
        for (const worthless of [{}, { message_id: 7 }, { message_id: "" }, 7, "x", []]) yield* push(bot, worthless)
        yield* pass(1)
        assert.deepStrictEqual(seen, ["Text PLAIN_TEXT "])
        assert.deepStrictEqual((yield* bot.acknowledged).flat(), [data.message_id])
        assert.strictEqual(yield* bot.handshakes, 1)
      }).pipe(Effect.provide(BlazeTest.layer))
  )

  for (const [name, fault] of [
    ["an ERROR frame with a code that is not fatal", { _tag: "ErrorFrame", code: 503 }],
    ["an unknown code", { _tag: "ErrorFrame", code: 99_999 }],
    ["a listing that is refused", { _tag: "FailRequest", action: "LIST_PENDING_MESSAGES", code: 403 }]
  ] as const) {
    it.effect(`comes back after ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const bot = yield* BlazeTest.Account
        yield* Effect.forkChild(Bot.run(() => Effect.void))
        yield* BlazeTest.settle
        yield* server.inject(fault)
        yield* bot.cut
        for (let minute = 0; minute < 3; minute++) yield* pass(60)
        assert.strictEqual(yield* bot.connections, 1)
      }).pipe(Effect.provide(BlazeTest.layer))
    )
  }

  it.effect("a defect while dialling ends the bot instead of leaving it waiting", () =>
    Effect.gen(function* () {
      const broken = Blaze.layer.pipe(
        Layer.provide(Layer.succeed(BlazeSocket.Dialer, { dial: () => Effect.die(new Error("broken")) })),
        Layer.provide(BlazeTest.layerTransport),
        Layer.provide(BlazeTest.layerPlatform)
      )
      const error = yield* Effect.flip(Bot.run(() => Effect.void)).pipe(Effect.provide(broken))
      assert.strictEqual(error.reason._tag, "Closed")
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("logs by id the handlers that miss the grace, and a drain that misses its time", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      const fiber = yield* Effect.forkChild(Bot.run(() => Effect.never))
      const id = yield* alice.say("hi")
      yield* BlazeTest.settle
      const drained = yield* Effect.forkChild(blaze.drain)
      yield* pass(30)
      yield* Fiber.join(drained)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(lines.length, 2)
      assert.match(lines[0]!, new RegExp(`time to drain was over.*${id}`))
      assert.match(lines[1]!, new RegExp(`were interrupted.*${id}`))
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(Logger.layer([logger])))
  })

  it.effect("a send during an outage fails in the end, with the typed reason", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, Infinity)
      const alice = yield* BlazeTest.user("alice")
      const error = yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const fiber = yield* Effect.forkChild(Effect.flip(blaze.send({ user: alice.userId }, "hi")))
        for (let step = 0; step < 30; step++) yield* pass(10)
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(client))
      assert(error.reason._tag === "Timeout")
      assert.include(error.message, "waiting for a connection")
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("a request that cannot be written is the caller's defect and leaves nothing behind", () =>
    Effect.gen(function* () {
      const blaze = yield* Blaze.Blaze
      yield* BlazeTest.settle
      const exit = yield* Effect.exit(blaze.request("ANYTHING", { amount: 1n }))
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.isUndefined(yield* blaze.request("LIST_PENDING_MESSAGES", {}))
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("works on one conversation in order and on many at once", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      const log: Array<string> = []
      yield* Effect.forkChild(
        Bot.run((delivery) =>
          Effect.gen(function* () {
            log.push(`start ${textOf(delivery)}`)
            yield* Effect.sleep("1 second")
            log.push(`end ${textOf(delivery)}`)
          })
        )
      )
      for (const text of ["a1", "a2"]) yield* alice.say(text)
      for (const text of ["b1", "b2"]) yield* bob.say(text)
      yield* BlazeTest.settle
      assert.deepStrictEqual(log, ["start a1", "start b1"])
      yield* TestClock.adjust("1 second")
      yield* BlazeTest.settle
      assert.deepStrictEqual(log.slice(2), ["end a1", "start a2", "end b1", "start b2"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("does not run a message beside itself that is redelivered while its handler runs", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const gate = yield* Deferred.make<void>()
      let runs = 0
      yield* Effect.forkChild(
        Bot.run(() =>
          Effect.andThen(
            Effect.sync(() => runs++),
            Deferred.await(gate)
          )
        )
      )
      const id = yield* alice.say("hi")
      yield* BlazeTest.settle
      for (let times = 0; times < 3; times++) {
        yield* bot.cut
        yield* BlazeTest.settle
        yield* TestClock.adjust("8 seconds")
        yield* BlazeTest.settle
      }
      assert.strictEqual((yield* bot.requests).length, 4)
      assert.strictEqual(runs, 1)
      yield* Deferred.succeed(gate, undefined)
      yield* BlazeTest.settle
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("acknowledges a handled message again that is redelivered, and does not handle it again", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      let runs = 0
      yield* Effect.forkChild(Bot.run(() => Effect.sync(() => runs++)))
      const id = yield* alice.say("hi")
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
      // The server has lost the acknowledgement and pushes the message once more.
      const data = {
        message_id: id,
        conversation_id: alice.conversationId,
        user_id: alice.userId,
        category: "PLAIN_TEXT"
      }
      yield* push(bot, data)
      yield* pass(1)
      assert.deepStrictEqual([runs, yield* bot.acknowledged], [1, [[id], [id]]])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("answers once: retries, repetitions and a second run after a crash give the same ids", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      const bot = yield* BlazeTest.Account
      yield* bob.addBot
      yield* alice.say("order")
      const traces: Array<string> = []
      const handler = (delivery: Delivery.Delivery) =>
        Effect.gen(function* () {
          if (textOf(delivery) !== "order") return
          yield* delivery.reply("done")
          yield* delivery.reply("done")
          yield* delivery.reply("done", { key: "again" })
          yield* delivery.reply(`a clock says ${traces.length}`, { key: "clock" })
          yield* delivery.send({ user: bob.userId }, "done")
          traces.push(yield* delivery.derive("transfer"), yield* delivery.derive("refund"))
          return Delivery.Defer // as if it had crashed before the acknowledgement
        })
      for (let life = 0; life < 2; life++) {
        const fiber = yield* Effect.forkChild(
          Bot.run(handler).pipe(Effect.provideService(Keyed.Grace, 0), Effect.provide(client, { local: true }))
        )
        yield* BlazeTest.settle
        yield* Fiber.interrupt(fiber)
      }
      assert.deepStrictEqual(yield* alice.reads, ["done", "done", "a clock says 0"])
      assert.deepStrictEqual(yield* bob.reads, ["done"])
      assert.strictEqual(traces.length, 4)
      assert.deepStrictEqual(traces.slice(0, 2), traces.slice(2))
      assert.strictEqual(new Set(traces).size, 2)
      assert.strictEqual(yield* bot.handshakes, 2)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("acknowledges 100 at once, and the rest after a second", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      yield* BlazeTest.settle
      for (let count = 0; count < 130; count++) yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.deepStrictEqual(
        (yield* BlazeTest.acknowledged).map((ids) => ids.length),
        [100]
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual((yield* BlazeTest.acknowledged).length, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(
        (yield* BlazeTest.acknowledged).map((ids) => ids.length),
        [100, 30]
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("flushes the acknowledgements when the scope closes", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(client, scope)
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run(() => Effect.void),
          context
        )
      )
      const id = yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* bot.acknowledged, [])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
      assert.deepStrictEqual(yield* bot.closeCodes, [1000])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("drains: the pipeline ends after what it has, and everything is acknowledged", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const blaze = yield* Blaze.Blaze
      const fiber = yield* blaze.deliveries.pipe(
        Delivery.filter(Message.isText),
        Keyed.mapEffect(
          Delivery.handle(() => Effect.sleep("1 second")),
          { key: ({ message }) => message.conversationId, concurrency: 8 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      const ids = [yield* alice.say("one"), yield* alice.send("PLAIN_FUTURE", ""), yield* alice.say("two")]
      yield* BlazeTest.settle
      const drained = yield* Effect.forkChild(blaze.drain)
      yield* BlazeTest.settle
      const late = yield* alice.say("late")
      yield* TestClock.adjust("1 second")
      yield* BlazeTest.settle
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(drained)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
      assert.deepStrictEqual((yield* bot.acknowledged).flat().toSorted(), ids.toSorted())
      assert.deepStrictEqual(yield* bot.pending, [late])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("runs in the background of a larger application, with its services", () =>
    Effect.gen(function* () {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      const alice = yield* BlazeTest.user("alice")
      const greet = Bot.layer((delivery) => Effect.flatMap(Greeting, (greeting) => delivery.reply(greeting)))
      yield* Effect.gen(function* () {
        yield* alice.say("hi")
        yield* BlazeTest.settle
        assert.deepStrictEqual(yield* alice.reads, ["welcome"])
        const blaze = yield* Blaze.Blaze
        yield* blaze.send({ user: alice.userId }, "your order has shipped")
        yield* blaze.send({ conversation: alice.conversationId }, "and arrived")
      }).pipe(Effect.provide(greet.pipe(Layer.provideMerge(client), Layer.provide(Layer.succeed(Greeting, "welcome")))))
      assert.deepStrictEqual(yield* alice.reads, ["welcome", "your order has shipped", "and arrived"])
    }).pipe(Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("fails a send at once that the server will never take", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      yield* alice.block
      const refused = yield* Effect.flip(blaze.send({ user: alice.userId }, "unasked"))
      assert(refused.reason._tag === "ApiFailure" && refused.reason.code === 403)
      const invalid = yield* Effect.flip(blaze.send({ user: alice.userId }, ""))
      assert.strictEqual(invalid.reason._tag, "InvalidContent")
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("tells the age of a message, and whether it was waiting", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("old")
      yield* TestClock.adjust("1 minute")
      const found: Array<readonly [boolean, number]> = []
      yield* Effect.gen(function* () {
        yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.map(delivery.age, (age) => found.push([delivery.message.fromBacklog, Duration.toSeconds(age)]))
          )
        )
        yield* BlazeTest.settle
        yield* alice.say("new")
        yield* BlazeTest.settle
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(found, [
        [true, 60],
        [false, 0]
      ])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("quotes, and tells what was quoted", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      yield* Effect.forkChild(
        Bot.run((delivery) => delivery.reply(Outgoing.text("this", { quote: delivery.message.id })))
      )
      const id = yield* alice.say("which?")
      yield* BlazeTest.settle
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ quotedMessageId }) => quotedMessageId),
        [Option.some(id)]
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})
