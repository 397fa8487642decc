// One bot in a cluster, whose runners are in this process and follow the test's clock: what its program sees, and who has the socket.
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Schedule,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import { Blaze, type BlazeError, Bot, Broadcast, Delivery, Keyed, Settings, State } from "effect-blaze"
import { BlazeCluster } from "effect-blaze/cluster"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { Sharding, TestRunner } from "effect/cluster"
import * as Holder from "../src/cluster/internal/Holder.ts"
import { lines, pass, textOf } from "./support.ts"

const runnerOn = (sharding: Layer.Layer<Sharding.Sharding>, settings: Partial<Settings.Settings> = {}) =>
  BlazeCluster.layerWith(sharding).pipe(
    Layer.provideMerge(BlazeTest.layerTransport),
    Layer.provide(BlazeTest.layerPlatform),
    Layer.provide(Settings.layer({ flushTimeout: 0, ...settings }))
  )
const runner = runnerOn(TestRunner.layer)

/** The server and the database, which outlive the runners. */
const world = Layer.merge(BlazeTest.layerServer, NodeSqlite.layer({ filename: ":memory:" })).pipe(
  Layer.provideMerge(Layer.succeed(Keyed.Grace, 0))
)

/** A runner that lives for as long as something is done with it. */
const life = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(Effect.scoped(effect), Layer.fresh(runner))

const inAnyWorld = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(effect).pipe(Effect.provide(Layer.fresh(world)))

const texts = Effect.fnUntraced(function* (...people: ReadonlyArray<BlazeServer.Person>) {
  return yield* Effect.forEach(people, (person) => Effect.map(person.reads, (texts) => texts.join()))
})

/** A bot in the background that answers what it gets. */
const echo = Bot.run((delivery) => delivery.reply(`re ${textOf(delivery)}`)).pipe(Effect.forkScoped)

/** What a bot is given that begins now. */
const heard = Effect.gen(function* () {
  const heard: Array<string> = []
  yield* Bot.run((delivery) => Effect.sync(() => void heard.push(textOf(delivery)))).pipe(Effect.forkScoped)
  yield* pass(10)
  return heard
})

type Answering = (
  answer: (delivery: Delivery.Delivery) => Effect.Effect<void, BlazeError.BlazeError>
) => Effect.Effect<unknown, BlazeError.BlazeError, Blaze.Blaze>

const byBot =
  (options?: Bot.Options<BlazeError.BlazeError, never>): Answering =>
  (answer) =>
    Bot.run(answer, options)

/** A pipeline of the program's own, which says of nothing that it has begun with it. */
const byHand: Answering = (answer) =>
  Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
    deliveries.pipe(
      Stream.mapEffect((delivery) => Effect.andThen(answer(delivery), delivery.ack), { concurrency: 16 }),
      Stream.runDrain
    )
  )

/** A runner that drains while whoever answers is busy: it is told something, and `whileDraining` is given whether it has drained before it may go on. */
const drained = Effect.fnUntraced(function* (
  said: Effect.Effect<unknown>,
  answering: Answering,
  whileDraining: (hasDrained: () => boolean) => void = () => {}
) {
  const going = yield* Deferred.make<void>()
  const blaze = yield* Blaze.Blaze
  yield* answering((delivery) =>
    Effect.andThen(Deferred.await(going), Effect.asVoid(delivery.reply(`re ${textOf(delivery)}`)))
  ).pipe(Effect.forkScoped)
  yield* said
  yield* pass(5)
  const draining = yield* Effect.forkScoped(blaze.drain)
  yield* pass(1)
  whileDraining(() => draining.pollUnsafe() !== undefined)
  yield* Deferred.succeed(going, undefined)
  yield* pass(5)
  yield* Fiber.join(draining)
})

const acknowledged = Effect.map(BlazeTest.acknowledged, (batches) => batches.flat())

const pending = Effect.flatMap(BlazeTest.Account, (bot) => bot.pending)

describe.each([
  ["on its own runner", true],
  ["over the cluster", false]
])("a bot in a cluster, its conversations %s", (_, isDirect) => {
  const inWorld = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    inAnyWorld(Effect.provideService(effect, Holder.IsDirect, isDirect))

  it.effect("answers in order and acknowledges, and tells who holds the socket", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      yield* life(
        Effect.gen(function* () {
          yield* echo
          yield* alice.say("one")
          yield* alice.say("two")
          yield* bob.say("three")
          yield* pass(5)
          assert.deepStrictEqual(yield* texts(alice, bob), ["re one,re two", "re three"])
          assert.strictEqual((yield* acknowledged).length, 3)
          const { status } = yield* BlazeCluster.BlazeCluster
          assert.deepStrictEqual(yield* status, {
            holder: Option.some("localhost:34431"),
            runners: 1,
            conversations: 2
          })
          const blaze = yield* Blaze.Blaze
          assert.strictEqual((yield* SubscriptionRef.get(blaze.status))._tag, "Connected")
          // Nobody has said anything for a while.
          yield* pass(180)
          assert.strictEqual((yield* status).conversations, 0)
        })
      )
    }).pipe(inWorld)
  )

  it.effect("offers again what its handler defers, and gives up what it gives up", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const log = lines()
      const runs: Array<string> = []
      yield* life(
        Effect.gen(function* () {
          yield* Bot.run((delivery) =>
            Effect.sync(() => {
              const text = textOf(delivery)
              runs.push(text)
              if (text === "later" && runs.filter((run) => run === text).length < 3)
                return Delivery.deferFor("1 minute")
              return text === "never" ? Delivery.GiveUp : Delivery.Ack
            })
          ).pipe(Effect.forkScoped)
          yield* alice.say("later")
          const never = yield* alice.say("never")
          yield* alice.say("now")
          yield* pass(5)
          assert.deepStrictEqual(runs, ["later", "never", "now"])
          yield* pass(61)
          assert.deepStrictEqual(runs, ["later", "never", "now", "later"])
          yield* pass(61)
          assert.deepStrictEqual(runs, ["later", "never", "now", "later", "later"])
          yield* pass(5)
          assert.deepStrictEqual(yield* pending, [never])
          assert.include(log.all.join(), `Message ${never} is given up: its handler says so.`)
        })
      ).pipe(Effect.provide(log.layer))
    }).pipe(inWorld)
  )

  it.effect("keeps the tries and the time of what was put aside when another runner takes over", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<number> = []
      const never = Bot.run(
        () =>
          Effect.andThen(
            Effect.clockWith((clock) => Effect.sync(() => runs.push(clock.currentTimeMillisUnsafe() / 1000))),
            Effect.succeed(Delivery.Defer)
          ),
        {}
      ).pipe(Effect.forkScoped)
      const defer = Settings.layer({ defer: Schedule.exponential("1 minute").pipe(Schedule.upTo({ times: 3 })) })
      const one = (seconds: number) => life(Effect.andThen(never, pass(seconds))).pipe(Effect.provide(defer))
      yield* alice.say("no")
      // After its first try, the second is a minute later, and the third two.
      yield* one(70)
      assert.strictEqual(runs.length, 2)
      yield* one(60)
      assert.strictEqual(runs.length, 2)
      yield* one(70)
      assert.strictEqual(runs.length, 3)
      // The fourth after four minutes is the last.
      yield* one(900)
      assert.strictEqual(runs.length, 4)
      assert.isAtLeast(runs[2]! - runs[1]!, 120)
      assert.isAtLeast(runs[3]! - runs[2]!, 240)
    }).pipe(inWorld)
  )

  it.effect("handles nothing again that another runner has handled, though its acknowledgement was lost", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      const runs: Array<string> = []
      const note = Bot.run((delivery) => Effect.sync(() => void runs.push(textOf(delivery)))).pipe(Effect.forkScoped)
      yield* alice.say("one")
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, Infinity)
      yield* life(Effect.andThen(note, pass(5)))
      yield* server.heal
      assert.deepStrictEqual(runs, ["one"])
      assert.strictEqual((yield* pending).length, 1)
      yield* life(Effect.andThen(note, pass(5)))
      assert.deepStrictEqual(runs, ["one"])
      assert.deepStrictEqual(yield* pending, [])
    }).pipe(inWorld)
  )

  it.effect(
    "handles on the next runner what was being handled on one that has ended, and stores what it writes once",
    () =>
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const Count = State.conversation("count", Schema.Int)
        let begun = 0
        const count = (delivery: Delivery.Delivery) =>
          Effect.gen(function* () {
            const cell = delivery.state(Count)
            const before = Option.getOrElse(yield* cell.get, () => 0)
            yield* cell.set(before + 1)
            yield* delivery.reply(`number ${before + 1}`)
            if (++begun === 2) return yield* Effect.never
          })
        yield* alice.say("one")
        yield* alice.say("two")
        yield* alice.say("three")
        const bot = Bot.run(count).pipe(Effect.forkScoped)
        yield* life(Effect.andThen(bot, pass(5)))
        assert.strictEqual((yield* pending).length, 2)
        yield* life(Effect.andThen(bot, pass(5)))
        assert.deepStrictEqual(yield* pending, [])
        assert.deepStrictEqual(yield* texts(alice), ["number 1,number 2,number 3"])
      }).pipe(inWorld)
  )

  it.effect("takes the socket again whatever ends it, and says so", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot = yield* BlazeTest.Account
      const log = lines()
      yield* life(
        Effect.gen(function* () {
          yield* echo
          yield* alice.say("one")
          yield* pass(5)
          // It does not connect again by itself, with this schedule.
          yield* bot.cut
          yield* pass(5)
          yield* alice.say("two")
          yield* pass(70)
          assert.deepStrictEqual(yield* texts(alice), ["re one,re two"])
          assert.include(log.all.join(), "Error The socket is held no longer, and taken again.")
        })
      ).pipe(Effect.provide([log.layer, Settings.layer({ reconnect: Schedule.recurs(0) })]))
    }).pipe(inWorld)
  )

  it.effect("stops everywhere when Mixin refuses the bot, and does not connect again", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const account = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      yield* life(
        Effect.gen(function* () {
          const bot = yield* Bot.run((delivery) => delivery.reply("")).pipe(Effect.forkScoped)
          yield* pass(5)
          const exit = yield* Fiber.await(bot)
          assert.isTrue(Exit.isFailure(exit))
          const error = Option.getOrUndefined(Exit.findErrorOption(exit as Exit.Exit<void, BlazeError.BlazeError>))
          assert.strictEqual(error?.reason._tag, "Unauthorized")
          const blaze = yield* Blaze.Blaze
          assert.strictEqual((yield* SubscriptionRef.get(blaze.status))._tag, "Stopped")
          const before = yield* account.handshakes
          yield* pass(600)
          assert.strictEqual(yield* account.handshakes, before)
          yield* alice.say("one")
          // It has left, and whoever comes next asks Mixin himself.
          yield* server.heal
          yield* life(Effect.andThen(echo, pass(5)))
          assert.deepStrictEqual(yield* texts(alice), ["re one"])
          assert.strictEqual((yield* SubscriptionRef.get(blaze.status))._tag, "Stopped")
        })
      )
    }).pipe(inWorld)
  )

  it.effect("tells of receipts, and waits for one", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      yield* life(
        Effect.gen(function* () {
          yield* pass(5)
          const blaze = yield* Blaze.Blaze
          const told: Array<string> = []
          yield* Effect.forkScoped(
            Stream.runForEach(blaze.receipts, ({ status }) => Effect.sync(() => void told.push(status)))
          )
          yield* pass(2)
          const read = yield* Effect.forkScoped(blaze.send({ user: alice.userId }, "hi", { until: "read" }))
          yield* pass(2)
          assert.isUndefined(read.pollUnsafe())
          yield* alice.reads
          yield* pass(2)
          assert.isTrue(Exit.isSuccess(yield* Fiber.await(read)))
          assert.deepStrictEqual(told, ["DELIVERED", "READ"])
        })
      )
    }).pipe(inWorld)
  )

  it.effect("tells of receipts however many come at once", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      yield* life(
        Effect.gen(function* () {
          yield* pass(5)
          const blaze = yield* Blaze.Blaze
          let read = 0
          yield* Effect.forEach(Array.from({ length: 3000 }), (_, n) =>
            Effect.forkScoped(
              Effect.andThen(
                blaze.send({ user: alice.userId }, `number ${n}`, { until: "read" }),
                Effect.sync(() => read++)
              )
            )
          )
          yield* pass(5)
          yield* alice.reads
          yield* pass(30)
          assert.strictEqual(read, 3000)
        })
      )
    }).pipe(inWorld)
  )

  it.effect("puts aside for as long as Mixin keeps a message what its handler never wants again", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      let runs = 0
      yield* life(
        Effect.gen(function* () {
          yield* Bot.run(() =>
            Effect.sync(() => {
              runs++
              return Delivery.deferFor(Duration.infinity)
            })
          ).pipe(Effect.forkScoped)
          yield* alice.say("one")
          yield* pass(60)
          assert.strictEqual(runs, 1)
          assert.strictEqual((yield* pending).length, 1)
        })
      )
    }).pipe(inWorld)
  )

  it.effect("begins with nothing that waits here once it leaves", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      yield* life(drained(Effect.andThen(alice.say("one"), bob.say("two")), byBot({ concurrency: 1 })))
      assert.deepStrictEqual(yield* texts(alice, bob), ["re one", ""])
      yield* life(Effect.andThen(echo, pass(5)))
      assert.deepStrictEqual(yield* texts(alice, bob), ["re one", "re two"])
    }).pipe(inWorld)
  )

  it.effect("tells who has a runner in the cluster and takes no message there", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const log = lines()
      yield* life(Effect.andThen(alice.say("one"), pass(30))).pipe(Effect.provide(log.layer))
      assert.include(log.all.join(), "Warn 1 messages wait on this runner, whose program takes none of them")
    }).pipe(inWorld)
  )

  it.effect("makes requests over REST, and refuses by its name one that needs the socket", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.addBot
      yield* life(
        Effect.gen(function* () {
          const blaze = yield* Blaze.Blaze
          const conversation_id = alice.conversationId
          const message = {
            conversation_id,
            category: "PLAIN_TEXT",
            data_base64: "aGk",
            message_id: crypto.randomUUID()
          }
          yield* blaze.request("CREATE_MESSAGE", message)
          assert.deepStrictEqual(yield* texts(alice), ["hi"])
          const error = yield* Effect.flip(blaze.request("CREATE_CALL", {}))
          assert.include(error.message, "CREATE_CALL")
          // What makes no sense is refused at once, and keeps nothing else from being sent.
          for (const params of [undefined, null, "hello", [message]]) {
            const { reason } = yield* Effect.flip(blaze.request("CREATE_MESSAGE", params))
            assert.strictEqual(reason._tag, "InvalidContent")
          }
          yield* blaze.send({ user: alice.userId }, "still here")
          assert.deepStrictEqual(yield* texts(alice), ["hi,still here"])
        })
      )
    }).pipe(inWorld)
  )

  it.effect("shares a cluster with another bot, and nothing else", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const other = yield* server.makeBot
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* server.user(other, "bob")
      const sharding = yield* Effect.map(Layer.build(TestRunner.layer), Context.get(Sharding.Sharding))
      const member = runnerOn(Layer.succeed(Sharding.Sharding, sharding))
      const one = yield* Layer.build(Layer.fresh(member))
      const two = yield* Layer.build(Layer.fresh(member)).pipe(Effect.provideService(BlazeTest.Account, other))
      yield* Effect.provideContext(echo, one)
      yield* Effect.provideContext(echo, two)
      yield* alice.say("one")
      yield* bob.say("two")
      yield* pass(5)
      assert.deepStrictEqual(yield* texts(alice, bob), ["re one", "re two"])
    }).pipe(inWorld)
  )

  it.effect("leaves the cluster when it drains, and the message that waits is for the next one", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const account = yield* BlazeTest.Account
      yield* life(
        Effect.gen(function* () {
          yield* drained(Effect.andThen(alice.say("one"), alice.say("two")), byBot(), (hasDrained) =>
            assert.isFalse(hasDrained())
          )
          assert.strictEqual(yield* account.connections, 0)
        })
      )
      assert.deepStrictEqual(yield* texts(alice), ["re one"])
      yield* life(Effect.andThen(echo, pass(5)))
      assert.deepStrictEqual(yield* texts(alice), ["re one,re two"])
    }).pipe(inWorld)
  )

  it.effect("leaves to a pipeline of the program's own what it has taken, until it has said what became of it", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* life(drained(alice.say("one"), byHand))
      assert.deepStrictEqual(yield* texts(alice), ["re one"])
      assert.deepStrictEqual(yield* life(heard), [])
    }).pipe(inWorld)
  )

  it.effect("leaves to a pipeline what it has taken over from a bot", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* life(
        Effect.gen(function* () {
          const bot = yield* Effect.forkScoped(Bot.run(() => Effect.never, { concurrency: 1 }))
          for (const name of ["bob", "carol"]) yield* Effect.flatMap(BlazeTest.user(name), ({ say }) => say("hello"))
          yield* alice.say("one")
          yield* pass(5)
          yield* Fiber.interrupt(bot)
          yield* drained(Effect.void, byHand)
        })
      )
      assert.deepStrictEqual(yield* texts(alice), ["re one"])
      assert.deepStrictEqual(yield* life(heard), [])
    }).pipe(inWorld)
  )

  it.effect("answers at once while an announcement that was refused waits for the quota", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const mallory = yield* BlazeTest.user("mallory")
      yield* mallory.addBot
      yield* mallory.block
      yield* Effect.gen(function* () {
        const blaze = yield* Blaze.Blaze
        const announce = Effect.exit(blaze.send({ conversation: mallory.conversationId }, "news"))
        yield* Bot.run((delivery) =>
          Effect.all([announce, announce, delivery.reply(`re ${textOf(delivery)}`)], { concurrency: 3 })
        ).pipe(Effect.forkScoped)
        // It is known by then that there is no other runner to share the quota with.
        yield* pass(60)
        yield* alice.say("one")
        yield* pass(5)
        assert.deepStrictEqual(yield* texts(alice), ["re one"])
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.fresh(runnerOn(TestRunner.layer, { quotaMessages: 10, answerShare: 0.8 })))
      )
    }).pipe(inWorld)
  )

  it.effect("runs as many handlers at once as it is told, however many others wait", () =>
    Effect.gen(function* () {
      const count = 1100
      const all = yield* Effect.forEach(Array.from({ length: count }), (_, n) => BlazeTest.user(`p${n}`))
      yield* life(
        Effect.gen(function* () {
          let begun = 0
          yield* Bot.run(
            () =>
              Effect.andThen(
                Effect.sync(() => void begun++),
                Effect.never
              ),
            {
              concurrency: 2 * count,
              inFlight: { messages: 2 * count, bytes: 16 * 1024 * 1024 }
            }
          ).pipe(Effect.forkScoped)
          for (const person of all) yield* person.say("hello")
          yield* pass(30)
          assert.strictEqual(begun, count)
        })
      )
    }).pipe(inWorld)
  )

  it.effect("sends what is stored to be sent, also what another runner has stored that has ended", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const people = yield* Effect.forEach(["alice", "bob"], BlazeTest.user)
      const [alice, bob] = people as [BlazeServer.Person, BlazeServer.Person]
      yield* Effect.forEach(people, ({ addBot }) => addBot)
      yield* life(
        Effect.gen(function* () {
          const blaze = yield* Blaze.Blaze
          yield* blaze.send({ user: alice.userId }, "one", { durable: true })
          yield* pass(3)
          assert.deepStrictEqual(yield* texts(alice), ["one"])
          yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, Infinity)
          yield* blaze.send({ user: alice.userId }, "two", { durable: true })
          yield* pass(3)
        })
      )
      yield* server.heal
      assert.deepStrictEqual(yield* texts(alice), ["one"])
      yield* life(
        Effect.gen(function* () {
          const announced = yield* Stream.make(alice.userId, bob.userId).pipe(
            Broadcast.run(() => "news", { key: "spring", durable: true }),
            Effect.forkScoped
          )
          yield* pass(10)
          assert.strictEqual((yield* Fiber.join(announced)).accepted, 2)
          assert.deepStrictEqual(yield* texts(alice, bob), ["one,two,news", "news"])
        })
      )
    }).pipe(inWorld)
  )
})
