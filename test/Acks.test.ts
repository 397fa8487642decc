import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { Acks, BlazeError, Ids, Settings, Store } from "effect-blaze"
import * as Acknowledgements from "../src/internal/Acknowledgements.ts"
import * as Connection from "../src/internal/Connection.ts"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import * as States from "../src/internal/States.ts"
import * as Elapsed from "../src/internal/Elapsed.ts"
import * as Meter from "../src/internal/Meter.ts"

const id = (n: number) => Ids.MessageId.make(`00000000-0000-0000-0000-${String(n).padStart(12, "0")}`)

const me = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")

const memory = States.layer.pipe(Layer.provide(Store.layerMemory))

const list = "LIST_PENDING_MESSAGES"

const api = (code: number) => BlazeError.fromApi({ code })

/** A transport whose answers a test gives. */
const scene = Effect.fnUntraced(function* (options?: {
  readonly maximum?: number
  readonly behindMessages?: boolean
  readonly flushTimeout?: number
  readonly retry?: Schedule.Schedule<unknown>
  readonly awaitClock?: boolean
  readonly states?: Layer.Layer<States.States>
  readonly answer?: (ids: ReadonlyArray<string>) => Effect.Effect<void, BlazeError.BlazeError>
}) {
  const calls: Array<ReadonlyArray<number>> = []
  const logs: Array<string> = []
  const urgent: Array<number> = []
  const measured: Array<string> = []
  const measure: Meter.Meter["Service"]["measure"] = (metric, value) => void measured.push(`${metric.id} ${value}`)
  const answer = { now: options?.answer ?? (() => Effect.void) }
  const scope = yield* Scope.make()
  const layer = Acknowledgements.layer(
    Layer.succeed(Acks.Transport, {
      maximum: options?.maximum ?? 100,
      atOnce: 4,
      behindMessages: options?.behindMessages ?? false,
      acknowledge: (messages) =>
        Effect.suspend(() => {
          calls.push(messages.map(({ message_id }) => Number(message_id.slice(-12))))
          return answer.now(messages.map(({ message_id }) => message_id))
        })
    })
  ).pipe(
    Layer.provideMerge(
      Layer.effect(
        Connection.Connection,
        Effect.map(Connection.Connection, (connection) => ({
          ...connection,
          inbox: {
            ...connection.inbox,
            urgently: (effect) =>
              Effect.andThen(
                Effect.sync(() => void urgent.push(1)),
                connection.inbox.urgently(effect)
              )
          }
        }))
      ).pipe(Layer.provide(Connection.layer))
    ),
    Layer.provideMerge(options?.states ?? memory),
    Layer.provide([
      BlazeTest.layerSocket,
      Layer.effect(
        Meter.Meter,
        Effect.map(Elapsed.now, (now) => ({ measure, now }))
      )
    ]),
    Layer.provide([
      Settings.layer({
        awaitClock: options?.awaitClock ?? false,
        flushTimeout: options?.flushTimeout ?? 10_000,
        acknowledgeRetry: options?.retry ?? Schedule.spaced("1 second")
      }),
      Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
    ])
  )
  const context = yield* Layer.buildWithScope(layer, scope)
  const run = Effect.provideContext(context)
  const offer = (...ns: ReadonlyArray<number>) =>
    run(
      Effect.flatMap(Acknowledgements.Acknowledgements, (acks) =>
        Effect.sync(() => ns.forEach((n) => acks.offer(id(n))))
      )
    )
  const status = run(Effect.flatMap(Connection.Connection, ({ inbox }) => Effect.exit(inbox.arrival)))
  return { calls, logs, urgent, measured, answer, offer, status, run, close: Scope.close(scope, Exit.void) }
})

/** Over the bot's own connection. */
const overSocket = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    Acknowledgements.layer(Acks.layerSocket).pipe(
      Layer.provide(Connection.layer),
      Layer.provide([memory, BlazeTest.layerSocket, Meter.layer(me)]),
      Layer.provide(Settings.layer({ flushTimeout: 0 }))
    ),
    scope
  )
  yield* BlazeTest.settle
  const acks = yield* Effect.provideContext(Acknowledgements.Acknowledgements, context)
  return { acks, close: Scope.close(scope, Exit.void) }
})

/** States that say what a test says of what is to be stored, and tell what is asked of them. */
const statesThat = (claim: (id: Ids.MessageId) => Store.Claim, step: (text: string) => void) =>
  Layer.succeed(States.States, {
    admit: () => Effect.succeed([]),
    of: () => undefined,
    become: (each, state) => step(`${Number(each.slice(-12))} ${state}`),
    settle: (ids) => Effect.succeed(ids.map(() => "Committed")),
    commitsAtOnce: false,
    commit: (ids) => Effect.succeed(ids.map(claim)),
    confirm: (ids) => Effect.sync(() => step(`confirm ${ids.map((each) => Number(each.slice(-12))).join()}`))
  })

const { pass } = BlazeTest

const test = (name: string, body: Effect.Effect<void, unknown, BlazeTest.Server | Scope.Scope>) =>
  it.effect(name, () => Effect.provide(body, BlazeTest.layerServer))

describe("Acks", () => {
  test(
    "batches by size, and by time from the first of a batch",
    Effect.gen(function* () {
      const { calls, close, offer } = yield* scene({ maximum: 3 })
      yield* offer(1, 2, 3, 4)
      yield* pass(0)
      assert.deepStrictEqual(calls, [[1, 2, 3]])
      yield* pass(999)
      assert.strictEqual(calls.length, 1)
      yield* pass(1)
      assert.deepStrictEqual(calls[1], [4])
      yield* close
    })
  )

  test(
    "retries a batch, and the ones behind it do not wait for it",
    Effect.gen(function* () {
      const { answer, calls, close, offer } = yield* scene({ maximum: 2 })
      answer.now = (ids) => (ids.includes(id(1)) ? Effect.fail(api(500)) : Effect.void)
      yield* offer(1, 2, 3, 4)
      yield* pass(0)
      assert.deepStrictEqual(calls, [
        [1, 2],
        [3, 4]
      ])
      yield* pass(2500)
      assert.strictEqual(calls.length, 4)
      answer.now = () => Effect.void
      yield* pass(1000)
      yield* pass(5000)
      assert.deepStrictEqual(calls.at(-1), [1, 2])
      assert.strictEqual(calls.length, 5)
      yield* close
    })
  )

  test(
    "halves a batch that is refused with 10002 until the bad id is alone, which is logged and dropped",
    Effect.gen(function* () {
      const { answer, calls, close, logs, offer } = yield* scene({ maximum: 8 })
      answer.now = (ids) => (ids.includes(id(5)) ? Effect.fail(api(10002)) : Effect.void)
      yield* offer(1, 2, 3, 4, 5, 6, 7, 8)
      yield* pass(0)
      assert.deepStrictEqual(calls, [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6], [7, 8]])
      assert.strictEqual(logs.length, 1)
      assert.include(logs[0], id(5))
      yield* close
      assert.strictEqual(logs.length, 1)
    })
  )

  test(
    "has no room for more messages while too many acknowledgements are under way, and never makes an offer wait",
    Effect.gen(function* () {
      const { answer, close, offer, run } = yield* scene({ flushTimeout: 0 })
      answer.now = () => Effect.fail(api(500))
      yield* offer(...Array.from({ length: 34_000 }, (_, n) => n))
      const room = yield* Effect.forkChild(run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ room }) => room)))
      yield* pass(3000)
      assert.isUndefined(room.pollUnsafe())
      answer.now = () => Effect.void
      for (let second = 0; second < 120; second++) yield* pass(1000)
      yield* Fiber.join(room)
      answer.now = () => Effect.never
      yield* offer(...Array.from({ length: 34_000 }, (_, n) => 40_000 + n))
      const late = yield* Effect.forkChild(run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ room }) => room)))
      yield* pass(0)
      assert.isUndefined(late.pollUnsafe())
      yield* close // and nobody is left waiting
      yield* Fiber.join(late)
    })
  )

  for (const how of ["ended", "refused"] as const) {
    test(
      `nobody waits for room where there will be no more messages: ${how}`,
      Effect.gen(function* () {
        const { answer, offer, run } = yield* scene({ flushTimeout: 0 })
        answer.now = () => Effect.fail(api(500))
        yield* offer(...Array.from({ length: 32_000 }, (_, n) => n))
        const waiting = yield* Effect.forkChild(
          run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ room }) => room))
        )
        yield* pass(3000)
        assert.isUndefined(waiting.pollUnsafe())
        const { inbox, stop } = yield* run(Connection.Connection)
        yield* how === "ended" ? inbox.end : stop(BlazeError.make(new BlazeError.Unauthorized({})))
        yield* Fiber.join(waiting)
      })
    )
  }

  test(
    "a transport that dies of something is tried again, and the log says so",
    Effect.gen(function* () {
      const { answer, calls, logs, offer } = yield* scene()
      answer.now = () => Effect.die(new TypeError("it has no such function: a secret"))
      yield* offer(1)
      yield* pass(1000)
      yield* offer(2)
      yield* pass(5000)
      assert.lengthOf(logs, 1)
      assert.match(logs[0]!, /1 messages are not acknowledged yet\. .*the transport of acknowledgements has died\./)
      assert.notInclude(logs[0]!, "secret")
      answer.now = () => Effect.void
      calls.splice(0)
      yield* pass(2000)
      assert.sameDeepMembers(calls, [[1], [2]])
    })
  )

  test(
    "a transport that interrupts itself is tried again, and one that throws",
    Effect.gen(function* () {
      const { answer, calls, offer } = yield* scene()
      const ends = [
        () => Effect.interrupt,
        (): never => {
          throw new Error("thrown")
        }
      ]
      answer.now = () => ends.shift()?.() ?? Effect.void
      yield* offer(1)
      yield* pass(5000)
      yield* offer(2)
      yield* pass(5000)
      assert.deepStrictEqual(calls, [[1], [1], [1], [2]])
    })
  )

  test(
    "a batch whose store dies keeps no other from being acknowledged, and the server is asked for it again",
    Effect.gen(function* () {
      const steps: Array<string> = []
      const states = statesThat(
        (each) => {
          if (each === id(1)) throw new TypeError("broken: a secret")
          return "Committed"
        },
        (step) => void steps.push(step)
      )
      const { calls, logs, measured, offer, run } = yield* scene({ states })
      yield* offer(1)
      yield* pass(2000)
      yield* offer(2)
      yield* pass(2000)
      assert.deepStrictEqual([calls, steps], [[[2]], ["confirm 2"]])
      assert.lengthOf(logs, 1)
      assert.match(logs[0]!, /^1 messages cannot be acknowledged for now; they come back/)
      assert.strictEqual(
        measured.findLast((line) => line.startsWith("blaze_acks_pending")),
        "blaze_acks_pending 0"
      )
      const { inbox } = yield* run(Connection.Connection)
      yield* inbox.forgotten
    })
  )

  for (const behindMessages of [true, false]) {
    test(
      `a full transport has reading go on ${behindMessages ? "because" : "only if"} its answers come behind the messages`,
      Effect.gen(function* () {
        const { answer, offer, run, urgent } = yield* scene({ behindMessages, flushTimeout: 0 })
        answer.now = () => Effect.never
        yield* offer(...Array.from({ length: 32_000 }, (_, n) => n))
        yield* Effect.forkChild(run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ room }) => room)))
        yield* pass(0)
        assert.strictEqual(urgent.length, behindMessages ? 1 : 0)
      })
    )
  }

  test(
    "a thousand batches that fail at the same time are told in one line a minute",
    Effect.gen(function* () {
      const { answer, logs, offer } = yield* scene({ maximum: 1, flushTimeout: 0 })
      answer.now = () => Effect.fail(api(500))
      yield* offer(...Array.from({ length: 1000 }, (_, n) => n))
      yield* pass(1000)
      assert.strictEqual(logs.length, 1)
      yield* pass(58_999)
      assert.strictEqual(logs.length, 1)
      yield* pass(1)
      assert.strictEqual(logs.length, 2)
      for (const log of logs)
        assert.include(log, "1000 messages are not acknowledged yet. Mixin answered with error 500")
    })
  )

  const front = (status: number, retryAfter?: number) =>
    BlazeError.make(
      new BlazeError.Intermediary({ host: "api.example", status, ...(retryAfter === undefined ? {} : { retryAfter }) })
    )

  for (const status of [200, 302, 400, 401, 403, 404, 405, 407, 413, 429, 451, 500, 503]) {
    test(
      `a page with ${status} from what stands in front of the API drops nothing`,
      Effect.gen(function* () {
        const { answer, calls, logs, offer } = yield* scene()
        answer.now = () => Effect.fail(front(status))
        yield* offer(1)
        yield* pass(10_000)
        assert.isAtLeast(calls.length, 9)
        assert.strictEqual(logs.length, 1)
        assert.include(logs[0]!, `in front of api.example answered with HTTP status ${status}`)
        answer.now = () => Effect.void
        yield* pass(1000)
        const { length } = calls
        yield* pass(10_000)
        assert.strictEqual(calls.length, length)
      })
    )
  }

  test(
    "a batch that is too large for what stands in front is halved until it passes",
    Effect.gen(function* () {
      const { answer, calls, offer } = yield* scene()
      answer.now = (ids) => (ids.length > 1 ? Effect.fail(front(413)) : Effect.void)
      yield* offer(1, 2, 3, 4, 5)
      yield* pass(1000)
      assert.deepStrictEqual(calls, [[1, 2, 3, 4, 5], [1, 2, 3], [1, 2], [1], [2], [3], [4, 5], [4], [5]])
    })
  )

  test(
    "a single one that is too large is no refusal: at the end too it is told as left, and not dropped",
    Effect.gen(function* () {
      const { answer, calls, close, logs, measured, offer } = yield* scene({ flushTimeout: 0 })
      answer.now = () => Effect.fail(front(413))
      yield* offer(1)
      yield* pass(1000)
      yield* close
      assert.deepStrictEqual(calls, [[1], [1]])
      assert.include(logs.at(-1), `not acknowledged in time, and will come back: ${id(1)}`)
      assert.notInclude(logs.join(), "dropped")
      assert.notInclude(measured.join(), "blaze_acks_dropped_total")
    })
  )

  test(
    "waits for as long as it is asked to, beside its own pause",
    Effect.gen(function* () {
      const { answer, calls, offer } = yield* scene()
      answer.now = () => Effect.fail(front(429, 20_000))
      yield* offer(1)
      yield* pass(1000)
      assert.strictEqual(calls.length, 1)
      yield* pass(20_999)
      assert.strictEqual(calls.length, 1)
      yield* pass(1)
      assert.strictEqual(calls.length, 2)
    })
  )

  for (const awaitClock of [true, false]) {
    test(
      `a refusal because of the clock ${awaitClock ? "is tried again" : "ends the bot"} when the clock is ${awaitClock ? "" : "not "}waited for`,
      Effect.gen(function* () {
        const { answer, calls, offer, status } = yield* scene({ awaitClock })
        answer.now = () => Effect.fail(BlazeError.make(new BlazeError.Unauthorized({ clockDifference: 600_000 })))
        yield* offer(1)
        yield* pass(3000)
        assert.strictEqual(calls.length, awaitClock ? 3 : 1)
        if (awaitClock) return
        const exit = yield* status
        assert.isTrue(Exit.isFailure(exit))
      })
    )
  }

  test(
    "begins a schedule anew that comes to its end, half a minute later",
    Effect.gen(function* () {
      const { answer, calls, close, offer } = yield* scene({ retry: Schedule.recurs(1) })
      answer.now = () => Effect.fail(api(500))
      yield* offer(1)
      yield* pass(29_000)
      assert.strictEqual(calls.length, 2)
      yield* pass(2000)
      assert.strictEqual(calls.length, 4)
      answer.now = () => Effect.void
      yield* pass(30_000)
      assert.strictEqual(calls.length, 5)
      yield* close
    })
  )

  test(
    "flushes at the end, waits for the answers, and goes on trying until the deadline",
    Effect.gen(function* () {
      const { answer, calls, close, logs, offer } = yield* scene()
      answer.now = () => Effect.fail(api(500))
      yield* offer(1, 2)
      yield* pass(0)
      const closing = yield* Effect.forkChild(close)
      yield* pass(2000)
      assert.isAtLeast(calls.length, 3)
      assert.isUndefined(closing.pollUnsafe())
      answer.now = () => Effect.void
      yield* pass(1000)
      yield* Fiber.join(closing)
      assert.isFalse(logs.some((line) => line.includes("not acknowledged in time")))
    })
  )

  test(
    "logs by id what missed the deadline",
    Effect.gen(function* () {
      const { answer, close, logs, offer } = yield* scene()
      answer.now = () => Effect.fail(api(500))
      yield* offer(1, 2)
      const closing = yield* Effect.forkChild(close)
      yield* pass(0)
      for (let second = 0; second < 11; second++) yield* pass(1000)
      yield* Fiber.join(closing)
      assert.include(logs.at(-1), `not acknowledged in time, and will come back: ${id(1)}, ${id(2)}`)
    })
  )

  test(
    "tries again whatever is not a refusal of the batch itself, and tells so once a minute",
    Effect.gen(function* () {
      const { answer, calls, close, logs, offer } = yield* scene()
      let code = 0
      const odd = BlazeError.fromApi({ code: 0, status: 503 })
      answer.now = () => {
        const next = [500, 502, 503, 504, 520, 408, 429, 7000, 7001, odd][code++ % 10]!
        return Effect.fail(typeof next === "number" ? api(next) : next)
      }
      yield* offer(1)
      for (let second = 0; second < 62; second++) yield* pass(1000)
      assert.isAtLeast(calls.length, 60)
      assert.strictEqual(logs.length, 2)
      answer.now = () => Effect.void
      yield* pass(1000)
      yield* close
      assert.strictEqual(logs.length, 2)
    })
  )

  for (const code of [400, 403, 404, 413]) {
    test(
      `halves a batch that is refused with ${code}`,
      Effect.gen(function* () {
        const { answer, calls, close, offer } = yield* scene({ maximum: 4 })
        answer.now = (ids) => (ids.length > 2 ? Effect.fail(api(code)) : Effect.void)
        yield* offer(1, 2, 3, 4)
        yield* pass(0)
        assert.deepStrictEqual(calls, [
          [1, 2, 3, 4],
          [1, 2],
          [3, 4]
        ])
        yield* close
      })
    )
  }

  test(
    "with no time to flush it gives up a call that never answers, and a second flush is no interruption",
    Effect.gen(function* () {
      const { answer, close, offer, run } = yield* scene({ flushTimeout: 0 })
      answer.now = () => Effect.never
      yield* offer(1)
      yield* pass(1000)
      yield* run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ flush }) => flush))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(close)))
    })
  )

  test(
    "with no time to flush it tries once more, though it was waiting to retry, and does not hang on a virtual clock",
    Effect.gen(function* () {
      const { answer, calls, close, offer } = yield* scene({ flushTimeout: 0 })
      answer.now = () => Effect.fail(api(500))
      yield* offer(1)
      yield* pass(1000)
      assert.strictEqual(calls.length, 1)
      yield* close
      assert.strictEqual(calls.length, 2)
    })
  )

  test(
    "a 401 ends the connection as Unauthorized",
    Effect.gen(function* () {
      const { answer, close, offer, status } = yield* scene()
      answer.now = () => Effect.fail(api(401))
      yield* offer(1)
      yield* pass(1000)
      const exit = yield* status
      assert(Exit.isFailure(exit))
      assert.include(String(exit.cause), "Mixin refused the bot (401)")
      const closing = yield* Effect.forkChild(close)
      for (let second = 0; second < 11; second++) yield* pass(1000)
      yield* Fiber.join(closing)
    })
  )

  test(
    "sends four batches at once and no more, and those behind one that fails go on",
    Effect.gen(function* () {
      const { answer, calls, close, offer } = yield* scene({ maximum: 1, flushTimeout: 0 })
      answer.now = () => Effect.never
      yield* offer(1, 2, 3, 4, 5, 6)
      yield* pass(1000)
      assert.deepStrictEqual(calls, [[1], [2], [3], [4]])
      yield* close
      const other = yield* scene({ maximum: 1, flushTimeout: 0 })
      other.answer.now = (ids) => (ids.includes(id(1)) ? Effect.never : Effect.void)
      yield* other.offer(...Array.from({ length: 40 }, (_, n) => n + 1))
      yield* pass(1000)
      assert.strictEqual(other.calls.length, 40)
      yield* other.close
    })
  )

  test(
    "an id is committed before its acknowledgement and confirmed after it, when it is taken or dropped, and not before",
    Effect.gen(function* () {
      const steps: Array<string> = []
      const step = (name: string) => (ids: ReadonlyArray<string>) =>
        Effect.sync(() => void steps.push(`${name} ${ids.map((id) => Number(id.slice(-12))).join()}`))
      const { answer, close, offer } = yield* scene({
        states: Layer.succeed(States.States, {
          admit: () => Effect.succeed([]),
          of: () => undefined,
          become: () => {},
          settle: (ids) => Effect.succeed(ids.map(() => "Committed")),
          commitsAtOnce: false,
          commit: (ids) => Effect.as(step("commit")(ids), Store.committed(ids as never)),
          confirm: step("confirm")
        })
      })
      answer.now = step("send")
      yield* offer(1, 2)
      yield* pass(1000)
      assert.deepStrictEqual(steps.splice(0), ["commit 1,2", "send 1,2", "confirm 1,2"])
      answer.now = () => Effect.fail(api(10002))
      yield* offer(3)
      yield* pass(1000)
      assert.deepStrictEqual(steps.splice(0), ["commit 3", "confirm 3"])
      answer.now = () => Effect.fail(api(500))
      yield* offer(4)
      yield* pass(1000)
      assert.deepStrictEqual(steps, ["commit 4"])
      answer.now = () => Effect.void
      yield* close
    })
  )

  test(
    "what another process has handled meanwhile is left to it: it is not acknowledged, and told",
    Effect.gen(function* () {
      const steps: Array<string> = []
      const bot = yield* BlazeTest.Account
      const { calls, close, logs, offer } = yield* scene({
        states: statesThat(
          (each) => (each === id(2) ? "Conflict" : "Committed"),
          (step) => steps.push(step)
        )
      })
      yield* offer(1, 2, 3)
      yield* pass(1000)
      assert.deepStrictEqual(calls, [[1, 3]])
      assert.deepStrictEqual(steps, ["2 Forgotten", "confirm 1,3"])
      yield* offer(2)
      yield* pass(1000)
      assert.strictEqual(calls.length, 1)
      assert.include(logs.join(), `belong to another process, which acknowledges them: ${id(2)}`)
      // Nor is the server asked for it again.
      yield* pass(600_000)
      assert.deepStrictEqual(yield* bot.requests, [[list]])
      yield* close
      assert.notInclude(logs.join(), "not acknowledged in time")
    })
  )

  test(
    "what could not be stored is not acknowledged, and the server is asked for it again within ten minutes",
    Effect.gen(function* () {
      const steps: Array<string> = []
      const bot = yield* BlazeTest.Account
      const { calls, close, logs, offer } = yield* scene({
        states: statesThat(
          (each) => (each === id(2) ? "Unstored" : "Committed"),
          (step) => steps.push(step)
        )
      })
      yield* offer(1, 2, 3)
      yield* pass(1000)
      assert.deepStrictEqual(calls, [[1, 3]])
      assert.deepStrictEqual(steps, ["2 Forgotten", "confirm 1,3"])
      assert.deepStrictEqual(yield* bot.requests, [[list]])
      yield* pass(600_000)
      assert.deepStrictEqual(yield* bot.requests, [[list, list]])
      yield* close
      // The store has told that, and nobody else is to acknowledge it.
      assert.deepStrictEqual(logs, [])
    })
  )

  test(
    "what is left at the end is told once, is not halved, and is not tried after it",
    Effect.gen(function* () {
      const { answer, calls, close, logs, offer, run } = yield* scene({ flushTimeout: 0 })
      answer.now = () => Effect.fail(api(500))
      yield* offer(1, 2)
      yield* pass(1000)
      yield* run(Effect.flatMap(Acknowledgements.Acknowledgements, ({ flush }) => flush))
      yield* close
      assert.deepStrictEqual(calls, [
        [1, 2],
        [1, 2]
      ])
      // What flush told went to its caller's logger; the end of the scope does not tell it again.
      assert.deepStrictEqual(
        logs.map((line) => line.includes("not acknowledged in time")),
        [false]
      )
      yield* pass(60_000)
      assert.strictEqual(calls.length, 2)
    })
  )

  test(
    "at the end it tries every half second until the deadline, then no more, and tells of a single id too",
    Effect.gen(function* () {
      const { answer, calls, close, logs, offer } = yield* scene({ flushTimeout: 2000 })
      answer.now = () => Effect.fail(api(500))
      yield* offer(1)
      yield* pass(1000)
      const closing = yield* Effect.forkChild(close)
      yield* pass(0)
      assert.strictEqual(calls.length, 2)
      yield* pass(499)
      assert.strictEqual(calls.length, 2)
      yield* pass(1)
      assert.strictEqual(calls.length, 3)
      yield* pass(1500)
      yield* Fiber.join(closing)
      const tried = calls.length
      assert.include(logs.at(-1), `not acknowledged in time, and will come back: ${id(1)}`)
      yield* pass(60_000)
      assert.strictEqual(calls.length, tried)
    })
  )

  test(
    "over the socket a frame has at most 80, whatever the size of a batch",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { acks, close } = yield* overSocket
      for (let n = 1; n <= 161; n++) acks.offer(id(n))
      yield* pass(0)
      yield* pass(1000)
      assert.deepStrictEqual(
        (yield* bot.acknowledged).map((ids) => ids.length),
        [80, 80, 1]
      )
      const [requests] = yield* bot.requests
      assert.deepStrictEqual(new Set(requests?.slice(1)), new Set(["ACKNOWLEDGE_MESSAGE_RECEIPTS"]))
      yield* close
    })
  )

  test(
    "over the socket an answer may come late, as one does behind many messages: nothing is sent twice",
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const server = yield* BlazeServer.BlazeServer
      const { acks, close } = yield* overSocket
      yield* server.inject({ _tag: "DelayAnswer", by: "9 seconds" })
      acks.offer(id(1))
      yield* pass(1000)
      yield* pass(60_000)
      assert.deepStrictEqual(yield* bot.acknowledged, [[id(1)]])
      yield* close
    })
  )

  test(
    "what is handled after the end is told by id, in one line for all that come together, and not sent",
    Effect.gen(function* () {
      const { calls, close, logs, offer } = yield* scene()
      yield* close
      yield* offer(1, 2, 3)
      yield* BlazeTest.settle
      yield* offer(4)
      yield* pass(60_000)
      const late = "messages were handled after the bot had ended, too late to be acknowledged, and will come back:"
      assert.deepStrictEqual(logs, [`3 ${late} ${id(1)}, ${id(2)}, ${id(3)}`, `1 ${late} ${id(4)}`])
      assert.deepStrictEqual(calls, [])
    })
  )

  test(
    "it is measured how many are not confirmed, when a batch leaves and when it is taken",
    Effect.gen(function* () {
      const { answer, close, measured, offer } = yield* scene({ maximum: 3 })
      answer.now = (ids) => (ids.length === 3 ? Effect.sleep("1 minute") : Effect.void)
      const pending = () => measured.splice(0).filter((line) => line.startsWith("blaze_acks_pending"))
      yield* offer(1, 2, 3, 4)
      yield* pass(1000)
      assert.deepStrictEqual(pending(), ["blaze_acks_pending 4", "blaze_acks_pending 4", "blaze_acks_pending 3"])
      yield* pass(60_000)
      assert.deepStrictEqual(pending(), ["blaze_acks_pending 0"])
      yield* close
    })
  )
})
