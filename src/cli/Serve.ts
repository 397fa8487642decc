/**
 * `effect-blaze serve`: the built-in server, for bots in any language, and people who talk to them from the terminal.
 *
 * Guarantee: it listens on this machine only, and says where; what is typed is said, and what a bot answers is shown.
 *
 * @since 0.1.0
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as BlazeServer from "../testing/BlazeServer.ts"
import * as LocalServer from "../testing/LocalServer.ts"
import * as Server from "../testing/BlazeServer.ts"
import * as Common from "./Common.ts"

/** What is shown of what happens, in a line. */
const lineOf = (event: BlazeServer.Event): string => {
  switch (event._tag) {
    case "Connected":
      return "the bot is connected"
    case "Disconnected":
      return `the connection was closed (${event.code})`
    case "Refused":
      return `the bot was refused (${event.status})`
    case "Said":
      return `${event.by}: ${event.text}`
    case "Replied":
      return `bot to ${event.to}: ${event.text}${event.category === "PLAIN_TEXT" ? "" : ` (${event.category})`}`
    case "Receipt":
      return `${event.status.toLowerCase()}: ${event.messageId}`
    case "Acknowledged":
      return `acknowledged: ${event.messageIds.length}`
  }
}

/** Who says what: `alice: hello`, or a text for the first of them. */
const spoken = (line: string, people: ReadonlyArray<BlazeServer.Person>) => {
  const [, name, text] = /^([^:]+):(.*)$/.exec(line) ?? []
  const named = people.find((person) => person.name === name?.trim())
  return named === undefined ? { person: people[0], text: line } : { person: named, text: text!.trim() }
}

/** By which it is known again: what is in a file without it is somebody's, and stays. */
const mark = "effect-blaze serve"

const isMarked = (text: string) => {
  try {
    return (JSON.parse(text) as { readonly made_by?: unknown } | null)?.made_by === mark
  } catch {
    return false
  }
}

/** The bot of the keystore that an earlier run has left in the file, or a new one, whose keystore is written there. */
const botIn = Effect.fnUntraced(function* (file: Option.Option<string>) {
  const { makeBot, makeBotWith } = yield* Server.BlazeServer
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (Option.isSome(file)) {
    const there = yield* Effect.option(files.readFileString(file.value))
    if (Option.isSome(there)) {
      if (!isMarked(there.value)) {
        return yield* Common.wrong(
          `${file.value} is there already, and no keystore of this server: name a file that is not.`
        )
      }
      return { bot: yield* makeBotWith({ keystore: there.value }), keystore: path.resolve(file.value) }
    }
  }
  const bot = yield* makeBot
  const keystore = Option.isSome(file)
    ? path.resolve(file.value)
    : path.join(yield* files.makeTempDirectoryScoped({ prefix: "effect-blaze-" }), "keystore.json")
  const marked = { made_by: mark, ...(JSON.parse(bot.keystore) as object) }
  const text = `${JSON.stringify(marked, undefined, 2)}\n`
  yield* Effect.catch(files.writeFileString(keystore, text, { flag: "wx", mode: 0o600 }), () =>
    Common.wrong(`${keystore} cannot be written.`)
  )
  return { bot, keystore }
})

const quoted = (value: string) => (/^[\w@%+=:,./-]*$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

const run = Effect.fnUntraced(function* (options: {
  readonly json: boolean
  readonly keystore: Option.Option<string>
  readonly people: string
}) {
  const server = yield* Server.BlazeServer
  const { apiUrl, environment, url } = yield* LocalServer.LocalServer
  const stdio = yield* Stdio.Stdio
  const names = yield* Common.namesIn(options.people)
  const { bot, keystore } = yield* botIn(options.keystore)
  const people = yield* Effect.forEach(names, (name) => server.user(bot, name))

  if (options.json) {
    yield* Console.log(
      JSON.stringify({ url, apiUrl, keystore, people: people.map(({ name, userId }) => ({ name, userId })) })
    )
  } else {
    const lines = Object.entries({ ...environment(bot), BLAZE_KEYSTORE: keystore })
    yield* Console.log(
      [
        "A Blaze server listens on this machine, and on this machine only. A bot of this library joins it with",
        "",
        ...lines.map(([name, value]) => `  ${name}=${quoted(value)}`),
        "",
        `and any other with these addresses and this keystore. ${
          names.length === 0 ? "Nobody" : names.join(" and ")
        } can talk to it: type "${names[0] ?? "name"}: hello". Ctrl-C ends it.`
      ].join("\n")
    )
  }
  yield* server.events.pipe(
    Stream.runForEach((event) =>
      options.json
        ? Console.log(JSON.stringify(event))
        : event._tag === "Said"
          ? Effect.void
          : Console.log(Common.visible(lineOf(event)))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.runForEach((line) => {
      const { person, text } = spoken(line.trim(), people)
      return person === undefined || text === "" ? Effect.void : person.say(text)
    }),
    Effect.ignore,
    Effect.forkScoped
  )
  return yield* Effect.never
})

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "serve",
  {
    port: Common.port("Where it listens; a free port without it"),
    people: Common.people,
    keystore: Flag.String("keystore").pipe(
      Flag.withAlias("k"),
      Flag.withMetavar("FILE"),
      Flag.withDescription(
        "Where the bot's keystore is written, or was by an earlier run; a temporary file without it"
      ),
      Flag.optional
    ),
    json: Common.json("A line of JSON for each thing")
  },
  ({ json, keystore, people, port }) =>
    run({ json, keystore, people }).pipe(
      Effect.scoped,
      Effect.provide(Layer.fresh(LocalServer.layer({ port }))),
      Common.telling
    )
).pipe(
  Command.withDescription("Runs a Blaze server on this machine, without an account: for a bot in any language"),
  Command.withExamples([
    { command: "effect-blaze serve", description: "Listen on a free port, and talk to the bot that joins" },
    { command: "effect-blaze serve --port 8080 --keystore local.json --json", description: "For a script" }
  ])
)
