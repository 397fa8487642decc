import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Random, Schema } from "effect"
import { BlazeError, Ids, Message, State, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import * as Cells from "../src/internal/Cells.ts"
import * as Handling from "../src/internal/Handling.ts"
import * as Outstanding from "../src/internal/Outstanding.ts"
import * as Restart from "../src/internal/Restart.ts"
import { id } from "./contract/stores.ts"
import { NodeCrypto } from "@effect/platform-node"
import { botOfStores, lines } from "./support.ts"

const Note = State.conversation("note", Schema.String)
const Draft = State.conversation("draft", Schema.String)

/** A bot of which a test says what comes of an acknowledgement, and that tells what was asked of it. */
const bot = Effect.gen(function* () {
  const asked: Array<string> = []
  const written: Array<ReadonlyArray<Store.Write>> = []
  const claims: Array<"Changed"> = []
  const nothing = Effect.die("not asked for")
  const storage: Cells.Storage["Service"] = yield* Effect.provide(Cells.make, [
    Store.layerMemory,
    NodeCrypto.layerSecureRandom
  ])
  const outstanding = Outstanding.make({ offer: () => {} }, Effect.runFork)
  const numbersOf = (entries: ReadonlyArray<Outstanding.Open>) => entries.map(({ number }) => number).join("+")
  const tell = (what: string) => Effect.sync(() => void asked.push(what))
  const ended = (entries: ReadonlyArray<Outstanding.Open>, writes: ReadonlyArray<Store.Write>) =>
    Effect.sync(() => {
      asked.push(`ack ${numbersOf(entries)}`)
      written.push(writes)
      const claim = claims.shift()
      // For who handles it again.
      if (claim === "Changed") entries.forEach(outstanding.hold)
      return claim
    })
  const actions: Handling.Actions = {
    botId: botOfStores,
    ack: (entry, writes) => ended([entry], writes),
    ackAll: ended,
    defer: (entry, after) => tell(`defer ${entry.number}${after === undefined ? "" : ` ${Duration.toMillis(after)}`}`),
    giveUp: (entry, reason) => tell(`give up ${entry.number}: ${reason}`),
    skips: () => false,
    hold: outstanding.hold,
    release: outstanding.release,
    leave: (entry) => void asked.push(`leave ${entry.number}`),
    observe: undefined,
    unread: () => nothing,
    suspect: (_, isStill) => void asked.push(`suspect ${isStill()}`),
    answer: () => Effect.succeed(id(9)),
    derive: () => nothing,
    me: nothing,
    hasSent: () => false,
    contactOf: () => nothing,
    conversation: () => nothing,
    later: (effect) => void asked.push(`later ${Effect.runSyncExit(effect)._tag}`),
    storage
  }
  let count = 0
  return {
    asked,
    written,
    claims,
    held: () => outstanding.count().held,
    outstanding,
    actions,
    /** One of its deliveries. */
    deliver: (more: Partial<Handling.Actions> = {}, view: object = {}) => {
      const message = Message.fromView({
        message_id: id(count),
        conversation_id: id(100 + count++),
        category: "PLAIN_TEXT",
        data: "aGk=",
        ...view
      })
      const entry = outstanding.begin(message, 0)
      return { entry, delivery: new Handling.Delivery(message, entry, { ...actions, ...more }) }
    }
  }
})

const write = (delivery: Handling.Delivery, value: string) => delivery.state(Note).set(value)

const values = (writes: ReadonlyArray<Store.Write> | undefined) =>
  writes?.map(({ next }) => (typeof next === "object" && next !== undefined ? JSON.parse(next.value) : next))

const done = Exit.void
const failed = Exit.fail("no")
const final = Exit.fail(BlazeError.make(new BlazeError.InvalidContent({ field: "the text", expected: "shorter" })))
const deferred = { _tag: "Defer" } as const
const interrupted = Exit.failCause(Cause.interrupt(1))

describe("what a handler ends with", () => {
  it.effect("defers for as long as it says, where that is a time", () =>
    Effect.gen(function* () {
      const { asked, deliver } = yield* bot
      const { delivery } = deliver()
      for (const after of [Duration.seconds(5), "5 seconds", undefined]) {
        yield* Handling.settle(delivery, Exit.succeed({ ...deferred, after }))
      }
      yield* Handling.settle(delivery, Exit.succeed(deferred))
      assert.deepStrictEqual(asked, ["defer 0 5000", "defer 0", "defer 0", "defer 0"])
    }).pipe(Effect.scoped)
  )

  it.effect("settles it, and who worked on it does not any more", () =>
    Effect.gen(function* () {
      const { asked, deliver, held } = yield* bot
      const { delivery } = deliver()
      const settle = (exit: Exit.Exit<unknown, unknown>, reason?: string) => {
        Handling.begin(delivery)
        return Handling.settleUnsafe(delivery, exit, reason)
      }
      yield* settle(done)
      yield* settle(Exit.succeed({ _tag: "Ack" }))
      yield* settle(Exit.succeed({ _tag: "GiveUp" }))
      yield* settle(Exit.succeed({ _tag: "GiveUp" }), "its form is wrong")
      yield* settle(failed)
      yield* settle(final)
      yield* settle(Exit.die("broken"))
      yield* settle(Exit.failCause(Cause.combine(Cause.fail("no"), Cause.interrupt(1))))
      yield* settle(interrupted)
      const restarted = yield* Effect.forkChild(Effect.never)
      Restart.interrupt(restarted)
      yield* settle(yield* Fiber.await(restarted))
      assert.deepStrictEqual(asked, [
        "ack 0",
        "ack 0",
        "give up 0: its handler says so.",
        "give up 0: its form is wrong",
        "defer 0",
        "give up 0: Cannot send this: the text must be shorter.",
        "defer 0",
        "defer 0",
        "leave 0"
      ])
      assert.strictEqual(held(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("writes with it what it has written, and nothing of a run that failed", () =>
    Effect.gen(function* () {
      const { deliver, written } = yield* bot
      const { delivery } = deliver()
      yield* delivery.state(Draft).set("one")
      yield* Handling.settle(delivery, failed)
      yield* write(delivery, "two")
      yield* Handling.settle(delivery, done)
      assert.match(String(yield* Effect.exit(write(delivery, "three"))), /the message has been settled/)
      yield* delivery.ack
      assert.deepStrictEqual(written.map(values), [["two"], []])
    }).pipe(Effect.scoped)
  )

  it.effect("is offered again soon where what it was to write has changed, and nobody can run it again", () =>
    Effect.gen(function* () {
      const { asked, claims, deliver, held } = yield* bot
      const { delivery } = deliver()
      claims.push("Changed", "Changed")
      Handling.begin(delivery)
      yield* Handling.settle(delivery, done)
      yield* delivery.ack
      assert.deepStrictEqual(asked, ["ack 0", "defer 0 1000", "ack 0", "defer 0 1000"])
      assert.strictEqual(held(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("is suspected where an answer was made and none has begun, in the run that has succeeded", () =>
    Effect.gen(function* () {
      const { asked, deliver } = yield* bot
      const suspected = Effect.fnUntraced(function* (
        run: (delivery: Handling.Delivery) => Effect.Effect<unknown, unknown>,
        exit: Exit.Exit<unknown, unknown> = done
      ) {
        asked.splice(0)
        const { delivery } = deliver()
        yield* run(delivery)
        yield* Handling.settle(delivery, exit)
        return asked.filter((line) => line.startsWith("suspect"))
      })
      const forgets = (delivery: Handling.Delivery) => Effect.asVoid(Effect.sync(() => delivery.reply("hi")))
      assert.deepStrictEqual(yield* suspected(() => Effect.void), [])
      assert.deepStrictEqual(yield* suspected(forgets), ["suspect true"])
      assert.deepStrictEqual(yield* suspected(forgets, failed), [])
      assert.deepStrictEqual(yield* suspected(forgets, Exit.succeed(deferred)), [])
      assert.deepStrictEqual(yield* suspected((delivery) => delivery.reply("hi")), [])
      assert.deepStrictEqual(
        yield* suspected((delivery) => Effect.andThen(delivery.reply("one"), forgets(delivery))),
        []
      )
      assert.deepStrictEqual(
        yield* suspected((delivery) =>
          Effect.andThen(
            forgets(delivery),
            Effect.sync(() => Handling.forgetRun(delivery))
          )
        ),
        []
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is let go of by who holds it and settles it by hand, once, and by nobody else", () =>
    Effect.gen(function* () {
      const { claims, deliver, held } = yield* bot
      const { delivery } = deliver()
      for (const settle of [
        delivery.ack,
        delivery.defer,
        delivery.giveUp("no"),
        Effect.suspend(() => Handling.settle(delivery, done))
      ]) {
        for (const _ of [1, 2]) Handling.hold(delivery)
        assert.strictEqual(held(), 1)
        yield* settle
        assert.strictEqual(held(), 0)
      }
      claims.push("Changed")
      Handling.hold(delivery)
      yield* delivery.ack
      assert.strictEqual(held(), 0)
      // A handler that says what becomes of its message goes on working.
      Handling.hold(delivery)
      Handling.begin(delivery)
      for (const settle of [delivery.ack, delivery.defer, delivery.giveUp("no")]) {
        yield* settle
        assert.strictEqual(held(), 1)
      }
      yield* Handling.settle(delivery, done)
      assert.strictEqual(held(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("is held by nobody at its end, though its handler has held it besides", () =>
    Effect.gen(function* () {
      const { deliver, held } = yield* bot
      const { delivery } = deliver()
      for (const inside of [Effect.void, delivery.ack, delivery.defer]) {
        Handling.begin(delivery)
        Handling.hold(delivery)
        yield* inside
        yield* Handling.settle(delivery, done)
        assert.strictEqual(held(), 0)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("is told of the message that it waits in a queue, and that somebody works on it", () =>
    Effect.gen(function* () {
      const { deliver, held } = yield* bot
      const { delivery, entry } = deliver()
      Handling.queue(delivery)
      assert.deepStrictEqual([entry.isQueued, held()], [true, 0])
      Handling.begin(delivery)
      assert.deepStrictEqual([entry.holders, held()], [1, 1])
    }).pipe(Effect.scoped)
  )
})

describe("deliveries that are handled together", () => {
  /** What is asked and written where each writes its number, and one of them has made an answer. */
  const together = Effect.fnUntraced(function* (
    { asked, held, written }: Effect.Success<typeof bot>,
    deliveries: ReadonlyArray<Handling.Delivery>,
    exit: Exit.Exit<unknown, unknown>,
    between: Effect.Effect<unknown> = Effect.void
  ) {
    for (const delivery of deliveries) Handling.begin(delivery)
    Handling.share(deliveries)
    for (const [n, delivery] of deliveries.entries()) yield* write(delivery, String(n))
    yield* between
    const claim = yield* Handling.settleTogether(deliveries, exit)
    return { asked: asked.splice(0), written: written.splice(0).map(values), held: held(), claim }
  })

  it.effect("are acknowledged in one go with what is written", () =>
    Effect.gen(function* () {
      const scene = yield* bot
      const { claims, deliver } = scene
      const [one, two, three] = [deliver().delivery, deliver().delivery, deliver().delivery]
      const deliveries = [one, two, three]
      assert.deepStrictEqual(yield* together(scene, deliveries.slice(0, 2), done), {
        asked: ["ack 0+1"],
        written: [["0", "1"]],
        held: 0,
        claim: undefined
      })
      // One of them has written something, and the other has not.
      Handling.share([two, three])
      yield* write(three, "3")
      yield* Handling.settleTogether([two, three], done)
      assert.deepStrictEqual([scene.asked.splice(0), scene.written.splice(0).map(values)], [["ack 1+2"], [["3"]]])
      // Their end has come.
      assert.isTrue(Exit.isFailure(yield* Effect.exit(write(one, "late"))))
      yield* two.ack
      assert.deepStrictEqual([scene.asked.splice(0), scene.written.splice(0)], [["ack 1"], [[]]])
      claims.push("Changed")
      assert.deepStrictEqual(yield* together(scene, deliveries, done), {
        asked: ["ack 0+1+2"],
        written: [["0", "1", "2"]],
        held: 3,
        claim: "Changed"
      })
    }).pipe(Effect.scoped)
  )

  it.effect("are suspected each", () =>
    Effect.gen(function* () {
      const scene = yield* bot
      const deliveries = [scene.deliver().delivery, scene.deliver().delivery]
      const { asked } = yield* together(
        scene,
        deliveries,
        done,
        Effect.asVoid(Effect.sync(() => deliveries[1]!.reply("hi")))
      )
      assert.deepStrictEqual(asked, ["suspect true", "ack 0+1"])
    }).pipe(Effect.scoped)
  )

  it.effect("are acknowledged together whatever they share, and settled one by one otherwise", () =>
    Effect.gen(function* () {
      const scene = yield* bot
      const { asked, deliver, written } = scene
      assert.isUndefined(yield* Handling.settleTogether([], done))
      const one = deliver().delivery
      const other = deliver().delivery
      assert.deepStrictEqual(yield* together(scene, [one], done), {
        asked: ["ack 0"],
        written: [["0"]],
        held: 0,
        claim: undefined
      })
      // Nothing is written.
      Handling.share([one, other])
      yield* Handling.settleTogether([one, other], done)
      assert.deepStrictEqual([asked.splice(0), written.splice(0)], [["ack 0+1"], [[]]])
      for (const [exit, verb] of [
        [failed, "defer"],
        [Exit.succeed(deferred), "defer"],
        [interrupted, "leave"]
      ] as const) {
        const { asked, held, written } = yield* together(scene, [one, other], exit)
        assert.deepStrictEqual([asked, written, held], [[`${verb} 0`, `${verb} 1`], [], 0])
        for (const delivery of [one, other]) Handling.forgetRun(delivery)
      }
      // One of them was settled meanwhile, with what was written by then.
      const { asked: alone, written: left } = yield* together(scene, [one, other], done, one.ack)
      assert.deepStrictEqual(
        [alone, left],
        [
          ["ack 0", "ack 0+1"],
          [["0", "1"], []]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("are held once more for their next run, but for those that are settled", () =>
    Effect.gen(function* () {
      const { claims, deliver, held, outstanding } = yield* bot
      const [one, two] = [deliver(), deliver()]
      for (const { delivery } of [one, two]) Handling.begin(delivery)
      // What became of the second is being stored by itself.
      outstanding.settle(two.entry)
      claims.push("Changed")
      let runs = 0
      yield* Handling.inPlace(
        [one.delivery, two.delivery],
        Effect.sync(() => runs++),
        () => Handling.settleUnsafe(one.delivery, done)
      )
      assert.deepStrictEqual([runs, two.entry.holders], [2, 2])
      yield* Handling.settle(two.delivery, done)
      assert.deepStrictEqual([two.entry.holders, held()], [1, 1])
    }).pipe(Effect.scoped)
  )

  it.effect("of several bots write each its own", () =>
    Effect.gen(function* () {
      const scene = yield* bot
      const { deliver } = scene
      const deliveries = [deliver().delivery, deliver({ ackAll: () => Effect.die("not asked for") }).delivery]
      const { asked, written } = yield* together(scene, deliveries, done)
      assert.deepStrictEqual(
        [asked, written],
        [
          ["ack 0", "ack 1"],
          [["0"], ["1"]]
        ]
      )
    }).pipe(Effect.scoped)
  )
})

describe("what is handled in its place", () => {
  const inPlace = <A>(delivery: Handling.Delivery, run: Effect.Effect<A, string>) => {
    Handling.begin(delivery)
    return Handling.inPlace([delivery], run, (exit) => Handling.settleUnsafe(delivery, exit))
  }

  it.effect("runs again while what it was to write has changed, and gives what its last run gave", () =>
    Effect.gen(function* () {
      const { asked, claims, deliver, held, written } = yield* bot
      const { delivery } = deliver()
      let runs = 0
      claims.push("Changed", "Changed")
      const fiber = yield* Effect.forkChild(
        inPlace(delivery, Effect.suspend(() => Effect.as(write(delivery, String(++runs)), runs)).pipe(Effect.orDie))
      )
      yield* BlazeTest.pass(1000)
      assert.strictEqual(yield* Fiber.join(fiber), 3)
      assert.deepStrictEqual(
        [asked, written.map(values)],
        [
          ["ack 0", "ack 0", "ack 0"],
          [["1"], ["2"], ["3"]]
        ]
      )
      assert.strictEqual(held(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("fails as its last run did, and is settled by that", () =>
    Effect.gen(function* () {
      const { asked, claims, deliver, held } = yield* bot
      const { delivery } = deliver()
      let runs = 0
      claims.push("Changed")
      const exit = yield* Effect.exit(
        inPlace(
          delivery,
          Effect.suspend(() => (++runs === 2 ? Effect.fail("no") : Effect.succeed(runs)))
        )
      )
      assert.deepStrictEqual(exit, Exit.fail("no"))
      assert.deepStrictEqual([asked, held()], [["ack 0", "defer 0"], 0])
    }).pipe(Effect.scoped)
  )

  it.effect("is deferred with a line in the log when that has been so 11 times, later and later", () => {
    const log = lines()
    return Effect.gen(function* () {
      const { asked, claims, deliver, held } = yield* bot
      const { delivery } = deliver()
      const at: Array<number> = []
      claims.push(...Array.from({ length: 11 }, () => "Changed" as const))
      const fiber = yield* Effect.forkChild(
        inPlace(
          delivery,
          Effect.clockWith((clock) => Effect.map(clock.currentTimeMillis, (now) => at.push(now)))
        )
      )
      for (let step = 0; step < 4300; step += 20) yield* BlazeTest.pass(20)
      yield* Fiber.await(fiber)
      // Chance has the longest pauses.
      assert.deepStrictEqual(
        at.map((time, n) => time - (at[n - 1] ?? 0)).slice(1),
        [0, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]
      )
      assert.deepStrictEqual([asked.length, asked.at(-1), held()], [12, "defer 0", 0])
      assert.deepStrictEqual(log.all, [
        `Error What the handler of message ${id(0)} was to write has changed each time since it was read; it is deferred.`
      ])
    }).pipe(
      Effect.scoped,
      Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 1 }),
      Effect.provide(log.layer)
    )
  })
})

describe("parts of a delivery", () => {
  const parts = Effect.gen(function* () {
    const scene = yield* bot
    const { delivery, entry } = scene.deliver()
    const [one, two] = Handling.split(delivery, 2)
    return { ...scene, entry, one, two }
  })

  it.effect("are acknowledged when each is, once, with what each has written, the later of two counting", () =>
    Effect.gen(function* () {
      const { asked, held, one, two, written } = yield* parts
      for (const part of [one, two]) Handling.begin(part)
      yield* write(one, "one")
      yield* Handling.settle(one, done)
      yield* one.ack
      assert.deepStrictEqual(asked, [])
      yield* write(two, "two")
      yield* Handling.settle(two, done)
      assert.deepStrictEqual([asked, written.map(values), held()], [["ack 0"], [["two"]], 0])
    }).pipe(Effect.scoped)
  )

  it.effect("do not take what another part has written for something that has changed since they read it", () =>
    Effect.gen(function* () {
      const { one, two, written } = yield* parts
      yield* two.state(Note).get
      yield* two.state(Draft).set("draft")
      yield* write(one, "note")
      yield* Handling.settle(one, done)
      yield* Handling.settle(two, done)
      assert.deepStrictEqual(written.splice(0).map(values), [["note", "draft"]])
      const { one: three, two: four, written: others } = yield* parts
      yield* three.state(Note).get
      yield* three.state(Draft).set("draft")
      yield* Handling.settle(four, done)
      yield* Handling.settle(three, done)
      assert.deepStrictEqual(others.map(values), [["draft", "Same"]])
    }).pipe(Effect.scoped)
  )

  it.effect("are offered again soon where what one of them was to write has changed", () =>
    Effect.gen(function* () {
      const { asked, claims, held, one, two } = yield* parts
      claims.push("Changed")
      for (const part of [one, two]) Handling.begin(part)
      yield* write(one, "note")
      for (const part of [one, two]) yield* Handling.settle(part, done)
      assert.deepStrictEqual([asked, held()], [["ack 0", "defer 0 1000"], 0])
    }).pipe(Effect.scoped)
  )

  it.effect(
    "are offered again soon where that has changed which was acknowledged before, though none has written",
    () =>
      Effect.gen(function* () {
        const { asked, claims, held, one, two } = yield* parts
        claims.push("Changed")
        for (const part of [one, two]) Handling.begin(part)
        for (const part of [one, two]) yield* Handling.settle(part, done)
        assert.deepStrictEqual([asked, held()], [["ack 0", "defer 0 1000"], 0])
      }).pipe(Effect.scoped)
  )

  it.effect("wait for those that somebody works on, however often the others are let go of", () =>
    Effect.gen(function* () {
      const { asked, held, one, two } = yield* parts
      for (const part of [one, two]) Handling.begin(part)
      yield* one.giveUp("no")
      for (const _ of [1, 2, 3]) yield* Handling.settle(one, done)
      assert.deepStrictEqual([asked, held()], [[], 1])
      yield* Handling.settle(two, done)
      assert.deepStrictEqual([asked, held()], [["give up 0: no"], 0])
      // Nobody works on the first of these.
      const { asked: others, one: three, two: four } = yield* parts
      Handling.begin(four)
      yield* Handling.settle(three, failed)
      assert.deepStrictEqual(others, [])
      yield* Handling.settle(four, done)
      assert.deepStrictEqual(others, ["defer 0"])
    }).pipe(Effect.scoped)
  )

  it.effect("go to the next consumer where one is interrupted, once nobody works on the others", () =>
    Effect.gen(function* () {
      const { asked, held, one, two } = yield* parts
      for (const part of [one, two]) Handling.begin(part)
      yield* Handling.settle(one, interrupted)
      assert.deepStrictEqual(asked.splice(0), ["leave 0"])
      yield* Handling.settle(two, interrupted)
      assert.deepStrictEqual(asked.splice(0), ["leave 0", "leave 0"])
      Handling.begin(one)
      yield* Handling.settle(one, done)
      assert.deepStrictEqual([asked, held()], [["leave 0"], 0])
      // One that has been decided on is so at once.
      const { asked: others, one: three, two: four } = yield* parts
      for (const part of [three, four]) Handling.begin(part)
      yield* three.giveUp("no")
      yield* Handling.settle(three, done)
      assert.deepStrictEqual(others, [])
      yield* Handling.settle(four, interrupted)
      assert.deepStrictEqual(others, ["give up 0: no", "later Success", "leave 0"])
    }).pipe(Effect.scoped)
  )

  it.effect("are deferred once one is, and given up once one is, when nobody works on any", () =>
    Effect.gen(function* () {
      const { asked, one, two } = yield* parts
      for (const part of [one, two]) Handling.begin(part)
      yield* Handling.settle(one, failed)
      yield* Handling.settle(two, done)
      assert.deepStrictEqual(asked, ["defer 0"])
      const { asked: second, one: three, two: four } = yield* parts
      for (const part of [three, four]) Handling.begin(part)
      yield* three.giveUp("no")
      assert.deepStrictEqual(second, [])
      yield* Handling.settle(four, Exit.succeed({ ...deferred, after: Duration.seconds(3) }))
      assert.deepStrictEqual(second, [])
      yield* Handling.settle(three, done)
      assert.deepStrictEqual(second, ["give up 0: no"])
    }).pipe(Effect.scoped)
  )
})

describe("a message", () => {
  const said = (text: string) => ({ data: Buffer.from(text).toString("base64") })

  it.effect("without the sign is for nobody by name, and nobody is looked up for it", () =>
    Effect.gen(function* () {
      const { deliver } = yield* bot
      const { delivery } = deliver({}, said(" hello, you "))
      assert.isFalse(yield* delivery.isMentioned)
      assert.strictEqual(yield* delivery.textWithoutMention, "hello, you")
    }).pipe(Effect.scoped)
  )

  it.effect("has the age that the two clocks say, and none before it was written", () =>
    Effect.gen(function* () {
      const { deliver } = yield* bot
      const ageOf = (created_at: string) => Effect.map(deliver({}, { created_at }).delivery.age, Duration.toMillis)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        [yield* ageOf(new Date(50_000).toISOString()), yield* ageOf(new Date(70_000).toISOString()), yield* ageOf("")],
        [10_000, 0, 0]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is direct where it is in the conversation with its sender, or with who has paid", () =>
    Effect.gen(function* () {
      const { deliver } = yield* bot
      const askedFor: Array<string> = []
      const isDirect = (view: object) =>
        deliver(
          { contactOf: (userId) => Effect.sync(() => (askedFor.push(userId), Ids.ConversationId.make(id(77)))) },
          { conversation_id: id(77), user_id: id(1), ...view }
        ).delivery.isDirect
      const paid = (snapshot: object) => ({
        category: "SYSTEM_ACCOUNT_SNAPSHOT",
        ...said(JSON.stringify({ snapshot_id: id(5), asset_id: id(6), amount: "1", ...snapshot }))
      })
      assert.isTrue(yield* isDirect({}))
      assert.isFalse(yield* isDirect({ conversation_id: id(78) }))
      yield* isDirect({ user_id: undefined })
      yield* isDirect(paid({ opponent_id: id(2) }))
      yield* isDirect(paid({}))
      assert.deepStrictEqual(askedFor, [id(1), id(1), "", id(2), id(1)])
    }).pipe(Effect.scoped)
  )
})
