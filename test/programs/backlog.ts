// A server with a backlog, and a bot in a process of its own that works it off; tells how it went. COUNT, and what backlog-bot.ts takes.
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Schedule } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { outcome, program } from "../support.ts"

Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const count = yield* Config.Int("COUNT")
  const setting = Effect.fnUntraced(function* (name: string) {
    return { [name]: yield* Config.String(name) }
  })
  const settings = yield* Effect.forEach(["BOUND", "OVERFLOW", "WORK", "ACKS"], setting)
  const bot = yield* server.makeBot
  const people = yield* Effect.forEach(Array.from({ length: 100 }), (_, n) => server.user(bot, `person ${n}`))
  for (let n = 0; n < count; n++) yield* people[n % people.length]!.say(`message ${n}`)
  const process = yield* program("test/programs/backlog-bot.ts", {
    ...local.environment(bot),
    ...Object.assign({}, ...settings),
    // What is not bounded does not fit.
    NODE_OPTIONS: "--max-old-space-size=200"
  })
  yield* Effect.map(bot.pending, ({ length }) => length).pipe(
    Effect.repeat({ until: (length) => length === 0, schedule: Schedule.spaced("200 millis") }),
    // Only a hang takes so long.
    Effect.timeoutOption("10 minutes")
  )
  const left = (yield* bot.pending).length
  yield* Effect.forkChild(process.kill({ killSignal: "SIGINT" }))
  const { output } = yield* outcome(process)
  const sent = yield* bot.sent
  yield* Console.log(
    JSON.stringify({
      ...JSON.parse(output),
      left,
      sent: sent.length,
      attempts: sent.reduce((sum, { attempts }) => sum + attempts, 0),
      connections: yield* bot.handshakes,
      listings: (yield* bot.requests).flat().filter((action) => action === "LIST_PENDING_MESSAGES").length
    })
  )
}).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(NodeServices.layer, LocalServer.layer())), NodeRuntime.runMain)
