// The echo bot; its logs, metrics and spans go to the collector at OTLP_URL.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Effect, Layer } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"

const telemetry = Layer.unwrap(
  Effect.map(Config.String("OTLP_URL").pipe(Config.withDefault("http://127.0.0.1:4318")), (baseUrl) =>
    Otlp.layerJson({ baseUrl, resource: { serviceName: "echo" } })
  )
).pipe(Layer.provide(FetchHttpClient.layer))

const echo = Bot.match({
  Text: (delivery) => delivery.reply(delivery.message.text),
  orElse: () => Effect.void
})

Bot.run(echo).pipe(Effect.provide(NodeBlaze.layerConfig), Effect.provide(telemetry), NodeRuntime.runMain)
