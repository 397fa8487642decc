// A bot inside a larger application: a shop that tells its customers when an order has shipped, and answers them too.
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Effect, Layer, Schema } from "effect"
import { Blaze, Bot, Ids } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

const answers = Bot.match({
  Text: (delivery) => delivery.reply("We write to you as soon as your order has shipped."),
  orElse: () => Effect.void
})

const Customer = Schema.Struct({ user: Ids.UserId })

// POST /shipped/:user
const Shipped = HttpRouter.add(
  "POST",
  "/shipped/:user",
  Effect.gen(function* () {
    const blaze = yield* Blaze.Blaze
    const { user } = yield* HttpRouter.schemaPathParams(Customer)
    yield* blaze.send({ user }, "your order has shipped")
    return HttpServerResponse.empty()
  })
)

const Http = HttpRouter.serve(Shipped).pipe(
  Layer.provide(
    Layer.unwrap(
      Effect.map(Config.Port("PORT"), (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
    )
  )
)

const App = Layer.mergeAll(Bot.layer(answers), Http).pipe(Layer.provide(NodeBlaze.layerConfig))

App.pipe(Layer.launch, NodeRuntime.runMain)
