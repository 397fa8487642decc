import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Result,
  Schedule,
  Scope,
  SubscriptionRef,
  Stream
} from "effect"
import { BlazeError, BlazeSocket, Connection, type Envelope, Message, Reconnect } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"

const pass = (millis: number) => Effect.andThen(TestClock.adjust(millis), BlazeTest.settle)

const every = { schedule: Schedule.spaced("1 second"), stableAfter: "1 minute" } as const

/** A connection with the statuses it has had, written short. */
const scene = Effect.fnUntraced(function* (options?: {
  readonly inbox?: { readonly messages: number; readonly bytes: number }
  readonly policy?: typeof Reconnect.Policy.Service
  readonly open?: Effect.Effect<BlazeSocket.Wire, BlazeError.BlazeError>
}) {
  const scope = yield* Scope.make()
  const open = options?.open
  const context = yield* Layer.buildWithScope(
    Connection.layer.pipe(
      Layer.provide(
        open === undefined
          ? BlazeTest.layerSocket
          : Layer.merge(BlazeTest.layerSocket, Layer.succeed(BlazeSocket.BlazeSocket, { open }))
      ),
      Layer.provide([
        Layer.succeed(Reconnect.Policy, options?.policy ?? every),
        Layer.succeed(Connection.InboxSize, options?.inbox ?? { messages: 1000, bytes: 8 * 1024 * 1024 })
      ])
    ),
    scope
  )
  const connection = yield* Effect.provideContext(Connection.Connection, context)
  const statuses: Array<string> = []
  yield* Effect.forkChild(
    Stream.runForEach(SubscriptionRef.changes(connection.status), (status) =>
      Effect.sync(() => {
        if (status._tag === "Connecting") statuses.push(`Connecting ${status.attempt}`)
        else if (status._tag === "Connected") statuses.push(`Connected ${status.badFrames}`)
        else statuses.push(`${status._tag} ${status.reason.reason._tag}`)
      })
    )
  )
  yield* BlazeTest.settle
  const texts = () => connection.take().map((message) => (message._tag === "Text" ? message.text : message._tag))
  return { connection, statuses, texts, close: Scope.close(scope, Exit.void) }
})

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
      yield* connection.arrival
      assert.deepStrictEqual(texts(), ["one"])
      assert.strictEqual(endOf(yield* Effect.exit(connection.arrival)), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(connection.request("ANYTHING"))), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(connection.requestNow("ANYTHING"))), "Unauthorized")
      assert.strictEqual(endOf(yield* Effect.exit(connection.ready)), "Unauthorized")
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
      connection.progressed()
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
      yield* connection.arrival
      assert.deepStrictEqual(texts(), ["one", "two"])
      assert.strictEqual(endOf(yield* Effect.exit(connection.arrival)), "Unauthorized")
    })
  )

  test(
    "whoever waits is told of messages, of the end and of stop",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      const wait = Effect.forkChild(connection.arrival)
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
      connection.take()
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
      const waiting = yield* Effect.forkChild(connection.arrival)
      yield* BlazeTest.settle
      yield* connection.endArrival
      yield* BlazeTest.settle
      assert.strictEqual(endOf(waiting.pollUnsafe()), "Done")
      yield* alice.say("one")
      yield* BlazeTest.settle
      assert.strictEqual(endOf(yield* Effect.exit(connection.arrival)), "Done")
      assert.strictEqual(yield* bot.connections, 1)
    })
  )

  test(
    "what is offered again comes before or behind what waits",
    Effect.gen(function* () {
      const { connection, texts } = yield* scene()
      connection.offer([text(3)], "last")
      connection.offer([text(4)], "last")
      connection.offer([text(1), text(2)], "first")
      assert.deepStrictEqual(texts(), ["1", "2", "3", "4"])
      assert.deepStrictEqual(texts(), [])
      const again = [text(5)]
      connection.offer(again, "first")
      connection.offer([text(6)], "last")
      assert.strictEqual(again.length, 1)
      assert.deepStrictEqual(texts(), ["5", "6"])
    })
  )

  for (const [name, inbox] of [
    ["messages", { messages: 2, bytes: Infinity }],
    ["bytes", { messages: Infinity, bytes: text(1).size + 1 }]
  ] as const) {
    test(
      `reading pauses when there are too many ${name}, and goes on when they are taken`,
      Effect.gen(function* () {
        const { frames, push, wire } = yield* numbers
        const { texts } = yield* scene({ inbox, open: Effect.succeed(wire) })
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
          inbox: { messages: 1, bytes: Infinity },
          open: Effect.succeed(wire)
        })
        yield* Fiber.interrupt(yield* after(operations, connection.urgently(Effect.never)))
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
        const first = yield* after(operations, Stream.runHead(connection.receipts))
        const second = yield* Effect.forkChild(Stream.runHead(connection.receipts), { startImmediately: true })
        yield* BlazeTest.settle
        yield* connection.request("CREATE_MESSAGE", {
          message_id: crypto.randomUUID(),
          conversation_id: alice.conversationId,
          recipient_id: alice.userId,
          category: "PLAIN_TEXT",
          data: "aGk"
        })
        yield* BlazeTest.settle
        for (const fiber of [first, second]) assert.isDefined(fiber.pollUnsafe(), `${operations}`)
        yield* close
      }
    })
  )

  test(
    "receipts are published one by one",
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const { connection } = yield* scene()
      yield* alice.say("hi")
      const reader = yield* connection.receipts.pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* connection.request("CREATE_MESSAGE", {
        message_id: crypto.randomUUID(),
        conversation_id: alice.conversationId,
        recipient_id: alice.userId,
        category: "PLAIN_TEXT",
        data: "aGk"
      })
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
    "one that is asked for while there is no connection goes out on the next; requestNow fails at once",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { connection } = yield* scene()
      yield* connection.ready
      yield* connection.requestNow("LIST_PENDING_MESSAGES")
      yield* bot.cut
      yield* BlazeTest.settle
      const error = yield* Effect.flip(connection.requestNow("LIST_PENDING_MESSAGES"))
      assert(error.reason._tag === "ConnectionLost" && error.reason.code === 1006)
      const fiber = yield* Effect.forkChild(connection.request("LIST_PENDING_MESSAGES"))
      yield* BlazeTest.settle
      assert.isUndefined(fiber.pollUnsafe())
      yield* pass(1000)
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* bot.requests).at(-1)?.length, 2)
    })
  )

  test(
    "one that finds no connection for as long as an answer may take fails with Timeout",
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "RefuseHandshake", status: 503 }, Infinity)
      const { connection } = yield* scene()
      const fiber = yield* Effect.forkChild(connection.request("ANYTHING"))
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
      const waiting = yield* Effect.forkChild(connection.arrival)
      yield* BlazeTest.settle
      yield* close
      yield* BlazeTest.settle
      assert.strictEqual(endOf(waiting.pollUnsafe()), "Closed")
      assert.strictEqual(endOf(yield* Effect.exit(connection.request("ANYTHING"))), "Closed")
    })
  )
})
