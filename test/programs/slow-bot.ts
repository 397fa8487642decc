// A bot that is in the middle of a message when Ctrl-C comes, and has an answer to write after that.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Bot, Keyed, Settings } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const interrupted = Effect.callback<void>((resume) => void process.once("SIGINT", () => resume(Effect.void)))

Bot.run((delivery) =>
  Effect.gen(function* () {
    yield* Console.log("started")
    yield* interrupted
    yield* delivery.reply("done")
  })
).pipe(
  Effect.provide(NodeBlaze.layerConfig),
  // As long as it takes: how quick this machine is does not matter here.
  Effect.provideService(Keyed.Grace, "1 minute"),
  Effect.provide(Settings.layer({ flushTimeout: "1 minute" })),
  NodeRuntime.runMain
)
