/**
 * `effect-blaze listen`: what the server has for a bot, as it comes.
 *
 * Guarantee: nothing is acknowledged unless that is asked for, so that the bot itself still gets it.
 *
 * @since 0.1.0
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Blaze from "../Blaze.ts"
import type * as Message from "../Message.ts"
import * as Delivery from "../Delivery.ts"
import * as NodeBlaze from "../node/NodeBlaze.ts"
import * as Common from "./Common.ts"

const textOf = (message: Message.Message): string => ("text" in message ? message.text : "")

const lineOf = (message: Message.Message): string =>
  [message.createdAt, message.conversationId, message.senderId, message.category, textOf(message)]
    .map(Common.visible)
    .join("  ")

const jsonOf = (message: Message.Message): string =>
  JSON.stringify({
    messageId: message.id,
    conversationId: message.conversationId,
    userId: message.senderId,
    category: message.category,
    text: textOf(message),
    createdAt: message.createdAt
  })

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "listen",
  {
    keystore: Common.keystore,
    acknowledge: Flag.Boolean("acknowledge").pipe(
      Flag.withDescription("Takes the messages from the bot: they do not come back"),
      Flag.withDefault(false)
    ),
    json: Common.json("A line of JSON for each message")
  },
  ({ acknowledge, json, keystore }) =>
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      yield* Stream.runForEach(deliveries, (delivery) =>
        Effect.andThen(
          Console.log(json ? jsonOf(delivery.message) : lineOf(delivery.message)),
          acknowledge ? delivery.ack : Effect.sync(() => Delivery.hold(delivery))
        )
      )
    }).pipe(Effect.provide(NodeBlaze.layerConfig), Common.withKeystore(keystore))
).pipe(
  Command.withDescription("Shows what comes for a bot, and leaves it where it is"),
  Command.withExamples([{ command: "effect-blaze listen --keystore keystore.json", description: "Until Ctrl-C" }])
)
