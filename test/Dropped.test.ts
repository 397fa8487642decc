// What is left open is seen at once: a delivery that an operator of Stream has dropped.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Metric, Schedule, Stream } from "effect"
import { Blaze, Bot, Delivery, Keyed, Message, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import * as Dropped from "../src/internal/Dropped.ts"
import * as Outstanding from "../src/internal/Outstanding.ts"
import { id } from "./contract/stores.ts"
import { client, lines, pass, textOf } from "./support.ts"

const run = <A, E, R>(
  body: (log: ReadonlyArray<string>) => Effect.Effect<A, E, R>,
  settings: Layer.Layer<never> = Layer.empty
) => {
  const log = lines()
  return body(log.all).pipe(
    Effect.provide(client),
    Effect.provide(BlazeTest.layerServer),
    Effect.provide(Layer.mergeAll(settings, log.layer, Layer.succeed(Keyed.Grace, 0))),
    Effect.provideServiceEffect(
      Metric.MetricRegistry,
      Effect.sync(() => new Map())
    )
  )
}

const told = (log: ReadonlyArray<string>) => log.filter((line) => line.includes("neither acknowledged nor deferred"))

/** Handles what is said, but for what it drops. */
const dropping = (handler: () => Effect.Effect<void>) =>
  Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
    deliveries.pipe(
      Stream.filter((delivery) => textOf(delivery) !== "drop me"),
      Stream.mapEffect(Delivery.handle(handler)),
      Stream.runDrain,
      Effect.forkChild
    )
  )

const gauge = (id: string) =>
  Effect.map(Metric.snapshot, (all) => {
    const found = all.find((metric) => metric.id === id)
    return found === undefined ? undefined : (found.state as { readonly value: number }).value
  })

/** Takes all that is handed out, and settles nothing. */
const takingAll = Effect.gen(function* () {
  const { deliveries } = yield* Blaze.Blaze
  const taken: Array<Delivery.Delivery> = []
  yield* deliveries.pipe(
    Stream.runForEach((delivery) => Effect.sync(() => taken.push(delivery))),
    Effect.forkChild
  )
  return taken
})

describe("a delivery that was dropped", () => {
  it.effect("is told of once nothing happens any more, by its id and the likely operators, and once only", () =>
    run((log) =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* dropping(() => Effect.void)
        const id = yield* alice.say("drop me")
        yield* alice.say("hi")
        yield* pass(14)
        assert.deepStrictEqual(told(log), [])
        yield* pass(16)
        assert.strictEqual(told(log).length, 1)
        assert.include(told(log)[0], id)
        assert.match(told(log)[0]!, /^Warn .*nobody is at work on any.*filter/)
        assert.strictEqual(yield* gauge("blaze_dropped_deliveries"), 1)
        yield* pass(600)
        assert.strictEqual(told(log).length, 1)
      })
    )
  )

  it.effect("is told apart from what a stream that has ended has left, and from one that is stuck", () =>
    Effect.gen(function* () {
      const after = (pipeline: (deliveries: Blaze.Blaze["Service"]["deliveries"]) => Effect.Effect<unknown, unknown>) =>
        run((log) =>
          Effect.gen(function* () {
            const alice = yield* BlazeTest.user("alice")
            yield* alice.say("1")
            yield* alice.say("2")
            const { deliveries } = yield* Blaze.Blaze
            // Its fiber ends with the stream, as that of a program would.
            yield* Effect.forkChild(Effect.exit(pipeline(deliveries)))
            yield* pass(60)
            return told(log).join()
          })
        )
      const ended = yield* after((deliveries) => Stream.runCollect(Stream.takeWhile(deliveries, () => false)))
      assert.match(ended, /takeWhile/)
      const stuck = yield* after((deliveries) => Stream.runForEach(deliveries, () => Effect.never))
      assert.match(stuck, /does not ask for more/)
    })
  )

  it.effect("is not told of while somebody is at work on another", () =>
    run((log) =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* dropping(() => Effect.sleep("2 minutes"))
        yield* alice.say("drop me")
        yield* alice.say("hi")
        yield* pass(110)
        assert.deepStrictEqual(told(log), [])
        yield* pass(60)
        assert.strictEqual(told(log).length, 1)
      })
    )
  )

  it.effect("fails a test with BlazeTest.layer in the end, and what was settled after all does not", () =>
    Effect.gen(function* () {
      const test = (settle: boolean) =>
        Effect.gen(function* () {
          const alice = yield* BlazeTest.user("alice")
          const dropped = yield* Deferred.make<Delivery.Delivery>()
          const { deliveries } = yield* Blaze.Blaze
          yield* deliveries.pipe(
            Stream.tap((delivery) => Deferred.succeed(dropped, delivery)),
            Stream.runDrain,
            Effect.forkChild
          )
          const id = yield* alice.say("hi")
          yield* pass(5)
          if (settle) yield* (yield* Deferred.await(dropped)).ack
          return id
        }).pipe(Effect.provide(BlazeTest.layer), Effect.exit)
      assert.isTrue(Exit.isSuccess(yield* test(true)))
      const exit = yield* test(false)
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(exit), /neither acknowledged nor deferred.*filter/)
    })
  )

  it.effect("is none of what an interrupted bot has left, nor of what is held", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* Effect.forkChild(Bot.run(() => Effect.sleep("1 minute")))
      yield* alice.say("1")
      yield* pass(1)
      yield* Fiber.interrupt(bot)
      yield* pass(10)
      const { deliveries } = yield* Blaze.Blaze
      yield* deliveries.pipe(
        Stream.runForEach((delivery) => Effect.sync(() => Delivery.hold(delivery))),
        Effect.forkChild
      )
      yield* pass(10)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("with as many open as may be, the next consumer gets what the last one has left", () =>
    run(
      () =>
        Effect.gen(function* () {
          const account = yield* BlazeTest.Account
          const alice = yield* BlazeTest.user("alice")
          const { deliveries } = yield* Blaze.Blaze
          let tries = 0
          yield* deliveries.pipe(
            Stream.grouped(3),
            Stream.mapEffect((group): Effect.Effect<void, string> =>
              tries++ === 0 ? Effect.fail("no database") : Delivery.handleAll(() => Effect.void)(group)
            ),
            Stream.retry(Schedule.spaced("1 second")),
            Stream.runDrain,
            Effect.forkChild
          )
          for (const text of ["1", "2", "3"]) yield* alice.say(text)
          for (let n = 0; n < 10; n++) yield* pass(1)
          assert.deepStrictEqual(yield* account.pending, [])
        }),
      Settings.layer({ maximumOpen: 3 })
    )
  )

  it.effect(
    "counts among those that may be open: then nothing is handed out, the log says so, and a settlement goes on",
    () =>
      run(
        (log) =>
          Effect.gen(function* () {
            const alice = yield* BlazeTest.user("alice")
            const taken = yield* takingAll
            for (let n = 0; n < 5; n++) {
              yield* alice.say(String(n))
              yield* BlazeTest.settle
            }
            const texts = () => taken.map(textOf)
            assert.deepStrictEqual(texts(), ["0", "1", "2"])
            assert.strictEqual(log.filter((line) => line.includes("3 messages are open")).length, 1)
            yield* taken[1]!.ack
            yield* BlazeTest.settle
            assert.deepStrictEqual(texts(), ["0", "1", "2", "3", "4"])
            for (const delivery of taken) yield* delivery.ack
          }),
        Settings.layer({ maximumOpen: 3 })
      )
  )

  it.effect("is told of too many once, until there were half as many", () =>
    run(
      (log) =>
        Effect.gen(function* () {
          const alice = yield* BlazeTest.user("alice")
          const taken = yield* takingAll
          const say = Effect.andThen(alice.say("hi"), BlazeTest.settle)
          const settleAll = (left: number) =>
            Effect.andThen(
              Effect.forEach(taken.splice(0, taken.length - left), (delivery) => delivery.ack),
              BlazeTest.settle
            )
          const times = () => log.filter((line) => line.includes("4 messages are open")).length
          for (let n = 0; n < 5; n++) yield* say
          assert.strictEqual(times(), 1)
          // Not fewer than half of them.
          for (let n = 0; n < 3; n++) {
            yield* settleAll(2)
            for (let more = 0; more < 3; more++) yield* say
            assert.isAtLeast(taken.length, 4)
          }
          assert.strictEqual(times(), 1)
          yield* settleAll(0)
          yield* settleAll(0)
          for (let n = 0; n < 5; n++) yield* say
          assert.strictEqual(times(), 2)
          yield* settleAll(0)
          yield* settleAll(0)
        }),
      Settings.layer({ maximumOpen: 4 })
    )
  )

  it.effect("with too many open, a bot that is refused ends all the same", () =>
    run(
      () =>
        Effect.gen(function* () {
          const server = yield* BlazeServer.BlazeServer
          const account = yield* BlazeTest.Account
          const alice = yield* BlazeTest.user("alice")
          const { deliveries } = yield* Blaze.Blaze
          const consumer = yield* Effect.forkChild(Stream.runDrain(deliveries))
          yield* alice.say("hi")
          yield* pass(1)
          yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
          yield* account.cut
          yield* pass(120)
          const error = yield* Effect.flip(Fiber.join(consumer))
          assert.isTrue(error.isFatal)
        }),
      Settings.layer({ maximumOpen: 1 })
    )
  )

  it.effect("a handler of Bot that runs for long is none", () =>
    run((log) =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(Bot.run(() => Effect.sleep("1 hour")))
        yield* alice.say("hi")
        yield* pass(120)
        assert.deepStrictEqual(told(log), [])
      })
    )
  )
})

describe("a look at what is out", () => {
  const look = Effect.gen(function* () {
    let time = 0
    const told: Array<ReadonlyArray<number>> = []
    const sentences: Array<string> = []
    const outstanding = Outstanding.make({ offer: () => {} }, Effect.runFork)
    const inspect = yield* Dropped.makeInspection(
      outstanding,
      () => true,
      () => time
    ).pipe(
      Effect.provideService(Dropped.Watch, {
        period: Duration.seconds(15),
        tell: (entries, sentence) =>
          Effect.sync(() => {
            told.push(entries.map(({ number }) => number))
            sentences.push(sentence)
          })
      })
    )
    return {
      outstanding,
      told,
      sentences,
      /** One is handed out, and in somebody's hands. */
      begin: (n: number) => {
        const entry = outstanding.begin(Message.fromView({ message_id: id(n), category: "PLAIN_TEXT", data: "" }), time)
        entry.hands = () => "AtWork"
        return entry
      },
      at: (now: number) => {
        time = now
        return inspect
      }
    }
  })

  it.effect("finds nothing where nothing is, and tells of twenty at a time, each once", () =>
    Effect.gen(function* () {
      const { at, begin, told } = yield* look
      for (const now of [0, 1]) assert.strictEqual(yield* at(now), 0)
      for (let n = 0; n < 25; n++) begin(n)
      assert.strictEqual(yield* at(2), 0)
      for (const now of [3, 4, 5]) assert.strictEqual(yield* at(now), 25)
      assert.deepStrictEqual(
        told.map(({ length }) => length),
        [20, 5]
      )
      assert.deepStrictEqual(
        told.flat(),
        Array.from({ length: 25 }, (_, n) => n)
      )
    })
  )

  it.effect(
    "tells of what was handed out five minutes ago, though somebody is at work on another, and of none younger",
    () =>
      Effect.gen(function* () {
        const { at, begin, outstanding, sentences, told } = yield* look
        const first = begin(1)
        outstanding.hold(first)
        yield* at(1)
        begin(2)
        for (const now of [1, 299_999]) assert.strictEqual(yield* at(now), 0)
        assert.deepStrictEqual(told, [])
        assert.strictEqual(yield* at(300_000), 0)
        assert.deepStrictEqual(told.splice(0), [[0]])
        assert.strictEqual(yield* at(300_001), 0)
        assert.deepStrictEqual(told.splice(0), [[1]])
        assert.match(sentences.join(), /that was 5 minutes ago/)
        // Nobody is at work on any.
        outstanding.release(first)
        yield* at(300_002)
        assert.strictEqual(yield* at(300_003), 2)
        assert.deepStrictEqual(told, [])
      })
  )
})
