// The messages as a stream: one conversation after the other, 64 at once, acknowledged when the reply has arrived.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { Blaze, Delivery, Keyed, Message } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

// What a handler fails with ends the pipeline, so one that may fail says what becomes of its message.
const answer = (delivery: Delivery.Delivery<Message.Text>) =>
  delivery
    .reply(`${delivery.message.text.length} characters`)
    .pipe(Effect.catch((error) => Effect.as(Effect.logError(error.message), Delivery.Defer)))

const program = Effect.gen(function* () {
  const blaze = yield* Blaze.Blaze
  yield* blaze.deliveries.pipe(
    Delivery.filter(Message.isText), // acknowledges what it drops
    Keyed.mapEffect(Delivery.handle(answer), { key: ({ message }) => message.conversationId, concurrency: 64 }),
    Stream.runDrain
  )
})

program.pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
