// One of the machines of a bot: started as often as one likes, each with an address of its own in HOST and PORT, all with one DATABASE_URL
// and one BLAZE_KEYSTORE.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Option, Schema } from "effect"
import { Bot, State } from "effect-blaze"
import { NodeBlazeCluster } from "effect-blaze/cluster"

const Count = State.conversation("count", Schema.Int)

const bot = Bot.match({
  Text: Effect.fnUntraced(function* (delivery) {
    const count = delivery.state(Count)
    const number = Option.getOrElse(yield* count.get, () => 0) + 1
    yield* count.set(number)
    yield* delivery.reply(`Message ${number}: ${delivery.message.text}`)
  }),
  orElse: () => Effect.void
})

const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

Bot.run(bot).pipe(Effect.provide(NodeBlazeCluster.layerConfig.pipe(Layer.provide(database))), NodeRuntime.runMain)
