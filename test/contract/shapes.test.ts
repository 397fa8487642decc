// What the built-in server sends, held against what was captured of the real one: keys, their order, presence, and the form of values.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { BlazeSocket, Envelope } from "effect-blaze"
import * as Nanoseconds from "../../src/internal/Nanoseconds.ts"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { gunzipSync } from "node:zlib"
import { vectors } from "../support.ts"
import { both, scene } from "./faces.ts"

const captured = new Map(
  vectors<{ readonly json: string }, unknown>("views").map(({ input, name }) => [name, input.json] as const)
)

/** Cases that the server of today does not send. */
const notSent = [
  "live push, 2019: no data_base64, silent, expire_in",
  "live push, 2018: no session_id either, transfer of the bot's own, nine digits",
  "pending view, 2019: primitive ids, empty session",
  "answer to CREATE_MESSAGE: a full view (fixture of 2022)",
  "error as the old guide prints it: the word misspelt, no status",
  "error with a status that is no number (old guide)",
  "push of the newest Go client's own test server: empty envelope id, zero view"
]

const checked = new Set<string>()

/** Ids and times are made up; that they are ids and times is not. The nil id and the zero time say something, and stay. */
const form = (json: string) =>
  json
    .replace(/"(?!00000000-0000-0000-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"/g, '"an id"')
    .replace(/"(?!0001-)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z"/g, '"a time"')

const same = (frame: string | undefined, name: string) => {
  checked.add(name)
  assert.strictEqual(form(frame ?? "none"), form(captured.get(name) ?? `no case "${name}"`), name)
}

const open = Effect.flatMap(BlazeSocket.BlazeSocket, (socket) => socket.open)

/** The next frames as they are. */
const frames = Effect.fnUntraced(function* (wire: BlazeSocket.Wire, count: number) {
  const all: Array<Uint8Array> = []
  while (all.length < count) for (const frame of yield* wire.receive) all.push(frame as Uint8Array)
  assert.strictEqual(all.length, count)
  return all
})

const next = (wire: BlazeSocket.Wire, count: number) =>
  Effect.map(frames(wire, count), (all) => all.map((frame) => gunzipSync(frame).toString()))

const id = () => crypto.randomUUID()
const list = () => ({ id: id(), action: Envelope.Action.listPendingMessages })
const create = (params: object) => ({ id: id(), action: Envelope.Action.createMessage, params })
const dataOf = (json: string | undefined) => (JSON.parse(json ?? "{}") as { data: Record<string, unknown> }).data

describe("the shape of what the built-in server sends", () => {
  both(
    "pushes, from the backlog and live, and the answer before them",
    Effect.gen(function* () {
      const { alice, bot, server, socket } = yield* scene
      yield* Effect.gen(function* () {
        yield* alice.say("hello")
        const wire = yield* open
        yield* wire.send(list())
        const [answer, pending] = yield* next(wire, 2)
        same(answer, "answer to LIST_PENDING_MESSAGES: no data")
        same(pending, "push from the backlog")
        yield* alice.say("hello")
        same((yield* next(wire, 1))[0], "live push, 2023: all 16 keys in the server's order")
        const event = { action: "JOIN", participant_id: bot.userId, user_id: alice.userId }
        const notice = {
          conversationId: alice.conversationId,
          category: "SYSTEM_CONVERSATION",
          payload: JSON.stringify(event)
        }
        yield* server.notify(bot, { ...notice, userId: bot.userId })
        const [own] = yield* next(wire, 1)
        const { data, data_base64 } = dataOf(captured.get("group event with the bot's own id"))
        same(
          own
            ?.replace(String(dataOf(own)["data"]), String(data))
            .replace(String(dataOf(own)["data_base64"]), String(data_base64)),
          "group event with the bot's own id"
        )
        assert.strictEqual(dataOf(own)["user_id"], bot.userId)
        assert.deepStrictEqual(JSON.parse(atob(String(dataOf(own)["data"]))), event)
        yield* server.notify(bot, notice)
        assert.strictEqual(
          dataOf((yield* next(wire, 1))[0])["user_id"],
          "00000000-0000-0000-0000-000000000000",
          "what Mixin says in its own name"
        )
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "the answer to a message, and the receipts that follow it, however early somebody reads",
    Effect.gen(function* () {
      const { alice, bot, reaches, server, socket } = yield* scene
      yield* alice.addBot
      yield* Effect.gen(function* () {
        const wire = yield* open
        yield* wire.send(list())
        yield* next(wire, 2)
        yield* server.inject({ _tag: "DelayAnswer", by: "50 millis" })
        const params = {
          conversation_id: alice.conversationId,
          message_id: id(),
          category: "PLAIN_TEXT",
          data_base64: "aGk"
        }
        yield* wire.send(create(params))
        yield* reaches(Effect.map(alice.reads, (texts) => texts.length === 1))
        const arrived = yield* Effect.forkChild(next(wire, 3))
        yield* reaches(Effect.sync(() => arrived.pollUnsafe() !== undefined))
        const [answer, delivered, read] = yield* Fiber.join(arrived)
        same(answer, "answer to CREATE_MESSAGE: own view, category and data empty, nine digits")
        same(delivered, "receipt DELIVERED, 2019: nobody's id, zero time")
        same(read, "receipt READ")
        assert.deepStrictEqual(
          [answer, delivered, read].map((frame) => dataOf(frame)["message_id"]),
          [params.message_id, params.message_id, params.message_id]
        )
        assert.strictEqual(dataOf(answer)["user_id"], bot.userId)

        yield* wire.send(create(params))
        const [again] = yield* next(wire, 1)
        assert.deepStrictEqual(dataOf(again), dataOf(answer), "the view of the first")
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "the answer to an acknowledgement, and errors",
    Effect.gen(function* () {
      const { server, socket } = yield* scene
      yield* Effect.gen(function* () {
        const wire = yield* open
        yield* wire.send({
          id: id(),
          action: Envelope.Action.acknowledgeReceipt,
          params: { message_id: id(), status: "READ" }
        })
        same((yield* next(wire, 1))[0], "answer to an acknowledgement: no data")
        yield* wire.send(create({ conversation_id: id(), message_id: "x", category: "PLAIN_TEXT", data: "aGk=" }))
        same((yield* next(wire, 1))[0], "error with extra as a string")
        yield* server.inject({ _tag: "FailRequest", code: 7001 })
        yield* wire.send(list())
        assert.strictEqual(
          form((yield* next(wire, 1))[0]!),
          '{"id":"an id","action":"LIST_PENDING_MESSAGES","error":{"status":500,"code":7001,"description":"The blaze operation timeout."}}'
        )
      }).pipe(Effect.scoped, Effect.provide(socket))
      yield* server.inject({ _tag: "ErrorFrame", code: 401 })
      yield* Effect.gen(function* () {
        same((yield* next(yield* open, 1))[0], "refused bot: ERROR frame with the nil id after a successful upgrade")
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  both(
    "frames are deflated, however short, with the header that Go writes",
    Effect.gen(function* () {
      const { alice, socket } = yield* scene
      yield* alice.say("hello ".repeat(500))
      yield* Effect.gen(function* () {
        const wire = yield* open
        yield* wire.send(list())
        for (const frame of yield* frames(wire, 2)) {
          assert.strictEqual(Buffer.from(frame.subarray(0, 10)).toString("hex"), "1f8b08000000000000ff")
          assert.notStrictEqual(frame[10]! & 0b110, 0, "a stored block")
        }
      }).pipe(Effect.scoped, Effect.provide(socket))
    })
  )

  it.effect("times grow while the clock stands, however often it is asked", () =>
    Effect.gen(function* () {
      const { pendingViews } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      for (let n = 0; n < 5000; n++) yield* alice.say("hi")
      const times = (yield* pendingViews).map(({ created_at }) => Nanoseconds.fromText(created_at)!)
      assert.strictEqual(new Set(times).size, 5000)
      assert.deepStrictEqual(
        times,
        times.toSorted((a, b) => Number(a - b))
      )
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("times have 0 to 9 digits of a fraction, none of them a zero at the end, and are those of the clock", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      const wire = yield* open
      yield* wire.send(list())
      yield* next(wire, 1)
      const times: Array<string> = []
      for (let n = 0; n < 300; n++) {
        if (n % 3 === 0) yield* TestClock.adjust([1, 9, 90, 900][(n / 3) % 4]!)
        const now = server.now()
        yield* n % 10 === 0
          ? server.notify(bot, { conversationId: alice.conversationId, category: "SYSTEM_USER", payload: "{}" })
          : alice.say("hi")
        const { created_at, updated_at } = dataOf((yield* next(wire, 1))[0])
        assert.strictEqual(created_at, updated_at)
        assert.match(String(created_at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/)
        assert.strictEqual(Date.parse(String(created_at)), now)
        times.push(String(created_at))
      }
      const fractions = times.map((time) => /\.(\d+)Z/.exec(time)?.[1] ?? "")
      assert.deepStrictEqual(
        [...new Set(fractions.map(({ length }) => length))].toSorted(),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
      )
      const comparable = times.map((time, n) => time.slice(0, 19) + fractions[n]!.padEnd(9, "0"))
      assert.deepStrictEqual(comparable, comparable.toSorted(), "in the order of the messages")
      assert.strictEqual(new Set(comparable).size, times.length)
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layerSocket), Effect.provide(BlazeTest.layerServer))
  )

  it("every captured case is one of these, or one of another time", () => {
    assert.deepStrictEqual([...checked, ...notSent].toSorted(), [...captured.keys()].toSorted())
  })
})
