// Blaze.Status.Connected.listed: when what was pending has been listed, as far as that can be told.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream, SubscriptionRef } from "effect"
import { Blaze, Bot, Delivery, Gzip, PortableGzip, Settings } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import * as Listing from "../src/internal/Listing.ts"
import * as Signal from "../src/internal/Signal.ts"
import { client } from "./support.ts"

const { pass } = BlazeTest

/** Each change of `listed` from the first connection on; "-" where there is none. */
const watched = Effect.gen(function* () {
  const { status } = yield* Blaze.Blaze
  const seen: Array<boolean | "-"> = []
  yield* SubscriptionRef.changes(status).pipe(
    Stream.map((status) => (status._tag === "Connected" ? status.listed : "-")),
    Stream.changes,
    Stream.dropWhile((listed) => listed === "-"),
    Stream.runForEach((listed) => Effect.sync(() => seen.push(listed))),
    Effect.forkScoped
  )
  yield* BlazeTest.settle
  return seen
})

const reconnect = Effect.gen(function* () {
  const bot = yield* BlazeTest.Account
  yield* bot.cut
  yield* pass("1 second")
})

/** An inbox whose state a test says, and what is told over it. */
const told = Effect.gen(function* () {
  const signal = Signal.make()
  const state = { isRefusing: false, mayRead: true }
  const listing = yield* Listing.make({
    isRefusing: () => state.isRefusing,
    refusing: signal.until(() => state.isRefusing),
    allListed: signal.until(() => !state.isRefusing),
    mayReadNow: () => state.mayRead,
    mayRead: signal.until(() => state.mayRead)
  })
  const seen: Array<boolean> = []
  yield* Effect.forkScoped(listing.watch((listed) => Effect.sync(() => void seen.push(listed))))
  const is = (change: Partial<typeof state>) =>
    Effect.andThen(
      Effect.sync(() => {
        Object.assign(state, change)
        signal.notify()
      }),
      BlazeTest.settle
    )
  return { listing, seen, is }
})

describe("Listing", () => {
  it.effect("each message of a listing puts it off by a second", () =>
    Effect.gen(function* () {
      const { listing, seen } = yield* told
      for (let n = 0; n < 5; n++) {
        yield* pass(999)
        listing.heard()
      }
      yield* pass(999)
      assert.deepStrictEqual(seen, [])
      yield* pass(1)
      assert.deepStrictEqual(seen, [true])
    })
  )

  it.effect("what is left to the server takes it back until all is listed again", () =>
    Effect.gen(function* () {
      const { is, listing, seen } = yield* told
      yield* pass(1000)
      yield* is({ isRefusing: true })
      assert.deepStrictEqual(seen, [true, false])
      yield* pass(60_000)
      assert.deepStrictEqual(seen, [true, false])
      listing.heard()
      yield* is({ isRefusing: false })
      yield* pass(999)
      assert.deepStrictEqual(seen, [true, false])
      yield* pass(1)
      assert.deepStrictEqual(seen, [true, false, true])
    })
  )

  it.effect("what is refused within the second counts too", () =>
    Effect.gen(function* () {
      const { is, listing, seen } = yield* told
      yield* pass(500)
      yield* is({ isRefusing: true })
      yield* pass(60_000)
      assert.deepStrictEqual(seen, [])
      listing.heard()
      yield* is({ isRefusing: false })
      yield* pass(1000)
      assert.deepStrictEqual(seen, [true])
    })
  )

  it.effect("a pause of reading is no silence of the server", () =>
    Effect.gen(function* () {
      const { is, seen } = yield* told
      yield* pass(500)
      yield* is({ mayRead: false })
      yield* pass(60_000)
      yield* is({ mayRead: true })
      yield* pass(999)
      assert.deepStrictEqual(seen, [])
      yield* pass(1)
      assert.deepStrictEqual(seen, [true])
    })
  )
})

describe("listed", () => {
  it.effect("a second after the answer to the first listing, and not before", () =>
    Effect.gen(function* () {
      const seen = yield* watched
      yield* pass(999)
      assert.deepStrictEqual(seen, [false])
      yield* pass(1)
      assert.deepStrictEqual(seen, [false, true])
      yield* pass("1 hour")
      assert.deepStrictEqual(seen, [false, true])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer))
  )

  it.effect("not before the listing is answered, however quiet it is", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      yield* server.inject({ _tag: "DelayAnswer", by: "4 seconds" })
      yield* Effect.gen(function* () {
        const seen = yield* watched
        yield* pass(4999)
        assert.notInclude(seen, true)
        yield* pass(1)
        assert.deepStrictEqual(seen, [false, true])
      }).pipe(Effect.scoped, Effect.provide(client))
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("what comes beside the listing does not put it off", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      yield* Effect.forkScoped(Bot.run(() => Effect.void))
      const seen = yield* watched
      for (let n = 0; n < 4; n++) {
        yield* alice.say("hi")
        yield* pass(250)
      }
      assert.deepStrictEqual(seen, [false, true])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer))
  )

  it.effect("a server that takes its time over a listing puts it off with each message of it", () =>
    Effect.gen(function* () {
      const bot = yield* BlazeTest.Account
      const { gzip } = yield* Effect.provide(Gzip.Gzip, PortableGzip.layer)
      const push = (n: number, source: string) => {
        const data = { message_id: `44444444-4444-4444-8444-00000000000${n}`, category: "PLAIN_TEXT", source }
        const frame = { id: crypto.randomUUID(), action: "CREATE_MESSAGE", data }
        return bot.push(gzip(new TextEncoder().encode(JSON.stringify(frame))))
      }
      yield* Effect.forkScoped(Bot.run(() => Effect.void))
      const seen = yield* watched
      for (let n = 0; n < 5; n++) {
        yield* pass(900)
        yield* push(n, "LIST_PENDING_MESSAGES")
      }
      yield* pass(900)
      yield* push(5, "CREATE_MESSAGE")
      yield* pass(99)
      assert.deepStrictEqual(seen, [false])
      yield* pass(1)
      assert.deepStrictEqual(seen, [false, true])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer))
  )

  it.effect("is false again on the next connection, and until that has listed", () =>
    Effect.gen(function* () {
      const seen = yield* watched
      yield* pass("1 second")
      yield* reconnect
      assert.deepStrictEqual(seen, [false, true, "-", false])
      yield* pass("1 second")
      assert.deepStrictEqual(seen, [false, true, "-", false, true])
    }).pipe(Effect.scoped, Effect.provide(BlazeTest.layer))
  )

  it.effect("not while reading pauses: behind a full inbox there may be more of the listing", () =>
    Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      for (const text of ["1", "2", "3", "4"]) yield* alice.say(text)
      yield* Effect.gen(function* () {
        const seen = yield* watched
        yield* pass("1 minute")
        assert.deepStrictEqual(seen, [false])
        const { deliveries } = yield* Blaze.Blaze
        yield* deliveries.pipe(Stream.mapEffect(Delivery.handle(() => Effect.void)), Stream.runDrain, Effect.forkScoped)
        yield* pass(999)
        assert.deepStrictEqual(seen, [false])
        yield* pass("1 second")
        assert.deepStrictEqual(seen, [false, true])
      }).pipe(Effect.scoped, Effect.provide(client))
    }).pipe(
      Effect.provide(BlazeTest.layerServer),
      Effect.provide(Settings.layer({ inboxMessages: 2, overflowBytes: 0 }))
    )
  )
})
