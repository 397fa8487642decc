/**
 * People whom nobody has told what the bot can do: they talk to it for days while things go wrong, and what breaks is told as a short test.
 *
 * Guarantee: what is told happens again, by the seed, and is as short as it could be made; a bot that is not the same twice is refused.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Blaze from "../../Blaze.ts"
import type * as BlazeError from "../../BlazeError.ts"
import * as Expectation from "../Expectation.ts"
import * as Plan from "../Plan.ts"
import * as Shrinking from "./Shrinking.ts"
import * as Simulation from "../Simulation.ts"
import * as Story from "./Story.ts"

/**
 * What both `strangers` and `replay` need to know of a bot.
 *
 * @category models
 * @since 0.1.0
 */
export interface BotUnderTest<D> {
  /** What survives a crash, as a disk does: built once for each run. */
  readonly disk?: Layer.Layer<D, unknown> | undefined
  /** The library under the bot, with other parts or bounds: `Blaze.layer` by default. */
  readonly blaze?: Layer.Layer<Blaze.Services, BlazeError.BlazeError, Blaze.Platform | D> | undefined
  /** Which messages want an answer: all, by default. The others have to be acknowledged. */
  readonly answers?: Expectation.Answers | undefined
  /** What is not to be expected of this bot. */
  readonly except?: ReadonlyArray<Expectation.Name> | undefined
  /** What else is expected of every run: a sentence when it is not so. */
  readonly expect?: Readonly<Record<string, (outcome: Simulation.Outcome) => string | undefined>> | undefined
  /** Has tasks that are ready at once run in random order, by the seed. */
  readonly shuffled?: boolean | undefined
}

/**
 * Who talks to the bot, for how long, and what goes wrong meanwhile.
 *
 * @category models
 * @since 0.1.0
 */
export interface StrangersOptions<D> extends BotUnderTest<D> {
  /** How many people there are: 10. */
  readonly people?: number | undefined
  /** How many days they talk for: 1. */
  readonly days?: number | undefined
  /** How many worlds are tried, by the seeds from 1 on: 5. */
  readonly seeds?: number | undefined
  /** The one seed to try. */
  readonly seed?: number | undefined
  /** What goes wrong, and how often in a day: everything, nothing, or what is given. */
  readonly faults?: "all" | "none" | Partial<Plan.Rates> | undefined
  /** What people say, beside what buttons say and a stock of nasty words. */
  readonly words?: ReadonlyArray<string> | undefined
  /** How many groups of three there are: one for every twelve people, and one where there are six. */
  readonly groups?: number | undefined
}

/**
 * What was tried when nothing is broken.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly runs: number
  readonly messages: number
  readonly lives: number
  readonly handshakes: number
}

/**
 * Something that is expected of the bot is not so. Its message is one sentence, a test that shows it again, and the end of the log.
 *
 * @category errors
 * @since 0.1.0
 */
export class BrokenExpectation extends Data.TaggedError("BrokenExpectation")<{
  readonly expectation: string
  readonly detail: string
  readonly seed: number
  /** What happens, made as short as it could be. */
  readonly plan: Plan.Plan
  /** The test to paste. */
  readonly test: string
  readonly log: ReadonlyArray<string>
}> {
  override get message() {
    return [
      `${this.expectation}: ${this.detail} (seed ${this.seed}${this.test === "" ? "" : `, ${this.plan.events.length} events`})`,
      ...(this.test === "" ? [] : [this.test]),
      `The end of the log:\n${this.log.slice(-lastLines).join("\n")}`
    ].join("\n\n")
  }
}

/**
 * The bot is not the same in two runs of a seed, so that nothing that is found could be shown again.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotRepeatable extends Data.TaggedError("NotRepeatable")<{
  readonly seed: number
  readonly first: string
  readonly second: string
}> {
  override get message() {
    return `Two runs of seed ${this.seed} differ. The first line that does is\n  ${this.first}\nin one and\n  ${this.second}\nin the other. Here a bot takes random numbers from Effect's Random, ids from delivery.derive or SecureRandom, dates from Clock and pauses from Effect.sleep, and keeps nothing outside of its Layer and its disk: look for Math.random, Date.now, crypto.randomUUID, timers of its own and variables of the module.`
  }
}

const lastLines = 30

/** Where a violation shows: nothing goes wrong, one party is alone, or things go wrong. */
type Phase = "calm" | "alone" | "storm"

interface Finding extends Expectation.Violation {
  readonly phase: Phase
  readonly log: ReadonlyArray<string>
}

/** Something to run, over and over: a plan, or a story that somebody wrote. */
interface Told<E> {
  readonly seed: number
  readonly tell: (stage: Simulation.Stage) => Effect.Effect<void, E>
  readonly hasWeather: boolean
  /** What of it happens in calm weather: the same again has the same outcome. */
  readonly calm?: string | undefined
}

const ofPlan = (plan: Plan.Plan): Told<never> => ({
  seed: plan.seed,
  calm: JSON.stringify([plan.seed, plan.events.at(-1)?.at, plan.events.filter(Plan.isAct)]),
  tell: Simulation.follow(plan),
  hasWeather: plan.events.some((event) => !Plan.isAct(event))
})

const partyOf = (who: string, where: string | undefined, groups: ReadonlySet<string>) =>
  where ?? [...groups].find((group) => Plan.membersOf(group).includes(who)) ?? who

/** How many parties are looked at alone. */
const maximumParties = 6

const firstDifference = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => {
  const length = Math.max(a.length, b.length)
  for (let index = 0; index < length; index++) {
    if (a[index] !== b[index]) return { first: a[index] ?? "nothing", second: b[index] ?? "nothing" }
  }
}

// Whoever throws where a sentence is asked for has found something too.
const sentenceOf = (holds: (outcome: Simulation.Outcome) => string | undefined, outcome: Simulation.Outcome) => {
  try {
    return holds(outcome)
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}

/** Runs stories of one bot, and counts what that was. */
const makeRunner = <D>(subject: Simulation.Subject<D>) => {
  const total = { runs: 0, messages: 0, lives: 0, handshakes: 0 }

  const run = Effect.fnUntraced(function* <E>(story: Told<E>, choice: Simulation.Options) {
    const outcome = yield* Simulation.run(subject, story.seed, story.tell, { reconnect: true, ...choice })
    total.runs++
    total.messages += outcome.said.length
    total.lives += outcome.lives
    total.handshakes += outcome.handshakes
    return outcome
  })

  // While a plan is made shorter it is mostly the weather that changes.
  let lastCalm: { readonly key: string; readonly outcome: Simulation.Outcome } | undefined
  const runCalm = Effect.fnUntraced(function* <E>(story: Told<E>) {
    if (story.calm !== undefined && lastCalm?.key === story.calm) return lastCalm.outcome
    const outcome = yield* run(story, { keep: Plan.isAct })
    if (story.calm !== undefined) lastCalm = { key: story.calm, outcome }
    return outcome
  })

  /** Refuses a bot that does not do the same twice. */
  const repeat = Effect.fnUntraced(function* <E>(story: Told<E>, choice: Simulation.Options) {
    const [a, b] = [yield* run(story, choice), yield* run(story, choice)]
    const difference = firstDifference(a.log, b.log)
    if (difference !== undefined) return yield* new NotRepeatable({ seed: story.seed, ...difference })
  })

  return { run, runCalm, repeat, total }
}

/** What is expected of one bot, of the library's expectations and of its own. */
const makeExpected = <D>(options: BotUnderTest<D> & { readonly strict?: boolean | undefined }) => {
  const { answers = () => true, expect = {} } = options
  const except = new Set<string>(options.except ?? [])

  const ofOutcome = function* (outcome: Simulation.Outcome): Generator<Expectation.Violation> {
    yield* Expectation.always(outcome, answers)
    for (const [expectation, holds] of Object.entries(expect)) {
      const detail = sentenceOf(holds, outcome)
      if (detail !== undefined) yield { expectation, detail }
    }
  }

  return {
    inCalm: function* (calm: Simulation.Outcome) {
      yield* ofOutcome(calm)
      yield* Expectation.inCalm(calm)
    },
    inStorm: function* (calm: Simulation.Outcome, storm: Simulation.Outcome) {
      yield* ofOutcome(storm)
      yield* Expectation.inStorm(calm, storm)
    },
    isAloneExcepted: except.has("alone as among others"),
    /** The first of the violations that counts; with `only`, the first that is that one. */
    findIn: (
      violations: Iterable<Expectation.Violation>,
      phase: Phase,
      outcome: Simulation.Outcome,
      only: string | undefined
    ): Finding | undefined => {
      for (const violation of violations) {
        if (except.has(violation.expectation)) continue
        // A bot that does not run keeps whatever else is expected, for it does nothing.
        const isIt =
          violation.expectation === only || (violation.expectation === "the bot runs" && options.strict === true)
        if (only === undefined || isIt) return { ...violation, phase, log: outcome.log }
      }
    }
  }
}

const makeJudge = <D>(
  bot: Layer.Layer<never, unknown, Blaze.Services | D>,
  options: BotUnderTest<D> & { readonly strict?: boolean | undefined }
) => {
  const { blaze = Blaze.layer, disk = Layer.empty as Layer.Layer<D> } = options
  const { repeat, run, runCalm, total } = makeRunner({ bot, disk, blaze, shuffled: options.shuffled ?? false })
  const { findIn, inCalm, inStorm, isAloneExcepted } = makeExpected(options)

  const inAlone = Effect.fnUntraced(function* <E>(story: Told<E>, calm: Simulation.Outcome) {
    const groups = new Set(calm.said.flatMap(({ where, who }) => (where === who ? [] : [where])))
    const parties = new Set(calm.said.map(({ where, who }) => partyOf(who, where === who ? undefined : where, groups)))
    if (parties.size < 2 || isAloneExcepted) return undefined
    for (const party of [...parties].slice(0, maximumParties)) {
      const isOfParty = (who: string) => partyOf(who, undefined, groups) === party
      const keep = (event: Plan.Event) => Plan.isAct(event) && isOfParty(event.who)
      const alone = yield* run(story, { keep })
      const finding = findIn(Expectation.alone(calm, alone, isOfParty), "alone", alone, undefined)
      if (finding !== undefined) return finding
    }
  })

  /** The first thing that is broken; with `only`, whether that one is, in the phase where it was found. */
  const judge = Effect.fnUntraced(function* <E>(
    story: Told<E>,
    only?: { readonly expectation: string; readonly phase?: Phase | undefined }
  ) {
    const wants = (phase: Phase) => only?.phase === undefined || only.phase === phase
    const calm = yield* runCalm(story)
    if (wants("calm")) {
      const finding = findIn(inCalm(calm), "calm", calm, only?.expectation)
      if (finding !== undefined) return finding
    }
    if (wants("alone") && (only === undefined || only.expectation === "alone as among others")) {
      const finding = yield* inAlone(story, calm)
      if (finding !== undefined) return finding
    }
    if (wants("storm") && story.hasWeather) {
      const storm = yield* run(story, { presses: Simulation.presses(calm) })
      return findIn(inStorm(calm, storm), "storm", storm, only?.expectation)
    }
  })

  return { judge, repeat, total }
}

// Where little happens it costs little, and what is found there is soon made shorter: more goes wrong there.
const smallWorld = { people: 6, days: 0.5, rougher: 2, more: { perVisit: 5, groupVisits: 1 } }

/**
 * Lets strangers talk to a bot, in small worlds first, then in larger ones.
 *
 * **Details**
 *
 * It runs in a world of its own, with its own clock and scheduler: days pass in seconds, whatever clock the test has. A handler takes
 * random numbers from `Random`, ids from `delivery.derive`, dates and pauses from Effect; no real timer, file or network.
 *
 * **Example** (A bot that keeps its word)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const report = await Effect.runPromise(
 *   BlazeTest.strangers(Bot.layer((delivery) => delivery.reply("hello")), { people: 3, days: 0.2, seeds: 1 })
 * )
 * console.assert(report.messages > 0)
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const strangers = Effect.fnUntraced(function* <D = never>(
  bot: Layer.Layer<never, unknown, Blaze.Services | D>,
  options: StrangersOptions<D> = {}
): Effect.fn.Return<Report, BrokenExpectation | NotRepeatable> {
  const { days = 1, faults = "all", people = 10, seed, seeds = 5, words = [] } = options
  const rates = faults === "all" ? Plan.allFaults : faults === "none" ? Plan.noFaults : { ...Plan.noFaults, ...faults }
  const numbers = seed === undefined ? Array.from({ length: Math.max(1, seeds) }, (_, n) => n + 1) : [seed]
  const size = (people: number, days: number) => ({
    people,
    days,
    groups: Math.min(options.groups ?? Math.ceil((people - 5) / 12), Math.floor(people / 3))
  })
  const full = size(people, days)
  const small = size(Math.min(people, smallWorld.people), Math.min(days, smallWorld.days))
  const rough = { ...small, ...smallWorld.more, rates: Plan.scale(rates, smallWorld.rougher) }
  const sizes = [rough, ...(small.people < people || small.days < days ? [{ ...full, rates }] : [])]
  const plans = sizes.flatMap((size) => numbers.map((seed) => Plan.make({ seed, words, ...size })))
  const judge = makeJudge(bot, options)

  const [first] = plans
  if (first !== undefined) yield* judge.repeat(ofPlan(first), { keep: Plan.isAct })
  for (const plan of plans) {
    const finding = yield* judge.judge(ofPlan(plan))
    if (finding === undefined) continue
    const { detail, expectation, log, phase } = finding
    // What could not be shown again is not told.
    yield* judge.repeat(ofPlan(plan), phase === "storm" ? {} : { keep: Plan.isAct })
    const fails = (plan: Plan.Plan) =>
      Effect.map(judge.judge(ofPlan(plan), { expectation, phase }), (found) => found !== undefined)
    // What grows is told with its numbers: without the many messages that made it grow it would not.
    const isGrowth = expectation === "bounded work"
    const shrunk = isGrowth ? plan : yield* Shrinking.shrink(plan, { ...finding, isCalm: phase !== "storm" }, fails)
    const last = isGrowth ? finding : yield* judge.judge(ofPlan(shrunk), { expectation, phase })
    return yield* new BrokenExpectation({
      expectation,
      detail: last?.detail ?? detail,
      seed: plan.seed,
      plan: shrunk,
      test: isGrowth ? "" : Story.print(shrunk, expectation),
      log: last?.log ?? log
    })
  }
  const final = plans.at(-1)
  if (final !== undefined) yield* judge.repeat(ofPlan(final), {})
  return judge.total
})

/**
 * Runs a story, as `strangers` tells it, and looks whether what it says is expected is so.
 *
 * **Details**
 *
 * The story is told more than once: as it is, and where the expectation compares, without what goes wrong or with each party alone. A
 * failure in it ends the test at once.
 *
 * **Example** (A crash between the answer and its acknowledgement)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const bot = Bot.layer((delivery) => delivery.reply("hello"))
 * const program = BlazeTest.replay(bot, { seed: 1, expectation: "no answer twice" }, function*({ alice, world }) {
 *   yield* alice.say("hi")
 *   yield* world.kill({ steps: 20 })
 *   yield* world.pass("1 minute")
 *   console.assert((yield* alice.reads).length === 1)
 * })
 *
 * await Effect.runPromise(program)
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const replay = Effect.fnUntraced(function* <D = never, E = never>(
  bot: Layer.Layer<never, unknown, Blaze.Services | D>,
  options: BotUnderTest<D> & {
    readonly seed: number
    /** The one expectation that is looked at: all of them, when it is left out. */
    readonly expectation?: string | undefined
  },
  story: (cast: Story.Cast) => Generator<Effect.Effect<unknown, E>, void, never>
): Effect.fn.Return<Report, BrokenExpectation | NotRepeatable | E> {
  const { expectation, seed } = options
  const known = [...Expectation.names, ...Object.keys(options.expect ?? {})]
  if (expectation !== undefined && !known.includes(expectation)) {
    return yield* Effect.die(new Error(`Nothing is expected by the name of "${expectation}": ${known.join(", ")}.`))
  }
  const told: Told<E> = { seed, tell: (stage) => Effect.gen(() => story(Story.castOf(stage))), hasWeather: true }
  const judge = makeJudge(bot, { ...options, strict: true })
  yield* judge.repeat(told, {})
  const finding = yield* judge.judge(told, expectation === undefined ? undefined : { expectation })
  if (finding === undefined) return judge.total
  return yield* new BrokenExpectation({
    expectation: finding.expectation,
    detail: finding.detail,
    seed,
    plan: { seed, events: [], until: 0 },
    test: "",
    log: finding.log
  })
})
