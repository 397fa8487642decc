// People and conversations, looked up and made: how often Mixin is asked, and how much is remembered.
import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Result } from "effect"
import { Conversations, type Endpoint, Ids, MixinApi, Signer, Users } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import * as Lookup from "../src/internal/Lookup.ts"
import { pass } from "./support.ts"

const idOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`
const userOf = (n: number) => Ids.UserId.make(idOf(n))
const bot = userOf(0)

interface Asked {
  readonly path: string
  readonly input: { readonly path?: { readonly id: string }; readonly payload?: any }
}

/** An API that answers as a test says. */
const api = (answer: (asked: Asked) => Effect.Effect<unknown>) => {
  const request = ({ path }: Endpoint.Endpoint<string, unknown, unknown>, input: Asked["input"]) =>
    answer({ path, input })
  return Layer.mergeAll(Users.layer, Conversations.layer).pipe(
    Layer.provide(Layer.succeed(MixinApi.MixinApi, { request } as never)),
    Layer.provide(Layer.succeed(Signer.Signer, { userId: bot } as never)),
    Layer.provide(NodeCrypto.layer)
  )
}

const made = ({ category, conversation_id }: { readonly category: string; readonly conversation_id: string }) => ({
  conversation_id,
  category,
  participants: []
})

describe("a lookup", () => {
  it.effect("asks once for all who want the same, and who of them is interrupted takes it from nobody else", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let asked = 0
      const { get } = yield* Lookup.make({
        ask: (key: string) =>
          Effect.as(
            Effect.andThen(
              Effect.sync(() => asked++),
              Deferred.await(gate)
            ),
            Option.some(key)
          ),
        timeToLive: { some: "1 hour", none: "1 minute" },
        maximum: 10,
        sizeOf: () => 1
      })
      const [first, second] = [yield* Effect.forkChild(get("a")), yield* Effect.forkChild(get("a"))]
      yield* BlazeTest.settle
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(
        [yield* Fiber.join(second), yield* get("a"), asked],
        [Option.some("a"), Option.some("a"), 1]
      )
    })
  )

  it.effect("forgets the oldest for want of room, whatever is too old, and what was corrected while it was asked", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      let gate = Effect.void
      const { forget, get, set } = yield* Lookup.make({
        ask: (key: string) =>
          Effect.as(
            Effect.andThen(
              Effect.sync(() => asked.push(key)),
              gate
            ),
            key === "" ? Option.none() : Option.some(key)
          ),
        timeToLive: { some: "1 hour", none: "1 minute" },
        maximum: 5,
        sizeOf: (found) => found.length
      })
      const asks = (...keys: ReadonlyArray<string>) =>
        Effect.andThen(
          Effect.sync(() => asked.splice(0)),
          Effect.as(Effect.forEach(keys, get), asked)
        )
      assert.deepStrictEqual(yield* asks("aa", "bb", "aa", "", "aa", "bb", ""), ["aa", "bb", ""])
      assert.deepStrictEqual(yield* asks("c", "bb", "c", "aa"), ["c", "aa"])
      assert.deepStrictEqual(yield* asks("too large", "too large", "c"), ["too large", "c"])
      assert.deepStrictEqual(yield* asks("", ""), [""])
      yield* pass(60)
      assert.deepStrictEqual(yield* asks("", "c"), [""])
      yield* pass(3540)
      assert.deepStrictEqual(yield* asks("c"), ["c"])

      const opened = yield* Deferred.make<void>()
      gate = Deferred.await(opened)
      const waiting = yield* Effect.forkChild(Effect.forEach(["x", "y"], get, { concurrency: 2 }))
      yield* BlazeTest.settle
      yield* set("x", "new")
      yield* forget("y")
      yield* Deferred.succeed(opened, undefined)
      yield* Fiber.join(waiting)
      gate = Effect.void
      assert.deepStrictEqual(yield* get("x"), Option.some("new"))
      assert.deepStrictEqual(yield* asks("x", "y"), ["y"])
    })
  )
})

describe("what is remembered of conversations", () => {
  it.effect("is bounded in members, however few conversations these are in", () => {
    const asked: Array<string> = []
    const participants = Array.from({ length: 1024 }, (_, n) => ({ user_id: userOf(n) }))
    return Effect.gen(function* () {
      const { get } = yield* Conversations.Conversations
      const first = Ids.ConversationId.make(idOf(0))
      for (let n = 0; n < 100; n++) yield* get(Ids.ConversationId.make(idOf(n)))
      const last = Ids.ConversationId.make(idOf(99))
      yield* get(last)
      yield* get(first)
      assert.deepStrictEqual([asked.length, asked[100]], [101, first])
    }).pipe(
      Effect.provide(
        api(({ input }) =>
          Effect.sync(() => {
            asked.push(input.path!.id)
            return { conversation_id: input.path!.id, category: "GROUP", participants }
          })
        )
      )
    )
  })
})

describe("getAll", () => {
  it.effect("of very many makes four requests at once", () => {
    let most = 0
    let now = 0
    let requests = 0
    return Effect.gen(function* () {
      const { getAll } = yield* Users.Users
      const found = yield* Effect.forkChild(getAll(Array.from({ length: 2000 }, (_, n) => userOf(n))))
      for (let n = 0; n < 5; n++) yield* pass(1)
      assert.deepStrictEqual(
        (yield* Fiber.join(found)).map(({ userId }) => userId),
        Array.from({ length: 2000 }, (_, n) => userOf(n))
      )
      assert.deepStrictEqual([requests, most], [20, 4])
    }).pipe(
      Effect.provide(
        api(({ input }) =>
          Effect.suspend(() => {
            requests++
            most = Math.max(most, ++now)
            return Effect.delay(
              Effect.sync(() => {
                now--
                return input.payload.map((user_id: string) => ({ user_id }))
              }),
              "1 second"
            )
          })
        )
      )
    )
  })
})

describe("createContact", () => {
  it.effect(
    "makes one request for all who want the same person, and who is interrupted takes it from nobody else",
    () => {
      let requests = 0
      return Effect.gen(function* () {
        const { createContact } = yield* Conversations.Conversations
        const first = yield* Effect.forkChild(createContact(userOf(1)))
        const others = yield* Effect.forkChild(
          Effect.forEach([1, 2, 3], () => createContact(userOf(1)), { concurrency: "unbounded" })
        )
        yield* BlazeTest.settle
        yield* Fiber.interrupt(first)
        yield* pass(1)
        assert.strictEqual(new Set(yield* Fiber.join(others)).size, 1)
        yield* createContact(userOf(1))
        assert.strictEqual(requests, 1)
      }).pipe(
        Effect.provide(
          api(({ input }) =>
            Effect.suspend(() => {
              requests++
              return Effect.delay(Effect.succeed(made(input.payload)), "1 second")
            })
          )
        )
      )
    }
  )
})

describe("createGroup", () => {
  it.effect("makes the same group whoever is named twice or in capitals, and whether the bot is named or not", () => {
    const asked: Array<any> = []
    return Effect.gen(function* () {
      const { createGroup } = yield* Conversations.Conversations
      const [alice, bob] = [Ids.UserId.make("773e5e77-4107-45c2-b648-8fc722ed77f5"), userOf(1)]
      const group = { name: "g", key: "k" }
      yield* createGroup({ ...group, members: [alice, bob] })
      yield* createGroup({ ...group, members: [bob, alice.toUpperCase() as Ids.UserId, bot, bob, alice] })
      assert.strictEqual(asked[0].conversation_id, asked[1].conversation_id)
      assert.deepStrictEqual(asked[1].participants, [{ user_id: bob }, { user_id: alice }])
      const many = Array.from({ length: 255 }, (_, n) => userOf(n + 1))
      yield* createGroup({ ...group, members: [bot, ...many, ...many] })
      const refused = yield* Effect.result(createGroup({ ...group, members: [...many, alice] }))
      assert(Result.isFailure(refused))
      assert.strictEqual(refused.failure.reason._tag, "InvalidContent")
    }).pipe(
      Effect.provide(
        api(({ input }) =>
          Effect.sync(() => {
            asked.push(input.payload)
            return made(input.payload)
          })
        )
      )
    )
  })
})
