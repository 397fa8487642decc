// Writes to everybody in a file, one user id a line. Start it again after a crash: nobody gets it twice.
// BLAZE_KEYSTORE; node announce.ts USERS "campaign" "text"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, FileSystem, Layer, Schema, Stream } from "effect"
import { Broadcast, Ids } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

export const announce = Effect.fnUntraced(function* (file: string, campaign: string, text: string) {
  const users = (yield* FileSystem.FileSystem).stream(file).pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.filter((line) => line.trim() !== ""),
    Stream.mapEffect((line) => Schema.decodeEffect(Ids.UserId)(line.trim()))
  )
  const onProgress = ({ accepted, refused }: Broadcast.Progress) => Console.log(`${accepted} sent, ${refused} refused`)
  return yield* users.pipe(Broadcast.run(() => text, { key: campaign, onProgress }))
})

if (import.meta.main) {
  const [file = "", campaign = "", text = ""] = process.argv.slice(2)
  announce(file, campaign, text).pipe(
    Effect.provide(Layer.merge(NodeBlaze.layerConfig, NodeServices.layer)),
    NodeRuntime.runMain
  )
}
