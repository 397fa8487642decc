import { assert, describe, it } from "@effect/vitest"
import {
  Array,
  Cause,
  Clock,
  Deferred,
  type Duration,
  Effect,
  Exit,
  Fiber,
  Queue,
  Ref,
  References,
  Schema,
  Stream
} from "effect"
import { Keyed } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { held } from "./support.ts"

interface Item {
  readonly key: string
  readonly n: number
}
const item = (key: string, n: number): Item => ({ key, n })
const key = (item: Item) => item.key

describe("Keyed.mapEffect", () => {
  it.effect("keeps the order within a key and runs keys at the same time", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const items = [item("a", 1), item("a", 2), item("b", 1), item("b", 2), item("c", 1)]
      const fiber = yield* Stream.fromIterable(items).pipe(
        Keyed.mapEffect(
          ({ key, n }) =>
            Effect.gen(function* () {
              log.push(`start ${key}${n}`)
              yield* Effect.sleep("1 second")
              log.push(`end ${key}${n}`)
              return `${key}${n}`
            }),
          { key, concurrency: 8 }
        ),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(log.slice(0, 6), ["start a1", "start b1", "start c1", "end a1", "start a2", "end b1"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).toSorted(), ["a1", "a2", "b1", "b2", "c1"])
    })
  )

  it.effect("never runs more than the concurrency at once", () =>
    Effect.gen(function* () {
      let running = 0
      let most = 0
      const fiber = yield* Stream.range(1, 100).pipe(
        Keyed.mapEffect(
          () =>
            Effect.gen(function* () {
              most = Math.max(most, ++running)
              yield* Effect.sleep("1 second")
              running--
            }),
          { key: (n) => n, concurrency: 7 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* TestClock.adjust("15 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(most, 7)
    })
  )

  it.effect("a key with 9 000 waiting elements delays another's first by no more than one element", () =>
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<Item, Cause.Done>()
      const done = yield* Ref.make<ReadonlyArray<string>>([])
      yield* Queue.offerAll(
        queue,
        Array.makeBy(9000, (n) => item("busy", n))
      )
      const fiber = yield* Stream.fromQueue(queue).pipe(
        Keyed.mapEffect(
          ({ key }) =>
            Effect.andThen(
              Effect.sleep("1 second"),
              Ref.update(done, (keys) => [...keys, key])
            ),
          { key, concurrency: 8 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* TestClock.adjust("10 seconds")
      yield* Queue.offer(queue, item("other", 1))
      yield* BlazeTest.settle
      yield* TestClock.adjust("1 second")
      assert.include(yield* Ref.get(done), "other")
      yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 second")
    })
  )

  it.effect("with one worker keys take turns", () =>
    Effect.gen(function* () {
      const items = [item("a", 1), item("a", 2), item("a", 3), item("b", 1), item("b", 2)]
      const results = yield* Stream.fromIterable(items).pipe(
        Keyed.mapEffect(({ key, n }) => Effect.succeed(`${key}${n}`), { key, concurrency: 1 }),
        Stream.runCollect
      )
      assert.deepStrictEqual(results, ["a1", "b1", "a2", "b2", "a3"])
    })
  )

  it.effect("takes no more from the stream than may be in flight", () =>
    Effect.gen(function* () {
      let pulled = 0
      const fiber = yield* Stream.range(1, 1000).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Keyed.mapEffect(() => Effect.never, { key: (n) => n % 3, concurrency: 4, inFlight: 10 }),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, 0),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      assert.strictEqual(pulled, 10)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("goes on for ever: what was passed on makes room, in number and in weight", () =>
    Effect.gen(function* () {
      for (const bound of [
        { inFlight: 7 },
        { weight: () => 10, inFlightWeight: 55 },
        { weight: () => 100, inFlightWeight: 5 }
      ]) {
        const count = yield* Stream.range(1, 2000).pipe(
          Stream.rechunk(3),
          Keyed.mapEffect(Effect.succeed, { key: (n) => n % 5, concurrency: 4, ...bound }),
          Stream.runCount
        )
        assert.strictEqual(count, 2000)
      }
    })
  )

  it.effect("takes no more from the stream than may weigh", () =>
    Effect.gen(function* () {
      let pulled = 0
      const fiber = yield* Stream.range(1, 1000).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Keyed.mapEffect(() => Effect.never, {
          key: (n) => n,
          concurrency: 4,
          weight: () => 10,
          inFlightWeight: 100
        }),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, 0),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      assert.strictEqual(pulled, 10)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.live("does not lose a wake-up, wherever the scheduler yields", () =>
    Effect.gen(function* () {
      for (const ops of [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 17]) {
        const count = yield* Stream.range(1, 500).pipe(
          Stream.rechunk(1),
          Keyed.mapEffect(Effect.succeed, { key: (n) => n % 7, concurrency: 4, inFlight: 5 }),
          Stream.runCount,
          Effect.provideService(References.MaxOpsBeforeYield, ops),
          Effect.timeout("1 minute")
        )
        assert.strictEqual(count, 500)
      }
    })
  )

  // Against a model: whatever the keys, the times, the concurrency and the bounds, every element is worked on once, those of a key in
  // order and never two at a time, and never more than the concurrency.
  it.effect.prop(
    "is what its model says, for random interleavings",
    [
      Schema.Array(
        Schema.Struct({ key: Schema.Literals([0, 1, 2, 3, 4]), time: Schema.Literals([0, 0, 1, 2, 7, 30]) })
      ),
      Schema.Literals([1, 2, 3, 8]),
      Schema.Literals([1, 2, 5, 100]),
      Schema.Literals([1, 2, 16])
    ],
    ([elements, concurrency, inFlight, chunk]) =>
      Effect.gen(function* () {
        const running = new Set<number>()
        const order = new Map<number, Array<number>>()
        let violations = 0
        const fiber = yield* Stream.fromIterable(elements.map((element, n) => ({ ...element, n }))).pipe(
          Stream.rechunk(chunk),
          Keyed.mapEffect(
            ({ key, n, time }) =>
              Effect.gen(function* () {
                if (running.has(key) || running.size >= concurrency) violations++
                running.add(key)
                if (time > 0) yield* Effect.sleep(time)
                else yield* Effect.yieldNow
                running.delete(key)
                order.set(key, [...(order.get(key) ?? []), n])
                return n
              }),
            { key: ({ key }) => key, concurrency, inFlight }
          ),
          Stream.runCollect,
          Effect.forkChild
        )
        for (let step = 0; fiber.pollUnsafe() === undefined && step < 2000; step++) {
          yield* Effect.yieldNow.pipe(Effect.repeat({ times: 10 }))
          yield* TestClock.adjust(1)
        }
        const results = yield* Fiber.join(fiber)
        assert.strictEqual(violations, 0)
        assert.deepStrictEqual(
          results.toSorted((a, b) => a - b),
          elements.map((_, n) => n)
        )
        for (const ns of order.values())
          assert.deepStrictEqual(
            ns,
            ns.toSorted((a, b) => a - b)
          )
      }),
    { arbitrary: { runs: 150 } }
  )

  it.effect("fails with the first failure", () =>
    Effect.gen(function* () {
      const exit = yield* Stream.range(1, 10).pipe(
        Keyed.mapEffect((n) => (n === 3 ? Effect.fail("three") : Effect.succeed(n)), { key: (n) => n, concurrency: 2 }),
        Stream.runDrain,
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail("three"))
    })
  )

  const failures: ReadonlyArray<readonly [string, Stream.Stream<string, string>]> = [
    ["of what is worked on", Stream.concat(Stream.make("fails"), Stream.never)],
    ["of the stream", Stream.fromEffect(Effect.delay(Effect.fail("no"), "1 second"))]
  ]
  for (const [name, stream] of failures) {
    it.effect(`passes on a failure ${name} to who waits, though nothing else comes`, () =>
      Effect.gen(function* () {
        const fiber = yield* stream.pipe(
          Keyed.mapEffect(() => Effect.delay(Effect.fail("no"), "1 second"), { key: (text) => text, concurrency: 2 }),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* BlazeTest.pass("1 second")
        assert.deepStrictEqual(fiber.pollUnsafe(), Exit.fail("no"))
      })
    )
  }

  it.effect("dies of a bound that is none, and says which", () =>
    Effect.gen(function* () {
      for (const [name, options, grace] of [
        ["concurrency", { concurrency: 0 }, 0],
        ["inFlight", { concurrency: 1, inFlight: 0 }, 0],
        ["inFlightWeight", { concurrency: 1, inFlightWeight: Number.NaN }, 0],
        ["Keyed.Grace", { concurrency: 1 }, -1]
      ] as const) {
        const exit = yield* Stream.make(1).pipe(
          Keyed.mapEffect(Effect.succeed, { key: (n) => n, ...options }),
          Stream.runDrain,
          Effect.provideService(Keyed.Grace, grace),
          Effect.exit
        )
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), name)
      }
    })
  )

  it.effect("passes on the failure of the stream", () =>
    Effect.gen(function* () {
      const exit = yield* Stream.concat(Stream.make(1), Stream.fail("upstream")).pipe(
        Keyed.mapEffect(Effect.succeed, { key: (n) => n, concurrency: 2 }),
        Stream.runDrain,
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail("upstream"))
    })
  )

  it.effect("interrupted, it lets the running elements finish and starts no other", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const fiber = yield* Stream.range(1, 100).pipe(
        Keyed.mapEffect(
          (n) =>
            Effect.gen(function* () {
              log.push(`start ${n}`)
              yield* Effect.sleep("10 seconds")
              log.push(`end ${n}`)
            }),
          { key: (n) => n, concurrency: 2 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* BlazeTest.settle
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(interruption.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interruption)
      assert.deepStrictEqual(log, ["start 1", "start 2", "end 1", "end 2"])
    })
  )

  it.effect("interrupts what still runs when the grace is over", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const fiber = yield* Stream.make(1).pipe(
        Keyed.mapEffect(() => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))), {
          key: (n) => n,
          concurrency: 2
        }),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, "5 seconds"),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* BlazeTest.settle
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(interruption)
      assert.isTrue(yield* Deferred.isDone(interrupted))
    })
  )

  it.effect("one element that is being worked on has the grace too", () =>
    Effect.gen(function* () {
      let finished = false
      const fiber = yield* Stream.make(1).pipe(
        Keyed.mapEffect(
          () =>
            Effect.andThen(
              Effect.sleep("10 seconds"),
              Effect.sync(() => (finished = true))
            ),
          {
            key: (n) => n,
            concurrency: 2
          }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* BlazeTest.settle
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(interruption)
      assert.isTrue(finished)
    })
  )

  it.effect("begins nothing new after a failure", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      const exit = yield* Stream.range(1, 10).pipe(
        Keyed.mapEffect(
          (n) => {
            begun.push(n)
            return n === 2 ? Effect.fail("two") : Effect.succeed(n)
          },
          { key: (n) => n, concurrency: 1 }
        ),
        Stream.runDrain,
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail("two"))
      assert.deepStrictEqual(begun, [1, 2])
    })
  )

  it.effect("2 000 that end at once let others have their turn meanwhile, and all of them are worked on", () =>
    Effect.gen(function* () {
      let turns = 0
      const others = yield* Effect.sync(() => turns++).pipe(
        Effect.andThen(Effect.yieldNow),
        Effect.forever,
        Effect.forkChild
      )
      const turnsOf = yield* Stream.range(1, 2000).pipe(
        Stream.rechunk(2000),
        Keyed.mapEffect(() => Effect.sync(() => turns), { key: (n) => n, concurrency: 1 }),
        Stream.runCollect
      )
      yield* Fiber.interrupt(others)
      assert.strictEqual(turnsOf.length, 2000)
      assert.isAtLeast(new Set(turnsOf).size, 2)
    })
  )

  it.effect("interrupts all that still run, whichever has ended before", () =>
    Effect.gen(function* () {
      const interrupted: Array<number> = []
      const doors = yield* Effect.forEach(Array.range(0, 4), () => Deferred.make<void>())
      const fiber = yield* Stream.range(0, 4).pipe(
        Keyed.mapEffect(
          (n) => Effect.onInterrupt(Deferred.await(doors[n]!), () => Effect.sync(() => interrupted.push(n))),
          { key: (n) => n, concurrency: 5 }
        ),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, 0),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* Deferred.succeed(doors[0]!, undefined)
      yield* BlazeTest.settle
      yield* Deferred.succeed(doors[4]!, undefined)
      yield* BlazeTest.settle
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(interrupted.toSorted(), [1, 2, 3])
    })
  )

  it.effect("begins nothing new after a failure of the stream, though its consumer has not come to it", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      const stream = Stream.concat(
        Stream.make(0, 1, 2),
        Stream.fromEffect(Effect.delay(Effect.fail("no"), "500 millis"))
      )
      const fiber = yield* stream.pipe(
        Keyed.mapEffect(
          (n) =>
            Effect.andThen(
              Effect.sync(() => begun.push(n)),
              Effect.sleep(n * 1000)
            ),
          {
            key: (n) => n,
            concurrency: 1
          }
        ),
        Stream.runForEach(() => Effect.sleep("10 seconds")),
        Effect.forkChild
      )
      yield* BlazeTest.pass("5 seconds")
      assert.deepStrictEqual(begun, [0, 1])
      yield* BlazeTest.pass("15 seconds")
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.fail("no"))
    })
  )

  it.effect("loses nothing to a consumer that is slower than the work", () =>
    Effect.gen(function* () {
      const fiber = yield* Stream.range(1, 30).pipe(
        Keyed.mapEffect((n) => Effect.as(Effect.sleep(n % 7), n), { key: (n) => n, concurrency: 3 }),
        Stream.mapEffect((n) => Effect.as(Effect.sleep(10), n)),
        Stream.runCollect,
        Effect.forkChild
      )
      for (let step = 0; step < 400; step++) {
        yield* Effect.yieldNow.pipe(Effect.repeat({ times: 20 }))
        yield* TestClock.adjust(1)
      }
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).toSorted((a, b) => a - b),
        Array.range(1, 30)
      )
    })
  )

  it.effect("takes exactly as much weight again as was passed on", () =>
    Effect.gen(function* () {
      let pulled = 0
      const doors = yield* Effect.forEach(Array.range(0, 20), () => Deferred.make<void>())
      const fiber = yield* Stream.range(1, 20).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Keyed.mapEffect((n) => Deferred.await(doors[n]!), {
          key: (n) => n,
          concurrency: 20,
          weight: () => 1,
          inFlightWeight: 3
        }),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, 0),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      assert.strictEqual(pulled, 3)
      for (let n = 1; n <= 5; n++) {
        yield* Deferred.succeed(doors[n]!, undefined)
        yield* BlazeTest.settle
        assert.strictEqual(pulled, 3 + n)
      }
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("10 000 elements may be in flight, and weigh nothing, when nothing else is said", () =>
    Effect.gen(function* () {
      let pulled = 0
      const fiber = yield* Stream.range(1, 20_000).pipe(
        Stream.rechunk(100),
        Stream.tap(() => Effect.sync(() => pulled++)),
        Keyed.mapEffect(() => Effect.never, { key: (n) => n % 3, concurrency: 4, inFlightWeight: 1 }),
        Stream.runDrain,
        Effect.provideService(Keyed.Grace, 0),
        Effect.forkChild
      )
      yield* Effect.repeat(BlazeTest.settle, { times: 5 })
      assert.strictEqual(pulled, 10_000)
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("Keyed.mapEffectBatch", () => {
  const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

  /** A stream that is fed by hand, and what became of it: "0-2 a: 1 2" for a batch that ran from second 0 to second 2, "0!1 a: 1" for a cut one. */
  const observed = Effect.fnUntraced(function* (
    options: Omit<Keyed.BatchOptions<Item>, "key">,
    takes: Duration.Input = 0,
    around: <A>(self: Effect.Effect<A>) => Effect.Effect<A> = (self) => self
  ) {
    const queue = yield* Queue.unbounded<Item, Cause.Done>()
    const log: Array<string> = []
    const running = new Set<string>()
    const fiber = yield* Stream.fromQueue(queue).pipe(
      Keyed.mapEffectBatch(
        (batch) =>
          around(
            Effect.gen(function* () {
              const began = yield* seconds
              const [{ key }] = batch
              assert.isFalse(running.has(key))
              running.add(key)
              yield* Effect.onExit(Effect.sleep(takes), (exit) =>
                Effect.map(seconds, (now) => {
                  running.delete(key)
                  log.push(
                    `${began}${Exit.isSuccess(exit) ? "-" : "!"}${now} ${key}: ${batch.map(({ n }) => n).join(" ")}`
                  )
                })
              )
              return batch.length
            })
          ),
        { key, ...options }
      ),
      Stream.runCollect,
      Effect.forkChild
    )
    return {
      log,
      fiber,
      offer: (...items: ReadonlyArray<Item>) => Effect.andThen(Queue.offerAll(queue, items), BlazeTest.settle),
      pass: (seconds: number) => Effect.andThen(TestClock.adjust(seconds * 1000), BlazeTest.settle),
      end: Effect.andThen(Queue.end(queue), BlazeTest.settle)
    }
  })

  it.effect("gives what has come meanwhile as one batch, one at a time for each key, of at most so many", () =>
    Effect.gen(function* () {
      const { end, fiber, log, offer, pass } = yield* observed({ concurrency: 8, size: 3 }, "2 seconds")
      yield* offer(item("a", 1))
      yield* offer(...[2, 3, 4, 5].map((n) => item("a", n)), item("b", 1))
      yield* pass(1)
      yield* offer(item("a", 6))
      yield* end
      yield* pass(9)
      assert.deepStrictEqual(log, ["0-2 a: 1", "0-2 b: 1", "2-4 a: 2 3 4", "4-6 a: 5 6"])
      assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 1, 3, 2])
    })
  )

  it.effect("with quiet, a batch begins once its key has been silent, or is full", () =>
    Effect.gen(function* () {
      const { log, offer, pass } = yield* observed({ concurrency: 8, quiet: "2 seconds", size: 3 })
      yield* offer(item("a", 1), item("b", 1))
      yield* pass(1)
      yield* offer(item("a", 2), item("c", 1))
      yield* pass(1)
      assert.deepStrictEqual(log, ["2-2 b: 1"])
      yield* pass(1)
      assert.deepStrictEqual(log, ["2-2 b: 1", "3-3 a: 1 2", "3-3 c: 1"])
      yield* offer(...[3, 4, 5, 6].map((n) => item("a", n)))
      assert.deepStrictEqual(log.slice(3), ["3-3 a: 3 4 5"])
      yield* pass(2)
      assert.deepStrictEqual(log.slice(4), ["5-5 a: 6"])
    })
  )

  it.effect("with quiet, nothing is waited for once the stream has ended", () =>
    Effect.gen(function* () {
      const { end, fiber, log, offer } = yield* observed({ concurrency: 1, quiet: "1 hour" })
      yield* offer(item("a", 1), item("b", 1), item("a", 2))
      assert.deepStrictEqual(log, [])
      yield* end
      assert.deepStrictEqual(log, ["0-0 b: 1", "0-0 a: 1 2"])
      assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 2])
    })
  )

  it.effect("with restart, what arrives interrupts the batch of its key and joins it, until that is full", () =>
    Effect.gen(function* () {
      const { log, offer, pass } = yield* observed({ concurrency: 8, restart: true, size: 3 }, "5 seconds")
      yield* offer(item("a", 1))
      yield* pass(1)
      yield* offer(item("b", 1))
      yield* pass(1)
      yield* offer(item("a", 2))
      yield* pass(1)
      yield* offer(item("a", 3))
      yield* pass(1)
      yield* offer(item("a", 4))
      yield* pass(20)
      assert.deepStrictEqual(log, ["0!2 a: 1", "2!3 a: 1 2", "1-6 b: 1", "3-8 a: 1 2 3", "8-13 a: 4"])
    })
  )

  it.effect("with restart and quiet, a batch that was interrupted begins again after the silence", () =>
    Effect.gen(function* () {
      const options = { concurrency: 1, restart: true, quiet: "2 seconds" } as const
      const { end, fiber, log, offer, pass } = yield* observed(options, "5 seconds")
      yield* offer(item("a", 1))
      yield* pass(3)
      yield* offer(item("a", 2))
      yield* pass(1)
      yield* offer(item("b", 1))
      yield* pass(20)
      yield* end
      // The one worker does not wait for the silence of a: it is free for whoever is ready first.
      assert.deepStrictEqual(log, ["2!3 a: 1", "5-10 a: 1 2", "10-15 b: 1"])
      assert.deepStrictEqual(yield* Fiber.join(fiber), [2, 1])
    })
  )

  it.effect("with restart, a batch that cannot be interrupted ends before it begins again", () =>
    Effect.gen(function* () {
      const { log, offer, pass } = yield* observed(
        { concurrency: 8, restart: true },
        "5 seconds",
        Effect.uninterruptible
      )
      yield* offer(item("a", 1))
      yield* pass(1)
      yield* offer(item("a", 2))
      yield* offer(item("a", 3))
      yield* pass(20)
      assert.deepStrictEqual(log, ["0-5 a: 1", "5-10 a: 1 2 3"])
    })
  )

  it.live("with restart, no key is held whose batches have ended", () =>
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<object, Cause.Done>()
      let ended = 0
      const [allEnded, last] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const fiber = yield* Stream.fromQueue(queue).pipe(
        Keyed.mapEffectBatch(() => Effect.void, { key: (key) => key, concurrency: 8, restart: true }),
        Stream.runForEach(() =>
          ++ended < 100 ? Effect.void : Deferred.succeed(ended === 100 ? allEnded : last, undefined)
        ),
        Effect.forkChild
      )
      const keys = Array.makeBy(100, () => {
        const key = {}
        Queue.offerUnsafe(queue, key)
        return new WeakRef(key)
      })
      yield* Deferred.await(allEnded)
      // What came last is held until there is something else.
      Queue.offerUnsafe(queue, {})
      yield* Deferred.await(last)
      assert.isBelow(yield* held(keys), 4)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("with restart, a batch that fails while it is interrupted has failed", () =>
    Effect.gen(function* () {
      const { fiber, offer, pass } = yield* observed({ concurrency: 8, restart: true }, "5 seconds", (batch) =>
        Effect.onInterrupt(batch, () => Effect.die("no"))
      )
      yield* offer(item("a", 1))
      yield* pass(1)
      yield* offer(item("a", 2))
      const exit = fiber.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    })
  )

  it.effect("what waits for silence or its distance takes no place among those at work", () =>
    Effect.gen(function* () {
      const quiet = yield* observed({ concurrency: 1, quiet: "10 seconds", size: 2 })
      yield* quiet.offer(item("a", 1), item("b", 1), item("b", 2))
      assert.deepStrictEqual(quiet.log, ["0-0 b: 1 2"])
      const spaced = yield* observed({ concurrency: 1, every: "10 seconds", size: 1 })
      yield* spaced.offer(item("a", 1), item("a", 2), item("b", 1))
      assert.deepStrictEqual(spaced.log, ["0-0 a: 1", "0-0 b: 1"])
    })
  )

  it.effect("counts each element of a batch as in flight, and by its weight, until it was passed on", () =>
    Effect.gen(function* () {
      const options = {
        concurrency: 8,
        quiet: "2 seconds",
        inFlight: 4,
        inFlightWeight: 10,
        weight: ({ n }: Item) => n
      } as const
      const { log, offer, pass } = yield* observed(options)
      yield* offer(...[1, 1, 1, 1, 5, 6, 7].map((n) => item("a", n)))
      // No more may be in flight, so that the silence is not waited for.
      assert.deepStrictEqual(log, ["0-0 a: 1 1 1 1", "0-0 a: 5 6"])
      yield* pass(2)
      assert.deepStrictEqual(log.slice(2), ["2-2 a: 7"])
    })
  )

  for (const [name, bound] of [
    ["as many", { inFlight: 4 }],
    ["as much weight", { weight: () => 10, inFlightWeight: 31 }]
  ] as const) {
    it.effect(`takes exactly ${name} again as was passed on in batches`, () =>
      Effect.gen(function* () {
        let pulled = 0
        const doors = yield* Effect.forEach(Array.range(0, 10), () => Deferred.make<void>())
        const fiber = yield* Stream.range(0, 19).pipe(
          Stream.rechunk(2),
          Stream.tap(() => Effect.sync(() => pulled++)),
          Keyed.mapEffectBatch(([n]) => Deferred.await(doors[Math.floor(n / 2)]!), {
            key: (n) => Math.floor(n / 2),
            concurrency: 20,
            ...bound
          }),
          Stream.runDrain,
          Effect.provideService(Keyed.Grace, 0),
          Effect.forkChild
        )
        yield* BlazeTest.settle
        assert.strictEqual(pulled, 4)
        for (let door = 0; door < 6; door++) {
          yield* Deferred.succeed(doors[door]!, undefined)
          yield* BlazeTest.settle
          assert.strictEqual(pulled, 6 + 2 * door)
        }
        yield* Fiber.interrupt(fiber)
      })
    )
  }

  it.effect("with quiet, a full batch that has ended within its silence leaves none behind", () =>
    Effect.gen(function* () {
      const { log, offer, pass } = yield* observed({ concurrency: 8, quiet: "4 seconds", size: 2 }, "1 second")
      yield* offer(item("a", 1), item("a", 2))
      yield* pass(2)
      yield* offer(item("a", 3))
      yield* pass(3)
      yield* offer(item("a", 4))
      yield* offer(item("a", 5))
      yield* pass(10)
      assert.deepStrictEqual(log, ["0-1 a: 1 2", "5-6 a: 3 4", "9-10 a: 5"])
    })
  )

  it.effect("an element weighs what it weighed when it was begun, whatever is done to it", () =>
    Effect.gen(function* () {
      const elements = Array.makeBy(20, (n) => ({ n, chunks: Array.makeBy(3, () => 0) }))
      const count = yield* Stream.fromIterable(elements).pipe(
        Keyed.mapEffect((element) => Effect.sync(() => (element.chunks.length = 0)), {
          key: ({ n }) => n,
          concurrency: 2,
          weight: ({ chunks }) => chunks.length,
          inFlightWeight: 10
        }),
        Stream.runCount
      )
      assert.strictEqual(count, 20)
    })
  )

  it.effect("interrupted, it begins nothing that waits for its silence", () =>
    Effect.gen(function* () {
      const { fiber, log, offer, pass } = yield* observed({ concurrency: 8, quiet: "1 second" })
      yield* offer(item("a", 1))
      yield* Fiber.interrupt(fiber)
      yield* pass(10)
      assert.deepStrictEqual(log, [])
    })
  )

  it.effect("fails with the first failure, and with a size that is none", () =>
    Effect.gen(function* () {
      const run = (size: number) =>
        Stream.range(1, 9).pipe(
          Keyed.mapEffectBatch((batch) => (batch.length > 2 ? Effect.fail("many") : Effect.succeed(batch)), {
            key: () => "one",
            concurrency: 2,
            size
          }),
          Stream.runDrain,
          Effect.exit
        )
      assert.deepStrictEqual(yield* run(3), Exit.fail("many"))
      assert.isTrue(Exit.isSuccess(yield* run(2)))
      assert.match(String(yield* run(0)), /size/)
    })
  )

  it.live.prop(
    "loses and doubles nothing, keeps the order of each key, and is never beside itself, whatever arrives when",
    {
      arrivals: Schema.Array(
        Schema.Struct({ key: Schema.Literals(["a", "b", "c"]), pause: Schema.Literals([0, 0, 1, 3]) })
      ),
      quiet: Schema.Literals([0, 2]),
      every: Schema.Literals([0, 2]),
      restart: Schema.Boolean,
      size: Schema.Literals([1, 2, 5]),
      inFlight: Schema.Literals([1, 3, 100])
    },
    ({ arrivals, ...options }) =>
      Effect.gen(function* () {
        const running = new Set<string>()
        const done: Array<Item> = []
        const begun = new Map<string, number>()
        const program = Stream.fromIterable(arrivals).pipe(
          Stream.mapEffect(({ key, pause }, n) =>
            Effect.as(pause > 0 ? Effect.sleep(pause) : Effect.void, item(key, n))
          ),
          Keyed.mapEffectBatch(
            (batch) =>
              Effect.gen(function* () {
                const [{ key }] = batch
                assert.isAtMost(batch.length, options.size)
                assert.isFalse(running.has(key))
                running.add(key)
                const now = yield* Clock.currentTimeMillis
                assert.isAtLeast(now - (begun.get(key) ?? -Infinity), options.every)
                begun.set(key, now)
                yield* Effect.ensuring(
                  Effect.sleep(2),
                  Effect.sync(() => running.delete(key))
                )
                done.push(...batch)
              }),
            { key, concurrency: 2, ...options }
          ),
          Stream.runDrain
        )
        const fiber = yield* Effect.forkChild(program)
        while (fiber.pollUnsafe() === undefined) {
          yield* BlazeTest.settle
          yield* TestClock.adjust(1)
        }
        yield* Fiber.join(fiber)
        for (const key of ["a", "b", "c"]) {
          const expected = arrivals.flatMap((arrival, n) => (arrival.key === key ? [n] : []))
          assert.deepStrictEqual(
            done.filter((item) => item.key === key).map(({ n }) => n),
            expected
          )
        }
      }).pipe(Effect.provide(TestClock.layer())),
    { arbitrary: { runs: 60 } }
  )
})

describe("Keyed.mapExit", () => {
  it.effect(
    "gives the place of one that only goes on afterwards to another, and has it take one again that works once more",
    () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const stages = new Map<number, "first" | "afterwards" | "again">()
        const work = (name: string) =>
          Effect.andThen(
            Effect.map(Clock.currentTimeMillis, (now) => log.push(`${now / 1000} ${name}`)),
            Effect.sleep("1 second")
          )
        const fiber = yield* Stream.fromIterable([item("a", 1), item("b", 2), item("c", 3), item("d", 4)]).pipe(
          Keyed.mapExit(
            ({ n }) => (stages.set(n, "first"), work(`first ${n}`)),
            ({ n }) => {
              const stage = stages.get(n)!
              if (stage === "again") return Exit.void
              stages.set(n, stage === "first" ? "afterwards" : "again")
              return stage === "first" ? Effect.sleep("1 second") : work(`again ${n}`)
            },
            { key, concurrency: 1, isAfterwards: ({ n }) => stages.get(n) === "afterwards" }
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        for (let second = 0; second < 10; second++) {
          yield* BlazeTest.settle
          yield* TestClock.adjust("1 second")
        }
        yield* Fiber.join(fiber)
        // The third waits for the end of the first; the second, which goes on, for nobody.
        assert.deepStrictEqual(log, [
          "0 first 1",
          "1 first 2",
          "2 again 1",
          "3 first 3",
          "3 again 2",
          "4 first 4",
          "5 again 3",
          "6 again 4"
        ])
      })
  )
})

describe("Keyed.mapExit's isAfterwards", () => {
  it.effect("what ended afterwards leaves no place behind that is nobody's", () =>
    Effect.gen(function* () {
      const stages = new Map<number, "first" | "afterwards">()
      let running = 0
      let most = 0
      yield* Stream.range(1, 12).pipe(
        Keyed.mapExit(
          (n) => {
            stages.set(n, "first")
            most = Math.max(most, ++running)
            return Effect.ensuring(
              Effect.yieldNow,
              Effect.sync(() => running--)
            )
          },
          (n) => {
            if (stages.get(n) === "afterwards") return Exit.void
            stages.set(n, "afterwards")
            return Effect.yieldNow
          },
          { key: (n) => n, concurrency: 2, isAfterwards: (n) => stages.get(n) === "afterwards" }
        ),
        Stream.runDrain
      )
      assert.strictEqual(most, 2)
    })
  )
})

describe("Keyed's every", () => {
  it.effect("elements of a key begin no closer together than that, and the last of them holds nobody up", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const items = [item("a", 1), item("a", 2), item("b", 1), item("a", 3)]
      const fiber = yield* Stream.fromIterable(items).pipe(
        Keyed.mapEffect(
          ({ key, n }) =>
            Effect.andThen(
              Effect.map(Clock.currentTimeMillis, (now) => log.push(`${now / 1000} ${key}${n}`)),
              Effect.sleep("1 second")
            ),
          { key, concurrency: 1, every: "5 seconds" }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(log, ["0 a1", "1 b1", "5 a2", "10 a3"])
      // Nothing of a can follow, so that its distance is nobody's concern any more.
      yield* Fiber.join(fiber)
    })
  )

  it.effect("holds for a key that had nothing to do meanwhile", () =>
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<Item>()
      const log: Array<string> = []
      yield* Stream.fromQueue(queue).pipe(
        Keyed.mapEffect(({ n }) => Effect.map(Clock.currentTimeMillis, (now) => log.push(`${now / 1000} ${n}`)), {
          key,
          concurrency: 8,
          every: "5 seconds"
        }),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* Queue.offer(queue, item("a", 1))
      yield* BlazeTest.settle
      yield* TestClock.adjust("3 seconds")
      yield* Queue.offer(queue, item("a", 2))
      yield* BlazeTest.settle
      assert.deepStrictEqual(log, ["0 1"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(log, ["0 1", "5 2"])
    })
  )
})
