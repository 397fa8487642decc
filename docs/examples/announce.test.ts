import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { BlazeTest } from "effect-blaze/testing"
import { announce } from "./announce.ts"

it.effect(
  "everybody in the file gets the text once, however often it is started, and who has blocked the bot does not",
  () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const file = yield* files.makeTempFileScoped()
      const people = yield* Effect.forEach(["alice", "bob", "carol"], BlazeTest.user)
      for (const person of people) yield* person.addBot
      yield* people[1]!.block
      yield* files.writeFileString(file, people.map(({ userId }) => `${userId}\n`).join("\n"))
      for (let start = 0; start < 2; start++) {
        const { accepted, refused } = yield* announce(file, "spring sale", "The sale begins.")
        assert.deepStrictEqual([accepted, refused], [2, 1])
      }
      const reads = yield* Effect.forEach(people, (person) => person.reads)
      assert.deepStrictEqual(reads, [["The sale begins."], [], ["The sale begins."]])
    }).pipe(Effect.scoped, Effect.provide([BlazeTest.layer, NodeServices.layer]))
)
