// node announce.ts USERS "campaign" "text": to everybody in a file, one id a line. Started again, it writes to nobody twice.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
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
