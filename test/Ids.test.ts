import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Schema } from "effect"
import { Ids } from "effect-blaze"
import { vectors } from "./support.ts"
import * as Uuid from "../src/internal/Uuid.ts"

type Input =
  | { readonly kind: "contact"; readonly user_id: string; readonly recipient_id: string }
  | {
      readonly kind: "group"
      readonly owner_id: string
      readonly name: string
      readonly random_id: string
      readonly participants: ReadonlyArray<string>
    }

const id = Schema.decodeUnknownSync(Ids.UserId)

describe("Ids", () => {
  it("lists 20 ids for a line of a log, and how many more there are", () => {
    const ids = Array.from({ length: 22 }, (_, n) =>
      Ids.MessageId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)
    )
    assert.strictEqual(Ids.list(ids.slice(0, 20)), ids.slice(0, 20).join(", "))
    assert.strictEqual(Ids.list(new Set(ids)), `${ids.slice(0, 20).join(", ")} and 2 more`)
    assert.strictEqual(Ids.list([]), "")
  })

  for (const { expected, input, name } of vectors<Input, { conversation_id: string }>("conversation-ids")) {
    it.effect(`${input.kind} conversation: ${name}`, () =>
      Effect.gen(function* () {
        const conversation =
          input.kind === "contact"
            ? yield* Ids.contactConversation(id(input.user_id), id(input.recipient_id))
            : yield* Ids.groupConversation({
                ownerId: id(input.owner_id),
                name: input.name,
                randomId: input.random_id,
                participants: input.participants.map((participant) => id(participant))
              })
        assert.strictEqual(conversation, expected.conversation_id)
      }).pipe(Effect.provide(NodeCrypto.layerDigest))
    )
  }

  it.effect("derives a version 5 UUID that depends on every part and its place", () =>
    Effect.gen(function* () {
      const first = yield* Ids.derive("answer", "a", "b")
      assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.strictEqual(first, yield* Ids.derive("answer", "a", "b"))
      const others = [
        yield* Ids.derive("answer", "b", "a"),
        yield* Ids.derive("answer", "ab", ""),
        yield* Ids.derive("answer", "a"),
        yield* Ids.derive("derive", "a", "b")
      ]
      assert.strictEqual(new Set([first, ...others]).size, 5)
    }).pipe(Effect.provide(NodeCrypto.layerDigest))
  )

  it.effect("random ids are UUIDs of version 4, and no two of them are equal", () =>
    Effect.gen(function* () {
      const random = yield* Uuid.makeRandom
      const ids = yield* Effect.replicateEffect(random, 1000)
      assert.strictEqual(new Set(ids).size, 1000)
      for (const each of ids) {
        assert.match(each, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      }
      const other = yield* Uuid.makeRandom
      assert.notInclude(ids, yield* other)
    }).pipe(Effect.provide(NodeCrypto.layerSecureRandom))
  )

  it.effect("a random id is whole, however fibers take turns", () =>
    Effect.gen(function* () {
      for (let before = 2030; before < 2050; before++) {
        const random = yield* Uuid.makeRandom
        yield* Effect.replicateEffect(random, 255, { discard: true })
        const first = yield* Effect.forkChild(
          Effect.gen(function* () {
            for (let n = 0; n < before; n++) yield* Effect.sync(() => {})
            return yield* random
          }),
          { startImmediately: true }
        )
        const second = yield* random
        for (const id of [yield* Fiber.join(first), second])
          assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      }
    }).pipe(Effect.provide(NodeCrypto.layerSecureRandom))
  )

  it("an id that comes in upper case is lowered, and what is no UUID stays what it is", () => {
    for (const schema of [Ids.UserId, Ids.ConversationId, Ids.MessageId]) {
      assert.strictEqual(
        Schema.decodeUnknownSync(schema)("773E5E77-4107-45c2-B648-8FC722ED77F5"),
        "773e5e77-4107-45c2-b648-8fc722ed77f5"
      )
      assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(schema)("773E5E77")))
    }
    assert.strictEqual(Ids.toLowerCase("773E5E77"), "773E5E77")
  })

  it("an id is a lower-case UUID", () => {
    const isUserId = Schema.is(Ids.UserId)
    assert.isTrue(isUserId("773e5e77-4107-45c2-b648-8fc722ed77f5"))
    for (const wrong of ["", "773E5E77-4107-45C2-B648-8FC722ED77F5", "773e5e77-4107-45c2-b648-8fc722ed77f5 "]) {
      assert.isFalse(isUserId(wrong))
    }
  })
})
