import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { Bot, Commands, type Delivery, Message } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"

const price = Commands.command("price", { symbol: Schema.Literals(["BTC", "ETH"]) }, ({ symbol }, delivery) =>
  delivery.reply(`${symbol}: 7`)
).pipe(Commands.withDescription("What a coin costs"))

const convert = Commands.command(
  "convert",
  {
    amount: Schema.FiniteFromString.check(Schema.isGreaterThan(0)),
    from: Schema.NonEmptyString,
    to: Schema.optionalKey(Schema.NonEmptyString)
  },
  ({ amount, from, to = "USD" }, delivery) => delivery.reply(`${amount} ${from} -> ${to}`)
).pipe(Commands.withAliases("exchange", "\u6362"))

const note = Commands.command("note", { title: Schema.String, text: Commands.Rest }, ({ text, title }, delivery) =>
  delivery.reply(`${title}|${text}`)
)

const balance = Commands.command("balance", {}, (_, delivery) => delivery.reply("0"))

const all = [price, convert, note, balance]

/** What a bot answers to what somebody says, one thing after the other. */
const conversation = Effect.fnUntraced(function* (
  handler: Bot.Handler<unknown, never>,
  texts: ReadonlyArray<string>,
  where: "alone" | "group" = "alone"
) {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const alice = yield* BlazeTest.user("alice")
  const group = where === "group" ? yield* server.group(bot, [alice]) : undefined
  const fiber = yield* Effect.forkChild(Bot.run(handler))
  for (const text of texts) {
    yield* alice.say(text.replace("@bot", `@${bot.identityNumber}`), group)
    yield* BlazeTest.settle
  }
  yield* Fiber.interrupt(fiber)
  return (yield* bot.sent).map(({ text }) => text)
})

const test = (
  name: string,
  handler: Bot.Handler<unknown, never>,
  exchange: ReadonlyArray<readonly [says: string, answer: string]>
) =>
  it.effect(name, () =>
    Effect.gen(function* () {
      const answers = yield* conversation(
        handler,
        exchange.map(([says]) => says)
      )
      assert.deepStrictEqual(
        answers,
        exchange.map(([, answer]) => answer)
      )
    }).pipe(Effect.provide(BlazeTest.layer))
  )

const handler = Commands.make(all)

describe("commands", () => {
  test("run with arguments of the form they declared, however these are written", handler, [
    ["/price BTC", "BTC: 7"],
    ["  /PRICE\u3000btc ", "BTC: 7"],
    ["\uff0fprice eth", "ETH: 7"],
    ["/convert 2.5 BTC", "2.5 BTC -> USD"],
    ["/convert 2.5 \u201cBTC cash\u201d 'E U R'", "2.5 BTC cash -> E U R"],
    ["/exchange 1 \u300ca b\u300d", "1 a b -> USD"],
    ["/\u6362 1 BTC", "1 BTC -> USD"],
    ['/note "my title" the rest, "as it is"\nwith lines', 'my title|the rest, "as it is"\nwith lines'],
    ["/note --title it's", "--title|it's"]
  ])

  test("say what is wrong with what was written, and run nothing", handler, [
    ["/price", "The symbol is missing: /price BTC|ETH"],
    ["/price DOGE", "The symbol must be BTC, ETH: /price BTC|ETH"],
    ["/price BTC please", "That is more than I understand: /price BTC|ETH"],
    ["/convert x BTC", "The amount must be a finite number: /convert AMOUNT FROM [TO]"],
    ["/convert -1 BTC", "The amount must be a value greater than 0: /convert AMOUNT FROM [TO]"],
    ["/note title", "The text is missing: /note TITLE TEXT"]
  ])

  test("suggest what was meant, and say how to find the rest", handler, [
    ["/prise BTC", "I do not know /prise. Did you mean /price?"],
    ["/blance", "I do not know /blance. Did you mean /balance?"],
    ["/p", "I do not know /p. Try /help."],
    ["/frobnicate", "I do not know /frobnicate. Try /help."],
    [`/${"x".repeat(10_000)}`, `I do not know /${"x".repeat(32)}. Try /help.`],
    ["hello", "Try /help."],
    ["/", "Try /help."],
    ["//price BTC", "Try /help."],
    [
      "/help",
      "This is what I can do:\n/price BTC|ETH \u2014 What a coin costs\n/convert AMOUNT FROM [TO]\n/note TITLE TEXT\n/balance\n/help \u2014 What I can do"
    ]
  ])

  test(
    "speak another language, and leave help to the bot where it has its own",
    Commands.make([price, Commands.command("help", {}, (_, delivery) => delivery.reply("mine"))], {
      words: Commands.chinese
    }),
    [
      ["/help", "mine"],
      ["/price", "\u7f3a\u5c11 symbol\uff1a/price BTC|ETH"],
      ["hi", "\u8bf7\u53d1\u9001 /help\u3002"]
    ]
  )

  test(
    "leave everything else to the program",
    Commands.make(all, {
      orElse: (delivery: Delivery.Delivery) =>
        delivery.reply(Message.isText(delivery.message) ? `you said ${delivery.message.text}` : delivery.message._tag)
    }),
    [
      ["hello", "you said hello"],
      ["/balance", "0"]
    ]
  )

  it.effect("work in a group behind a mention and as a button says them, and say nothing to who speaks to others", () =>
    Effect.gen(function* () {
      const texts = [
        "/price ETH",
        "/prise ETH",
        "hello",
        "@bot /price BTC",
        "/price ETH @bot",
        "@bot, /balance",
        "@bot",
        "@3000 /price BTC"
      ]
      assert.deepStrictEqual(yield* conversation(handler, texts, "group"), [
        "ETH: 7",
        "BTC: 7",
        "ETH: 7",
        "0",
        "Try /help."
      ])
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("are buttons of a menu, and a button that is tapped twice is two messages with an answer each", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const menu = Commands.command("menu", {}, (_, delivery) => delivery.reply(Commands.menu(all)))
      yield* Effect.forkChild(Bot.run(Commands.make([...all, menu])))
      yield* alice.say("/menu")
      yield* BlazeTest.settle
      yield* alice.tap("/balance")
      yield* alice.tap("/balance")
      yield* BlazeTest.settle
      assert.deepStrictEqual((yield* alice.reads).slice(1), ["0", "0"])
      const missing = yield* Effect.exit(alice.tap("What a coin costs"))
      assert.include(String(missing), "no button")
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it.effect("acknowledge notices of the system without a word", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkChild(Bot.run(handler))
      yield* alice.pay({ asset: "4d8c508b-91c5-375b-92b0-ee702ed2dac5", amount: "1" })
      yield* alice.send("PLAIN_STICKER", `{"sticker_id":"x"}`)
      yield* BlazeTest.pass("2 seconds")
      assert.deepStrictEqual([yield* bot.sent, yield* bot.pending], [[], []])
    }).pipe(Effect.provide(BlazeTest.layer))
  )
})

it("a command that nobody could call, or whose arguments nobody could reach, is refused where it is written", () => {
  const nothing = () => Effect.void
  for (const name of ["/price", "two words", "", "a@b", "x".repeat(33)]) {
    assert.throws(() => Commands.command(name, {}, nothing), /cannot be called/)
    assert.throws(() => Commands.withAliases(name)(balance), /cannot be called/)
  }
  const optional = Schema.optionalKey(Schema.String)
  assert.throws(() => Commands.command("x", { all: Commands.Rest, more: Schema.String }, nothing), /The argument more/)
  assert.throws(() => Commands.command("x", { a: optional, b: Schema.String }, nothing), /The argument b/)
  assert.throws(
    () => Commands.make([balance, Commands.withAliases("balance")(price)]),
    /two commands of the name balance/
  )
})

it("a command knows its arguments and what it may fail with", () => {
  const fails = Commands.command("x", { n: Schema.FiniteFromString }, ({ n }) => {
    const number: number = n
    // @ts-expect-error: a number is no text
    const text: string = n
    return Effect.fail(new RangeError(`${number} ${text}`))
  })
  const handler = Commands.make([fails])
  const typed: (
    delivery: Delivery.Delivery
  ) => Effect.Effect<unknown, RangeError | { readonly reason: unknown }, never> = handler
  assert.isFunction(typed)
})

it("commands that are written where they are the orElse of a match fail with and need what they do elsewhere", () => {
  const fails = Commands.command("x", {}, () => Effect.fail(new RangeError()))
  const handler = Bot.match({ Snapshot: () => Effect.void, orElse: Commands.make([fails, price]) })
  const typed: Bot.Handler<RangeError | { readonly reason: unknown }> = handler
  assert.isFunction(typed)
})
