// The bot of the cluster's benchmark: alone, with what it remembers in memory or in PostgreSQL, or one of a cluster's runners. It answers
// everything.
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Logger } from "effect"
import { Bot, Settings, Signer, SqlStore } from "effect-blaze"
import { NodeBlazeCluster } from "effect-blaze/cluster"
import { NodeBlaze } from "effect-blaze/node"

const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

const layers = {
  memory: NodeBlaze.layerConfig,
  postgres: NodeBlaze.layer(Signer.layerConfig, { store: SqlStore.layer }).pipe(
    Layer.provide(database),
    Layer.provide(Settings.layerConfig)
  ),
  cluster: NodeBlazeCluster.layerConfig.pipe(Layer.provide(database))
}

const program = Effect.gen(function* () {
  const mode = yield* Config.Literals(["memory", "postgres", "cluster"], "MODE")
  yield* Bot.run(Bot.match({ Text: (delivery) => delivery.reply(delivery.message.text), orElse: () => Effect.void }), {
    concurrency: 256
  }).pipe(Effect.provide(layers[mode]))
})

program.pipe(
  Effect.provide([Logger.layer([]), Settings.layer({ quotaMessages: 1_000_000 })]),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
