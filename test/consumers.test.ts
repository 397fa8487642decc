// Who consumes the messages, one after the other and behind any operator: nothing is lost, handled beside itself, or dropped in silence.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, Schedule, Stream } from "effect"
import { Blaze, Bot, Delivery, Keyed, Settings, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { client, clientWith, lines, pass, storeOf, textOf } from "./support.ts"

type Deliveries = Blaze.Blaze["Service"]["deliveries"]

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

describe("drain", () => {
  const operators: ReadonlyArray<readonly [string, (self: Deliveries) => Deliveries]> = [
    ["nothing", (self) => self],
    ["merge", (self) => Stream.merge(self, Stream.never)],
    ["mergeAll", (self) => Stream.mergeAll([self, Stream.never], { concurrency: 2 })],
    ["concat", (self) => Stream.concat(self, Stream.never)],
    ["flatMap", (self) => Stream.flatMap(Stream.make(1), () => self)],
    ["unwrap", (self) => Stream.unwrap(Effect.succeed(self))],
    ["buffer", (self) => Stream.buffer(self, { capacity: 16 })],
    ["retry", (self) => Stream.retry(self, Schedule.recurs(3))]
  ]
  for (const [name, operator] of operators) {
    it.effect(`waits for the handlers behind ${name}, and their acknowledgements are sent`, () =>
      Effect.gen(function* () {
        const { deliveries, drain } = yield* Blaze.Blaze
        const bot = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        yield* operator(deliveries).pipe(
          Stream.mapEffect(
            Delivery.handle(() => Effect.sleep("2 seconds")),
            { concurrency: 8 }
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        const id = yield* alice.say("hi")
        yield* BlazeTest.settle
        const drained = yield* Effect.forkChild(Effect.andThen(drain, seconds))
        yield* pass(1)
        assert.isUndefined(drained.pollUnsafe())
        yield* pass(1)
        assert.strictEqual(yield* Fiber.join(drained), 2)
        assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
      }).pipe(Effect.provide(BlazeTest.layer))
    )
  }

  it.effect("waits until what is put aside is stored, and no longer", () => {
    const store = Layer.succeed(
      Store.Store,
      storeOf((changes) => Effect.as(Effect.sleep("1 second"), Store.committed(changes)))
    )
    return Effect.gen(function* () {
      const context = yield* Layer.build(clientWith({ store }))
      const { deliveries, drain } = Context.get(context, Blaze.Blaze)
      const alice = yield* BlazeTest.user("alice")
      yield* deliveries.pipe(
        Stream.mapEffect(
          Delivery.handle(() => Effect.succeed(Delivery.Defer)),
          { concurrency: 8 }
        ),
        Stream.runDrain,
        Effect.forkScoped
      )
      for (const text of ["one", "two"]) yield* alice.say(text)
      yield* BlazeTest.settle
      const drained = yield* Effect.forkChild(Effect.andThen(drain, seconds))
      yield* BlazeTest.pass(999)
      assert.isUndefined(drained.pollUnsafe())
      yield* BlazeTest.pass(1)
      assert.strictEqual(yield* Fiber.join(drained), 1)
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer))
  })

  it.effect("does not wait for what an interrupted consumer has left: nobody will settle that", () =>
    Effect.gen(function* () {
      const { drain } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const fiber = yield* Effect.forkChild(Bot.run(() => Effect.never))
      yield* alice.say("hi")
      yield* BlazeTest.settle
      yield* Fiber.interrupt(fiber)
      const drained = yield* Effect.forkChild(Effect.andThen(drain, seconds))
      yield* pass(0)
      assert.strictEqual(yield* Fiber.join(drained), 0)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("tells by id what is still open when its time is over", () => {
    const log = lines()
    return Effect.gen(function* () {
      const { deliveries, drain } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      yield* deliveries.pipe(
        Stream.filter(() => false),
        Stream.runDrain,
        Effect.forkChild
      )
      const id = yield* alice.say("hi")
      yield* BlazeTest.settle
      const drained = yield* Effect.forkChild(Effect.andThen(drain, seconds))
      yield* pass(29)
      assert.isUndefined(drained.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(yield* Fiber.join(drained), 30)
      assert.match(log.all.join(), new RegExp(`not handled when the time to drain was over.*${id}`))
    }).pipe(Effect.provide(client), Effect.provide(BlazeTest.layerServer), Effect.provide(log.layer))
  })

  it.effect("an acknowledgement that comes too late is told by id", () => {
    const log = lines()
    return Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const id = yield* alice.say("hi")
      const [delivery] = yield* Stream.runCollect(Stream.take(deliveries, 1))
      return { delivery: delivery!, id }
    }).pipe(
      Effect.provide(client),
      Effect.flatMap(({ delivery, id }) =>
        Effect.gen(function* () {
          yield* delivery.ack
          yield* BlazeTest.settle
          assert.match(log.all.join(), new RegExp(`too late to be acknowledged.*${id}`))
        })
      ),
      Effect.provide(BlazeTest.layerServer),
      Effect.provide(log.layer)
    )
  })
})

describe("the next consumer", () => {
  it.effect("never gets what is still being handled: a message is not handled beside itself", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      yield* Stream.concat(Stream.take(deliveries, 1), deliveries).pipe(
        Stream.mapEffect(
          Delivery.handle((delivery) => {
            begun.push(textOf(delivery))
            return Effect.sleep("2 seconds")
          }),
          { concurrency: 8 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      for (const text of ["1", "2", "3"]) yield* alice.say(text)
      yield* pass(1)
      assert.deepStrictEqual(begun, ["1", "2", "3"])
      yield* pass(60)
      assert.deepStrictEqual(begun, ["1", "2", "3"])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  const lanes = { key: ({ message }: Delivery.Delivery) => message.conversationId, concurrency: 8 }
  const work = Effect.sleep("2 seconds")
  type Handler = (delivery: Delivery.Delivery) => Effect.Effect<void>
  const onward: ReadonlyArray<readonly [string, (self: Deliveries, handler: Handler) => Stream.Stream<void, unknown>]> =
    [
      ["a lane of Keyed", (self, handler) => self.pipe(Keyed.mapEffect(Delivery.handle(handler), lanes))],
      [
        "a buffer",
        (self, handler) =>
          Stream.mapEffect(Stream.buffer(self, { capacity: 16 }), (delivery) => Delivery.handle(handler)(delivery))
      ],
      [
        "a handler that settles by hand",
        (self, handler) =>
          Stream.mapEffect(self, (delivery) => Effect.andThen(handler(delivery), delivery.ack), { concurrency: 8 })
      ]
    ]
  const successors: ReadonlyArray<readonly [string, (self: Deliveries) => Deliveries]> = [
    ["take and concat", (self) => Stream.concat(Stream.take(self, 3), self)],
    ["take and forever", (self) => Stream.forever(Stream.take(self, 2))],
    ["take and flatMap", (self) => Stream.flatMap(Stream.make(1, 2, 3, 4), () => Stream.take(self, 1))]
  ]
  for (const [succession, succeed] of successors) {
    for (const [place, handle] of onward) {
      it.effect(`behind ${succession} never gets what waits in ${place}`, () =>
        Effect.gen(function* () {
          const { deliveries } = yield* Blaze.Blaze
          const bot = yield* BlazeTest.Account
          const alice = yield* BlazeTest.user("alice")
          const begun: Array<string> = []
          for (const text of ["1", "2", "3", "4"]) yield* alice.say(text)
          const handler: Handler = (delivery) =>
            Effect.andThen(
              Effect.sync(() => begun.push(textOf(delivery))),
              work
            )
          yield* Effect.forkChild(Stream.runDrain(handle(succeed(deliveries), handler)))
          yield* pass(60)
          assert.deepStrictEqual(begun, ["1", "2", "3", "4"])
          assert.deepStrictEqual(yield* bot.pending, [])
        }).pipe(Effect.provide(BlazeTest.layer))
      )
    }
  }

  it.effect("gets what the one before had taken and not begun, when all of that one has ended", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const ended: Array<string> = []
      const consume = (count: number) =>
        deliveries.pipe(
          Keyed.mapEffect(
            Delivery.handle((delivery) =>
              Effect.andThen(
                work,
                Effect.sync(() => ended.push(textOf(delivery)))
              )
            ),
            lanes
          ),
          Stream.take(count),
          Stream.runDrain
        )
      for (const text of ["1", "2", "3", "4", "5", "6"]) yield* alice.say(text)
      yield* consume(1).pipe(Effect.andThen(consume(2)), Effect.andThen(consume(10)), Effect.forkChild)
      for (let n = 0; n < 16; n++) yield* pass(1)
      assert.deepStrictEqual(ended, ["1", "2", "3", "4", "5", "6"])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("gets what was interrupted while nobody consumed", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      yield* alice.say("1")
      const [delivery] = yield* Stream.runCollect(Stream.take(deliveries, 1))
      const outlived = yield* Effect.forkChild(Delivery.handle(() => Effect.never)(delivery!), {
        startImmediately: true
      })
      yield* Fiber.interrupt(outlived)
      yield* Effect.forkChild(Bot.run((delivery) => Effect.sync(() => begun.push(textOf(delivery)))))
      yield* pass(1)
      assert.deepStrictEqual(begun, ["1"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("gets what the one before failed at, in the same fiber", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      for (const text of ["1", "2"]) yield* alice.say(text)
      yield* deliveries.pipe(
        Stream.mapEffect((delivery) =>
          Effect.suspend(() => (begun.push(textOf(delivery)) === 1 ? Effect.fail("no") : delivery.ack))
        ),
        Stream.runDrain,
        Effect.retry({ times: 1 }),
        Effect.forkChild
      )
      yield* pass(2)
      assert.deepStrictEqual(begun, ["1", "1", "2"])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("begins with what was interrupted, in order", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      const consume = (time: number) =>
        deliveries.pipe(
          Keyed.mapEffect(
            Delivery.handle((delivery) => {
              begun.push(textOf(delivery))
              return Effect.sleep(time)
            }),
            lanes
          ),
          Stream.runDrain
        )
      const first = yield* Effect.forkChild(consume(10_000))
      for (const text of ["1", "2", "3"]) yield* alice.say(text)
      yield* pass(1)
      yield* Fiber.interrupt(first)
      yield* Effect.forkChild(consume(0))
      yield* pass(1)
      assert.deepStrictEqual(begun, ["1", "1", "2", "3"])
      yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("gets at once what is interrupted later, by a handler that has outlived its own stream", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      yield* alice.say("1")
      const [delivery] = yield* Stream.runCollect(Stream.take(deliveries, 1))
      const outlived = yield* Effect.forkChild(Delivery.handle(() => Effect.never)(delivery!), {
        startImmediately: true
      })
      yield* Effect.forkChild(Bot.run((delivery) => Effect.sync(() => begun.push(textOf(delivery)))))
      yield* alice.say("2")
      yield* pass(1)
      assert.deepStrictEqual(begun, ["2"])
      yield* Fiber.interrupt(outlived)
      yield* pass(1)
      assert.deepStrictEqual(begun, ["2", "1"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("gets what is left in one go in order, though it is busy", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      for (const text of ["1", "2", "3"]) yield* alice.say(text)
      const left = yield* Stream.runCollect(Stream.take(deliveries, 3))
      const fibers = yield* Effect.forEach(left, (delivery) =>
        Effect.forkChild(Delivery.handle(() => Effect.never)(delivery), { startImmediately: true })
      )
      yield* Effect.forkChild(
        Bot.run(
          (delivery) =>
            Effect.andThen(
              Effect.sync(() => begun.push(textOf(delivery))),
              Effect.sleep("1 second")
            ),
          {
            concurrency: 1,
            inFlight: { messages: 1, bytes: 1_000_000 }
          }
        )
      )
      yield* alice.say("0")
      yield* BlazeTest.settle
      yield* Fiber.interruptAll(fibers)
      for (let n = 0; n < 6; n++) yield* pass(1)
      assert.deepStrictEqual(begun, ["0", "1", "2", "3"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("honours the acknowledgement of who had the message before", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const begun: Array<string> = []
      for (const text of ["1", "2"]) yield* alice.say(text)
      const left = yield* Effect.flatMap(Effect.forkChild(Stream.runCollect(Stream.take(deliveries, 2))), Fiber.join)
      // One before the next consumer has it, one while it has.
      yield* left[0]!.ack
      yield* Effect.forkChild(
        Bot.run((delivery) =>
          Effect.andThen(
            Effect.sync(() => begun.push(textOf(delivery))),
            Effect.never
          )
        )
      )
      yield* pass(1)
      yield* left[1]!.ack
      yield* pass(2)
      assert.deepStrictEqual(begun, ["2"])
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("may be many, one after the other, cut short at any moment", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const handled: Array<string> = []
      const expected: Array<string> = []
      for (let n = 0; n < 40; n++) {
        expected.push(String(n))
        yield* alice.say(String(n))
        const fiber = yield* Effect.forkChild(
          Bot.run((delivery) =>
            Effect.as(Effect.sleep(5), void 0).pipe(Effect.andThen(Effect.sync(() => handled.push(textOf(delivery)))))
          )
        )
        for (let turn = 0; turn < n * 3; turn++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      yield* Effect.forkChild(Bot.run((delivery) => Effect.sync(() => handled.push(textOf(delivery)))))
      yield* pass(2)
      yield* pass(2)
      assert.deepStrictEqual(handled, expected)
      assert.deepStrictEqual(yield* bot.pending, [])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

describe("what is offered again", () => {
  it.effect("is no progress of a connection: a frame that stays bad is passed over all the same", () =>
    Effect.gen(function* () {
      const { inject } = yield* Effect.map(BlazeTest.Account, (bot) => ({ inject: bot.push }))
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.succeed(Delivery.Defer)))
      yield* alice.say("hi")
      yield* pass(1)
      // Between any two connections that end with a bad frame the deferred message is offered again.
      for (let n = 0; n < 4; n++) {
        yield* inject(new Uint8Array([1, 2, 3]))
        yield* pass(120)
      }
      assert.strictEqual(yield* bot.handshakes, 4)
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(
            Settings.layer({ defer: Schedule.spaced("10 seconds"), deferredMessages: 100, deferredBytes: 1_000_000 })
          )
        )
      )
    )
  )
})

describe("what is new", () => {
  it.effect("is progress of a connection: a frame that is bad after it ends the connection each time", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      yield* pass(1)
      for (let n = 0; n < 6; n++) {
        yield* alice.say("hi")
        yield* pass(1)
        yield* bot.push(new Uint8Array([1, 2, 3]))
        yield* pass(120)
      }
      assert.strictEqual(yield* bot.handshakes, 7)
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})
