// Commands, alone with the bot or in a group where it is mentioned: /price BTC, /convert 2 ETH, and the /help that comes with them.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Schema } from "effect"
import { Bot, Button, Commands, Outgoing } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const prices = { BTC: 97_000, ETH: 3_400 }
const Coin = Schema.Literals(["BTC", "ETH"])
const Amount = Schema.FiniteFromString.check(Schema.isGreaterThan(0))

const price = Commands.command("price", { coin: Coin }, ({ coin }, delivery) =>
  delivery.reply(`${coin}: ${prices[coin]} USD`)
).pipe(Commands.withDescription("What a coin costs"))

const convert = Commands.command("convert", { amount: Amount, coin: Schema.optionalKey(Coin) }, (values, delivery) =>
  delivery.reply(`${values.amount * prices[values.coin ?? "BTC"]} USD`)
).pipe(Commands.withDescription("What so many are worth"))

const menu = Commands.command("menu", {}, (_, delivery) =>
  delivery.reply(Outgoing.buttons([Button.say("Bitcoin", "/price BTC"), Button.say("Ether", "/price ETH")]))
)

export const commands = Commands.make([price, convert, menu])

if (import.meta.main) Bot.run(commands).pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
