import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Queue,
  Result,
  Schedule,
  Scope,
  SubscriptionRef,
  Stream
} from "effect"
import { BlazeError, BlazeSocket, type Envelope, Message, MixinApi, Settings } from "effect-blaze"
import * as Connection from "../src/internal/Connection.ts"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { gzipSync } from "node:zlib"
import { setWall } from "./support.ts"
import * as Elapsed from "../src/internal/Elapsed.ts"
import type * as Session from "../src/internal/Session.ts"
import * as Meter from "../src/internal/Meter.ts"

const { pass } = BlazeTest

const every = { reconnect: Schedule.spaced("1 second"), stableAfter: "1 minute" } as const

const request =
  ({ session }: Connection.Connection["Service"]) =>
  (...parameters: Parameters<Session.Session["request"]>) =>
    Effect.flatMap(session, ({ request }) => request(...parameters))

/** Has the bot write to somebody. */
const write = (connection: Connection.Connection["Service"], to: BlazeServer.Person) =>
  request(connection)("CREATE_MESSAGE", {
    message_id: crypto.randomUUID(),
    conversation_id: to.conversationId,
    recipient_id: to.userId,
    category: "PLAIN_TEXT",
    data: "aGk"
  })

/** Has the server say on a connection that it does not take the bot any more. */
const refuse = Effect.flatMap(BlazeTest.Account, (bot) =>
  Effect.andThen(
    bot.push(gzipSync(JSON.stringify({ id: crypto.randomUUID(), action: "ERROR", error: { status: 202, code: 401 } }))),
    BlazeTest.settle
  )
)

/** A connection with the statuses it has had, written short. */
const scene = Effect.fnUntraced(function* (options?: {
  readonly settings?: Partial<Settings.Settings>
  readonly open?: Effect.Effect<BlazeSocket.Wire, BlazeError.BlazeError>
  readonly api?: Partial<MixinApi.MixinApi["Service"]>
  readonly logs?: Array<string>
}) {
  const scope = yield* Scope.make()
  const open = options?.open
  const measured: Array<string> = []
  const measure: Meter.Meter["Service"]["measure"] = ({ id }, value, label = "") =>
    void measured.push(`${id.replace("blaze_", "")}${label && ` ${label}`} ${value}`)
  const context = yield* Layer.buildWithScope(
    Connection.layer.pipe(
      Layer.provide(
        Layer.effect(
          MixinApi.MixinApi,
          Effect.map(MixinApi.MixinApi, (api) => ({ ...api, ...options?.api }))
        ).pipe(Layer.provide(BlazeTest.layerSocket))
      ),
      Layer.provide(
        open === undefined
          ? BlazeTest.layerSocket
          : Layer.merge(BlazeTest.layerSocket, Layer.succeed(BlazeSocket.BlazeSocket, { open }))
      ),
      Layer.provide([
        Layer.effect(
          Meter.Meter,
          Effect.map(Elapsed.now, (now) => ({ measure, now }))
        ),
        Settings.layer({ ...every, ...options?.settings }),
        ...(options?.logs === undefined
          ? []
          : [Logger.layer([Logger.make(({ message }) => void options.logs!.push(String(message)))])])
      ])
    ),
    scope
  )
  const connection = yield* Effect.provideContext(Connection.Connection, context)
  const first = yield* SubscriptionRef.get(connection.status)
  const statuses: Array<string> = []
  yield* Effect.forkChild(
    SubscriptionRef.changes(connection.status).pipe(
      Stream.map((status) => {
        if (status._tag === "Connecting") return `Connecting ${status.attempt}`
        if (status._tag === "Connected") return `Connected ${status.badFrames}`
        return `${status._tag} ${status.reason.reason._tag}`
      }),
      // `listed` changes too, see Listing.test.ts.
      Stream.changes,
      Stream.runForEach((status) => Effect.sync(() => statuses.push(status)))
    )
  )
  yield* BlazeTest.settle
  const texts = () => connection.inbox.take().map((message) => (message._tag === "Text" ? message.text : message._tag))
  return { connection, first, statuses, measured, texts, close: Scope.close(scope, Exit.void) }
})

/** A fact of the connection of now, or the state of one that there is not. */
const factOf = <A>(
  { status }: Connection.Connection["Service"],
  fact: (status: Extract<Connection.Status, { readonly _tag: "Connected" }>) => A
) => Effect.map(SubscriptionRef.get(status), (now) => (now._tag === "Connected" ? fact(now) : now._tag))

const test = (name: string, body: Effect.Effect<void, unknown, BlazeTest.Server | Scope.Scope>) =>
  it.effect(name, () => Effect.provide(body, BlazeTest.layerServer))

/** A wire that pushes messages by number. */
const numbers = Effect.gen(function* () {
  const frames = yield* Queue.unbounded<Uint8Array>()
  const push = (n: number) =>
    Effect.suspend(() => {
      Queue.offerUnsafe(frames, Uint8Array.of(n))
      return BlazeTest.settle
    })
  const ids: Array<string> = []
  const wire: BlazeSocket.Wire = {
    host: "memory",
    signedAt: 0,
    socket: undefined as never,
    envelopes: undefined as never,
    receive: Queue.takeAll(frames),
    isSaturated: () => false,
    decode: (frame) => {
      const n = Number(frame[0])
      const data: Envelope.MessageView = {
        message_id: String(n),
        category: "PLAIN_TEXT",
        data: Buffer.from(String(n)).toString("base64url")
      }
      return n === 0
        ? Result.succeed({ id: ids[0]!, action: "LIST_PENDING_MESSAGES" })
        : Result.succeed({ id: "push", action: "CREATE_MESSAGE", data })
    },
    send: ({ id }) =>
      Effect.sync(() => {
        ids.push(id)
        Queue.offerUnsafe(frames, Uint8Array.of(0))
      })
  }
  return { frames, push, wire }
})

/** A fiber that has so many operations behind it when it comes to an effect; it gives way at the 2 048th. */
const after = <A, E, R>(operations: number, effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(
    Effect.gen(function* () {
      for (let n = 0; n < operations; n++) yield* Effect.sync(() => {})
      return yield* effect
    }),
    { startImmediately: true }
  )

const reason = BlazeError.make(new BlazeError.Unauthorized({}))

const endOf = (exit: Exit.Exit<unknown, unknown> | undefined) => {
  assert(exit !== undefined && Exit.isFailure(exit))
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  return BlazeError.isBlazeError(error) ? error.reason._tag : "Done"
}

const text = (n: number): Message.Message =>
  Message.fromView({
    message_id: `00000000-0000-0000-0000-${String(n).padStart(12, "0")}`,
    category: "PLAIN_TEXT",
    data: Buffer.from(String(n)).toString("base64url")
  })

describe("status", () => {
  test(
    "is Connecting for the first time from its very beginning",
    Effect.gen(function* () {
      const { first } = yield* scene({ open: Effect.never })
      assert.deepStrictEqual(first, Connection.Status.Connecting({ attempt: 1 }))
    })
  )

  test(
    "tells since when it is connected, that nothing is listed at first, and that it is a second after the answer",
    Effect.gen(function* () {
      yield* pass(5000)
      const { connection } = yield* scene()
      const facts = factOf(connection, ({ badFrames, givenUp, listed, since }) => ({
        badFrames,
        givenUp,
        listed,
        since
      }))
      assert.deepStrictEqual(yield* facts, { badFrames: 0, givenUp: 0, listed: false, since: 5000 })
      yield* pass(1000)
      assert.deepStrictEqual(yield* facts, { badFrames: 0, givenUp: 0, listed: true, since: 5000 })
    })
  )

  test(
    "tells how many messages were given up, on the next connection too",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { connection } = yield* scene()
      const givenUp = factOf(connection, ({ givenUp }) => givenUp)
      yield* connection.tell({ givenUp: 2 })
      assert.strictEqual(yield* givenUp, 2)
      yield* bot.cut
      yield* BlazeTest.settle
      yield* connection.tell({ givenUp: 3 })
      assert.strictEqual(yield* givenUp, "Waiting")
      yield* pass(1000)
      assert.strictEqual(yield* givenUp, 3)
    })
  )

  test(
    "counts the attempts of a streak from 1, and waits in between because of the reason",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, 2)
      const { close, statuses } = yield* scene()
      yield* pass(1000)
      yield* pass(1000)
      assert.deepStrictEqual(statuses, [
        "Waiting HandshakeRefused",
        "Connecting 2",
        "Waiting HandshakeRefused",
        "Connecting 3",
        "Connected 0"
      ])
      statuses.length = 0
      // Up for less than a minute it belongs to the streak; up for a minute it ends it.
      yield* pass(59_999)
      yield* bot.cut
      yield* BlazeTest.settle
      yield* pass(1000)
      yield* pass(60_000)
      yield* bot.cut
      yield* BlazeTest.settle
      yield* pass(1000)
      assert.deepStrictEqual(statuses, [
        "Waiting ConnectionLost",
        "Connecting 4",
        "Connected 0",
        "Waiting ConnectionLost",
        "Connecting 1",
        "Connected 0"
      ])
      yield* close
      yield* BlazeTest.settle
      assert.strictEqual(statuses.at(-1), "Stopped Closed")
    })
  )

  test(
    "stops for good when the server refuses the bot, with what arrived before it still to be taken",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const { connection, statuses, texts } = yield* scene()
      yield* alice.say("one")
      yield* BlazeTest.settle
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      yield* bot.cut
      yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
      yield* connection.inbox.arrival
      assert.deepStrictEqual(texts(), ["one"])
      assert.strictEqual(endOf(yield* Effect.exit(connection.inbox.arrival)), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(request(connection)("ANYTHING"))), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(connection.session)), "Unauthorized")
      yield* pass(120_000)
      assert.strictEqual(yield* bot.handshakes, 2)
    })
  )

  test(
    "a setting that can never work is not tried again",
    Effect.gen(function* () {
      let opened = 0
      const { statuses } = yield* scene({
        open: Effect.suspend(() => {
          opened++
          return Effect.fail(
            BlazeError.make(new BlazeError.InvalidSetting({ setting: "address", field: "it", expected: "one" }))
          )
        })
      })
      yield* pass(60_000)
      assert.strictEqual(opened, 1)
      assert.strictEqual(statuses.at(-1), "Stopped InvalidSetting")
    })
  )

  test(
    "is Stopped after a defect of ours too, which is told, and nobody is left waiting",
    Effect.gen(function* () {
      const logs: Array<string> = []
      const { connection, statuses } = yield* scene({ logs, open: Effect.die("a defect of ours") })
      assert.strictEqual(statuses.at(-1), "Stopped Closed")
      assert.deepStrictEqual(
        logs.map((line) => line.includes("ended with a defect")),
        [true]
      )
      for (const waits of [connection.inbox.arrival, connection.session]) {
        assert.strictEqual(endOf(yield* Effect.exit(waits)), "Closed")
      }
    })
  )

  test(
    "an ERROR frame with 401 is explained with the server's time",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "ErrorFrame", code: 401 })
      yield* server.setClockOffset("20 minutes")
      const { connection } = yield* scene()
      const status = yield* SubscriptionRef.get(connection.status)
      assert(status._tag === "Stopped" && status.reason.reason._tag === "Unauthorized")
      assert.strictEqual(status.reason.reason.clockDifference, -20 * 60 * 1000)
    })
  )
})

describe("what a refusal comes to", () => {
  const refusedAt = (status: number, more: { readonly retryAfter?: number } = {}) =>
    BlazeError.make(new BlazeError.HandshakeRefused({ host: "blaze.example", status, ...more }))

  /** Handshakes that fail one after the other with what is given, and an API that answers `GET /me` with what is given. */
  const refusals = (errors: ReadonlyArray<BlazeError.BlazeError>) => {
    const rest = [...errors]
    const opened: Array<number> = []
    return {
      opened,
      open: Effect.flatMap(Clock.currentTimeMillis, (now) => {
        opened.push(now / 1000)
        const next = rest.shift()
        return next === undefined ? Effect.map(numbers, ({ wire }) => wire) : Effect.fail(next)
      })
    }
  }
  const unauthorized = BlazeError.make(new BlazeError.Unauthorized({}))

  test(
    "a 401 that Mixin did not write is tried again when GET /me takes the bot",
    Effect.gen(function* () {
      const { open, opened } = refusals([refusedAt(401), refusedAt(401)])
      const { statuses } = yield* scene({ open })
      yield* pass(1000)
      yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      assert.strictEqual(opened.length, 3)
    })
  )

  for (const [name, answer, expected] of [
    ["refuses the bot", unauthorized, "Stopped Unauthorized"],
    [
      "is not reached",
      BlazeError.make(new BlazeError.Unreachable({ host: "h", problem: "p" })),
      "Waiting HandshakeRefused"
    ],
    [
      "is answered by a page",
      BlazeError.make(new BlazeError.Intermediary({ host: "h", status: 401 })),
      "Waiting HandshakeRefused"
    ]
  ] as const) {
    test(
      `a 401 that Mixin did not write is ${expected} when GET /me ${name}`,
      Effect.gen(function* () {
        const { open } = refusals([refusedAt(401), refusedAt(401)])
        const { statuses } = yield* scene({ open, api: { request: () => Effect.fail(answer) } })
        assert.strictEqual(statuses.at(-1), expected)
      })
    )
  }

  test(
    "no other status asks GET /me",
    Effect.gen(function* () {
      let asked = 0
      const { open } = refusals([302, 400, 403, 404, 407, 429, 451, 503].map((status) => refusedAt(status)))
      const me = Effect.andThen(
        Effect.sync(() => void asked++),
        Effect.fail(unauthorized)
      )
      const { statuses } = yield* scene({ open, api: { request: () => me } })
      for (let n = 0; n < 8; n++) yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      assert.strictEqual(asked, 0)
    })
  )

  test(
    "waits for as long as it is asked to, beside the schedule's pause",
    Effect.gen(function* () {
      const { open, opened } = refusals([refusedAt(503, { retryAfter: 20_000 })])
      yield* scene({ open })
      yield* pass(20_999)
      assert.deepStrictEqual(opened, [0])
      yield* pass(1)
      assert.deepStrictEqual(opened, [0, 21])
    })
  )

  test(
    "one and the same refusal is told once a minute, with status and host, and another at once",
    Effect.gen(function* () {
      const logs: Array<string> = []
      const { open } = refusals([...Array.from({ length: 121 }, () => refusedAt(503)), refusedAt(502)])
      yield* scene({ open, logs })
      for (let minute = 1; minute <= 2; minute++) {
        for (let second = 0; second < 59; second++) yield* pass(1000)
        assert.strictEqual(logs.length, minute)
        assert.include(logs.at(-1)!, "handshake with blaze.example was refused with HTTP status 503")
        yield* pass(1000)
        assert.strictEqual(logs.length, minute + 1)
      }
      yield* pass(1000)
      assert.strictEqual(logs.length, 4)
      assert.include(logs[3]!, "502")
    })
  )

  const old = BlazeError.make(new BlazeError.Unauthorized({ tokenAge: 600_000 }))

  test(
    "a token that had grown old is forgiven once",
    Effect.gen(function* () {
      const { open, opened } = refusals([old])
      const { statuses } = yield* scene({ open })
      yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      assert.strictEqual(opened.length, 2)
    })
  )

  test(
    "a second token that had grown old is final, whatever failed between the two",
    Effect.gen(function* () {
      const { open, opened } = refusals([old, refusedAt(503), old])
      const { statuses } = yield* scene({ open })
      yield* pass(1000)
      yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
      assert.strictEqual(opened.length, 3)
    })
  )

  test(
    "a token that had grown old is forgiven again when a connection was accepted in between",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      let calls = 0
      const real = yield* Effect.provide(BlazeSocket.BlazeSocket, BlazeTest.layerSocket)
      const { statuses } = yield* scene({
        open: Effect.suspend(() => (++calls % 2 === 1 ? Effect.fail(old) : real.open)) as Effect.Effect<
          BlazeSocket.Wire,
          BlazeError.BlazeError
        >
      })
      for (let n = 0; n < 3; n++) {
        yield* pass(1000)
        assert.strictEqual(statuses.at(-1), "Connected 0")
        yield* bot.cut
        yield* pass(1000)
      }
      // A young one is refused for good.
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      yield* pass(1000)
      yield* bot.cut
      yield* pass(1000)
      assert.strictEqual(calls, 8)
    })
  )

  for (const [name, age, expected] of [
    ["old", 61_000, "Waiting Unauthorized"],
    ["young", 59_000, "Stopped Unauthorized"]
  ] as const) {
    test(
      `an ERROR frame that says 401 before anything else came, to a token that is ${name}, is ${expected}`,
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        yield* server.inject({ _tag: "ErrorFrame", code: 401 })
        const wall = setWall()
        const real = yield* Effect.provide(BlazeSocket.BlazeSocket, BlazeTest.layerSocket)
        // The machine sleeps when the handshake is done.
        const open = Effect.tap(real.open, () => Effect.sync(() => wall.set(age))) as Effect.Effect<
          BlazeSocket.Wire,
          BlazeError.BlazeError
        >
        yield* Effect.gen(function* () {
          const { statuses } = yield* scene({ open })
          assert.strictEqual(statuses.at(-1), expected)
        }).pipe(wall.provide)
      })
    )
  }

  test(
    "an ERROR frame that says 401 on a connection that was accepted is final, however old its token is",
    Effect.gen(function* () {
      const { statuses } = yield* scene()
      yield* pass(3_600_000)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      yield* refuse
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
    })
  )

  const clock = BlazeError.make(new BlazeError.Unauthorized({ clockDifference: -600_000 }))

  test(
    "a clock that is waited for is looked at once a minute, and told, until it is set",
    Effect.gen(function* () {
      const logs: Array<string> = []
      const { open, opened } = refusals([clock, clock, clock])
      const { connection, statuses } = yield* scene({ open, logs, settings: { awaitClock: true } })
      for (let minute = 0; minute < 3; minute++) {
        const status = yield* SubscriptionRef.get(connection.status)
        assert(status._tag === "Waiting" && status.reason.isClockWrong)
        assert.strictEqual(logs.length, minute + 1)
        assert.include(logs[minute]!, "10m behind the server's")
        yield* pass(60_000)
      }
      assert.deepStrictEqual(
        statuses.filter((status) => !status.startsWith("Waiting")),
        ["Connecting 2", "Connecting 3", "Connecting 4", "Connected 0"]
      )
      assert.deepStrictEqual(opened, [0, 60, 120, 180])
    })
  )

  test(
    "a clock that is waited for belongs to no streak that a connection has ended which was up for a minute",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, 2)
      const { statuses } = yield* scene({ settings: { awaitClock: true } })
      for (const seconds of [1, 1, 60]) yield* pass(seconds * 1000)
      assert.deepStrictEqual(statuses.splice(0).slice(-2), ["Connecting 3", "Connected 0"])
      yield* server.setClockOffset("20 minutes")
      yield* refuse
      yield* pass(60_000)
      assert.deepStrictEqual(statuses, ["Waiting Unauthorized", "Connecting 1", "Connected 0"])
    })
  )

  test(
    "a clock that is waited for excuses no refusal of which it is not the cause",
    Effect.gen(function* () {
      const { open } = refusals([clock, unauthorized])
      const { statuses } = yield* scene({ open, settings: { awaitClock: true } })
      yield* pass(60_000)
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
    })
  )

  test(
    "a wrong clock is final where it is not waited for",
    Effect.gen(function* () {
      const { open } = refusals([clock])
      const { statuses } = yield* scene({ open })
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
    })
  )
})

describe("time", () => {
  test(
    "a wall clock that is set back or forward by an hour neither ends a streak nor prolongs it",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const wall = setWall()
      yield* Effect.gen(function* () {
        const { statuses } = yield* scene()
        const cut = Effect.gen(function* () {
          yield* bot.cut
          yield* BlazeTest.settle
          yield* pass(1000)
          return statuses.at(-2)
        })
        // Up for 10 seconds, whatever the wall says: it belongs to the streak.
        yield* pass(10_000)
        wall.set(3_600_000)
        assert.strictEqual(yield* cut, "Connecting 2")
        // Up for a minute, whatever the wall says: it ends the streak.
        yield* pass(60_000)
        wall.set(-7_200_000)
        assert.strictEqual(yield* cut, "Connecting 1")
      }).pipe(wall.provide)
    })
  )
})

describe("what is measured", () => {
  test(
    "is how each handshake ended, how long it waits for the next, and by how much the clock is wrong when that is told",
    Effect.gen(function* () {
      const { wire } = yield* numbers
      const refused = BlazeError.make(new BlazeError.HandshakeRefused({ host: "h", status: 503, retryAfter: 500 }))
      const wrong = BlazeError.make(new BlazeError.Unauthorized({ clockDifference: -600_000 }))
      const untold = BlazeError.make(new BlazeError.Unauthorized({ tokenAge: 600_000 }))
      const ends = [Effect.fail(wrong), Effect.fail(refused), Effect.fail(untold), Effect.succeed(wire)]
      const { measured } = yield* scene({
        open: Effect.suspend(() => ends.shift()!),
        settings: { awaitClock: true }
      })
      for (const seconds of [60, 1.5, 1]) yield* pass(seconds * 1000)
      assert.deepStrictEqual(
        measured.filter((line) => /^(connects|reconnect|clock)/.test(line)),
        [
          "connects_total Failure 1",
          "clock_difference_seconds -600",
          "connects_total Failure 1",
          "reconnect_delay_seconds 1.5",
          "connects_total Failure 1",
          "reconnect_delay_seconds 1",
          "connects_total Success 1"
        ]
      )
    })
  )
})

describe("a first listing", () => {
  const slow = { _tag: "IgnoreRequest", action: "LIST_PENDING_MESSAGES" } as const

  test(
    "that is slow has more time with each connection in a row, and no more than any other after one that was not",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* BlazeTest.Account
      yield* server.inject(slow, Infinity)
      const { connection, statuses } = yield* scene()
      const stateOf = Effect.map(SubscriptionRef.get(connection.status), ({ _tag }) => _tag)
      /** How long the listing of now is waited for, in seconds; and the second until the next connection. */
      const time = Effect.gen(function* () {
        let seconds = 0
        for (; (yield* stateOf) === "Connecting"; seconds++) yield* pass(1000)
        assert.strictEqual(statuses.at(-1), "Waiting Timeout")
        yield* pass(1000)
        return seconds
      })
      for (const seconds of [5, 10, 20, 40, 60, 60]) assert.strictEqual(yield* time, seconds)
      // One that is cut off in time has not been slow.
      yield* bot.cut
      yield* pass(1000)
      for (const seconds of [5, 10]) assert.strictEqual(yield* time, seconds)
      // One that is answered has not either.
      yield* server.heal
      assert.strictEqual(yield* time, 20)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      yield* server.inject(slow, Infinity)
      yield* bot.cut
      yield* pass(1000)
      assert.strictEqual(yield* time, 5)
    })
  )
})

describe("several addresses", () => {
  test(
    "the status tells which are in use, the one of REST too when it changes",
    Effect.gen(function* () {
      const host = yield* SubscriptionRef.make("api.one")
      const { wire } = yield* numbers
      const { connection } = yield* scene({ open: Effect.succeed({ ...wire, host: "blaze.two" }), api: { host } })
      const inUse = factOf(connection, ({ apiHost, host }) => [host, apiHost])
      assert.deepStrictEqual(yield* inUse, ["blaze.two", "api.one"])
      yield* SubscriptionRef.set(host, "api.two")
      yield* BlazeTest.settle
      assert.deepStrictEqual(yield* inUse, ["blaze.two", "api.two"])
    })
  )
})

describe("bad frames", () => {
  const poison = Effect.gen(function* () {
    const bot = yield* BlazeTest.Account
    yield* bot.push("a text frame")
    yield* BlazeTest.settle
  })

  test(
    "after three connections in a row that ended with one and brought nothing new they are passed over and counted",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const { statuses, texts } = yield* scene()
      for (let time = 0; time < 3; time++) {
        yield* poison
        assert.strictEqual(statuses.at(-1), "Waiting BadInput")
        yield* pass(1000)
        assert.strictEqual(statuses.at(-1), "Connected 0")
      }
      yield* poison
      assert.strictEqual(statuses.at(-1), "Connected 1")
      yield* bot.push("one")
      yield* bot.push("two")
      yield* BlazeTest.settle
      assert.strictEqual(statuses.at(-1), "Connected 3")
      yield* alice.say("after it")
      yield* BlazeTest.settle
      assert.deepStrictEqual(texts(), ["after it"])
      assert.strictEqual(yield* bot.connections, 1)
      // The next connection begins to count anew, and passes over as long as nothing new has come.
      yield* bot.cut
      yield* BlazeTest.settle
      yield* pass(1000)
      assert.strictEqual(statuses.at(-1), "Connected 0")
      yield* poison
      assert.strictEqual(statuses.at(-1), "Connected 1")
    })
  )

  test(
    "something new starts the count afresh, and a connection that ended otherwise does not count",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { connection, statuses } = yield* scene()
      const end = Effect.gen(function* () {
        yield* poison
        assert.strictEqual(statuses.at(-1), "Waiting BadInput")
        yield* pass(1000)
      })
      yield* end
      yield* end
      connection.inbox.progress.made++
      yield* end
      yield* end
      yield* bot.cut
      yield* BlazeTest.settle
      yield* pass(1000)
      yield* end
      yield* poison
      assert.strictEqual(statuses.at(-1), "Connected 1")
    })
  )

  test(
    "each of one read counts, however many they are, and one line a minute tells of them",
    Effect.gen(function* () {
      const logs: Array<string> = []
      const { frames, wire } = yield* numbers
      const bad = Result.fail(BlazeError.make(new BlazeError.BadInput({ problem: "a test" })))
      const decode: typeof wire.decode = (frame) => (frame[0] === 0 ? wire.decode(frame) : bad)
      const { statuses } = yield* scene({
        open: Effect.succeed({ ...wire, decode }),
        settings: { badFrameTolerance: 0 },
        logs
      })
      Queue.offerAllUnsafe(
        frames,
        Array.from({ length: 20 }, () => Uint8Array.of(1))
      )
      yield* BlazeTest.settle
      assert.strictEqual(statuses.at(-1), "Connected 20")
      assert.strictEqual(logs.length, 1)
      assert.include(logs[0]!, "A frame was passed over.")
      for (const [seconds, warnings] of [
        [59, 1],
        [1, 2]
      ] as const) {
        yield* pass(seconds * 1000)
        Queue.offerAllUnsafe(frames, [Uint8Array.of(1)])
        yield* BlazeTest.settle
        assert.strictEqual(logs.length, warnings)
      }
      assert.strictEqual(statuses.at(-1), "Connected 22")
    })
  )
})

describe("the inbox", () => {
  test(
    "messages that arrived before stop come before the failure",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const { connection, statuses, texts } = yield* scene()
      yield* alice.say("one")
      yield* alice.say("two")
      yield* BlazeTest.settle
      yield* connection.stop(reason)
      yield* BlazeTest.settle
      assert.strictEqual(statuses.at(-1), "Stopped Unauthorized")
      yield* connection.inbox.arrival
      assert.deepStrictEqual(texts(), ["one", "two"])
      assert.strictEqual(endOf(yield* Effect.exit(connection.inbox.arrival)), "Unauthorized")
    })
  )

  test(
    "whoever waits is told of messages, of the end and of stop",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      const wait = Effect.forkChild(connection.inbox.arrival)
      const given = yield* wait
      yield* BlazeTest.settle
      // One that gave up is not called in place of the next.
      yield* Fiber.interrupt(given)
      const first = yield* wait
      yield* BlazeTest.settle
      assert.isUndefined(first.pollUnsafe())
      yield* alice.say("one")
      yield* BlazeTest.settle
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(first)))
      connection.inbox.take()
      const second = yield* wait
      yield* BlazeTest.settle
      assert.isUndefined(second.pollUnsafe())
      yield* connection.stop(reason)
      yield* BlazeTest.settle
      assert.strictEqual(endOf(second.pollUnsafe()), "Unauthorized")
    })
  )

  test(
    "endArrival ends the arrival at once, with what was not taken, and the connection goes on",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      const waiting = yield* Effect.forkChild(connection.inbox.arrival)
      yield* BlazeTest.settle
      yield* connection.inbox.end
      yield* BlazeTest.settle
      assert.strictEqual(endOf(waiting.pollUnsafe()), "Done")
      yield* alice.say("one")
      yield* BlazeTest.settle
      assert.strictEqual(endOf(yield* Effect.exit(connection.inbox.arrival)), "Done")
      assert.strictEqual(yield* bot.connections, 1)
    })
  )

  test(
    "what is offered again comes before or behind what waits",
    Effect.gen(function* () {
      const { connection, texts } = yield* scene()
      connection.inbox.offer([text(3)], "last")
      connection.inbox.offer([text(4)], "last")
      connection.inbox.offer([text(1), text(2)], "first")
      assert.deepStrictEqual(texts(), ["1", "2", "3", "4"])
      assert.deepStrictEqual(texts(), [])
      const again = [text(5)]
      connection.inbox.offer(again, "first")
      connection.inbox.offer([text(6)], "last")
      assert.strictEqual(again.length, 1)
      assert.deepStrictEqual(texts(), ["5", "6"])
    })
  )

  for (const [name, settings] of [
    ["messages", { inboxMessages: 2, inboxBytes: Infinity }],
    ["bytes", { inboxMessages: Infinity, inboxBytes: text(1).size + 1 }]
  ] as const) {
    test(
      `reading pauses when there are too many ${name}, and goes on when they are taken`,
      Effect.gen(function* () {
        const { frames, push, wire } = yield* numbers
        const { texts } = yield* scene({ settings, open: Effect.succeed(wire) })
        yield* push(1)
        yield* push(2)
        assert.strictEqual(yield* Queue.size(frames), 0)
        yield* push(3)
        assert.strictEqual(yield* Queue.size(frames), 1)
        assert.deepStrictEqual(texts(), ["1", "2"])
        yield* BlazeTest.settle
        assert.strictEqual(yield* Queue.size(frames), 0)
        yield* push(4)
        yield* push(5)
        assert.strictEqual(yield* Queue.size(frames), 1)
        assert.deepStrictEqual(texts(), ["3", "4"])
      })
    )
  }

  test(
    "what waits urgently and is interrupted, wherever it may be, leaves no urgency behind",
    Effect.gen(function* () {
      for (let operations = 2030; operations < 2050; operations++) {
        const { frames, push, wire } = yield* numbers
        const { close, connection } = yield* scene({
          settings: { inboxMessages: 1, inboxBytes: Infinity },
          open: Effect.succeed(wire)
        })
        yield* Fiber.interrupt(yield* after(operations, connection.inbox.urgently(Effect.never)))
        yield* push(1)
        yield* push(2)
        assert.strictEqual(yield* Queue.size(frames), 1, `${operations}`)
        yield* close
      }
    })
  )

  test(
    "two that subscribe to the receipts first, however they take turns, both hear of them",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("hi")
      for (let operations = 2015; operations < 2050; operations++) {
        const { close, connection } = yield* scene()
        const first = yield* after(operations, Stream.runHead(connection.receipts.stream))
        const second = yield* Effect.forkChild(Stream.runHead(connection.receipts.stream), { startImmediately: true })
        yield* BlazeTest.settle
        yield* write(connection, alice)
        yield* BlazeTest.settle
        for (const fiber of [first, second]) assert.isDefined(fiber.pollUnsafe(), `${operations}`)
        yield* close
      }
    })
  )

  test(
    "receipts of the time without a connection come with the next one",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      yield* alice.say("hi")
      const read = yield* connection.receipts.stream.pipe(
        Stream.filter(({ status }) => status === "READ"),
        Stream.runHead,
        Effect.forkChild({ startImmediately: true })
      )
      yield* write(connection, alice)
      yield* bot.cut
      yield* alice.reads
      yield* BlazeTest.settle
      assert.isUndefined(read.pollUnsafe())
      yield* pass(1000)
      assert.isTrue(Option.isSome(yield* Fiber.join(read)))
    })
  )

  test(
    "receipts are published one by one",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      yield* alice.say("hi")
      const reader = yield* connection.receipts.stream.pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* write(connection, alice)
      yield* alice.reads
      yield* BlazeTest.settle
      const receipts = yield* Fiber.join(reader)
      assert.deepStrictEqual(
        receipts.map(({ status }) => status),
        ["DELIVERED", "READ"]
      )
    })
  )
})

describe("requests", () => {
  test(
    "one that is asked for while there is no connection goes out on the next, and on a session that has ended it fails at once",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { connection } = yield* scene()
      const session = yield* connection.session
      yield* session.request("LIST_PENDING_MESSAGES")
      yield* bot.cut
      yield* BlazeTest.settle
      const error = yield* Effect.flip(session.request("LIST_PENDING_MESSAGES"))
      assert(error.reason._tag === "ConnectionLost" && error.reason.code === 1006)
      const fiber = yield* Effect.forkChild(request(connection)("LIST_PENDING_MESSAGES"))
      yield* BlazeTest.settle
      assert.isUndefined(fiber.pollUnsafe())
      yield* pass(1000)
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* bot.requests).at(-1)?.length, 2)
    })
  )

  test(
    "one of the session of now waits for no other: without one it fails at once",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { connection } = yield* scene()
      assert.strictEqual(yield* connection.sessionNow, yield* connection.session)
      yield* bot.cut
      yield* BlazeTest.settle
      const error = yield* Effect.flip(connection.sessionNow)
      assert(error.reason._tag === "ConnectionLost" && error.reason.code === 1006)
      assert.include(error.message, "there is no connection now")
      yield* pass(1000)
      assert.strictEqual(yield* connection.sessionNow, yield* connection.session)
    })
  )

  test(
    "one that is under way when the connection is stopped, and a receipt that is waited for, fail for that reason",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const { connection } = yield* scene()
      yield* server.inject({ _tag: "IgnoreRequest" }, Infinity)
      const asked = yield* Effect.forkChild(request(connection)("ANYTHING"))
      const receipt = connection.receipts.expect(text(1).id, "READ")
      const expected = yield* Effect.forkChild(receipt.arrived)
      yield* BlazeTest.settle
      yield* connection.stop(reason)
      yield* BlazeTest.settle
      for (const fiber of [asked, expected]) assert.strictEqual(endOf(fiber.pollUnsafe()), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(connection.sessionNow)), "Unauthorized")
    })
  )

  test(
    "one that finds no connection for as long as an answer may take fails with Timeout",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, Infinity)
      const { connection } = yield* scene()
      const fiber = yield* Effect.forkChild(request(connection)("ANYTHING"))
      yield* pass(4999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(endOf(fiber.pollUnsafe()), "Timeout")
    })
  )

  test(
    "the end of the scope stops it as Closed, and nobody is left waiting",
    Effect.gen(function* () {
      const { close, connection } = yield* scene()
      const waiting = yield* Effect.forkChild(connection.inbox.arrival)
      yield* BlazeTest.settle
      yield* close
      yield* BlazeTest.settle
      assert.strictEqual(endOf(waiting.pollUnsafe()), "Closed")
      assert.strictEqual(endOf(yield* Effect.exit(request(connection)("ANYTHING"))), "Closed")
    })
  )
})
