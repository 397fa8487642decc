// The pipelines of the docs in every weather, their consumer cut short and begun again: nothing is lost, the first handling of a
// conversation's messages keeps their order, and no message is handled beside itself.
import { Effect, Layer, Random, Stream } from "effect"
import { Blaze, type BlazeError, Delivery, Keyed, Message } from "effect-blaze"
import { Expectation, Plan, Simulation } from "effect-blaze/testing"
import { batch } from "../../docs/examples/pipelines/batch.ts"
import { bridge } from "../../docs/examples/pipelines/bridge.ts"
import { debounce } from "../../docs/examples/pipelines/debounce.ts"
import { merge } from "../../docs/examples/pipelines/merge.ts"
import { partition } from "../../docs/examples/pipelines/partition.ts"
import { rateLimit } from "../../docs/examples/pipelines/rate-limit.ts"
import { restart } from "../../docs/examples/pipelines/restart.ts"
import { tee } from "../../docs/examples/pipelines/tee.ts"
import { windows } from "../../docs/examples/pipelines/windows.ts"
import { library, planOf } from "./library.ts"

type Deliveries = Stream.Stream<Delivery.Delivery, BlazeError.BlazeError>

const textOf = ({ message }: Delivery.Delivery) => (Message.isText(message) ? message.text : "")

const answer = (delivery: Delivery.Delivery) =>
  Effect.andThen(Effect.sleep("300 millis"), delivery.reply(`echo ${textOf(delivery)}`))

const answerAll = (group: ReadonlyArray<Delivery.Delivery>) => Effect.forEach(group, answer, { discard: true })

/** Those that consume deliveries. */
export const pipelines: Readonly<Record<string, (deliveries: Deliveries) => Effect.Effect<unknown, unknown>>> = {
  batch: (deliveries) => Stream.runDrain(batch(deliveries, answerAll)),
  debounce: (deliveries) => Stream.runDrain(debounce(deliveries, answerAll)),
  tee: (deliveries) => tee(deliveries, () => Effect.sleep("1 second"), answer),
  partition: (deliveries) => partition(deliveries, answer),
  merge: (deliveries) => Stream.runDrain(merge([deliveries, Stream.never], answer)),
  rateLimit: (deliveries) => Stream.runDrain(rateLimit(deliveries, answer)),
  windows: (deliveries) =>
    windows(deliveries, () => Effect.void).pipe(
      Keyed.mapEffect(Delivery.handle(answer), { key: ({ message }) => message.conversationId, concurrency: 8 }),
      Stream.runDrain
    ),
  bridge: (deliveries) => Stream.runDrain(bridge(deliveries, () => Effect.sleep("1 second"))),
  restart: (deliveries) => Stream.runDrain(restart(deliveries, answerAll))
}

/** Begins a pipeline again and again, each time for a while. */
const consumer = (pipeline: (deliveries: Deliveries) => Effect.Effect<unknown, unknown>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const once = Effect.gen(function* () {
        const millis = yield* Random.nextIntBetween(1000, 60_000)
        yield* Effect.timeoutOption(Effect.ignore(pipeline(deliveries)), millis)
        // One that the server has refused ends at once: the next one takes its time.
        yield* Effect.sleep((yield* Random.nextBoolean) ? 0 : "5 seconds")
      }).pipe(Effect.provideService(Keyed.Grace, 0))
      yield* Effect.forkScoped(Effect.forever(once))
    })
  )

/** Of two messages of a conversation that are handled for the first time in a process the one that was said first does not come later. */
const inOrder = function* (outcome: Simulation.Outcome): Generator<Expectation.Violation> {
  const said = new Map(outcome.said.map((message, number) => [message.id, { ...message, number }]))
  const turns = new Map<string, { at: number; last: number; before: number; readonly seen: Set<string> }>()
  for (const { began, conversation, life, message: id } of outcome.runs) {
    const message = said.get(id)
    if (message === undefined) continue
    const key = `${life} ${conversation}`
    const turn = turns.get(key) ?? { at: -1, last: -1, before: -1, seen: new Set() }
    turns.set(key, turn)
    if (turn.seen.has(id)) continue
    turn.seen.add(id)
    // What begins together has no order among itself.
    if (began > turn.at) turn.before = turn.last
    turn.at = began
    turn.last = Math.max(turn.last, message.number)
    if (message.number < turn.before) {
      yield { expectation: "order", detail: `${message.text} in life ${life} on ${Plan.showTime(began)}` }
    }
  }
}

/** How many handlers may be at work on one message at a time. */
const notBesideItself = function* (outcome: Simulation.Outcome, most: number): Generator<Expectation.Violation> {
  const runs = new Map<string, Array<Simulation.Run>>()
  for (const run of outcome.runs) {
    const own = (runs.get(run.message) ?? []).filter(({ ended }) => ended > run.began)
    own.push(run)
    runs.set(run.message, own)
    // One that was killed has no end.
    if (own.filter(({ life }) => life === run.life).length > most) {
      yield { expectation: "not beside itself", detail: `${run.message} on ${Plan.showTime(run.began)}` }
    }
  }
}

/** What is meant: a batch is worked on at once, and a message that is split has two handlers. */
const meant: Readonly<Record<string, ReadonlyArray<string>>> = {
  batch: ["one after the other"],
  debounce: ["one after the other"],
  restart: ["one after the other"],
  tee: ["one after the other", "handled once"]
}

const nothingLost = function* (outcome: Simulation.Outcome): Generator<Expectation.Violation> {
  const handled = new Set(outcome.runs.flatMap(({ message, success }) => (success ? [message] : [])))
  for (const { id, text } of outcome.said) {
    if (!handled.has(id)) yield { expectation: "nothing lost", detail: `${text} was not handled` }
  }
}

/** What a seed does to a pipeline. */
export const simulatePipeline = Effect.fnUntraced(function* (name: string, seed: number) {
  const plan = planOf(seed)
  const subject = {
    bot: consumer(pipelines[name]!),
    disk: Layer.empty,
    blaze: library(seed),
    shuffled: seed % 3 === 0
  }
  const outcome = yield* Simulation.run(subject, seed, (stage) =>
    Effect.andThen(Simulation.follow(plan)(stage), stage.pass("3 hours"))
  )
  const violations = [
    ...Expectation.always(outcome, () => name !== "bridge"),
    ...inOrder(outcome),
    ...notBesideItself(outcome, name === "tee" ? 2 : 1),
    ...nothingLost(outcome)
  ]
  return { outcome, violations: violations.filter(({ expectation }) => meant[name]?.includes(expectation) !== true) }
})
