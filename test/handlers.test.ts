// What a handler is: an Effect in a fiber of its own, whatever the program makes of that.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Metric, Schedule, Stream } from "effect"
import { Blaze, Bot, Delivery, Keyed } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { lines, pass } from "./support.ts"

/** A handler as plain JavaScript writes it. */
const untyped = (handler: (delivery: Delivery.Delivery) => unknown) => handler as Bot.Handler

const wellBehind = (handler: (delivery: Delivery.Delivery) => unknown, people: number) =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(
      Bot.run(
        untyped((delivery) =>
          delivery.message.senderId === alice.userId ? delivery.reply("well") : handler(delivery)
        ),
        { retry: Schedule.recurs(0) }
      )
    )
    for (let n = 0; n < people; n++) yield* (yield* BlazeTest.user(`person ${n}`)).say("hi")
    yield* pass(1)
    yield* alice.say("hi")
    yield* pass(1)
    return yield* alice.reads
  })

describe("a handler that gives no Effect", () => {
  for (const [name, handler, sentence] of [
    ["undefined", () => undefined, "gave nothing and not an Effect: return an Effect, Effect.void when"],
    ["a number", () => 7, "gave something else and not an Effect"],
    ["a Promise", () => Promise.resolve(7), "gave a Promise and not an Effect: return Effect.tryPromise"],
    ["a Promise that is rejected", () => Promise.reject(new Error("no")), "gave a Promise and not an Effect"]
  ] as const) {
    it.effect(`fails with a sentence that names its message, 70 times, and the bot goes on: ${name}`, () => {
      const log = lines()
      return Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const reads = yield* wellBehind(handler, 70)
        assert.deepStrictEqual(reads, ["well"])
        assert.strictEqual((yield* bot.pending).length, 70)
        const told = log.all.filter((line) => line.includes(sentence))
        assert.strictEqual(told.length, 70)
        assert.include(told[0]!, `The handler of message ${(yield* bot.pending)[0]} (PLAIN_TEXT)`)
      }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
    })
  }

  it.effect("does so in the middle of its work too, where it passes every finalizer", () =>
    Effect.gen(function* () {
      const hole = () => Effect.flatMap(Effect.void, (() => undefined) as never)
      assert.deepStrictEqual(yield* wellBehind(hole, 70), ["well"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("does so in a case of match, in orElse, in onFailure and in a pipeline", () => {
    const log = lines()
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const blaze = yield* Blaze.Blaze
      const nothing = (() => undefined) as unknown as () => Effect.Effect<Delivery.Outcome>
      const run = (bot: Effect.Effect<void, unknown, Blaze.Blaze>, category: string) =>
        Effect.gen(function* () {
          log.all.length = 0
          const fiber = yield* Effect.forkChild(Effect.exit(bot))
          yield* alice.send(category, "hi")
          yield* pass(1)
          yield* Fiber.interrupt(fiber)
          return log.all.filter((line) => line.includes("gave nothing and not an Effect")).length
        })
      const once = { retry: Schedule.recurs(0) }
      assert.strictEqual(
        yield* run(Bot.run(Bot.match({ Text: nothing, orElse: () => Effect.void }), once), "PLAIN_TEXT"),
        1
      )
      assert.strictEqual(yield* run(Bot.run(Bot.match({ orElse: nothing }), once), "PLAIN_POST"), 1)
      assert.strictEqual(
        yield* run(
          Bot.run(() => Effect.fail("no"), { ...once, onFailure: nothing }),
          "PLAIN_TEXT"
        ),
        1
      )
      const pipeline = blaze.deliveries.pipe(
        Stream.mapEffect((delivery) => Effect.ignoreCause(Delivery.handle(nothing)(delivery), { log: true })),
        Stream.runDrain
      )
      assert.strictEqual(yield* run(pipeline, "PLAIN_TEXT"), 1)
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
  })
})

describe("a handler that fails with what cannot be shown", () => {
  for (const [name, value] of [
    ["an object without a prototype", Object.create(null)],
    [
      "an object that throws when it is looked at",
      {
        toString() {
          throw new Error("no")
        }
      }
    ]
  ] as const) {
    it.effect(`ends neither the process nor the bot: ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* wellBehind(() => Effect.fail(value), 3), ["well"])
      }).pipe(Effect.provide(BlazeTest.layer))
    )
    it.effect(`is acknowledged, deferred or given up as onFailure says: ${name}`, () =>
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        for (const [outcome, left] of [
          [Delivery.Ack, 0],
          [Delivery.GiveUp, 1],
          [Delivery.Defer, 2]
        ] as const) {
          const fiber = yield* Effect.forkChild(
            Bot.run(() => Effect.die(value), {
              concurrency: 1,
              retry: Schedule.recurs(0),
              onFailure: () => Effect.succeed(outcome)
            })
          )
          yield* alice.say("hi")
          yield* pass(2)
          assert.strictEqual((yield* bot.pending).length, left)
          yield* Fiber.interrupt(fiber)
        }
      }).pipe(Effect.provide(BlazeTest.layer))
    )
  }
})

describe("a handler has a fiber of its own", () => {
  it.effect("what it forks as a child ends with it, on a busy bot, with and without a timeout", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      for (const options of [{}, { timeout: "1 hour" }] as const) {
        let alive = 0
        let most = 0
        let handled = 0
        const fiber = yield* Effect.forkChild(
          Bot.run(
            () =>
              Effect.gen(function* () {
                yield* Effect.forkChild(
                  Effect.acquireUseRelease(
                    Effect.sync(() => (most = Math.max(most, ++alive))),
                    () => Effect.never,
                    () => Effect.sync(() => alive--)
                  ),
                  { startImmediately: true }
                )
                yield* Effect.sleep("1 second")
                handled++
              }),
            options
          )
        )
        // Always one that waits behind the one that runs.
        for (let n = 0; n < 20; n++) yield* alice.say(String(n))
        for (let n = 0; n < 21; n++) yield* pass(1)
        assert.deepStrictEqual([handled, most, alive], [20, 1, 0])
        yield* Fiber.interrupt(fiber)
      }
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("one that interrupts its own fiber takes nobody else along", () =>
    Effect.gen(function* () {
      const interrupting = () =>
        Effect.withFiber((fiber) =>
          Effect.andThen(
            Effect.sync(() => fiber.interruptUnsafe()),
            Effect.never
          )
        )
      assert.deepStrictEqual(yield* wellBehind(interrupting, 70), ["well"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("a defect in a child of one ends neither its brothers nor the bot", () =>
    Effect.gen(function* () {
      const defective = () => Effect.flatMap(Effect.forkChild(Effect.die("no")), Fiber.join)
      assert.deepStrictEqual(yield* wellBehind(defective, 70), ["well"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("after they have ended none runs any more, and no warning follows", () => {
    const log = lines()
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.sleep("10 seconds")))
      yield* alice.say("hi")
      yield* pass(5)
      const running = Effect.map(Metric.snapshot, (all) =>
        all.filter(({ id }) => id === "blaze_handlers_running").map(({ state }) => (state as { value: number }).value)
      )
      assert.deepStrictEqual(yield* running, [1])
      for (let n = 0; n < 20; n++) yield* pass(5)
      assert.deepStrictEqual(yield* running, [0])
      assert.deepStrictEqual(log.all, [])
    }).pipe(
      Effect.provide(BlazeTest.layer),
      Effect.provide(log.layer),
      Effect.provideServiceEffect(
        Metric.MetricRegistry,
        Effect.sync(() => new Map())
      )
    )
  })
})

describe("Keyed", () => {
  it.effect("no more elements than inFlight are in hand, however many one array holds", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const doors = yield* Effect.forEach(Array.from({ length: 11 }), () => Deferred.make<void>())
      const fiber = yield* Stream.range(1, 10).pipe(
        Keyed.mapEffect((n) => Deferred.await(doors[n]!), {
          key: (n) => {
            seen.push(n)
            return n
          },
          concurrency: 10,
          inFlight: 2
        }),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      assert.deepStrictEqual(seen, [1, 2])
      yield* Deferred.succeed(doors[1]!, undefined)
      yield* BlazeTest.settle
      assert.deepStrictEqual(seen, [1, 2, 3])
      for (const door of doors) yield* Deferred.succeed(door, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(seen.length, 10)
    })
  )

  it.effect("takes its element type from the stream", () =>
    Effect.gen(function* () {
      const key = ({ message }: Delivery.Delivery) => message.conversationId
      const blaze = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const seen: Array<string> = []
      yield* blaze.deliveries.pipe(
        Stream.filter((delivery): delivery is Delivery.Delivery<never> => delivery.message._tag === "Text"),
        Keyed.mapEffect((delivery) => Effect.sync(() => void seen.push(delivery.message satisfies never)), {
          key,
          concurrency: 2
        }),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.strictEqual(seen.length, 1)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("lets the rest of the program have its turn between many elements that wait for nothing", () =>
    Effect.gen(function* () {
      let others = 0
      const other = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            Effect.sync(() => others++),
            Effect.yieldNow
          )
        )
      )
      const count = yield* Stream.range(1, 10_000).pipe(
        Stream.rechunk(10_000),
        Keyed.mapEffect(Effect.succeed, { key: (n) => n, concurrency: 64 }),
        Stream.runCount
      )
      assert.strictEqual(count, 10_000)
      assert.isAtLeast(others, 10)
      yield* Fiber.interrupt(other)
    })
  )

  it.effect("what comes afterwards holds its key and takes no place, and is waited for at the end", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const written = yield* Deferred.make<void>()
      const stages = new Map<string, "afterwards" | "done">()
      const running = yield* Stream.make("a1", "b1", "a2", "c1").pipe(
        Keyed.mapExit(
          (element): Effect.Effect<void> => Effect.sync(() => void log.push(element)),
          (element, exit) => {
            if (stages.has(element)) {
              stages.set(element, "done")
              return exit
            }
            stages.set(element, "afterwards")
            return Deferred.await(written)
          },
          {
            key: (element) => element[0],
            concurrency: 1,
            inFlight: 3,
            isAfterwards: (element) => stages.get(element) === "afterwards"
          }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      // Not the second of its key, and no more than may be in flight.
      assert.deepStrictEqual(log, ["a1", "b1"])
      assert.isUndefined(running.pollUnsafe())
      yield* Deferred.succeed(written, undefined)
      yield* Fiber.join(running)
      assert.deepStrictEqual(log, ["a1", "b1", "a2", "c1"])
      assert.deepStrictEqual([...stages.values()], ["done", "done", "done", "done"])
    })
  )

  it.effect("a judgement that throws fails the stream and hangs nobody", () =>
    Effect.gen(function* () {
      const exit = yield* Stream.range(1, 3).pipe(
        Keyed.mapExit(
          Effect.succeed,
          () => {
            throw new Error("no judgement")
          },
          { key: (n) => n, concurrency: 2 }
        ),
        Stream.runDrain,
        Effect.exit
      )
      assert.include(String(exit), "no judgement")
    })
  )

  it.effect("an element whose function gives no effect fails the stream and hangs nobody", () =>
    Effect.gen(function* () {
      const exit = yield* Stream.range(1, 3).pipe(
        Keyed.mapEffect((() => undefined) as unknown as () => Effect.Effect<void>, { key: (n) => n, concurrency: 2 }),
        Stream.runDrain,
        Effect.exit
      )
      assert.include(String(exit), "Not a valid effect")
    })
  )
})
