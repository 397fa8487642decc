import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot, Delivery, Ids } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { lines, pass } from "./support.ts"
import * as Unrun from "../src/internal/Unrun.ts"

/** What the log says of answers that were never run, after so many messages and so many minutes. */
const told = Effect.fnUntraced(function* <E>(handler: Bot.Handler<E>, messages = 1, minutes = 1) {
  const log = lines()
  yield* Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkScoped(Bot.run(handler))
    for (let n = 0; n < messages; n++) yield* alice.say(`message ${n}`)
    yield* pass(60 * minutes)
  }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
  return log.all.filter((line) => line.includes("never run"))
})

describe("an answer that was made and never run", () => {
  it.effect("is told of in the log, with its message", () =>
    Effect.gen(function* () {
      const [line, ...others] = yield* told((delivery) => {
        // What is meant is `return`.
        void delivery.reply("hi")
        return Effect.void
      })
      assert.match(line!, /made an answer, and succeeded, and never run it: [0-9a-f-]{36}\. An answer sends nothing/)
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("is told of in one line, however many there are, which names twenty", () =>
    Effect.gen(function* () {
      const told50 = yield* told((delivery) => Effect.sync(() => void delivery.reply("hi")), 50, 5)
      assert.strictEqual(told50.length, 1)
      assert.strictEqual(told50[0]!.match(/[0-9a-f-]{36}/g)?.length, 20)
    })
  )

  it.effect("is told of beside one that is run twice", () =>
    Effect.gen(function* () {
      const lines = yield* told((delivery) => {
        const answer = delivery.reply("hi")
        void delivery.reply("you")
        return Effect.andThen(answer, answer)
      })
      assert.strictEqual(lines.length, 1)
    })
  )

  // It is looked at two seconds after the first message.
  it.effect("has a second to begin, and is told of after that though nothing else happens", () =>
    Effect.gen(function* () {
      const log = lines()
      const { acknowledged, forked, unrun } = yield* Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const handler = Bot.match({
          Text: (delivery) => {
            const answer = delivery.reply("hi")
            if (delivery.message.text === "forked") return Effect.forkDetach(Effect.delay(answer, "800 millis"))
            return delivery.message.text === "answered" ? answer : Effect.void
          },
          orElse: () => Effect.void
        })
        yield* Effect.forkScoped(Bot.run(handler))
        yield* alice.say("answered")
        yield* pass(1.5)
        const forked = yield* alice.say("forked")
        const unrun = yield* alice.say("unrun")
        yield* pass(60)
        return { acknowledged: (yield* bot.acknowledged).flat(), forked, unrun }
      }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
      assert.includeMembers(acknowledged, [forked, unrun])
      const [line, ...others] = log.all.filter((line) => line.includes("never run"))
      assert.include(line, unrun)
      assert.notInclude(line, forked)
      assert.deepStrictEqual(others, [])
    })
  )

  const fine: Readonly<Record<string, Bot.Handler<unknown>>> = {
    "that is given back": (delivery) => delivery.reply("hi"),
    "that is forked and begins later": (delivery) =>
      Effect.forkDetach(Effect.delay(delivery.reply("hi"), "500 millis")),
    "that is forked": (delivery) => Effect.forkDetach(delivery.reply("hi")),
    "that fails": (delivery) => Effect.ignore(delivery.reply("")),
    "of a handler that defers its message": (delivery) =>
      Effect.sync(() => {
        void delivery.reply("hi")
        return Delivery.Defer
      }),
    "that a try before did not come to": (() => {
      let tries = 0
      return (delivery) => Effect.andThen(tries++ === 0 ? Effect.fail("not yet") : Effect.void, delivery.reply("hi"))
    })(),
    "that is run twice, beside one that is run once": (delivery) => {
      const answer = delivery.reply("hi")
      return Effect.all([answer, answer, delivery.reply("you")])
    }
  }
  for (const [name, handler] of Object.entries(fine)) {
    it.effect(`is none ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* told(handler), [])
      })
    )
  }
})

describe("Unrun", () => {
  it.effect("looks at twenty at the most, tells of those that are due once a minute, and has nothing left then", () =>
    Effect.gen(function* () {
      const log = lines()
      let now = 0
      const unrun = Unrun.make(() => now)
      const id = (n: number) => Ids.MessageId.make(`928c5c40-769c-3e97-8387-${String(n).padStart(12, "0")}`)
      let asked = 0
      const isStill = () => asked++ >= 0
      assert.isTrue(unrun.isEmpty())
      for (let n = 0; n < 30; n++) unrun.suspect(id(n), isStill)
      const tell = Effect.provide(unrun.tell, log.layer)
      now = 999
      yield* tell
      assert.deepStrictEqual([asked, log.all.length, unrun.isEmpty()], [0, 0, false])
      now = 1000
      yield* tell
      assert.deepStrictEqual([asked, log.all.length, unrun.isEmpty()], [20, 1, true])
      // The next minute begins a minute after that.
      unrun.suspect(id(1), isStill)
      now = 60_999
      yield* tell
      assert.deepStrictEqual([log.all.length, unrun.isEmpty()], [1, true])
      unrun.suspect(id(2), isStill)
      now = 61_999
      yield* tell
      assert.strictEqual(log.all.length, 2)
    })
  )
})
