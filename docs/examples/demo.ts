// What npm start shows: the echo bot and people who talk to it, on a Blaze server of our own. With BLAZE_KEYSTORE set, the same bot on
// Mixin.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Fiber, Record, Redacted, Schedule, Stdio, Stream } from "effect"
import { BlazeSocket, Endpoint, MixinApi } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import { styleText } from "node:util"

const echo = (env: Record<string, Redacted.Redacted<string>>) =>
  ChildProcess.make(
    process.execPath,
    ["--conditions=effect-blaze-source", fileURLToPath(new URL("echo.ts", import.meta.url))],
    { env, extendEnv: true, stdin: "ignore", stdout: "inherit", stderr: "inherit" }
  )

// Ctrl-C here is Ctrl-C for the bot: it lets its handlers finish, acknowledges, and closes the connection.
const stop = (bot: ChildProcessSpawner.ChildProcessHandle) =>
  bot.kill({ killSignal: "SIGINT", forceKillAfter: "1 minute" }).pipe(Effect.ignore)

const spawn = (env: Record<string, Redacted.Redacted<string>>) =>
  Effect.acquireRelease(
    Effect.flatMap(ChildProcessSpawner.ChildProcessSpawner, (spawner) => spawner.spawn(echo(env))),
    stop
  )

const line = (who: string, what: string) => Console.log(`${styleText("cyan", who.padStart(8))}  ${what}`)
const note = (what: string) => Console.log(styleText("dim", `          ${what}`))
const messages = (count: number) => (count === 1 ? "1 message" : `${count} messages`)
const ticks = {
  SENT: styleText("dim", "✓ sent"),
  DELIVERED: styleText("dim", "✓✓ delivered"),
  READ: styleText("blue", "✓✓ read")
}

const narrate = Effect.fnUntraced(function* (server: BlazeServer.BlazeServer["Service"]) {
  const replies = new Map<string, { readonly to: string; readonly text: string; readonly ticks: Array<string> }>()
  yield* Stream.runForEach(server.events, (event) => {
    switch (event._tag) {
      case "Connected":
        return note("the bot is connected")
      case "Disconnected":
        return note(event.code === 1000 ? "the bot has closed the connection (1000)" : "the connection was cut")
      case "Refused":
        return note(`the bot was refused (${event.status})`)
      case "Said":
        return line(event.by, event.text)
      case "Replied":
        return Effect.sync(() => void replies.set(event.messageId, { ...event, ticks: [ticks.SENT] }))
      case "Receipt": {
        const reply = replies.get(event.messageId)
        reply?.ticks.push(ticks[event.status])
        return event.status === "READ" && reply
          ? line("bot", `${reply.text.padEnd(32)} ${styleText("dim", `to ${reply.to}`)}  ${reply.ticks.join("  ")}`)
          : Effect.void
      }
      case "Acknowledged":
        return note(`the bot has read ${messages(event.messageIds.length)}, acknowledged together`)
    }
  })
})

const until = (condition: Effect.Effect<boolean>) =>
  condition.pipe(
    Effect.repeat({ until: (done) => done, times: 1200, schedule: Schedule.spaced("50 millis") }),
    Effect.filterOrFail(
      (done) => done === true,
      () => "Nothing has happened for a minute."
    )
  )

const demo = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const stdio = yield* Stdio.Stdio
  const interactive = (yield* stdio.stdinIsTerminal) && (yield* stdio.stdoutIsTerminal)

  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  const bob = yield* server.user(bot, "bob")
  const you = yield* server.user(bot, "you")
  const people = [alice, bob, you]

  yield* note(`a Blaze server of your own listens on ${local.url}, nothing leaves this machine`)
  yield* Effect.forkScoped(narrate(server))
  yield* Effect.yieldNow
  const child = yield* spawn(Record.map(local.environment(bot), (value) => Redacted.make(value)))
  const ended = yield* Effect.forkScoped(child.exitCode)

  const readAll = Effect.forEach(people, (person) => person.reads)
  const answered = (count: number) =>
    until(Effect.map(readAll, (read) => read.reduce((sum, texts) => sum + texts.length, 0) >= count))
  const acknowledged = until(Effect.map(bot.pending, (pending) => pending.length === 0))

  const script = Effect.gen(function* () {
    yield* until(Effect.map(bot.connections, (open) => open === 1))
    yield* note("alice adds the bot, which Mixin greets in her name")
    yield* alice.addBot
    yield* answered(1)
    yield* alice.say("Hello, who are you?")
    yield* bob.say("I am here too.")
    yield* answered(3)
    yield* acknowledged
    yield* bot.cut
    yield* until(Effect.map(bot.closeCodes, (codes) => codes.length >= 1))
    yield* alice.say("Are you still there?")
    yield* bob.say("It does not hear us.")
    yield* answered(5)
    yield* acknowledged
  })

  const talk = Effect.gen(function* () {
    yield* note("now you: type a message and press Enter, Ctrl-C ends it")
    yield* Effect.forkScoped(Effect.repeat(readAll, Schedule.spaced("200 millis")))
    yield* stdio.stdin.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.filter((text) => text.trim() !== ""),
      Stream.runForEach((text) => you.say(text))
    )
  })

  const goodbye = Effect.gen(function* () {
    yield* stop(child)
    const { length: replies } = yield* bot.sent
    const { length: left } = yield* bot.pending
    // The server hears of the end after the bot's process has ended, and what it says about it is printed first.
    yield* Effect.ignore(until(Effect.map(bot.connections, (open) => open === 0)))
    yield* Effect.yieldNow
    yield* note(`${replies} replies, ${messages(left)} left unacknowledged, ${yield* bot.handshakes} connections`)
    yield* note("the bot is docs/examples/echo.ts; the README shows how to write your own")
  })

  yield* Effect.raceFirst(
    interactive ? Effect.andThen(script, talk) : script,
    Effect.flatMap(Fiber.join(ended), (code) => Effect.fail(`The bot ended with exit code ${code}.`))
  ).pipe(Effect.onExit(() => goodbye))
})

const onMixin = Effect.gen(function* () {
  // One connection and one request to see that it works at all: the bot itself would keep on trying to reach an unreachable server.
  yield* Effect.gen(function* () {
    yield* (yield* BlazeSocket.BlazeSocket).open
    yield* (yield* MixinApi.MixinApi).request(Endpoint.me, {})
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeBlaze.layerSocketConfig),
    Effect.mapError((error) => error.message)
  )
  yield* note("the echo bot goes to Mixin; write to it in Mixin Messenger, Ctrl-C ends it")
  const child = yield* spawn({})
  const code = yield* child.exitCode
  if (code !== 0) return yield* Effect.fail(`The bot ended with exit code ${code}.`)
})

const main = Effect.gen(function* () {
  if (process.env["BLAZE_KEYSTORE"] !== undefined) yield* onMixin
  else yield* Effect.provide(demo, LocalServer.layer())
})

main.pipe(
  Effect.scoped,
  Effect.tapError((problem) => Console.error(typeof problem === "string" ? problem : String(problem))),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    // Ctrl-C is how this program is meant to end.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
  })
)
