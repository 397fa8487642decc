// What a bot has received, written as lines and replayed against its pipeline.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result, Stream } from "effect"
import {
  Blaze,
  BlazeError,
  type Delivery as Deliveries,
  Delivery,
  type Ids,
  Keyed,
  Message,
  Recording
} from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { pass, vectors } from "./support.ts"

const echo = <E, R>(deliveries: Stream.Stream<Deliveries.Delivery, E, R>) =>
  deliveries.pipe(
    Delivery.filter(Message.isText),
    Keyed.mapEffect(
      Delivery.handle((delivery): Effect.Effect<unknown, BlazeError.BlazeError> =>
        delivery.message.text === "later" ? Effect.succeed(Delivery.Defer) : delivery.reply(delivery.message.text)
      ),
      { key: ({ message }) => message.conversationId, concurrency: 8 }
    )
  )

const viewsOf = (lines: Iterable<string>) => Result.getOrThrow(Recording.read(lines))

describe("Recording", () => {
  it.effect("what a bot has received is replayed with the same answers, ids included, and nothing is sent", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const bob = yield* BlazeTest.user("bob")
      const { deliveries, userId } = yield* Blaze.Blaze
      const lines: Array<string> = []
      const record = Recording.make()
      yield* deliveries.pipe(
        Stream.tap(({ message }) => Effect.sync(() => lines.push(record(message)))),
        echo,
        Stream.runDrain,
        Effect.forkChild
      )
      yield* alice.say("a1")
      yield* bob.say("later")
      yield* alice.send("PLAIN_STICKER", '{"sticker_id":"1"}')
      yield* bob.say("b1")
      yield* pass(1)
      const sent = (yield* bot.sent).map(({ messageId }) => messageId)

      const replay = yield* BlazeTest.replayViews(viewsOf(lines), { botId: userId })
      yield* Stream.runDrain(echo(replay.deliveries))
      const happened = yield* replay.happened
      assert.deepStrictEqual(
        happened.map(({ answers, outcome }) => [outcome, ...answers.map(({ text }) => text)].join(" ")),
        ["Acknowledged a1", "Deferred", "Acknowledged", "Acknowledged b1"]
      )
      const answered = happened.flatMap(({ answers }) => answers.map(({ id }) => id))
      assert.deepStrictEqual(answered.toSorted(), sent.toSorted())
      assert.strictEqual((yield* bot.sent).length, sent.length)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it("redacted, a line has no word and no id of the view, and is of the same kind and shape", () => {
    const record = Recording.make({ redact: true })
    for (const { input, name } of vectors<{ readonly json: string }, unknown>("views")) {
      const { data } = JSON.parse(input.json)
      for (const view of Array.isArray(data) ? data : [data]) {
        if (typeof view?.message_id !== "string") continue
        const message = Message.fromView(viewsOf([JSON.stringify(view)])[0]!)
        const line = record(message)
        for (const id of [view.message_id, view.user_id, view.conversation_id, view.session_id]) {
          if (/[1-9a-f]/i.test(id ?? "")) assert.notInclude(line.toLowerCase(), id.toLowerCase(), name)
        }
        const again = Message.fromView(viewsOf([line])[0]!)
        assert.strictEqual(again.category, message.category, name)
        if (!Message.isText(message) || !Message.isText(again)) continue
        assert.strictEqual(again.text.length, message.text.length, name)
        assert.match(again.text, /^[^\p{L}\p{N}]*(?:[x0][^\p{L}\p{N}]*)*$/u, name)
      }
    }
  })

  it("redacted, no script and no sign stands for itself, and a field that is not the server's own words is left out", () => {
    const record = Recording.make({ redact: true })
    for (const text of ["Ⓢⓔⓒⓡⓔⓣ 🅂🄴🄲", "⠎⠑⠉⠗⠑⠞", "नमस्ते दुनिया", "สวัสดี", "hi\u{E0053}\u{E0065}", "日本 9 ½"]) {
      const data = Buffer.from(text).toString("base64")
      const view = { message_id: "928c5c40-769c-3e97-8387-fb1ae0645311", category: "PLAIN_TEXT", data }
      const line = record(Message.fromView(viewsOf([JSON.stringify(view)])[0]!))
      const again = Message.fromView(viewsOf([line])[0]!)
      assert.match(Message.isText(again) ? again.text : "", /^[x0 ]+$/)
    }
    const odd = { message_id: "1", category: "alice wrote secret", updated_at: "7c9e6679-7425-40de-944b-e07fc1f90ae7" }
    const line = record(Message.fromView(viewsOf([JSON.stringify(odd)])[0]!))
    assert.notMatch(line, /secret|7c9e6679/)
  })

  it("redacted, who is met again and again keeps the name, however many others there are", () => {
    const record = Recording.make({ redact: true })
    const nameAfter = (n: number) => {
      const view = { message_id: `m${n}`, user_id: "773e5e77-4107-45c2-b648-8fc722ed77f5" }
      return /"user_id":"([^"]+)"/.exec(record(Message.fromView(view)))?.[1]
    }
    const name = nameAfter(0)
    for (let n = 1; n < 100_100; n++) if (nameAfter(n) !== name) assert.fail(`another name after ${n} messages`)
  })

  it("redacted, equal ids have equal names", () => {
    const record = Recording.make({ redact: true })
    const view = (message_id: string, user_id: string) =>
      Message.fromView(viewsOf([JSON.stringify({ message_id, user_id, category: "PLAIN_TEXT", data: "aGk=" })])[0]!)
    const users = [
      record(view("928c5c40-769c-3e97-8387-fb1ae0645311", "773e5e77-4107-45c2-b648-8fc722ed77f5")),
      record(view("928C5C40-769c-3e97-8387-fb1ae0645311", "82d20bc7-9a97-4a69-bcd0-4da502374f6c")),
      record(view("00000000-769c-3e97-8387-fb1ae0645311", "773e5e77-4107-45c2-b648-8fc722ed77f5"))
    ].map((line) => JSON.parse(line))
    assert.strictEqual(users[0].user_id, users[2].user_id)
    assert.notStrictEqual(users[0].user_id, users[1].user_id)
    assert.strictEqual(users[0].message_id, users[1].message_id)
    assert.notStrictEqual(users[0].message_id, users[2].message_id)
  })

  it("names the line that is no message", () => {
    const line = '{"message_id":"928c5c40-769c-3e97-8387-fb1ae0645311"}'
    assert.strictEqual(viewsOf([line, "", line]).length, 2)
    const read = Recording.read([line, "", "{}"])
    assert.isTrue(Result.isFailure(read) && BlazeError.isBlazeError(read.failure))
    assert.match(String(Result.isFailure(read) && read.failure.message), /line 3 of the recording/)
  })
})

describe("BlazeTest.replayViews", () => {
  const views = ["1", "2", "3"].map((n) => ({
    message_id: `00000000-0000-4000-8000-00000000000${n}`,
    conversation_id: "72e9a6c7-3e78-30ee-add8-aa114eada65a",
    category: "PLAIN_TEXT",
    data: "aGk="
  }))

  it.effect("tells what was given up, what broke a limit, and what nobody has settled", () =>
    Effect.gen(function* () {
      const { deliveries, happened } = yield* BlazeTest.replayViews(views)
      yield* deliveries.pipe(
        Stream.mapEffect((delivery) => {
          const n = delivery.message.id.at(-1)
          return n === "1"
            ? delivery.giveUp("no stock")
            : n === "2"
              ? Effect.exit(Delivery.handle((delivery) => delivery.reply(""))(delivery))
              : Effect.void
        }),
        Stream.runDrain
      )
      assert.deepStrictEqual(
        (yield* happened).map(({ answers, outcome }) => [outcome, answers.length]),
        [
          ["GivenUp", 0],
          ["GivenUp", 0],
          ["Open", 0]
        ]
      )
    })
  )

  it.effect(
    "hands out one by one, each once, nothing of the bot's own, and what was left to the next consumer first",
    () =>
      Effect.gen(function* () {
        const own = "773e5e77-4107-45c2-b648-8fc722ed77f5" as Ids.UserId
        const sent = { ...views[0]!, message_id: "00000000-0000-4000-8000-000000000009", user_id: own }
        const { deliveries, happened } = yield* BlazeTest.replayViews([sent, ...views, views[0]!], { botId: own })
        const ids = Stream.map(deliveries, ({ message }) => message.id.at(-1))
        assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(ids, 1)), ["1"])
        assert.strictEqual((yield* happened).length, 1)
        let tries = 0
        const exit = yield* deliveries.pipe(
          Delivery.filter((message) => !message.id.endsWith("2")),
          Stream.mapEffect((delivery) => (tries++ === 0 ? Effect.fail("no stock") : delivery.ack)),
          Stream.runDrain,
          Effect.exit
        )
        assert.isTrue(Exit.isFailure(exit))
        // The second was not asked for when the first failed.
        assert.strictEqual((yield* happened).length, 1)
        assert.deepStrictEqual(yield* Stream.runCollect(ids), ["1", "2", "3"])
      })
  )

  it.effect("a pipeline narrows without a cast, and a batch takes its type from the stream", () =>
    Effect.gen(function* () {
      const { deliveries } = yield* BlazeTest.replayViews([
        ...views,
        { ...views[0]!, message_id: "00000000-0000-4000-8000-000000000004", category: "PLAIN_STICKER" }
      ])
      const key = ({ message }: Deliveries.Delivery) => message.conversationId
      const options = { key, concurrency: 2, every: 1 }
      const narrowed = yield* deliveries.pipe(
        Stream.filter(Delivery.is(Message.isText)),
        Stream.map(({ message }): string => message.text),
        Stream.runCollect
      )
      const one = deliveries.pipe(
        Delivery.filter(Message.isText),
        Keyed.mapEffect(({ message }) => Effect.succeed<string>(message.text), { key, concurrency: 2 })
      )
      const batches = deliveries.pipe(
        Delivery.filter(Message.isText),
        Keyed.mapEffectBatch(
          Delivery.handleAll((batch) => Effect.succeed(batch.map(({ message }): string => message.text))),
          options
        )
      )
      assert.deepStrictEqual(narrowed, ["hi", "hi", "hi"])
      assert.deepStrictEqual(yield* Stream.runCollect(one), ["hi", "hi", "hi"])
      const [first] = yield* Stream.runCollect(Stream.take(batches, 1))
      assert.deepStrictEqual(first, ["hi"])
    })
  )

  it.effect("answers go where they would, and are the same in every run", () =>
    Effect.gen(function* () {
      const user = "773e5e77-4107-45c2-b648-8fc722ed77f5" as Ids.UserId
      const once = Effect.gen(function* () {
        const { deliveries, happened } = yield* BlazeTest.replayViews(views.slice(0, 1))
        yield* deliveries.pipe(
          Stream.mapEffect(
            Delivery.handle((delivery) =>
              Effect.andThen(
                delivery.send({ user }, "psst"),
                Effect.map(delivery.derive("trace"), (id) => delivery.reply(id))
              )
            )
          ),
          Stream.runDrain
        )
        return yield* happened
      })
      const [first, second] = [yield* once, yield* once]
      assert.deepStrictEqual(first, second)
      assert.deepStrictEqual(first[0]?.answers[0]?.to, { user })
    })
  )
})
