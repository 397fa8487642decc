import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option, Result } from "effect"
import { BlazeError, type Envelope, type Message } from "effect-blaze"
import * as Inbox from "../src/internal/Inbox.ts"
import * as Meter from "../src/internal/Meter.ts"
import * as Ids from "../src/Ids.ts"

const id = (n: number) => Ids.MessageId.make(`3f2b1c4d-9a8e-4c6b-8d7f-${String(n).padStart(12, "0")}`)

const view = (n: number, category = "PLAIN_TEXT"): Envelope.MessageView => ({
  message_id: id(n),
  conversation_id: "8d7f6e5c-1a2b-4c3d-9e8f-000000000000",
  user_id: "773e5e77-4107-45c2-b648-8fc722ed77f5",
  category,
  data: "aGVsbG8"
})

// A frame is what it holds: how frames are read is none of the inbox's business.
const frameOf = (n: number) => new TextEncoder().encode(JSON.stringify({ id: "", action: "", data: view(n) }))
const frameSize = frameOf(1).length
const wire = {
  decode: (frame: Uint8Array | string) => Result.succeed(JSON.parse(new TextDecoder().decode(frame as Uint8Array)))
}

const numbers = (messages: ReadonlyArray<Message.Message>) => messages.map((message) => Number(message.id.slice(-12)))

const plenty = { inboxMessages: 1000, inboxBytes: 1e9, overflowBytes: 1e9 }

/** An inbox on an open connection, what it measures, and a way to have it take in the messages of one read. */
const inboxWith = Effect.fnUntraced(function* (bounds: Partial<typeof plenty>) {
  const measured: Array<string> = []
  const inbox = yield* Effect.provideService(Inbox.makeWith({ ...plenty, ...bounds }), Meter.Meter, {
    measure: ({ id }, value, label = "") =>
      void measured.push(`${id.replace("blaze_", "")}${label && ` ${label}`} ${value}`),
    now: () => 0
  })
  inbox.open(wire)
  const read = (...ns: ReadonlyArray<number>) => {
    for (const n of ns) inbox.accept(view(n), frameOf(n))
    inbox.announce()
  }
  const take = () => numbers(inbox.take())
  return { inbox, read, take, measured }
})

/** How many bytes one of these messages counts. */
const messageSize = Effect.map(inboxWith({}), ({ inbox, read }) => {
  read(1)
  return inbox.waiting()[0]!.size
})

const isDone = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() !== undefined

/** Whether somebody who waits for something goes on, now. */
const goesOn = Effect.fnUntraced(function* (wait: Effect.Effect<unknown, unknown>) {
  const fiber = yield* Effect.forkChild(wait, { startImmediately: true })
  const done = isDone(fiber)
  yield* Fiber.interrupt(fiber)
  return done
})

describe("an inbox", () => {
  it.effect("takes in all of a read that begins within its bound, and no other", () =>
    Effect.gen(function* () {
      const { inbox, read, take } = yield* inboxWith({ inboxMessages: 2 })
      read(1)
      assert.isTrue(inbox.mayReadNow())
      read(2, 3, 4)
      assert.isFalse(inbox.mayReadNow())
      read(5)
      assert.deepStrictEqual(numbers(inbox.waiting()), [1, 2, 3, 4])
      assert.deepStrictEqual(take(), [1, 2, 3, 4])
      // What was kept is ready as soon as there is room.
      assert.deepStrictEqual(numbers(inbox.waiting()), [5])
      assert.isTrue(inbox.mayReadNow())
      assert.deepStrictEqual(take(), [5])
    })
  )

  it.effect("is full at its bound in bytes, within one read too", () =>
    Effect.gen(function* () {
      const { inbox, read, take } = yield* inboxWith({ inboxBytes: 2 * (yield* messageSize) })
      read(1)
      assert.isTrue(inbox.mayReadNow())
      read(2, 3)
      assert.isFalse(inbox.mayReadNow())
      assert.deepStrictEqual(numbers(inbox.waiting()), [1, 2])
      assert.deepStrictEqual(take(), [1, 2])
      assert.deepStrictEqual(take(), [3])
      read(4)
      assert.isTrue(inbox.mayReadNow())
      // What goes back counts, and what is taken out does not.
      const [four] = inbox.take()
      read(5)
      inbox.offer([four!], "last")
      assert.isFalse(inbox.mayReadNow())
      const reading = yield* Effect.forkChild(inbox.mayRead, { startImmediately: true })
      assert.isTrue(inbox.remove(id(4)))
      yield* Effect.yieldNow
      assert.isTrue(isDone(reading))
      assert.deepStrictEqual(take(), [5])
    })
  )

  it.effect("makes 256 of what was kept ready in one go, in the order in which it came", () =>
    Effect.gen(function* () {
      const { inbox, read, take } = yield* inboxWith({ inboxMessages: 600 })
      const all = Array.from({ length: 900 }, (_, n) => n)
      read(...all.slice(0, 600))
      read(...all.slice(600))
      assert.deepStrictEqual(take(), all.slice(0, 600))
      assert.deepStrictEqual(numbers(inbox.waiting()), all.slice(600, 856))
      // Anything that happens makes more ready, and so does what is taken.
      inbox.announce()
      assert.deepStrictEqual(numbers(inbox.waiting()), all.slice(600))
      assert.deepStrictEqual(take(), all.slice(600))
    })
  )

  it.effect("keeps frames up to its bound, which has room again when they are taken", () =>
    Effect.gen(function* () {
      const { inbox, read, take } = yield* inboxWith({ inboxMessages: 1, overflowBytes: 2 * frameSize })
      for (let round = 0; round < 3; round++) {
        read(1)
        read(2, 3)
        assert.isFalse(inbox.isRefusing())
        assert.deepStrictEqual([take(), take()], [[1], [2, 3]])
      }
      read(1)
      read(2, 3, 4)
      assert.isTrue(inbox.isRefusing())
    })
  )

  it.effect("refuses all that follows a message that found no room, until the server lists again", () =>
    Effect.gen(function* () {
      const { inbox, measured, read, take } = yield* inboxWith({ inboxMessages: 1, overflowBytes: frameSize })
      const [refusing, refused] = yield* Effect.all(
        [inbox.refusing, inbox.refused].map((wait) => Effect.forkChild(wait, { startImmediately: true }))
      )
      read(1)
      read(2)
      yield* Effect.yieldNow
      assert.isFalse(isDone(refusing!))
      assert.isTrue(yield* goesOn(inbox.allListed))
      read(3)
      yield* Effect.yieldNow
      assert.isTrue(isDone(refusing!))
      assert.isFalse(yield* goesOn(inbox.allListed))
      // There is no room for it yet.
      assert.isFalse(isDone(refused!))
      assert.deepStrictEqual(take(), [1])
      yield* Effect.yieldNow
      assert.isFalse(isDone(refused!))
      assert.deepStrictEqual(take(), [2])
      yield* Effect.yieldNow
      assert.isTrue(isDone(refused!))
      // 4 may be of the conversation of 3, and must not come before it.
      read(4)
      assert.deepStrictEqual(take(), [])
      assert.deepStrictEqual(
        measured.filter((line) => line.startsWith("refused")),
        ["refused_pushes_total 1", "refused_pushes_total 1"]
      )
      inbox.listed()
      assert.isFalse(inbox.isRefusing())
      read(3, 4)
      assert.deepStrictEqual(take(), [3, 4])
    })
  )

  for (const isClosed of [true, false]) {
    it.effect(`keeps nothing of a connection ${isClosed ? "that has closed" : "that is replaced"}`, () =>
      Effect.gen(function* () {
        const { inbox, measured, read, take } = yield* inboxWith({ inboxMessages: 1, overflowBytes: 2 * frameSize })
        read(1)
        read(2, 3, 4)
        assert.isTrue(inbox.isRefusing())
        measured.length = 0
        if (isClosed) {
          inbox.close()
          // Nor is anything refused that comes of it all the same.
          read(5)
          assert.deepStrictEqual([numbers(inbox.waiting()), measured], [[1], []])
        }
        inbox.open(wire)
        assert.isFalse(inbox.isRefusing())
        assert.deepStrictEqual([take(), take()], [[1], []])
        // And all of the room for frames is there.
        read(1)
        read(2, 3)
        assert.isFalse(inbox.isRefusing())
        assert.deepStrictEqual([take(), take()], [[1], [2, 3]])
      })
    )
  }

  it.effect("is read on while full for as long as somebody waits for what stands behind its messages", () =>
    Effect.gen(function* () {
      const { inbox, read } = yield* inboxWith({ inboxMessages: 1 })
      read(1)
      const reading = yield* Effect.forkChild(inbox.mayRead, { startImmediately: true })
      assert.isFalse(isDone(reading))
      const gates = [Effect.never, Effect.never]
      const [first, second] = yield* Effect.all(
        gates.map((gate) => Effect.forkChild(inbox.urgently(gate), { startImmediately: true }))
      )
      yield* Effect.yieldNow
      assert.isTrue(isDone(reading))
      yield* Fiber.interrupt(first!)
      assert.isTrue(inbox.mayReadNow())
      yield* Fiber.interrupt(second!)
      assert.isFalse(inbox.mayReadNow())
      inbox.waitBehind(1)
      assert.isTrue(inbox.mayReadNow())
      inbox.waitBehind(-1)
      assert.isFalse(inbox.mayReadNow())
      assert.isTrue(yield* Effect.scoped(Effect.andThen(inbox.urgent, Effect.sync(inbox.mayReadNow))))
      assert.isFalse(inbox.mayReadNow())
    })
  )

  it.effect("tells when something that was handed out is left to the server, until it is asked to list", () =>
    Effect.gen(function* () {
      const { inbox } = yield* inboxWith({})
      const forgotten = yield* Effect.forkChild(inbox.forgotten, { startImmediately: true })
      assert.isFalse(isDone(forgotten))
      inbox.forget()
      yield* Effect.yieldNow
      assert.isTrue(isDone(forgotten))
      assert.isTrue(yield* goesOn(inbox.forgotten))
      inbox.listing()
      assert.isFalse(yield* goesOn(inbox.forgotten))
    })
  )

  it.effect("has messages in the order in which they are given back, before or behind what waits", () =>
    Effect.gen(function* () {
      const { inbox, read, take } = yield* inboxWith({})
      read(1, 2)
      const [one, two] = inbox.take()
      read(3)
      inbox.offer([two!], "last")
      inbox.offer([one!], "first")
      assert.deepStrictEqual(numbers(inbox.waiting()), [1, 3, 2])
      assert.isFalse(inbox.remove(id(4)))
      assert.isTrue(inbox.remove(id(3)))
      assert.isTrue(inbox.remove(id(1)))
      assert.deepStrictEqual(take(), [2])
    })
  )

  it.effect("one who waits for messages is told of them, of what goes back, and of the end", () =>
    Effect.gen(function* () {
      const reason = BlazeError.make(new BlazeError.BadInput({ problem: "a test" }))
      const { inbox, read, take } = yield* inboxWith({})
      const waits = () =>
        Effect.all([inbox.arrival, inbox.filled].map((wait) => Effect.forkChild(wait, { startImmediately: true })))
      const before = yield* waits()
      assert.deepStrictEqual(before.map(isDone), [false, false])
      // Of a read that is still taken in nobody is told.
      inbox.accept(view(1), frameOf(1))
      yield* Effect.yieldNow
      assert.deepStrictEqual(before.map(isDone), [false, false])
      inbox.announce()
      yield* Effect.yieldNow
      assert.deepStrictEqual(before.map(isDone), [true, true])
      const taken = inbox.take()
      const again = yield* waits()
      inbox.offer(taken, "last")
      yield* Effect.yieldNow
      assert.deepStrictEqual(again.map(isDone), [true, true])

      assert.isFalse(yield* goesOn(inbox.ended))
      const ended = yield* Effect.forkChild(inbox.ended, { startImmediately: true })
      inbox.stop(reason)
      yield* Effect.yieldNow
      assert.isTrue(isDone(ended))
      // What is there is taken first.
      yield* Effect.asVoid(inbox.arrival).pipe(Effect.orDie)
      assert.deepStrictEqual(take(), [1])
      const exit = yield* Effect.exit(inbox.arrival)
      assert.deepStrictEqual(Exit.findErrorOption(exit), Option.some(reason))
      read(2)
      assert.deepStrictEqual(take(), [2])
    })
  )

  it.effect("has ended at once for who drains it, whatever waits, and whatever happens then", () =>
    Effect.gen(function* () {
      const { inbox, read } = yield* inboxWith({})
      read(1)
      const ended = yield* Effect.forkChild(inbox.ended, { startImmediately: true })
      yield* inbox.end
      yield* Effect.yieldNow
      assert.isTrue(isDone(ended))
      inbox.stop(BlazeError.make(new BlazeError.BadInput({ problem: "a test" })))
      const exit = yield* Effect.exit(inbox.arrival)
      assert.isTrue(Exit.isFailure(exit) && Cause.isDone(Option.getOrThrow(Exit.findErrorOption(exit))))
      assert.deepStrictEqual(numbers(inbox.waiting()), [1])
    })
  )

  it.effect("measures messages by their category, once each read, and how many wait when that has changed", () =>
    Effect.gen(function* () {
      const { inbox, measured, read, take } = yield* inboxWith({})
      inbox.announce()
      assert.deepStrictEqual(measured, [])
      inbox.accept(view(1), frameOf(1))
      inbox.accept(view(2, "PLAIN_IMAGE"), frameOf(2))
      read(3)
      assert.deepStrictEqual(measured.splice(0), [
        "messages_total PLAIN_TEXT 2",
        "messages_total PLAIN_IMAGE 1",
        "inbox_messages 3"
      ])
      inbox.announce()
      assert.deepStrictEqual(measured, [])
      take()
      assert.deepStrictEqual(measured.splice(0), ["inbox_messages 0"])
      read(4)
      assert.deepStrictEqual(measured.splice(0), ["messages_total PLAIN_TEXT 1", "inbox_messages 1"])
    })
  )
})
