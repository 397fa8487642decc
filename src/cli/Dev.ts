/**
 * `effect-blaze dev`: a bot on the built-in server, and a page to talk to it.
 *
 * Guarantee: nothing of it leaves this machine; the bot begins again when its code changes, and what was said stays.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Stream from "effect/Stream"
import * as SynchronousCryptography from "../node/SynchronousCryptography.ts"
import * as LocalServer from "../testing/LocalServer.ts"
import * as Server from "../testing/BlazeServer.ts"
import * as Overheard from "../testing/internal/Overheard.ts"
import * as Common from "./Common.ts"
import * as BotProcess from "./dev/BotProcess.ts"
import * as Page from "./dev/Page.ts"
import * as Playground from "./dev/Playground.ts"
import * as Wiretap from "./dev/Wiretap.ts"

/** The first of some places, seen from this file, where something is. */
const firstOf = Effect.fnUntraced(function* (places: ReadonlyArray<string>) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const place of places) {
    const found = yield* path.fromFileUrl(new URL(place, import.meta.url))
    if (yield* files.exists(found)) return found
  }
  return yield* Common.wrong("Files that belong to it are missing: npm run build makes them.")
})

// Beside this file once it is built, and where it is built to before.
const page = firstOf(["../page/index.html", "../../dist/page/index.html"])

/** What tells of the bot's metrics, as Node takes it. */
const reporter = Effect.gen(function* () {
  const path = yield* Path.Path
  const address = yield* path.toFileUrl(yield* firstOf(["reporter.js", "dev/reporter.ts"]))
  address.searchParams.set("parent", String(process.pid))
  return address.href
})

const exportsBot = (code: string) =>
  /\bexport\s+(const|let|var|function\*?|class)\s+bot\b/.test(code) || /\bexport\s*\{[^}]*\bbot\b[^}]*\}/.test(code)

/** Where the handler is that a saved test runs: in the file that is run, or beside it. */
const handlerIn = Effect.fnUntraced(function* (file: string) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = path.dirname(file)
  const beside = yield* Effect.orElseSucceed(files.readDirectory(directory), () => [])
  const candidates = [
    file,
    ...beside.filter((name) => /^[^.]+\.[cm]?[jt]s$/.test(name)).map((name) => path.join(directory, name))
  ]
  for (const candidate of candidates) {
    const code = yield* Effect.orElseSucceed(files.readFileString(candidate), () => "")
    if (exportsBot(code)) return candidate
  }
  return file
})

/** Writes a test where tests are, under a name that is free. */
const saveIn = Effect.fnUntraced(function* (directory: string, code: string) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* files.makeDirectory(directory, { recursive: true })
  const maximum = 1000
  for (let number = 1; number < maximum; number++) {
    const file = path.join(directory, `conversation-${number}.test.ts`)
    const written = yield* Effect.result(files.writeFileString(file, code, { flag: "wx" }))
    if (written._tag === "Success") return file
    if (written.failure.reason._tag !== "AlreadyExists") return yield* written.failure
  }
  return yield* Effect.fail(new Error(`${directory} is full of conversations.`))
})

const run = Effect.fnUntraced(function* (options: {
  readonly file: string
  readonly people: string
  readonly port: number
  readonly wire: ReturnType<typeof Wiretap.make>
}) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const server = yield* Server.BlazeServer
  const local = yield* LocalServer.LocalServer
  const directory = path.resolve(".")
  const file = path.resolve(options.file)
  if (!(yield* files.exists(file))) return yield* Common.wrong(`${options.file} is not there.`)
  const pages = path.dirname(yield* page)
  const bot = yield* server.makeBot
  const { process, restart } = yield* BotProcess.make({
    command: [globalThis.process.execPath, "--enable-source-maps", "--import", yield* reporter, file],
    env: local.environment(bot),
    directory,
    heard: (line) => Console.log(Common.visible(line))
  })
  const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
  const tests = path.join(directory, "test")
  const playground = yield* Playground.make({
    bot,
    file: path.relative(directory, file),
    people: yield* Common.namesIn(options.people),
    process,
    wire: options.wire,
    restart,
    save: (code) =>
      Effect.map(Effect.provide(saveIn(tests, code), context), (saved) => path.relative(directory, saved)),
    handlerFile: Effect.map(Effect.provide(handlerIn(file), context), (handler) => {
      const relative = path.relative(tests, handler).split(path.sep).join("/")
      return relative.startsWith(".") ? relative : `./${relative}`
    })
  })
  const address = yield* Page.serve({ playground, directory: pages, port: options.port })
  yield* Console.log(`Talk to the bot at ${address}\nThat page is for this machine only. Ctrl-C ends it.`)
  yield* SubscriptionRef.changes(process).pipe(
    Stream.map(({ state }) => state),
    Stream.changes,
    Stream.runForEach((state) => {
      if (state._tag !== "Ended") return Effect.void
      return Console.log(`The bot ${state.how}; it begins again when a file changes.`)
    }),
    Effect.forkScoped
  )
  return yield* Effect.never
})

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "dev",
  {
    file: Argument.String("file").pipe(Argument.withDescription("The program that runs the bot: src/main.ts, say")),
    port: Common.port("Where the page is; a free port without it"),
    people: Common.people
  },
  ({ file, people, port }) =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const wire = Wiretap.make(() => clock.currentTimeMillisUnsafe())
      const server = Layer.fresh(LocalServer.layer()).pipe(Layer.provide(Layer.succeed(Overheard.Overheard, wire.hear)))
      return yield* run({ file, people, port, wire }).pipe(
        Effect.scoped,
        Effect.provide([server, SynchronousCryptography.layer])
      )
    }).pipe(Common.telling)
).pipe(
  Command.withDescription(
    "Runs a bot without an account, with a page to talk to it; begins it again when its code changes"
  ),
  Command.withExamples([{ command: "effect-blaze dev src/main.ts", description: "Run the bot of a project" }])
)
