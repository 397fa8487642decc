// Every kind of consumer, cut short and begun again, on a store that takes its time, is overtaken, and is away, with recalls between.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Option, Schedule, Schema, Stream } from "effect"
import { Blaze, Bot, Delivery, type Ids, Keyed, Settings, State, Store } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { clientWith, lines, pass, seeded } from "./support.ts"

let LOG: any
const Count = State.person("count", Schema.Int)

type Run = (delivery: Delivery.Delivery, part?: number) => Effect.Effect<unknown, string>
type Consumer = (run: Run, done: (delivery: Delivery.Delivery) => void) => Effect.Effect<unknown, unknown, Blaze.Blaze>

const over = <A>(
  through: (deliveries: Blaze.Blaze["Service"]["deliveries"]) => Stream.Stream<A, unknown>
): Effect.Effect<unknown, unknown, Blaze.Blaze> =>
  Effect.flatMap(Blaze.Blaze, ({ deliveries }) => Stream.runDrain(through(deliveries)))

const handled = (run: Run) => (delivery: Delivery.Delivery) => Effect.exit(Delivery.handle(run)(delivery))

const part = (run: Run, of: Delivery.Delivery, number: number) =>
  Effect.exit(Delivery.handle((delivery: Delivery.Delivery) => run(delivery, number))(of))

/** A group is as the first of its messages that is not done. */
const handledAll = (run: Run) => (group: ReadonlyArray<Delivery.Delivery>) =>
  Effect.exit(
    Delivery.handleAll((all: ReadonlyArray<Delivery.Delivery>) =>
      Effect.map(
        Effect.forEach(all, (delivery) => run(delivery)),
        (ends) => ends.find((end) => end !== undefined)
      )
    )(group)
  )

const key = ({ message }: Delivery.Delivery) => message.conversationId
const several = { concurrency: 4 }

const consumers: Readonly<Record<string, Consumer>> = {
  Bot: (run) =>
    Bot.run((delivery) => run(delivery), { retry: Schedule.spaced("500 millis").pipe(Schedule.upTo({ times: 2 })) }),
  "Bot, with a timeout and a last word": (run, done) =>
    Bot.run((delivery) => run(delivery), {
      timeout: "2 seconds",
      retry: Schedule.recurs(1),
      onFailure: (delivery) =>
        Effect.map(Effect.orDie(delivery.state(Count).set(0)), () => {
          done(delivery)
          return Delivery.Ack
        })
    }),
  "Delivery.handle": (run) => over(Stream.mapEffect(handled(run), several)),
  "Keyed.mapEffect": (run) => over(Keyed.mapEffect(handled(run), { key, concurrency: 8, every: "1 second" })),
  "Keyed.mapEffectBatch": (run) =>
    over(Keyed.mapEffectBatch(handledAll(run), { key, concurrency: 8, quiet: "1 second" })),
  "Keyed.mapEffectBatch that begins anew": (run) =>
    over(Keyed.mapEffectBatch(handledAll(run), { key, concurrency: 8, restart: true })),
  "Delivery.handleAll": (run) =>
    over((deliveries) => deliveries.pipe(Stream.groupedWithin(3, "1 second"), Stream.mapEffect(handledAll(run)))),
  "the parts of Delivery.split": (run) =>
    over(
      Stream.mapEffect((delivery) => {
        const [one, two] = Delivery.split(delivery, 2)
        return Effect.all([part(run, one, 1), part(run, two, 2)], { concurrency: 2 })
      }, several)
    ),
  "the parts behind broadcastN": (run) =>
    Effect.scoped(
      Effect.flatMap(Blaze.Blaze, ({ deliveries }) =>
        Effect.gen(function* () {
          const [first, second] = yield* deliveries.pipe(
            Stream.map((delivery) => Delivery.split(delivery, 2)),
            Stream.broadcastN({ n: 2, capacity: 16 })
          )
          const ones = Stream.mapEffect(first, ([one]) => part(run, one, 1))
          const twos = Stream.mapEffect(second, ([, two]) => part(run, two, 2))
          yield* Effect.all([Stream.runDrain(ones), Stream.runDrain(twos)], { concurrency: 2 })
        })
      )
    ),
  "one after the other": (run) =>
    Effect.forever(over((deliveries) => deliveries.pipe(Stream.take(2), Stream.mapEffect(handled(run), several)))),
  "by hand": (run) =>
    over(
      Stream.mapEffect(
        (delivery) =>
          Effect.suspend(() => {
            Delivery.hold(delivery)
            return Effect.onExit(run(delivery), (exit) => Delivery.settle(delivery, exit))
          }).pipe(Effect.exit),
        several
      )
    )
}

/** In memory, as slow, unsure and away as a number says, until it is well. */
const unwell = (random: () => number, isWell: () => boolean, commitsAtOnce: boolean) => {
  const handledBefore = new Set<Ids.MessageId>()
  const answered = ({ commit }: Store.Store["Service"], changes: ReadonlyArray<Store.Change>) =>
    Effect.gen(function* () {
      if (commitsAtOnce && changes.every(({ id }) => handledBefore.has(id)))
        return changes.map((): Store.Claim => "Known")
      if (!isWell() && random() < 0.6) yield* Effect.sleep(2000 * random())
      if (!isWell() && random() < 0.3) {
        const isWritten = changes.some(({ writes }) => writes.length > 0)
        if (isWritten && random() < 0.5) return changes.map((): Store.Claim => "Changed")
        if (isWritten || commitsAtOnce) return changes.map((): Store.Claim => "Unstored")
      }
      const claims = yield* commit(changes)
      for (const [index, { id, outcome }] of changes.entries()) {
        if (outcome._tag === "Handled" && claims[index] === "Committed") handledBefore.add(id)
      }
      return claims
    })
  return Layer.effect(
    Store.Store,
    Effect.map(Store.Store, (memory) => ({
      ...memory,
      commitsAtOnce,
      load: (ids: ReadonlyArray<Ids.MessageId>) =>
        Effect.map(memory.load(ids), (found) =>
          ids.map((id, index) => (commitsAtOnce && handledBefore.has(id) ? Store.Handled : found[index]))
        ),
      commit: (changes: ReadonlyArray<Store.Change>) => answered(memory, changes)
    }))
  ).pipe(Layer.provide(Store.layerMemory))
}

/** What went wrong in one run. */
const turmoil = Effect.fnUntraced(function* (consume: Consumer, seed: number) {
  const random = seeded(seed)
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)]!
  let isWell = false
  const store = unwell(random, () => isWell, random() < 0.5)
  const context = yield* Layer.build(
    clientWith({ store }).pipe(Layer.provide(Settings.layer({ defer: Schedule.spaced("20 seconds") })))
  )
  const { drain } = Context.get(context, Blaze.Blaze)
  const bot = yield* BlazeTest.Account
  const people = [yield* BlazeTest.user("alice"), yield* BlazeTest.user("bob")]
  const problems: Array<string> = []
  const running = new Set<string>()
  const done = new Set<string>()

  const end = Effect.gen(function* () {
    if (random() < 0.7) yield* Effect.sleep(3000 * random())
    const what = isWell ? 1 : random()
    if (what < 0.15) return yield* Effect.fail("no")
    return what < 0.25 ? Delivery.Defer : what < 0.3 ? Delivery.deferFor(30_000 * random()) : undefined
  })
  const run: Run = (delivery, part = 0) =>
    Effect.suspend(() => {
      const { id } = delivery.message
      const name = `part ${part} of ${id}`
      if (running.has(name)) problems.push(`${name} is handled beside itself`)
      running.add(name)
      return Effect.gen(function* () {
        const count = delivery.state(Count)
        const before = random() < 0.5 ? yield* count.get : Option.none()
        if (random() < 0.5) yield* count.set(Option.getOrElse(before, () => 0) + 1)
        const outcome = yield* end
        if (outcome === undefined) done.add(id)
        return outcome
      }).pipe(Effect.catchTag("BlazeError", Effect.die), Effect.ensuring(Effect.sync(() => running.delete(name))))
    })

  const begin = Effect.forkChild(
    Effect.exit(
      Effect.provideContext(
        consume(run, ({ message }) => done.add(message.id)),
        context
      )
    )
  )
  const ends = (what: string, fiber: Fiber.Fiber<unknown, unknown>) =>
    Effect.gen(function* () {
      for (let second = 0; second < 20 && fiber.pollUnsafe() === undefined; second++) yield* pass(1)
      if (fiber.pollUnsafe() === undefined) problems.push(`${what} does not end`)
    })
  let consumer = yield* begin
  const said: Array<readonly [(typeof people)[number], Ids.MessageId]> = []
  for (let step = 0; step < 25; step++) {
    const what = random()
    if (what < 0.6 || said.length === 0) {
      const person = pick(people)
      said.push([person, yield* person.say(`${step}`)])
    } else if (what < 0.75) {
      const [person, id] = pick(said)
      done.add(id)
      yield* person.recall(id)
    } else if (what < 0.9) {
      yield* ends("a consumer", yield* Effect.forkChild(Fiber.interrupt(consumer)))
      consumer = yield* begin
    }
    if (random() < 0.8) yield* BlazeTest.pass(1500 * random())
  }
  isWell = true
  for (let n = 0; n < 20; n++) yield* pass(10)
  for (let minute = 0; minute < 12; minute++) yield* pass(60)
  const left = yield* bot.pending
  console.log("done", done.size, "of", said.length, LOG.all.slice(-12), yield* bot.handshakes)
  for (const id of left) problems.push(`${id} is left`)
  for (const [, id] of said) {
    if (!left.includes(id) && !done.has(id)) problems.push(`${id} is acknowledged, and was not handled`)
  }
  yield* ends("drain", yield* Effect.forkChild(drain))
  return problems
})

describe("no message is lost, left, or handled beside itself in a turmoil", () => {
  for (const [name, consume] of Object.entries(consumers)) {
    for (let seed = 1; seed <= Number(process.env["TURMOIL_SEEDS"] ?? 4); seed++) {
      it.effect(`by ${name}, seed ${seed}`, () =>
        Effect.map(turmoil(consume, seed), (problems) => assert.deepStrictEqual(problems, [])).pipe(
          Effect.scoped,
          Effect.provide(BlazeTest.layerServer),
          Effect.provideService(Keyed.Grace, 0),
          Effect.provide((LOG = lines()).layer)
        )
      )
    }
  }
})
