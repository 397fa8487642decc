import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Context,
  Deferred,
  type Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  Option,
  References,
  Schedule,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import { Blaze, Bot, Delivery, Ids, Keyed, PersistentStore, Settings, State, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { Persistence } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as States from "../src/internal/States.ts"
import { clientWith, held, lines, pass, seeded, sqlStore, storeOf, textOf } from "./support.ts"

const id = (n: number) => Ids.MessageId.make(`00000000-0000-0000-0000-${String(n).padStart(12, "0")}`)

const memory = States.layer.pipe(Layer.provideMerge(Store.layerMemory))
const persistent = States.layer.pipe(Layer.provideMerge(PersistentStore.layer({ storeId: "test" })))

const commit = ({ commit }: States.States["Service"], ids: ReadonlyArray<Ids.MessageId>) => commit(ids, Store.Handled)

/** With all its retries. */
const inTime = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect)
  yield* BlazeTest.settle
  yield* TestClock.adjust("10 seconds")
  return yield* Fiber.join(fiber)
})

const layers = {
  "in memory": memory,
  "in a store": persistent.pipe(Layer.provide(Persistence.layerMemory)),
  "in a database": States.layer.pipe(
    Layer.provideMerge(sqlStore),
    Layer.provide(NodeSqlite.layer({ filename: ":memory:" }))
  )
}

for (const [name, layer] of Object.entries(layers)) {
  describe(`the states over a store ${name}`, () => {
    const test = (title: string, body: Effect.Effect<void, never, States.States>) =>
      it.effect(title, () => Effect.provide(body, layer))

    test(
      "an id has one state, and a redelivery joins it",
      Effect.gen(function* () {
        const states = yield* States.States
        assert.deepStrictEqual(yield* states.admit([id(1), id(2), id(1)]), ["New", "New", "Open"])
        states.become(id(1), "Deferred")
        states.become(id(2), "Handled")
        assert.deepStrictEqual(yield* states.admit([id(1), id(2)]), ["Deferred", "Handled"])
        states.become(id(1), "Forgotten")
        assert.deepStrictEqual(yield* states.admit([id(1)]), ["New"])
      })
    )

    test(
      "a handled id stays handled after its confirmation, and an unknown one is not settled",
      Effect.gen(function* () {
        const states = yield* States.States
        yield* states.admit([id(1)])
        states.become(id(1), "Handled")
        yield* commit(states, [id(1)])
        yield* states.confirm([id(1)])
        assert.deepStrictEqual(yield* states.admit([id(1)]), ["Handled"])
        states.become(id(9), "Handled")
        assert.deepStrictEqual(yield* states.admit([id(9)]), ["New"])
      })
    )

    test(
      "forgets after 7 days",
      Effect.gen(function* () {
        const states = yield* States.States
        const handle = (n: number) =>
          Effect.gen(function* () {
            yield* states.admit([id(n)])
            states.become(id(n), "Handled")
            yield* commit(states, [id(n)])
            yield* states.confirm([id(n)])
          })
        yield* handle(1)
        yield* TestClock.adjust("7 days")
        yield* handle(2)
        assert.deepStrictEqual(yield* states.admit([id(1), id(2)]), ["New", "Handled"])
      })
    )
  })
}

describe("Store", () => {
  it.effect("keeps at most so many, but never forgets what is unconfirmed", () =>
    Effect.gen(function* () {
      const states = yield* States.States
      const ids = Array.from({ length: 10 }, (_, n) => id(n))
      yield* states.admit(ids)
      for (const each of ids) states.become(each, "Handled")
      yield* states.confirm(ids.slice(0, 6))
      const verdicts = yield* states.admit(ids)
      assert.deepStrictEqual(verdicts.slice(0, 3), ["New", "New", "New"])
      assert.deepStrictEqual(
        verdicts.slice(3),
        Array.from({ length: 7 }, () => "Handled")
      )
    }).pipe(
      Effect.provide(memory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 3, rememberedFor: "7 days" }))))
    )
  )

  it.effect("what is confirmed while the store is read is still handled", () =>
    Effect.gen(function* () {
      const reading = yield* Deferred.make<void>()
      const gate = { now: Effect.void as Effect.Effect<void> }
      const slow = Layer.effect(
        Persistence.Persistence,
        Effect.map(Persistence.Persistence, (persistence) =>
          Persistence.Persistence.of({
            make: (options) =>
              Effect.map(persistence.make(options), (store) => ({
                ...store,
                getMany: (keys) => Effect.andThen(gate.now, store.getMany(keys))
              }))
          })
        )
      ).pipe(Layer.provide(Persistence.layerMemory))
      yield* Effect.gen(function* () {
        const states = yield* States.States
        yield* states.admit([id(1)])
        states.become(id(1), "Handled")
        yield* commit(states, [id(1)])
        gate.now = Deferred.await(reading)
        const again = yield* Effect.forkChild(states.admit([id(1), id(2)]))
        yield* BlazeTest.settle
        yield* states.confirm([id(1)])
        yield* Deferred.succeed(reading, undefined)
        assert.deepStrictEqual(yield* Fiber.join(again), ["Handled", "New"])
      }).pipe(Effect.provide(persistent.pipe(Layer.provide(slow))))
    })
  )

  it.effect("a store that does not answer does not stop the bot for ever", () =>
    Effect.gen(function* () {
      const silent = Layer.succeed(Persistence.Persistence, {
        make: () => Effect.succeed({ getMany: () => Effect.never, setMany: () => Effect.never } as never)
      })
      const verdicts = yield* Effect.flatMap(States.States, (states) => states.admit([id(1)])).pipe(
        Effect.provide(persistent.pipe(Layer.provide(silent))),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      for (let second = 0; second < 20; second++) {
        yield* TestClock.adjust("1 second")
        yield* BlazeTest.settle
      }
      assert.deepStrictEqual(yield* Fiber.join(verdicts), ["New"])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("a store remembers over a restart", () =>
    Effect.gen(function* () {
      const life = <A>(use: (states: States.States["Service"]) => Effect.Effect<A>) =>
        Effect.flatMap(States.States, use).pipe(Effect.provide(persistent, { local: true }))
      yield* life((states) =>
        Effect.gen(function* () {
          yield* states.admit([id(1), id(2)])
          states.become(id(1), "Handled")
          states.become(id(2), "Handled")
          yield* commit(states, [id(1)]) // it crashes before the acknowledgement of the first and the record of the second
        })
      )
      assert.deepStrictEqual(yield* life((states) => states.admit([id(1), id(2)])), ["Handled", "New"])
    }).pipe(Effect.provide(Persistence.layerMemory))
  )

  it.effect("a message that was put aside before a restart is put aside until then, with the tries it has had", () =>
    Effect.gen(function* () {
      const life = Effect.fnUntraced(function* (use: Effect.Effect<void, unknown, Blaze.Blaze | BlazeTest.Server>) {
        const bot = yield* Layer.build(clientWith({ store: PersistentStore.layer({ storeId: "test" }) })).pipe(
          Effect.provide(Settings.layer(policy))
        )
        yield* Effect.provideContext(use, bot)
      }, Effect.scoped)
      const policy = {
        defer: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 3 })),
        deferredMessages: 10,
        deferredBytes: 1_000_000
      }
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<string> = []
      const fails = Bot.run((delivery) => Effect.sync(() => (runs.push(textOf(delivery)), Delivery.Defer)))
      const minutes = Effect.fnUntraced(function* (count: number) {
        for (let n = 0; n < count * 6; n++) yield* pass(10)
      })
      yield* life(
        Effect.gen(function* () {
          yield* alice.say("hi")
          yield* Effect.forkChild(fails)
          yield* pass(1)
          assert.strictEqual(runs.length, 1)
          yield* pass(70)
          assert.strictEqual(runs.length, 2)
        })
      )
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(fails)
          yield* pass(20)
          // It is not time yet.
          assert.strictEqual(runs.length, 2)
          yield* minutes(1)
          assert.strictEqual(runs.length, 3)
          yield* minutes(1)
          // The schedule comes to its end as it would have.
          assert.strictEqual(runs.length, 4)
          yield* minutes(5)
          assert.strictEqual(runs.length, 4)
          const status = yield* SubscriptionRef.get((yield* Blaze.Blaze).status)
          assert.strictEqual(status._tag === "Connected" ? status.givenUp : -1, 1)
        })
      )
      // What was given up is for the next process, with all its tries.
      yield* life(
        Effect.gen(function* () {
          yield* Effect.forkChild(fails)
          yield* pass(1)
          assert.strictEqual(runs.length, 5)
          yield* minutes(2)
          assert.strictEqual(runs.length, 7)
        })
      )
    }).pipe(
      Effect.provide(Persistence.layerMemory),
      Effect.provide(BlazeTest.layerServer),
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.provideService(Keyed.Grace, 0)
    )
  )

  it.effect(
    "what was handled is not undone by an earlier write that takes its time, nor lost when that is interrupted",
    () =>
      Effect.gen(function* () {
        const rows = new Map<string, Store.Outcome>()
        const store = Layer.succeed(Store.Store, {
          commitsAtOnce: false,
          load: (ids) => Effect.sync(() => ids.map((id) => rows.get(id))),
          commit: (changes) =>
            Effect.gen(function* () {
              if (changes[0]?.outcome._tag === "Deferred") yield* Effect.sleep("5 seconds")
              for (const { id, outcome } of changes) rows.set(id, outcome)
              return changes.map(() => "Committed" as const)
            }),
          confirm: () => Effect.void
        })
        const context = yield* Layer.build(clientWith({ store })).pipe(
          Effect.provide(
            Settings.layer({ defer: Schedule.spaced("1 second"), deferredMessages: 10, deferredBytes: 1_000_000 })
          )
        )
        const alice = yield* BlazeTest.user("alice")
        yield* alice.say("hi")
        const { deliveries } = Context.get(context, Blaze.Blaze)
        let runs = 0
        yield* deliveries.pipe(
          Stream.mapEffect(
            (delivery) => (++runs === 1 ? Effect.ignore(Effect.timeout(delivery.defer, "1 second")) : delivery.ack),
            { concurrency: 2 }
          ),
          Stream.runDrain,
          Effect.forkScoped
        )
        for (let n = 0; n < 10; n++) yield* pass(1)
        assert.strictEqual(runs, 2)
        assert.deepStrictEqual([...rows.values()], [Store.Handled])
      }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer))
  )

  it.effect("1 500 messages that are due at once after a restart are all offered again", () =>
    Effect.gen(function* () {
      const store = Layer.succeed(Store.Store, {
        commitsAtOnce: false,
        load: (ids) => Effect.succeed(ids.map(() => ({ _tag: "Deferred", tries: 3, until: 0 }) as const)),
        commit: (changes) => Effect.succeed(changes.map(() => "Committed" as const)),
        confirm: () => Effect.void
      })
      const context = yield* Layer.build(clientWith({ store }))
      const alice = yield* BlazeTest.user("alice")
      for (let n = 0; n < 1500; n++) yield* alice.say(`${n}`)
      const seen = new Set<string>()
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run((delivery) => Effect.sync(() => seen.add(textOf(delivery)))),
          context
        )
      )
      for (let n = 0; n < 5; n++) yield* pass(1)
      assert.strictEqual(seen.size, 1500)
    }).pipe(
      Effect.scoped,
      Effect.provide(BlazeTest.layerServer),
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.provideService(Keyed.Grace, 0)
    )
  )

  it.effect("a clock that was set back meanwhile does not keep for longer what was put aside", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const store = Layer.succeed(
        Store.Store,
        Store.persevering({
          load: (ids) =>
            Effect.sync(() =>
              ids.map(() => ({ _tag: "Deferred", tries: 1, until: clock.currentTimeMillisUnsafe() + 7_200_000 }))
            ),
          commit: (changes) => Effect.succeed(changes.map(() => "Committed")),
          confirm: () => Effect.void
        })
      )
      const context = yield* Layer.build(clientWith({ store })).pipe(
        Effect.provide(
          Settings.layer({ defer: Schedule.spaced("1 minute"), deferredMessages: 10, deferredBytes: 1_000_000 })
        )
      )
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("hi")
      let runs = 0
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run(() => Effect.sync(() => runs++)),
          context
        )
      )
      yield* pass(59)
      assert.strictEqual(runs, 0)
      yield* pass(2)
      assert.strictEqual(runs, 1)
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("what is confirmed again is young again", () =>
    Effect.gen(function* () {
      const states = yield* States.States
      yield* states.admit([id(1), id(2)])
      yield* states.confirm([id(1)])
      yield* states.confirm([id(2)])
      yield* states.confirm([id(1)])
      yield* states.confirm([id(3)])
      assert.deepStrictEqual(yield* states.admit([id(3), id(1), id(2)]), ["Handled", "Handled", "New"])
    }).pipe(
      Effect.provide(memory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 2, rememberedFor: "7 days" }))))
    )
  )

  it.live("what is confirmed again and again takes no more memory each time", () =>
    Effect.gen(function* () {
      const states = yield* States.States
      yield* states.confirm([id(0)])
      const lists: Array<WeakRef<ReadonlyArray<Ids.MessageId>>> = []
      for (let round = 0; round < 400; round++) {
        const list = Array.from({ length: 100 }, (_, n) => id(n + 1))
        lists.push(new WeakRef(list))
        yield* states.confirm(list)
      }
      assert.isBelow(yield* held(lists), 250)
      assert.deepStrictEqual(yield* states.admit([id(0), id(1), id(100)]), ["Handled", "Handled", "Handled"])
    }).pipe(Effect.provide(memory))
  )

  it.live("holds nothing of what it has forgotten", () =>
    Effect.gen(function* () {
      const states = yield* States.States
      const lists: Array<WeakRef<ReadonlyArray<Ids.MessageId>>> = []
      for (let round = 0; round < 400; round++) {
        const list = Array.from({ length: 10 }, (_, n) => id(round * 10 + n))
        lists.push(new WeakRef(list))
        yield* states.confirm(list)
      }
      assert.isBelow(yield* held(lists), 20)
    }).pipe(
      Effect.provide(memory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 100, rememberedFor: "7 days" }))))
    )
  )

  const failure = Effect.fail(new Persistence.PersistenceError({ message: "no store" }))

  /** A store that fails so many times, and what was asked of it. */
  const flaky = (failures: number) => {
    const calls = { reads: 0, writes: 0 }
    const logs: Array<string> = []
    const layer = Layer.mergeAll(
      persistent.pipe(
        Layer.provide(
          Layer.effect(
            Persistence.Persistence,
            Effect.map(Persistence.Persistence, ({ make }) =>
              Persistence.Persistence.of({
                make: (options) =>
                  Effect.map(make(options), (store) => ({
                    ...store,
                    getMany: (keys) => Effect.suspend(() => (++calls.reads > failures ? store.getMany(keys) : failure)),
                    setMany: (entries) =>
                      Effect.suspend(() => (++calls.writes > failures ? store.setMany(entries) : failure))
                  }))
              })
            )
          )
        ),
        Layer.provide(Persistence.layerMemory)
      ),
      Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
    )
    return { calls, logs, layer }
  }

  it.effect("a store is asked only about ids that are not at hand", () => {
    const { calls, layer } = flaky(0)
    return Effect.gen(function* () {
      const states = yield* States.States
      yield* states.admit([id(1)])
      yield* states.admit([id(1)])
      assert.strictEqual(calls.reads, 1)
      states.become(id(1), "Handled")
      yield* commit(states, [id(1)])
      yield* states.confirm([id(1)])
      // What is confirmed is no longer held in memory.
      assert.deepStrictEqual(yield* states.admit([id(1)]), ["Handled"])
      assert.strictEqual(calls.reads, 2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("a store that fails five times is asked again, and nothing is logged", () => {
    const { calls, layer, logs } = flaky(5)
    return Effect.gen(function* () {
      const states = yield* States.States
      assert.deepStrictEqual(yield* inTime(states.admit([id(1)])), ["New"])
      yield* inTime(commit(states, [id(1)]))
      assert.deepStrictEqual(calls, { reads: 6, writes: 6 })
      assert.deepStrictEqual(logs, [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("without a store that answers the bot goes on: a message counts as new, and that is logged", () => {
    const { calls, layer, logs } = flaky(Infinity)
    return Effect.gen(function* () {
      const states = yield* States.States
      assert.deepStrictEqual(yield* inTime(states.admit([id(1), id(2)])), ["New", "New"])
      yield* inTime(commit(states, [id(1)]))
      assert.deepStrictEqual(calls, { reads: 6, writes: 6 })
      assert.strictEqual(logs.length, 2)
      assert.include(logs[0], "cannot be read")
      assert.include(logs[1], "cannot be written")
    }).pipe(Effect.provide(layer))
  })
})

describe("what is stored together", () => {
  const together = Effect.fnUntraced(function* (
    fails: (changes: ReadonlyArray<string>) => unknown = () => undefined,
    time: Duration.Input = 0
  ) {
    const calls: Array<ReadonlyArray<string>> = []
    const log = lines()
    const gather = yield* Store.gathering((changes: ReadonlyArray<string>) =>
      Effect.suspend(() => {
        calls.push(changes)
        const problem = fails(changes)
        const claims = changes.map((change): Store.Claim => (change === "known" ? "Known" : "Committed"))
        return Effect.delay(problem === undefined ? Effect.succeed(claims) : Effect.fail(problem), time)
      })
    ).pipe(Effect.provide(log.layer))
    /** What each of several, asked for at once, is told in the end. */
    const store = (...groups: ReadonlyArray<ReadonlyArray<string>>) =>
      Effect.forEach(groups, gather, { concurrency: "unbounded" })
    return { calls, gather, logs: log.all, store }
  })

  const many = (count: number, name: string) => Array.from({ length: count }, () => name)

  it.effect("is what ends in the same turn, and each is told of its own", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* together()
      const told = yield* inTime(store(["a", "known"], [], ["known"], ["b", "c"]))
      assert.deepStrictEqual(calls, [["a", "known", "known", "b", "c"]])
      assert.deepStrictEqual(told, [["Committed", "Known"], [], ["Known"], ["Committed", "Committed"]])
      // And once all is stored it begins anew.
      assert.deepStrictEqual(yield* inTime(store(["d"])), [["Committed"]])
      assert.strictEqual(calls.length, 2)
    })
  )

  it.effect("is what comes while a transaction runs, in the next one", () =>
    Effect.gen(function* () {
      const { calls, gather } = yield* together(undefined, "1 second")
      const first = yield* Effect.forkChild(gather(["a"]))
      yield* BlazeTest.pass(500)
      const rest = yield* Effect.forkChild(Effect.all([gather(["b"]), gather(["c"])], { concurrency: "unbounded" }))
      yield* BlazeTest.pass(499)
      assert.deepStrictEqual(calls, [["a"]])
      yield* BlazeTest.pass(1)
      yield* Fiber.join(first)
      assert.deepStrictEqual(calls, [["a"], ["b", "c"]])
      yield* BlazeTest.pass(1000)
      yield* Fiber.join(rest)
    })
  )

  it.effect("is a thousand changes at the most, but never less than one that was asked for", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* together()
      yield* inTime(store(many(1500, "a"), many(400, "b"), many(600, "c"), many(1, "d")))
      assert.deepStrictEqual(
        calls.map((changes) => changes.length),
        [1500, 1000, 1]
      )
    })
  )

  it.effect("and fails six times is tried one by one: what no database takes keeps nothing else from it", () =>
    Effect.gen(function* () {
      const { calls, logs, store } = yield* together((changes) =>
        changes.includes("bad") ? { _tag: "Odd" } : undefined
      )
      const told = yield* inTime(store(["a"], ["bad", "b"], ["known"]))
      assert.deepStrictEqual(told, [["Committed"], ["Unstored", "Unstored"], ["Known"]])
      assert.deepStrictEqual(calls.slice(5), [["a", "bad", "b", "known"], ["a"], ["bad", "b"], ["known"]])
      assert.strictEqual(logs.length, 1)
      assert.include(
        logs[0]!,
        "cannot be written (Odd); what was handled meanwhile is not acknowledged, and comes back."
      )
      // Of two as well.
      assert.deepStrictEqual(yield* inTime(store(["c"], ["bad"])), [["Committed"], ["Unstored"]])
    })
  )

  it.effect("is not tried again where there was but one, nor where it is the database that fails", () =>
    Effect.gen(function* () {
      for (const [tag, groups] of [
        ["Odd", [["a"]]],
        ["ConnectionError", [["a"], ["b"]]]
      ] as const) {
        const { calls, store } = yield* together(() => ({ _tag: tag }))
        assert.deepStrictEqual(
          yield* inTime(store(...groups)),
          groups.map((): ReadonlyArray<Store.Claim> => ["Unstored"])
        )
        assert.strictEqual(calls.length, 6)
      }
    })
  )

  it.effect("nor is what follows when the database fails meanwhile, or does not answer for two seconds", () =>
    Effect.gen(function* () {
      let asked = 0
      const { calls, store } = yield* together(() => ({ _tag: ++asked <= 6 ? "Odd" : "ConnectionError" }))
      assert.deepStrictEqual(yield* inTime(store(["a"], ["b"], ["c"])), [["Unstored"], ["Unstored"], ["Unstored"]])
      assert.deepStrictEqual(calls.slice(6), [["a"]])
      const slow = yield* together(undefined, "3 seconds")
      const told = yield* Effect.forkChild(slow.store(["a"], ["b"]))
      yield* BlazeTest.pass("16 seconds")
      assert.deepStrictEqual(yield* Fiber.join(told), [["Unstored"], ["Unstored"]])
      assert.strictEqual(slow.calls.length, 6)
    })
  )
})

describe("a store that cannot be read", () => {
  const broken: Store.Operations<string> = {
    load: () => Effect.fail("broken"),
    commit: () => Effect.fail("broken"),
    confirm: () => Effect.fail("broken")
  }

  it.effect("lets a bot alone begin with everything, and one of several with nothing", () =>
    Effect.gen(function* () {
      const alone = Store.persevering(broken)
      const shared = Store.persevering(broken, { isShared: true })
      assert.deepStrictEqual(yield* inTime(alone.load([id(1), id(2)])), [])
      assert.deepStrictEqual(yield* inTime(shared.load([id(1), id(2)])), ["Unread", "Unread"])
    }).pipe(Effect.provide(lines().layer))
  )

  it.effect("is asked for again what one of several could not read, though the connection never ends", () =>
    Effect.gen(function* () {
      let isBroken = true
      const store = Layer.succeed(
        Store.Store,
        Store.persevering(
          {
            load: (ids) =>
              Effect.suspend(() => (isBroken ? Effect.fail("broken") : Effect.succeed(ids.map(() => undefined)))),
            commit: (changes) => Effect.succeed(Store.committed(changes)),
            confirm: () => Effect.void
          },
          { isShared: true }
        )
      )
      const context = yield* Layer.build(clientWith({ store }))
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const heard: Array<string> = []
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run((delivery) => Effect.sync(() => heard.push(textOf(delivery)))),
          context
        )
      )
      yield* pass(1)
      yield* alice.say("one")
      yield* pass(30)
      assert.deepStrictEqual(heard, [])
      isBroken = false
      for (let minute = 0; minute < 11; minute++) yield* pass(60)
      assert.deepStrictEqual(heard, ["one"])
      assert.deepStrictEqual([yield* bot.pending, yield* bot.handshakes], [[], 1])
    }).pipe(
      Effect.scoped,
      Effect.provide(BlazeTest.layerServer),
      Effect.provideService(Keyed.Grace, 0),
      Effect.provide(lines().layer)
    )
  )
})

describe("a store that throws", () => {
  const throwing = <A>(otherwise: () => Effect.Effect<A>) => {
    let isFirst = true
    return () => {
      if (!isFirst) return otherwise()
      isFirst = false
      throw new Error("thrown")
    }
  }

  it.effect("is asked again, by itself and where changes are gathered", () =>
    Effect.gen(function* () {
      const store = Store.persevering({
        load: throwing(() => Effect.succeed([Store.Handled])),
        commit: throwing(() => Effect.succeed(["Known"])),
        confirm: throwing(() => Effect.void)
      })
      assert.deepStrictEqual(yield* inTime(store.load([id(1)])), [Store.Handled])
      assert.deepStrictEqual(yield* inTime(store.commit([{ id: id(1), outcome: Store.Handled, writes: [] }])), [
        "Known"
      ])
      yield* inTime(store.confirm([id(1)]))
      const commit = yield* Store.gathering(throwing(() => Effect.succeed(["Committed"])))
      assert.deepStrictEqual(yield* inTime(commit(["a"])), ["Committed"])
      assert.deepStrictEqual(yield* inTime(commit(["b"])), ["Committed"])
    }).pipe(Effect.provide(lines().layer))
  )
})

describe("a store that cannot be written", () => {
  it.effect("counts as written, but for what a handler has written: that is not stored", () =>
    Effect.gen(function* () {
      const { commit } = Store.persevering({
        load: () => Effect.succeed([]),
        commit: () => Effect.fail("broken"),
        confirm: () => Effect.void
      })
      const written = { name: "note", key: "key", basedOn: undefined, revision: "1", next: undefined }
      const change = (n: number, writes: ReadonlyArray<Store.Write>) => ({ id: id(n), outcome: Store.Handled, writes })
      assert.deepStrictEqual(yield* inTime(commit([change(1, []), change(2, [])])), [])
      assert.deepStrictEqual(yield* inTime(commit([change(1, []), change(2, [written])])), ["Committed", "Unstored"])
    }).pipe(Effect.provide(lines().layer))
  )

  it.effect("has what a handler has written written again before its message is acknowledged", () =>
    Effect.gen(function* () {
      let isBroken = true
      const store = Layer.effect(
        Store.Store,
        Effect.map(Store.Store, (memory) =>
          Store.persevering({
            ...memory,
            commit: (changes): Effect.Effect<ReadonlyArray<Store.Claim>, string> =>
              Effect.suspend(() => (isBroken ? Effect.fail("broken") : memory.commit(changes)))
          })
        )
      ).pipe(Layer.provide(Store.layerMemory))
      const Note = State.conversation("note", Schema.String)
      const context = yield* Layer.build(clientWith({ store }))
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const message = yield* alice.say("one")
      let runs = 0
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run((delivery) =>
            Effect.andThen(
              Effect.sync(() => runs++),
              Effect.orDie(delivery.state(Note).set("written"))
            )
          ),
          context
        )
      )
      for (let n = 0; n < 20; n++) yield* pass(1)
      assert.deepStrictEqual(yield* bot.pending, [message])
      isBroken = false
      for (let n = 0; n < 40; n++) yield* pass(1)
      const note = yield* Effect.provideContext(State.of(Note, alice.conversationId), context)
      assert.deepStrictEqual([yield* note.get, yield* bot.pending, runs], [Option.some("written"), [], 1])
    }).pipe(
      Effect.scoped,
      Effect.provide(BlazeTest.layerServer),
      Effect.provideService(Keyed.Grace, 0),
      Effect.provide(lines().layer)
    )
  )
})

describe("a store that is written at once", () => {
  it.effect("counts what was said first, though it is still being stored, and stores it once", () =>
    Effect.gen(function* () {
      const commits: Array<string> = []
      const store = Layer.succeed(Store.Store, {
        ...storeOf((changes) =>
          Effect.suspend(() => {
            commits.push(...changes.map(({ outcome }) => outcome._tag))
            return Effect.as(Effect.sleep("1 second"), Store.committed(changes))
          })
        ),
        commitsAtOnce: true
      })
      const context = yield* Layer.build(clientWith({ store }))
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const { deliveries, drain } = Context.get(context, Blaze.Blaze)
      let runs = 0
      yield* deliveries.pipe(
        Stream.mapEffect(
          (delivery) => {
            runs++
            return Effect.all([delivery.ack, delivery.defer, delivery.giveUp("no"), delivery.ack], {
              concurrency: "unbounded"
            })
          },
          { concurrency: 2 }
        ),
        Stream.runDrain,
        Effect.forkScoped
      )
      const id = yield* alice.say("hi")
      yield* BlazeTest.settle
      for (let n = 0; n < 10; n++) yield* pass(1)
      yield* pass(10_000)
      // Once when it was said, and once before the acknowledgement is sent.
      assert.deepStrictEqual([runs, commits], [1, ["Handled", "Handled"]])
      assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
      const drained = yield* Effect.forkChild(drain)
      yield* BlazeTest.settle
      assert.isDefined(drained.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )
})

describe("a store of one's own", () => {
  it.effect("is told together of what was handled together, where nothing is written besides", () =>
    Effect.gen(function* () {
      const commits: Array<number> = []
      const store = Layer.succeed(
        Store.Store,
        storeOf((changes) =>
          Effect.sync(() => {
            commits.push(changes.length)
            return Store.committed(changes)
          })
        )
      )
      const context = yield* Layer.build(clientWith({ store }))
      const alice = yield* BlazeTest.user("alice")
      for (let n = 0; n < 10; n++) yield* alice.say(`${n}`)
      yield* Effect.forkChild(
        Effect.provideContext(
          Bot.run(() => Effect.void),
          context
        )
      )
      for (let n = 0; n < 5; n++) yield* pass(1)
      assert.deepStrictEqual(commits, [10])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )
})

describe("what is remembered in memory", () => {
  it.effect("is walked through once for ten thousand that were confirmed again, and not each time", () =>
    Effect.gen(function* () {
      const store = yield* Store.Store
      let walks = 0
      class Watched<A> extends Array<A> {
        override filter(predicate: (value: A, index: number, array: Array<A>) => unknown): Array<A> {
          walks++
          return super.filter(predicate)
        }
      }
      // The oldest, which keeps all that follows from being let go one by one.
      yield* store.confirm(Watched.of(id(0)))
      for (let round = 0; round < 400; round++) {
        yield* store.confirm(Array.from({ length: 100 }, (_, n) => id(n + 1)))
      }
      assert.isAtLeast(walks, 2)
      assert.isAtMost(walks, 4)
      // Those that are let go one by one weigh nothing from then on.
      yield* store.confirm(Array.from({ length: 3000 }, (_, n) => id(n + 1000)))
      const before = walks
      for (let round = 0; round < 200; round++) {
        yield* store.confirm(Watched.from({ length: 100 }, (_, n) => id(5000 + round * 100 + n)))
      }
      assert.strictEqual(walks, before)
    }).pipe(
      Effect.provide(
        Store.layerMemory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 3000, rememberedFor: "7 days" })))
      )
    )
  )

  it.effect("is forgotten in the same order after what was confirmed again and again was let go", () =>
    Effect.gen(function* () {
      const store = yield* Store.Store
      const isKnown = (n: number) => Effect.map(store.load([id(n)]), ([outcome]) => outcome !== undefined)
      // Nobody waits for what is stored in memory.
      assert.isFalse(store.commitsAtOnce)
      const busy = Array.from({ length: 100 }, (_, n) => id(10 + n))
      yield* store.confirm([id(0), id(1), id(2), id(3)])
      // The first two have to go, and from now on the other two are the oldest.
      for (let round = 0; round < 150; round++) yield* store.confirm(busy)
      for (const [young, old] of [
        [200, 2],
        [201, 3],
        [202, 10]
      ] as const) {
        assert.isTrue(yield* isKnown(old))
        yield* store.confirm([id(young)])
        assert.isFalse(yield* isKnown(old))
        assert.isTrue(yield* isKnown(old === 2 ? 3 : 11))
      }
    }).pipe(
      Effect.provide(
        Store.layerMemory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 102, rememberedFor: "7 days" })))
      )
    )
  )

  it.effect("is what was confirmed last, however often and in whatever groups", () =>
    Effect.gen(function* () {
      const store = yield* Store.Store
      const size = 50
      /** Those that are remembered, the oldest first. */
      let model: ReadonlyArray<number> = []
      const random = seeded(7)
      for (let round = 0; round < 20_000; round++) {
        // Mostly the same few again, so that far more is confirmed than is remembered.
        const some = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
          Math.floor(random() * (random() < 0.1 ? 10_000 : 60))
        )
        yield* store.confirm(some.map(id))
        model = [...model.filter((n) => !some.includes(n)), ...new Set(some)].slice(-size)
        if (round % 100 > 0) continue
        const known = (yield* store.load(model.map(id))).filter((outcome) => outcome !== undefined)
        assert.strictEqual(known.length, model.length)
        const others = Array.from({ length: 60 }, (_, n) => n).filter((n) => !model.includes(n))
        assert.isTrue((yield* store.load(others.map(id))).every((outcome) => outcome === undefined))
      }
    }).pipe(
      Effect.provide(
        Store.layerMemory.pipe(Layer.provide(Settings.layer({ rememberedMessages: 50, rememberedFor: "365 days" })))
      )
    )
  )
})
