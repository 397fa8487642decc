import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { Blaze, Bot, Delivery, type Ids, Keyed, Message, Settings, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import * as Deferral from "../src/internal/Deferral.ts"
import * as Elapsed from "../src/internal/Elapsed.ts"
import * as States from "../src/internal/States.ts"
import { id } from "./contract/stores.ts"
import { setWall, storeOf } from "./support.ts"

const client = (bounds: Pick<Settings.Settings, "deferredMessages" | "deferredBytes">) =>
  Blaze.layer.pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide([
      BlazeTest.layerPlatform,
      Settings.layer({ flushTimeout: 0, defer: Schedule.spaced("10 seconds"), ...bounds })
    ])
  )

describe("Deferral", () => {
  // What is not given back when a message wakes up, or is done with, is gone for ever.
  for (const [name, bounds] of [
    ["more bytes than are kept", { deferredMessages: 1000, deferredBytes: 8000 }],
    ["more than twice as many messages as are kept", { deferredMessages: 2, deferredBytes: 1_000_000 }]
  ] as const) {
    it.effect(`${name} can be deferred over time: each is offered again by the schedule`, () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const runs = new Map<string, number>()
        yield* Effect.forkChild(
          Bot.run(({ message }) =>
            Effect.sync(() => {
              const run = (runs.get(message.id) ?? 0) + 1
              runs.set(message.id, run)
              return run <= 2 ? Delivery.Defer : Delivery.Ack
            })
          )
        )
        for (let n = 0; n < 20; n++) {
          const id = yield* alice.say("x".repeat(2000))
          for (const run of [1, 2, 3]) {
            yield* BlazeTest.settle
            assert.strictEqual(runs.get(id), run, `message ${n}`)
            yield* TestClock.adjust("10 seconds")
          }
        }
        yield* BlazeTest.settle
        assert.deepStrictEqual([yield* bot.pending, yield* bot.handshakes], [[], 1])
      }).pipe(
        Effect.provide(client(bounds)),
        Effect.provide(BlazeTest.layerServer),
        Effect.provideService(Keyed.Grace, 0)
      )
    )
  }
})

describe("what is put aside", () => {
  const day = Duration.toMillis("1 day")
  const message = (n: number, createdAt = 0) =>
    Message.fromView({
      message_id: id(n),
      category: "PLAIN_TEXT",
      data: "aGk=",
      created_at: new Date(createdAt).toISOString()
    })

  /** By itself, with all that has come out of it. */
  const scene = Effect.gen(function* () {
    const offered: Array<Ids.MessageId> = []
    const dropped: Array<Ids.MessageId> = []
    const states = yield* States.States
    const now = yield* Elapsed.now
    const deferral = yield* Deferral.make({
      offer: (message) => void offered.push(message.id),
      drop: (message) => Effect.sync(() => void dropped.push(message.id))
    })
    return {
      deferral,
      dropped,
      offered,
      states,
      now,
      /** Puts one aside that has just come. */
      defer: (n: number, after?: Duration.Duration) =>
        Effect.andThen(states.admit([id(n)]), deferral.defer(message(n), now(), after))
    }
  })

  const scened = <A, E>(
    body: Effect.Effect<A, E, Effect.Services<typeof scene>>,
    settings: Partial<Settings.Settings> = {},
    store: typeof Store.layerMemory = Store.layerMemory
  ) =>
    body.pipe(
      Effect.scoped,
      Effect.provide(States.layer.pipe(Layer.provide(store))),
      Effect.provide(Settings.layer({ defer: Schedule.spaced("10 seconds"), ...settings }))
    )

  it.effect("is dropped 7 days after it was written or first arrived, whichever is later", () =>
    Effect.gen(function* () {
      const { deferral, dropped, now, offered, states } = yield* scene
      // It arrives after a day, and was written a day after that, by the clock of the server.
      yield* TestClock.adjust("1 day")
      const since = now()
      yield* TestClock.adjust("3 days")
      yield* states.admit([id(1), id(2), id(3)])
      // Each is asked for again six days from now, on the tenth: what was written later is there for a day longer.
      for (const [n, createdAt] of [
        [1, 2 * day],
        [2, -2 * day],
        [3, 4 * day]
      ] as const) {
        assert.strictEqual(yield* deferral.defer(message(n, createdAt), since, Duration.days(6)), "Kept")
      }
      yield* BlazeTest.pass(4 * day - 1)
      assert.deepStrictEqual([offered, dropped], [[], []])
      yield* BlazeTest.pass(1)
      assert.deepStrictEqual([offered, dropped], [[], [id(2)]])
      assert.strictEqual(yield* deferral.defer(message(2), since, undefined), "Dropped")
      yield* BlazeTest.pass(day - 1)
      assert.deepStrictEqual([offered, dropped], [[], [id(2)]])
      yield* BlazeTest.pass(1)
      assert.deepStrictEqual([offered, dropped], [[], [id(2), id(1)]])
      yield* BlazeTest.pass(day)
      assert.deepStrictEqual([offered, dropped], [[id(3)], [id(2), id(1)]])
      assert.strictEqual(deferral.size(), 0)
    }).pipe(scened)
  )

  it.effect("is bounded in number, and what wakes up makes room", () =>
    scened(
      Effect.gen(function* () {
        const { defer, deferral, offered, states } = yield* scene
        assert.deepStrictEqual([yield* defer(1), yield* defer(2), yield* defer(3)], ["Kept", "Kept", "NoRoom"])
        assert.deepStrictEqual(
          [1, 2, 3].map((n) => states.of(id(n))),
          ["Deferred", "Deferred", "Due"]
        )
        assert.deepStrictEqual([deferral.size(), deferral.knows(id(3))], [2, true])
        assert.deepStrictEqual([deferral.waiting(id(1))?.id, deferral.waiting(id(3))], [id(1), undefined])
        yield* BlazeTest.pass("10 seconds")
        assert.deepStrictEqual([offered, deferral.size()], [[id(1), id(2)], 0])
        assert.isUndefined(deferral.waiting(id(1)))
        assert.deepStrictEqual(
          [1, 2].map((n) => states.of(id(n))),
          ["Due", "Due"]
        )
        assert.deepStrictEqual([yield* defer(3), yield* defer(4), yield* defer(5)], ["Kept", "Kept", "NoRoom"])
      }),
      { deferredMessages: 2 }
    )
  )

  it.effect("leaves no timer behind when it is done with before its time", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let sleeping = 0
      const counting: Clock.Clock = Object.create(clock, {
        sleep: {
          value: (duration: Duration.Duration) =>
            Effect.acquireUseRelease(
              Effect.sync(() => sleeping++),
              () => clock.sleep(duration),
              () => Effect.sync(() => sleeping--)
            )
        }
      })
      yield* scened(
        Effect.gen(function* () {
          const { defer, deferral, offered } = yield* scene
          for (const n of [1, 2, 3]) yield* defer(n, Duration.days(6))
          yield* BlazeTest.settle
          assert.strictEqual(sleeping, 3)
          for (const n of [1, 3]) deferral.forget(id(n))
          yield* BlazeTest.settle
          assert.strictEqual(sleeping, 1)
          yield* BlazeTest.pass("7 days")
          assert.deepStrictEqual([offered, sleeping], [[id(2)], 0])
        })
      ).pipe(Effect.provideService(Clock.Clock, counting))
    })
  )

  for (const by of [3_600_000, -3_600_000]) {
    it.effect(`is offered when it is its time, though the clock was set by ${by} ms while it was being stored`, () => {
      const wall = setWall()
      const store = storeOf((changes) => Effect.as(Effect.sleep("1 second"), Store.committed(changes)))
      return Effect.gen(function* () {
        const { defer, offered } = yield* scene
        const deferring = yield* Effect.forkChild(defer(1, Duration.minutes(10)))
        yield* BlazeTest.settle
        wall.set(by)
        yield* BlazeTest.pass(599_999)
        yield* Fiber.join(deferring)
        assert.deepStrictEqual(offered, [])
        yield* BlazeTest.pass(1)
        assert.deepStrictEqual(offered, [id(1)])
      }).pipe((body) => scened(body, {}, Layer.succeed(Store.Store, store)), wall.provide)
    })
  }

  it.effect("is bounded in bytes, and what is done with makes room", () => {
    const { size } = message(1)
    return scened(
      Effect.gen(function* () {
        const { defer, deferral, offered } = yield* scene
        assert.deepStrictEqual([yield* defer(1), yield* defer(2), yield* defer(3)], ["Kept", "Kept", "NoRoom"])
        deferral.forget(id(1))
        deferral.forget(id(1))
        deferral.forget(id(9))
        assert.deepStrictEqual([deferral.size(), deferral.knows(id(1))], [1, false])
        assert.deepStrictEqual([yield* defer(4), yield* defer(5)], ["Kept", "NoRoom"])
        yield* BlazeTest.pass("10 seconds")
        // Not what was done with meanwhile.
        assert.deepStrictEqual(offered, [id(2), id(4)])
        assert.deepStrictEqual([yield* defer(1), yield* defer(2), yield* defer(3)], ["Kept", "Kept", "NoRoom"])
      }),
      { deferredBytes: 2 * size, deferredMessages: 100 }
    )
  })

  it.effect(
    "comes to the end of its schedule, though it found no room meanwhile; a time that was asked for is no try",
    () =>
      scened(
        Effect.gen(function* () {
          const { defer, deferral, states } = yield* scene
          assert.strictEqual(yield* defer(1), "Kept")
          for (const verdict of ["NoRoom", "NoRoom", "Exhausted"]) assert.strictEqual(yield* defer(2), verdict)
          yield* BlazeTest.pass("10 seconds")
          for (let times = 0; times < 5; times++) {
            assert.strictEqual(yield* defer(3, Duration.seconds(1)), "Kept")
            yield* BlazeTest.pass("1 second")
          }
          yield* deferral.giveUp(id(3))
          assert.deepStrictEqual([deferral.knows(id(3)), states.of(id(3))], [false, "GivenUp"])
        }),
        { defer: Schedule.upTo(Schedule.spaced("10 seconds"), { times: 2 }), deferredMessages: 1 }
      )
  )

  it.effect("before a restart has the tries it had, and waits no longer than its schedule says", () =>
    scened(
      Effect.gen(function* () {
        const { deferral, now, offered, states } = yield* scene
        const resume = (n: number, stored: Omit<Store.Deferred, "_tag">) =>
          Effect.andThen(states.admit([id(n)]), deferral.resume(message(n), now(), { _tag: "Deferred", ...stored }))
        // The second try is 20 seconds after the first, the third would be 40 after that.
        yield* resume(1, { tries: 2, until: day })
        yield* resume(2, { tries: 2, until: 5000 })
        yield* resume(3, { tries: 1, until: day, after: 60_000 })
        yield* resume(4, { tries: 1_000_000, until: 1000 })
        // No try has failed, and no time was asked for: whatever is stored, it is due.
        yield* resume(5, { tries: 0, until: day })
        yield* BlazeTest.pass(0)
        assert.deepStrictEqual(offered.splice(0), [id(5)])
        yield* BlazeTest.pass(1000)
        assert.deepStrictEqual(offered, [id(4)])
        yield* BlazeTest.pass(4000)
        assert.deepStrictEqual(offered, [id(4), id(2)])
        yield* BlazeTest.pass(14_999)
        assert.deepStrictEqual(offered, [id(4), id(2)])
        yield* BlazeTest.pass(1)
        assert.deepStrictEqual(offered, [id(4), id(2), id(1)])
        yield* BlazeTest.pass(40_000)
        assert.deepStrictEqual(offered.splice(0), [id(4), id(2), id(1), id(3)])
        // A minute has passed, and it is due in 5 seconds.
        yield* resume(6, { tries: 2, until: 65_000 })
        yield* BlazeTest.pass(4999)
        assert.deepStrictEqual(offered, [])
        yield* BlazeTest.pass(1)
        assert.deepStrictEqual(offered, [id(6)])
        // It had two tries, and its schedule has five.
        for (const verdict of ["Kept", "Kept", "Kept", "Exhausted"]) {
          assert.strictEqual(yield* deferral.defer(message(1), now(), undefined), verdict)
          yield* BlazeTest.pass("10 minutes")
        }
        assert.strictEqual(yield* deferral.defer(message(4), now(), undefined), "Exhausted")
      }),
      { defer: Schedule.upTo(Schedule.exponential("10 seconds"), { times: 5 }) }
    )
  )

  it.effect(
    "is stored with its tries and with the time that was asked for, and not put aside where the store refuses",
    () => {
      const changes: Array<Store.Change> = []
      const claims: Array<Store.Claim> = []
      const store = Layer.succeed(
        Store.Store,
        storeOf((some) =>
          Effect.sync(() => {
            changes.push(...some)
            return claims.length === 0 ? [] : claims
          })
        )
      )
      return scened(
        Effect.gen(function* () {
          const { defer, deferral, offered } = yield* scene
          const stored = () => changes.splice(0).map(({ id, outcome }) => ({ id, ...outcome }))
          yield* TestClock.adjust("1 minute")
          yield* defer(1)
          yield* defer(2, Duration.seconds(30))
          yield* defer(3, Duration.days(100))
          assert.deepStrictEqual(stored(), [
            { id: id(1), _tag: "Deferred", tries: 1, until: 70_000 },
            { id: id(2), _tag: "Deferred", tries: 0, until: 90_000, after: 30_000 },
            { id: id(3), _tag: "Deferred", tries: 0, until: 60_000 + 7 * day, after: 7 * day }
          ])
          yield* BlazeTest.pass("10 seconds")
          assert.deepStrictEqual(offered, [id(1)])
          // The next process has all its tries.
          yield* deferral.giveUp(id(1))
          yield* deferral.giveUp(id(9))
          assert.deepStrictEqual(stored(), [{ id: id(1), _tag: "Deferred", tries: 0, until: 70_000 }])
          for (const [claim, verdict] of [
            ["Committed", "Kept"],
            ["Known", "Handled"],
            ["Conflict", "Conflict"]
          ] as const) {
            claims[0] = claim
            assert.strictEqual(yield* defer(5), verdict)
          }
          assert.strictEqual(deferral.size(), 3)
          yield* BlazeTest.pass("10 seconds")
          assert.deepStrictEqual(offered, [id(1), id(5)])
        }),
        { deferredMessages: 100 },
        store
      )
    }
  )
})
