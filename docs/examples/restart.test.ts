// A bot that is ended, and one that is killed: what it wrote down has to be enough to go on with.
import { assert, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Bot, Ids } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { KeyValueStore } from "effect/persistence"

// Counts how often somebody has come. The visit is written down under the id of its message, so that it counts once however often
// that is handled.
const counter = Bot.layer(
  Bot.match({
    Text: Effect.fnUntraced(function* (delivery) {
      const { conversationId, id } = delivery.message
      const store = yield* KeyValueStore.KeyValueStore
      const visits = KeyValueStore.toSchemaStore(store, Schema.Array(Ids.MessageId))
      const known = Option.getOrElse(yield* visits.get(conversationId), (): ReadonlyArray<Ids.MessageId> => [])
      const all = known.includes(id) ? known : [...known, id]
      yield* visits.set(conversationId, all)
      yield* delivery.reply(`Visit ${all.indexOf(id) + 1}.`, { key: "visit" })
    }),
    orElse: () => Effect.void
  })
)

const options = { seed: 1, disk: KeyValueStore.layerMemory }

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
