// The REST operations of two published clients against the built-in server: each does what it is for.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { fork } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { keystoreOf2023 } from "./keystores.ts"
import type { Report, World } from "./operations.ts"

/** Runs a program of this folder until it has told everything. */
const reportsOf = (program: string, world: World) =>
  Effect.callback<ReadonlyArray<Report>>((resume) => {
    const reports: Array<Report> = []
    const child = fork(new URL(program, import.meta.url), [], {
      env: { INTEROP_WORLD: JSON.stringify(world) },
      execArgv: [],
      // Where mixin-node-sdk writes which sessions people have.
      cwd: mkdtempSync(join(tmpdir(), "interop-"))
    })
    child.on("message", (report) => void reports.push(report as Report))
    child.once("exit", () => resume(Effect.succeed(reports)))
    return Effect.sync(() => void (child.pid !== undefined && process.kill(child.pid, "SIGKILL")))
  })

/** Has a program do everything, and tells what it sent. */
const operate = Effect.fnUntraced(function* (
  program: string,
  keystoreOf: (bot: BlazeServer.BotAccount) => Record<string, string>
) {
  const server = yield* BlazeServer.BlazeServer
  const { apiUrl } = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  const bob = yield* server.user(bot, "bob")
  const pending = [yield* alice.say("one"), yield* alice.say("two")] as const
  const reports = yield* reportsOf(program, {
    keystore: keystoreOf(bot),
    apiUrl,
    alice: alice.userId,
    bob: bob.userId,
    aliceNumber: alice.identityNumber,
    contact: alice.conversationId,
    pending
  })
  const received = yield* alice.received
  const left = (yield* bot.pending).filter((id) => pending.includes(id))
  return {
    reports,
    problems: reports.filter(({ problem }) => problem !== undefined),
    categories: new Set((yield* bot.sent).map(({ category }) => category)),
    texts: received.filter(({ category }) => category === "PLAIN_TEXT").map(({ text }) => text),
    secrets: received.filter(({ category }) => category === "ENCRYPTED_TEXT").map(({ text }) => text),
    left
  }
})

const kinds = [
  "PLAIN_TEXT",
  "PLAIN_POST",
  "PLAIN_STICKER",
  "PLAIN_CONTACT",
  "PLAIN_IMAGE",
  "PLAIN_AUDIO",
  "PLAIN_VIDEO",
  "PLAIN_DATA",
  "PLAIN_LIVE",
  "PLAIN_LOCATION",
  "APP_CARD",
  "APP_BUTTON_GROUP",
  "MESSAGE_RECALL"
]

it.live("the official client does over REST what its messaging modules can, but for what a bot may not send", () =>
  Effect.gen(function* () {
    const { categories, left, problems, reports, texts } = yield* operate("official-rest.ts", ({ keystore }) =>
      JSON.parse(keystore)
    )
    // A notice of a transfer is Mixin's own: whoever sends one is refused, as anybody who makes up a category is.
    assert.deepStrictEqual(problems, [
      { operation: "message.sendTransfer", problem: "10002 The request data has invalid field." }
    ])
    assert.strictEqual(reports.length, 49)
    assert.sameMembers([...categories], kinds)
    // Without the one that it takes back.
    assert.deepStrictEqual(texts, ["one", "first of two", "second of two", "legacy", "any"])
    assert.deepStrictEqual(left, [])
  }).pipe(Effect.provide(LocalServer.layer()))
)

it.live("mixin-node-sdk does over REST what its messaging modules can", () =>
  Effect.gen(function* () {
    const { categories, left, problems, reports, secrets, texts } = yield* operate(
      "community-rest.ts",
      ({ keystore }) => keystoreOf2023(keystore)
    )
    assert.deepStrictEqual(problems, [])
    assert.strictEqual(reports.length, 39)
    assert.sameMembers([...categories], [...kinds, "ENCRYPTED_TEXT"])
    assert.deepStrictEqual(secrets, ["secret", "first secret", "second secret"])
    assert.deepStrictEqual(texts, ["one", "first of two", "second of two"])
    assert.deepStrictEqual(left, [])
  }).pipe(Effect.provide(LocalServer.layer()))
)
