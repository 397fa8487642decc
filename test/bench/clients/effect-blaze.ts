// effect-blaze as a user has it: the default layers, everything on.
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, Layer, Option, Schema, Scope, Stream } from "effect"
import {
  Acks,
  Blaze,
  Bot,
  type Delivery,
  Ids,
  Message,
  MixinApi,
  PortableGzip,
  Settings,
  Signer,
  SqlStore,
  State
} from "effect-blaze"
import { NodeBlaze, NodeSqlite } from "effect-blaze/node"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Job, read, serve } from "../job.ts"

const layer = (job: Job) => {
  const signer = Signer.layerString(JSON.stringify(job.keystore))
  const ports = { acks: job.acks === "socket" ? Acks.layerSocket : Acks.layerRest }
  const blaze = job.client.endsWith("-fflate")
    ? Blaze.layerWith(ports).pipe(
        Layer.provide(MixinApi.layer),
        Layer.provide([signer, NodeHttpClient.layerNodeHttp, PortableGzip.layer]),
        Layer.provide(NodeBlaze.layerPlatform)
      )
    : job.client.endsWith("-sqlite")
      ? NodeBlaze.layer(signer, { ...ports, store: SqlStore.layer }).pipe(
          Layer.provide(Layer.orDie(NodeSqlite.layer({ filename: join(mkdtempSync(join(tmpdir(), "bench-")), "it") })))
        )
      : NodeBlaze.layer(signer, ports)
  return blaze.pipe(
    Layer.provide([
      Settings.layer({ url: job.url, apiUrl: job.apiUrl }),
      // The quota counts as always, but a benchmark sends more in a minute than Mixin allows.
      job.work === "send"
        ? Settings.layer({ quotaMessages: 1_000_000_000, quotaWindow: "6 seconds", answerShare: 0.2 })
        : Layer.empty
    ])
  )
}

const conversation = Ids.ConversationId.make("8d7f6e5c-1a2b-4c3d-9e8f-000000000000")

const echo = Bot.match({
  Text: (delivery) => {
    read(delivery.message.text)
    return delivery.reply(delivery.message.text)
  },
  orElse: () => Effect.void
})

const listen = Bot.match({
  Text: (delivery) => Effect.sync(() => read(delivery.message.text)),
  orElse: () => Effect.void
})

const Count = State.conversation("count", Schema.Int)

/** Reads and writes something for each message. */
const remember = Bot.match({
  Text: Effect.fnUntraced(function* (delivery) {
    read(delivery.message.text)
    const count = delivery.state(Count)
    yield* count.set(Option.getOrElse(yield* count.get, () => 0) + 1)
  }),
  orElse: () => Effect.void
})

const readAndAcknowledge = (delivery: Delivery.Delivery) => {
  if (Message.isText(delivery.message)) read(delivery.message.text)
  return delivery.ack
}

const program = (job: Job) =>
  Effect.gen(function* () {
    const blaze = yield* Blaze.Blaze
    if (job.work === "send") {
      // As the others, it sends once it is connected.
      yield* blaze.request("LIST_PENDING_MESSAGES")
      return yield* Effect.forEach(
        Array.from({ length: job.count }, (_, index) => index),
        (index) =>
          blaze.send({ conversation }, `message number ${index} of a good many that are sent one after the other`),
        { concurrency: job.inFlight, discard: true }
      )
    }
    if (job.work === "echo") return yield* Bot.run(echo)
    if (job.client.startsWith("bot-state")) return yield* Bot.run(remember)
    if (job.client.startsWith("bot")) return yield* Bot.run(listen)
    return yield* Stream.runForEach(blaze.deliveries, readAndAcknowledge)
  })

/** Bots that nobody talks to, in one application. */
const idle = (job: Job, count: number) => {
  const bot = () =>
    Layer.effectDiscard(Effect.flatMap(Blaze.Blaze, (blaze) => blaze.request("LIST_PENDING_MESSAGES"))).pipe(
      Layer.provideMerge(Bot.layer(echo)),
      Layer.provide(layer(job))
    )
  return Layer.build(Layer.mergeAll(bot(), ...Array.from({ length: count - 1 }, bot)))
}

serve(async (job) => {
  if (job.work !== "idle") return () => Effect.runPromise(program(job).pipe(Effect.provide(layer(job))))
  const scope = Scope.makeUnsafe()
  // What only the first of many costs is not counted.
  await Effect.runPromise(Scope.provide(idle(job, 10), scope))
  return async () => void (await Effect.runPromise(Scope.provide(idle(job, job.count), scope)))
})
