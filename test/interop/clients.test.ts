// Two published clients against the built-in server: what they need from Mixin, they find here.
import { NodeServices } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Option, Schedule, Stream } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { type ChildProcess, fork } from "node:child_process"
import { randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { ChildProcess as EffectProcess } from "effect/process"
import { keystoreOf2023 } from "./keystores.ts"
import type { Report as BotReport } from "./bot.ts"
import type { Report as LedgerReport } from "./ledger.ts"
import type { Report as RestReport } from "./rest.ts"

const end = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    // The client has nothing that stops it for good, so it is not asked.
    process.kill(child.pid, "SIGKILL")
  })

/** Runs a program of this folder until the end of the scope; gives what it has told so far. */
const run = Effect.fnUntraced(function* <Report>(
  program: string,
  environment: Record<string, string>,
  args: ReadonlyArray<string> = []
) {
  const reports: Array<Report> = []
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      // Nothing else of the environment: no proxy, and no options of the runner.
      const child = fork(new URL(program, import.meta.url), args, { env: environment, execArgv: [] })
      child.on("message", (report) => void reports.push(report as Report))
      return child
    }),
    end
  )
  return Effect.sync(() => reports.slice())
})

/** A real socket takes its time: looks until the value is as expected, and shows the last one if that never happens. */
const eventually = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) => {
  let last: A | undefined
  return look.pipe(
    Effect.tap((value) => Effect.sync(() => void (last = value))),
    Effect.repeat({ until: holds, schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.die(new Error(`still ${JSON.stringify(last)}`))
    }),
    Effect.andThen(Effect.sync(() => last as A))
  )
}

const clients: ReadonlyArray<[name: string, program: string, keystoreOf: (keystore: string) => string]> = [
  ["the official client", "bot.ts", (keystore) => keystore],
  ["mixin-node-sdk", "community-bot.ts", (keystore) => JSON.stringify(keystoreOf2023(keystore))]
]

it.live.each(clients)("%s runs its bot against effect-blaze serve, with nothing but the addresses changed", (client) =>
  Effect.gen(function* () {
    const [, program, keystoreOf] = client
    const served = yield* EffectProcess.make(
      process.execPath,
      [
        "--conditions=effect-blaze-source",
        fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url)),
        "serve",
        "--json"
      ],
      { stdin: Stream.concat(Stream.encodeText(Stream.make("alice: hello\n")), Stream.never), extendEnv: true }
    )
    let output = ""
    yield* served.stdout.pipe(
      Stream.decodeText(),
      Stream.runForEach((text) => Effect.sync(() => (output += text))),
      Effect.forkScoped
    )
    const lines = Effect.sync(() => output.split("\n").filter((line) => line !== ""))
    const [first] = yield* eventually(lines, (all) => all.length > 0)
    const { apiUrl, keystore, url } = JSON.parse(first!)
    yield* run<BotReport>(program, {
      BLAZE_URL: url,
      BLAZE_API_URL: apiUrl,
      BLAZE_KEYSTORE: keystoreOf(readFileSync(keystore, "utf8"))
    })
    yield* eventually(lines, (all) =>
      all.some((line) => line.includes('"Replied"') && line.includes("you said: hello"))
    )
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

it.live("mixin-node-sdk reads what comes encrypted", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    yield* server.setEncryption(bot, true)
    const texts = ["a secret", "", "\u79d8\u5bc6 \u{1f512}", "x".repeat(10_000)]
    for (const text of texts) yield* alice.say(text)
    yield* run<BotReport>("community-bot.ts", {
      ...local.environment(bot),
      BLAZE_KEYSTORE: JSON.stringify(keystoreOf2023(bot.keystore))
    })
    const replies = texts.map((text) => `you said: ${text}`)
    assert.deepStrictEqual(yield* eventually(alice.reads, (all) => all.length >= texts.length), replies)
  }).pipe(Effect.provide(LocalServer.layer()))
)

it.live.each(clients)("%s connects, receives the backlog and what comes later, acknowledges, and replies", (client) =>
  Effect.gen(function* () {
    const [, program, keystoreOf] = client
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    const greeting = yield* alice.addBot
    const early = yield* alice.say("before it connected")

    const reports = yield* run<BotReport>(program, {
      ...local.environment(bot),
      BLAZE_KEYSTORE: keystoreOf(bot.keystore)
    })
    yield* eventually(bot.pending, (pending) => pending.length === 0)
    assert.strictEqual(yield* bot.connections, 1)
    const live = yield* alice.say("while it is connected")
    yield* eventually(bot.pending, (pending) => pending.length === 0)

    const heard = yield* eventually(
      Effect.map(reports, (all) => all.flatMap((report) => (report._tag === "Heard" ? [report] : []))),
      (messages) => messages.length >= 3
    )
    assert.deepStrictEqual(
      heard.map(({ messageId, source, text }) => [messageId, text, source]),
      [
        [greeting, "你好", "LIST_PENDING_MESSAGES"],
        [early, "before it connected", "LIST_PENDING_MESSAGES"],
        [live, "while it is connected", "CREATE_MESSAGE"]
      ]
    )
    const acknowledged = (yield* bot.acknowledged).flat()
    for (const id of [greeting, early, live]) assert.include(acknowledged, id)

    const replies = ["你好", "before it connected", "while it is connected"].map((text) => `you said: ${text}`)
    assert.deepStrictEqual(yield* eventually(alice.reads, (texts) => texts.length >= replies.length), replies)
    const sent = yield* bot.sent
    assert.deepStrictEqual(
      sent.map(({ attempts, conversationId, text }) => [attempts, conversationId, text]),
      replies.map((text) => [1, alice.conversationId, text])
    )
    // She has read the replies, and the client is told so.
    const read = yield* eventually(
      Effect.map(reports, (all) =>
        all.flatMap((r) => (r._tag === "Receipt" && r.status === "READ" ? [r.messageId] : []))
      ),
      (ids) => ids.length >= sent.length
    )
    assert.deepStrictEqual(
      read,
      sent.map(({ messageId }) => messageId)
    )

    assert.strictEqual(yield* bot.handshakes, 1)
    const [requests = []] = yield* bot.requests
    assert.strictEqual(requests[0], "LIST_PENDING_MESSAGES")
    assert.deepStrictEqual(
      (yield* reports).filter((report) => report._tag === "Failed"),
      []
    )
  }).pipe(Effect.provide(LocalServer.layer()))
)

it.live("the official client reads its profile and acknowledges over REST", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    const ids = [yield* alice.say("one"), yield* alice.say("two")]

    const reports = yield* run<RestReport>("rest.ts", local.environment(bot), ids)
    assert.deepStrictEqual(yield* eventually(reports, (all) => all.length === 2 || all.some(isFailure)), [
      { _tag: "Profile", userId: bot.userId },
      { _tag: "Acknowledged" }
    ])
    assert.deepStrictEqual(yield* bot.acknowledged, [ids])
    assert.deepStrictEqual(yield* bot.pending, [])
  }).pipe(Effect.provide(LocalServer.layer()))
)

it.live("the official client reads from the ledger what it was paid", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    const [asset, other, trace] = [randomUUID(), randomUUID(), randomUUID()]
    yield* alice.pay({ asset, amount: "2.50", memo: "tea", trace })
    yield* alice.pay({ asset: other, amount: "1" })

    const until = new Date(server.now() + 60_000).toISOString()
    const reports = yield* run<LedgerReport>("ledger.ts", local.environment(bot), [asset, until])
    const [report] = yield* eventually(reports, (all) => all.length > 0)
    assert(report?._tag === "Ledger", JSON.stringify(report))
    assert.deepStrictEqual(report.list, [report.one])
    const expected = { user_id: bot.userId, opponent_id: alice.userId, asset_id: asset, amount: "2.5", trace_id: trace }
    assert.deepInclude(report.one, { ...expected, memo: Buffer.from("tea").toString("hex") })
  }).pipe(Effect.provide(LocalServer.layer()))
)

const isFailure = (report: { readonly _tag: string }) => report._tag === "Failed"

it.live("the official client is refused with 401 when the session is another one", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const alice = yield* server.user(bot, "alice")
    const id = yield* alice.say("not for a stranger")
    const environment = {
      ...local.environment(bot),
      BLAZE_KEYSTORE: JSON.stringify({ ...JSON.parse(bot.keystore), session_id: randomUUID() })
    }
    const refusal = yield* server.events.pipe(
      Stream.filter((event) => event._tag === "Refused"),
      Stream.runHead,
      Effect.forkChild({ startImmediately: true })
    )

    const reports = yield* run<BotReport>("bot.ts", environment)
    assert.deepStrictEqual(yield* eventually(reports, (all) => all.length > 0), [
      { _tag: "Failed", problem: "Unexpected server response: 401" }
    ])
    assert.deepStrictEqual(yield* Fiber.join(refusal), Option.some({ _tag: "Refused", status: 401 }))
    assert.isAbove(yield* bot.handshakes, 0)
    assert.strictEqual(yield* bot.connections, 0)

    const rest = yield* run<RestReport>("rest.ts", environment, [id])
    assert.deepStrictEqual(yield* eventually(rest, (all) => all.length > 0), [
      { _tag: "Failed", code: 401, description: "Unauthorized, maybe invalid token." }
    ])
    assert.deepStrictEqual(yield* bot.pending, [id])
  }).pipe(Effect.provide(LocalServer.layer()))
)
