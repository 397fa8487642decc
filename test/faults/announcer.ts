// The announcer of the announcement run: ours, with FILE a durable one, or a bare loop of fetch. It says how long it took, and how much
// memory it held. With KEY "none" it announces nothing, and goes on with what is in the file.
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Stream } from "effect"
import { Broadcast, Ids, Settings, Signer, SqlStore } from "effect-blaze"
import { NodeBlaze, NodeSqlite } from "effect-blaze/node"
import { randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { makeToken } from "../bench/clients/token.ts"

const users = readFileSync(process.env["USERS"]!, "utf8")
  .trim()
  .split("\n")
  .map((line) => line.split(" ") as [user: string, conversation: string])

const report = (begun: number, peak: number, accepted: number, refused: number) =>
  console.log(JSON.stringify({ millis: performance.now() - begun, peak, accepted, refused }))

let peak = 0
const watch = setInterval(() => {
  globalThis.gc?.()
  peak = Math.max(peak, process.memoryUsage().heapUsed)
}, 2000)

const filename = process.env["FILE"] ?? ""

const ours = Effect.gen(function* () {
  const begun = performance.now()
  const key = yield* Config.String("KEY")
  if (key === "none") return yield* Effect.never
  const { accepted, refused } = yield* Stream.fromIterable(users).pipe(
    Stream.map(([user]) => Ids.UserId.make(user)),
    Broadcast.run((user) => `Hello ${user}, the sale begins.`, { key, durable: filename !== "" })
  )
  report(begun, peak, accepted, refused)
  clearInterval(watch)
})

/** Four requests of a hundred messages at once, and nothing else: no quota, no retries, nobody who is refused. */
const bare = async () => {
  const begun = performance.now()
  const token = makeToken(JSON.parse(process.env["BLAZE_KEYSTORE"]!))
  const api = process.env["BLAZE_API_URL"]!
  let next = 0
  const worker = async () => {
    while (next < users.length) {
      const batch = users.slice(next, (next += 100))
      const body = JSON.stringify(
        batch.map(([user, conversation]) => ({
          conversation_id: conversation,
          recipient_id: user,
          message_id: randomUUID(),
          category: "PLAIN_TEXT",
          data_base64: Buffer.from(`Hello ${user}, the sale begins.`).toString("base64url")
        }))
      )
      const id = randomUUID()
      const answer = await fetch(`${api}/messages`, {
        method: "POST",
        body,
        headers: {
          authorization: `Bearer ${token("POST", "/messages", body, id)}`,
          "content-type": "application/json",
          "x-request-id": id
        }
      })
      const { error } = (await answer.json()) as { readonly error?: unknown }
      if (error !== undefined) throw new Error(JSON.stringify(error))
    }
  }
  await Promise.all([worker(), worker(), worker(), worker()])
  report(begun, peak, users.length, 0)
  clearInterval(watch)
}

if (process.env["BARE"] === "1") await bare()
else {
  // The quota counts as always, and does not hold this to Mixin's 100 000 messages a minute.
  const unbounded = Settings.layer({ quotaMessages: 1_000_000_000 })
  const durable = NodeBlaze.layerSender(Signer.layerConfig, { store: SqlStore.layer }).pipe(
    Layer.provide(NodeSqlite.layer({ filename })),
    Layer.provide(Settings.layerConfig)
  )
  const sender = filename === "" ? NodeBlaze.layerSenderConfig : durable
  ours.pipe(Effect.provide(sender.pipe(Layer.provide(unbounded))), NodeRuntime.runMain)
}
