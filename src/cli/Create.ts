/**
 * `effect-blaze create`: a project with a bot, its test, and a page to try it on.
 *
 * Guarantee: what is made type-checks and passes its test as it is; nothing that is there is written over.
 *
 * @since 0.1.0
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Common from "./Common.ts"
import manifest from "../../package.json" with { type: "json" }

const bot = `// What the bot says. It knows nothing of where it runs: the test and main.ts provide that.
import { Effect, Option, Schema } from "effect"
import { Bot, State } from "effect-blaze"

/** What is remembered of each conversation; stored together with the message that it is about. */
const Visits = State.conversation("visits", Schema.Int)

export const bot = Bot.match({
  Text: Effect.fnUntraced(function* (delivery) {
    const visits = delivery.state(Visits)
    const count = Option.getOrElse(yield* visits.get, () => 0) + 1
    yield* visits.set(count)
    yield* delivery.reply(\`\${count}: \${delivery.message.text}\`)
  }),
  orElse: () => Effect.void // seen, nothing to do: acknowledged
})
`

const main = (
  name: string
) => `// The bot on Mixin, or on any server that the environment names. What it has handled and what it remembers is in a file.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { bot } from "./bot.ts"

Bot.run(bot).pipe(Effect.provide(NodeBlaze.layerDurable({ filename: "${name}.sqlite" })), NodeRuntime.runMain)
`

const test = `// No network and no real time: a person talks to the bot, and the test decides how much time passes.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { bot } from "../src/bot.ts"

it.effect("counts what somebody says, and says it back", () =>
  Effect.gen(function* () {
    const alice = yield* BlazeTest.user("alice")
    yield* Effect.forkChild(Bot.run(bot))
    yield* alice.say("hi")
    yield* alice.say("are you there?")
    yield* BlazeTest.settle
    assert.deepStrictEqual(yield* alice.reads, ["1: hi", "2: are you there?"])
  }).pipe(Effect.provide(BlazeTest.layer))
)
`

const readme = (name: string) => `# ${name}

A bot for Mixin Messenger, on [effect-blaze](https://www.npmjs.com/package/effect-blaze).

\`\`\`sh
npm install
npm test
\`\`\`

Without an account: \`npm run dev\` runs the bot on this machine, with a page to talk to it, and begins it again when its code changes.

On Mixin: download the keystore of your bot from the dashboard, keep it out of version control, and \`BLAZE_KEYSTORE=keystore.json npm start\`. Where nothing happens, \`npx effect-blaze doctor\` says why.
`

const { devDependencies: versions, peerDependencies: peers } = manifest

/** The version of what finds effects that are made and never run. */
const checker = "0.45.0"

const packageJson = (name: string) => ({
  name,
  version: "0.1.0",
  private: true,
  type: "module",
  scripts: {
    start: "node src/main.ts",
    dev: "effect-blaze dev src/main.ts",
    test: "vitest run",
    check: "tsc && effect-tsgo diagnostics --project tsconfig.json --severity error --lspconfig {}"
  },
  dependencies: {
    "@effect/platform-node": peers["@effect/platform-node"],
    effect: peers.effect,
    "effect-blaze": `^${manifest.version}`
  },
  devDependencies: {
    "@effect/tsgo": checker,
    "@effect/vitest": versions["@effect/vitest"],
    "@types/node": versions["@types/node"],
    typescript: versions.typescript,
    vitest: versions.vitest
  },
  engines: manifest.engines
})

const tsconfig = {
  compilerOptions: {
    target: "ES2023",
    lib: ["ES2024"],
    types: ["node"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    erasableSyntaxOnly: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    noEmit: true
  },
  include: ["src", "test"]
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`

const filesOf = (name: string): ReadonlyArray<readonly [path: string, text: string]> => [
  ["package.json", json(packageJson(name))],
  ["tsconfig.json", json(tsconfig)],
  [".gitignore", "node_modules\n*.sqlite*\nkeystore*.json\n"],
  ["README.md", readme(name)],
  ["src/bot.ts", bot],
  ["src/main.ts", main(name)],
  ["test/bot.test.ts", test]
]

const create = Effect.fnUntraced(function* (directory: string) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.resolve(directory)
  const name = path.basename(target)
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name)) {
    return yield* Common.wrong(
      `${JSON.stringify(name)} is no name of a package: lower-case letters, digits, and - . _ between them.`
    )
  }
  const there = yield* Effect.orElseSucceed(files.readDirectory(target), (): Array<string> => [])
  if (there.length > 0) return yield* Common.wrong(`${target} is not empty.`)
  yield* Effect.gen(function* () {
    for (const [file, text] of filesOf(name)) {
      const whole = path.join(target, file)
      yield* files.makeDirectory(path.dirname(whole), { recursive: true })
      yield* files.writeFileString(whole, text)
    }
  }).pipe(Effect.catch(() => Common.wrong(`${target} cannot be written.`)))
  yield* Console.log(`${target} is there. Next:\n\n  cd ${directory}\n  npm install\n  npm test\n  npm run dev`)
})

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "create",
  {
    directory: Argument.String("directory").pipe(Argument.withDescription("Where; its last part is the project's name"))
  },
  ({ directory }) => create(directory)
).pipe(
  Command.withDescription("Makes a project with a bot, its test, and a page to try it on"),
  Command.withExamples([{ command: "effect-blaze create my-bot", description: "Made in ./my-bot" }])
)
