// One runner of the cluster runs. It writes down what it does, synchronously: a line is the time, what (B begun with, R handled, H who holds
// the socket, L a line of the log), and an id or a text.
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Cause, Config, Effect, Layer, Logger, Option, References, Schema } from "effect"
import { Blaze, Bot, State } from "effect-blaze"
import { BlazeCluster, NodeBlazeCluster } from "effect-blaze/cluster"
import { now } from "./clock.ts"
import { openSync, writeSync } from "node:fs"

const Count = State.conversation("count", Schema.Int)

const file = openSync(process.env.RECORD!, "a")
const record = (what: string, text: string) =>
  void writeSync(file, `${now()} ${what} ${text.replaceAll("\n", " ").slice(0, 1000)}\n`)

const program = Effect.gen(function* () {
  const work = yield* Config.withDefault(Config.Int("WORK"), 0)
  const database = PgClient.layerConfig({
    url: Config.Redacted("DATABASE_URL"),
    maxConnections: Config.succeed(5)
  })

  const handler = Bot.match({
    Text: Effect.fnUntraced(function* (delivery) {
      const { id, text } = delivery.message
      record("B", id)
      const count = delivery.state(Count)
      const before = Option.getOrElse(yield* count.get, () => 0)
      if (work > 0) yield* Effect.sleep(work)
      yield* count.set(before + 1)
      yield* delivery.reply(`answer to ${text}`)
      if (Number(text) % 10 === 0) {
        const blaze = yield* Blaze.Blaze
        const id = yield* delivery.derive("note")
        yield* blaze.send({ user: delivery.message.senderId }, `note on ${text}`, { id, durable: true })
      }
      record("R", id)
    }),
    orElse: () => Effect.void
  })

  const tellHolder = Effect.gen(function* () {
    const { status } = yield* BlazeCluster.BlazeCluster
    let before = ""
    return yield* Effect.gen(function* () {
      const { holder } = yield* status
      const now = Option.getOrElse(holder, () => "")
      if (now !== before) record("H", now)
      before = now
    }).pipe(Effect.delay("50 millis"), Effect.forever)
  })

  yield* Effect.raceFirst(Bot.run(handler), tellHolder).pipe(
    Effect.provide(NodeBlazeCluster.layerConfig.pipe(Layer.provide(database)))
  )
})

const logger = Logger.make(({ cause, logLevel, message }) =>
  record(
    "L",
    `${logLevel} ${[message].flat().map(String).join(" ")}${cause.reasons.length > 0 ? ` ${Cause.pretty(cause)}` : ""}`
  )
)

program.pipe(
  Effect.provide(Logger.layer([logger])),
  Effect.provideService(References.MinimumLogLevel, "Info"),
  Effect.onExit((exit) => Effect.sync(() => record("E", exit._tag))),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
