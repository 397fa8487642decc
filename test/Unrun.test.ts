import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Blaze, Bot, Delivery, Ids, Keyed, State } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { lines, pass } from "./support.ts"
import * as Unrun from "../src/internal/Unrun.ts"

const isAboutAnswers = (line: string) => line.includes("made an answer and run none")

/** What the log says of answers that were never run, of a program that so many messages are said to. */
const toldOf = Effect.fnUntraced(function* <E>(program: Effect.Effect<unknown, E, Blaze.Blaze>, messages: number) {
  const log = lines()
  yield* Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkScoped(program)
    for (let n = 0; n < messages; n++) yield* alice.say(`message ${n}`)
    yield* pass(300)
    for (let n = 0; n < messages; n++) yield* alice.say(`later ${n}`)
    yield* pass(300)
    assert.deepStrictEqual(yield* Effect.flatMap(BlazeTest.Account, ({ pending }) => pending), [])
  }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
  return log.all.filter(isAboutAnswers)
})
const told = <E>(handler: Bot.Handler<E>, messages = 1) => toldOf(Bot.run(handler), messages)

const Seen = State.conversation("seen", Schema.Int)

describe("an answer that was made and never run", () => {
  it.effect("is told of in the log, with its message", () =>
    Effect.gen(function* () {
      const [line, ...others] = yield* told((delivery) => {
        // What is meant is `return`.
        void delivery.reply("hi")
        return Effect.void
      })
      assert.match(line!, /made an answer and run none: [0-9a-f-]{36}\. An answer sends nothing/)
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("is told of once, however many there are, in a line that names twenty", () =>
    Effect.gen(function* () {
      const [line, ...others] = yield* told((delivery) => Effect.sync(() => void delivery.reply("hi")), 50)
      assert.strictEqual(line!.match(/[0-9a-f-]{36}/g)?.length, 20)
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("is told of where a batch writes what it remembers too", () =>
    Effect.gen(function* () {
      const program = Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
        deliveries.pipe(
          Keyed.mapEffectBatch(
            Delivery.handleAll((batch) => {
              for (const delivery of batch) void delivery.reply("hi")
              return batch[0]!.state(Seen).set(batch.length)
            }),
            { key: ({ message }) => message.conversationId, concurrency: 1 }
          ),
          Stream.runDrain
        )
      )
      assert.strictEqual((yield* toldOf(program, 3)).length, 1)
    })
  )

  const fine: Readonly<Record<string, Bot.Handler<unknown>>> = {
    "that is given back": (delivery) => delivery.reply("hi"),
    "that is forked and begins within a minute": (delivery) =>
      Effect.forkDetach(Effect.delay(delivery.reply("hi"), "50 seconds")),
    "that fails": (delivery) => Effect.ignore(delivery.reply("")),
    "that the handler comes to when it tries again by itself": (() => {
      let tries = 0
      return (delivery: Delivery.Delivery) =>
        Effect.retry(
          Effect.gen(function* () {
            const answer = delivery.reply("hi")
            if (tries++ < 2) return yield* Effect.fail("not yet")
            return yield* answer
          }),
          { times: 3 }
        )
    })(),
    "that a try before did not come to": (() => {
      let tries = 0
      return (delivery) => (tries++ === 0 ? Effect.andThen(Effect.fail("not yet"), delivery.reply("hi")) : Effect.void)
    })(),
    "of several of which one is run": (delivery) =>
      Effect.raceFirst(delivery.reply("at once"), Effect.delay(delivery.reply("slow"), "1 second"))
  }
  for (const [name, handler] of Object.entries(fine)) {
    it.effect(`is none ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* told(handler), [])
      })
    )
  }

  it.effect("is none of a handler that defers its message", () =>
    Effect.gen(function* () {
      let tries = 0
      const lines = yield* told((delivery) => {
        if (tries++ % 2 === 1) return Effect.void
        void delivery.reply("hi")
        return Effect.succeed(Delivery.deferFor("1 second"))
      })
      assert.deepStrictEqual(lines, [])
    })
  )
})

describe("Unrun", () => {
  it.effect("looks at twenty at the most, each after a minute, and at none once it has told of some", () =>
    Effect.gen(function* () {
      const log = lines()
      let now = 0
      const unrun = Unrun.make(() => now)
      const id = (n: number) => Ids.MessageId.make(`928c5c40-769c-3e97-8387-${String(n).padStart(12, "0")}`)
      let asked = 0
      let isStill = false
      const ask = () => asked++ >= 0 && isStill
      const tell = Effect.provide(unrun.tell, log.layer)
      assert.isTrue(unrun.isEmpty())
      for (let n = 0; n < 30; n++) unrun.suspect(id(n), ask)
      now = 59_999
      yield* tell
      assert.deepStrictEqual([asked, log.all, unrun.isEmpty()], [0, [], false])
      now = 60_000
      yield* tell
      // They have begun meanwhile.
      assert.deepStrictEqual([asked, log.all, unrun.isEmpty()], [20, [], true])
      isStill = true
      unrun.suspect(id(1), ask)
      now = 100_000
      unrun.suspect(id(2), ask)
      now = 120_000
      yield* tell
      assert.strictEqual(log.all.length, 1)
      assert.include(log.all[0], id(1))
      assert.notInclude(log.all[0], id(2))
      unrun.suspect(id(3), ask)
      assert.isTrue(unrun.isEmpty())
    })
  )
})
