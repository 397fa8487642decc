import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Metric, Schedule } from "effect"
import { Bot, Delivery, Ids, Keyed, Telemetry } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import * as Meter from "../src/internal/Meter.ts"
import { client, push, textOf } from "./support.ts"

/** A test's own metrics. */
const registry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const series = (name: string) => Effect.map(Metric.snapshot, (all) => all.filter(({ id }) => id === name))

const sum = (snapshots: ReadonlyArray<Metric.Metric.Snapshot>) =>
  snapshots.reduce((sum, { state }) => sum + ("count" in state ? Number(state.count) : 0), 0)

describe("Telemetry", () => {
  it.effect("1 000 labels from outside make at most 64 series, and nothing goes uncounted", () =>
    Effect.gen(function* () {
      const { measure } = yield* Meter.make(Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c"))
      for (let n = 0; n < 1000; n++) measure(Telemetry.metrics.messages, 1, `PLAIN_${n}`)
      for (let n = 0; n < 1000; n++) measure(Telemetry.metrics.messages, 1, `PLAIN_${n}`)
      const snapshots = yield* series("blaze_messages_total")
      assert.isAtMost(snapshots.length, 64)
      assert.isAbove(snapshots.length, 32)
      assert.strictEqual(sum(snapshots), 2000)
    }).pipe(registry)
  )

  it.effect("a bot that gets messages of 1 000 categories has at most 64 series of them", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      for (let n = 0; n < 1000; n++) yield* alice.send(`PLAIN_${n}`, "")
      yield* BlazeTest.settle
      const snapshots = yield* series("blaze_messages_total")
      assert.isAtMost(snapshots.length, 64)
      assert.strictEqual(sum(snapshots), 1000)
    }).pipe(Effect.provide(BlazeTest.layer), registry)
  )

  it.effect("once its handlers have ended a bot has none running, and warns of none", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function* () {
      const people = yield* Effect.forEach(["alice", "bob", "carol"], BlazeTest.user)
      const running = Effect.map(series("blaze_handlers_running"), (snapshots) =>
        snapshots.map(({ state }) => "value" in state && Number(state.value))
      )
      const ends = [Effect.void, Effect.fail("no"), Effect.interrupt]
      let runs = 0
      yield* Effect.forkChild(
        Bot.run(() => Effect.andThen(Effect.sleep("20 seconds"), ends[runs++]!), {
          retry: Schedule.recurs(0),
          onFailure: () => Effect.succeed(Delivery.Ack)
        })
      )
      for (const person of people) yield* person.say("hi")
      yield* BlazeTest.settle
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* running, [3])
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual([yield* running, runs], [[0], 3])
      for (let minute = 0; minute < 10; minute++) yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([yield* running, lines], [[0], []])
    }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(Logger.layer([logger])), registry)
  })

  it.effect(
    "tells how many messages wait, are open and put aside, since when, and which had waited or come again",
    () =>
      Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        const [alice, bob, carol] = [
          yield* BlazeTest.user("alice"),
          yield* BlazeTest.user("bob"),
          yield* BlazeTest.user("carol")
        ]
        yield* TestClock.adjust("1 hour")
        yield* alice.say("wait")
        yield* bob.say("fail")
        yield* BlazeTest.pass("1 minute")
        const context = yield* Layer.build(client)
        let tries = 0
        const told = Effect.map(Metric.snapshot, (all) =>
          Object.fromEntries(
            all.map(({ attributes, id, state }) => [
              [id, attributes?.["kind"]].filter((part) => part !== undefined).join(" "),
              "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : undefined
            ])
          )
        )
        yield* Effect.forkChild(
          Effect.provideContext(
            Bot.run((delivery) => {
              const text = textOf(delivery)
              if (text === "wait") return Effect.sleep("1 hour")
              return Effect.succeed(text === "fail" && ++tries < 3 ? Delivery.Defer : Delivery.Ack)
            }),
            context
          )
        )
        yield* BlazeTest.pass("1 second")
        yield* carol.say("hi")
        yield* BlazeTest.pass("15 seconds")
        const first = yield* told
        assert.strictEqual(first["blaze_messages_total PLAIN_TEXT"], 3)
        assert.strictEqual(first["blaze_backlog_total"], 2)
        assert.strictEqual(first["blaze_open_messages"], 1)
        assert.strictEqual(first["blaze_deferred_messages"], 1)
        // As it was 15 seconds after the first was handed out, a minute after it was written.
        assert.strictEqual(first["blaze_oldest_open_seconds"], 15)
        assert.strictEqual(first["blaze_oldest_pending_seconds"], 75)
        assert.deepStrictEqual(
          Object.keys(first).filter((name) => name.startsWith("blaze_duplicates_total")),
          []
        )
        yield* bot.cut
        yield* BlazeTest.pass("9 seconds")
        const second = yield* told
        assert.strictEqual(second["blaze_duplicates_total Open"], 1)
        assert.strictEqual(second["blaze_duplicates_total Deferred"], 1)
        // Put aside, offered again and put aside again: it has waited on the server once.
        yield* BlazeTest.pass("1 minute")
        const third = yield* told
        assert.strictEqual(third["blaze_handler_seconds deferred"], 2)
        assert.strictEqual(third["blaze_backlog_total"], 2)
        assert.strictEqual(third["blaze_deferred_messages"], 1)
        yield* BlazeTest.pass("10 minutes")
        assert.deepStrictEqual([tries, (yield* told)["blaze_deferred_messages"]], [3, 0])
      }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0), registry)
  )

  it.effect("a message that comes again before its acknowledgement is confirmed counts as handled", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      const message_id = yield* alice.say("hi")
      yield* BlazeTest.settle
      const data = { message_id, conversation_id: alice.conversationId, user_id: alice.userId, category: "PLAIN_TEXT" }
      yield* push(bot, data)
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* bot.acknowledged, [])
      const kinds = (yield* series("blaze_duplicates_total")).map(({ attributes }) => attributes?.["kind"])
      assert.deepStrictEqual(kinds, ["Handled"])
    }).pipe(Effect.provide(BlazeTest.layer), registry)
  )

  it.effect("a bot that has nothing to do looks at nothing", () =>
    Effect.gen(function* () {
      yield* Effect.forkChild(Bot.run(() => Effect.void))
      yield* BlazeTest.pass("10 minutes")
      assert.deepStrictEqual(yield* series("blaze_open_messages"), [])
    }).pipe(Effect.provide(BlazeTest.layer), registry)
  )
})
