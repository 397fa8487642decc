import { assert, it } from "@effect/vitest"
import { Blaze, Bot, SqlStore } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { register } from "./register.ts"

const options = {
  seed: 1,
  disk: NodeSqlite.layer({ filename: ":memory:" }),
  blaze: Blaze.layerWith({ store: SqlStore.layer })
}

const dialog = [
  ["hello", "What is your name?"],
  ["Alice", "Hello Alice, what is your e-mail address?"],
  ["nonsense", "That is no e-mail address. Once more?"],
  ["alice@example.org", "Alice, alice@example.org: is that right? (yes/no)"],
  ["yes", "You are registered."],
  ["again", "You are registered as Alice, alice@example.org."]
] as const

it.live("takes each step once and says what it says to it once, wherever in it the process is killed", () =>
  BlazeTest.replay(Bot.layer(register), options, function* ({ alice, world }) {
    for (let round = 0; round < 10; round++) {
      for (const [n, [said]] of dialog.entries()) {
        yield* alice.say(round === 0 ? said : "again")
        yield* world.kill({ steps: round * dialog.length + n })
        yield* world.pass("1 minute")
      }
    }
    const registered = Array.from({ length: 54 }, () => dialog[5][1])
    assert.deepStrictEqual(yield* alice.reads, [...dialog.map(([, answer]) => answer), ...registered])
  })
)

it.live("goes on where it was after a restart", () =>
  BlazeTest.replay(Bot.layer(register), options, function* ({ alice, world }) {
    for (const said of ["hello", "Alice", "alice@example.org", "no"]) {
      yield* alice.say(said)
      yield* world.restart({ down: "10 seconds" })
      yield* world.pass("1 minute")
    }
    assert.strictEqual((yield* alice.reads)[3], "From the beginning: what is your name?")
  })
)
