// The bot of the durable run. It writes down what its handlers do, synchronously: a line is what (B begun, R returned) and the id.
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Logger, Option, Schema } from "effect"
import { Blaze, Bot, Delivery, Ids, Sender, Settings, State } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { existsSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"

const Told = State.conversation("told", Schema.Array(Schema.String))

const program = Effect.gen(function* () {
  const directory = yield* Config.String("DIRECTORY")
  const file = openSync(join(directory, "record"), "a")
  const record = (what: string, id: string) => void writeSync(file, `${what} ${id}\n`)
  const marker = join(directory, "put aside")
  const people = (yield* Config.String("PEOPLE")).split(",").map((id) => Ids.UserId.make(id))

  const handler = Bot.match({
    Text: Effect.fnUntraced(function* (delivery) {
      const { id, text } = delivery.message
      record("B", id)
      if (text === "later" && !existsSync(marker)) {
        writeFileSync(marker, "")
        return Delivery.deferFor("200 millis")
      }
      const told = delivery.state(Told)
      const before = Option.getOrElse(yield* told.get, (): ReadonlyArray<string> => [])
      yield* told.set([...before, text])
      yield* delivery.reply(`echo ${text}`)
      yield* delivery.reply(`number ${before.length + 1}`)
      if (text === "one") {
        const blaze = yield* Blaze.Blaze
        const note = { id: yield* delivery.derive("note"), durable: true } as const
        yield* blaze.send({ user: people[0]! }, "a note", note)
      }
      if (text === "four") {
        const sender = yield* Sender.Sender
        const announcement = yield* Effect.forEach(people, (user) =>
          Effect.map(sender.derive("announcement", user), (id) => ({ to: { user }, content: "announced", id }))
        )
        // Nobody waits for what becomes of it.
        yield* Effect.asVoid(sender.store(announcement))
      }
      record("R", id)
      return Delivery.Ack
    }),
    orElse: () => Effect.void
  })

  const soon = Settings.layer({ acknowledgeWithin: "50 millis", acknowledgeBatch: 2 })
  yield* Bot.run(handler).pipe(
    Effect.provide(NodeBlaze.layerDurable({ filename: join(directory, "bot.sqlite") }).pipe(Layer.provide(soon)))
  )
})

program.pipe(Effect.provide(Logger.layer([])), NodeRuntime.runMain({ disableErrorReporting: true }))
