import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { Message, type Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import type * as Outstanding from "../src/internal/Outstanding.ts"
import * as States from "../src/internal/States.ts"
import { id } from "./contract/stores.ts"
import { ledgerWith } from "./ledgers.ts"
import { botOfStores, lines, pass } from "./support.ts"

const message = (n: number, more: object = {}) =>
  Message.fromView({
    message_id: id(n),
    conversation_id: id(0),
    user_id: id(99),
    category: "PLAIN_TEXT",
    data: "aGk=",
    ...more
  })

const recall = (n: number, of: number) =>
  message(n, {
    category: "MESSAGE_RECALL",
    data: Buffer.from(JSON.stringify({ message_id: id(of) })).toString("base64url")
  })

const numbers = (entries: ReadonlyArray<Outstanding.Open>) => entries.map(({ value }) => Number(value?.id.slice(-12)))

type Ledger = Effect.Success<ReturnType<typeof ledgerWith>>

/** Has some messages come, and gives what is handed out of them. */
const open = Effect.fnUntraced(function* ({ inbox, receive }: Ledger, ...messages: ReadonlyArray<Message.Message>) {
  inbox.offer(messages, "last")
  const received: Array<Outstanding.Open> = []
  yield* receive((entries) => received.push(...entries))
  return received as [Outstanding.Open, Outstanding.Open, Outstanding.Open, Outstanding.Open]
})

const begin = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const isDone = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() !== undefined

describe("a ledger", () => {
  it.effect("hands out what is new, counts what waited, and does with the rest what is known of it", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({ states: { admit: (ids) => Effect.succeed(ids.map(verdictOf)) } })
      const verdicts: ReadonlyArray<States.Verdict> = [
        "New",
        "Handled",
        "Open",
        "GivenUp",
        "Deferred",
        "Unread",
        "New",
        "New"
      ]
      const verdictOf = (_: unknown, index: number) => verdicts[index]!
      const entries = yield* open(
        ledger,
        ...verdicts.map((_, n) => message(n, n < 2 ? { source: "LIST_PENDING_MESSAGES" } : {}))
      )
      assert.deepStrictEqual(numbers(entries), [0, 6, 7])
      assert.deepStrictEqual([ledger.acked, ledger.givenBack], [[id(1)], [id(5)]])
      assert.deepStrictEqual(
        ledger.measured.filter((line) => /duplicate|backlog|own/.test(line)),
        [
          "duplicates_total Handled 1",
          "duplicates_total Open 1",
          "duplicates_total GivenUp 1",
          "duplicates_total Deferred 1",
          "backlog_total 1"
        ]
      )
      assert.strictEqual(ledger.inbox.progress.made, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("acknowledges what the bot itself has said, and hands out its notices", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({})
      const own = { user_id: botOfStores }
      const entries = yield* open(
        ledger,
        message(1, own),
        message(2),
        message(3, { ...own, category: "SYSTEM_CONVERSATION" }),
        message(4, own)
      )
      assert.deepStrictEqual(numbers(entries), [2, 3])
      assert.deepStrictEqual(ledger.acked, [id(1), id(4)])
      assert.include(ledger.measured, "own_messages_total 2")
    }).pipe(Effect.scoped)
  )

  it.effect("gives nothing where nothing is new, and waits for more", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({})
      const entries = yield* open(ledger, message(1))
      let given = 0
      ledger.inbox.offer([message(1), message(1)], "last")
      const receiving = yield* begin(ledger.receive(() => void given++))
      yield* BlazeTest.settle
      assert.deepStrictEqual([given, isDone(receiving), ledger.inbox.progress.made], [0, false, 1])
      ledger.inbox.offer([message(2)], "last")
      yield* Fiber.join(receiving)
      assert.deepStrictEqual([given, ledger.count().open, entries.length], [1, 2, 1])
      assert.isEmpty(ledger.measured.filter((line) => line.startsWith("own")))
    }).pipe(Effect.scoped)
  )

  const sealed = { category: "ENCRYPTED_TEXT" }

  it.effect("reads what is sealed, and nothing else", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      const ledger = yield* ledgerWith({
        read: ({ id }) => Effect.sync(() => (read.push(id), message(Number(id.slice(-12)))))
      })
      const entries = yield* open(
        ledger,
        message(1),
        message(2, sealed),
        message(3, { category: "NEW_KIND" }),
        message(4, sealed)
      )
      assert.deepStrictEqual(read, [id(2), id(4)])
      assert.deepStrictEqual(
        entries.map(({ value }) => value?._tag),
        ["Text", "Text", "Unknown", "Text"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("does not read what is settled while another is being read", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      let late: Outstanding.Open | undefined
      const ledger: Ledger = yield* ledgerWith({
        // It cannot be read, and stays sealed.
        read: (message) =>
          Effect.suspend(() => {
            read.push(message.id)
            return Effect.as(late === undefined ? Effect.void : ledger.ack(late, []), message)
          })
      })
      const [first, second] = yield* open(ledger, message(1, sealed), message(2, sealed))
      for (const entry of [first, second]) ledger.handBack(entry)
      yield* BlazeTest.settle
      read.splice(0)
      late = second
      assert.deepStrictEqual(yield* open(ledger), [first, second])
      assert.deepStrictEqual([read, ledger.acked, second.value], [[id(1)], [id(2)], undefined])
    }).pipe(Effect.scoped)
  )

  it.effect("has no more handed out than may be open, and goes on when one is settled", () => {
    const log = lines()
    return Effect.gen(function* () {
      const ledger = yield* ledgerWith({ settings: { maximumOpen: 2 } })
      const [first] = yield* open(ledger, message(1), message(2))
      ledger.inbox.offer([message(3)], "last")
      const receiving = yield* begin(ledger.receive(() => {}))
      yield* BlazeTest.settle
      assert.isFalse(isDone(receiving))
      yield* ledger.ack(first, [])
      yield* Fiber.join(receiving)
      yield* begin(ledger.receive(() => {}))
      yield* BlazeTest.settle
      assert.lengthOf(log.all, 1)
      assert.deepStrictEqual(ledger.count(), { open: 2, held: 0 })
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })

  it.effect("tells once that too much is open, and once more when less than half of it was meanwhile", () => {
    const log = lines()
    return Effect.gen(function* () {
      const ledger = yield* ledgerWith({ settings: { maximumOpen: 6 } })
      const all: Array<Outstanding.Open> = []
      let next = 1
      /** So many are open at first, and more come until no further one is handed out. */
      const fillUp = Effect.fnUntraced(function* (left: number) {
        for (const entry of all.splice(left)) yield* ledger.ack(entry, [])
        const begun = yield* Effect.forkChild(Effect.forever(ledger.receive((entries) => all.push(...entries))))
        while (all.length < 6) {
          ledger.inbox.offer([message(next++)], "last")
          yield* BlazeTest.settle
        }
        yield* Fiber.interrupt(begun)
        assert.strictEqual(ledger.count().open, 6)
        return log.all.length
      })
      const told: Array<number> = []
      for (const left of [0, 5, 3, 2, 3]) told.push(yield* fillUp(left))
      assert.deepStrictEqual(told, [1, 1, 1, 2, 2])
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })

  it.effect("measures how long what is open and what waits has been so, and by whom the rest is awaited", () => {
    const log = lines()
    return Effect.gen(function* () {
      const ledger = yield* ledgerWith({ aside: { size: () => 7 } })
      const measured = Effect.fnUntraced(function* () {
        ledger.measured.splice(0)
        yield* ledger.inspect
        return ledger.measured.join("; ")
      })
      const all = (pending: number, open: number, oldest: number, dropped: number) =>
        `oldest_pending_seconds ${pending}; open_messages ${open}; oldest_open_seconds ${oldest}; deferred_messages 7; dropped_deliveries ${dropped}`
      assert.strictEqual(yield* measured(), all(0, 0, 0, 0))
      const at = { created_at: new Date(0).toISOString() }
      yield* TestClock.adjust("5 seconds")
      ledger.inbox.offer([message(1, at)], "last")
      assert.strictEqual(yield* measured(), all(5, 0, 0, 0))
      yield* TestClock.adjust("5 seconds")
      const [first] = yield* open(ledger)
      yield* open(ledger, message(2, at))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* measured(), all(13, 2, 3, 0))
      first.hands = () => "AtWork"
      // Nothing has happened since, and nobody waits for more.
      assert.strictEqual(yield* measured(), all(13, 2, 3, 1))
      assert.match(log.all.join(), new RegExp(`${id(1)}.*does not ask for more`))
      yield* ledger.ack(first, [])
      const [third] = yield* open(ledger, message(3))
      third.hands = () => "AtWork"
      const receiving = yield* begin(ledger.receive(() => {}))
      yield* measured()
      log.all.splice(0)
      yield* measured()
      assert.match(log.all.join(), new RegExp(`${id(3)}.*An operator has left them out`))
      yield* Fiber.interrupt(receiving)
      const [fourth] = yield* open(ledger, message(4, { created_at: "soon" }))
      fourth.hands = () => "AtWork"
      for (const entry of [...ledger.entries()].slice(0, -1)) yield* ledger.ack(entry, [])
      assert.strictEqual(yield* measured(), all(0, 1, 0, 0))
      log.all.splice(0)
      yield* measured()
      assert.match(log.all.join(), new RegExp(`${id(4)}.*does not ask for more`))
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })
})

describe("what is acknowledged", () => {
  it.effect("is so once, and is nobody's to put aside or to give up", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const ledger = yield* ledgerWith({
        aside: {
          defer: ({ id }) => Effect.sync(() => void asked.push(`defer ${id}`)),
          giveUp: ({ id }, reason) => Effect.sync(() => void asked.push(`${reason} ${id}`))
        }
      })
      const [first, second, third] = yield* open(ledger, message(1), message(2), message(3))
      for (const _ of [1, 2]) yield* ledger.ack(first, [])
      yield* ledger.ackAll([first, first], [])
      yield* ledger.defer(first)
      yield* ledger.giveUp(first, "late")
      for (const _ of [1, 2]) yield* ledger.defer(second)
      for (const _ of [1, 2]) yield* ledger.giveUp(third, "no")
      for (const entry of [second, third]) yield* ledger.ack(entry, [])
      assert.deepStrictEqual(ledger.acked, [id(1)])
      assert.deepStrictEqual(ledger.became, [`${id(1)} Handled`])
      assert.deepStrictEqual(ledger.forgotten, [id(1)])
      assert.deepStrictEqual(asked, [`defer ${id(2)}`, `no ${id(3)}`])
      assert.deepStrictEqual(ledger.count(), { open: 0, held: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("together is so once each, also one, also where one is named twice", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({})
      const [first, second, third] = yield* open(ledger, message(1), message(2), message(3))
      yield* ledger.ackAll([first], [])
      yield* ledger.ackAll([second, first, third, second], [])
      assert.deepStrictEqual(ledger.acked, [id(1), id(2), id(3)])
      assert.deepStrictEqual(ledger.count(), { open: 0, held: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("is open and held until it is stored, whatever is said of it meanwhile", () =>
    Effect.gen(function* () {
      const stored = yield* Deferred.make<void>()
      let writes = 0
      const ledger = yield* ledgerWith({
        states: {
          commitsAtOnce: true,
          settle: () => {
            writes++
            return Effect.as(Deferred.await(stored), [])
          }
        }
      })
      const [first] = yield* open(ledger, message(1))
      const acking = yield* begin(ledger.ack(first, []))
      yield* ledger.ack(first, [])
      yield* ledger.ackAll([first], [])
      yield* ledger.defer(first)
      yield* ledger.giveUp(first, "late")
      assert.deepStrictEqual([ledger.count(), ledger.acked, writes], [{ open: 1, held: 1 }, [], 1])
      yield* Deferred.succeed(stored, undefined)
      yield* Fiber.join(acking)
      assert.deepStrictEqual([ledger.count(), ledger.acked, writes], [{ open: 0, held: 0 }, [id(1)], 1])
    }).pipe(Effect.scoped)
  )

  it.effect("with something that is written is stored, though the store does not commit each at once", () =>
    Effect.gen(function* () {
      const written: Array<unknown> = []
      const ledger = yield* ledgerWith({
        states: { settle: (ids, writes) => Effect.sync(() => (written.push([ids, writes]), [])) }
      })
      const [first, second, third, fourth] = yield* open(ledger, ...[1, 2, 3, 4].map((n) => message(n)))
      const write = { key: "key", value: "value", expected: undefined } as unknown as Store.Write
      yield* ledger.ack(first, [])
      yield* ledger.ack(second, [write])
      assert.deepStrictEqual(written.splice(0), [[[id(2)], [write]]])
      assert.deepStrictEqual(ledger.acked, [id(1), id(2)])
      yield* ledger.ackAll([third], [])
      assert.deepStrictEqual(written.splice(0), [])
      yield* ledger.ackAll([fourth], [write])
      assert.deepStrictEqual(written, [[[id(4)], [write]]])
      assert.deepStrictEqual(ledger.acked, [1, 2, 3, 4].map(id))
    }).pipe(Effect.scoped)
  )

  it.effect("and could not be written stays open and held, for who handles it again", () =>
    Effect.gen(function* () {
      const claims: Array<ReadonlyArray<Store.Claim>> = [["Committed", "Changed"], []]
      const ledger = yield* ledgerWith({
        states: { commitsAtOnce: true, settle: () => Effect.sync(() => claims.shift()!) }
      })
      const [first, second] = yield* open(ledger, message(1), message(2))
      assert.strictEqual(yield* ledger.ackAll([first, second], []), "Changed")
      assert.deepStrictEqual([ledger.count(), ledger.acked], [{ open: 2, held: 2 }, []])
      assert.include(ledger.measured, "state_conflicts_total 1")
      assert.isUndefined(yield* ledger.ackAll([first, second], []))
      assert.deepStrictEqual([ledger.count().open, ledger.acked], [0, [id(1), id(2)]])
    }).pipe(Effect.scoped)
  )

  it.effect("and is another process's is not acknowledged: the bot stops", () => {
    const log = lines()
    return Effect.gen(function* () {
      const ledger = yield* ledgerWith({
        states: {
          commitsAtOnce: true,
          settle: (ids) => Effect.succeed(ids.map((each) => (each === id(1) ? "Conflict" : "Committed")))
        }
      })
      const [first, second, third] = yield* open(ledger, message(1), message(2), message(3))
      yield* ledger.ackAll([first, second, first], [])
      assert.deepStrictEqual(ledger.acked, [id(2)])
      assert.deepStrictEqual(ledger.became, [`${id(1)} Forgotten`, `${id(2)} Handled`])
      assert.deepStrictEqual(ledger.forgotten, [id(1), id(2)])
      assert.deepStrictEqual(ledger.stopped, [States.takenOver])
      assert.match(log.all.join(), new RegExp(`^Error These messages belong to another process.*${id(1)}`))
      // It has ended here, and whoever waits for that goes on.
      const ended = yield* begin(ledger.signal.until(() => ledger.count().open === 0))
      yield* ledger.ack(third, [])
      yield* Fiber.join(ended)
      assert.deepStrictEqual(ledger.acked, [id(2), id(3)])
      const [last] = yield* open(ledger, message(1))
      const lastEnded = yield* begin(ledger.signal.until(() => ledger.count().open === 0))
      yield* ledger.ackAll([last], [])
      yield* Fiber.join(lastEnded)
      assert.lengthOf(ledger.stopped, 2)
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })

  it.effect("and turns out to be another process's once it can be stored is not acknowledged either", () => {
    const claims: Array<Store.Claim> = ["Unstored", "Conflict"]
    const log = lines()
    return Effect.gen(function* () {
      const ledger = yield* ledgerWith({
        states: { commitsAtOnce: true, settle: () => Effect.sync(() => [claims.shift()!]) }
      })
      const [entry] = yield* open(ledger, message(1))
      const acking = yield* begin(ledger.ack(entry, []))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(acking)
      assert.deepStrictEqual(
        [ledger.acked, ledger.became, ledger.stopped],
        [[], [`${id(1)} Forgotten`], [States.takenOver]]
      )
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })

  it.effect("and cannot be stored is this ledger's to store, whoever is cut short who waits for it", () =>
    Effect.gen(function* () {
      let writes = 0
      const ledger = yield* ledgerWith({
        states: {
          commitsAtOnce: true,
          settle: (ids) =>
            Effect.sync(() => {
              writes++
              return ids.map(() => (writes < 3 ? "Unstored" : "Committed"))
            })
        }
      })
      const [first, second] = yield* open(ledger, message(1), message(2))
      const acking = yield* begin(ledger.ack(first, []))
      yield* BlazeTest.settle
      assert.deepStrictEqual([writes, ledger.count()], [1, { open: 2, held: 1 }])
      const exit = yield* Effect.andThen(Fiber.interrupt(acking), Fiber.await(acking))
      assert.isTrue(Exit.hasInterrupts(exit))
      // In a finalizer too, where an interruption has waited before it.
      const ending = yield* begin(Effect.ensuring(Effect.never, ledger.ack(second, [])))
      yield* Fiber.interrupt(ending)
      assert.deepStrictEqual([writes, ledger.count()], [2, { open: 2, held: 2 }])
      yield* ledger.ack(first, [])
      yield* ledger.giveUp(second, "no")
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual([writes, ledger.acked], [2, []])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([ledger.acked, ledger.count()], [[id(1), id(2)], { open: 0, held: 0 }])
    }).pipe(Effect.scoped)
  )

  for (const isAwaited of [true, false]) {
    it.effect(
      `and has changed when it can be stored is ${isAwaited ? "for who waits for it" : "the consumer's of now"}`,
      () =>
        Effect.gen(function* () {
          const claims: Array<Store.Claim> = ["Unstored", "Unstored", "Changed"]
          const ledger = yield* ledgerWith({
            states: { commitsAtOnce: true, settle: () => Effect.sync(() => [claims.shift()!]) }
          })
          const [first] = yield* open(ledger, message(1))
          const acking = yield* begin(ledger.ack(first, []))
          if (!isAwaited) yield* Fiber.interrupt(acking)
          for (let n = 0; n < 60; n++) yield* pass(1)
          assert.deepStrictEqual(ledger.count(), { open: 1, held: isAwaited ? 1 : 0 })
          assert.deepStrictEqual(
            ledger.inbox.waiting().map((message) => message.id),
            isAwaited ? [] : [id(1)]
          )
          if (isAwaited) assert.strictEqual(yield* Fiber.join(acking), "Changed")
        }).pipe(Effect.scoped)
    )
  }

  it.effect("and has changed at the moment that who waits for it is interrupted is the consumer's of now", () =>
    Effect.gen(function* () {
      const claims: Array<Store.Claim> = ["Unstored", "Changed"]
      const ledger: Ledger = yield* ledgerWith({
        states: {
          commitsAtOnce: true,
          settle: () =>
            Effect.sync(() => {
              const claim = claims.shift()!
              if (claim === "Changed") acking.interruptUnsafe()
              return [claim]
            })
        }
      })
      const [first] = yield* open(ledger, message(1))
      const acking: Fiber.Fiber<unknown> = yield* begin(ledger.ack(first, []))
      yield* TestClock.adjust("30 seconds")
      yield* BlazeTest.settle
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(acking)))
      assert.deepStrictEqual(ledger.count(), { open: 1, held: 0 })
      assert.lengthOf(ledger.inbox.waiting(), 1)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "and has changed while somebody still works on it is so for him at its end, and is not acknowledged without",
    () =>
      Effect.gen(function* () {
        for (const together of [false, true]) {
          const claims: Array<Store.Claim> = ["Unstored", "Changed"]
          const ledger = yield* ledgerWith({
            states: { commitsAtOnce: true, settle: () => Effect.sync(() => [claims.shift() ?? "Committed"]) }
          })
          const [first] = yield* open(ledger, message(1))
          ledger.hold(first)
          yield* Fiber.interrupt(yield* begin(ledger.ack(first, [])))
          for (let n = 0; n < 30; n++) yield* pass(1)
          assert.deepStrictEqual([claims, ledger.inbox.waiting()], [[], []])
          ledger.release(first)
          const ack = Effect.suspend(() => (together ? ledger.ackAll([first], []) : ledger.ack(first, [])))
          assert.strictEqual(yield* ack, "Changed")
          assert.deepStrictEqual([ledger.count(), ledger.acked], [{ open: 1, held: 1 }, []])
          yield* ack
          assert.deepStrictEqual(ledger.acked, [id(1)])
        }
      }).pipe(Effect.scoped)
  )

  it.effect("and has changed with nobody there is another one's: who had it has nothing to say of it any more", () =>
    Effect.gen(function* () {
      const claims: Array<Store.Claim> = ["Unstored", "Changed"]
      const ledger = yield* ledgerWith({
        states: { commitsAtOnce: true, settle: () => Effect.sync(() => [claims.shift() ?? "Committed"]) }
      })
      const [first] = yield* open(ledger, message(1))
      yield* Fiber.interrupt(yield* begin(ledger.ack(first, [])))
      const free = yield* begin(ledger.signal.until(() => ledger.count().held === 0))
      for (let n = 0; n < 30; n++) yield* pass(1)
      yield* Fiber.join(free)
      const [again] = yield* open(ledger)
      assert.notStrictEqual(again, first)
      yield* ledger.ack(first, [])
      yield* ledger.defer(first)
      assert.deepStrictEqual([ledger.acked, again.since, numbers([again])], [[], first.since, [1]])
      yield* ledger.ack(again, [])
      assert.deepStrictEqual(ledger.acked, [id(1)])
    }).pipe(Effect.scoped)
  )

  it.effect("and cannot be stored is waited for by nobody once the bot has ended, nor is what is handled then", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const ledger = yield* ledgerWith({
        states: { commitsAtOnce: true, settle: () => Effect.succeed(["Unstored"]) }
      }).pipe(Scope.provide(scope))
      const [first, second] = yield* open(ledger, message(1), message(2))
      const acking = yield* begin(ledger.ack(first, []))
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(acking)
      yield* ledger.ack(second, [])
      assert.deepStrictEqual(ledger.acked, [])
    })
  )

  it.effect("is not to be handled again while it is being stored", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({ states: { commitsAtOnce: true, settle: () => Effect.succeed(["Unstored"]) } })
      const [first] = yield* open(ledger, message(1))
      assert.isFalse(ledger.skips(first))
      yield* begin(ledger.ack(first, []))
      assert.isTrue(ledger.skips(first))
    }).pipe(Effect.scoped)
  )

  it.effect("and whose store dies of something is stored later, and told", () => {
    const log = lines()
    return Effect.gen(function* () {
      let isBroken = true
      const ledger = yield* ledgerWith({
        states: {
          commitsAtOnce: true,
          settle: () => {
            if (isBroken) throw new TypeError("broken: a secret")
            return Effect.succeed([])
          }
        }
      })
      const [first] = yield* open(ledger, message(1))
      const acking = yield* begin(ledger.ack(first, []))
      yield* BlazeTest.settle
      assert.match(log.all.join(), new RegExp(`^Error What became of messages cannot be stored.*${id(1)}`))
      assert.notInclude(log.all.join(), "secret")
      isBroken = false
      for (let n = 0; n < 30; n++) yield* pass(1)
      yield* Fiber.join(acking)
      assert.deepStrictEqual(ledger.acked, [id(1)])
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })
})

describe("what is put aside or given up", () => {
  it.effect("counts as open until that is stored, and who waits for it goes on then", () =>
    Effect.gen(function* () {
      const stored = yield* Deferred.make<void>()
      const ledger = yield* ledgerWith({ aside: { defer: () => Deferred.await(stored) } })
      const [first] = yield* open(ledger, message(1))
      const deferring = yield* begin(ledger.defer(first))
      const ended = yield* begin(ledger.signal.until(() => ledger.count().open === 0))
      assert.deepStrictEqual([ledger.count(), [...ledger.entries()]], [{ open: 1, held: 0 }, []])
      yield* Deferred.succeed(stored, undefined)
      yield* Fiber.join(deferring)
      yield* Fiber.join(ended)
      assert.deepStrictEqual(ledger.count(), { open: 0, held: 0 })
    }).pipe(Effect.scoped)
  )
})

describe("a ledger that has nothing to look at", () => {
  it.effect("is idle until something comes, is open, or is so elsewhere", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerWith({})
      const idle = yield* begin(ledger.busy(() => false))
      yield* BlazeTest.settle
      assert.isFalse(isDone(idle))
      yield* ledger.busy(() => true)
      const [first] = yield* open(ledger, message(1))
      yield* ledger.busy(() => false)
      yield* ledger.ack(first, [])
      const idleAgain = yield* begin(ledger.busy(() => false))
      yield* BlazeTest.settle
      assert.isFalse(isDone(idleAgain))
    }).pipe(Effect.scoped)
  )
})

describe("what is withdrawn", () => {
  it.effect("goes, but for what somebody has begun with or has in hand", () =>
    Effect.gen(function* () {
      const withdrawals = yield* Queue.unbounded<ReadonlyArray<ReturnType<typeof id>>>()
      const ledger = yield* ledgerWith({ withdrawn: Queue.take(withdrawals) })
      const entries = yield* open(ledger, ...[1, 2, 3, 4, 5].map((n) => message(n)))
      const [held, inHand, queued, left] = entries
      ledger.hold(held)
      inHand.hands = queued.hands = () => "AtWork"
      queued.isQueued = true
      const gone = yield* begin(ledger.signal.until(() => ledger.count().open === 3))
      yield* Queue.offer(withdrawals, [1, 2, 3, 4].map(id))
      yield* Fiber.join(gone)
      assert.deepStrictEqual(numbers([...ledger.entries()]), [1, 2, 5])
      assert.deepStrictEqual(ledger.givenBack, [id(3), id(4)])
      assert.deepStrictEqual(ledger.became, [`${id(3)} Forgotten`, `${id(4)} Forgotten`])
      assert.isUndefined(left.value)
    }).pipe(Effect.scoped)
  )
})

describe("a recall", () => {
  const takenBack = ({ measured }: Ledger) => measured.filter((line) => line.startsWith("taken_back"))

  it.effect("takes what is at hand when somebody is about to begin with it or has failed at it", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const ledger = yield* ledgerWith({
        settings: { tellOfRecalls: false },
        aside: {
          defer: ({ id }) => Effect.sync(() => void asked.push(id)),
          giveUp: ({ id }) => Effect.sync(() => void asked.push(id))
        }
      })
      const [first, second, third, fourth] = yield* open(ledger, ...[1, 2, 3, 4].map((n) => message(n)))
      const [note] = yield* open(ledger, recall(11, 1), recall(12, 2), recall(13, 3))
      assert.isFalse(ledger.skips(note))
      assert.isTrue(ledger.skips(first))
      yield* ledger.ack(first, [])
      yield* ledger.defer(second)
      yield* ledger.giveUp(third, "no")
      yield* ledger.giveUp(fourth, "no")
      assert.deepStrictEqual([ledger.acked, asked], [[id(1), id(2), id(3)], [id(4)]])
      assert.isTrue(ledger.skips(note))
      assert.isTrue(ledger.skips(first))
      assert.lengthOf(takenBack(ledger), 3)
    }).pipe(Effect.scoped)
  )

  it.effect("and what it takes are handed to nobody where both come together", () =>
    Effect.gen(function* () {
      for (const tellOfRecalls of [false, true]) {
        const ledger = yield* ledgerWith({ settings: { tellOfRecalls } })
        const entries = yield* open(ledger, message(1), recall(2, 1), message(3))
        assert.deepStrictEqual(numbers(entries), tellOfRecalls ? [2, 3] : [3])
        assert.deepStrictEqual(ledger.acked, tellOfRecalls ? [id(1)] : [id(1), id(2)])
        assert.lengthOf(takenBack(ledger), 1)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("takes what a consumer has left and what an earlier process had put aside", () =>
    Effect.gen(function* () {
      const resumed: Array<string> = []
      const ledger = yield* ledgerWith({
        load: (ids) =>
          Effect.succeed(
            ids.map((each) =>
              each === id(21) || each === id(22) ? { _tag: "Deferred", tries: 1, until: 0 } : undefined
            )
          ),
        aside: { resume: ({ id }) => Effect.sync(() => void resumed.push(id)) }
      })
      const [first, second] = yield* open(ledger, message(1), message(2))
      for (const entry of [first, second]) ledger.handBack(entry)
      yield* BlazeTest.settle
      assert.deepStrictEqual(
        numbers(yield* open(ledger, recall(11, 1), message(21), recall(12, 22), message(22))),
        [2, 11, 12]
      )
      assert.deepStrictEqual([ledger.acked, resumed], [[id(1), id(22)], [id(21)]])
      assert.strictEqual(ledger.count().open, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("takes what waits or is given up at once, when it first comes, and only what is its own sender's", () =>
    Effect.gen(function* () {
      const waiting = new Map([message(1), message(2, { user_id: id(98) })].map((each) => [each.id, each]))
      let counted = 0
      const ledger = yield* ledgerWith({
        states: { of: (each) => (each === id(3) || each === id(4) ? "GivenUp" : "Deferred") },
        aside: {
          waiting: (id) => waiting.get(id),
          givenUp: { count: Effect.sync(() => void counted++), takesBack: ({ messageId }) => messageId === id(3) }
        }
      })
      yield* open(ledger, recall(11, 1), recall(12, 2), recall(13, 3), recall(14, 4))
      assert.deepStrictEqual([ledger.acked, counted], [[id(1), id(3)], 1])
      assert.lengthOf(takenBack(ledger), 2)
      // They come again, and something else does.
      yield* open(ledger, recall(11, 1), recall(13, 3), message(5))
      assert.deepStrictEqual([ledger.acked, counted], [[id(1), id(3)], 1])
    }).pipe(Effect.scoped)
  )

  it.effect("of what has not come takes nothing, nor of what was done with or withdrawn", () =>
    Effect.gen(function* () {
      const withdrawals = yield* Queue.unbounded<ReadonlyArray<ReturnType<typeof id>>>()
      const ledger = yield* ledgerWith({ withdrawn: Queue.take(withdrawals) })
      yield* open(ledger, recall(11, 1))
      const [first, second, third] = yield* open(ledger, message(1), message(2), message(3))
      assert.isFalse(ledger.skips(first))
      yield* open(ledger, recall(12, 2), recall(13, 3))
      yield* ledger.ack(second, [])
      yield* Queue.offer(withdrawals, [id(3)])
      yield* ledger.signal.until(() => third.value === undefined)
      // As if the store had forgotten it: it is new when it comes again.
      ledger.states.become(id(2), "Forgotten")
      const again = yield* open(ledger, message(2), message(3))
      assert.deepStrictEqual(numbers(again), [2, 3])
      for (const entry of again) assert.isFalse(ledger.skips(entry))
    }).pipe(Effect.scoped)
  )
})
