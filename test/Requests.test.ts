import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { BlazeError, type BlazeSocket, type Envelope } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { SecureRandom } from "effect/crypto"
import * as Requests from "../src/internal/Requests.ts"

const { pass, settle } = BlazeTest

const lost = BlazeError.make(new BlazeError.ConnectionLost({ code: 1000 }))
const refused = BlazeError.fromApi({ code: 10002 })
const megabyte = 1024 * 1024

const waiting = "waiting"
const timedOut = (action: string) => `Timed out: waiting for the answer to ${action}.`
const notReading = "The connection was lost (close code 1006, the server does not read what we write)."

/** Requests over a wire that takes everything at once, until a test says otherwise, and answers nothing. */
const scene = Effect.fnUntraced(function* (random = 7) {
  const sent: Array<Envelope.Request> = []
  const knobs = { isSaturated: false, write: Effect.void as Effect.Effect<void, BlazeError.BlazeError> }
  const wire: Pick<BlazeSocket.Wire, "send" | "isSaturated"> = {
    send: (request) => {
      sent.push(request)
      return knobs.write
    },
    isSaturated: () => knobs.isSaturated
  }
  // How many wait for what stands behind the messages.
  let behind = 0
  const requests = yield* Requests.make(
    wire,
    { waitBehind: (more) => void (behind += more) },
    SecureRandom.make((size) => new Uint8Array(size).fill(random))
  )
  /** Asks for something; `outcome` is what has become of that so far: the answer, or what the error says. */
  const ask = Effect.fnUntraced(function* (action: string, options?: Requests.Options) {
    const id = requests.nextId()
    const asked = { id, outcome: waiting as unknown }
    const sending = Effect.match(requests.send(id, action, { of: action }, options), {
      onSuccess: (answer) => void (asked.outcome = answer),
      onFailure: ({ message }) => void (asked.outcome = message)
    })
    const fiber = yield* Effect.forkChild(sending, { startImmediately: true })
    return Object.assign(asked, { interrupt: Fiber.interrupt(fiber) })
  })
  const answer = (id: string, answer: unknown) => {
    const wasAwaited = requests.answer(id, Effect.succeed(answer))
    return Effect.as(settle, wasAwaited)
  }
  const end = (reason: BlazeError.BlazeError) => {
    requests.end(reason)
    return settle
  }
  return { answer, ask, behind: () => behind, end, knobs, requests, sent }
})

/** Those of a scene in which a write waits for ever. */
const stuck = Effect.gen(function* () {
  const all = yield* scene()
  all.knobs.isSaturated = true
  all.knobs.write = Effect.never
  return all
})

describe("ids", () => {
  it.effect("are UUIDs, each of its own, and told from those of another connection", () =>
    Effect.gen(function* () {
      const { requests } = yield* scene()
      const other = yield* scene(8)
      const ids = Array.from({ length: 300 }, requests.nextId)
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      assert.strictEqual(new Set(ids).size, 300)
      assert.isTrue(ids.every(requests.isOwn))
      assert.isFalse(ids.some(other.requests.isOwn))
    })
  )
})

describe("an answer", () => {
  it.effect("finds its request by id, whatever the order", () =>
    Effect.gen(function* () {
      const { answer, ask, sent } = yield* scene()
      const one = yield* ask("ONE")
      const two = yield* ask("TWO")
      assert.deepStrictEqual(sent, [
        { id: one.id, action: "ONE", params: { of: "ONE" } },
        { id: two.id, action: "TWO", params: { of: "TWO" } }
      ])
      assert.isTrue(yield* answer(two.id, 2))
      assert.deepStrictEqual([one.outcome, two.outcome], [waiting, 2])
      assert.isTrue(yield* answer(one.id, 1))
      assert.strictEqual(one.outcome, 1)
    })
  )

  it.effect("may be an error", () =>
    Effect.gen(function* () {
      const { ask, requests } = yield* scene()
      const one = yield* ask("ONE")
      assert.isTrue(requests.answer(one.id, Effect.fail(refused)))
      yield* settle
      assert.strictEqual(one.outcome, refused.message)
    })
  )

  it.effect("that nobody waits for, or nobody any more, is none", () =>
    Effect.gen(function* () {
      const { answer, ask } = yield* scene()
      assert.isFalse(yield* answer("of somebody else", 0))
      const one = yield* ask("ONE")
      const late = yield* ask("LATE")
      assert.isFalse(yield* answer("of somebody else", 0))
      yield* answer(one.id, 1)
      assert.isFalse(yield* answer(one.id, 2))
      assert.strictEqual(one.outcome, 1)
      yield* pass("5 seconds")
      assert.isFalse(yield* answer(late.id, 1))
      assert.strictEqual(late.outcome, timedOut("LATE"))
    })
  )

  it.effect("that comes before the socket has taken the request counts as soon as it has", () =>
    Effect.gen(function* () {
      const { answer, ask, knobs } = yield* scene()
      knobs.isSaturated = true
      knobs.write = Effect.sleep("3 seconds")
      const one = yield* ask("ONE")
      assert.isTrue(yield* answer(one.id, 1))
      assert.strictEqual(one.outcome, waiting)
      yield* pass("3 seconds")
      assert.strictEqual(one.outcome, 1)
    })
  )
})

describe("a request", () => {
  it.effect("has 5 seconds, to the millisecond, and so has each that is asked after it", () =>
    Effect.gen(function* () {
      const { ask } = yield* scene()
      const one = yield* ask("ONE")
      yield* pass(1)
      const two = yield* ask("TWO")
      yield* pass(4998)
      assert.strictEqual(one.outcome, waiting)
      yield* pass(1)
      assert.deepStrictEqual([one.outcome, two.outcome], [timedOut("ONE"), waiting])
      yield* pass(1)
      assert.strictEqual(two.outcome, timedOut("TWO"))
      // Nobody waits, and the time of the next one is watched all the same.
      yield* pass("1 minute")
      const three = yield* ask("THREE")
      yield* pass("5 seconds")
      assert.strictEqual(three.outcome, timedOut("THREE"))
    })
  )

  it.effect("has its 5 seconds from when the socket has taken it", () =>
    Effect.gen(function* () {
      const { ask, knobs } = yield* scene()
      knobs.isSaturated = true
      knobs.write = Effect.sleep("3 seconds")
      const one = yield* ask("ONE")
      yield* pass(7999)
      assert.strictEqual(one.outcome, waiting)
      yield* pass(1)
      assert.strictEqual(one.outcome, timedOut("ONE"))
    })
  )

  it.effect("whose write takes 5 seconds is the end of all that was asked, and of what will be", () =>
    Effect.gen(function* () {
      const { ask, knobs, requests, sent } = yield* stuck
      const stalled = yield* Effect.forkChild(Effect.flip(requests.stalled))
      const one = yield* ask("ONE")
      knobs.isSaturated = false
      knobs.write = Effect.void
      yield* pass("1 second")
      const two = yield* ask("TWO")
      yield* pass(3999)
      assert.deepStrictEqual([one.outcome, two.outcome, stalled.pollUnsafe()], [waiting, waiting, undefined])
      yield* pass(1)
      const three = yield* ask("THREE")
      assert.deepStrictEqual([one.outcome, two.outcome, three.outcome], [notReading, notReading, notReading])
      assert.strictEqual((yield* Fiber.join(stalled)).message, notReading)
      assert.deepStrictEqual(
        sent.map(({ action }) => action),
        ["ONE", "TWO"]
      )
    })
  )

  it.effect("that waits to be written when its connection ends is told so", () =>
    Effect.gen(function* () {
      const { ask, end } = yield* stuck
      const one = yield* ask("ONE")
      yield* end(lost)
      assert.strictEqual(one.outcome, lost.message)
    })
  )

  it.effect("is such an end, however patient, when the socket has filled between the look at it and the write", () =>
    Effect.gen(function* () {
      const { ask, knobs, requests } = yield* scene()
      const stalled = yield* Effect.forkChild(Effect.flip(requests.stalled))
      knobs.write = Effect.never
      yield* ask("ONE", { patient: true, patience: 3 })
      yield* pass(4999)
      assert.isUndefined(stalled.pollUnsafe())
      yield* pass(1)
      assert.strictEqual((yield* Fiber.join(stalled)).message, notReading)
      const two = yield* ask("TWO")
      assert.strictEqual(two.outcome, notReading)
    })
  )

  for (const isSaturated of [false, true]) {
    const when = isSaturated ? "after a wait" : "at once"
    it.effect(`that the socket refuses ${when} fails with the reason, and is not waited for`, () =>
      Effect.gen(function* () {
        const { answer, ask, behind, knobs } = yield* scene()
        knobs.isSaturated = isSaturated
        knobs.write = Effect.fail(lost)
        const one = yield* ask("ONE")
        yield* settle
        assert.deepStrictEqual([one.outcome, behind()], [lost.message, 0])
        assert.isFalse(yield* answer(one.id, 1))
      })
    )
  }

  it.effect("that is interrupted leaves nothing behind, written or not", () =>
    Effect.gen(function* () {
      for (const all of [yield* scene(), yield* stuck]) {
        const one = yield* all.ask("ONE")
        assert.strictEqual(all.behind(), 1)
        yield* one.interrupt
        assert.strictEqual(all.behind(), 0)
        assert.isFalse(yield* all.answer(one.id, 1))
      }
    })
  )

  it.effect("is no end of the connection by its own", () =>
    Effect.gen(function* () {
      const { ask, requests } = yield* scene()
      const stalled = yield* Effect.forkChild(Effect.exit(requests.stalled))
      yield* ask("ONE")
      yield* pass("1 minute")
      assert.isUndefined(stalled.pollUnsafe())
    })
  )
})

describe("more time than others", () => {
  it.effect("has a request with patience, so many times and no more", () =>
    Effect.gen(function* () {
      const { ask } = yield* scene()
      const one = yield* ask("ONE", { patience: 2 })
      yield* pass(14_999)
      assert.strictEqual(one.outcome, waiting)
      yield* pass(1)
      assert.strictEqual(one.outcome, timedOut("ONE"))
    })
  )

  it.effect("has a patient one, once", () =>
    Effect.gen(function* () {
      const { ask } = yield* scene()
      const one = yield* ask("ONE", { patient: true })
      yield* pass(9999)
      assert.strictEqual(one.outcome, waiting)
      yield* pass(1)
      assert.strictEqual(one.outcome, timedOut("ONE"))
    })
  )

  it.effect("has a listing while messages come in, and no other", () =>
    Effect.gen(function* () {
      const { ask, requests } = yield* scene()
      assert.deepStrictEqual(requests.received, { bytes: 0, messages: 0 })
      requests.received.messages += 100
      const listing = yield* ask("LIST", { isListing: true })
      const other = yield* ask("OTHER")
      requests.received.messages++
      yield* pass("5 seconds")
      assert.deepStrictEqual([listing.outcome, other.outcome], [waiting, timedOut("OTHER")])
      requests.received.messages++
      yield* pass("5 seconds")
      assert.strictEqual(listing.outcome, waiting)
      // None has come since.
      yield* pass("5 seconds")
      assert.strictEqual(listing.outcome, timedOut("LIST"))
    })
  )

  it.effect("has any while a megabyte comes in each time, and not for less", () =>
    Effect.gen(function* () {
      const { ask, requests } = yield* scene()
      requests.received.bytes += 9 * megabyte
      const one = yield* ask("ONE")
      for (let n = 0; n < 2; n++) {
        requests.received.bytes += megabyte
        yield* pass("5 seconds")
        assert.strictEqual(one.outcome, waiting)
      }
      requests.received.bytes += megabyte - 1
      yield* pass("5 seconds")
      assert.strictEqual(one.outcome, timedOut("ONE"))
    })
  )

  it.effect("has none for more than a minute, whatever comes in", () =>
    Effect.gen(function* () {
      const { ask, requests } = yield* scene()
      const one = yield* ask("ONE", { isListing: true })
      for (let period = 1; period <= 12; period++) {
        assert.strictEqual(one.outcome, waiting)
        requests.received.bytes += 2 * megabyte
        requests.received.messages++
        yield* pass("5 seconds")
      }
      assert.strictEqual(one.outcome, timedOut("ONE"))
    })
  )

  it.effect("puts off nobody whose time ends sooner", () =>
    Effect.gen(function* () {
      const { ask } = yield* scene()
      const slow = yield* ask("SLOW", { patience: 1 })
      yield* pass("1 second")
      const one = yield* ask("ONE")
      yield* pass("5 seconds")
      assert.deepStrictEqual([slow.outcome, one.outcome], [waiting, timedOut("ONE")])
      yield* pass("4 seconds")
      assert.strictEqual(slow.outcome, timedOut("SLOW"))
    })
  )
})

describe("reading goes on", () => {
  it.effect("while one waits for its answer, and not after that", () =>
    Effect.gen(function* () {
      const { answer, ask, behind } = yield* scene()
      const one = yield* ask("ONE")
      yield* ask("TWO")
      assert.strictEqual(behind(), 2)
      yield* answer(one.id, 1)
      assert.strictEqual(behind(), 1)
      yield* pass("5 seconds")
      assert.strictEqual(behind(), 0)
    })
  )

  it.effect("for one that has more time as for one that has not", () =>
    Effect.gen(function* () {
      const { ask, behind } = yield* scene()
      yield* ask("ONE", { patience: 2 })
      yield* pass("10 seconds")
      assert.strictEqual(behind(), 1)
      yield* pass("5 seconds")
      assert.strictEqual(behind(), 0)
    })
  )

  it.effect("for a patient one when it has waited for as long as a request may", () =>
    Effect.gen(function* () {
      const { answer, ask, behind } = yield* scene()
      const early = yield* ask("EARLY", { patient: true })
      yield* ask("LATE", { patient: true })
      yield* answer(early.id, 1)
      yield* pass(4999)
      assert.strictEqual(behind(), 0)
      yield* pass(1)
      assert.strictEqual(behind(), 1)
      yield* pass("5 seconds")
      assert.strictEqual(behind(), 0)
    })
  )
})

describe("the end of a connection", () => {
  it.effect("is told once and for all, to those who wait and to those who ask then", () =>
    Effect.gen(function* () {
      const { ask, behind, end, sent } = yield* scene()
      const one = yield* ask("ONE")
      yield* end(lost)
      assert.deepStrictEqual([one.outcome, behind()], [lost.message, 0])
      yield* end(BlazeError.make(new BlazeError.Closed({})))
      const two = yield* ask("TWO")
      assert.deepStrictEqual([two.outcome, behind()], [lost.message, 0])
      assert.strictEqual(sent.length, 1)
    })
  )

  it.effect("by an error of Mixin is an answer to the listing, and to nothing else", () =>
    Effect.gen(function* () {
      const { ask, end, requests } = yield* scene()
      const listing = yield* ask("LIST", { isListing: true })
      const one = yield* ask("ONE")
      yield* end(refused)
      const lostTo = BlazeError.ofConnection(refused).message
      assert.deepStrictEqual([listing.outcome, one.outcome], [refused.message, lostTo])
      const late = yield* Effect.exit(requests.send(requests.nextId(), "LATE"))
      assert.strictEqual(Option.getOrThrow(Exit.findErrorOption(late)).message, lostTo)
    })
  )
})
