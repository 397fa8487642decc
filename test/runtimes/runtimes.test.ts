// The same bot on every runtime: npm run test:runtimes.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { ChildProcess } from "effect/process"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { fileURLToPath } from "node:url"
import { bundle } from "../bundled.ts"
import { eventually, listen } from "../support.ts"

const binary = (path: string) => fileURLToPath(new URL(`binaries/node_modules/${path}`, import.meta.url))

const web = "test/runtimes/bot.ts"
const node = "docs/examples/echo.ts"

const runtimes: ReadonlyArray<readonly [name: string, program: string, command: ReadonlyArray<string>]> = [
  ...["22", "24", "26"].flatMap((version) => {
    const command = [binary(`node-${version}/bin/node`)]
    return [
      [`Node ${version}, with effect-blaze/node`, node, command] as const,
      [`Node ${version}, with effect-blaze/web`, web, command] as const
    ]
  }),
  ["Bun, with effect-blaze/web", web, [binary("@oven/bun-linux-x64/bin/bun"), "run"]],
  ["Deno, with effect-blaze/web", web, [binary("@deno/linux-x64-glibc/deno"), "run", "--allow-all", "--no-config"]]
]

describe.each(runtimes)("a bot on %s", (_, program, [executable, ...args]) => {
  it.live("answers 500 messages in order over a connection that is cut, and closes with 1000", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const local = yield* LocalServer.LocalServer
      const bot = yield* server.makeBot
      const alice = yield* server.user(bot, "alice")
      const handle = yield* ChildProcess.make(executable!, [...args, yield* bundle(program)], {
        env: { ...local.environment(bot), NO_COLOR: "1" },
        extendEnv: true,
        stdin: "ignore"
      })
      const { ended, output } = yield* listen(handle)
      const has = (count: number) =>
        eventually(Effect.map(alice.reads, ({ length }) => length === count)).pipe(
          Effect.tapError(() => Effect.sync(() => console.error(output())))
        )
      yield* alice.say("0")
      yield* has(1)
      for (let n = 1; n < 250; n++) yield* alice.say(`${n}`)
      yield* has(250)
      yield* bot.cut
      for (let n = 250; n < 500; n++) yield* alice.say(`${n}`)
      yield* has(500)
      assert.deepStrictEqual(
        yield* alice.reads,
        Array.from({ length: 500 }, (_, n) => `${n}`)
      )
      yield* eventually(Effect.map(bot.pending, ({ length }) => length === 0))
      // While nothing comes it is not taken for dead.
      const handshakes = yield* bot.handshakes
      yield* eventually(Effect.map(bot.requests, (requests) => program === node || requests.at(-1)!.length > 1))
      assert.strictEqual(yield* bot.handshakes, handshakes)
      process.kill(Number(handle.pid), "SIGTERM")
      yield* Effect.ignore(ended)
      yield* eventually(Effect.map(bot.closeCodes, (codes) => codes.at(-1) === 1000))
    }).pipe(Effect.scoped, Effect.provide([Layer.fresh(LocalServer.layer()), NodeServices.layer]))
  )
})
