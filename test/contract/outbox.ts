// What is stored before it is sent, wherever it is stored.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result, Schedule, Stream } from "effect"
import { Blaze, type BlazeError, Broadcast, Outgoing, Sender, Settings, type Signer, type Store } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import type { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { crowd, tags } from "../crowd.ts"
import { clientWith, lines } from "../support.ts"

const durable = { durable: true } as const

const announce = (key: string, options: Partial<Broadcast.Options> = {}) =>
  Broadcast.sendAll((user) => `for ${user}`, { ...options, key, durable: true })

const attempts = Effect.flatMap(BlazeTest.Account, ({ sent }) =>
  Effect.map(sent, (sent) => sent.reduce((sum, { attempts }) => sum + attempts, 0))
)

type StoreLayer<R> = Layer.Layer<Store.Store, BlazeError.BlazeError, R | Signer.Signer | SecureRandom.SecureRandom>

/** Nothing comes through for so long, over either way. */
const silence = (times: number) =>
  Effect.gen(function* () {
    const { inject } = yield* BlazeServer.BlazeServer
    yield* inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 }, times)
    yield* inject({ _tag: "FailRest", status: 503, body: "" }, times)
  })

/** The suite for a store: what is sent later by the process that stored it. */
export const outboxContract = <R>(name: string, store: StoreLayer<R>, database: Layer.Layer<R, unknown>) => {
  const world = Layer.merge(BlazeTest.layerServer, database)
  const test = <E>(
    title: string,
    body: Effect.Effect<void, E, BlazeTest.Server | Blaze.Services | R>,
    layer: Layer.Layer<never, BlazeError.BlazeError> = Layer.empty
  ) =>
    it.effect(title, () =>
      body.pipe(Effect.provide(clientWith({ store })), Effect.provide(layer), Effect.provide(Layer.fresh(world)))
    )

  describe(`what is stored ${name} before it is sent`, () => {
    test(
      "is told of when it is stored, and leaves when it can, in order for each recipient",
      Effect.gen(function* () {
        const { people, server } = yield* crowd(2)
        const [alice, bob] = people
        const { send } = yield* Blaze.Blaze
        yield* silence(1_000_000)
        for (let n = 0; n < 20; n++) {
          yield* send({ user: alice!.userId }, `${n}`, durable)
          yield* send({ user: bob!.userId }, `${n}`, durable)
        }
        yield* BlazeTest.pass("5 minutes")
        assert.deepStrictEqual(yield* alice!.reads, [])
        yield* server.heal
        yield* BlazeTest.pass("10 minutes")
        const all = Array.from({ length: 20 }, (_, n) => `${n}`)
        assert.deepStrictEqual(yield* Effect.all([alice!.reads, bob!.reads]), [all, all])
      })
    )

    const refusals = lines()
    test(
      "is refused once: that is told, kept, and not tried again",
      Effect.gen(function* () {
        const { bot, people } = yield* crowd(2)
        const [alice, bob] = people
        const { derive, send } = yield* Blaze.Blaze
        yield* send({ user: alice!.userId }, "Welcome.", durable)
        yield* BlazeTest.pass("1 minute")
        yield* alice!.block
        const id = yield* derive("paid", "7")
        assert.strictEqual(yield* send({ user: alice!.userId }, "Paid.", { id, ...durable }), id)
        yield* send({ user: bob!.userId }, "Paid.", durable)
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(yield* bob!.reads, ["Paid."])
        assert.lengthOf(
          refusals.all.filter((line) => line.startsWith("Warn") && line.includes(`is not, and not tried again: ${id}`)),
          1
        )
        const again = yield* Effect.result(send({ user: alice!.userId }, "Paid.", { id, ...durable }))
        assert.isTrue(Result.isFailure(again) && again.failure.reason._tag === "ApiFailure")
        yield* BlazeTest.pass("10 minutes")
        const sends = (yield* bot.requests).flat().filter((action) => action === "CREATE_MESSAGE")
        assert.lengthOf(sends, 3)
      }),
      refusals.layer
    )

    test(
      "is nothing that breaks a limit: that fails at once",
      Effect.gen(function* () {
        const { bot, people } = yield* crowd(1)
        const { send } = yield* Sender.Sender
        for (const content of ["", Outgoing.buttons([]), "x".repeat(70_000)]) {
          const failed = yield* Effect.flip(send({ user: people[0]!.userId }, content, durable))
          assert.strictEqual(failed.reason._tag, "InvalidContent")
        }
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(yield* bot.sent, [])
      })
    )

    test(
      "is the file as it was, uploaded before it is stored; and the part of a longer text that it was",
      Effect.gen(function* () {
        const { people } = yield* crowd(1)
        const [alice] = people
        const { send } = yield* Blaze.Blaze
        const bytes = new TextEncoder().encode("a file")
        yield* send({ user: alice!.userId }, Outgoing.file(bytes, { name: "a.txt", mimeType: "text/plain" }), durable)
        yield* BlazeTest.settle
        const parts = Outgoing.split("word ".repeat(20_000))
        const id = yield* Effect.flatMap(Blaze.Blaze, ({ derive }) => derive("long"))
        const stored = yield* Effect.forEach(parts, (part) => send({ user: alice!.userId }, part, { id, ...durable }))
        const sent = yield* Effect.forEach(parts, (part) => send({ user: alice!.userId }, part, { id }))
        assert.deepStrictEqual(stored, sent)
        yield* BlazeTest.pass("1 minute")
        const received = yield* alice!.received
        const opened = yield* alice!.openFile(received[0]!)
        assert.deepStrictEqual(Option.getOrThrow(opened), bytes)
        assert.lengthOf(received, 1 + parts.length)
      })
    )

    test(
      "is an announcement: everybody is told of once, whoever is refused is left out, and what is known is not asked again",
      Effect.gen(function* () {
        const { bot, people, users } = yield* crowd(250)
        for (const n of [3, 4, 177]) yield* people[n]!.block
        const made = () =>
          users.pipe(
            Broadcast.sendAll((user) => (user === people[50]!.userId ? "" : `for ${user}`), {
              key: "sale",
              durable: true
            }),
            Stream.runCollect
          )
        const first = yield* Effect.forkChild(made())
        yield* BlazeTest.pass("1 minute")
        const outcomes = yield* Fiber.join(first)
        assert.deepStrictEqual(tags(outcomes), { Accepted: 246, Refused: 4 })
        assert.deepStrictEqual(yield* people[7]!.reads, [`for ${people[7]!.userId}`])
        assert.strictEqual((yield* bot.sent).length, 246)
        const before = yield* attempts
        const again = yield* made()
        const sorted = (outcomes: ReadonlyArray<Broadcast.Outcome>) =>
          outcomes.map(({ _tag, messageId }) => `${messageId} ${_tag}`).toSorted()
        assert.deepStrictEqual(sorted(again), sorted(outcomes))
        assert.strictEqual(yield* attempts, before)
      })
    )

    test(
      "has the same ids as what is not, so that nobody gets it twice",
      Effect.gen(function* () {
        const { bot, users } = yield* crowd(3)
        yield* users.pipe(
          Broadcast.sendAll((user) => `for ${user}`, { key: "sale" }),
          Stream.runDrain
        )
        const stored = yield* Effect.forkChild(users.pipe(announce("sale"), Stream.runCollect))
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(tags(yield* Fiber.join(stored)), { Accepted: 3 })
        assert.lengthOf(yield* bot.sent, 3)
      })
    )

    test(
      "makes the first contact where it is told to",
      Effect.gen(function* () {
        const alice = yield* BlazeTest.user("alice")
        const bob = yield* BlazeTest.user("bob")
        yield* bob.block
        const made = yield* Effect.forkChild(
          Stream.make(alice.userId, bob.userId).pipe(announce("sale", { firstContact: true }), Stream.runCollect)
        )
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(tags(yield* Fiber.join(made)), { Accepted: 1, Refused: 1 })
        assert.lengthOf(yield* alice.reads, 1)
      })
    )

    test(
      "waits in its place where no more may wait, and holds up nobody for whom there is room again",
      Effect.gen(function* () {
        const { people, server } = yield* crowd(1)
        const { send } = yield* Blaze.Blaze
        yield* silence(1_000_000)
        let stored = 0
        yield* Effect.forEach(
          ["0", "1", "2", "3", "4"],
          (text) => Effect.tap(send({ user: people[0]!.userId }, text, durable), () => Effect.sync(() => stored++)),
          { discard: true }
        ).pipe(Effect.forkChild)
        yield* BlazeTest.pass("1 minute")
        assert.strictEqual(stored, 3)
        yield* server.heal
        yield* BlazeTest.pass("10 minutes")
        assert.strictEqual(stored, 5)
        assert.deepStrictEqual(yield* people[0]!.reads, ["0", "1", "2", "3", "4"])
      }),
      Settings.layer({ outboxMessages: 3 })
    )

    const expiries = lines()
    test(
      "is given up when ids are no longer remembered, which is told",
      Effect.gen(function* () {
        const { people, server, users } = yield* crowd(1)
        const { send } = yield* Blaze.Blaze
        yield* silence(1_000_000)
        yield* send({ user: people[0]!.userId }, "late", durable)
        const outcomes = yield* Effect.forkChild(users.pipe(announce("sale"), Stream.runCollect))
        yield* BlazeTest.pass("2 hours")
        yield* server.heal
        yield* BlazeTest.pass("20 minutes")
        assert.deepStrictEqual(yield* people[0]!.reads, [])
        const [outcome] = yield* Fiber.join(outcomes)
        assert.isTrue(outcome?._tag === "Refused" && outcome.error.reason._tag === "OutboxFailed")
        assert.lengthOf(
          expiries.all.filter((line) => line.includes("could not be sent within the setting rememberedFor")),
          1
        )
      }),
      Layer.merge(Settings.layer({ rememberedFor: "1 hour" }), expiries.layer)
    )

    const refusal = lines()
    test(
      "is told of as an error where the bot is refused, and sent when it is not any more",
      Effect.gen(function* () {
        const { bot, people, server, users } = yield* crowd(3)
        const { send } = yield* Blaze.Blaze
        yield* server.inject({
          _tag: "FailRest",
          status: 200,
          body: JSON.stringify({ error: { status: 202, code: 401, description: "Unauthorized" } })
        })
        const outcomes = yield* Effect.forkChild(Effect.exit(users.pipe(announce("sale"), Stream.runCollect)))
        yield* BlazeTest.pass("30 seconds")
        assert.match(String(yield* Fiber.join(outcomes)), /refused the bot/)
        assert.lengthOf(
          refusal.all.filter((line) => line.includes("cannot be sent for now; it is tried again in a minute")),
          1
        )
        assert.lengthOf(yield* bot.sent, 0)
        yield* send({ user: people[0]!.userId }, "too", durable)
        yield* BlazeTest.pass("1 minute")
        assert.lengthOf(yield* bot.sent, 4)
      }),
      refusal.layer
    )

    test(
      "keeps nobody waiting for it that is for somebody else",
      Effect.gen(function* () {
        const { people } = yield* crowd(2)
        const [alice, bob] = people
        const { inject } = yield* BlazeServer.BlazeServer
        const { send } = yield* Blaze.Blaze
        // Alice's first does not come through for long, and she has more than is sent at once.
        yield* send({ user: bob!.userId }, "0", durable)
        yield* BlazeTest.pass("1 second")
        yield* inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 7000 })
        for (let n = 0; n < 400; n++) yield* send({ user: alice!.userId }, `${n}`, durable)
        yield* BlazeTest.pass("1 second")
        yield* send({ user: bob!.userId }, "1", durable)
        yield* BlazeTest.pass("10 seconds")
        assert.deepStrictEqual(yield* bob!.reads, ["0", "1"])
        assert.lengthOf(yield* alice!.reads, 0)
        yield* BlazeTest.pass("10 minutes")
        assert.deepStrictEqual(
          yield* alice!.reads,
          Array.from({ length: 400 }, (_, n) => `${n}`)
        )
      }),
      Settings.layer({ sendRetry: Schedule.recurs(0) })
    )

    test(
      "is stored though nobody waits any more until it is, and then sent",
      Effect.gen(function* () {
        const { people } = yield* crowd(1)
        const { send } = yield* Blaze.Blaze
        const store = yield* Effect.forkChild(send({ user: people[0]!.userId }, "0", durable), {
          startImmediately: true
        })
        yield* Fiber.interrupt(store)
        yield* send({ user: people[0]!.userId }, "1", durable)
        yield* BlazeTest.pass("1 minute")
        const reads = yield* people[0]!.reads
        assert.include([["1"], ["0", "1"]].map(String), String(reads))
      })
    )

    test(
      "is known by its id: whoever announces again needs neither the file nor the content that it had",
      Effect.gen(function* () {
        const { users } = yield* crowd(3)
        const made = (content: Outgoing.Content) =>
          users.pipe(
            Broadcast.sendAll(() => content, { key: "sale", durable: true }),
            Stream.runCollect
          )
        const first = yield* Effect.forkChild(made("The sale begins."))
        yield* BlazeTest.pass("1 minute")
        assert.deepStrictEqual(tags(yield* Fiber.join(first)), { Accepted: 3 })
        assert.deepStrictEqual(tags(yield* made("")), { Accepted: 3 })
        assert.deepStrictEqual(tags(yield* made(Outgoing.file("/nowhere/it.pdf"))), { Accepted: 3 })
      })
    )

    const endings = lines()
    it.effect(`tells who waits for what becomes of what is stored ${name} that the bot has ended`, () =>
      Effect.gen(function* () {
        const waiting = yield* Effect.gen(function* () {
          const { people, users } = yield* crowd(3)
          const { send } = yield* Blaze.Blaze
          yield* silence(1_000_000)
          yield* send({ user: people[0]!.userId }, "waits", durable)
          const outcomes = yield* Effect.forkDetach(Effect.exit(users.pipe(announce("sale"), Stream.runCollect)))
          yield* BlazeTest.pass("5 seconds")
          return { outcomes, send, to: { user: people[0]!.userId } }
        }).pipe(Effect.provide(clientWith({ store })))
        yield* BlazeTest.settle
        assert.match(String(yield* Fiber.join(waiting.outcomes)), /shutting down/)
        assert.match(String(yield* Effect.flip(waiting.send(waiting.to, "late", durable))), /shutting down/)
        assert.lengthOf(
          endings.all.filter((line) => line.includes("4 messages were to be sent that were stored in memory")),
          name === "in memory" ? 1 : 0
        )
      }).pipe(Effect.provide(Layer.fresh(world)), Effect.provide(endings.layer))
    )
  })
}

/** The suite for a store that outlives the process. */
export const lastingOutboxContract = (
  name: string,
  store: StoreLayer<SqlClient.SqlClient>,
  database: Layer.Layer<SqlClient.SqlClient, unknown>,
  isShared = false
) => {
  const world = Layer.merge(BlazeTest.layerServer, database)
  /** A process of the bot. */
  const life = <A, E, R2>(effect: Effect.Effect<A, E, R2>) => Effect.provide(effect, clientWith({ store }))
  const test = <E>(title: string, body: Effect.Effect<void, E, BlazeTest.Server | SqlClient.SqlClient>) =>
    it.effect(title, () => Effect.provide(body, Layer.fresh(world)))

  describe(`what is stored ${name} before it is sent, and its process`, () => {
    test(
      "is sent by the next process where this one has ended, in order, once, without being asked to",
      Effect.gen(function* () {
        const { bot, people, server } = yield* crowd(1)
        yield* silence(1_000_000)
        yield* life(
          Effect.gen(function* () {
            const { send } = yield* Blaze.Blaze
            for (const text of ["one", "two", "three"]) yield* send({ user: people[0]!.userId }, text, durable)
            yield* BlazeTest.pass("5 seconds")
          })
        )
        yield* server.heal
        assert.deepStrictEqual(yield* people[0]!.reads, [])
        yield* life(BlazeTest.pass("1 minute"))
        assert.deepStrictEqual(yield* people[0]!.reads, ["one", "two", "three"])
        yield* life(BlazeTest.pass("1 minute"))
        assert.deepStrictEqual(
          (yield* bot.sent).map(({ attempts }) => attempts),
          [1, 1, 1]
        )
      })
    )

    test(
      "is an announcement that goes on by itself; who asks for it again is told what is known, and the rest when it is",
      Effect.gen(function* () {
        const { bot, people, server, users } = yield* crowd(350)
        yield* people[20]!.block
        // The first batch goes through.
        yield* life(
          Effect.gen(function* () {
            const outcomes = yield* Effect.forkChild(users.pipe(Stream.take(100), announce("sale"), Stream.runCollect))
            yield* BlazeTest.pass("1 minute")
            assert.deepStrictEqual(tags(yield* Fiber.join(outcomes)), { Accepted: 99, Refused: 1 })
            yield* silence(1_000_000)
            yield* Effect.forkChild(users.pipe(announce("sale"), Stream.runDrain))
            yield* BlazeTest.pass("10 seconds")
          })
        )
        assert.lengthOf(yield* bot.sent, 99)
        yield* server.heal
        yield* life(
          Effect.gen(function* () {
            yield* BlazeTest.pass("1 minute")
            assert.lengthOf(yield* bot.sent, 349)
          })
        )
        yield* life(
          Effect.gen(function* () {
            assert.deepStrictEqual(tags(yield* users.pipe(announce("sale"), Stream.runCollect)), {
              Accepted: 349,
              Refused: 1
            })
          })
        )
        assert.strictEqual(yield* attempts, 349)
      })
    )

    // Several processes have it then.
    if (!isShared)
      test(
        "is not what another process has taken over: who stores there fails, and his bot ends",
        Effect.gen(function* () {
          const { bot, people } = yield* crowd(1)
          const failed = yield* life(
            Effect.gen(function* () {
              const { send } = yield* Blaze.Blaze
              yield* life(BlazeTest.settle)
              return yield* Effect.flip(send({ user: people[0]!.userId }, "mine", durable))
            })
          )
          assert.strictEqual(failed.reason._tag, "InvalidSetting")
          assert.deepStrictEqual(yield* bot.sent, [])
        })
      )

    test(
      "is sent, whatever is wrong with what was stored before it",
      Effect.gen(function* () {
        const { people, server, users } = yield* crowd(5)
        const sql = yield* SqlClient.SqlClient
        yield* silence(1_000_000)
        yield* life(
          Effect.gen(function* () {
            const { send } = yield* Blaze.Blaze
            for (const person of people) yield* send({ user: person.userId }, "alone", durable)
            yield* Effect.forkChild(users.pipe(announce("sale"), Stream.runDrain))
            yield* BlazeTest.pass("1 second")
          })
        )
        const broken = (text: string, user: number) =>
          sql`UPDATE blaze_outbox SET content = ${text} WHERE recipient = ${people[user]!.userId}`
        yield* broken("no JSON", 0)
        yield* broken('{"category":"PLAIN_TEXT","dataBase64":"%%%","silent":false,"expireIn":0}', 1)
        yield* broken('{"category":"APP_CARD","dataBase64":"AAAA","silent":false,"expireIn":0,"names":"Bot"}', 2)
        yield* server.heal
        const told = lines()
        yield* life(BlazeTest.pass("30 minutes")).pipe(Effect.provide(told.layer))
        const counts = yield* Effect.forEach(people, ({ reads }) => Effect.map(reads, ({ length }) => length))
        assert.deepStrictEqual(counts, [0, 0, 0, 2, 2])
        const [row] = yield* sql<{
          n: number | string
        }>`SELECT count(*) AS n FROM blaze_outbox WHERE problem IS NOT NULL`
        assert.strictEqual(Number(row?.n), 6)
      })
    )

    test(
      "is forgotten though it was stored while the clock was ahead",
      Effect.gen(function* () {
        const { users } = yield* crowd(5)
        const sql = yield* SqlClient.SqlClient
        const announced = (key: string) =>
          life(
            Effect.gen(function* () {
              const made = yield* Effect.forkChild(users.pipe(announce(key), Stream.runDrain))
              yield* BlazeTest.pass("1 minute")
              yield* Fiber.join(made)
            })
          )
        yield* announced("ahead")
        yield* sql`UPDATE blaze_outbox SET stored_at = ${Number.MAX_SAFE_INTEGER}`
        yield* announced("now")
        const [row] = yield* sql<{ n: number | string }>`SELECT count(*) AS n FROM blaze_outbox`
        assert.strictEqual(Number(row?.n), 5)
      })
    )

    test(
      "is forgotten when ids are: what was sent long ago takes no room",
      Effect.gen(function* () {
        const { users } = yield* crowd(5)
        const sql = yield* SqlClient.SqlClient
        yield* life(
          Effect.gen(function* () {
            for (const key of ["old", "older", "new"]) {
              if (key === "new") yield* BlazeTest.pass("8 days")
              const made = yield* Effect.forkChild(users.pipe(announce(key), Stream.runDrain))
              yield* BlazeTest.pass("1 minute")
              yield* Fiber.join(made)
            }
          })
        )
        const [row] = yield* sql<{ n: number | string }>`SELECT count(*) AS n FROM blaze_outbox`
        assert.strictEqual(Number(row?.n), 5)
      })
    )
  })
}
