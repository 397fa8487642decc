// Makes a small picture of each that it is sent.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Option, Stream } from "effect"
import { Bot, type Message, Outgoing } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import sharp from "sharp"

const shrink = Effect.fnUntraced(function* (image: Message.Image) {
  const pieces = yield* Stream.runCollect(image.download)
  const resized = sharp(Buffer.concat(pieces), { limitInputPixels: 50_000_000 }).resize(320, 320, { fit: "inside" })
  return yield* Effect.tryPromise(() => resized.jpeg().toBuffer())
})

export const thumbnails = Bot.match({
  Image: Effect.fnUntraced(function* (delivery) {
    const small = yield* Effect.option(shrink(delivery.message))
    yield* delivery.reply(
      Option.match(small, { onNone: () => "I cannot read that.", onSome: (bytes) => Outgoing.image(bytes) })
    )
  }),
  orElse: (delivery) => delivery.reply("Send me a picture.")
})

if (import.meta.main) {
  Bot.run(thumbnails).pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
}
