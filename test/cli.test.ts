// The package's command, each of its parts in a process of its own.
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result, Schedule, Stream } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundled } from "./bundled.ts"
import { eventually, listen, outcome, program } from "./support.ts"

const directory = mkdtempSync(join(tmpdir(), "effect-blaze-cli-"))

type Environment = Record<string, string>

const command = (environment: Environment, ...args: ReadonlyArray<string>) =>
  bundled("src/cli/bin.ts", { PATH: process.env["PATH"]!, ...environment }, args)

const ran = (environment: Environment, ...args: ReadonlyArray<string>) =>
  Effect.flatMap(command(environment, ...args), outcome).pipe(Effect.scoped)

/** A server in this process, and a bot there whose keystore is in a file. */
const world = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  const { BLAZE_API_URL, BLAZE_URL, no_proxy } = local.environment(bot)
  const keystore = join(directory, `${bot.userId}.json`)
  writeFileSync(keystore, bot.keystore)
  return { alice, bot, environment: { BLAZE_API_URL, BLAZE_URL, no_proxy }, keystore, server }
})

const test = <E>(
  title: string,
  body: Effect.Effect<void, E, BlazeServer.BlazeServer | LocalServer.LocalServer | NodeServices.NodeServices>
) => it.live(title, () => body.pipe(Effect.provide(Layer.merge(Layer.fresh(LocalServer.layer()), NodeServices.layer))))

describe("effect-blaze serve", () => {
  it.live("is a server that a bot joins with what it says, and where people say what is typed", () =>
    Effect.gen(function* () {
      const keystore = join(directory, "served.json")
      const typed = Stream.make("hello\n", "bob: and me\n").pipe(
        // Not before the bot is there: what it had not heard of it would have listed, too.
        Stream.schedule(Schedule.spaced("10 millis")),
        Stream.encodeText
      )
      const served = yield* listen(
        yield* bundled("src/cli/bin.ts", {}, ["serve", "--json", "--keystore", keystore], typed)
      )
      yield* served.says("\n")
      const { apiUrl, keystore: path, url } = JSON.parse(served.output().split("\n")[0]!)
      assert.strictEqual(path, keystore)
      assert.strictEqual(statSync(keystore).mode & 0o777, 0o600)
      assert.match(url, /^ws:\/\/127\.0\.0\.1:/)
      yield* program("docs/examples/echo.ts", { BLAZE_URL: url, BLAZE_API_URL: apiUrl, BLAZE_KEYSTORE: keystore })
      const replies = () =>
        served
          .output()
          .split("\n")
          .flatMap((line) => (line.includes('"Replied"') ? [JSON.parse(line)] : []))
          .map(({ text, to }) => `${to} ${text}`)
      yield* eventually(Effect.sync(() => replies().length === 2))
      assert.deepStrictEqual(
        replies()
          .map((line) => line.split(" ")[0])
          .toSorted(),
        ["alice", "bob"]
      )
      assert.include(replies().join(), "and me")
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )
})

describe("effect-blaze serve, and a keystore file", () => {
  it.live("writes over none that it has not written, and has the same bot for one that it has", () =>
    Effect.gen(function* () {
      const mine = join(directory, "mine.json")
      writeFileSync(mine, '{"app_id":"mine"}')
      const refused = yield* ran({}, "serve", "--keystore", mine)
      assert.strictEqual(refused.code, 1)
      assert.include(refused.output, "is there already, and no keystore of this server")
      assert.strictEqual(readFileSync(mine, "utf8"), '{"app_id":"mine"}')
      const again = join(directory, "again.json")
      const first = Effect.gen(function* () {
        const served = yield* listen(yield* command({}, "serve", "--json", "--keystore", again))
        yield* served.says("\n")
        return readFileSync(again, "utf8")
      }).pipe(Effect.scoped)
      assert.strictEqual(yield* first, yield* first)
      for (const [args, problem] of [
        [["--port", "99999"], "99999 is no port"],
        [["--people", "a:b,"], "is no name"],
        [["--keystore", directory], "cannot be written"]
      ] as const) {
        const wrong = yield* ran({}, "serve", ...args)
        assert.strictEqual(wrong.code, 1, wrong.output)
        assert.match(wrong.output, new RegExp(problem))
        assert.notInclude(wrong.output, "    at ")
      }
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe("effect-blaze create", () => {
  it.live("makes a project where there is nothing, and only there", () =>
    Effect.gen(function* () {
      const made = join(directory, "my-bot")
      assert.strictEqual((yield* ran({}, "create", made)).code, 0)
      const { dependencies, name } = JSON.parse(readFileSync(join(made, "package.json"), "utf8"))
      assert.strictEqual(name, "my-bot")
      assert.strictEqual(dependencies.effect, "^4.1.0")
      const again = yield* ran({}, "create", made)
      assert.strictEqual(again.code, 1)
      assert.include(again.output, "is not empty")
      assert.include((yield* ran({}, "create", join(directory, "My Bot"))).output, "is no name of a package")
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe("effect-blaze listen", () => {
  test(
    "says nothing but messages where a program reads it, whatever becomes of the connection",
    Effect.gen(function* () {
      const { alice, bot, environment, keystore } = yield* world
      const handle = yield* command(environment, "listen", "--json", "-k", keystore)
      let output = ""
      yield* handle.stdout.pipe(
        Stream.decodeText(),
        Stream.runForEach((text) => Effect.sync(() => (output += text))),
        Effect.forkScoped
      )
      yield* alice.say("one")
      yield* eventually(Effect.sync(() => output.includes('"one"')))
      yield* bot.cut
      yield* alice.say("two")
      yield* eventually(Effect.sync(() => output.includes('"two"')))
      for (const line of output.trim().split("\n")) assert.property(JSON.parse(line), "messageId")
    }).pipe(Effect.scoped)
  )

  test(
    "shows what comes and leaves it to the bot, unless it is told to take it",
    Effect.gen(function* () {
      const { alice, bot, environment, keystore } = yield* world
      yield* alice.say("before\u0007\u001b[2J")
      const heard = yield* listen(yield* command(environment, "listen", "-k", keystore))
      yield* heard.says("PLAIN_TEXT  before  [2J")
      yield* alice.say("after")
      yield* heard.says("after")
      assert.lengthOf(yield* bot.pending, 2)
      const taken = yield* listen(yield* command(environment, "listen", "-k", keystore, "--json", "--acknowledge"))
      yield* taken.says('"text":"after"')
      yield* eventually(Effect.map(bot.pending, ({ length }) => length === 0))
    }).pipe(Effect.scoped)
  )
})

describe("effect-blaze send", () => {
  test(
    "sends to one, and to many, each once for a key; and ends with 1 where somebody could not be reached",
    Effect.gen(function* () {
      const { alice, bot, environment, keystore, server } = yield* world
      const bob = yield* server.user(bot, "bob")
      const carol = yield* server.user(bot, "carol")
      for (const person of [alice, bob]) yield* person.addBot
      const send = (...args: ReadonlyArray<string>) => ran(environment, "send", "-k", keystore, ...args)

      const one = yield* send("--to", alice.userId, "Hello")
      assert.strictEqual(one.code, 0)
      assert.deepStrictEqual(yield* alice.reads, ["Hello"])

      const users = join(directory, "users.txt")
      writeFileSync(users, `${alice.userId}\n\n${bob.userId}\n`)
      for (let n = 0; n < 2; n++) {
        const many = yield* send("--users", users, "--key", "sale", "It begins.")
        assert.strictEqual(many.code, 0)
        assert.include(many.output, "2 sent, 0 refused")
      }
      assert.deepStrictEqual(yield* bob.reads, ["It begins."])

      const twice = yield* send("--to", bob.userId, "--to", bob.userId.toUpperCase(), "--json", "Once.")
      assert.strictEqual(twice.code, 0)
      assert.include(JSON.parse(twice.output), { _tag: "Accepted", userId: bob.userId })
      assert.deepStrictEqual(yield* bob.reads, ["It begins.", "Once."])

      const refused = yield* send("--users", users, "--to", carol.userId, "--key", "sale", "It begins.")
      assert.strictEqual(refused.code, 1)
      assert.include(refused.output, "2 sent, 1 refused")
      for (const [args, problem] of [
        [["--users", users, "no key"], "Say --key WORD"],
        [["nobody"], "Say to whom"],
        [["--to", bob.userId, "--key", "", "hi"], "The --key is empty"],
        [["--to", "bob", "hi"], '"bob" is not the id of a user'],
        [["--users", join(directory, "nowhere.txt"), "hi"], "cannot be read"]
      ] as const) {
        const wrong = yield* send(...args)
        assert.strictEqual(wrong.code, 1)
        assert.include(wrong.output, problem)
      }
    })
  )
})

describe("effect-blaze doctor", () => {
  const steps = [
    "keystore",
    "settings",
    "API: name",
    "API: connection",
    "Blaze: name",
    "Blaze: connection",
    "clock",
    "token",
    "messages"
  ]
  const findings = (output: string) =>
    output.split("\n").flatMap((line) => {
      const [, well, step, text] = /^(ok|NO) {2}(\w+(?:: (?:name|connection|TLS))?): (.*)$/.exec(line) ?? []
      return step === undefined ? [] : [{ isWell: well === "ok", step, text: text! }]
    })

  test(
    "says of each step that it is well, where it is, and shows nothing of the keystore",
    Effect.gen(function* () {
      const { alice, bot, environment, keystore } = yield* world
      yield* alice.say("waits")
      const { code, output } = yield* ran(environment, "doctor", "-k", keystore)
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(
        findings(output).map(({ isWell, step }) => `${isWell} ${step}`),
        steps.map((step) => `true ${step}`)
      )
      for (const secret of Object.values(JSON.parse(readFileSync(keystore, "utf8")) as Record<string, string>)) {
        assert.notInclude(output, secret)
      }
      assert.lengthOf(yield* bot.pending, 1)
    })
  )

  test(
    "stops at what is not well, and says what to do about it",
    Effect.gen(function* () {
      const { bot, environment, keystore, server } = yield* world
      const file = (name: string, text: string) => {
        const path = join(directory, name)
        writeFileSync(path, text)
        return path
      }
      const other = JSON.parse(bot.keystore) as Record<string, string>
      const stranger = { ...other, app_id: "99999999-9999-4999-8999-999999999999" }
      const troubles: ReadonlyArray<
        readonly [path: string, step: string, text: RegExp, given?: Environment, fault?: Effect.Effect<void>]
      > = [
        ["", "keystore", /must be set to the path/],
        [join(directory, "nowhere.json"), "keystore", /a file that can be read \(there is none\)/],
        [directory, "keystore", /it is a directory/],
        [file("empty.json", ""), "keystore", /it is empty: download it again/],
        [file("key.json", "-----BEGIN PRIVATE KEY-----"), "keystore", /it is a key alone/],
        [file("page.json", "<html>"), "keystore", /it is a web page/],
        [file("half.json", '{"app_id": "8'), "keystore", /download it again/],
        [file("id.json", JSON.stringify({ ...other, app_id: "8" })), "keystore", /app_id/],
        [
          file("short.json", JSON.stringify({ ...other, session_private_key: "00" })),
          "keystore",
          /session_private_key/
        ],
        [file("oauth.json", JSON.stringify({ ...other, authorization_id: other["session_id"] })), "keystore", /OAuth/],
        [keystore, "settings", /address|begin/, { BLAZE_URL: "nonsense" }],
        [keystore, "settings", /address|begin/, { BLAZE_URL: "http://127.0.0.1:9/" }],
        [keystore, "settings", /HTTPS_PROXY or ALL_PROXY/, { http_proxy: "::::", no_proxy: "" }],
        [keystore, "API: name", /Cannot reach blaze\.invalid/, { BLAZE_API_URL: "https://blaze.invalid" }],
        [keystore, "API: connection", /ECONNREFUSED/, { BLAZE_API_URL: "http://127.0.0.1:9" }],
        [
          keystore,
          "API: TLS",
          /Cannot reach 127\.0\.0\.1/,
          { BLAZE_API_URL: environment.BLAZE_API_URL.replace("http", "https") }
        ],
        [keystore, "Blaze: connection", /ECONNREFUSED/, { BLAZE_URL: "ws://127.0.0.1:9/" }],
        [keystore, "API: connection", /ECONNREFUSED/, { http_proxy: "http://127.0.0.1:9", no_proxy: "" }],
        [file("stranger.json", JSON.stringify(stranger)), "token", /check that the keystore belongs to this bot/],
        [keystore, "clock", /10m apart, .*set the clock/, {}, server.setClockOffset("10 minutes")],
        [
          keystore,
          "messages",
          /refused with HTTP status 503/,
          {},
          server.inject({ _tag: "RefuseHandshake", status: 503 })
        ],
        [keystore, "messages", /too old/, {}, server.inject({ _tag: "ErrorFrame", code: 10006 })],
        [keystore, "messages", /./, {}, server.inject({ _tag: "DropConnection" })]
      ]
      for (const [path, step, text, given = {}, fault = Effect.void] of troubles) {
        yield* fault
        const args = path === "" ? ["doctor"] : ["doctor", "-k", path]
        const { code, output } = yield* ran({ ...environment, ...given }, ...args)
        yield* Effect.andThen(server.heal, server.setClockOffset(0))
        const last = findings(output).at(-1)
        assert.strictEqual(code, 1, output)
        assert.strictEqual(last?.step, step, output)
        assert.isFalse(last?.isWell, output)
        assert.match(last?.text ?? "", text, output)
        assert.include(output, "The bot cannot work as it is: see what is told with NO.")
      }
      assert.isAtLeast(troubles.length, 22)
    })
  )

  test(
    "says why a bot is silent that is connected: what waits, encrypted or in groups, and who else takes it",
    Effect.gen(function* () {
      const { alice, bot, environment, keystore, server } = yield* world
      const why = (path: string) => Effect.flatMap(command(environment, "doctor", "-k", path, "--why-silent"), listen)
      const told = (output: string) =>
        Object.fromEntries(
          findings(output)
            .slice(steps.length)
            .map(({ isWell, step, text }) => [step, `${isWell} ${text}`])
        )

      // One that runs: nothing waits.
      const well = yield* Effect.flatMap(why(keystore), ({ ended }) => ended)
      assert.strictEqual(well.code, 0, well.output)
      const nothing = told(well.output)
      assert.include(nothing["waiting"], `true nothing waits for `)
      assert.include(nothing["waiting"], bot.identityNumber)
      assert.include(nothing["others"], "true nothing waits by which")

      yield* server.setEncryption(bot, true)
      for (const text of ["one", "two"]) yield* alice.say(text)
      yield* server.setEncryption(bot, false)
      const group = yield* server.group(bot, [alice])
      yield* alice.say("to all", group)
      const waiting = (yield* bot.pending).length
      const silent = yield* Effect.flatMap(why(keystore), ({ ended }) => Effect.result(ended))
      assert.isTrue(Result.isSuccess(silent) && silent.success.code === 1)
      const found = told(Result.getOrThrow(silent).output)
      assert.match(found["waiting"]!, new RegExp(`^false ${waiting} messages wait for .*, the oldest for `))
      assert.match(found["encryption"]!, /^true 2 of \d+ are encrypted, which this library reads/)
      assert.match(found["groups"]!, new RegExp(`^true [12] of what waits are from groups, .*@${bot.identityNumber}`))
      assert.include(found["others"], "true nobody else takes what waits")

      // A bot that runs: what it takes does not wait.
      yield* command(environment, "listen", "-k", keystore, "--acknowledge")
      yield* eventually(Effect.map(bot.pending, ({ length }) => length === 0))
      const talking = yield* Effect.forkScoped(Effect.forever(Effect.delay(alice.say("hello?"), "100 millis")))
      const busy = yield* Effect.flatMap(why(keystore), ({ ended }) => ended)
      yield* Fiber.interrupt(talking)
      assert.match(
        told(busy.output)["others"]!,
        /^true a process with this keystore runs and takes messages: \d+ of \d+/
      )
    }).pipe(Effect.scoped)
  )

  test(
    "speaks Chinese where the environment does",
    Effect.gen(function* () {
      const { alice, environment, keystore } = yield* world
      yield* alice.say("waits")
      const chinese = { ...environment, LANG: "zh_CN.UTF-8" }
      const { code, output } = yield* ran(chinese, "doctor", "-k", keystore, "--why-silent")
      assert.strictEqual(code, 1)
      const all = findings(output)
      assert.lengthOf(all, steps.length + 4)
      for (const { step, text } of all) assert.match(text, /\p{Script=Han}/u, step)
      assert.include(output, "有 1 条消息在等待")
      assert.include(output, "机器人现在无法工作")
      for (const [given, args, step, text] of [
        [{}, ["-k", join(directory, "nowhere.json")], "keystore", "密钥文件（keystore）无法使用"],
        [{ BLAZE_API_URL: "http://127.0.0.1:9" }, ["-k", keystore], "API: connection", "连不上主机"],
        [{ LC_ALL: "C", LANG: "zh_CN" }, ["-k", join(directory, "nowhere.json")], "keystore", "The keystore"]
      ] as const) {
        const failed = yield* ran({ ...chinese, ...given }, "doctor", ...args)
        const last = findings(failed.output).at(-1)
        assert.strictEqual(last?.step, step)
        assert.include(last?.text, text)
      }
    })
  )

  test(
    "says that an RSA key reads nothing that is encrypted",
    Effect.gen(function* () {
      const { environment, server } = yield* world
      const bot = yield* Effect.orDie(server.makeBotWith({ algorithm: "RS512" }))
      const alice = yield* server.user(bot, "alice")
      yield* alice.send("ENCRYPTED_TEXT", new Uint8Array(100))
      const keystore = join(directory, "rsa.json")
      writeFileSync(keystore, bot.keystore)
      const { code, output } = yield* ran(environment, "doctor", "-k", keystore, "--why-silent")
      assert.strictEqual(code, 1)
      assert.include(output, "keystore: one bot, one session, an RSA key")
      assert.match(output, /NO {2}encryption: 1 of 1 are encrypted, and nobody reads them with an RSA key/)
      assert.match(output, /ok {2}others: nobody else takes what waits/)
      assert.lengthOf(yield* bot.pending, 1)
    })
  )

  test(
    "takes a bot for well that reaches one of several addresses, as a bot does",
    Effect.gen(function* () {
      const { environment, keystore } = yield* world
      const given = { ...environment, BLAZE_URL: `ws://127.0.0.1:9/,${environment.BLAZE_URL}` }
      const { code, output } = yield* ran(given, "doctor", "-k", keystore, "--json")
      assert.strictEqual(code, 0, output)
      const steps = output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { readonly isWell: boolean; readonly step: string })
      assert.deepStrictEqual(
        steps.filter(({ isWell }) => !isWell).map(({ step }) => step),
        ["Blaze: connection"]
      )
    })
  )
})
