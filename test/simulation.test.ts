// A world that is the same in every run, and strangers who find what is wrong with a bot.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Layer, Random, Result } from "effect"
import { Blaze, Bot, Delivery, Message } from "effect-blaze"
import { BlazeTest, Plan, Simulation } from "effect-blaze/testing"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { find, options, runPrinted } from "./simulation/planted.ts"
import { type Bug, shop } from "./simulation/shop.ts"
import { hashOf } from "./simulation/week.ts"
import { textOf } from "./support.ts"

class Diary extends Context.Service<Diary, { readonly lines: Array<string> }>()("test/Diary") {
  static readonly layer = Layer.fresh(Layer.sync(Diary, () => ({ lines: [] })))
}

const echo = Bot.layer((delivery) => delivery.reply(`echo ${textOf(delivery)}`))

const subject = (bot: Layer.Layer<never, unknown, Blaze.Blaze>): Simulation.Subject<never> => ({
  bot,
  disk: Layer.empty,
  blaze: Blaze.layer,
  shuffled: false
})

describe("a world", () => {
  const finalized = (lines: Array<string>) =>
    Layer.merge(echo, Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => lines.push("finalized")))))

  it.live("a kill runs no finalizer", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const outcome = yield* Simulation.run(subject(finalized(lines)), 1, (stage) =>
        Effect.gen(function* () {
          yield* stage.pass("1 minute")
          yield* stage.perform({ at: 0, do: "kill", steps: 0, down: 1000 })
          yield* stage.perform({ at: 0, do: "say", who: "alice", text: "hi" })
        })
      )
      assert.deepStrictEqual(lines, [])
      assert.strictEqual(outcome.lives, 2)
      assert.deepStrictEqual(
        outcome.heard.map(({ text }) => text),
        ["echo hi"]
      )
    })
  )

  it.live("a kill ends what the process was about to do, and a killed process takes no further step", () =>
    Effect.gen(function* () {
      const ticks: Array<number> = []
      let processes = 0
      const ticking = Layer.effectDiscard(
        Effect.suspend(() => {
          const number = ++processes
          return Effect.forkScoped(
            Effect.forever(
              Effect.delay(
                Effect.sync(() => ticks.push(number)),
                "1 second"
              )
            )
          )
        })
      )
      yield* Simulation.run(subject(ticking), 1, (stage) =>
        Effect.gen(function* () {
          yield* stage.perform({ at: 3500, do: "kill", steps: 0, down: 2000 })
          yield* stage.pass("4 seconds")
          assert.deepStrictEqual(ticks, [1, 1, 1, 2, 2])
        })
      )
    })
  )

  it.live("a graceful restart runs all finalizers, within their bounds", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const slow = Bot.layer((delivery) => Effect.delay(delivery.reply("late"), "10 seconds"))
      const hanging = Bot.layer((delivery) =>
        textOf(delivery) === "hang" ? Effect.never : Effect.delay(delivery.reply("late"), "10 seconds")
      )
      for (const [bot, word] of [
        [slow, "hi"],
        [hanging, "hang"]
      ] as const) {
        const ends = Layer.effectDiscard(
          Effect.addFinalizer(() =>
            Effect.map(Clock.currentTimeMillis, (now) => lines.push(`${word} ${now % 100_000}`))
          )
        )
        const outcome = yield* Simulation.run(subject(bot.pipe(Layer.provideMerge(ends))), 1, (stage) =>
          Effect.gen(function* () {
            yield* stage.perform({ at: 60_000, do: "say", who: "alice", text: word })
            yield* stage.perform({ at: 61_000, do: "restart", down: 0 })
          })
        )
        assert.strictEqual(outcome.lives, 2)
        // What the first life has handled is acknowledged by its end: nobody handles it again.
        assert.strictEqual(outcome.runs.filter(({ success }) => success).length, word === "hi" ? 1 : 0)
      }
      const [finished, hung] = lines.map((line) => Number(line.split(" ")[1]))
      assert.isTrue(finished! >= 70_000 && finished! < 72_000, `the handler was waited for: ${finished}`)
      assert.isTrue(hung! >= 91_000 && hung! < 91_000 + 15_000, `and no longer than Keyed.Grace says: ${hung}`)
    })
  )

  it.live("a disk is built once for each run, survives a crash, and is closed in the end", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const disk = Layer.effect(
        Diary,
        Effect.acquireRelease(
          Effect.sync(() => {
            lines.push("built")
            return { lines: [] }
          }),
          () => Effect.sync(() => lines.push("closed"))
        )
      )
      const bot = Bot.layer((delivery) =>
        Effect.flatMap(Diary, (diary) => delivery.reply(`${diary.lines.push(textOf(delivery))}`, { key: "count" }))
      )
      const run = Simulation.run({ bot, disk, blaze: Blaze.layer, shuffled: false }, 1, (stage) =>
        Effect.gen(function* () {
          yield* stage.perform({ at: 1000, do: "say", who: "alice", text: "one" })
          yield* stage.perform({ at: 60_000, do: "kill", steps: 0, down: 1000 })
          yield* stage.perform({ at: 120_000, do: "say", who: "alice", text: "two" })
        })
      )
      for (const _ of [1, 2]) {
        const { heard } = yield* run
        assert.deepStrictEqual(
          heard.map(({ text }) => text),
          ["1", "2"]
        )
      }
      assert.deepStrictEqual(lines, ["built", "closed", "built", "closed"])
    })
  )

  it.live("a clock that is set moves no time that passes", () =>
    Effect.gen(function* () {
      const clocks = Bot.layer((delivery) =>
        Effect.gen(function* () {
          const clock = yield* Clock.Clock
          const [before, date] = [clock.monotonicTimeNanosUnsafe(), yield* Clock.currentTimeMillis]
          yield* Effect.sleep("10 seconds")
          const passed = (clock.monotonicTimeNanosUnsafe() - before) / 1_000_000n
          assert.strictEqual(yield* Clock.monotonicTimeNanos, clock.monotonicTimeNanosUnsafe())
          yield* delivery.reply(`${passed} ${(yield* Clock.currentTimeMillis) - date}`)
        })
      )
      const outcome = yield* Simulation.run(subject(clocks), 1, (stage) =>
        Effect.gen(function* () {
          yield* stage.perform({ at: 60_000, do: "say", who: "alice", text: "hi" })
          yield* stage.perform({ at: 65_000, do: "botClock", by: 3_600_000 })
        })
      )
      assert.deepStrictEqual(
        outcome.heard.map(({ text }) => text),
        ["10000 3610000"]
      )
    })
  )

  it.live("what goes round for ever at one moment is told, and ends", () =>
    Effect.gen(function* () {
      const yielding = Effect.forever(Effect.yieldNow)
      const busy = Effect.whileLoop({ while: () => true, body: () => Effect.void, step: () => {} })
      for (const loop of [yielding, busy]) {
        const spinning = Layer.effectDiscard(Effect.forkScoped(loop))
        const outcome = yield* Simulation.run(subject(spinning), 1, (stage) => stage.pass("1 minute"))
        assert.match(outcome.stopped ?? "", /no time passes/)
      }
    })
  )

  it.live("a process that is killed while it ends, or is down, begins again, and a clock stays set", () =>
    Effect.gen(function* () {
      const slow = Bot.layer((delivery) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.delay(delivery.reply(String(now)), "10 seconds"))
      )
      const outcome = yield* Simulation.run(subject(slow), 1, (stage) =>
        Effect.gen(function* () {
          yield* stage.perform({ at: 60_000, do: "say", who: "alice", text: "one" })
          yield* stage.perform({ at: 61_000, do: "restart", down: 0 })
          yield* stage.perform({ at: 62_000, do: "kill", steps: 0, down: 60_000 })
          yield* stage.perform({ at: 63_000, do: "botClock", by: 86_400_000 })
          yield* stage.perform({ at: 200_000, do: "restart", down: 0 })
          yield* stage.perform({ at: 300_000, do: "restart", down: 0 })
        })
      )
      assert.strictEqual(outcome.lives, 4)
      const [told] = outcome.heard.map(({ text }) => Number(text))
      assert.isAtLeast(told! - outcome.runs[0]!.began - Date.UTC(2026, 0, 1), 86_400_000)
    })
  )

  it.live("a disk may take its time to be built, and says so when it cannot be", () =>
    Effect.gen(function* () {
      const slow = Layer.effectDiscard(Effect.sleep("10 millis"))
      const bot = { bot: echo, blaze: Blaze.layer, shuffled: false }
      const outcome = yield* Simulation.run({ ...bot, disk: slow }, 1, (stage) =>
        stage.perform({ at: 1000, do: "say", who: "alice", text: "hi" })
      )
      assert.strictEqual(outcome.heard.length, 1)
      const broken = Layer.effectDiscard(Effect.fail("no space"))
      const exit = yield* Effect.exit(Simulation.run({ ...bot, disk: broken }, 1, () => Effect.void))
      assert.match(String(Exit.isFailure(exit) && exit.cause), /The disk cannot be built: no space/)
    })
  )

  it.live("is the same to the byte, in this process and in another one", () =>
    Effect.gen(function* () {
      const first = yield* hashOf(3, 12, 1)
      const second = yield* hashOf(3, 12, 1)
      assert.deepStrictEqual(second, first)
      assert.isAbove(first.lives, 3)
      const program = fileURLToPath(new URL("simulation/week.ts", import.meta.url))
      const { stdout } = yield* Effect.promise(() =>
        promisify(execFile)(process.execPath, ["--conditions=effect-blaze-source", program, "3", "12", "1"])
      )
      assert.strictEqual((JSON.parse(stdout) as typeof first).hash, first.hash)
    })
  )

  it.live("leaving one person out changes the ids of no other", () =>
    Effect.gen(function* () {
      const plan = Plan.make({ seed: 4, people: 4, days: 0.5, words: ["hello"], rates: Plan.noFaults })
      const run = (keep: (event: Plan.Event) => boolean) =>
        Simulation.run(subject(echo), plan.seed, Simulation.follow(plan), { keep })
      const all = yield* run(() => true)
      const without = yield* run((event) => !Plan.isAct(event) || event.who !== "bob")
      const ids = ({ said }: Simulation.Outcome) => said.flatMap(({ id, who }) => (who === "bob" ? [] : [id]))
      assert.isAbove(all.said.length, without.said.length)
      assert.deepStrictEqual(ids(without), ids(all))
    })
  )
})

describe("strangers", () => {
  const small = { people: 4, days: 0.3, seeds: 2 }

  for (const [name, impure] of [
    ["Math.random", () => Math.random()],
    ["crypto.randomUUID", () => crypto.randomUUID()],
    ["performance.now", () => performance.now()]
  ] as const) {
    it.live(`refuse a bot with ${name} in its answer, in a sentence`, () =>
      Effect.gen(function* () {
        const bot = Bot.layer((delivery) => Effect.suspend(() => delivery.reply(String(impure()))))
        const error = yield* Effect.flip(BlazeTest.strangers(bot, small))
        assert.strictEqual(error._tag, "NotRepeatable")
        assert.match(
          error.message,
          /^Two runs of seed 1 differ\. The first line that does is\n.*hears #2.*Math\.random/s
        )
      })
    )
  }

  it.live("take a bot with Effect's Random and Clock, and promises, for repeatable", () =>
    Effect.gen(function* () {
      const bot = Bot.layer((delivery) =>
        Effect.gen(function* () {
          const text = yield* Effect.promise(async () => {
            for (let n = 0; n < 40; n++) await Promise.resolve()
            return "ok"
          })
          yield* delivery.reply(`${text} ${yield* Random.next} ${yield* Clock.currentTimeMillis}`, { key: "answer" })
        })
      )
      const except = ["the same in any weather", "alone as among others"] as const
      assert.isAbove((yield* BlazeTest.strangers(bot, { ...small, except })).messages, 0)
    })
  )

  it.live("leave a good shop alone", () =>
    Effect.gen(function* () {
      const report = yield* BlazeTest.strangers(shop(), { ...options, people: 8, days: 1, seeds: 2 })
      assert.isAbove(report.lives, 10)
    })
  )

  const quick: ReadonlyArray<Bug> = [
    "sends without an id",
    "keeps a timer in memory",
    "forgets to answer a word",
    "answers after it has deferred"
  ]
  for (const bug of quick) {
    it.live(`find that a shop ${bug}, and the test that they print tells it from a good one`, () =>
      Effect.gen(function* () {
        const { told, wrong } = yield* find(bug, { people: 6, days: 0.5 })
        assert.isUndefined(wrong, told)
      })
    )
  }

  it.live("look at what else is expected, and not at what is excepted", () =>
    Effect.gen(function* () {
      const rude = {
        "nobody is greeted": ({ heard }: Simulation.Outcome) => heard[0] && `${heard[0].who} was greeted.`
      }
      const error = yield* Effect.flip(BlazeTest.strangers(echo, { ...small, expect: rude }))
      assert.strictEqual(error._tag === "BrokenExpectation" ? error.expectation : error._tag, "nobody is greeted")
      const silent = Bot.layer(() => Effect.void)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(BlazeTest.strangers(silent, { ...small, answers: () => false }))))
    })
  )
})

describe("strangers raise no alarm over a bot", () => {
  const rough = { people: 3, days: 0.4, seeds: 2, faults: { kill: 60, cut: 20 } }
  const idempotent = Bot.layer((delivery) =>
    Effect.gen(function* () {
      const { lines } = yield* Diary
      if (lines.includes(delivery.message.id)) return
      yield* delivery.reply("Thank you.", { key: "thanks" })
      yield* delivery.reply("It is on its way.", { key: "way" })
      lines.push(delivery.message.id)
    })
  )
  it.live("that answers twice and knows that it has", () =>
    Effect.asVoid(BlazeTest.strangers(idempotent, { ...rough, disk: Diary.layer }))
  )

  const deferring = Bot.layer((delivery) =>
    Effect.gen(function* () {
      const { lines } = yield* Diary
      if (lines.includes(delivery.message.id)) return yield* delivery.reply("Done.")
      yield* delivery.reply("One moment.")
      lines.push(delivery.message.id)
      return Delivery.Defer
    })
  )
  it.live("that says so, and defers", () =>
    Effect.asVoid(BlazeTest.strangers(deferring, { ...rough, disk: Diary.layer }))
  )

  it.live("whose message was passed over with bad frames, and comes over the next connection", () =>
    Effect.asVoid(BlazeTest.strangers(echo, { people: 2, days: 0.4, seeds: 3, faults: { garbage: 60 } }))
  )
})

describe("what strangers tell", () => {
  const cake = "\u{1f382}".repeat(30)
  const picky = Bot.layer((delivery) => (textOf(delivery) === cake ? Effect.void : delivery.reply("ok")))

  it.live("can be run, whatever was said", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(BlazeTest.strangers(picky, { people: 2, days: 0.4, words: [cake] }))
      const { test } = error as BlazeTest.BrokenExpectation
      assert.include(test, `"\u{1f382}".repeat(30)`)
      assert.isTrue(Exit.isFailure(yield* runPrinted(test, picky, {})))
      assert.isTrue(Exit.isSuccess(yield* runPrinted(test, echo, {})))
    })
  )

  it.live("an expectation that throws is broken, and told as any other", () =>
    Effect.gen(function* () {
      const expect = { greets: ({ heard }: Simulation.Outcome) => (heard[0]!.text === "hi" ? undefined : "no hi") }
      const error = yield* Effect.flip(BlazeTest.strangers(echo, { people: 2, days: 0.2, seeds: 1, expect }))
      assert.strictEqual(error._tag === "BrokenExpectation" && error.expectation, "greets")
    })
  )
})

describe("a replay", () => {
  it.live("knows the names of what is expected, and a bot that does not begin keeps nothing", () =>
    Effect.gen(function* () {
      const replay = (expectation: string, bot: Layer.Layer<never, unknown, Blaze.Blaze>) =>
        Effect.exit(
          BlazeTest.replay(bot, { seed: 1, expectation }, function* ({ alice }) {
            yield* alice.say("hi")
          })
        )
      assert.match(String(yield* replay("every mesage answered", echo)), /Nothing is expected by the name/)
      const broken = Layer.effectDiscard(Effect.fail("no key"))
      assert.match(String(yield* replay("no answer twice", broken)), /the bot runs/)
      assert.isTrue(Exit.isSuccess(yield* replay("no answer twice", echo)))
    })
  )

  it.live("is a story: what people say, what they read, what happens to the bot", () =>
    Effect.gen(function* () {
      const bot = Bot.layer((delivery) =>
        Effect.gen(function* () {
          const diary = yield* Diary
          diary.lines.push(Message.isText(delivery.message) ? delivery.message.text : "")
          yield* delivery.reply(`noted ${diary.lines.length}`, { key: "noted" })
        })
      )
      yield* BlazeTest.replay(
        bot,
        { seed: 1, disk: Diary.layer, except: ["alone as among others"] },
        function* ({ alice, person, world }) {
          yield* alice.say("one")
          yield* world.pass("1 minute")
          yield* world.kill({ down: "1 minute" })
          yield* world.cut
          yield* world.setClock("1 hour")
          yield* world.pass("5 minutes")
          yield* alice.say("two")
          yield* world.pass("1 minute")
          assert.deepStrictEqual(yield* alice.reads, ["noted 1", "noted 2"])
          yield* person("alice2").say("three")
          yield* world.pass("1 minute")
          assert.deepStrictEqual(yield* person("alice2").reads, ["noted 3"])
        }
      )
    })
  )

  it.live("fails with what its story fails with, and dies of what it throws", () =>
    Effect.gen(function* () {
      const thrown = yield* Effect.exit(
        BlazeTest.replay(echo, { seed: 1, expectation: "order kept" }, function* ({ alice }) {
          yield* alice.say("one")
          throw new Error("not so")
        })
      )
      assert.match(String(Exit.isFailure(thrown) && thrown.cause), /not so/)
      const result = yield* Effect.result(
        BlazeTest.replay(echo, { seed: 1 }, function* ({ alice }) {
          yield* alice.say("one")
          yield* Effect.fail("not so" as const)
        })
      )
      assert.strictEqual(Result.isFailure(result) && result.failure, "not so")
    })
  )
})
