// What becomes of messages that are not handled, by itself.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { type BlazeError, type Ids, Message, Settings, Store } from "effect-blaze"
import * as Acknowledgements from "../src/internal/Acknowledgements.ts"
import * as Aside from "../src/internal/Aside.ts"
import * as Connection from "../src/internal/Connection.ts"
import * as Inbox from "../src/internal/Inbox.ts"
import * as Meter from "../src/internal/Meter.ts"
import * as Recalls from "../src/internal/Recalls.ts"
import * as States from "../src/internal/States.ts"
import { id } from "./contract/stores.ts"
import { connectionWith } from "./ledgers.ts"
import { botOfStores, lines, storeOf } from "./support.ts"

const message = (n: number) =>
  Message.fromView({
    message_id: id(n),
    category: "PLAIN_TEXT",
    data: "aGk=",
    created_at: new Date(0).toISOString()
  })

/** With a store that says of everything what `claim` says, and with all that was asked of its neighbours. */
const scene = Effect.fnUntraced(function* (claim: Store.Claim, settings: Partial<Settings.Settings> = {}) {
  const meter = Context.get(yield* Layer.build(Layer.fresh(Meter.layer(botOfStores))), Meter.Meter)
  const inbox = yield* Effect.provideService(Inbox.make, Meter.Meter, meter)
  const states = yield* States.make.pipe(
    Effect.provideService(
      Store.Store,
      storeOf((changes) => Effect.succeed(changes.map(() => claim)))
    )
  )
  const asked = {
    acknowledged: new Array<Ids.MessageId>(),
    forgottenByServer: 0,
    forgottenRecalls: new Array<Ids.MessageId>(),
    givenUp: new Array<number>(),
    stopped: new Array<BlazeError.BlazeError>()
  }
  const recalls = Recalls.make(
    () => false,
    () => {}
  )
  const aside = yield* Aside.make(
    { ...inbox, forget: () => void asked.forgottenByServer++ },
    { ...recalls, forget: (id) => void asked.forgottenRecalls.push(id) }
  ).pipe(
    Effect.provideService(States.States, states),
    Effect.provideService(Meter.Meter, meter),
    Effect.provideServiceEffect(
      Connection.Connection,
      connectionWith(inbox, {
        tell: ({ givenUp }) => Effect.sync(() => void asked.givenUp.push(givenUp)),
        stop: (error) => Effect.sync(() => void asked.stopped.push(error))
      })
    ),
    Effect.provideService(Acknowledgements.Acknowledgements, {
      offer: (id) => void asked.acknowledged.push(id),
      room: Effect.void,
      flush: Effect.void
    }),
    Effect.provide(Settings.layer({ defer: Schedule.spaced("10 seconds"), ...settings }))
  )
  return { aside, asked, states }
})

describe("a message that is not handled", () => {
  it.effect("is given up with its recalls, and the oldest of too many is acknowledged and counts as handled", () => {
    const log = lines()
    return Effect.gen(function* () {
      const { aside, asked, states } = yield* scene("Committed", { maximumGivenUp: 2 })
      yield* states.admit([id(1), id(2), id(3)])
      for (const n of [1, 2, 3]) yield* aside.giveUp(message(n), "no")
      assert.deepStrictEqual(asked, {
        acknowledged: [id(1)],
        forgottenByServer: 0,
        forgottenRecalls: [id(1), id(2), id(3)],
        givenUp: [1, 2, 2],
        stopped: []
      })
      assert.deepStrictEqual(
        [id(1), id(2), id(3)].map((one) => states.of(one)),
        ["Handled", "GivenUp", "GivenUp"]
      )
    }).pipe(Effect.scoped, Effect.provide(log.layer))
  })

  it.effect("is acknowledged when its store says that it was handled before, and waits for nothing", () =>
    Effect.gen(function* () {
      const { aside, asked, states } = yield* scene("Known")
      yield* states.admit([id(1)])
      yield* aside.defer(message(1), 0, undefined)
      assert.deepStrictEqual(asked.acknowledged, [id(1)])
      assert.deepStrictEqual([states.of(id(1)), aside.knows(id(1)), aside.size()], ["Handled", false, 0])
    }).pipe(Effect.scoped)
  )

  it.effect("ends the bot when somebody else has its store", () =>
    Effect.gen(function* () {
      const { aside, asked, states } = yield* scene("Conflict")
      yield* states.admit([id(1)])
      yield* aside.defer(message(1), 0, undefined)
      assert.deepStrictEqual(asked.stopped, [States.takenOver])
    }).pipe(Effect.scoped)
  )

  it.effect("is left to the server when it is somebody else's to handle, which is asked for it again", () =>
    Effect.gen(function* () {
      const { aside, asked, states } = yield* scene("Committed")
      yield* states.admit([id(1)])
      yield* aside.defer(message(1), 0, undefined)
      assert.deepStrictEqual([aside.knows(id(1)), aside.size(), asked.forgottenByServer], [true, 1, 0])
      aside.withdraw(id(1))
      assert.deepStrictEqual([aside.knows(id(1)), aside.size(), asked.forgottenByServer], [false, 0, 1])
    }).pipe(Effect.scoped)
  )

  it.effect("is on the server only when there is no room for it here, which is asked for it again", () =>
    Effect.gen(function* () {
      const { aside, asked, states } = yield* scene("Committed", { deferredMessages: 1 })
      yield* states.admit([id(1), id(2)])
      yield* aside.defer(message(1), 0, undefined)
      yield* aside.defer(message(2), 0, undefined)
      assert.deepStrictEqual([aside.size(), asked.forgottenByServer], [1, 1])
    }).pipe(Effect.scoped)
  )
})
