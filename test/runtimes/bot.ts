// A bot on the WebSocket of whatever this runs on; SIGTERM ends it.
import { Effect, Exit, Fiber, Layer } from "effect"
import { Bot, Settings, Signer } from "effect-blaze"
import { WebBlaze } from "effect-blaze/web"

const { BLAZE_API_URL: apiUrl, BLAZE_KEYSTORE: keystore, BLAZE_URL: url } = process.env as Record<string, string>

const echo = Bot.match({
  Text: (delivery) => delivery.reply(delivery.message.text),
  orElse: () => Effect.void
})

const running = Effect.runFork(
  Bot.run(echo).pipe(
    Effect.provide(
      WebBlaze.layer(Signer.layerString(keystore!)).pipe(
        Layer.provide(Settings.layer({ url: url!, apiUrl: apiUrl!, pingPeriod: "1 second" }))
      )
    )
  )
)
process.once("SIGTERM", () => void Effect.runFork(Fiber.interrupt(running)))
running.addObserver((exit) => process.exit(Exit.hasInterrupts(exit) ? 0 : 1))
