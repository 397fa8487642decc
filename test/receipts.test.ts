// Receipts: waited for, and asked for again after a connection was lost.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Schedule, Scope, Stream } from "effect"
import { Blaze, BlazeError, Bot, Ids, MixinApi, Outgoing, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { lines } from "./support.ts"
import * as Nanoseconds from "../src/internal/Nanoseconds.ts"
import * as Receipts from "../src/internal/Receipts.ts"

const layer = BlazeTest.layer.pipe(
  Layer.provide(Settings.layer({ reconnect: Schedule.spaced("10 seconds"), stableAfter: "1 minute" }))
)

const scene = Effect.gen(function* () {
  const alice = yield* BlazeTest.user("alice")
  yield* alice.addBot
  return {
    alice,
    bot: yield* BlazeTest.Account,
    blaze: yield* Blaze.Blaze,
    server: yield* BlazeServer.BlazeServer,
    to: { user: alice.userId }
  }
})

const id = Ids.MessageId.make("7b6a1d0e-2f3c-4c5d-8e9f-0a1b2c3d4e5f")

const isDone = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.andThen(
    BlazeTest.pass("1 second"),
    Effect.sync(() => fiber.pollUnsafe() !== undefined)
  )

describe("a send that waits for a receipt", () => {
  it.effect("waits until the message is on the phone, or was read, and gives its id", () =>
    Effect.gen(function* () {
      const { alice, blaze, to } = yield* scene
      yield* alice.turnOff
      const delivered = yield* Effect.forkChild(blaze.send(to, "one", { until: "delivered" }))
      const read = yield* Effect.forkChild(blaze.send(to, "two", { until: "read" }))
      assert.deepStrictEqual([yield* isDone(delivered), yield* isDone(read)], [false, false])
      yield* alice.turnOn
      assert.deepStrictEqual([yield* isDone(delivered), yield* isDone(read)], [true, false])
      yield* alice.reads
      assert.isTrue(yield* isDone(read))
      const ids = (yield* alice.received).map(({ messageId }) => messageId)
      assert.deepStrictEqual(ids, [yield* Fiber.join(delivered), yield* Fiber.join(read)])
    }).pipe(Effect.provide(layer))
  )

  it.effect("is not kept waiting by a receipt that comes before the answer", () =>
    Effect.gen(function* () {
      const { alice, blaze, server, to } = yield* scene
      yield* BlazeTest.settle
      yield* server.inject({ _tag: "DelayAnswer", by: "3 seconds" })
      const sending = yield* Effect.forkChild(blaze.send(to, "one", { until: "read" }))
      yield* BlazeTest.pass("1 second")
      yield* alice.reads
      yield* BlazeTest.pass("3 seconds")
      assert.isTrue(yield* isDone(sending))
    }).pipe(Effect.provide(layer))
  )

  it.effect("is at its end at once for a message that has had it before", () =>
    Effect.gen(function* () {
      const { alice, blaze, to } = yield* scene
      const id = yield* blaze.derive("once")
      const read = yield* Effect.forkChild(blaze.send(to, "one", { id, until: "read" }))
      yield* BlazeTest.settle
      yield* alice.reads
      yield* Fiber.join(read)
      for (const until of ["read", "delivered"] as const) {
        const again = yield* Effect.forkChild(blaze.send(to, "one", { id, until }))
        assert.isTrue(yield* isDone(again))
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("takes what was read for delivered, and the parts of a text each for itself", () =>
    Effect.gen(function* () {
      const { alice, blaze, to } = yield* scene
      const id = yield* blaze.derive("long")
      const parts = Outgoing.split("one two", { maximumLength: 4 })
      yield* Effect.forEach(parts, (part) => blaze.send(to, part, { id, until: "delivered" }))
      assert.deepStrictEqual(yield* alice.reads, ["one", "two"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("fails when the bot stops, and when it cannot be sent", () =>
    Effect.gen(function* () {
      const { blaze, bot, server, to } = yield* scene
      const sending = yield* Effect.forkChild(Effect.flip(blaze.send(to, "one", { until: "read" })))
      yield* BlazeTest.pass("1 second")
      assert.match(String(yield* Effect.flip(blaze.send(to, "", { until: "read" }))), /the text must be/)
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, 3)
      yield* bot.cut
      yield* BlazeTest.pass("1 minute")
      const failure = yield* Fiber.join(sending)
      assert.strictEqual(failure.reason._tag, "Unauthorized")
    }).pipe(Effect.provide(layer))
  )

  it.effect("says that the message was sent, when the bot ends", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      const bot = Blaze.layer.pipe(
        Layer.provide(BlazeTest.layerTransport),
        Layer.provide(BlazeTest.layerPlatform),
        Layer.provide(Settings.layer({ flushTimeout: 0 }))
      )
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(bot, scope)
      const { send } = Context.get(context, Blaze.Blaze)
      const sending = yield* Effect.forkChild(Effect.flip(send({ user: alice.userId }, "one", { until: "read" })))
      yield* BlazeTest.settle
      yield* Scope.close(scope, Exit.void)
      assert.match(String(yield* Fiber.join(sending)), /waiting for a receipt of a message that was sent/)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  const counting = Effect.gen(function* () {
    let waiting = 0
    const receipts = yield* Effect.provideService(
      Receipts.make({ urgent: Effect.void, waitBehind: (more) => void (waiting += more) }),
      MixinApi.MixinApi,
      MixinApi.MixinApi.of({ request: () => Effect.die("no request") } as never)
    )
    return { receipts, waiting: () => waiting }
  })

  it.effect("hears of a receipt that comes in one read with the answer", () =>
    Effect.gen(function* () {
      const { receipts, waiting } = yield* counting
      const sent = Receipts.awaited(receipts.expect, "READ", (begin) =>
        Effect.sync(() => {
          begin(id)
          receipts.publish([{ message_id: id.toUpperCase(), status: "READ" }])
          return id
        })
      )
      assert.strictEqual(yield* sent, id)
      assert.strictEqual(waiting(), 0)
    })
  )

  it.effect("that nobody waits for any more keeps nothing, and waits behind no message", () =>
    Effect.gen(function* () {
      const { receipts, waiting } = yield* counting
      const sent = Receipts.awaited(receipts.expect, "READ", (begin) =>
        Effect.sync(() => {
          begin(id)
          return id
        })
      )
      const sending = yield* Effect.forkChild(sent, { startImmediately: true })
      const both = [receipts.expect(id, "READ"), receipts.expect(id, "DELIVERED")] as const
      assert.strictEqual(waiting(), 3)
      yield* Fiber.interrupt(sending)
      assert.strictEqual(waiting(), 2)
      receipts.publish([{ message_id: id, status: "READ" }])
      // What was read has been delivered.
      for (const { arrived } of both) yield* arrived
      for (const { end } of both) end()
      assert.strictEqual(waiting(), 0)
    })
  )

  it.effect("is answered by a receipt of the time without a connection", () =>
    Effect.gen(function* () {
      const { alice, blaze, bot, server, to } = yield* scene
      const sending = yield* Effect.forkChild(blaze.send(to, "one", { until: "read" }))
      yield* BlazeTest.pass("1 second")
      yield* bot.cut
      yield* alice.reads
      assert.isFalse(yield* isDone(sending))
      // Asked for until there is an answer.
      yield* server.inject({ _tag: "FailRest", status: 500, body: "" }, 2)
      yield* BlazeTest.pass("20 seconds")
      assert.isTrue(yield* isDone(sending))
    }).pipe(Effect.provide(layer))
  )

  it.effect("of a handler is answered though the inbox is full", () =>
    Effect.gen(function* () {
      const { alice, to } = yield* scene
      const done: Array<string> = []
      yield* Effect.forkChild(
        Bot.run(
          (it) =>
            Effect.gen(function* () {
              const blaze = yield* Blaze.Blaze
              yield* blaze.send(to, it.message.id, { until: "read" })
              done.push(it.message.id)
            }),
          { concurrency: 1, inFlight: { messages: 1, bytes: 1_000_000 } }
        )
      )
      yield* BlazeTest.pass("1 second")
      for (let n = 0; n < 20; n++) yield* alice.say("more")
      for (let n = 0; n < 21; n++) {
        yield* BlazeTest.pass("1 second")
        yield* alice.reads
      }
      yield* BlazeTest.pass("1 second")
      assert.strictEqual(done.length, 21)
    }).pipe(Effect.provide(Layer.provide(layer, Settings.layer({ inboxMessages: 2 }))))
  )
})

describe("a gap in the receipts", () => {
  it.effect("is not closed by what comes meanwhile, though the connection is lost again", () =>
    Effect.gen(function* () {
      const { alice, blaze, bot, server, to } = yield* scene
      const bob = yield* BlazeTest.user("bob")
      yield* bob.addBot
      yield* blaze.send({ user: bob.userId }, "hello")
      const sending = yield* Effect.forkChild(blaze.send(to, "one", { until: "read" }))
      yield* BlazeTest.pass("1 second")
      yield* bot.cut
      yield* alice.reads
      yield* server.inject({ _tag: "FailRest", status: 500, body: "" }, Infinity)
      yield* BlazeTest.pass("12 seconds")
      yield* blaze.send({ user: bob.userId }, "hi")
      yield* BlazeTest.settle
      yield* bot.cut
      yield* server.heal
      assert.isFalse(yield* isDone(sending))
      yield* BlazeTest.pass("20 seconds")
      assert.isTrue(yield* isDone(sending))
    }).pipe(Effect.provide(layer))
  )

  it.effect("is asked for again until the server tells, on the same connection", () =>
    Effect.gen(function* () {
      const { alice, blaze, bot, server, to } = yield* scene
      const sending = yield* Effect.forkChild(blaze.send(to, "one", { until: "read" }))
      yield* BlazeTest.pass("1 second")
      yield* bot.cut
      yield* alice.reads
      yield* server.inject({ _tag: "FailRest", status: 500, body: "" }, Infinity)
      yield* BlazeTest.pass("10 minutes")
      yield* server.heal
      yield* BlazeTest.pass("3 minutes")
      assert.isTrue(yield* isDone(sending))
      assert.strictEqual(yield* bot.handshakes, 2)
    }).pipe(Effect.provide(layer))
  )
})

describe("the receipts", () => {
  const collected = Effect.gen(function* () {
    const all: Array<string> = []
    const { receipts } = yield* Blaze.Blaze
    yield* receipts.pipe(
      Stream.runForEach(({ messageId, status }) => Effect.sync(() => all.push(`${messageId} ${status}`))),
      Effect.forkChild({ startImmediately: true })
    )
    return all
  })

  it.effect("of the time without a connection come once, after those that had come, however many they are", () =>
    Effect.gen(function* () {
      const { blaze, bot, server } = yield* scene
      const all = yield* collected
      const people = yield* Effect.forEach(Array.from({ length: 12 }), (_, n) => BlazeTest.user(`person ${n}`))
      const ids: Array<string> = []
      for (const { addBot, userId } of people) {
        yield* addBot
        for (let n = 0; n < 100; n++) {
          ids.push(yield* blaze.send({ user: userId }, String(n)))
          yield* TestClock.adjust(1)
        }
      }
      assert.deepStrictEqual(all.toSorted(), ids.map((id) => `${id} DELIVERED`).toSorted())
      yield* bot.cut
      yield* server.inject({ _tag: "DropConnection" }, 3)
      for (const { reads } of people) {
        yield* reads
        yield* TestClock.adjust(1)
      }
      yield* BlazeTest.pass("1 minute")
      const expected = ids.flatMap((id) => [`${id} DELIVERED`, `${id} READ`])
      assert.deepStrictEqual(all.toSorted(), expected.toSorted())
      yield* bot.cut
      yield* BlazeTest.pass("20 seconds")
      assert.strictEqual(all.length, expected.length)
    }).pipe(Effect.provide(layer))
  )

  it.effect("are asked for only where somebody waits for them, and not by a bot that has just begun", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const counting = (name: string) =>
        Effect.gen(function* () {
          const receipts = yield* Receipts.make({ urgent: Effect.void, waitBehind: () => {} })
          const first = yield* receipts.begin
          yield* first
          const second = yield* receipts.begin
          yield* second
          const listening = yield* Effect.forkChild(Stream.runDrain(receipts.stream), { startImmediately: true })
          const third = yield* receipts.begin
          yield* third
          yield* Fiber.interrupt(listening)
          receipts.expect(id, "READ").end()
          const fourth = yield* receipts.begin
          yield* fourth
          asked.push(name)
        }).pipe(
          Effect.provideService(
            MixinApi.MixinApi,
            MixinApi.MixinApi.of({
              request: (endpoint: { readonly path: string }) =>
                Effect.sync(() => {
                  asked.push(endpoint.path)
                  return []
                })
            } as never)
          )
        )
      yield* counting("done")
      assert.deepStrictEqual(asked, ["/messages/status/:since", "done"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("that cannot be had are told to be missing, and the bot goes on", () => {
    const { all: logged, layer: logger } = lines()
    return Effect.gen(function* () {
      const { alice, blaze, bot, server, to } = yield* scene
      const all = yield* collected
      yield* blaze.send(to, "one")
      yield* bot.cut
      yield* alice.reads
      yield* server.inject({ _tag: "FailRest", status: 202, body: JSON.stringify({ error: { code: 10002 } }) })
      yield* BlazeTest.pass("20 seconds")
      yield* blaze.send(to, "two")
      yield* alice.reads
      yield* BlazeTest.pass("1 second")
      assert.strictEqual(all.length, 3)
      assert.lengthOf(
        logged.filter((line) => line.includes("Receipts of the time without a connection are missing.")),
        1
      )
    }).pipe(Effect.provide(Layer.provideMerge(layer, logger)))
  })
})

describe("receipts by themselves", () => {
  const at = (n: number) => `2026-01-01T00:00:${String(n).padStart(2, "0")}.000000001Z`
  const receipt = (n: number, status = "READ") => ({
    message_id: `${id.slice(0, -2)}${10 + n}`,
    status,
    updated_at: at(n)
  })
  const nanos = (n: number) => String(Nanoseconds.fromText(at(n)))

  type Page = ReadonlyArray<ReturnType<typeof receipt>> | BlazeError.BlazeError

  /** Over a server that answers with these pages, and then with nothing. */
  const over = Effect.fnUntraced(function* (pages: Array<Page>) {
    const asked: Array<string> = []
    const heard: Array<string> = []
    let urgent = 0
    const receipts = yield* Receipts.make({
      urgent: Effect.sync(() => void urgent++),
      waitBehind: () => {}
    }).pipe(
      Effect.provideService(
        MixinApi.MixinApi,
        MixinApi.MixinApi.of({
          request: (_: unknown, { path }: { readonly path: { readonly since: string } }) =>
            Effect.suspend((): Effect.Effect<unknown, BlazeError.BlazeError> => {
              asked.push(path.since)
              const page = pages.shift() ?? []
              return BlazeError.isBlazeError(page) ? Effect.fail(page) : Effect.succeed(page)
            })
        } as never)
      )
    )
    return {
      asked,
      heard,
      receipts,
      urgent: () => urgent,
      listen: receipts.listen(
        (views) => void heard.push(views.map((view) => `${view.message_id.slice(-1)} ${view.status}`).join())
      ),
      connect: Effect.flatten(receipts.begin)
    }
  })

  const broken = BlazeError.make(new BlazeError.BadInput({ problem: "it is torn" }))

  it.effect("are asked for in pages, from the last that came on, until nothing later comes", () =>
    Effect.gen(function* () {
      const { asked, connect, heard, listen, receipts } = yield* over([
        [receipt(2), receipt(3, "SENT"), receipt(3), receipt(4)],
        [receipt(4), receipt(5)],
        [receipt(5)]
      ])
      yield* listen
      receipts.publish([receipt(1), receipt(2)])
      receipts.publish([])
      yield* connect
      assert.deepStrictEqual(asked, [nanos(2), nanos(4), nanos(5)])
      assert.deepStrictEqual(heard, ["1 READ,2 READ", "", "3 READ,4 READ", "5 READ", ""])
    }).pipe(Effect.scoped)
  )

  it.effect("are not asked for without end, whatever the server answers", () =>
    Effect.gen(function* () {
      const pages = Array.from({ length: 2000 }, (_, n) => [
        { ...receipt(0), updated_at: new Date(Date.UTC(2027, 0, 1) + 1000 * n).toISOString() }
      ])
      const { asked, connect, listen, receipts } = yield* over(pages)
      yield* listen
      receipts.publish([receipt(1)])
      yield* connect
      assert.lengthOf(asked, 1000)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "are asked for from where the last connection came to, and once that is known to the end from the last that came",
    () =>
      Effect.gen(function* () {
        const { asked, connect, listen, receipts } = yield* over([[receipt(3)], broken, [], broken, []])
        yield* listen
        receipts.publish([receipt(1)])
        const first = yield* Effect.forkChild(connect)
        yield* BlazeTest.settle
        yield* Fiber.interrupt(first)
        // What comes on the next connection closes no gap.
        receipts.publish([receipt(9)])
        yield* connect
        assert.deepStrictEqual(asked.splice(0), [nanos(1), nanos(3), nanos(3)])
        const next = yield* Effect.forkChild(connect)
        yield* BlazeTest.settle
        assert.deepStrictEqual(asked, [nanos(9)])
        yield* TestClock.adjust("59 seconds")
        assert.isUndefined(next.pollUnsafe())
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(next)
        assert.deepStrictEqual(asked, [nanos(9), nanos(9)])
      }).pipe(Effect.scoped, Effect.provide(Settings.layer({ sendRetry: Schedule.recurs(0) })))
  )

  it.effect("are asked for from the first connection on where none has come, less what two clocks may differ by", () =>
    Effect.gen(function* () {
      const early = yield* over([])
      yield* early.listen
      yield* early.connect
      yield* early.connect
      assert.deepStrictEqual(early.asked, ["0"])
      yield* TestClock.adjust("1 day")
      const { asked, connect, listen, receipts } = yield* over([])
      yield* listen
      yield* connect
      yield* TestClock.adjust("1 hour")
      yield* connect
      const since = String(Nanoseconds.fromMillis(24 * 3_600_000 - BlazeError.toleratedClockDifference))
      assert.deepStrictEqual(asked, [since])
      receipts.publish([receipt(1)])
      yield* receipts.forget
      yield* connect
      assert.deepStrictEqual(asked, [since])
    }).pipe(Effect.scoped)
  )

  it.effect("are heard for as long as somebody listens", () =>
    Effect.gen(function* () {
      const { asked, connect, heard, listen, receipts, urgent } = yield* over([])
      yield* Effect.scoped(
        Effect.andThen(
          listen,
          Effect.sync(() => receipts.publish([receipt(1)]))
        )
      )
      receipts.publish([receipt(2)])
      yield* connect
      assert.deepStrictEqual([heard, asked, urgent()], [["1 READ"], [], 0])
      const streamed = yield* Effect.forkChild(Stream.runHead(receipts.stream), { startImmediately: true })
      // They stand behind the messages.
      assert.strictEqual(urgent(), 1)
      receipts.publish([receipt(3)])
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(streamed)).message_id, receipt(3).message_id)
    }).pipe(Effect.scoped)
  )

  it.effect("of a message that is sent again answer whoever waits for less, and nobody who waits for more", () =>
    Effect.gen(function* () {
      const { receipts } = yield* over([])
      const has = Effect.fnUntraced(function* (of: Ids.MessageId, status: "DELIVERED" | "READ") {
        const { arrived, end } = receipts.expect(of, status)
        const waiting = yield* Effect.forkChild(arrived, { startImmediately: true })
        const isThere = waiting.pollUnsafe() !== undefined
        yield* Fiber.interrupt(waiting)
        end()
        return isThere
      })
      const [one, two] = [receipt(1), receipt(2)].map(({ message_id }) => Ids.MessageId.make(message_id)) as [
        Ids.MessageId,
        Ids.MessageId
      ]
      const waits = [receipts.expect(one, "READ"), receipts.expect(two, "READ")]
      receipts.publish([receipt(1, "DELIVERED"), receipt(2, "READ")])
      assert.deepStrictEqual([yield* has(one, "DELIVERED"), yield* has(one, "READ")], [true, false])
      assert.deepStrictEqual([yield* has(two, "DELIVERED"), yield* has(two, "READ")], [true, true])
      for (const { end } of waits) end()
    })
  )

  it.effect("are not waited for where nothing was sent", () =>
    Effect.gen(function* () {
      const { receipts } = yield* over([])
      assert.strictEqual(yield* Receipts.awaited(receipts.expect, "READ", () => Effect.succeed(id)), id)
    })
  )
})

describe("a time of Mixin's", () => {
  it("is read to the nanosecond, and what is none is none", () => {
    const seconds = BigInt(Date.parse("2026-01-02T03:04:05Z") / 1000)
    for (const [fraction, nanos] of [
      ["", 0n],
      [".1", 100_000_000n],
      [".33654", 336_540_000n],
      [".123456789", 123_456_789n]
    ] as const) {
      assert.strictEqual(Nanoseconds.fromText(`2026-01-02T03:04:05${fraction}Z`), seconds * 1_000_000_000n + nanos)
    }
    assert.strictEqual(Nanoseconds.fromText("2026-01-02T05:04:05.1+02:00"), seconds * 1_000_000_000n + 100_000_000n)
    for (const text of [undefined, "", "yesterday", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05.1234567890Z"]) {
      assert.strictEqual(Nanoseconds.fromText(text), undefined)
    }
  })
})
