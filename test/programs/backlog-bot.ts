// A bot that answers a large backlog, in little room. It tells its largest heap, and what went wrong, when it is asked to end.
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Logger, Schedule } from "effect"
import { Acks, Bot, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const problems: Array<string> = []
let largest = 0
const watch = Effect.sync(() => {
  largest = Math.max(largest, process.memoryUsage().rss)
}).pipe(Effect.repeat(Schedule.spaced("20 millis")))

const program = Effect.gen(function* () {
  const bound = yield* Config.Int("BOUND")
  const overflow = yield* Config.Int("OVERFLOW")
  const work = yield* Config.String("WORK")
  const acks = (yield* Config.String("ACKS")) === "socket" ? Acks.layerSocket : Acks.layerRest
  const addresses = Layer.mergeAll(
    Settings.layer({ url: yield* Config.String("BLAZE_URL"), apiUrl: yield* Config.String("BLAZE_API_URL") })
  )
  const client = NodeBlaze.layer(Signer.layerConfig, { acks }).pipe(
    Layer.provide([
      addresses,
      Settings.layer({ inboxMessages: bound, inboxBytes: 64 * 1024 * 1024, overflowBytes: overflow }),
      // A deadlock lasts for longer too; a machine that is slow is none.
      Settings.layer({ requestTimeout: "1 minute", handshakeTimeout: "1 minute", pingPeriod: "1 minute" }),
      // The quota is another guarantee.
      Settings.layer({ quotaMessages: 100_000, quotaWindow: "1 second", answerShare: 0 })
    ])
  )
  yield* Effect.forkChild(watch)
  yield* Bot.run((delivery) => (work === "reply" ? delivery.reply("ok") : Effect.sleep("1 millis")), {
    inFlight: { messages: bound, bytes: 64 * 1024 * 1024 }
  }).pipe(Effect.provide(client))
})

program.pipe(
  Effect.onInterrupt(() => Console.log(JSON.stringify({ largest, problems }))),
  Effect.provide(Logger.layer([Logger.make(({ message }) => void problems.push(String(message)))])),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
