// What can be done with deliveries on their way through a pipeline of one's own.
import { assert, describe, it } from "@effect/vitest"
import {
  type Cause,
  Context,
  Effect,
  Exit,
  Fiber,
  Filter,
  Layer,
  Option,
  References,
  Schedule,
  Schema,
  Scope,
  Stream
} from "effect"
import { Blaze, BlazeError, Delivery, Keyed, Message, Settings, State } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { client as bareClient, pass, textOf } from "./support.ts"

const quickly = Settings.layer({ defer: Schedule.spaced("10 seconds"), deferredMessages: 10, deferredBytes: 1e6 })
const client = Layer.provideMerge(bareClient, BlazeTest.layerServer).pipe(Layer.provide(quickly))

const test = (name: string, body: Effect.Effect<void, unknown, Blaze.Services | BlazeTest.Server>) =>
  it.effect(name, () =>
    body.pipe(
      Effect.provide(client),
      Effect.provideService(Keyed.Grace, 0),
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )

const say = Effect.fnUntraced(function* (...texts: ReadonlyArray<string>) {
  const alice = yield* BlazeTest.user("alice")
  for (const text of texts) yield* alice.say(text)
  return alice
})

const pending = Effect.flatMap(BlazeTest.Account, ({ pending }) => pending)

/** Has what comes within a second handled together, so many of them at most. */
const inGroups = <E, R>(
  size: number,
  handle: (group: ReadonlyArray<Delivery.Delivery>) => Effect.Effect<unknown, E, R>
) =>
  Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
    deliveries.pipe(Stream.groupedWithin(size, "1 second"), Stream.mapEffect(handle), Stream.runDrain, Effect.forkChild)
  )

describe("Delivery.filter", () => {
  test(
    "passes on what meets its condition, in order, and acknowledges the rest and nothing else",
    Effect.gen(function* () {
      yield* say("yes 1", "no 1", "yes 2", "no 2")
      const { deliveries } = yield* Blaze.Blaze
      const kept: Array<string> = []
      yield* deliveries.pipe(
        Delivery.filter((message) => Message.isText(message) && message.text.startsWith("yes")),
        Stream.runForEach((delivery) => Effect.sync(() => kept.push(textOf(delivery)))),
        Effect.forkChild
      )
      yield* pass(2)
      assert.deepStrictEqual(kept, ["yes 1", "yes 2"])
      // Nobody has settled these.
      assert.strictEqual((yield* pending).length, 2)
    })
  )

  test(
    "acknowledges all of what came together where nothing meets its condition",
    Effect.gen(function* () {
      yield* say("no 1", "no 2", "no 3")
      const { deliveries } = yield* Blaze.Blaze
      yield* deliveries.pipe(
        Delivery.filter((message) => !Message.isText(message)),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* pass(2)
      assert.deepStrictEqual(yield* pending, [])
    })
  )
})

describe("Delivery.handle", () => {
  test(
    "whose consumer was cut short lets a drain end as soon as it is interrupted itself",
    Effect.gen(function* () {
      yield* say("1")
      const { deliveries, drain } = yield* Blaze.Blaze
      const taken: Array<Delivery.Delivery> = []
      const consumer = yield* deliveries.pipe(
        Stream.runForEach((delivery) => Effect.sync(() => taken.push(delivery))),
        Effect.forkChild
      )
      yield* pass(0)
      const handler = yield* Effect.forkChild(Delivery.handle(() => Effect.never)(taken[0]!))
      yield* pass(0)
      yield* Fiber.interrupt(consumer)
      const drained = yield* Effect.forkChild(drain)
      yield* pass(0)
      assert.isUndefined(drained.pollUnsafe())
      yield* Fiber.interrupt(handler)
      yield* pass(0)
      assert.isDefined(drained.pollUnsafe())
    })
  )
})

describe("Delivery.handleAll", () => {
  const batches = <E>(handler: (texts: ReadonlyArray<string>) => Effect.Effect<unknown, E>) =>
    inGroups(3, (group) =>
      Effect.exit(Delivery.handleAll((group: ReadonlyArray<Delivery.Delivery>) => handler(group.map(textOf)))(group))
    )

  test(
    "one effect for a group, whose success acknowledges all of it",
    Effect.gen(function* () {
      yield* say("1", "2", "3", "4")
      const groups: Array<ReadonlyArray<string>> = []
      yield* batches((texts) => Effect.sync(() => void groups.push(texts)))
      yield* pass(1)
      yield* pass(1)
      assert.deepStrictEqual(groups, [["1", "2", "3"], ["4"]])
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  test(
    "a failure or a Defer defers all of it, and none is handled until it is offered again",
    Effect.gen(function* () {
      yield* say("1", "2", "3")
      const groups: Array<ReadonlyArray<string>> = []
      yield* batches((texts) =>
        Effect.suspend((): Effect.Effect<unknown, string> => {
          groups.push(texts)
          return groups.length === 1
            ? Effect.fail("no database")
            : Effect.succeed(groups.length === 2 ? Delivery.Defer : "stored")
        })
      )
      yield* pass(1)
      assert.strictEqual((yield* pending).length, 3)
      for (let n = 0; n < 4; n++) yield* pass(10)
      const all = ["1", "2", "3"]
      assert.deepStrictEqual(groups, [all, all, all])
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  for (const [name, count, runs] of [
    ["alone", 1, 1],
    ["of several", 2, 2]
  ] as const) {
    test(
      `a failure that is final gives up one that was handled alone, and is tried again with several: ${name}`,
      Effect.gen(function* () {
        yield* say(...Array.from({ length: count }, (_, n) => `${n}`))
        const content = BlazeError.make(new BlazeError.InvalidContent({ field: "the text", expected: "short" }))
        let begun = 0
        yield* batches(() => Effect.suspend(() => (begun++, Effect.fail(content))))
        yield* pass(1)
        yield* pass(10)
        yield* pass(1)
        assert.strictEqual(begun, runs)
        assert.strictEqual((yield* pending).length, count)
      })
    )
  }

  test(
    "a failure that is final for one of them gives up none of the others",
    Effect.gen(function* () {
      yield* say("1", "2", "3")
      const done: Array<string> = []
      const one = (delivery: Delivery.Delivery) =>
        textOf(delivery) === "2" && done.length < 2
          ? Effect.asVoid(delivery.reply(""))
          : Effect.sync(() => void done.push(textOf(delivery)))
      const every = Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
        Effect.forEach(all, one, { discard: true })
      )
      yield* inGroups(3, (group) => Effect.exit(every(group)))
      for (let n = 0; n < 10; n++) yield* pass(5)
      assert.includeMembers(done, ["1", "2", "3"])
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  test(
    "one that is interrupted leaves all of it to the next consumer, in order, which does not get it before",
    Effect.gen(function* () {
      yield* say("1", "2", "3")
      const groups: Array<ReadonlyArray<string>> = []
      const first = yield* batches((texts) =>
        Effect.andThen(
          Effect.sync(() => groups.push(texts)),
          Effect.never
        )
      )
      yield* pass(1)
      yield* Fiber.interrupt(first)
      yield* batches((texts) => Effect.sync(() => groups.push(texts)))
      yield* pass(1)
      assert.deepStrictEqual(groups, [
        ["1", "2", "3"],
        ["1", "2", "3"]
      ])
      yield* pass(1)
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  test(
    "a group that is still being handled no other consumer gets",
    Effect.gen(function* () {
      yield* say("1", "2")
      const { deliveries } = yield* Blaze.Blaze
      const scope = yield* Scope.make()
      const first = yield* deliveries.pipe(
        Stream.grouped(2),
        Stream.mapEffect((group) => Effect.forkIn(Delivery.handleAll(() => Effect.sleep("1 minute"))(group), scope)),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* pass(1)
      yield* Fiber.interrupt(first)
      const seen: Array<string> = []
      yield* deliveries.pipe(
        Stream.runForEach((delivery) => Effect.sync(() => seen.push(textOf(delivery)))),
        Effect.forkChild
      )
      yield* pass(30)
      assert.deepStrictEqual([seen, (yield* pending).length], [[], 2])
      yield* pass(31)
      yield* pass(1)
      assert.deepStrictEqual([seen, (yield* pending).length], [[], 0])
    })
  )

  test(
    "a handler that gives no Effect defers the group, with a sentence that names its messages",
    Effect.gen(function* () {
      yield* say("1", "2")
      const { deliveries } = yield* Blaze.Blaze
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      const nothing = Delivery.handleAll((): Effect.Effect<void> => undefined as never)
      yield* deliveries.pipe(
        Stream.grouped(2),
        Stream.mapEffect((group) => Effect.exit(nothing(group))),
        Stream.runForEach((exit) => Effect.sync(() => exits.push(exit))),
        Effect.forkChild
      )
      yield* pass(1)
      const [exit] = exits
      assert(exit !== undefined && Exit.isFailure(exit))
      const told = String((exit.cause.reasons[0] as Cause.Die).defect)
      for (const id of yield* pending) assert.include(told, id)
      assert.include(told, "nothing and not an Effect")
    })
  )
})

describe("Delivery.split", () => {
  const parts = Effect.gen(function* () {
    const { deliveries } = yield* Blaze.Blaze
    const taken: Array<readonly [Delivery.Delivery, Delivery.Delivery]> = []
    const fiber = yield* deliveries.pipe(
      Stream.map((delivery) => Delivery.split(delivery, 2)),
      Stream.runForEach((both) => Effect.sync(() => taken.push(both))),
      Effect.forkChild
    )
    yield* pass(0)
    return { taken, fiber }
  })

  test(
    "is acknowledged when every part is, and a part counts once",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* one.ack
      yield* one.ack
      yield* pass(2)
      assert.strictEqual((yield* pending).length, 1)
      yield* two.ack
      yield* pass(2)
      assert.strictEqual((yield* pending).length, 0)
    })
  )

  test(
    "is deferred once a part is, whatever the others say",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* one.ack
      yield* two.defer
      yield* one.ack
      yield* pass(9)
      assert.deepStrictEqual([taken.length, (yield* pending).length], [1, 1])
      yield* pass(2)
      assert.strictEqual(taken.length, 2)
      for (const part of taken[1]!) yield* part.ack
      yield* pass(2)
      assert.strictEqual((yield* pending).length, 0)
    })
  )

  for (const [name, end] of [
    ["succeeds", Effect.void],
    ["fails", Effect.fail("late")],
    ["is interrupted", Effect.interrupt]
  ] as const) {
    test(
      `a part that is deferred waits for the other, and is not handled beside it: the other ${name}`,
      Effect.gen(function* () {
        yield* say("1")
        const { taken } = yield* parts
        const [one, two] = taken[0]!
        let isRunning = false
        yield* Effect.sync(() => (isRunning = true)).pipe(
          Effect.andThen(Effect.sleep("1 minute")),
          Effect.andThen(Effect.sync(() => (isRunning = false))),
          Effect.andThen(end as Effect.Effect<void, string>),
          (effect) => Delivery.handle(() => effect)(two),
          Effect.exit,
          Effect.forkChild
        )
        yield* pass(0)
        yield* Effect.exit(Delivery.handle(() => Effect.fail("no room"))(one))
        for (let n = 0; n < 6; n++) {
          assert.deepStrictEqual([taken.length, isRunning], [1, true])
          yield* pass(10)
        }
        assert.isFalse(isRunning)
        yield* pass(11)
        assert.strictEqual(taken.length, 2)
      })
    )
  }

  test(
    "a part that is deferred by hand within its own handler is deferred when that has ended",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* two.ack
      yield* Delivery.handle((part: Delivery.Delivery) => part.defer)(one)
      yield* pass(11)
      assert.strictEqual(taken.length, 2)
    })
  )

  test(
    "a part that was handled as a group of one is done with, as one by itself is",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* Delivery.handleAll(() => Effect.void)([one])
      yield* pass(2)
      assert.strictEqual((yield* pending).length, 1)
      yield* two.ack
      yield* pass(2)
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  test(
    "a part that its handler holds and settles by hand lets go of its own holds, and of none of the other's",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* Effect.forkChild(Delivery.handle(() => Effect.sleep("1 minute"))(two))
      yield* pass(0)
      yield* Delivery.handle((part: Delivery.Delivery) => (Delivery.hold(part), part.defer))(one)
      for (let n = 0; n < 5; n++) {
        yield* pass(11)
        assert.strictEqual(taken.length, 1)
      }
      yield* pass(5)
      yield* pass(11)
      assert.strictEqual(taken.length, 2)
    })
  )

  test(
    "a part that is acknowledged early and works on does not hold back for ever what the other has deferred",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      const early = Delivery.handle((part: Delivery.Delivery) => Effect.andThen(part.ack, Effect.sleep("20 seconds")))
      yield* Effect.forkChild(early(one))
      yield* pass(1)
      yield* two.defer
      yield* pass(18)
      assert.strictEqual(taken.length, 1)
      yield* pass(12)
      assert.strictEqual(taken.length, 2)
    })
  )

  test(
    "a part that was interrupted while the other was handled is for the consumer that came meanwhile",
    Effect.gen(function* () {
      yield* say("1")
      const { fiber, taken } = yield* parts
      const [one, two] = taken[0]!
      yield* Effect.forkChild(Delivery.handle(() => Effect.sleep("20 seconds"))(two))
      const first = yield* Effect.forkChild(Delivery.handle(() => Effect.never)(one))
      yield* pass(1)
      yield* Fiber.interrupt(fiber)
      const again = yield* parts
      yield* Fiber.interrupt(first)
      yield* pass(10)
      assert.strictEqual(again.taken.length, 0)
      yield* pass(10)
      assert.strictEqual(again.taken.length, 1)
    })
  )

  test(
    "is given up once a part is, and told once",
    Effect.gen(function* () {
      yield* say("1")
      const { taken } = yield* parts
      const [one, two] = taken[0]!
      yield* one.giveUp("it cannot be read.")
      yield* two.ack
      for (let n = 0; n < 20; n++) yield* pass(10)
      assert.deepStrictEqual([taken.length, (yield* pending).length], [1, 1])
    })
  )

  for (const [first, second] of [
    ["quick", "slow"],
    ["slow", "quick"]
  ] as const) {
    test(
      `a part that is begun with after the other was deferred is not handled beside itself, ${first} before ${second}`,
      Effect.gen(function* () {
        yield* say("hi")
        const { deliveries } = yield* Blaze.Blaze
        let running = 0
        const most: Array<number> = []
        const handlers = {
          quick: Delivery.handle(() => Effect.succeed(Delivery.deferFor("1 second"))),
          slow: Delivery.handle(() =>
            Effect.suspend(() => {
              most.push(++running)
              return Effect.ensuring(
                Effect.sleep("10 seconds"),
                Effect.sync(() => running--)
              )
            })
          )
        }
        yield* deliveries.pipe(
          Stream.map((delivery) => Delivery.split(delivery, 2)),
          Stream.mapEffect(
            ([one, other]) =>
              Effect.all([handlers[first](one), handlers[second](other)], { concurrency: 2, discard: true }),
            { concurrency: 8 }
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        for (let n = 0; n < 30; n++) yield* pass(1)
        assert.deepStrictEqual(most, [1, 1, 1])
      })
    )
  }

  test(
    "behind broadcastN every consumer has its part, and what one of them fails at comes again for both",
    Effect.gen(function* () {
      const alice = yield* say("1", "2", "3")
      const { deliveries } = yield* Blaze.Blaze
      const archived: Array<string> = []
      let fails = true
      yield* Effect.gen(function* () {
        const [first, second] = yield* deliveries.pipe(
          Stream.map((delivery) => Delivery.split(delivery, 2)),
          Stream.broadcastN({ n: 2, capacity: 16 })
        )
        const archive = Stream.mapEffect(first, ([part]) =>
          Effect.exit(
            Delivery.handle((delivery) => {
              if (textOf(delivery) === "2" && fails)
                return Effect.andThen(
                  Effect.sync(() => (fails = false)),
                  Effect.fail("full")
                )
              return Effect.sync(() => void archived.push(textOf(delivery)))
            })(part)
          )
        )
        const answer = Stream.mapEffect(second, ([, part]) =>
          Delivery.handle((delivery) => delivery.reply(`echo ${textOf(delivery)}`))(part)
        )
        yield* Effect.all([Stream.runDrain(archive), Stream.runDrain(answer)], { concurrency: 2 })
      }).pipe(Effect.scoped, Effect.forkChild)
      for (let n = 0; n < 4; n++) yield* pass(5)
      assert.deepStrictEqual(archived, ["1", "3", "2"])
      assert.deepStrictEqual(yield* alice.reads, ["echo 1", "echo 2", "echo 3"])
      assert.deepStrictEqual(yield* pending, [])
    })
  )
})

describe("Delivery", () => {
  test(
    "is narrows a delivery, for Stream.partition",
    Effect.gen(function* () {
      yield* say("1")
      const { deliveries } = yield* Blaze.Blaze
      const texts: Array<string> = []
      yield* Effect.gen(function* () {
        const [written, others] = yield* deliveries.pipe(
          Stream.partition(Filter.fromPredicate(Delivery.is(Message.isText)))
        )
        yield* Effect.forkChild(Stream.runForEach(others, (delivery) => delivery.ack))
        yield* Stream.runForEach(
          written,
          Delivery.handle(({ message }: Delivery.Delivery<Message.Text>) => Effect.sync(() => texts.push(message.text)))
        )
      }).pipe(Effect.scoped, Effect.forkChild)
      yield* pass(2)
      assert.deepStrictEqual(texts, ["1"])
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  it.effect("says whose message it is, where the streams of several bots are merged", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const make = Effect.gen(function* () {
        const account = yield* server.makeBot
        const context = yield* Layer.build(
          Blaze.layer.pipe(Layer.provide(BlazeTest.layerTransport), Layer.provide(BlazeTest.layerPlatform))
        ).pipe(Effect.provideService(BlazeTest.Account, account))
        return { account, blaze: Context.get(context, Blaze.Blaze) }
      })
      const bots = [yield* make, yield* make]
      const seen: Array<string> = []
      yield* Stream.mergeAll(
        bots.map(({ blaze }) => blaze.deliveries),
        { concurrency: 2 }
      ).pipe(
        Stream.mapEffect(Delivery.handle((delivery) => Effect.sync(() => seen.push(delivery.botId)))),
        Stream.runDrain,
        Effect.forkChild
      )
      for (const { account } of bots) yield* (yield* server.user(account, "alice")).say("hi")
      yield* pass(1)
      assert.deepStrictEqual(seen.toSorted(), bots.map(({ blaze }) => blaze.userId as string).toSorted())
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer))
  )
})

describe("a group", () => {
  const Count = State.person("count", Schema.Int)
  const counted = Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
    const count = delivery.state(Count)
    const now = Option.getOrElse(yield* count.get, () => 0) + 1
    yield* count.set(now)
    return `${textOf(delivery)} ${now}`
  }, Effect.orDie)

  test(
    "writes as one, though its messages came to two consumers in a row",
    Effect.gen(function* () {
      yield* say("one", "two")
      const { deliveries } = yield* Blaze.Blaze
      const heard: Array<string> = []
      const write = Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
        Effect.forEach(all, (each) => Effect.map(counted(each), (text) => heard.push(text)))
      )
      yield* Stream.concat(Stream.take(deliveries, 1), deliveries).pipe(
        Stream.grouped(2),
        Stream.mapEffect(write),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* pass(30)
      assert.deepStrictEqual([heard, yield* pending], [["one 1", "two 2"], []])
    })
  )

  test(
    "writes once, though its handler has acknowledged one of its messages by hand",
    Effect.gen(function* () {
      yield* say("one", "two")
      const heard: Array<string> = []
      const write = Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
        Effect.forEach(all, (each, n) =>
          Effect.gen(function* () {
            heard.push(yield* counted(each))
            if (n === 0) yield* each.ack
          })
        )
      )
      yield* inGroups(2, write)
      yield* pass(30)
      assert.deepStrictEqual([heard, yield* pending], [["one 1", "two 2"], []])
    })
  )

  test(
    "writes nothing on what has changed since it was read, though one of its messages was acknowledged in between",
    Effect.gen(function* () {
      const Note = State.conversation("note", Schema.String)
      yield* say("one")
      const bob = yield* BlazeTest.user("bob")
      yield* bob.say("two")
      const seen: Array<string> = []
      const write = Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
        Effect.gen(function* () {
          const last = all.at(-1)!
          const note = last.state(Note)
          const before = Option.getOrElse(yield* note.get, () => "")
          if (all.length === 2) {
            yield* all[0]!.state(Note).set("one")
            yield* all[0]!.ack
            yield* (yield* State.of(Note, last.message.conversationId)).set("other")
          }
          seen.push(before)
          yield* note.set(`${before}+`)
        })
      )
      yield* inGroups(2, write)
      yield* pass(30)
      const note = yield* State.of(Note, bob.conversationId)
      assert.deepStrictEqual([seen, yield* note.get, yield* pending], [["", "other"], Option.some("other+"), []])
    })
  )

  test(
    "that was overtaken runs again with what is not settled",
    Effect.gen(function* () {
      const alice = yield* say("one", "two")
      const groups: Array<string> = []
      const write = Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
        Effect.gen(function* () {
          groups.push(all.map(textOf).join())
          const [first] = all
          if (groups.length === 1) yield* first!.ack
          yield* counted(all.at(-1)!)
          if (groups.length === 1) yield* (yield* State.of(Count, alice.userId)).set(7)
        })
      )
      yield* inGroups(2, write)
      yield* pass(30)
      const count = yield* State.of(Count, alice.userId)
      assert.deepStrictEqual([groups, yield* count.get, yield* pending], [["one,two", "two"], Option.some(8), []])
    })
  )
})

describe("a delivery that somebody else is at work on", () => {
  test(
    "is not handled beside that, whatever is said by who had it before and holds it no more",
    Effect.gen(function* () {
      yield* say("one")
      const { deliveries } = yield* Blaze.Blaze
      const old: Array<Fiber.Fiber<unknown>> = []
      const first = yield* Stream.runForEach(deliveries, (delivery) =>
        Effect.onExit(Effect.never, (exit) => Delivery.settle(delivery, exit)).pipe(
          Effect.forkDetach,
          Effect.map((fiber) => old.push(fiber))
        )
      ).pipe(Effect.forkChild)
      yield* pass(1)
      yield* Fiber.interrupt(first)
      let runs = 0
      yield* deliveries.pipe(
        Stream.mapEffect(
          Delivery.handle(() =>
            Effect.andThen(
              Effect.sync(() => runs++),
              Effect.sleep("5 minutes")
            )
          ),
          { concurrency: 4 }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* pass(1)
      assert.strictEqual(runs, 1)
      yield* Fiber.interrupt(old[0]!)
      for (let minute = 0; minute < 10; minute++) yield* pass(60)
      assert.deepStrictEqual([runs, yield* pending], [1, []])
    })
  )
})

describe("Keyed.mapEffectBatch with restart, over deliveries", () => {
  const key = ({ message }: Delivery.Delivery) => message.conversationId
  const options = { key, concurrency: 1, restart: true }

  test(
    "what it interrupts stays with it, though its consumer is followed by another one in the same stream",
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const rows: Array<string> = []
      const write = Delivery.handleAll((group) =>
        Effect.andThen(
          Effect.sleep("3 seconds"),
          Effect.sync(() => rows.push(group.map(textOf).join()))
        )
      )
      yield* Stream.concat(Stream.take(deliveries, 1), deliveries).pipe(
        Keyed.mapEffectBatch(write, options),
        Stream.runDrain,
        Effect.forkChild
      )
      const alice = yield* say("a1")
      yield* pass(1)
      const bob = yield* BlazeTest.user("bob")
      yield* bob.say("b1")
      yield* pass(1)
      yield* alice.say("a2")
      yield* pass(20)
      assert.deepStrictEqual(rows.toSorted(), ["a1,a2", "b1"])
      assert.deepStrictEqual(yield* pending, [])
    })
  )

  test(
    "what was settled when it was interrupted is not handled again",
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const rows: Array<string> = []
      const write = Delivery.handleAll((group) => Effect.sync(() => rows.push(group.map(textOf).join())))
      yield* deliveries.pipe(
        Keyed.mapEffectBatch((group) => Effect.andThen(write(group), Effect.sleep("2 seconds")), options),
        Stream.runDrain,
        Effect.forkChild
      )
      const alice = yield* say("1")
      yield* pass(1)
      yield* alice.say("2")
      yield* pass(20)
      assert.deepStrictEqual(rows, ["1", "2"])
    })
  )
})
