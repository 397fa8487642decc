// Which messages are whose: what the bot itself sent, what the system says, what people say and nobody reads.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { Bot, type Delivery, Gzip, type Ids, PortableGzip } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { lines, pass } from "./support.ts"

let views = 0
const makeView = (fields: Record<string, string>) => ({
  type: "message",
  representative_id: "",
  quote_message_id: "",
  conversation_id: "11111111-1111-3111-8111-111111111111",
  user_id: "22222222-2222-4222-8222-222222222222",
  session_id: "",
  message_id: `44444444-4444-4444-8444-${String(++views).padStart(12, "0")}`,
  category: "PLAIN_TEXT",
  data: "aGk=",
  data_base64: "aGk",
  status: "SENT",
  source: "CREATE_MESSAGE",
  silent: false,
  expire_in: 0,
  created_at: "2026-01-02T03:04:05.123456Z",
  updated_at: "2026-01-02T03:04:05.123456Z",
  ...fields
})

/** Pushes a view to the bot, and gives the id of its message. */
const push = Effect.fnUntraced(function* (fields: Record<string, string>) {
  const bot = yield* BlazeTest.Account
  const { gzip } = yield* Effect.provide(Gzip.Gzip, PortableGzip.layer)
  const view = makeView(fields)
  const frame = { id: crypto.randomUUID(), action: "CREATE_MESSAGE", data: view }
  yield* bot.push(gzip(new TextEncoder().encode(JSON.stringify(frame))))
  return view.message_id as Ids.MessageId
})

const counted = (name: string) =>
  Effect.map(Metric.snapshot, (all) =>
    Object.fromEntries(
      all
        .filter(({ id }) => id === name)
        .map(({ attributes, state }) => [attributes?.["kind"] ?? "", (state as { count: number }).count])
    )
  )

const fresh = Effect.provideServiceEffect(
  Metric.MetricRegistry,
  Effect.sync(() => new Map())
)

describe("a push with the bot's own id", () => {
  it.effect("is a message when it is a notice of the system: of its own transfer, of its own group", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const seen: Array<string> = []
      yield* Effect.forkChild(Bot.run(({ message }) => Effect.sync(() => seen.push(message.id))))
      yield* BlazeTest.settle
      const ids = [
        yield* push({ user_id: bot.userId, category: "SYSTEM_ACCOUNT_SNAPSHOT", data: "e30=" }),
        yield* push({ user_id: bot.userId, category: "SYSTEM_CONVERSATION", data: "e30=" })
      ]
      yield* pass(2)
      assert.deepStrictEqual(seen, ids)
      assert.deepStrictEqual((yield* bot.acknowledged).flat(), ids)
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("is acknowledged, counted and handed to nobody when it is anything else", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      let handled = 0
      yield* Effect.forkChild(
        Bot.run((delivery) =>
          Effect.andThen(
            Effect.sync(() => handled++),
            delivery.reply("echo")
          )
        )
      )
      yield* BlazeTest.settle
      const ids = [
        yield* push({ user_id: bot.userId }),
        yield* push({ user_id: bot.userId, category: "PLAIN_STICKER" }),
        yield* push({ user_id: bot.userId, category: "MESSAGE_RECALL" })
      ]
      yield* pass(2)
      assert.deepStrictEqual([handled, yield* bot.sent], [0, []])
      assert.deepStrictEqual((yield* bot.acknowledged).flat(), ids)
      assert.deepStrictEqual(yield* counted("blaze_own_messages_total"), { "": 3 })
    }).pipe(Effect.provide(BlazeTest.layer), fresh)
  )

  it.effect("is no message at all when it is the answer to a request that nobody waits for any more", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      let handled = 0
      yield* Effect.forkChild(Bot.run(() => Effect.sync(() => handled++)))
      yield* BlazeTest.settle
      yield* push({ user_id: bot.userId, category: "", conversation_id: "" })
      yield* pass(2)
      assert.deepStrictEqual([handled, yield* bot.acknowledged], [0, []])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

describe("Bot.match without a case", () => {
  for (const category of [
    "SYSTEM_ACCOUNT_SNAPSHOT",
    "SYSTEM_CONVERSATION",
    "SYSTEM_FUTURE",
    "MESSAGE_RECALL",
    "MESSAGE_PIN",
    "PLAIN_JSON",
    "WEBRTC_AUDIO_OFFER",
    "KRAKEN_INVITE",
    "SIGNAL_KEY"
  ]) {
    it.effect(`acknowledges and counts what no person said, and does not answer it: ${category}`, () => {
      const log = lines()
      return Effect.gen(function* () {
        const bot = yield* BlazeTest.Account
        yield* Effect.forkChild(Bot.run(Bot.match({ orElse: (delivery) => delivery.reply("I understand text only") })))
        yield* BlazeTest.settle
        const id = yield* push({ category, data: "e30=", data_base64: "e30" })
        yield* pass(2)
        assert.deepStrictEqual(yield* bot.sent, [])
        assert.deepStrictEqual(yield* bot.acknowledged, [[id]])
        assert.deepStrictEqual(yield* counted("blaze_unread_messages_total"), { [category]: 1 })
        assert.deepStrictEqual(log.all, [])
      }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer), fresh)
    })
  }

  it.effect("gives a case for Unknown what no person said too", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      yield* Effect.forkChild(
        Bot.run(
          Bot.match({
            Unknown: ({ message }) => Effect.sync(() => seen.push(message.category)),
            orElse: () => Effect.void
          })
        )
      )
      yield* BlazeTest.settle
      yield* push({ category: "SYSTEM_FUTURE" })
      yield* pass(2)
      assert.deepStrictEqual(seen, ["SYSTEM_FUTURE"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  for (const [category, advice] of [
    ["ENCRYPTED_TEXT", "Unknown has the reason"],
    ["PLAIN_FUTURE", "a case Unknown"]
  ] as const) {
    it.effect(`tells, once a minute, how many messages of a category nobody reads, and what to do: ${category}`, () => {
      const log = lines()
      return Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        let orElse = 0
        yield* Effect.forkChild(
          Bot.run(Bot.match({ Text: (delivery) => delivery.reply("read"), orElse: () => Effect.sync(() => orElse++) }))
        )
        for (let n = 0; n < 3; n++) yield* alice.send(category, new Uint8Array(200).fill(n))
        yield* pass(2)
        assert.deepStrictEqual(yield* bot.pending, [])
        assert.strictEqual(orElse, 3)
        assert.strictEqual(log.all.length, 1)
        assert.match(log.all[0]!, new RegExp(`^Warn A message of category ${category} passed .*unread.*${advice}`))
        for (let n = 0; n < 12; n++) yield* pass(10)
        assert.strictEqual(log.all.length, 2)
        assert.include(log.all[1]!, `2 messages of category ${category}`)
      }).pipe(Effect.provide(BlazeTest.layer), Effect.provide(log.layer))
    })
  }
})

describe("Bot.match with a case for every kind", () => {
  const nothing = () => Effect.void
  const most = {
    Text: nothing,
    Post: nothing,
    Image: nothing,
    Video: nothing,
    Audio: nothing,
    File: nothing,
    Live: nothing,
    Transcript: nothing,
    Sticker: nothing,
    Contact: nothing,
    Location: nothing,
    Buttons: nothing,
    Card: nothing,
    Snapshot: nothing,
    GroupEvent: nothing,
    Recall: nothing
  }

  it.effect("needs no orElse, and knows what each case gets and what all of them fail with", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const bot: Bot.Handler<number | string> = Bot.match({
        ...most,
        Pin: ({ message }) => Effect.fail(message.messageIds.length),
        Text: ({ message }) => Effect.fail(message.text),
        Unknown: nothing
      })
      const failed: Array<unknown> = []
      const noting = (delivery: Delivery.Delivery) =>
        Effect.catch(bot(delivery), (error) => Effect.sync(() => failed.push(error)))
      yield* Effect.forkChild(Bot.run(noting))
      yield* alice.say("hi")
      yield* BlazeTest.settle
      assert.deepStrictEqual(failed, ["hi"])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it("is what it takes to leave out orElse: else the error names the kinds that have none", () => {
    type Told = NonNullable<Parameters<typeof Bot.match<typeof most>>[0]["kinds"]>
    const told: ReadonlyArray<Told> = ["Pin", "Unknown"] satisfies ReadonlyArray<Told>
    const isAll: Told extends "Pin" | "Unknown" ? true : false = true
    const perhaps: { readonly Pin?: typeof nothing } = {}
    const written = [
      // @ts-expect-error: there is no case for Pin and Unknown
      Bot.match(most),
      // @ts-expect-error: there may be none for Pin
      Bot.match({ ...most, ...perhaps, Unknown: nothing }),
      // @ts-expect-error: there is none at all
      Bot.match({}),
      // @ts-expect-error: Pinn is no kind
      Bot.match({ ...most, Pin: nothing, Unknown: nothing, Pinn: nothing }),
      Bot.match({ ...most, orElse: nothing })
    ]
    assert.deepStrictEqual([told.length, isAll, written.length], [2, true, 5])
  })
})
