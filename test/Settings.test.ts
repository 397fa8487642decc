import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer } from "effect"
import { Blaze, Bot, Keyed, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { readFileSync } from "node:fs"

const from = (environment: Readonly<Record<string, string>>) =>
  Settings.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))))

describe("Settings", () => {
  it.effect("what is said in several Layers holds together, and the inner one of two that disagree", () =>
    Effect.gen(function* () {
      const beside = Layer.mergeAll(Settings.layer({ inboxMessages: 1 }), Settings.layer({ inboxBytes: 2 }))
      const { drainTimeout, inboxBytes, inboxMessages } = yield* Settings.current.pipe(
        Effect.provide(Settings.layer({ drainTimeout: 3 })),
        Effect.provide(beside),
        Effect.provide(Settings.layer({ drainTimeout: 4 }))
      )
      assert.deepStrictEqual([inboxMessages, inboxBytes, drainTimeout], [1, 2, 3])
    })
  )

  it.effect("two bots of one program have the settings that each was given", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const running = [0, 0]
      const botWith = Effect.fnUntraced(function* (bot: 0 | 1, maximumOpen: number) {
        const account = yield* server.makeBot
        const say = (n: number) => Effect.flatMap(server.user(account, `person ${n}`), (person) => person.say("hi"))
        const layer = Bot.layer(() =>
          Effect.andThen(
            Effect.sync(() => running[bot]!++),
            Effect.never
          )
        ).pipe(
          Layer.provide(Blaze.layer),
          Layer.provide(Layer.fresh(BlazeTest.layerTransport)),
          Layer.provide([Layer.succeed(BlazeTest.Account, account), Settings.layer({ maximumOpen, flushTimeout: 0 })])
        )
        return { layer, say }
      })
      const [few, many] = [yield* botWith(0, 2), yield* botWith(1, 4)]
      yield* Layer.build(Layer.mergeAll(few.layer, many.layer).pipe(Layer.provide(BlazeTest.layerPlatform)))
      for (let n = 0; n < 10; n++) {
        yield* few.say(n)
        yield* many.say(n)
        yield* BlazeTest.settle
      }
      assert.deepStrictEqual(running, [2, 4])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerServer), Effect.provideService(Keyed.Grace, 0))
  )

  it.effect("the environment comes over the program, variable by variable", () =>
    Effect.gen(function* () {
      const environment = {
        BLAZE_URL: "wss://one.example, wss://two.example",
        BLAZE_PING_PERIOD: "2 minutes",
        BLAZE_AWAIT_CLOCK: "true",
        BLAZE_INBOX_MESSAGES: "Infinity",
        BLAZE_ANSWER_SHARE: "0.5",
        BLAZE_DRAIN_TIMEOUT: ""
      }
      const settings = yield* Settings.current.pipe(
        Effect.provide(from(environment)),
        Effect.provide(Settings.layer({ pingPeriod: "1 second", requestTimeout: "1 second" }))
      )
      assert.deepStrictEqual(settings.url, ["wss://one.example", "wss://two.example"])
      assert.strictEqual(Duration.toMillis(settings.pingPeriod), 120_000)
      assert.deepStrictEqual(
        [settings.awaitClock, settings.inboxMessages, settings.answerShare, settings.requestTimeout],
        [true, Infinity, 0.5, "1 second"]
      )
      assert.strictEqual(settings.drainTimeout, Settings.defaults.drainTimeout)
    })
  )

  it.effect("looked at once for a layer, they are the same for all of it, but for a part that was given its own", () =>
    Effect.gen(function* () {
      const seen: Array<Settings.Checked> = []
      const room = () => Layer.effectDiscard(Effect.map(Settings.checked, (settings) => seen.push(settings)))
      const own = room().pipe(Layer.provide(Settings.layer({ inboxBytes: 7 })))
      const parts = Layer.provideMerge(own, Layer.provideMerge(room(), room()))
      yield* Layer.build(parts.pipe(Settings.checkedOnce, Layer.provide(Settings.layer({ inboxMessages: 5 }))))
      assert.strictEqual(seen[0], seen[1])
      assert.deepStrictEqual(
        seen.map(({ inboxBytes, inboxMessages }) => [inboxMessages, inboxBytes === 7]),
        [
          [5, false],
          [5, false],
          [5, true]
        ]
      )
    })
  )

  it.effect("a variable that cannot be read is refused by its name, and its value is not shown", () =>
    Effect.gen(function* () {
      for (const variable of ["BLAZE_PING_PERIOD", "BLAZE_AWAIT_CLOCK", "BLAZE_MAXIMUM_OPEN"]) {
        const error = yield* Effect.flip(Layer.build(from({ [variable]: "s3cret" })))
        assert.match(error.message, new RegExp(`^The option cannot be used: ${variable} must be`))
        assert.notInclude(error.message, "s3cret")
      }
    })
  )

  it("the page has every setting, with its default and its variable", () => {
    const page = readFileSync(new URL("../docs/settings.md", import.meta.url), "utf8")
    const rows = new Map(
      [...page.matchAll(/^\| `(\w+)` \| (.*?) \| (?:`(BLAZE_\w+)`)?/gm)].map(([, name, value, variable]) => [
        name!,
        { value: value!.replaceAll("`", ""), variable }
      ])
    )
    assert.deepStrictEqual([...rows.keys()].toSorted(), Object.keys(Settings.defaults).toSorted())
    for (const [name, value] of Object.entries(Settings.defaults)) {
      const row = rows.get(name)!
      if (typeof value === "object") {
        assert.isUndefined(row.variable, name)
        continue
      }
      assert.strictEqual(row.value, String(value), name)
      assert.strictEqual(row.variable, `BLAZE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`)
    }
  })
})
