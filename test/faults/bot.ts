// The bot of the fault run: it fails as a seed says, and writes down what it does, synchronously, before it says so to anybody.
// A line is: lifetime, what (A first attempt, S success, U unhandled rejection, H heap in bytes), id or number.
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Logger, Schedule } from "effect"
import { Acks, Bot, Delivery, Keyed, Message, Reconnect, Settings, Signer, SqlStore } from "effect-blaze"
import { NodeBlaze, NodeSqlite } from "effect-blaze/node"
import { openSync, writeSync } from "node:fs"

const program = Effect.gen(function* () {
  const lifetime = yield* Config.Int("LIFETIME")
  const seed = yield* Config.Int("SEED")
  const measureAfter = yield* Config.Int("MEASURE_AFTER")
  const file = openSync(yield* Config.String("RECORD"), "a")
  const record = (what: string, value: string | number) => void writeSync(file, `${lifetime} ${what} ${value}\n`)
  process.on("unhandledRejection", (error) => record("U", String(error).replaceAll("\n", " ")))
  const heap = () => {
    globalThis.gc?.()
    record("H", process.memoryUsage().heapUsed)
  }

  const acks = (yield* Config.String("ACKS")) === "socket" ? Acks.layerSocket : Acks.layerRest
  const database = yield* Config.withDefault(Config.String("STORE"), "")
  const attempts = new Map<string, number>()
  let handled = 0

  // A number that depends on the seed, the message and the try: what fails is the same in every run of a seed.
  const fate = (id: string, attempt: number) => {
    let hash = (seed ^ (attempt * 0x9e3779b9)) >>> 0
    for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193) >>> 0
    return hash % 1000
  }

  const handler = (delivery: Delivery.Delivery) =>
    Effect.gen(function* () {
      const { id } = delivery.message
      const text = Message.isText(delivery.message) ? delivery.message.text : ""
      const attempt = (attempts.get(id) ?? 0) + 1
      attempts.set(id, attempt)
      if (attempt === 1) record("A", id)
      const luck = fate(text, attempt)
      if (luck < 10) return yield* Effect.fail("unlucky")
      if (luck < 15) return yield* Effect.die(new Error("unlucky"))
      if (luck < 20) return yield* Effect.interrupt
      if (luck < 25) return Delivery.Defer
      if (luck < 30) return yield* Effect.never // until the timeout
      if (luck < 100) {
        // Twice at once, and to somebody by name: one answer all the same.
        const twice = [delivery.reply(`to ${id}`), delivery.reply(`to ${id}`)]
        yield* Effect.all(twice, { concurrency: 2 })
        yield* delivery.send({ user: delivery.message.senderId }, `sent for ${id}`)
        record("D", `${id}/${yield* delivery.derive("payment")}`)
      } else if (luck < 300) yield* delivery.reply(`to ${id}`)
      else if (luck < 400) yield* Effect.sleep("2 millis")
      if (luck < 40) return yield* Effect.fail("after the answer")
      if (luck < 45 && attempt === 1) {
        yield* delivery.reply(`please wait, ${id}`)
        return yield* Effect.fail("after the first words")
      }
      record("S", id)
      attempts.delete(id)
      if (++handled === measureAfter) heap()
      return Delivery.Ack
    })

  const addresses = Layer.mergeAll(
    Settings.layer({ url: yield* Config.String("BLAZE_URL"), apiUrl: yield* Config.String("BLAZE_API_URL") })
  )
  // The periods of a real bot, shortened through its public settings.
  const soon = Layer.mergeAll(
    Settings.layer({
      pingPeriod: "200 millis",
      handshakeTimeout: "1 second",
      requestTimeout: "1 second",
      reconnect: Reconnect.jittered(Schedule.min([Schedule.exponential("10 millis"), Schedule.spaced("200 millis")])),
      stableAfter: "2 seconds",
      acknowledgeBatch: 100,
      acknowledgeWithin: "50 millis",
      acknowledgeRetry: Schedule.spaced("50 millis"),
      defer: Schedule.spaced("200 millis"),
      deferredMessages: 50,
      deferredBytes: 1024 * 1024,
      sendRetry: Schedule.spaced("50 millis")
    }),
    // One damaged frame is never the same twice here, so nothing may be passed over.
    Settings.layer({ badFrameTolerance: Infinity })
  )
  yield* Bot.run(handler, {
    timeout: "300 millis",
    retry: Schedule.spaced("20 millis").pipe(Schedule.upTo({ times: 2 })),
    onFailure: () => Effect.succeed(Delivery.Defer)
  }).pipe(
    Effect.provideService(Keyed.Grace, "2 seconds"),
    Effect.provide(
      (database === ""
        ? NodeBlaze.layer(Signer.layerConfig, { acks })
        : NodeBlaze.layer(Signer.layerConfig, { acks, store: SqlStore.layer }).pipe(
            Layer.provide(NodeSqlite.layer({ filename: database }))
          )
      ).pipe(Layer.provide([addresses, soon]))
    ),
    Effect.ensuring(Effect.sync(heap))
  )
})

program.pipe(Effect.provide(Logger.layer([])), NodeRuntime.runMain({ disableErrorReporting: true }))
