// Writes to everybody in a file, one user id a line: node announce.ts USERS "campaign" "text". BLAZE_KEYSTORE has the bot.
// Start it again after a crash: nobody gets it twice.
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, FileSystem, Layer, Schema, Stream } from "effect"
import { Broadcast, Ids } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

export const announce = Effect.fnUntraced(function* (file: string, key: string, text: string) {
  const users = (yield* FileSystem.FileSystem).stream(file).pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.filter((line) => line.trim() !== ""),
    Stream.mapEffect((line) => Schema.decodeEffect(Ids.UserId)(line.trim()))
  )
  return yield* users.pipe(Broadcast.run(() => text, { key, onProgress: Broadcast.progressBar }))
})

const [file = "", key = "", text = ""] = process.argv.slice(2)
const services = Layer.merge(NodeBlaze.layerSenderConfig, NodeServices.layer)
if (import.meta.main) announce(file, key, text).pipe(Effect.provide(services), NodeRuntime.runMain)
