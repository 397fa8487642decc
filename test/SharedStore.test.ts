// A database that several processes share: SQLite here, PostgreSQL in npm run test:postgres.
import { assert, it } from "@effect/vitest"
import { Blaze, Sender } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { Effect, Fiber, Layer, Result, Stream, SubscriptionRef } from "effect"
import * as Outbox from "../src/internal/Outbox.ts"
import * as SharedStore from "../src/cluster/internal/SharedStore.ts"
import { lastingOutboxContract, outboxContract } from "./contract/outbox.ts"
import { sharedStoreContract } from "./contract/sharedStore.ts"
import { stateContract } from "./contract/state.ts"

// The tests let weeks pass, in which nobody else stores anything.
const database = Layer.merge(NodeSqlite.layer({ filename: ":memory:" }), Layer.succeed(Outbox.SharedPeriod, "1 day"))

sharedStoreContract("SQLite", database)
stateContract("in SQLite, shared", SharedStore.layer, database)
outboxContract("in SQLite, shared", SharedStore.layer, database)
lastingOutboxContract("in SQLite, shared", SharedStore.layer, database, true)

/** A process that sends, over REST, whose turn it is to send what is stored for as long as that says so. */
const sender = (isItsTurn: SubscriptionRef.SubscriptionRef<boolean>) => {
  const changes = SubscriptionRef.changes(isItsTurn)
  const inTurn: typeof SharedStore.Turn.Service = (send) =>
    changes.pipe(
      Stream.switchMap((isSo) => (isSo ? Stream.fromEffect(send) : Stream.empty)),
      Stream.runDrain,
      Effect.andThen(Effect.never)
    )
  return Blaze.layerSender({ store: SharedStore.layer }).pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide(BlazeTest.layerPlatform),
    Layer.provide(Layer.succeed(SharedStore.Turn, inTurn))
  )
}

it.effect("what failed when it was one process's turn is no matter once another one sends what is stored", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const alice = yield* BlazeTest.user("alice")
    yield* alice.addBot
    const turn = yield* SubscriptionRef.make(true)
    const otherTurn = yield* SubscriptionRef.make(false)
    const announce = Effect.fnUntraced(function* (content: string) {
      const { derive, store } = yield* Sender.Sender
      const told = yield* store([{ to: { conversation: alice.conversationId }, content, id: yield* derive(content) }])
      const telling = yield* Effect.forkChild(told)
      yield* BlazeTest.pass("20 seconds")
      return yield* Effect.result(Fiber.join(telling))
    })
    yield* Effect.gen(function* () {
      const unauthorized = { error: { status: 202, code: 401, description: "Unauthorized" } }
      yield* server.inject({ _tag: "FailRest", status: 401, body: JSON.stringify(unauthorized) }, Infinity)
      assert.isTrue(Result.isFailure(yield* announce("one")))
      yield* SubscriptionRef.set(turn, false)
      yield* server.heal
      yield* Effect.gen(function* () {
        yield* SubscriptionRef.set(otherTurn, true)
        yield* BlazeTest.pass("20 seconds")
      }).pipe(Effect.provide(sender(otherTurn)))
      assert.deepStrictEqual(yield* alice.reads, ["one"])
      yield* Effect.forkChild(Effect.provide(BlazeTest.pass("20 seconds"), sender(otherTurn)))
      const told = yield* announce("two")
      assert.deepStrictEqual(
        Result.map(told, (all) => all.map(({ result }) => Result.isSuccess(result))),
        Result.succeed([true])
      )
      assert.deepStrictEqual(yield* alice.reads, ["one", "two"])
    }).pipe(Effect.provide(sender(turn)))
  }).pipe(Effect.provide(Layer.fresh(Layer.merge(BlazeTest.layerServer, NodeSqlite.layer({ filename: ":memory:" })))))
)
