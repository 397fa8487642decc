import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Bot, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { eventually } from "./support.ts"

it.live("two bots in one application have a connection, a name and acknowledgements each of their own", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bots = [yield* server.makeBot, yield* server.makeBot] as const
    const addresses = Layer.mergeAll(Settings.layer({ url: local.url, apiUrl: local.apiUrl }))
    const echo = Bot.match({
      Text: (delivery) => delivery.reply(`${delivery.message.text} to you`),
      orElse: () => Effect.void
    })
    const application = ([first, second]: typeof bots) => {
      const bot = ({ keystore }: BlazeServer.BotAccount) =>
        Bot.layer(echo).pipe(Layer.provideMerge(NodeBlaze.layer(Signer.layerString(keystore))))
      return Layer.merge(bot(first), bot(second)).pipe(Layer.provide(addresses))
    }
    yield* Layer.build(application(bots))
    for (const [index, bot] of bots.entries()) {
      const person = yield* server.user(bot, `person ${index}`)
      const id = yield* person.say("hello")
      yield* eventually(Effect.map(person.reads, (texts) => texts.join() === "hello to you"))
      yield* eventually(Effect.map(bot.acknowledged, (batches) => batches.flat().includes(id)))
      assert.strictEqual(yield* bot.connections, 1)
      assert.strictEqual((yield* bot.sent).length, 1)
    }
  }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
)
