// A bot that is ended, and one that is killed: what it has stored has to be enough to go on with.
import { assert, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Blaze, Bot, SqlStore, State } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"

// Counts how often somebody has come.
const Visits = State.conversation("visits", Schema.Int)

const counter = Bot.layer(
  Bot.match({
    Text: Effect.fnUntraced(function* (delivery) {
      const visits = delivery.state(Visits)
      const count = Option.getOrElse(yield* visits.get, () => 0) + 1
      yield* visits.set(count)
      yield* delivery.reply(`Visit ${count}.`)
    }),
    orElse: () => Effect.void
  })
)

const options = {
  seed: 1,
  disk: NodeSqlite.layer({ filename: ":memory:" }),
  blaze: Blaze.layerWith({ store: SqlStore.layer })
}

it.live("goes on counting after a restart", () =>
  BlazeTest.replay(counter, options, function* ({ alice, world }) {
    yield* alice.say("hello")
    yield* world.pass("1 minute")
    yield* world.restart({ down: "10 seconds" })
    yield* alice.say("hello again")
    yield* world.pass("1 minute")
    assert.deepStrictEqual(yield* alice.reads, ["Visit 1.", "Visit 2."])
  })
)

it.live("counts a visit once, wherever in it the process is killed", () =>
  BlazeTest.replay(counter, options, function* ({ alice, world }) {
    for (let steps = 0; steps < 40; steps++) {
      yield* alice.say("hello")
      yield* world.kill({ steps })
      yield* world.pass("1 minute")
    }
    const once = Array.from({ length: 40 }, (_, n) => `Visit ${n + 1}.`)
    assert.deepStrictEqual(yield* alice.reads, once)
  })
)
