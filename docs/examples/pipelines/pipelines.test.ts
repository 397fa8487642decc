// Each pipeline of this folder on a virtual clock.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Result, Stream } from "effect"
import { Blaze, Delivery, type Envelope, type Ids, Message, Recording } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { batch } from "./batch.ts"
import { bridge } from "./bridge.ts"
import { debounce } from "./debounce.ts"
import { duplex } from "./duplex.ts"
import { merge } from "./merge.ts"
import { outgoing } from "./outgoing.ts"
import { partition } from "./partition.ts"
import { rateLimit } from "./rate-limit.ts"
import { replay } from "./replay.ts"
import { restart } from "./restart.ts"
import { tee } from "./tee.ts"
import { windows } from "./windows.ts"

const textOf = ({ message }: { readonly message: Message.Message }) => (Message.isText(message) ? message.text : "")

const pass = (seconds: number) => BlazeTest.pass(seconds * 1000)

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

const pending = Effect.flatMap(BlazeTest.Account, ({ pending }) => Effect.map(pending, (ids) => ids.length))

const say = Effect.fnUntraced(function* (who: string, ...texts: ReadonlyArray<string>) {
  const person = yield* BlazeTest.user(who)
  for (const text of texts) yield* person.say(text)
  return person
})

/** A log of what was done when, and something that takes its time. */
const diary = (takes = 0) => {
  const log: Array<string> = []
  const note = (text: string) =>
    Effect.gen(function* () {
      const began = yield* seconds
      yield* Effect.sleep(takes * 1000)
      log.push(`${began} ${text}`)
    })
  return { log, note, all: (group: ReadonlyArray<Delivery.Delivery>) => note(group.map(textOf).join("+")) }
}

const deliveriesOf = Effect.map(Blaze.Blaze, ({ deliveries }) => deliveries)

const test = (name: string, body: Effect.Effect<void, unknown, Blaze.Services | BlazeTest.Server>) =>
  it.effect(name, () => Effect.provide(body, BlazeTest.layer))

describe("the pipelines of the docs", () => {
  test(
    "batch: what has come within a second is written together, and acknowledged when it is",
    Effect.gen(function* () {
      const { all, log } = diary(1)
      yield* Effect.forkChild(Stream.runDrain(batch(yield* deliveriesOf, all)))
      yield* say("alice", "1", "2")
      yield* say("bob", "3")
      yield* pass(1)
      assert.deepStrictEqual([log, yield* pending], [[], 3])
      yield* pass(3)
      assert.deepStrictEqual([log, yield* pending], [["1 1+2+3"], 0])
    })
  )

  test(
    "debounce: who goes on typing is waited for, and holds up nobody",
    Effect.gen(function* () {
      const { all, log } = diary()
      yield* Effect.forkChild(Stream.runDrain(debounce(yield* deliveriesOf, all)))
      yield* say("alice", "a1")
      yield* say("bob", "b1")
      yield* pass(1)
      yield* say("alice", "a2")
      yield* pass(5)
      assert.deepStrictEqual([log, yield* pending], [["2 b1", "3 a1+a2"], 0])
    })
  )

  test(
    "tee: acknowledged when both are done, and again for both once one defers",
    Effect.gen(function* () {
      const archive = diary(2)
      const respond = diary()
      let tries = 0
      const program = tee(
        yield* deliveriesOf,
        (delivery) => archive.note(textOf(delivery)),
        (delivery): Effect.Effect<unknown> =>
          textOf(delivery) === "later" && tries++ === 0
            ? Effect.succeed(Delivery.Defer)
            : respond.note(textOf(delivery))
      )
      yield* Effect.forkChild(program)
      yield* say("alice", "1")
      yield* pass(1)
      assert.deepStrictEqual([respond.log, yield* pending], [["0 1"], 1])
      yield* pass(3)
      assert.strictEqual(yield* pending, 0)
      yield* say("alice", "later")
      yield* pass(60)
      yield* pass(5)
      assert.deepStrictEqual(archive.log.length, 3)
      assert.deepStrictEqual([respond.log.length, yield* pending], [2, 0])
    })
  )

  test(
    "partition: texts are answered, and the rest is acknowledged",
    Effect.gen(function* () {
      yield* Effect.forkChild(partition(yield* deliveriesOf, (delivery) => delivery.reply(delivery.message.text)))
      const alice = yield* say("alice", "1")
      yield* alice.send("PLAIN_STICKER", '{"sticker_id":"1"}')
      yield* say("alice", "2")
      yield* pass(2)
      assert.deepStrictEqual([yield* alice.reads, yield* pending], [["1", "2"], 0])
    })
  )

  test(
    "merge: each bot answers what was said to it",
    Effect.gen(function* () {
      const blazes: Array<Blaze.Blaze["Service"]> = []
      const people = []
      for (let n = 0; n < 3; n++) {
        const context = yield* Layer.build(Layer.fresh(BlazeTest.layer))
        blazes.push(yield* Effect.provideContext(Blaze.Blaze, context))
        people.push(yield* Effect.provideContext(BlazeTest.user("alice"), context))
      }
      const streams = blazes.map(({ deliveries }) => deliveries)
      yield* Effect.forkChild(Stream.runDrain(merge(streams, (delivery) => delivery.reply(delivery.botId))))
      for (const person of people) yield* person.say("who?")
      yield* pass(2)
      for (const [n, person] of people.entries()) assert.deepStrictEqual(yield* person.reads, [blazes[n]!.userId])
    }).pipe(Effect.scoped)
  )

  test(
    "rate limit: nobody more than once in two seconds",
    Effect.gen(function* () {
      const { log, note } = diary()
      yield* Effect.forkChild(Stream.runDrain(rateLimit(yield* deliveriesOf, (delivery) => note(textOf(delivery)))))
      yield* say("alice", "a1", "a2", "a3")
      yield* say("bob", "b1")
      yield* pass(6)
      assert.deepStrictEqual([log, yield* pending], [["0 a1", "0 b1", "2 a2", "4 a3"], 0])
    })
  )

  test(
    "windows: a minute's messages are reported, beside what is done with them",
    Effect.gen(function* () {
      const counts: Array<number> = []
      const handled = windows(yield* deliveriesOf, (messages) => Effect.sync(() => counts.push(messages.length)))
      yield* Effect.forkChild(
        Stream.runForEach(
          handled,
          Delivery.handle((delivery) => delivery.reply("ok"))
        )
      )
      yield* say("alice", "1", "2")
      yield* pass(30)
      yield* say("bob", "3")
      yield* pass(31)
      yield* say("bob", "4")
      yield* pass(61)
      assert.deepStrictEqual([counts, yield* pending], [[3, 1], 0])
    })
  )

  test(
    "bridge: a log that is away is waited for, in order within a conversation",
    Effect.gen(function* () {
      const { log, note } = diary(1)
      let calls = 0
      const produce = (_: string, message: Message.Message) =>
        Effect.suspend(() => (calls++ < 3 ? Effect.fail("away") : note(textOf({ message }))))
      yield* Effect.forkChild(Stream.runDrain(bridge(yield* deliveriesOf, produce)))
      yield* say("alice", "1", "2")
      for (let n = 0; n < 8; n++) yield* pass(1)
      assert.deepStrictEqual([log, yield* pending], [["3 1", "4 2"], 0])
    })
  )

  test(
    "restart: what arrives interrupts the answer, and is answered together with it",
    Effect.gen(function* () {
      const { all, log } = diary(5)
      yield* Effect.forkChild(Stream.runDrain(restart(yield* deliveriesOf, all)))
      yield* say("alice", "a1")
      yield* say("bob", "b1")
      yield* pass(2)
      yield* say("alice", "a2")
      yield* pass(10)
      assert.deepStrictEqual([log, yield* pending], [["0 b1", "2 a1+a2"], 0])
    })
  )

  it.effect("duplex: requests in, envelopes out", () =>
    Effect.gen(function* () {
      const list: Envelope.Request = { id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", action: "LIST_PENDING_MESSAGES" }
      const actions = yield* duplex(Stream.make(list)).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.provide(BlazeTest.layerSocket),
        Effect.forkChild
      )
      yield* BlazeTest.settle
      yield* say("alice", "hi")
      assert.deepStrictEqual(yield* Fiber.join(actions), ["LIST_PENDING_MESSAGES", "CREATE_MESSAGE"])
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  test(
    "outgoing: run again it sends nothing twice",
    Effect.gen(function* () {
      const alice = yield* say("alice", "hi")
      const messages = ["1", "2"].map((content, n) => ({
        to: { user: alice.userId },
        content,
        id: `00000000-0000-4000-8000-00000000000${n}` as Ids.MessageId
      }))
      yield* Effect.forkChild(Stream.runForEach(yield* deliveriesOf, ({ ack }) => ack))
      for (let n = 0; n < 2; n++) {
        const results = yield* Stream.runCollect(outgoing(Stream.fromIterable(messages)))
        assert.isTrue(results.every(({ result }) => Result.isSuccess(result)))
      }
      assert.deepStrictEqual(yield* alice.reads, ["1", "2"])
    })
  )

  test(
    "replay: what was recorded is answered again",
    Effect.gen(function* () {
      const lines: Array<string> = []
      const record = Recording.make()
      yield* Effect.forkChild(
        Stream.runForEach(
          yield* deliveriesOf,
          Delivery.handle(({ message }) => Effect.sync(() => lines.push(record(message))))
        )
      )
      yield* say("alice", "1", "2")
      yield* pass(1)
      const happened = yield* replay(
        lines,
        Stream.mapEffect(Delivery.handle((delivery) => delivery.reply(textOf(delivery))))
      )
      assert.deepStrictEqual(
        happened.map(({ answers, outcome }) => [outcome, answers[0]?.text]),
        [
          ["Acknowledged", "1"],
          ["Acknowledged", "2"]
        ]
      )
    })
  )
})
