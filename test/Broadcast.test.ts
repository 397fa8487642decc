import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, PlatformError, Sink, Stdio, Stream } from "effect"
import { Bot, Broadcast, Ids, Outgoing, Quota, Sender, Settings } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { clientWith, lines, pass } from "./support.ts"
import { crowd, tags } from "./crowd.ts"

const stranger = Ids.UserId.make("99999999-9999-4999-8999-999999999999")

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
      assert.strictEqual(log.all.filter((line) => line.includes("was refused for")).length, 1)
    })
  )

  it.effect("keeps the quota in any sixty seconds, and leaves answers their share", () =>
    Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(1000)
      const announcing = yield* Effect.forkChild(
        users.pipe(
          Broadcast.sendAll(() => "hello", { key: "k" }),
          Stream.runDrain
        )
      )
      const answer = Bot.match({
        Text: (delivery) => (delivery.message.text.endsWith("?") ? delivery.reply("here") : Effect.void),
        orElse: () => Effect.void
      })
      yield* Effect.forkChild(Bot.run(answer))
      const counts: Array<number> = []
      for (let second = 0; second < 240; second++) {
        yield* BlazeTest.settle
        counts.push((yield* bot.sent).length)
        yield* TestClock.adjust("1 second")
        if (second % 50 !== 49) continue
        // In the middle of it an answer leaves at once.
        const person = people[second]!
        yield* person.say("are you there?")
        yield* BlazeTest.settle
        assert.include(yield* person.reads, "here")
      }
      yield* Fiber.join(announcing)
      const most = Math.max(...counts.slice(60).map((count, second) => count - counts[second]!))
      // The bucket of announcements, and what flows into it in a minute; and the answers.
      assert.isAtMost(most, 50 + 6 * 50 + 2)
      // It is not so much slower than that either.
      assert.isAbove(most, 250)
      assert.strictEqual((yield* bot.sent).length, 1000 + 4)
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(Settings.layer({ quotaMessages: 100, quotaWindow: "10 seconds", answerShare: 0.5 }))
        )
      )
    )
  )

  it.effect("sends nobody twice where one is refused, and not as a whole what is known to hold him", () => {
    const batches: Array<number> = []
    const counting = Layer.succeed(Quota.Quota, {
      maximumBatch: 100,
      take: (_, __, count = 1) => Effect.sync(() => void batches.push(count)).pipe(Effect.as(false))
    })
    return Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(100)
      const sent = Effect.map(bot.sent, (all) => all.reduce((sum, { attempts }) => sum + attempts, 0))
      for (const [refused, requests] of [
        [99, 8],
        [0, 15]
      ] as const) {
        yield* people[refused]!.block
        const before = yield* sent
        batches.length = 0
        const outcomes = yield* users.pipe(
          Broadcast.sendAll(() => "hello", { key: String(refused) }),
          Stream.runCollect
        )
        assert.deepStrictEqual(tags(outcomes), { Accepted: 99, Refused: 1 })
        assert.strictEqual((yield* sent) - before, 99)
        assert.isAtMost(batches.length, requests)
        yield* people[refused]!.unblock
      }
    }).pipe(Effect.provide(clientWith({ quota: counting })), Effect.provide(BlazeTest.layerServer))
  })

  test(
    "tells the id that each message has on the server, of a further part too",
    Effect.gen(function* () {
      const { bot, users } = yield* crowd(2)
      const part = Outgoing.split("word ".repeat(40_000))[1]!
      const outcomes = yield* users.pipe(
        Broadcast.sendAll(() => part, { key: "k" }),
        Stream.runCollect
      )
      assert.sameMembers(
        outcomes.map(({ messageId }) => messageId),
        (yield* bot.sent).map(({ messageId }) => messageId)
      )
    })
  )

  test(
    "reaches everybody else when the content for one cannot be made",
    Effect.gen(function* () {
      const { people, users } = yield* crowd(3)
      const outcomes = yield* users.pipe(
        Broadcast.sendAll(
          (user) => {
            if (user === people[1]!.userId) throw new Error("no name is known")
            return "hello"
          },
          { key: "k" }
        ),
        Stream.runCollect
      )
      assert.deepStrictEqual(tags(outcomes), { Accepted: 2, Refused: 1 })
      const [problem] = outcomes.flatMap((outcome) => (outcome._tag === "Refused" ? [outcome.error.message] : []))
      assert.include(
        problem,
        `the content for user ${people[1]!.userId} must be made without an error (no name is known)`
      )
    })
  )

  test(
    "refuses a concurrency that cannot work",
    Effect.gen(function* () {
      const { users } = yield* crowd(1)
      for (const concurrency of [Number.NaN, 0, -1, 1.5]) {
        const error = yield* users.pipe(
          Broadcast.sendAll(() => "hello", { key: "k", concurrency }),
          Stream.runDrain,
          Effect.flip
        )
        assert.include(error.message, "the announcement's concurrency must be a whole number of at least 1")
      }
    })
  )

  test(
    "tells at the end who was refused and why, in one line for each reason",
    Effect.gen(function* () {
      const log = lines()
      const { people, users } = yield* crowd(120)
      for (const person of people.slice(10, 40)) yield* person.block
      yield* users.pipe(
        Broadcast.run(() => "hello", { key: "k" }),
        Effect.provide(log.layer)
      )
      const told = log.all.filter((line) => line.includes("was refused for"))
      assert.strictEqual(told.length, 1)
      assert.include(told[0], `${people[10]!.userId}, `)
      assert.include(told[0], " and 10 more. ")
    })
  )

  test(
    "does not take a server that is away for a refusal, at the first contact either",
    Effect.gen(function* () {
      const { server, users } = yield* crowd(2)
      yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, 1000)
      const failing = yield* Effect.forkChild(
        Effect.flip(
          users.pipe(
            Broadcast.sendAll(() => "hello", { key: "k", firstContact: true }),
            Stream.runDrain
          )
        )
      )
      for (let n = 0; n < 20; n++) yield* pass(10)
      assert.strictEqual((yield* Fiber.join(failing)).reason._tag, "Intermediary")
    })
  )
})

it.effect(
  "an announcement delays no answer where the quota is smaller than a batch, and no batch is larger than it",
  () =>
    Effect.gen(function* () {
      const { bot, people, users } = yield* crowd(100)
      yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("an answer"), { concurrency: 1 }))
      yield* pass(60)
      const asker = yield* BlazeTest.user("asker")
      const { maximumBatch, sendBatch } = yield* Sender.Sender
      assert.strictEqual(maximumBatch, 40)
      const announcing = yield* Effect.forkChild(
        users.pipe(
          Broadcast.sendAll(() => "hello", { key: "k" }),
          Stream.runCollect
        )
      )
      for (let second = 1; second <= 30; second++) {
        if (second % 2 === 0) yield* asker.say("a question")
        yield* BlazeTest.settle
        assert.strictEqual((yield* asker.reads).length, Math.floor(second / 2))
        yield* pass(1)
      }
      assert.deepStrictEqual(tags(yield* Fiber.join(announcing)), { Accepted: 100 })
      const ids = yield* Effect.forEach(people.slice(0, 41), ({ userId }) => Ids.derive("k", userId))
      const refused = yield* sendBatch(ids.map((id) => ({ id, to: { user: people[0]!.userId }, content: "hi" }))).pipe(
        Effect.flip
      )
      assert.include(refused.message, "at most 40 messages")
      assert.strictEqual((yield* bot.sent).filter(({ text }) => text === "hello").length, 100)
    }).pipe(
      Effect.provide(
        BlazeTest.layer.pipe(
          Layer.provide(Settings.layer({ quotaMessages: 50, quotaWindow: "10 seconds", answerShare: 0.2 }))
        )
      ),
      Effect.provide(NodeCrypto.layer)
    )
)

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
