// A bot that says what you say. BLAZE_KEYSTORE holds the path of its keystore, or the JSON itself.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Bot, Outgoing } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const echo = Bot.match({
  Text: (delivery) => delivery.reply(delivery.message.text),
  Contact: (delivery) => delivery.reply(Outgoing.contact(delivery.message.userId)),
  orElse: () => Effect.void // seen, nothing to do: acknowledged
})

Bot.run(echo).pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
