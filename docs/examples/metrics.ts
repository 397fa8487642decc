// The echo bot, and its metrics for Prometheus at http://127.0.0.1:PORT/metrics.
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Effect, Layer } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { HttpRouter } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"

const echo = Bot.layer(
  Bot.match({
    Text: (delivery) => delivery.reply(delivery.message.text),
    orElse: () => Effect.void
  })
).pipe(Layer.provide(NodeBlaze.layerConfig))

const Http = HttpRouter.serve(PrometheusMetrics.layerHttp()).pipe(
  Layer.provide(
    Layer.unwrap(
      Effect.map(Config.Port("PORT"), (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
    )
  )
)

Layer.mergeAll(echo, Http).pipe(Layer.launch, NodeRuntime.runMain)
