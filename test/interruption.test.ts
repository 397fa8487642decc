// What is interrupted while what became of it is being stored.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope, Stream } from "effect"
import { Blaze, Bot, Delivery, Keyed, State, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { clientWith, lines, pass, storeOf, textOf } from "./support.ts"

const Note = State.conversation("note", Schema.String)

/** A store in memory; what is written first takes a second, and is overtaken then. */
const overtaking = Layer.effect(
  Store.Store,
  Effect.map(Store.Store, (memory) => {
    let isFirst = true
    return {
      ...memory,
      commit: (changes: ReadonlyArray<Store.Change>) => {
        if (!isFirst || changes.every(({ writes }) => writes.length === 0)) return memory.commit(changes)
        isFirst = false
        return Effect.as(
          Effect.sleep("1 second"),
          changes.map((): Store.Claim => "Changed")
        )
      }
    }
  })
).pipe(Layer.provide(Store.layerMemory))

/** One that is away until a test says otherwise. */
const away = () => {
  let isAway = true
  return {
    comeBack: () => {
      isAway = false
    },
    layer: Layer.succeed(Store.Store, {
      ...storeOf((changes) => Effect.sync(() => changes.map((): Store.Claim => (isAway ? "Unstored" : "Committed")))),
      commitsAtOnce: true
    })
  }
}

type Consumer = (
  heard: (delivery: Delivery.Delivery) => Effect.Effect<void>
) => Effect.Effect<unknown, unknown, Blaze.Blaze>

const over = (handle: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown>) =>
  Effect.flatMap(Blaze.Blaze, ({ deliveries }) => deliveries.pipe(Stream.mapEffect(handle), Stream.runDrain))

const consumers: Readonly<Record<string, Consumer>> = {
  "by Bot": (heard) => Bot.run(heard),
  "by Delivery.handle": (heard) => over(Delivery.handle(heard)),
  "by Delivery.handleAll": (heard) =>
    Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
      deliveries.pipe(
        Stream.groupedWithin(2, "1 second"),
        Stream.mapEffect(Delivery.handleAll(Effect.forEach(heard))),
        Stream.runDrain
      )
    ),
  "by Delivery.handleAll, alone": (heard) =>
    over((delivery) =>
      Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) => Effect.forEach(all, heard))([delivery])
    ),
  "by hand": (heard) => over((delivery) => Effect.andThen(heard(delivery), delivery.ack)),
  "by Delivery.settle": (heard) =>
    over((delivery) => Effect.flatMap(Effect.exit(heard(delivery)), (exit) => Delivery.settle(delivery, exit))),
  "by Delivery.handleAll, in parts": (heard) =>
    over((delivery) =>
      Delivery.handleAll(([part]: ReadonlyArray<Delivery.Delivery>) => heard(part!))(Delivery.split(delivery, 2))
    ),
  "as a part": (heard) => over((delivery) => Delivery.handle(heard)(Delivery.split(delivery, 1)[0]))
}

const world = <A, E>(effect: Effect.Effect<A, E, BlazeTest.Server | Scope.Scope>) =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(BlazeTest.layerServer),
    Effect.provideService(Keyed.Grace, 0),
    Effect.provide(lines().layer)
  )

for (const [how, consume] of Object.entries(consumers)) {
  describe(`a message that is settled ${how}`, () => {
    it.effect(
      "is for the next consumer where what was to be written has changed, and nobody is there to do it again",
      () =>
        Effect.gen(function* () {
          const context = yield* Layer.build(clientWith({ store: overtaking }))
          const { pending } = yield* BlazeTest.Account
          const alice = yield* BlazeTest.user("alice")
          for (const text of ["one", "two"]) yield* alice.say(text)
          const heard: Array<string> = []
          const run = (n: number) =>
            consume((delivery) =>
              Effect.gen(function* () {
                heard.push(`${n} ${textOf(delivery)}`)
                const note = delivery.state(Note)
                yield* note.set(`${Option.getOrElse(yield* note.get, () => "")}+`)
              }).pipe(Effect.orDie)
            ).pipe(Effect.ignoreCause, Effect.provideContext(context), Effect.forkChild)
          const first = yield* run(1)
          yield* BlazeTest.settle
          const before = heard.splice(0)
          assert.strictEqual(before[0], "1 one")
          // While it is being written.
          const interrupting = yield* Effect.forkChild(Fiber.interrupt(first))
          yield* pass(2)
          assert.isDefined(interrupting.pollUnsafe())
          yield* run(2)
          yield* pass(5)
          // What nobody can do again in its place is offered again after a second.
          assert.sameMembers(heard, ["2 one", "2 two"])
          assert.deepStrictEqual(yield* pending, [])
        }).pipe(world)
    )

    it.effect("keeps nobody from ending while nothing can be stored, and is handled by nobody else", () =>
      Effect.gen(function* () {
        const { comeBack, layer } = away()
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(clientWith({ store: layer }), scope)
        const { pending } = yield* BlazeTest.Account
        const alice = yield* BlazeTest.user("alice")
        for (const text of ["one", "two"]) yield* alice.say(text)
        const heard: Array<string> = []
        const run = (n: number) =>
          consume((delivery) => Effect.sync(() => void heard.push(`${n} ${textOf(delivery)}`))).pipe(
            Effect.ignoreCause,
            Effect.provideContext(context),
            Effect.forkDetach
          )
        const first = yield* run(1)
        yield* pass(40)
        const ending = yield* Effect.forkDetach(Fiber.interrupt(first))
        yield* pass(40)
        assert.isDefined(ending.pollUnsafe())
        comeBack()
        const second = yield* run(2)
        yield* pass(35)
        assert.deepStrictEqual(heard.map((text) => text.slice(2)).toSorted(), ["one", "two"])
        assert.include(heard, "1 one")
        yield* Fiber.interrupt(second)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* pending, [])
      }).pipe(world)
    )
  })
}

describe("what was handled while nothing could be stored", () => {
  it.effect("is stored when it can be, though the time of its handler was over meanwhile", () =>
    Effect.gen(function* () {
      const { comeBack, layer } = away()
      const { pending } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      const heard: Array<string> = []
      yield* over((delivery) =>
        Effect.timeoutOption(
          Delivery.handle((delivery: Delivery.Delivery) => Effect.sync(() => heard.push(textOf(delivery))))(delivery),
          "10 seconds"
        )
      ).pipe(Effect.provide(clientWith({ store: layer })), Effect.forkChild)
      for (let n = 0; n < 40; n++) yield* pass(1)
      comeBack()
      for (let n = 0; n < 40; n++) yield* pass(1)
      assert.deepStrictEqual([heard, yield* pending], [["one"], []])
    }).pipe(world)
  )

  it.effect("is not tried again by Bot, though its handler acknowledged it by hand and took too long", () =>
    Effect.gen(function* () {
      const { comeBack, layer } = away()
      const { pending } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      const heard: Array<string> = []
      yield* Bot.run(
        (delivery) =>
          Effect.andThen(
            Effect.sync(() => heard.push(textOf(delivery))),
            delivery.ack
          ),
        {
          timeout: "10 seconds",
          retry: Schedule.recurs(3)
        }
      ).pipe(Effect.provide(clientWith({ store: layer })), Effect.forkChild)
      for (let n = 0; n < 60; n++) yield* pass(1)
      comeBack()
      for (let n = 0; n < 40; n++) yield* pass(1)
      assert.deepStrictEqual([heard, yield* pending], [["one"], []])
    }).pipe(world)
  )

  it.effect("and has changed by then is in no batch twice that begins anew", () =>
    Effect.gen(function* () {
      const claims: Array<Store.Claim> = ["Unstored", "Changed"]
      const store = Layer.effect(
        Store.Store,
        Effect.map(Store.Store, (memory) => ({
          ...memory,
          commit: (changes: ReadonlyArray<Store.Change>) => {
            const claim = changes.every(({ writes }) => writes.length === 0) ? undefined : claims.shift()
            return claim === undefined ? memory.commit(changes) : Effect.succeed(changes.map((): Store.Claim => claim))
          }
        }))
      ).pipe(Layer.provide(Store.layerMemory))
      const { pending } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      const heard: Array<string> = []
      yield* Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
        deliveries.pipe(
          Keyed.mapEffectBatch(
            Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
              Effect.gen(function* () {
                heard.push(all.map(textOf).join("+"))
                yield* all[0]!.state(Note).set("x")
                if (heard.length === 2) yield* Effect.sleep("1 minute")
              }).pipe(Effect.orDie)
            ),
            { key: ({ message }) => message.conversationId, concurrency: 4, restart: true }
          ),
          Stream.runDrain
        )
      ).pipe(Effect.provide(clientWith({ store })), Effect.forkChild)
      for (let n = 0; n < 10; n++) yield* pass(1)
      yield* alice.say("two")
      for (let n = 0; n < 120; n++) yield* pass(1)
      assert.deepStrictEqual([heard[0], heard[1], yield* pending], ["one", "two", []])
      for (const group of heard) assert.notMatch(group, /one.*one|two.*two/)
    }).pipe(world)
  )

  it.effect("is not handled again with what arrives, where a batch begins anew", () =>
    Effect.gen(function* () {
      const { comeBack, layer } = away()
      const { pending } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      const heard: Array<string> = []
      yield* Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
        deliveries.pipe(
          Keyed.mapEffectBatch(
            Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
              Effect.sync(() => heard.push(all.map(textOf).join("+")))
            ),
            { key: ({ message }) => message.conversationId, concurrency: 4, restart: true }
          ),
          Stream.runDrain
        )
      ).pipe(Effect.provide(clientWith({ store: layer })), Effect.forkChild)
      yield* pass(40)
      yield* alice.say("two")
      yield* pass(40)
      comeBack()
      for (let n = 0; n < 40; n++) yield* pass(1)
      assert.deepStrictEqual([heard, yield* pending], [["one", "two"], []])
    }).pipe(world)
  )
})

describe("a handler that outlives its consumer", () => {
  it.effect("and is interrupted while nothing can be stored has its message stored once that is possible", () =>
    Effect.gen(function* () {
      const { comeBack, layer } = away()
      const context = yield* Layer.build(clientWith({ store: layer }))
      const { pending } = yield* BlazeTest.Account
      const alice = yield* BlazeTest.user("alice")
      yield* alice.say("one")
      const handlers: Array<Fiber.Fiber<void>> = []
      const first = yield* over((delivery) =>
        Effect.forkDetach(Delivery.handle(() => Effect.void)(delivery)).pipe(
          Effect.map((fiber) => handlers.push(fiber))
        )
      ).pipe(Effect.provideContext(context), Effect.forkChild)
      yield* pass(1)
      yield* Fiber.interrupt(first)
      const heard: Array<string> = []
      yield* over(Delivery.handle((delivery) => Effect.sync(() => heard.push(textOf(delivery))))).pipe(
        Effect.provideContext(context),
        Effect.forkChild
      )
      yield* pass(1)
      assert.deepStrictEqual(heard, [])
      comeBack()
      yield* Fiber.interrupt(handlers[0]!)
      yield* pass(1)
      for (let n = 0; n < 35; n++) yield* pass(1)
      assert.deepStrictEqual([heard, yield* pending], [[], []])
    }).pipe(world)
  )
})
