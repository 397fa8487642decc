// The library in every weather: bots that do what can go wrong in a handler, small bounds by the seed, and what the guarantees say of them.
import { Effect, Layer, Schedule, Stream } from "effect"
import { Acks, Blaze, type BlazeError, Bot, Delivery, Keyed, Message, Settings } from "effect-blaze"
import { Expectation, Plan, Simulation } from "effect-blaze/testing"
import { seeded } from "../support.ts"

const textOf = ({ message }: Delivery.Delivery) => (Message.isText(message) ? message.text : "")

const minute = 60_000

/** Goes on until the server has it: who settles by hand must not acknowledge what was not answered. */
const persistently = <A>(effect: Effect.Effect<A, BlazeError.BlazeError>) =>
  Effect.retry(effect, { while: ({ isRetryable }) => isRetryable, schedule: Schedule.spaced("5 seconds") })

/** A number from 0 to 99 that a text stands for. */
const fate = (text: string) => {
  const random = seeded([...text].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) | 0, 7))
  random()
  return Math.floor(random() * 100)
}

const echo = (delivery: Delivery.Delivery) => delivery.reply(`echo ${textOf(delivery)}`)

/** What no further try can change. */
const isHopeless = (text: string) => text.endsWith("7") && fate(text) < 40

/** Fails, dies, hangs, defers, gives up and takes its time, by the text and the number of the try. */
const moody = () => {
  const tries = new Map<string, number>()
  return (delivery: Delivery.Delivery): Effect.Effect<unknown, unknown> =>
    Effect.suspend((): Effect.Effect<unknown, unknown> => {
      const text = textOf(delivery)
      const number = tries.get(delivery.message.id) ?? 0
      tries.set(delivery.message.id, number + 1)
      if (isHopeless(text)) return delivery.reply("")
      const mood = fate(`${text} ${number}`)
      if (number > 6) return echo(delivery)
      if (mood < 10) return Effect.fail("no stock")
      if (mood < 15) return Effect.die(new Error("a bug"))
      if (mood < 20) return Effect.never
      if (mood < 24) return Effect.succeed(Delivery.Defer)
      if (mood < 28) return Effect.andThen(echo(delivery), Effect.fail("after the answer"))
      if (mood < 31) return Effect.andThen(echo(delivery), Effect.succeed(Delivery.Defer))
      if (mood < 45) return Effect.delay(echo(delivery), "3 seconds")
      if (mood < 48) return Effect.interrupt
      return echo(delivery)
    })
}

const conversation = {
  key: ({ message }: Delivery.Delivery) => message.conversationId,
  concurrency: 4
}

/** A restless bot that has handlers run in fibers of their own, in no order. */
const isLoose = (seed: number) => seed % 4 === 0

/** Consumers that follow each other: cut short, or taken apart by operators, while handlers take their time. */
const restless = (seed: number): Layer.Layer<never, unknown, Blaze.Blaze> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { deliveries } = yield* Blaze.Blaze
      const scope = yield* Effect.scope
      const slowly = (delivery: Delivery.Delivery) =>
        Effect.delay(Effect.ignore(persistently(echo(delivery))), "2 seconds")
      const pipelines = [
        deliveries.pipe(
          Keyed.mapEffect(
            Delivery.handle((delivery) => slowly(delivery)),
            conversation
          ),
          Stream.runDrain
        ),
        Stream.concat(Stream.take(deliveries, 3), Stream.take(deliveries, 40)).pipe(
          Keyed.mapEffect(
            Delivery.handle((delivery) => slowly(delivery)),
            conversation
          ),
          Stream.runDrain
        ),
        // Handlers that outlive the consumer, and each other.
        ...(isLoose(seed)
          ? [
              deliveries.pipe(
                Stream.mapEffect((delivery) => Effect.forkIn(Delivery.handle(slowly)(delivery), scope)),
                Stream.runDrain
              )
            ]
          : []),
        Stream.flatMap(Stream.range(1, 20), () => Stream.take(deliveries, 2)).pipe(
          Stream.buffer({ capacity: 16 }),
          Stream.mapEffect((delivery) => Effect.andThen(slowly(delivery), delivery.ack)),
          Stream.runDrain
        )
      ]
      const random = seeded(seed)
      // One that the server has refused ends at once: the next one takes its time.
      const next = Effect.suspend(() => {
        const pipeline = pipelines[Math.floor(random() * pipelines.length)]!
        const time = 1000 + Math.floor(random() * 10_000)
        return Effect.andThen(
          Effect.timeoutOption(Effect.ignore(pipeline), time),
          Effect.sleep(random() < 0.5 ? 0 : "20 seconds")
        )
      })
      yield* Effect.forkScoped(Effect.forever(next))
    })
  )

/** The bots that the library is tried with. */
export const bots = {
  echo: () => Bot.layer(echo),
  moody: (seed: number) =>
    Layer.unwrap(
      Effect.sync(() =>
        Bot.layer(moody(), {
          timeout: "20 seconds",
          concurrency: 4,
          inFlight: seed % 2 === 0 ? { messages: 1 + (seed % 3), bytes: 2 ** 20 } : undefined
        })
      )
    ),
  restless
} as const

export type BotName = keyof typeof bots

/** Acknowledgements one way or the other, and bounds that are met. */
export const library = (seed: number) => {
  const random = seeded(seed + 1)
  const below = (limit: number) => Math.floor(random() * limit)
  const isSmall = () => random() < 0.5
  // Both of them, so that what one does not hold the other does not either.
  const isTight = isSmall()
  const settings: Partial<Settings.Settings> = {
    ...(isTight || isSmall() ? { inboxMessages: 1 + below(5) } : {}),
    ...(isTight ? { overflowBytes: below(2000) } : {}),
    ...(isSmall() ? { acknowledgeBatch: 1 + below(4), acknowledgeWithin: below(5000) } : {}),
    ...(isSmall()
      ? { defer: Schedule.spaced("20 seconds"), deferredMessages: 1 + below(3), deferredBytes: 2 ** 20 }
      : {})
  }
  const acks = isSmall() ? Acks.layerSocket : Acks.layerRest
  return Blaze.layerWith({ acks }).pipe(Layer.provide(Settings.layer(settings)))
}

/** Ten people for six hours, who now and then say very much at once. */
export const planOf = (seed: number) => {
  const plan = Plan.make({
    seed,
    people: 10,
    days: 0.25,
    words: [],
    visits: 20,
    rates: {
      cut: 25,
      close: 10,
      halfOpen: 15,
      garbage: 20,
      duplicate: 15,
      silence: 30,
      failure: 30,
      refusal: 25,
      rest: 20,
      clock: 60,
      kill: 30,
      restart: 10
    }
  })
  const random = seeded(seed)
  // At one moment, or one message after the other while the bot answers.
  // The last ones come when nothing has gone wrong for long, and nothing else would bring back what is forgotten then.
  const inTheEnd = [0, 15, 40].map((apart, n) => ({ apart, at: plan.until + (n + 1) * 5 * minute }))
  const meanwhile = [0, 0, 7, 30].map((apart) => ({ apart, at: Math.floor(random() * 350 * minute) }))
  const bursts = [...meanwhile, ...inTheEnd].flatMap(({ apart, at }) => {
    return Array.from({ length: 60 }, (_, n): Plan.Event => ({
      at: at + n * apart,
      do: "say",
      who: Plan.nameOf(n % 4),
      text: ""
    }))
  })
  const said = new Map<string, number>()
  return {
    ...plan,
    // What each says is told apart by a number.
    events: [...plan.events, ...bursts]
      .toSorted((a, b) => a.at - b.at)
      .map((event): Plan.Event => {
        if (event.do !== "say") return event
        const number = said.get(event.who) ?? 0
        said.set(event.who, number + 1)
        return { ...event, text: `${event.who}/${number}` }
      })
  }
}

/** What the guarantees say besides what is expected of any bot. */
const guarantees = function* (name: BotName, outcome: Simulation.Outcome): Generator<Expectation.Violation> {
  const said = new Map(outcome.said.map((message, number) => [message.id, { ...message, number }]))
  // Who settles by hand has no handler to be seen.
  const handled = new Set([
    ...outcome.runs.flatMap(({ message, success }) => (success ? [message] : [])),
    ...(name === "restless" ? outcome.acknowledged.map(({ id }) => id) : [])
  ])
  for (const { id, text } of outcome.said) {
    if (!handled.has(id) && !isHopeless(text)) yield { expectation: "1 at least once", detail: `${text} was lost` }
  }
  // A later one before an earlier one, where neither has had a turn in this process.
  const turns = new Map<string, { last: number; readonly seen: Set<string> }>()
  const hopeless = new Set<string>()
  for (const run of outcome.runs) {
    const message = said.get(run.message)
    if (message === undefined) continue
    const key = `${run.life} ${run.conversation}`
    const turn = turns.get(key) ?? { last: -1, seen: new Set() }
    turns.set(key, turn)
    if (name === "moody" && isHopeless(message.text)) {
      if (hopeless.has(`${run.life} ${run.message}`)) {
        yield { expectation: "1 final", detail: `${message.text} was tried again in life ${run.life}` }
      }
      // A handler that was cut off has not failed.
      if (run.ended !== Infinity) hopeless.add(`${run.life} ${run.message}`)
    }
    if (turn.seen.has(run.message)) continue
    turn.seen.add(run.message)
    if (message.number < turn.last) {
      yield { expectation: "4 in order", detail: `${message.text} in life ${run.life} on ${Plan.showTime(run.began)}` }
    }
    turn.last = Math.max(turn.last, message.number)
  }
}

/** What a seed does to a bot. */
export const simulate = Effect.fnUntraced(function* (name: BotName, seed: number) {
  const plan = planOf(seed)
  const subject = { bot: bots[name](seed), disk: Layer.empty, blaze: library(seed), shuffled: seed % 3 === 0 }
  const isWanted = ({ text }: Simulation.Said) => name !== "moody" || !isHopeless(text)
  let dials = 0
  const outcome = yield* Simulation.run(subject, seed, (stage) =>
    Effect.gen(function* () {
      yield* Simulation.follow(plan)(stage)
      yield* stage.pass("3 hours")
      // In the end the server does not know the bot any more.
      yield* stage.server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      yield* stage.account.cut
      yield* stage.pass("10 minutes")
      dials = yield* stage.account.handshakes
      yield* stage.pass("1 hour")
      dials = (yield* stage.account.handshakes) - dials
    })
  )
  const ofAnyBot = Expectation.always({ ...outcome, pending: outcome.pending.filter(isWanted) }, isWanted)
  const violations = [...ofAnyBot, ...guarantees(name, outcome)]
  if (name !== "moody") violations.push(...late(outcome, name === "echo" ? minute : 10 * minute))
  if (dials > 0) violations.push({ expectation: "6 final", detail: `${dials} handshakes in the hour after a 401` })
  if (name === "moody") violations.push(...overlong(outcome))
  return { outcome, violations: violations.filter(({ expectation }) => !meant(name, seed).includes(expectation)) }
})

/** What a bot does on purpose. */
const meant = (name: BotName, seed: number): ReadonlyArray<string> =>
  name === "restless" && isLoose(seed) ? ["one after the other", "4 in order"] : []

/** A try ends when its time is over, whatever is done to the clock. */
const overlong = function* (outcome: Simulation.Outcome): Generator<Expectation.Violation> {
  for (const { began, ended, message } of outcome.runs) {
    if (ended - began < 25_000 || ended === Infinity) continue
    yield { expectation: "12 elapsed", detail: `the handler of ${message} ran for ${(ended - began) / 1000} seconds` }
  }
}

/** An hour after the last fault answers are not late. */
const late = function* (outcome: Simulation.Outcome, patience: number): Generator<Expectation.Violation> {
  const answered = new Map(outcome.heard.map(({ answers, at }) => [answers[0]?.id, at]))
  for (const { at, id, text } of outcome.said) {
    if (at < outcome.lastFault + 60 * minute) continue
    const after = (answered.get(id) ?? Infinity) - at
    if (after > patience)
      yield { expectation: "8 lively", detail: `${text} was answered after ${after / 1000} seconds` }
  }
}
