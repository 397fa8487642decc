// A bot that needs a second for every message: what Ctrl-C meets in the middle of work.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Bot, Keyed } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

Bot.run((delivery) =>
  Effect.gen(function* () {
    yield* Console.log("started")
    yield* Effect.sleep("1 second")
    yield* delivery.reply("done")
  })
).pipe(Effect.provideService(Keyed.Grace, "5 seconds"), Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
