// What a bot remembers, wherever it is stored.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Layer, Logger, Option, Schema, Stream } from "effect"
import {
  Blaze,
  type BlazeError,
  Bot,
  Delivery,
  type Ids,
  Keyed,
  Settings,
  type Signer,
  State,
  type Store
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import type { SecureRandom } from "effect/crypto"
import { clientWith, lines, textOf } from "../support.ts"

const Count = State.conversation("count", Schema.Int)
const Seen = State.person("seen", Schema.Array(Schema.String))

/** Adds one, and says how many there are. */
const counting = Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
  const cell = delivery.state(Count)
  const count = Option.getOrElse(yield* cell.get, () => 0) + 1
  yield* cell.set(count)
  return count
})

/** What its sender has said before, and where that is remembered. */
const seenBy = (delivery: Delivery.Delivery) => {
  const seen = delivery.state(Seen)
  return Effect.map(seen.get, (before) => ({ seen, before: Option.getOrElse(before, (): ReadonlyArray<string> => []) }))
}

const conversationOf = (person: { readonly userId: Ids.UserId }) =>
  Effect.flatMap(Blaze.Blaze, ({ conversationOf }) => conversationOf({ user: person.userId }))

const reasonOf = <A>(exit: Exit.Exit<A, BlazeError.BlazeError>) =>
  Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "nothing"

/** A test of bots with a store, which is an empty one each time that the Layer is built. */
const tester = <R>(
  store: Layer.Layer<Store.Store, BlazeError.BlazeError, R | Signer.Signer | SecureRandom.SecureRandom>,
  database: Layer.Layer<R, unknown>
) => {
  const world = Layer.merge(BlazeTest.layerServer, database)
  /** A process of the bot. */
  const life = <A, E, R2>(effect: Effect.Effect<A, E, R2>) =>
    effect.pipe(
      Effect.provide(clientWith({ store }).pipe(Layer.provide(Layer.succeed(Keyed.Grace, 0)))),
      // What fails here is not to wait for time that does not pass.
      Effect.provideService(Keyed.Grace, 0)
    )
  return <E>(
    title: string,
    body: Effect.Effect<void, E, BlazeTest.Server | Blaze.Services | R>,
    layer: Layer.Layer<never, BlazeError.BlazeError> = Layer.empty
  ) => it.effect(title, () => life(body).pipe(Effect.provide(layer), Effect.provide(Layer.fresh(world))))
}

/** The suite for a store: what is remembered. */
export const stateContract = <R>(name: string, ...[store, database]: Parameters<typeof tester<R>>) => {
  const test = tester(store, database)
  describe(`what is remembered ${name}`, () => {
    test(
      "is changed from outside of a handler where it is as it was read, and not where it has changed since",
      Effect.gen(function* () {
        const { userId } = yield* BlazeTest.user("alice")
        const one = yield* State.of(Seen, userId)
        const other = yield* State.of(Seen, userId)
        assert.deepStrictEqual(yield* one.get, Option.none())
        assert.deepStrictEqual(yield* other.get, Option.none())
        yield* one.set(["one"])
        assert.match(reasonOf(yield* Effect.exit(other.set(["other"]))), /"seen" has changed since it was read/)
        assert.match(reasonOf(yield* Effect.exit(other.remove)), /"seen" has changed since it was read/)
        assert.deepStrictEqual(yield* other.get, Option.some(["one"]))
        yield* other.remove
        assert.match(reasonOf(yield* Effect.exit(one.set(["again"]))), /has changed/)
        // What nobody has looked at.
        yield* (yield* State.of(Seen, userId)).set(["blind"])
        assert.deepStrictEqual(yield* one.get, Option.some(["blind"]))
        yield* one.set(["once"])
        yield* one.set(["twice"])
        assert.deepStrictEqual(yield* other.get, Option.some(["twice"]))
      })
    )

    test(
      "is told of when it is due, oldest first, until it is written again; and not when that was meanwhile",
      Effect.gen(function* () {
        const people = yield* Effect.forEach(["alice", "bob", "carol"], BlazeTest.user)
        for (const [n, { userId }] of people.entries()) {
          const seen = yield* State.of(Seen, userId)
          yield* seen.set([`${n}`], { due: `${30 - n * 10} minutes` })
        }
        yield* (yield* State.of(Seen, people[0]!.userId)).get
        assert.deepStrictEqual(yield* State.due(Seen), [])
        yield* TestClock.adjust("20 minutes")
        const due = yield* State.due(Seen)
        assert.deepStrictEqual(
          due.map(({ dueAt, key, value }) => [key, value, dueAt]),
          [
            [people[2]!.userId, ["2"], 600_000],
            [people[1]!.userId, ["1"], 1_200_000]
          ]
        )
        yield* due[0]!.set(["told"])
        yield* (yield* State.of(Seen, people[1]!.userId)).set(["meanwhile"])
        assert.match(reasonOf(yield* Effect.exit(due[1]!.set(["told"]))), /has changed since it was read/)
        assert.deepStrictEqual(yield* State.due(Seen), [])
        assert.deepStrictEqual(yield* State.due(Count), [])
        yield* TestClock.adjust("10 minutes")
        const [last] = yield* State.due(Seen)
        yield* last!.remove
        assert.deepStrictEqual(yield* last!.get, Option.none())
      })
    )

    test(
      "is forgotten when its time is over, and is nothing then to whoever writes",
      Effect.gen(function* () {
        const Brief = State.person("brief", Schema.String, { timeToLive: "1 hour" })
        const { userId } = yield* BlazeTest.user("alice")
        const brief = yield* State.of(Brief, userId)
        yield* brief.set("a", { due: "1 minute" })
        yield* TestClock.adjust("59 minutes")
        assert.deepStrictEqual(yield* brief.get, Option.some("a"))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* State.due(Brief), [])
        assert.deepStrictEqual(yield* brief.get, Option.none())
        yield* brief.set("b")
        assert.deepStrictEqual(yield* brief.get, Option.some("b"))
      })
    )

    test(
      "is read by the next version of the program, which says how; and what does not fit fails",
      Effect.gen(function* () {
        const { userId } = yield* BlazeTest.user("alice")
        const first = yield* State.of(State.person("form", Schema.String), userId)
        yield* first.set("1, 2", { due: 0 })
        const Second = State.person("form", Schema.Struct({ numbers: Schema.Array(Schema.Int) }), {
          version: 2,
          migrate: (stored) => ({ numbers: String(stored).split(", ").map(Number) })
        })
        const second = yield* State.of(Second, userId)
        assert.deepStrictEqual(yield* second.get, Option.some({ numbers: [1, 2] }))
        const failing = [
          [
            State.person("form", Schema.String, { version: 2 }),
            /version 1 of it is stored, and version 2 has no migrate/
          ],
          [State.person("form", Schema.Int), /what is stored, of version 1, does not fit its schema/],
          [State.person("form", Schema.Int, { version: 3, migrate: (text) => text }), /of version 1, does not fit/]
        ] as const
        for (const [state, problem] of failing) {
          const cell: State.Cell<unknown> = yield* State.of(state as State.State<unknown, Ids.UserId>, userId)
          assert.match(reasonOf(yield* Effect.exit(cell.get)), problem)
        }
        // It is not taken for nothing: it is where it was.
        const { all, layer } = lines()
        assert.deepStrictEqual(yield* Effect.provide(State.due(failing[1][0]), layer), [])
        assert.match(all.join(), /What is due of the state "form" does not fit its schema, and is left where it is: /)
        assert.deepStrictEqual(yield* first.get, Option.some("1, 2"))
        yield* second.set({ numbers: [3] })
        assert.deepStrictEqual(yield* second.get, Option.some({ numbers: [3] }))
      })
    )

    test(
      "is made anew of what is there by everybody who asks, one after the other",
      Effect.gen(function* () {
        const conversation = yield* conversationOf(yield* BlazeTest.user("alice"))
        const add = State.update(Count, conversation, (before) => Option.getOrElse(before, () => 0) + 1)
        const values = yield* Effect.all(
          Array.from({ length: 50 }, () => add),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          values.toSorted((a, b) => a - b),
          Array.from({ length: 50 }, (_, n) => n + 1)
        )
        const failed = yield* Effect.exit(State.update(Count, conversation, () => "no" as never))
        assert.match(reasonOf(failed), /a value does not fit its schema/)
      })
    )

    test(
      "is what one of those has written who have read before any of them wrote, though they share what reads it",
      Effect.gen(function* () {
        const { userId } = yield* BlazeTest.user("alice")
        const seen = yield* State.of(Seen, userId)
        const ends = yield* Effect.forEach(
          Array.from({ length: 10 }, (_, n) => n),
          (n) =>
            Effect.exit(
              Effect.flatMap(seen.get, (before) =>
                Effect.andThen(Effect.yieldNow, seen.set([...Option.getOrElse(before, () => []), `${n}`]))
              )
            ),
          { concurrency: "unbounded" }
        )
        const made = ends.filter((end) => Exit.isSuccess(end))
        assert.lengthOf(Option.getOrThrow(yield* seen.get), made.length)
        for (const end of ends) if (Exit.isFailure(end)) assert.match(reasonOf(end), /has changed since it was read/)
      })
    )

    test(
      "is written over by whoever has not looked, however often, and when what he wrote is no longer there",
      Effect.gen(function* () {
        const Brief = State.person("brief", Schema.String, { timeToLive: "1 hour" })
        const { userId } = yield* BlazeTest.user("alice")
        const one = yield* State.of(Brief, userId)
        const other = yield* State.of(Brief, userId)
        for (const cell of [one, other, one, other]) yield* cell.set("blind")
        yield* TestClock.adjust("2 hours")
        yield* one.set("again")
        assert.deepStrictEqual(yield* other.get, Option.some("again"))
      })
    )

    test(
      "is of a conversation or of a person, though both have one name",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const OfConversation = State.conversation("same", Schema.String)
        const OfPerson = State.person("same", Schema.String)
        yield* (yield* State.of(OfPerson, alice.userId)).set("a person", { due: 0 })
        assert.deepStrictEqual(yield* State.due(OfConversation), [])
        const odd = yield* State.of(OfConversation, alice.userId as string as Ids.ConversationId)
        assert.deepStrictEqual(yield* odd.get, Option.none())
        assert.lengthOf(yield* State.due(OfPerson), 1)
      })
    )

    test(
      "is told of when it is due, however much cannot be read that was due before",
      Effect.gen(function* () {
        const old = State.person("grown", Schema.String)
        const New = State.person("grown", Schema.Int)
        const { userId } = yield* BlazeTest.user("alice")
        yield* Effect.forEach(
          Array.from({ length: 1001 }, (_, n) => `${userId.slice(0, -4)}${1000 + n}` as Ids.UserId),
          (id) => Effect.flatMap(State.of(old, id), (cell) => cell.set("old", { due: 0 })),
          { concurrency: "unbounded" }
        )
        yield* TestClock.adjust("1 second")
        yield* (yield* State.of(New, userId)).set(7, { due: 0 })
        const due = yield* Effect.provide(State.due(New), lines().layer)
        assert.deepStrictEqual(
          due.map(({ key, value }) => [key, value]),
          [[userId, 7]]
        )
      })
    )

    test(
      "fails, and is no defect, where its options, its migrate, its key or what is stored are wrong",
      Effect.gen(function* () {
        const { userId } = yield* BlazeTest.user("alice")
        const before = yield* State.of(State.person("form", Schema.String), userId)
        yield* before.set("text")
        const throwing = State.person("form", Schema.String, {
          version: 2,
          migrate: () => {
            throw new TypeError("never seen")
          }
        })
        assert.match(
          reasonOf(yield* Effect.exit((yield* State.of(throwing, userId)).get)),
          /what is stored, of version 1, does not fit its schema/
        )
        for (const version of [Number.NaN, 1.5, 0, -1, Infinity, 2 ** 53]) {
          const cell = yield* State.of(State.person("form", Schema.String, { version }), userId)
          const problem = /its version has to be a whole number from 1 on/
          assert.match(reasonOf(yield* Effect.exit(cell.set("x"))), problem)
          assert.match(reasonOf(yield* Effect.exit(cell.get)), problem)
        }
        for (const timeToLive of [0, -1, Number.NaN, "soon" as never]) {
          const cell = yield* State.of(State.person("form", Schema.String, { timeToLive }), userId)
          assert.match(reasonOf(yield* Effect.exit(cell.set("x"))), /its timeToLive has to be a positive time/)
        }
        const Brief = yield* State.of(State.person("brief", Schema.String, { timeToLive: "1 hour" }), userId)
        assert.match(reasonOf(yield* Effect.exit(Brief.set("x", { due: "1 hour" }))), /no longer remembered/)
        const anything = yield* State.of(State.person("any", Schema.Any), userId)
        assert.match(reasonOf(yield* Effect.exit(anything.set(undefined))), /or has no form in JSON/)
        const half = yield* State.of(Seen, "\ud800" as Ids.UserId)
        assert.match(reasonOf(yield* Effect.exit(half.set([]))), /its key has a NUL, or half of a character/)
        const nameless = yield* State.of(State.person("a\0b", Schema.String), userId)
        assert.match(reasonOf(yield* Effect.exit(nameless.get)), /its name has a NUL, or half of a character/)
      })
    )

    test(
      "is refused where it does not fit, is too large, or would go under a key that no database takes",
      Effect.gen(function* () {
        const { userId } = yield* BlazeTest.user("alice")
        const seen = yield* State.of(Seen, userId)
        assert.match(reasonOf(yield* Effect.exit(seen.set([1 as never]))), /a value does not fit its schema/)
        assert.match(
          reasonOf(yield* Effect.exit(seen.set(["x".repeat(100)]))),
          /a value has 104 characters as JSON, and maximumStateSize is 100/
        )
        const odd = yield* State.of(Seen, "a\0b" as Ids.UserId)
        assert.match(reasonOf(yield* Effect.exit(odd.set([]))), /its key has a NUL/)
        assert.match(reasonOf(yield* Effect.exit(seen.set([], { due: "soon" as never }))), /due must be a time/)
        yield* seen.set(["\0 ' \u{1f600} \ud800"])
        assert.deepStrictEqual(yield* seen.get, Option.some(["\0 ' \u{1f600} \ud800"]))
      }),
      Settings.layer({ maximumStateSize: 100 })
    )
  })
}

/** The suite for a store that takes no time: what handlers make of it. */
export const handlerContract = <R>(name: string, ...[store, database]: Parameters<typeof tester<R>>) => {
  const test = tester(store, database)
  describe(`what a bot remembers ${name}`, () => {
    test(
      "is what a handler has written, for the next message of the conversation, and for a person wherever he speaks",
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        const bob = yield* BlazeTest.user("bob")
        const group = yield* server.group(yield* BlazeTest.Account, [alice, bob])
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const count = yield* counting(delivery)
              const { before, seen } = yield* seenBy(delivery)
              yield* seen.set([...before, textOf(delivery)])
              assert.deepStrictEqual(yield* seen.get, Option.some([...before, textOf(delivery)]))
              yield* delivery.reply(`${count}: ${before.join()}`)
            })
          )
        )
        for (const [who, text, where] of [
          [alice, "a", undefined],
          [bob, "b", undefined],
          [alice, "c", group],
          [bob, "d", group]
        ] as const) {
          yield* who.say(text, where)
          yield* BlazeTest.settle
        }
        assert.deepStrictEqual(yield* alice.reads, ["1: ", "1: a", "2: b"])
        assert.deepStrictEqual(yield* bob.reads, ["1: ", "1: a", "2: b"])
      })
    )

    test(
      "is nothing of what a try has written that failed, of what was deferred, and of what was given up",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const before: Array<string> = []
        let tries = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const cell = delivery.state(Count)
              before.push(`${textOf(delivery)} ${Option.getOrElse(yield* cell.get, () => 0)}`)
              yield* counting(delivery)
              if (textOf(delivery) === "fail" && ++tries < 3) return yield* Effect.fail("not yet")
              if (textOf(delivery) === "later" && tries++ < 4) return Delivery.Defer
              return textOf(delivery) === "never" ? Delivery.GiveUp : Delivery.Ack
            })
          )
        )
        for (const text of ["fail", "later", "never", "end"]) {
          yield* alice.say(text)
          yield* BlazeTest.pass("5 seconds")
        }
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(before, ["fail 0", "fail 0", "fail 0", "later 1", "never 1", "end 1", "later 2"])
        const cell = yield* State.of(Count, yield* conversationOf(alice))
        assert.deepStrictEqual(yield* cell.get, Option.some(3))
      }),
      Logger.layer([])
    )

    test(
      "is what onFailure has written in place of the handler that failed",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        yield* Effect.forkChild(
          Bot.run((delivery) => Effect.andThen(delivery.state(Count).set(1), Effect.fail("never")), {
            onFailure: (delivery) =>
              delivery
                .state(Seen)
                .set(["failed"])
                .pipe(
                  Effect.as(Delivery.Ack),
                  Effect.orElseSucceed(() => Delivery.Defer)
                )
          })
        )
        yield* alice.say("hi")
        yield* BlazeTest.pass("10 seconds")
        const seen = yield* State.of(Seen, alice.userId)
        const count = yield* State.of(Count, yield* conversationOf(alice))
        assert.deepStrictEqual(yield* Effect.all([seen.get, count.get]), [Option.some(["failed"]), Option.none()])
      })
    )

    test(
      "has what two handlers write at the same time one after the other: the later runs again, with what the other wrote",
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        const groups = yield* Effect.forEach([1, 2, 3, 4, 5], () =>
          Effect.flatMap(BlazeTest.Account, (bot) => server.group(bot, [alice]))
        )
        const gate = yield* Deferred.make<void>()
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              runs++
              const { before, seen } = yield* seenBy(delivery)
              yield* Deferred.await(gate)
              yield* seen.set([...before, textOf(delivery)])
            }),
            { concurrency: 2 }
          )
        )
        for (const [n, group] of groups.entries()) yield* alice.say(`${n}`, group)
        yield* BlazeTest.settle
        assert.strictEqual(runs, 2)
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("2 seconds")
        const seen = yield* State.of(Seen, alice.userId)
        assert.deepStrictEqual(
          Option.map(yield* seen.get, (texts) => texts.toSorted()),
          Option.some(["0", "1", "2", "3", "4"])
        )
        assert.isAbove(runs, 5)
        assert.strictEqual((yield* BlazeTest.acknowledged).flat().length, 5)
      })
    )

    test(
      "is decided on what is there, also where that is only looked at",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const conversation = yield* conversationOf(alice)
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const count = yield* delivery.state(Count).get
              if (runs++ === 0) yield* (yield* State.of(Count, conversation)).set(7)
              yield* delivery.state(Seen).set([`decided on ${Option.getOrElse(count, () => 0)}`])
            })
          )
        )
        yield* alice.say("hi")
        yield* BlazeTest.settle
        const seen = yield* State.of(Seen, alice.userId)
        assert.deepStrictEqual(yield* seen.get, Option.some(["decided on 7"]))
        assert.strictEqual(runs, 2)
      })
    )

    test(
      "is nothing of what an earlier try goes on to write that failed",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const late = yield* Deferred.make<Exit.Exit<void, BlazeError.BlazeError>>()
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const cell = delivery.state(Count)
              if (runs++ > 0) return yield* Effect.sleep("5 seconds")
              yield* Effect.forkDetach(
                Effect.flatMap(Effect.exit(Effect.delay(cell.set(666), "2 seconds")), (exit) =>
                  Deferred.succeed(late, exit)
                )
              )
              return yield* Effect.fail("not yet")
            })
          )
        )
        yield* alice.say("hi")
        yield* BlazeTest.pass("10 seconds")
        assert.match(reasonOf(yield* Deferred.await(late)), /has been settled, or is handled again/)
        const count = yield* State.of(Count, yield* conversationOf(alice))
        assert.deepStrictEqual(yield* count.get, Option.none())
        assert.strictEqual(runs, 2)
      }),
      Logger.layer([])
    )

    test(
      "has what many want to write at the same time, each once",
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        const bot = yield* BlazeTest.Account
        const groups = yield* Effect.forEach(Array.from({ length: 30 }), () => server.group(bot, [alice]))
        const problems = lines()
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const { before, seen } = yield* seenBy(delivery)
              yield* Effect.sleep("10 millis")
              yield* seen.set([...before, textOf(delivery)])
            })
          ).pipe(Effect.provide(problems.layer))
        )
        for (const [n, group] of groups.entries()) yield* alice.say(`${n}`, group)
        for (let n = 0; n < 60; n++) yield* BlazeTest.pass("500 millis")
        const seen = yield* State.of(Seen, alice.userId)
        assert.lengthOf(new Set(Option.getOrThrow(yield* seen.get)), 30)
        assert.deepStrictEqual(problems.all, [])
      })
    )

    test(
      "has nobody run again whose message was taken back meanwhile",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const conversation = yield* conversationOf(alice)
        const gate = yield* Deferred.make<void>()
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Bot.match({
              Text: Effect.fnUntraced(function* (delivery) {
                runs++
                yield* counting(delivery)
                yield* Deferred.await(gate)
                yield* (yield* State.of(Count, conversation)).set(10)
              }),
              orElse: () => Effect.void
            }),
            { concurrency: 1 }
          )
        )
        const said = yield* alice.say("hi")
        yield* BlazeTest.settle
        yield* alice.recall(said)
        yield* BlazeTest.settle
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("2 seconds")
        assert.strictEqual(runs, 1)
        assert.deepStrictEqual(yield* (yield* BlazeTest.Account).pending, [])
      })
    )

    test(
      "is written by a pipeline that was overtaken in its place, so that the order stays; and not for ever",
      Effect.gen(function* () {
        const server = yield* BlazeServer.BlazeServer
        const alice = yield* BlazeTest.user("alice")
        const group = yield* server.group(yield* BlazeTest.Account, [alice])
        const { deliveries } = yield* Blaze.Blaze
        const gate = yield* Deferred.make<void>()
        const problems = lines()
        let endless = 0
        yield* deliveries.pipe(
          Keyed.mapEffect(
            Delivery.handle((delivery) =>
              Effect.gen(function* () {
                const { before, seen } = yield* seenBy(delivery)
                if (textOf(delivery) === "1") yield* Deferred.await(gate)
                if (textOf(delivery) === "endless") {
                  endless++
                  yield* (yield* State.of(Seen, alice.userId)).set([...before, "?"])
                }
                yield* seen.set([...before, textOf(delivery)])
              })
            ),
            { key: ({ message }) => message.conversationId, concurrency: 8 }
          ),
          Stream.runDrain,
          Effect.provide(problems.layer),
          Effect.forkChild
        )
        for (const text of ["1", "2", "3"]) yield* alice.say(text)
        yield* BlazeTest.settle
        yield* alice.say("g", group)
        yield* BlazeTest.settle
        yield* Deferred.succeed(gate, undefined)
        yield* BlazeTest.pass("5 seconds")
        const seen = yield* State.of(Seen, alice.userId)
        assert.deepStrictEqual(yield* seen.get, Option.some(["g", "1", "2", "3"]))
        yield* alice.say("endless")
        for (let second = 0; second < 10; second++) yield* BlazeTest.pass("1 second")
        assert.strictEqual(endless, 11)
        assert.lengthOf(problems.all, 1)
        assert.match(problems.all[0]!, /was to write has changed each time since it was read; it is deferred/)
        assert.lengthOf(yield* (yield* BlazeTest.Account).pending, 1)
      })
    )

    test(
      "offers a message again soon that was acknowledged by hand, and overtaken; and takes a group for one",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const { deliveries } = yield* Blaze.Blaze
        const count = yield* State.of(Count, yield* conversationOf(alice))
        let runs = 0
        let groups = 0
        yield* deliveries.pipe(
          Stream.take(2),
          Stream.mapEffect((delivery) =>
            Effect.gen(function* () {
              yield* counting(delivery)
              if (runs++ === 0) yield* count.set(10)
              yield* delivery.ack
            })
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* alice.say("by hand")
        yield* BlazeTest.pass("2 seconds")
        assert.deepStrictEqual(yield* count.get, Option.some(11))
        assert.strictEqual(runs, 2)
        yield* deliveries.pipe(
          Stream.groupedWithin(40, "1 second"),
          Stream.mapEffect(
            Delivery.handleAll((group) =>
              Effect.gen(function* () {
                const isFirst = groups++ === 0
                yield* Effect.forEach(group, counting)
                if (isFirst) yield* count.set(100)
              })
            )
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        for (let n = 0; n < 40; n++) yield* alice.say(`${n}`)
        for (let n = 0; n < 3; n++) yield* BlazeTest.pass("1 second")
        assert.deepStrictEqual(yield* count.get, Option.some(140))
        assert.strictEqual(groups, 2)
        assert.strictEqual((yield* BlazeTest.acknowledged).flat().length, 41)
      })
    )

    test(
      "does not let a handler that overtakes itself run for ever: its message is deferred",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const { all, layer } = lines()
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              runs++
              yield* counting(delivery)
              const same = yield* State.of(Count, delivery.message.conversationId)
              yield* same.set(100)
            })
          ).pipe(Effect.provide(layer))
        )
        yield* alice.say("hi")
        for (let second = 0; second < 5; second++) yield* BlazeTest.pass("1 second")
        assert.strictEqual(runs, 11)
        assert.lengthOf(
          all.filter((line) => line.includes("was to write has changed each time since it was read")),
          1
        )
        for (let second = 0; second < 10; second++) yield* BlazeTest.pass("5 seconds")
        assert.strictEqual(runs, 22)
      }),
      Settings.layer({ flushTimeout: 0 })
    )

    test(
      "is not written for what a batch had begun when something arrived with which it begins again",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const { deliveries } = yield* Blaze.Blaze
        const conversation = yield* conversationOf(alice)
        let runs = 0
        yield* deliveries.pipe(
          Keyed.mapEffectBatch(
            Delivery.handleAll((group) =>
              Effect.gen(function* () {
                yield* runs++ === 0 ? counting(group[0]!) : group[0]!.state(Seen).set(group.map(textOf))
                yield* Effect.sleep("2 seconds")
              })
            ),
            { key: ({ message }) => message.conversationId, concurrency: 1, restart: true }
          ),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* alice.say("one")
        yield* BlazeTest.pass("1 second")
        yield* alice.say("two")
        yield* BlazeTest.pass("5 seconds")
        const count = yield* State.of(Count, conversation)
        const seen = yield* State.of(Seen, alice.userId)
        assert.deepStrictEqual(yield* Effect.all([count.get, seen.get]), [Option.none(), Option.some(["one", "two"])])
      })
    )

    const workLog = lines()
    test(
      "keeps its message at work while the handler runs again: nobody takes it for dropped",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const conversation = yield* conversationOf(alice)
        let runs = 0
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              yield* counting(delivery)
              if (runs++ === 0) yield* (yield* State.of(Count, conversation)).set(10)
              else yield* Effect.sleep("4 minutes")
            })
          )
        )
        yield* alice.say("hi")
        for (let minute = 0; minute < 5; minute++) yield* BlazeTest.pass("1 minute")
        assert.strictEqual(runs, 2)
        assert.deepStrictEqual(yield* (yield* State.of(Count, conversation)).get, Option.some(11))
        assert.deepStrictEqual(
          workLog.all.filter((line) => line.includes("neither acknowledged nor deferred")),
          []
        )
      }),
      workLog.layer
    )

    test(
      "is written by all parts of a message together",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const { deliveries } = yield* Blaze.Blaze
        yield* alice.say("hi")
        const conversation = yield* conversationOf(alice)
        const count = yield* State.of(Count, conversation)
        const between: Array<Option.Option<number>> = []
        yield* deliveries.pipe(
          Stream.take(1),
          Stream.mapEffect((delivery) => {
            const [first, second] = Delivery.split(delivery, 2)
            return Effect.gen(function* () {
              yield* Delivery.handle(counting)(first)
              between.push(yield* count.get)
              yield* Delivery.handle((part) => part.state(Seen).set(["second"]))(second)
            })
          }),
          Stream.runDrain
        )
        const seen = yield* State.of(Seen, alice.userId)
        assert.deepStrictEqual(between, [Option.none()])
        assert.deepStrictEqual(yield* Effect.all([count.get, seen.get]), [Option.some(1), Option.some(["second"])])
      })
    )

    test(
      "is not written by what comes after the acknowledgement, which is told",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const ends = yield* Deferred.make<Exit.Exit<void, BlazeError.BlazeError>>()
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              yield* delivery.state(Count).set(7)
              yield* delivery.ack
              yield* Deferred.succeed(ends, yield* Effect.exit(delivery.state(Count).set(8)))
            })
          )
        )
        yield* alice.say("hi")
        assert.match(
          reasonOf(yield* Deferred.await(ends)),
          /The state "count" cannot be used: the message has been settled, or is handled again, and nothing is written with this/
        )
        const count = yield* State.of(Count, yield* conversationOf(alice))
        assert.deepStrictEqual(yield* count.get, Option.some(7))
      })
    )

    test(
      "is read as it was by a handler, whatever happens meanwhile, and nothing is written on that",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const conversation = yield* conversationOf(alice)
        const looks: Array<ReadonlyArray<number>> = []
        yield* Effect.forkChild(
          Bot.run(
            Effect.fnUntraced(function* (delivery) {
              const cell = delivery.state(Count)
              const first = Option.getOrElse(yield* cell.get, () => 0)
              if (looks.length === 0) yield* (yield* State.of(Count, conversation)).set(10)
              looks.push([first, Option.getOrElse(yield* cell.get, () => 0)])
              yield* cell.set(first + 1)
            })
          )
        )
        yield* alice.say("hi")
        yield* BlazeTest.settle
        assert.deepStrictEqual(looks, [
          [0, 0],
          [10, 10]
        ])
        assert.deepStrictEqual(yield* (yield* State.of(Count, conversation)).get, Option.some(11))
      })
    )
  })
}

export { Count, counting }
