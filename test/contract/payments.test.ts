// The ledger of payments over REST, as the built-in server plays it: in memory and over the network.
import { assert, describe } from "@effect/vitest"
import { BigDecimal, Effect, Layer } from "effect"
import { BlazeError, Endpoint, MixinApi } from "effect-blaze"
import { both, scene } from "./faces.ts"

const cnb = "965e5c6e-434c-3fa9-b780-c50f43cd955c"
const usdt = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"
const beginning = "1970-01-01T00:00:00Z"

const codeOf = (error: BlazeError.BlazeError) =>
  error.reason._tag === "ApiFailure" ? error.reason.code : error.message

/** What a user of the library may add to an endpoint. */
const ofAsset = {
  ...Endpoint.safeSnapshots,
  path: "/safe/snapshots?asset=:asset&order=ASC&limit=:limit&offset=:offset"
} as const
const newestFirst = { ...Endpoint.safeSnapshots, path: "/safe/snapshots?opponent=:opponent" } as const

const ledger = Effect.gen(function* () {
  const found = yield* scene
  const { request } = yield* Effect.provideContext(MixinApi.MixinApi, yield* Layer.build(found.api))
  const page = (limit: string, offset: string) => request(Endpoint.safeSnapshots, { path: { limit, offset } })
  return { ...found, request, page }
})

const amounts = (transfers: ReadonlyArray<Endpoint.SafeSnapshot>) =>
  transfers.map(({ amount }) => BigDecimal.format(amount))

describe("the ledger", () => {
  both(
    "has what people have paid, the oldest first, from a time on, page by page",
    Effect.gen(function* () {
      const { alice, bot, page, request } = yield* ledger
      assert.deepStrictEqual(yield* page("500", beginning), [])
      for (let n = 1; n <= 12; n++) yield* alice.pay({ asset: cnb, amount: `${n}.50`, memo: "tea", trace: usdt })
      const all = yield* page("500", beginning)
      assert.deepStrictEqual(
        amounts(all),
        Array.from({ length: 12 }, (_, n) => `${n + 1}.5`)
      )
      const [first] = all
      assert.deepInclude(first, {
        user_id: bot.userId,
        opponent_id: alice.userId,
        asset_id: cnb,
        request_id: usdt,
        memo: Buffer.from("tea").toString("hex")
      })
      const one = yield* request(Endpoint.safeSnapshot, { path: { id: first!.snapshot_id } })
      assert.deepStrictEqual({ ...one, amount: undefined }, { ...first, amount: undefined })
      assert.deepStrictEqual(amounts([one]), ["1.5"])

      // As a bot reads it that remembers where it was: each transfer, though some come twice.
      const seen = new Set<string>()
      let offset = beginning
      for (let pages = 0; pages < 4; pages++) {
        const next = yield* page("4", offset)
        assert.isAtMost(next.length, 4)
        for (const { snapshot_id } of next) seen.add(snapshot_id)
        offset = next.at(-1)!.created_at
      }
      assert.deepStrictEqual(
        [...seen],
        all.map(({ snapshot_id }) => snapshot_id)
      )
      assert.deepStrictEqual(amounts(yield* page("500", offset)), ["12.5"])
    })
  )

  both(
    "takes no payment whose asset is none: a test that has somebody pay so dies with a sentence, and the ledger can be read",
    Effect.gen(function* () {
      const { alice, bot, page } = yield* ledger
      for (const asset of ["", "BTC"]) {
        const exit = yield* Effect.exit(alice.pay({ asset, amount: "1" }))
        assert.include(String(exit), `alice pays with an asset whose id is no UUID: "${asset}"`)
      }
      yield* alice.pay({ asset: cnb.toUpperCase(), amount: "2" })
      assert.deepStrictEqual(amounts(yield* page("500", beginning)), ["2"])
      assert.strictEqual((yield* bot.pending).length, 1)
    })
  )

  both(
    "has it though nobody was told, is asked in other words too, and shows a bot its own",
    Effect.gen(function* () {
      const { alice, bot, page, request, server } = yield* ledger
      const bob = yield* server.user(bot, "bob")
      const other = yield* server.user(yield* server.makeBot, "alice")
      yield* other.pay({ asset: cnb, amount: "7" })
      yield* alice.pay({ asset: cnb, amount: "1" })
      yield* bob.pay({ asset: usdt, amount: "2" })
      yield* alice.pay({ asset: usdt, amount: "3" })
      assert.deepStrictEqual(amounts(yield* page("500", beginning)), ["1", "2", "3"])
      const path = { asset: usdt, limit: "1", offset: beginning }
      assert.deepStrictEqual(amounts(yield* request(ofAsset, { path })), ["2"])
      assert.deepStrictEqual(amounts(yield* request(newestFirst, { path: { opponent: alice.userId } })), ["3", "1"])
    })
  )

  both(
    "refuses what is no time, no limit, and no transfer of this bot",
    Effect.gen(function* () {
      const { bot, page, request, server } = yield* ledger
      const other = yield* server.user(yield* server.makeBot, "alice")
      const theirs = yield* other.pay({ asset: cnb, amount: "7" })
      assert.strictEqual(codeOf(yield* Effect.flip(page("500", "yesterday"))), 10002)
      assert.strictEqual(codeOf(yield* Effect.flip(page("none", beginning))), 10002)
      for (const id of [theirs, bot.userId]) {
        assert.strictEqual(codeOf(yield* Effect.flip(request(Endpoint.safeSnapshot, { path: { id } }))), 404)
      }
      const nothing = yield* Effect.flip(page("500", ""))
      assert.match(nothing.message, /the offset/)
    })
  )
})
