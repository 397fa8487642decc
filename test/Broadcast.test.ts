import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, PlatformError, Sink, Stdio, Stream } from "effect"
import { Blaze, Broadcast, Ids, Outgoing, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { lines, pass } from "./support.ts"

const stranger = Ids.UserId.make("99999999-9999-4999-8999-999999999999")

/** People who have all met the bot. */
const crowd = Effect.fnUntraced(function* (size: number) {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const people = yield* Effect.forEach(Array.from({ length: size }), (_, n) => server.user(bot, `person ${n}`))
  for (const person of people) yield* person.addBot
  return { server, bot, people, users: Stream.fromIterable(people.map(({ userId }) => userId)) }
})

const tags = (outcomes: ReadonlyArray<Broadcast.Outcome>) =>
  outcomes.reduce<Record<string, number>>((counts, { _tag }) => ({ ...counts, [_tag]: (counts[_tag] ?? 0) + 1 }), {})

const test = <E>(name: string, body: Effect.Effect<void, E, Layer.Success<typeof BlazeTest.layer>>) =>
  it.effect(name, () => Effect.provide(body, BlazeTest.layer))

describe("Broadcast", () => {
  test(
    "reaches everybody once, however often it is made; another key is another announcement",
    Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(250)
      const announce = (key: string) =>
        users.pipe(
          Broadcast.sendAll((user) => `for ${user}`, { key }),
          Stream.runCollect
        )
      const first = yield* announce("sale")
      assert.deepStrictEqual(tags(first), { Accepted: 250 })
      assert.deepStrictEqual(yield* people[7]!.reads, [`for ${people[7]!.userId}`])
      assert.deepStrictEqual(
        new Set((yield* announce("sale")).map(({ messageId }) => messageId)),
        new Set(first.map(({ messageId }) => messageId))
      )
      assert.strictEqual((yield* bot.sent).length, 250)
      yield* announce("second sale")
      assert.strictEqual((yield* bot.sent).length, 500)
    })
  )

  test(
    "leaves out who is refused, says why, and reaches everybody else",
    Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(120)
      for (const n of [3, 4, 77, 119]) yield* people[n]!.block
      const outcomes = yield* users.pipe(
        Stream.concat(Stream.make(stranger)),
        Broadcast.sendAll((user) => (user === people[50]!.userId ? Outgoing.buttons([]) : "hello"), { key: "k" }),
        Stream.runCollect
      )
      assert.deepStrictEqual(tags(outcomes), { Accepted: 115, Refused: 6 })
      const reasons = outcomes.flatMap((outcome) =>
        outcome._tag === "Refused" ? [[outcome.userId, outcome.error.reason._tag] as const] : []
      )
      assert.deepStrictEqual(Object.fromEntries(reasons), {
        ...Object.fromEntries([3, 4, 77, 119].map((n) => [people[n]!.userId, "ApiFailure"])),
        [people[50]!.userId]: "InvalidContent",
        [stranger]: "ApiFailure"
      })
      assert.strictEqual((yield* bot.sent).length, 115)
    })
  )

  test(
    "makes the first contact where it is told to, and only there",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      yield* bob.block
      const announce = (firstContact: boolean) =>
        Stream.make(alice.userId, bob.userId).pipe(
          Broadcast.sendAll(() => "hello", { key: "k", firstContact }),
          Stream.runCollect
        )
      assert.deepStrictEqual(tags(yield* announce(false)), { Refused: 2 })
      assert.deepStrictEqual(tags(yield* announce(true)), { Accepted: 1, Refused: 1 })
      assert.deepStrictEqual(yield* alice.reads, ["hello"])
    })
  )

  test(
    "goes on when what fails passes, and fails with what does not, so that it can be made again",
    Effect.gen(function* () {
      const { bot, server, users } = yield* crowd(300)
      const announce = users.pipe(
        Broadcast.sendAll(() => "hello", { key: "k" }),
        Stream.runCollect
      )
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 5)
      const passing = yield* Effect.forkChild(announce)
      for (let n = 0; n < 10; n++) yield* pass(10)
      assert.deepStrictEqual(tags(yield* Fiber.join(passing)), { Accepted: 300 })
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1000)
      const failing = yield* Effect.forkChild(Effect.flip(announce))
      for (let n = 0; n < 20; n++) yield* pass(10)
      assert.strictEqual((yield* Fiber.join(failing)).reason._tag, "Intermediary")
      yield* server.heal
      yield* announce
      assert.strictEqual((yield* bot.sent).length, 300)
    })
  )

  test(
    "tells its progress, and in the end how many it reached",
    Effect.gen(function* () {
      const log = lines()
      const { people, users } = yield* crowd(1200)
      yield* people[0]!.block
      const seen: Array<Broadcast.Progress> = []
      const summary = yield* users.pipe(
        Broadcast.run(() => "hello", {
          key: "k",
          total: 1200,
          onProgress: (progress) => Effect.sync(() => seen.push(progress))
        }),
        Effect.provide(log.layer)
      )
      assert.deepStrictEqual([summary.accepted, summary.refused, summary.total], [1199, 1, Option.some(1200)])
      assert.deepStrictEqual(
        seen.map(({ accepted, refused }) => accepted + refused),
        [1000, 1200]
      )
      assert.isTrue(Option.exists(summary.remaining, (time) => Duration.toMillis(time) === 0))
      assert.strictEqual(log.all.filter((line) => line.includes("was refused for user")).length, 1)
    })
  )

  it.effect("keeps the quota in any sixty seconds, and leaves answers their share", () =>
    Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(400)
      const announcing = yield* Effect.forkChild(
        users.pipe(
          Broadcast.sendAll(() => "hello", { key: "k", concurrency: 1 }),
          Stream.runDrain
        )
      )
      const blaze = yield* Blaze.Blaze
      const counts: Array<number> = []
      for (let second = 0; second < 90; second++) {
        yield* BlazeTest.settle
        counts.push((yield* bot.sent).length)
        yield* TestClock.adjust("1 second")
      }
      yield* Fiber.join(announcing)
      for (let second = 0; second + 60 < counts.length; second++) {
        assert.isAtMost(counts[second + 60]! - counts[second]!, 800)
      }
      assert.strictEqual((yield* bot.sent).length, 400)
      yield* blaze.send({ user: people[0]!.userId }, "one more")
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(Settings.layer({ quotaMessages: 100, quotaWindow: "10 seconds", answerShare: 0.5 }))
        )
      )
    )
  )
})

describe("Broadcast.progressBar", () => {
  const shown = Effect.fnUntraced(function* (isTerminal: boolean, ...all: ReadonlyArray<Broadcast.Progress>) {
    let text = ""
    const stdio = Stdio.layerTest({
      stderrIsTerminal: Effect.succeed(isTerminal),
      stderr: () => Sink.forEach((chunk: string | Uint8Array) => Effect.sync(() => void (text += String(chunk))))
    })
    yield* Effect.provide(
      Effect.forEach(all, (progress) => Broadcast.progressBar(progress)),
      stdio
    )
    return text
  })
  const at = (accepted: number, total?: number): Broadcast.Progress => ({
    accepted,
    refused: 2,
    perSecond: 120.4,
    total: Option.fromUndefinedOr(total),
    remaining: Option.map(Option.fromUndefinedOr(total), (total) => Duration.seconds((total - accepted - 2) / 120.4))
  })

  it.effect("is a bar that is drawn anew at a terminal, and ends its line when all is done", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* shown(true, at(998, 2000), at(1998, 2000)),
        "\r[############------------] 50 %, 998 sent, 2 refused, 120 a second, 9 s left\u001b[K" +
          "\r[########################] 100 %, 1998 sent, 2 refused, 120 a second\u001b[K\n"
      )
      assert.include(yield* shown(true, at(998, 100_000)), "14 min left")
      assert.include(yield* shown(true, { ...at(0, 0), refused: 0 }), "] 100 %")
    })
  )

  it.effect("is a line each time where there is no terminal, or no total", () =>
    Effect.gen(function* () {
      const line = "998 sent, 2 refused, 120 a second\n"
      assert.strictEqual(yield* shown(false, at(998, 2000)), line)
      assert.strictEqual(yield* shown(true, at(998), at(998)), line + line)
    })
  )

  it.effect("that cannot be written loses nothing else", () =>
    Effect.gen(function* () {
      const broken = Stdio.layerTest({
        stderr: () => Sink.fail(PlatformError.badArgument({ module: "Stdio", method: "stderr" }))
      })
      yield* Effect.provide(Broadcast.progressBar(at(1)), broken)
    })
  )
})
