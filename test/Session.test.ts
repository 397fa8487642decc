import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Option, Queue, Result, Scope } from "effect"
import { BlazeError, type BlazeSocket, type Envelope, Ids, Message, Telemetry } from "effect-blaze"
import * as Inbox from "../src/internal/Inbox.ts"
import { BlazeTest } from "effect-blaze/testing"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as Session from "../src/internal/Session.ts"
import * as Meter from "../src/internal/Meter.ts"

const me = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
const alice = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const list = "LIST_PENDING_MESSAGES"

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const frame = (envelope: object) => encoder.encode(JSON.stringify(envelope))
const bad = encoder.encode("bad")

const view = (n: number, more: object = {}) => ({
  message_id: `00000000-0000-0000-0000-${String(n).padStart(12, "0")}`,
  user_id: alice,
  category: "PLAIN_TEXT",
  data: "aGVsbG8",
  ...more
})
const push = (n: number, more: object = {}, action = "CREATE_MESSAGE") =>
  frame({ id: `push ${n}`, action, data: view(n, more) })

/** A push that is no message, of so many bytes. */
const ballast = (bytes: number) => {
  const empty = frame({ id: "ballast", action: "NOTHING", data: "" }).length
  return frame({ id: "ballast", action: "NOTHING", data: "x".repeat(bytes - empty) })
}

const closed = BlazeError.make(new BlazeError.Closed({}))
const lost = BlazeError.make(new BlazeError.ConnectionLost({ code: 1006 }))

const number = (id: string) => Number(id.slice(-12))

/** A wire and an inbox that a test holds at both ends. By itself the wire answers listings and nothing else. */
const scene = Effect.fnUntraced(function* (options?: {
  readonly room?: number
  readonly bytes?: number
  readonly overflow?: number
  readonly passOver?: boolean
  readonly traced?: boolean
  readonly listings?: "answered" | "ignored"
  readonly patience?: number
}) {
  const queue = yield* Queue.unbounded<Uint8Array, BlazeError.BlazeError>()
  const sent: Array<Envelope.Request> = []
  const spans: Array<string> = []
  const passedOver: Array<BlazeError.BlazeError> = []
  const receipts: Array<number> = []
  const size = {
    inboxMessages: options?.room ?? Infinity,
    inboxBytes: options?.bytes ?? Infinity,
    overflowBytes: options?.overflow ?? 1_000_000
  }
  const knobs = {
    onReceipts: () => {},
    listings: options?.listings ?? "answered",
    send: Effect.void as Effect.Effect<void, BlazeError.BlazeError>
  }
  const wire: BlazeSocket.Wire = {
    host: "memory",
    signedAt: 0,
    socket: undefined as never,
    envelopes: undefined as never,
    receive: Queue.takeAll(queue),
    decode: (frame) => {
      try {
        return Result.succeed(JSON.parse(decoder.decode(frame as Uint8Array)))
      } catch {
        return Result.fail(BlazeError.make(new BlazeError.BadInput({ problem: "a bad frame" })))
      }
    },
    send: (request) =>
      Effect.gen(function* () {
        sent.push(request)
        const span = yield* Effect.option(Effect.currentSpan)
        if (Option.isSome(span)) spans.push(span.value.name)
        if (request.action === list && knobs.listings === "answered") {
          Queue.offerUnsafe(queue, frame({ id: request.id, action: list }))
        }
        yield* knobs.send
      }),
    isSaturated: () => knobs.send !== Effect.void
  }
  const meter = yield* Meter.make(me)
  const inbox = yield* Effect.provideService(Inbox.makeWith(size), Meter.Meter, meter)
  const session = yield* Session.make({
    wire,
    userId: me,
    random: yield* SecureRandom.SecureRandom,
    meter,
    inbox,
    onReceipts: (views) => {
      for (const { message_id } of views) receipts.push(number(message_id))
      knobs.onReceipts()
    },
    passOverBadFrames: options?.passOver ?? false,
    onPassedOver: (problem) => passedOver.push(problem),
    patience: options?.patience ?? 0,
    whyClosed: () => closed
  }).pipe(Effect.provideService(Telemetry.Traced, options?.traced ?? false), Effect.forkScoped)
  yield* BlazeTest.settle

  const arrive = (...frames: ReadonlyArray<Uint8Array>) =>
    Effect.suspend(() => {
      for (const frame of frames) Queue.offerUnsafe(queue, frame)
      return BlazeTest.settle
    })
  const take = () => inbox.take().map(({ id }) => number(id))
  const request = (action: string) =>
    Effect.gen(function* () {
      const current = yield* Fiber.join(session)
      const fiber = yield* Effect.forkChild(Effect.exit(current.request(action)))
      yield* BlazeTest.settle
      return { fiber, id: sent.at(-1)!.id }
    })
  const messages = () => inbox.waiting().map(({ id }) => number(id))
  return {
    arrive,
    end: Effect.andThen(Queue.fail(queue, lost), BlazeTest.settle),
    ended: Effect.flip(Effect.flatMap(Fiber.join(session), ({ ended }) => ended)),
    inbox,
    knobs,
    listings: () => sent.filter(({ action }) => action === list).length,
    messages,
    passedOver,
    receipts,
    request,
    sent,
    session,
    size,
    spans,
    take,
    takeSettled: Effect.suspend(() => {
      const taken = take()
      return Effect.as(BlazeTest.settle, taken)
    }),
    /** How many frames arrived that nobody has read. */
    unread: Queue.size(queue)
  }
})

const { pass } = BlazeTest

const test = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope | SecureRandom.SecureRandom>) =>
  it.effect(name, () => body().pipe(Effect.provide(NodeCrypto.layerSecureRandom)))

const reasonOf = (exit: Exit.Exit<unknown, BlazeError.BlazeError> | undefined) => {
  assert(exit !== undefined && Exit.isFailure(exit))
  return Option.getOrThrow(Exit.findErrorOption(exit)).reason
}

describe("requests", () => {
  test("the listing goes first, and the session is there when it is answered", () =>
    Effect.gen(function* () {
      const { arrive, messages, sent, session } = yield* scene({ listings: "ignored" })
      assert.deepStrictEqual(
        sent.map(({ action }) => action),
        [list]
      )
      yield* arrive(push(1))
      assert.isUndefined(session.pollUnsafe())
      assert.deepStrictEqual(messages(), [1])
      yield* arrive(frame({ id: sent[0]!.id, action: list }))
      assert.isDefined(session.pollUnsafe())
    }))

  test("a listing that is not answered in 5 seconds fails", () =>
    Effect.gen(function* () {
      const { session } = yield* scene({ listings: "ignored" })
      yield* pass(4999)
      assert.isUndefined(session.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(reasonOf(session.pollUnsafe())._tag, "Timeout")
    }))

  test("a listing may take longer while pushes come in, a minute at the most", () =>
    Effect.gen(function* () {
      const { arrive, session } = yield* scene({ listings: "ignored" })
      for (let period = 1; period < 12; period++) {
        yield* arrive(push(period))
        yield* pass(5000)
        assert.isUndefined(session.pollUnsafe())
      }
      yield* arrive(push(12))
      yield* pass(5000)
      assert.strictEqual(reasonOf(session.pollUnsafe())._tag, "Timeout")
    }))

  test("no other request has more time because of pushes, nor a listing because of what is none", () =>
    Effect.gen(function* () {
      const { arrive, request } = yield* scene()
      const { fiber } = yield* request("ONE")
      yield* arrive(push(1))
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
      const silent = yield* scene({ listings: "ignored" })
      yield* silent.arrive(ballast(100))
      yield* pass(5000)
      assert.strictEqual(reasonOf(silent.session.pollUnsafe())._tag, "Timeout")
    }))

  test("a first listing that was slow before has more time, and what is asked for behind it has not", () =>
    Effect.gen(function* () {
      const { arrive, request, sent, session } = yield* scene({ listings: "ignored", patience: 2 })
      yield* pass(5000)
      yield* pass(9999)
      assert.isUndefined(session.pollUnsafe())
      yield* arrive(frame({ id: sent[0]!.id, action: list }))
      const one = yield* request("ONE")
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(one.fiber))._tag, "Timeout")
    }))

  test("what is under way when a new listing is not answered is told that, and not that the bot is shutting down", () =>
    Effect.gen(function* () {
      const { arrive, ended, knobs, request, take } = yield* scene({ room: 1, overflow: 0 })
      yield* arrive(push(1))
      knobs.listings = "ignored"
      yield* request("ONE")
      yield* arrive(push(2))
      take()
      yield* pass(1)
      const two = yield* request("TWO")
      yield* pass(5000)
      for (const error of [yield* ended, reasonOf(yield* Fiber.join(two.fiber))]) {
        assert.include(error.message, "LIST_PENDING_MESSAGES")
      }
      const late = yield* request("THREE")
      assert.include(reasonOf(yield* Fiber.join(late.fiber)).message, "LIST_PENDING_MESSAGES")
    }))

  test("a write that waits for a request's time, because the server does not read, ends the connection", () =>
    Effect.gen(function* () {
      const { ended, knobs, request } = yield* scene()
      knobs.send = Effect.never
      const { fiber } = yield* request("CREATE_MESSAGE")
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.join(fiber)
      assert(Exit.isFailure(exit))
      const error = yield* ended
      assert.include(error.message, "the server does not read what we write")
      assert.isTrue(error.isRetryable)
    }))

  test("answers find their requests by id, whatever their order", () =>
    Effect.gen(function* () {
      const { arrive, messages, request } = yield* scene()
      const one = yield* request("ONE")
      const two = yield* request("TWO")
      assert.notStrictEqual(one.id, two.id)
      yield* arrive(frame({ id: two.id, action: "TWO", data: view(2) }))
      assert.isUndefined(one.fiber.pollUnsafe())
      assert.deepStrictEqual(yield* Fiber.join(two.fiber), Exit.succeed(view(2)))
      yield* arrive(frame({ id: one.id, action: "ONE", data: 1 }))
      assert.deepStrictEqual(yield* Fiber.join(one.fiber), Exit.succeed(1))
      assert.deepStrictEqual(messages(), [])
    }))

  test("an answer is no message, though it looks like one", () =>
    Effect.gen(function* () {
      const { arrive, messages, request } = yield* scene()
      const { id } = yield* request("CREATE_MESSAGE")
      yield* arrive(frame({ id, action: "CREATE_MESSAGE", data: view(1) }))
      assert.deepStrictEqual(messages(), [])
    }))

  test("an error is the answer of its request alone", () =>
    Effect.gen(function* () {
      const { arrive, messages, request } = yield* scene()
      const one = yield* request("ONE")
      const two = yield* request("TWO")
      yield* arrive(frame({ id: one.id, action: "ONE", error: { code: 20116 } }), push(1))
      assert.strictEqual(reasonOf(yield* Fiber.join(one.fiber))._tag, "ApiFailure")
      assert.isUndefined(two.fiber.pollUnsafe())
      assert.deepStrictEqual(messages(), [1])
    }))

  test("an error that nobody waits for is nothing, whatever data it carries", () =>
    Effect.gen(function* () {
      const { arrive, messages } = yield* scene()
      yield* arrive(frame({ id: "?", action: "CREATE_MESSAGE", data: view(1), error: { code: 20116 } }), push(2))
      assert.deepStrictEqual(messages(), [2])
    }))

  test("a 401 ends the connection, whether it answers a request or not, and whatever else was asked for", () =>
    Effect.gen(function* () {
      const { arrive, ended, messages, request } = yield* scene()
      const one = yield* request("ONE")
      const two = yield* request("TWO")
      yield* arrive(frame({ id: one.id, action: "ONE", error: { code: 401 } }), push(1))
      assert.strictEqual((yield* ended).reason._tag, "Unauthorized")
      assert.strictEqual(reasonOf(yield* Fiber.join(one.fiber))._tag, "Unauthorized")
      assert.strictEqual(reasonOf(yield* Fiber.join(two.fiber))._tag, "Unauthorized")
      assert.deepStrictEqual(messages(), [])
    }))

  test("an ERROR frame ends the connection, though its code is not the end of the bot", () =>
    Effect.gen(function* () {
      const { arrive, ended } = yield* scene()
      yield* arrive(frame({ id: "?", action: "ERROR", error: { code: 7000 } }))
      assert.strictEqual((yield* ended).reason._tag, "ApiFailure")
    }))

  test("an error of the server that ends the connection answers nothing that was asked for", () =>
    Effect.gen(function* () {
      const { arrive, ended, request } = yield* scene()
      const one = yield* request("ONE")
      yield* arrive(frame({ id: "?", action: "ERROR", error: { code: 10002 } }))
      const late = yield* request("TWO")
      assert.isTrue((yield* ended).isFinal)
      for (const { fiber } of [one, late]) {
        const reason = reasonOf(yield* Fiber.join(fiber))
        assert.strictEqual(reason._tag, "ConnectionLost")
        assert.include(reason.message, "10002")
      }
    }))

  test("the end of the connection is the end of what was asked for, and of what is asked for after it", () =>
    Effect.gen(function* () {
      const { end, ended, request, sent } = yield* scene()
      const { fiber } = yield* request("ONE")
      yield* end
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "ConnectionLost")
      assert.strictEqual((yield* ended).reason._tag, "ConnectionLost")
      const late = yield* request("TWO")
      assert.strictEqual(reasonOf(yield* Fiber.join(late.fiber))._tag, "ConnectionLost")
      assert.deepStrictEqual(
        sent.map(({ action }) => action),
        [list, "ONE"]
      )
    }))

  test("the end of the scope ends what was asked for as Closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { request } = yield* Scope.provide(scene(), scope)
      const one = yield* request("ONE")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(reasonOf(yield* Fiber.join(one.fiber))._tag, "Closed")
    }))

  test("a request whose time is over while more than a megabyte came in has another 5 seconds, twelve times at most", () =>
    Effect.gen(function* () {
      const { arrive, request } = yield* scene()
      const { fiber } = yield* request("ONE")
      for (let period = 1; period < 12; period++) {
        yield* arrive(ballast(512 * 1024))
        yield* pass(2500)
        yield* arrive(ballast(512 * 1024))
        yield* pass(2500)
        assert.isUndefined(fiber.pollUnsafe())
      }
      yield* arrive(ballast(2 * 1024 * 1024))
      yield* pass(4999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
    }))

  test("what came in before a request, or less than a megabyte, gives it no more time", () =>
    Effect.gen(function* () {
      const { arrive, request } = yield* scene()
      yield* arrive(ballast(2 * 1024 * 1024))
      const { fiber } = yield* request("ONE")
      yield* arrive(ballast(1024 * 1024 - 1))
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
    }))

  test("a request that cannot be written fails with the reason, and is not waited for", () =>
    Effect.gen(function* () {
      const { arrive, knobs, messages, request, unread } = yield* scene({ room: 1 })
      knobs.send = Effect.fail(lost)
      const { fiber } = yield* request("ONE")
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "ConnectionLost")
      yield* arrive(push(1))
      yield* arrive(push(2))
      assert.deepStrictEqual(messages(), [1])
      assert.strictEqual(yield* unread, 1)
    }))

  test("each request has a span when Traced is set, and none otherwise", () =>
    Effect.gen(function* () {
      const traced = yield* scene({ traced: true })
      yield* traced.request("ONE")
      assert.deepStrictEqual(traced.spans, [Telemetry.span.request])
      const plain = yield* scene()
      yield* plain.request("ONE")
      assert.deepStrictEqual(plain.spans, [])
    }))
})

describe("what arrives", () => {
  test("the bot's own notices of the system are messages, and late answers are not, with a category or without", () =>
    Effect.gen(function* () {
      const { arrive, messages, request } = yield* scene()
      const { fiber, id } = yield* request("CREATE_MESSAGE")
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
      yield* arrive(
        frame({ id, action: "CREATE_MESSAGE", data: view(1, { user_id: me }) }),
        frame({ id, action: "CREATE_MESSAGE", data: view(2, { user_id: me, category: "" }) }),
        push(3, { user_id: me, category: "" }),
        push(4, { user_id: me, category: "SYSTEM_CONVERSATION" }),
        push(5, { user_id: me })
      )
      // The last one is acknowledged by who takes it, and passed to nobody.
      assert.deepStrictEqual(messages(), [4, 5])
    }))

  test("messages, calls and krakens come out in order, and nothing else does", () =>
    Effect.gen(function* () {
      const { arrive, messages, receipts } = yield* scene()
      yield* arrive(
        push(1),
        push(2, {}, "CREATE_CALL"),
        push(3, {}, "SOMETHING_NEW"),
        frame({ id: "x", action: "CREATE_MESSAGE" }),
        frame({ id: "x", action: "CREATE_MESSAGE", data: null }),
        frame({ id: "x", action: "CREATE_MESSAGE", data: {} }),
        push(4, {}, "CREATE_KRAKEN")
      )
      assert.deepStrictEqual(messages(), [1, 2, 4])
      assert.deepStrictEqual(receipts, [])
    }))

  for (const [name, odd] of Object.entries<object>({
    "a number in text": { expire_in: "0" },
    "a number for a flag": { silent: 0 },
    "null wherever there may be": {
      representative_id: null,
      quote_message_id: null,
      session_id: null,
      silent: null,
      expire_in: null,
      created_at: null
    },
    "a time that is a number": { created_at: 5 },
    "a conversation that is an object": { conversation_id: { id: 1 } },
    "an odd field of its two payloads": { data_base64: ["aGVsbG8"] },
    "a damaged field of its two payloads": { data_base64: "aGVsbG8=!" }
  })) {
    test(`a text with ${name} is the text that it is`, () =>
      Effect.gen(function* () {
        const { arrive, inbox } = yield* scene()
        yield* arrive(push(1, odd), push(2))
        assert.deepStrictEqual(
          inbox.waiting().map((message) => (Message.isText(message) ? message.text : message._tag)),
          ["hello", "hello"]
        )
      }))
  }

  test("a text none of whose payloads is text is Unknown", () =>
    Effect.gen(function* () {
      const { arrive, inbox } = yield* scene()
      yield* arrive(push(1, { data: 5 }), push(2))
      assert.deepStrictEqual(
        inbox.waiting().map(({ _tag }) => _tag),
        ["Unknown", "Text"]
      )
    }))

  test("ids in upper case are lowered, but for the message's own, by which it is acknowledged", () =>
    Effect.gen(function* () {
      const { arrive, inbox } = yield* scene()
      const upper = "ABCDEFAB-4444-4444-8444-00000000000A"
      yield* arrive(
        push(1, {
          message_id: upper,
          conversation_id: upper,
          user_id: alice.toUpperCase(),
          quote_message_id: upper,
          session_id: "no UUID"
        })
      )
      const [message] = inbox.waiting()
      assert(message !== undefined && Message.isText(message))
      assert.strictEqual(message.id, upper)
      assert.strictEqual(message.conversationId, upper.toLowerCase())
      assert.strictEqual(message.senderId, alice)
      assert.deepStrictEqual(message.quotedMessageId, Option.some(upper.toLowerCase()))
      assert.strictEqual(message.view.session_id, "no UUID")
    }))

  test("a receipt is known by its action or by the source of its view", () =>
    Effect.gen(function* () {
      const { arrive, messages, receipts } = yield* scene()
      yield* arrive(
        push(1, {}, "ACKNOWLEDGE_MESSAGE_RECEIPT"),
        push(2, { source: "ACKNOWLEDGE_MESSAGE_RECEIPT" }),
        push(3, { source: "CREATE_MESSAGE" })
      )
      assert.deepStrictEqual(receipts, [1, 2])
      assert.deepStrictEqual(messages(), [3])
    }))

  test("the receipts of one read are told together, and none where there are none", () =>
    Effect.gen(function* () {
      const { arrive, knobs, receipts } = yield* scene()
      const told: Array<number> = []
      knobs.onReceipts = () => told.push(receipts.length)
      yield* arrive(push(1))
      yield* arrive(push(2, {}, "ACKNOWLEDGE_MESSAGE_RECEIPT"), push(3), push(4, {}, "ACKNOWLEDGE_MESSAGE_RECEIPT"))
      assert.deepStrictEqual(told, [2])
    }))

  test("the late answer to a request that timed out is no message: its user is the bot", () =>
    Effect.gen(function* () {
      const { arrive, messages, request } = yield* scene()
      const { fiber, id } = yield* request("CREATE_MESSAGE")
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
      yield* arrive(frame({ id, action: "CREATE_MESSAGE", data: view(1, { user_id: me }) }), push(2))
      assert.deepStrictEqual(messages(), [2])
    }))

  test("after a bad frame nothing of this connection comes out, of the same pull or a later one", () =>
    Effect.gen(function* () {
      const { arrive, ended, messages, passedOver } = yield* scene()
      yield* arrive(push(1), bad, push(2))
      yield* arrive(push(3))
      assert.deepStrictEqual(messages(), [1])
      assert.strictEqual((yield* ended).reason._tag, "BadInput")
      assert.strictEqual(passedOver.length, 0)
    }))

  test("a bad frame that is passed over is told, and the rest goes on", () =>
    Effect.gen(function* () {
      const { arrive, messages, passedOver } = yield* scene({ passOver: true })
      yield* arrive(push(1), bad, push(2))
      yield* arrive(push(3))
      assert.deepStrictEqual(messages(), [1, 2, 3])
      assert.strictEqual(passedOver.length, 1)
    }))
})

describe("room", () => {
  test("while the inbox is full and no request is out nothing is read", () =>
    Effect.gen(function* () {
      const { arrive, messages, takeSettled, unread } = yield* scene({ room: 1 })
      yield* arrive(push(1))
      yield* arrive(push(2))
      yield* arrive(push(3))
      assert.strictEqual(yield* unread, 2)
      assert.deepStrictEqual(yield* takeSettled, [1])
      assert.strictEqual(yield* unread, 0)
      assert.deepStrictEqual(messages(), [2, 3])
    }))

  test("while a request is out it reads on: the answer comes, the messages are kept and come first, in order", () =>
    Effect.gen(function* () {
      const { arrive, messages, receipts, request, takeSettled, unread } = yield* scene({ room: 1 })
      yield* arrive(push(1))
      yield* arrive(push(2))
      assert.strictEqual(yield* unread, 1)
      const { fiber, id } = yield* request("ONE")
      assert.strictEqual(yield* unread, 0)
      const window = push(3)
      yield* arrive(window)
      // What arrives is a window on a buffer that is used again.
      window.fill(0)
      yield* arrive(push(9, { source: "ACKNOWLEDGE_MESSAGE_RECEIPT" }))
      assert.deepStrictEqual(receipts, [9])
      yield* arrive(frame({ id, action: "ONE", data: 1 }))
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.succeed(1))
      yield* arrive(push(4))
      assert.strictEqual(yield* unread, 1)
      assert.deepStrictEqual(messages(), [1])
      assert.deepStrictEqual(yield* takeSettled, [1])
      // All that was kept comes at once; the inbox is full again and the next one stays where it is.
      assert.deepStrictEqual(messages(), [2, 3])
      assert.strictEqual(yield* unread, 1)
      assert.deepStrictEqual(yield* takeSettled, [2, 3])
      assert.deepStrictEqual(messages(), [4])
    }))

  test("a request that timed out is no longer a reason to read on", () =>
    Effect.gen(function* () {
      const { arrive, request, unread } = yield* scene({ room: 1 })
      const { fiber } = yield* request("ONE")
      yield* arrive(push(1))
      yield* arrive(push(2))
      assert.strictEqual(yield* unread, 0)
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
      yield* arrive(push(3))
      yield* arrive(push(4))
      assert.strictEqual(yield* unread, 1)
    }))

  test("what was kept is handed over 256 at a time, and what is pushed in between comes behind it", () =>
    Effect.gen(function* () {
      const { arrive, messages, request, size, takeSettled } = yield* scene({ room: 1 })
      yield* request("ONE")
      yield* arrive(push(0))
      yield* arrive(...Array.from({ length: 300 }, (_, n) => push(n + 1)))
      size.inboxMessages = Infinity
      assert.deepStrictEqual(yield* takeSettled, [0])
      assert.strictEqual(messages().length, 256)
      yield* arrive(push(301))
      assert.deepStrictEqual(
        messages(),
        Array.from({ length: 301 }, (_, n) => n + 1)
      )
    }))

  test("what was kept is gone with the connection: the server lists it to the next one", () =>
    Effect.gen(function* () {
      const { arrive, end, messages, request, takeSettled } = yield* scene({ room: 1 })
      yield* request("ONE")
      yield* arrive(push(1))
      yield* arrive(push(2))
      yield* end
      assert.deepStrictEqual(yield* takeSettled, [1])
      assert.deepStrictEqual(messages(), [])
    }))
})

describe("what is left to the server", () => {
  const tenMinutes = 600_000

  test("is asked for ten minutes after the last listing, once for all of it, and no more after that", () =>
    Effect.gen(function* () {
      const { inbox, listings } = yield* scene()
      yield* pass("3 minutes")
      inbox.forget()
      yield* pass(tenMinutes - 180_000 - 1)
      inbox.forget()
      yield* BlazeTest.settle
      assert.strictEqual(listings(), 1)
      yield* pass(1)
      assert.strictEqual(listings(), 2)
      yield* pass("1 hour")
      assert.strictEqual(listings(), 2)
    }))

  test("is asked for at once where nothing has been listed for ten minutes, and then not for ten minutes", () =>
    Effect.gen(function* () {
      const { inbox, listings } = yield* scene()
      yield* pass("1 hour")
      inbox.forget()
      yield* BlazeTest.settle
      assert.strictEqual(listings(), 2)
      inbox.forget()
      yield* pass(tenMinutes - 1)
      assert.strictEqual(listings(), 2)
      yield* pass(1)
      assert.strictEqual(listings(), 3)
    }))

  test("is asked for 15 seconds after that failed, until it is answered, and the connection goes on", () =>
    Effect.gen(function* () {
      const { arrive, ended, inbox, knobs, listings, sent } = yield* scene()
      const end = yield* Effect.forkChild(ended)
      knobs.listings = "ignored"
      inbox.forget()
      yield* pass(tenMinutes)
      assert.strictEqual(listings(), 2)
      // It has 5 seconds, and no patience.
      yield* pass(19_999)
      assert.strictEqual(listings(), 2)
      yield* pass(1)
      assert.strictEqual(listings(), 3)
      yield* arrive(frame({ id: sent.at(-1)!.id, action: list, error: { code: 7000 } }))
      yield* pass(14_999)
      assert.strictEqual(listings(), 3)
      yield* pass(1)
      assert.strictEqual(listings(), 4)
      yield* arrive(frame({ id: sent.at(-1)!.id, action: list }))
      yield* pass("1 hour")
      assert.strictEqual(listings(), 4)
      assert.isUndefined(end.pollUnsafe())
    }))

  test("is not listed by the answer to a listing that is over", () =>
    Effect.gen(function* () {
      const { arrive, inbox, request, sent } = yield* scene({ room: 1, overflow: 0 })
      yield* request("ONE")
      yield* arrive(push(1))
      yield* arrive(push(2))
      assert.isTrue(inbox.isRefusing())
      yield* arrive(frame({ id: sent[0]!.id, action: list }))
      assert.isTrue(inbox.isRefusing())
    }))
})

describe("that all is listed", () => {
  /** A session whose listing was answered just now, 3 seconds after it was asked for, and what it tells of it. */
  const watched = Effect.gen(function* () {
    const { arrive, sent, session } = yield* scene({ listings: "ignored" })
    yield* pass("3 seconds")
    yield* arrive(frame({ id: sent[0]!.id, action: list }))
    const { watchListing } = yield* Fiber.join(session)
    const told: Array<boolean> = []
    yield* Effect.forkScoped(watchListing((listed) => Effect.sync(() => void told.push(listed))))
    return { arrive, told }
  })

  test("is told a second after the answer", () =>
    Effect.gen(function* () {
      const { told } = yield* watched
      yield* pass(999)
      assert.deepStrictEqual(told, [])
      yield* pass(1)
      assert.deepStrictEqual(told, [true])
    }))

  test("is told a second after the last message of the listing, whatever else is read meanwhile", () =>
    Effect.gen(function* () {
      const { arrive, told } = yield* watched
      for (const n of [1, 2]) {
        yield* pass(900)
        yield* arrive(push(n, { source: list }), push(n + 10))
      }
      yield* pass(900)
      yield* arrive(push(3, { source: "CREATE_MESSAGE" }))
      yield* pass(99)
      assert.deepStrictEqual(told, [])
      yield* pass(1)
      assert.deepStrictEqual(told, [true])
    }))
})

describe("overflow", () => {
  test("keeps near the inbox's bound in bytes, in what one read brings and in what was kept", () =>
    Effect.gen(function* () {
      const { arrive, inbox, messages, take } = yield* scene({ bytes: 50_000 })
      const large = (n: number) => push(n, { data: "x".repeat(20_000) })
      // One pull brings them all.
      yield* arrive(...[1, 2, 3, 4, 5, 6, 7, 8].map(large))
      assert.deepStrictEqual(messages(), [1, 2, 3])
      const taken: Array<number> = []
      while (inbox.waiting().length > 0) {
        assert.isAtMost(inbox.waiting().length, 3)
        taken.push(...take())
        yield* BlazeTest.settle
      }
      assert.deepStrictEqual(taken, [1, 2, 3, 4, 5, 6, 7, 8])
    }))

  const full = Effect.gen(function* () {
    const size = push(2).length + push(3).length
    const all = yield* scene({ room: 1, overflow: size })
    const asked = yield* all.request("ONE")
    yield* all.arrive(push(1))
    yield* all.arrive(push(2), push(3))
    return { ...all, asked }
  })

  test("up to its size pushes are kept, and nothing is listed again", () =>
    Effect.gen(function* () {
      const { listings, messages, size, takeSettled } = yield* full
      size.inboxMessages = Infinity
      assert.deepStrictEqual(yield* takeSettled, [1])
      assert.deepStrictEqual(messages(), [2, 3])
      assert.strictEqual(listings(), 1)
    }))

  test("while only patient requests are out a full inbox pauses reading, for as long as an answer may take", () =>
    Effect.gen(function* () {
      const { arrive, sent, session, unread } = yield* scene({ room: 1 })
      const current = yield* Fiber.join(session)
      const fiber = yield* Effect.forkChild(Effect.exit(current.request("ACKS", {}, { patient: true })))
      yield* BlazeTest.settle
      yield* arrive(push(1))
      yield* arrive(push(2), frame({ id: sent.at(-1)!.id, action: "ACKS" }))
      assert.strictEqual(yield* unread, 2)
      yield* pass(4999)
      assert.strictEqual(yield* unread, 2)
      yield* pass(1)
      assert.strictEqual(yield* unread, 0)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(fiber)))
    }))

  test("a patient request fails when the second period brings no answer either", () =>
    Effect.gen(function* () {
      const { session } = yield* scene()
      const current = yield* Fiber.join(session)
      const fiber = yield* Effect.forkChild(Effect.exit(current.request("ACKS", {}, { patient: true })))
      yield* pass(9999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
    }))

  test("a full inbox does not pause reading while somebody urgently waits", () =>
    Effect.gen(function* () {
      const { arrive, inbox, unread } = yield* scene({ room: 1 })
      yield* arrive(push(1))
      yield* arrive(push(2))
      assert.strictEqual(yield* unread, 1)
      inbox.waitBehind(1)
      yield* BlazeTest.settle
      assert.strictEqual(yield* unread, 0)
      yield* arrive(push(3))
      assert.strictEqual(yield* unread, 0)
      inbox.waitBehind(-1)
      yield* arrive(push(4))
      yield* arrive(push(5))
      assert.isAbove(yield* unread, 0)
    }))

  test("a wall clock that is set back does not put off a timeout", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let offset = 0
      const wrong: typeof clock = Object.create(clock, {
        currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + offset }
      })
      const { request } = yield* Effect.provideService(scene(), Clock.Clock, wrong)
      const { fiber } = yield* request("ONE")
      offset = -60_000
      yield* pass(5000)
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "Timeout")
    }))

  // A fiber gives way every 2 048 operations, between any two of them; it may be interrupted there.
  test("a request that is interrupted wherever it may be leaves nothing behind, and the next one has its timeout", () =>
    Effect.gen(function* () {
      for (let before = 2030; before < 2050; before++) {
        const { arrive, session, unread } = yield* scene({ room: 1 })
        const current = yield* Fiber.join(session)
        const first = yield* Effect.forkChild(
          Effect.gen(function* () {
            for (let n = 0; n < before; n++) yield* Effect.sync(() => {})
            yield* current.request("FIRST")
          }),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(first)
        yield* arrive(push(1))
        yield* arrive(push(2))
        assert.strictEqual(yield* unread, 1, `${before}`)
        const second = yield* Effect.forkChild(Effect.exit(current.request("SECOND")))
        yield* pass(5000)
        assert.isDefined(second.pollUnsafe(), `${before}`)
        assert.strictEqual(reasonOf(yield* Fiber.join(second))._tag, "Timeout")
      }
    }))

  test("a request whose time is put off does not put off the end of the one behind it", () =>
    Effect.gen(function* () {
      const { arrive, request } = yield* scene()
      const first = yield* request("ONE")
      yield* arrive(ballast(2 * 1024 * 1024))
      yield* pass(1000)
      const second = yield* request("TWO")
      yield* pass(4000)
      assert.isUndefined(first.fiber.pollUnsafe())
      yield* pass(999)
      assert.isUndefined(second.fiber.pollUnsafe())
      yield* pass(1)
      assert.isDefined(second.fiber.pollUnsafe())
      assert.strictEqual(reasonOf(yield* Fiber.join(second.fiber))._tag, "Timeout")
      assert.isUndefined(first.fiber.pollUnsafe())
      yield* pass(4000)
      assert.isDefined(first.fiber.pollUnsafe())
      assert.strictEqual(reasonOf(yield* Fiber.join(first.fiber))._tag, "Timeout")
    }))

  test("requests that were answered do not keep the time of the others", () =>
    Effect.gen(function* () {
      const { arrive, request } = yield* scene()
      const first = yield* request("ONE")
      yield* pass(2000)
      const second = yield* request("TWO")
      yield* arrive(frame({ id: first.id, action: "ONE" }))
      yield* pass(4999)
      assert.isUndefined(second.fiber.pollUnsafe())
      yield* pass(1)
      assert.strictEqual(reasonOf(yield* Fiber.join(second.fiber))._tag, "Timeout")
      // The watch has ended with the last of them, and begins anew.
      yield* pass(60_000)
      const third = yield* request("THREE")
      yield* pass(5000)
      assert.strictEqual(reasonOf(yield* Fiber.join(third.fiber))._tag, "Timeout")
    }))

  test("what was kept comes out though the inbox was emptied while it was read", () =>
    Effect.gen(function* () {
      const { arrive, messages, sent, session, take } = yield* scene({ room: 1 })
      const current = yield* Fiber.join(session)
      yield* Effect.forkChild(Effect.tap(current.request("ONE"), () => Effect.sync(take)))
      yield* BlazeTest.settle
      yield* arrive(push(1))
      yield* arrive(frame({ id: sent.at(-1)!.id, action: "ONE" }), push(2), push(3))
      assert.deepStrictEqual(messages(), [2, 3])
    }))

  test("beyond it pushes are refused, with all that follows them, until a new listing is answered", () =>
    Effect.gen(function* () {
      const { arrive, asked, knobs, listings, messages, sent, size, takeSettled } = yield* full
      knobs.listings = "ignored"
      yield* arrive(push(4), push(5))
      assert.deepStrictEqual(yield* takeSettled, [1])
      assert.deepStrictEqual(messages(), [2, 3])
      // Full again, so that there is no sense in a listing yet.
      assert.strictEqual(listings(), 1)
      yield* arrive(push(6))
      size.inboxMessages = Infinity
      assert.deepStrictEqual(yield* takeSettled, [2, 3])
      assert.strictEqual(listings(), 2)
      const again = sent.at(-1)!
      assert.strictEqual(again.action, list)
      // Neither room nor the answer to something else is an answer to the listing.
      yield* arrive(push(7), frame({ id: asked.id, action: "ONE" }), push(8))
      assert.deepStrictEqual(messages(), [])
      yield* arrive(push(9), frame({ id: again.id, action: list }), push(4), push(5))
      assert.deepStrictEqual(messages(), [4, 5])
      yield* arrive(push(6), push(7))
      assert.deepStrictEqual(messages(), [4, 5, 6, 7])
      yield* takeSettled
      assert.strictEqual(listings(), 2)
    }))

  test("a refusal after a new listing makes another one", () =>
    Effect.gen(function* () {
      const { arrive, listings, messages, request, size, takeSettled } = yield* full
      yield* arrive(push(4))
      size.inboxMessages = Infinity
      yield* takeSettled
      assert.strictEqual(listings(), 2)
      yield* arrive(push(4))
      assert.deepStrictEqual(messages(), [2, 3, 4])
      size.inboxMessages = 1
      yield* request("TWO")
      yield* arrive(push(5), push(6))
      yield* arrive(push(7))
      size.inboxMessages = Infinity
      yield* takeSettled
      assert.strictEqual(listings(), 3)
      yield* arrive(push(7))
      assert.deepStrictEqual(messages(), [5, 6, 7])
    }))

  test("a refusal in the same breath as the answer to a new listing is not forgotten", () =>
    Effect.gen(function* () {
      const { arrive, knobs, listings, sent, size, take, takeSettled } = yield* full
      knobs.listings = "ignored"
      yield* arrive(push(4))
      size.inboxMessages = Infinity
      yield* takeSettled
      yield* takeSettled
      assert.strictEqual(listings(), 2)
      size.inboxMessages = 0
      // There is room again before anybody but the reader has had a turn.
      knobs.onReceipts = () => {
        size.inboxMessages = Infinity
        take()
      }
      yield* arrive(
        frame({ id: sent.at(-1)!.id, action: list }),
        push(5, { data: "x".repeat(1000) }),
        push(6, { source: "ACKNOWLEDGE_MESSAGE_RECEIPT" })
      )
      assert.strictEqual(listings(), 3)
    }))

  test("a new listing that is refused leaves the pushes refused and ends the connection", () =>
    Effect.gen(function* () {
      const { arrive, ended, knobs, messages, sent, size, takeSettled } = yield* full
      knobs.listings = "ignored"
      yield* arrive(push(4))
      size.inboxMessages = Infinity
      yield* takeSettled
      yield* takeSettled
      yield* arrive(frame({ id: sent.at(-1)!.id, action: list, error: { code: 7000 } }))
      yield* arrive(push(5))
      assert.deepStrictEqual(messages(), [])
      assert.strictEqual((yield* ended).reason._tag, "ApiFailure")
    }))

  test("a new listing that is never answered ends the connection", () =>
    Effect.gen(function* () {
      const { arrive, ended, knobs, size, takeSettled } = yield* full
      knobs.listings = "ignored"
      yield* arrive(push(4))
      size.inboxMessages = Infinity
      yield* takeSettled
      const end = yield* Effect.forkChild(ended)
      yield* pass(5000)
      assert.strictEqual((yield* Fiber.join(end)).reason._tag, "Timeout")
    }))
})
