// What a runner knows of whoever holds the socket.
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Option, Stream, SubscriptionRef } from "effect"
import { Signer } from "effect-blaze"
import { TestRunner } from "effect/cluster"
import * as Watched from "../src/cluster/internal/Watched.ts"
import * as Wire from "../src/cluster/internal/Wire.ts"
import * as Connection from "../src/internal/Connection.ts"
import { botOfStores, lines, pass } from "./support.ts"

const told = Wire.fromTold({
  status: Connection.Status.Connected({
    since: 0,
    listed: true,
    badFrames: 0,
    givenUp: 0,
    host: "blaze.mixin.one",
    apiHost: "api.mixin.one"
  }),
  holder: "10.0.0.1:34431",
  runners: 3
})

const log = lines()
it.effect("is nothing from when nobody tells any more, which is told after a minute", () =>
  Effect.gen(function* () {
    const isThere = yield* SubscriptionRef.make(true)
    const entity = Wire.holders(botOfStores)
    const holder = entity.toLayer(
      entity.of({
        Watch: () =>
          SubscriptionRef.changes(isThere).pipe(
            Stream.takeWhile((isThere) => isThere),
            Stream.as(told)
          ),
        Receipts: () => Stream.never
      }),
      { concurrency: "unbounded" }
    )
    const signer = Layer.succeed(Signer.Signer, { userId: botOfStores, token: () => Effect.die("nothing is signed") })
    yield* Effect.gen(function* () {
      const watched = yield* Watched.Watched
      const holder = Effect.map(
        SubscriptionRef.get(watched),
        Option.map(({ holder }) => holder)
      )
      yield* pass(5)
      assert.deepStrictEqual(yield* holder, Option.some("10.0.0.1:34431"))
      yield* SubscriptionRef.set(isThere, false)
      yield* pass(30)
      assert.deepStrictEqual(yield* holder, Option.none())
      assert.deepStrictEqual(log.all, [])
      yield* pass(45)
      assert.lengthOf(log.all, 1)
      assert.include(log.all[0], "nobody who holds the socket")
      yield* SubscriptionRef.set(isThere, true)
      yield* pass(5)
      assert.deepStrictEqual(yield* holder, Option.some("10.0.0.1:34431"))
    }).pipe(
      Effect.provide(
        Watched.layer.pipe(Layer.provideMerge(holder), Layer.provide(signer), Layer.provide(TestRunner.layer))
      )
    )
  }).pipe(Effect.provide(log.layer))
)
