/**
 * What may be expected of any bot, without knowing what it does.
 *
 * Guarantee: whatever is named here holds for every bot that settles what it is given and answers by ids of its own message; what it says
 * is broken comes with the message, the person and the time.
 *
 * @since 0.1.0
 */
import * as Plan from "./Plan.ts"
import type { Heard, Outcome, Run, Said } from "./Simulation.ts"

/**
 * The names of all that is expected.
 *
 * @category models
 * @since 0.1.0
 */
export type Name =
  /** Every message is answered, but for those of which `answers` says that they want none: those are acknowledged. */
  | "every message answered"
  /** What a run of a handler said that the last one does not say again is one answer too many. */
  | "no answer twice"
  /** Answers come in the order of the messages, where nothing goes wrong. */
  | "order kept"
  /** No two handlers of one conversation run at once. */
  | "one after the other"
  /** No two handlers of one message run at once, nor one after another has succeeded, within one process. */
  | "handled once"
  /** A message is acknowledged only after its handler has succeeded. */
  | "nothing acknowledged too early"
  /** In the end nothing is left on the server. */
  | "nothing left pending"
  /** The same word takes as much work and as long an answer late as early. */
  | "bounded work"
  /** What a button says is understood as well as anything else. */
  | "no button leads nowhere"
  /** The bot does not end, and logs no fatal error. */
  | "the bot runs"
  /** An hour after the last fault answers come as soon as if nothing had gone wrong, or within ten seconds more. */
  | "lively again"
  /** Everybody hears what he hears when nothing goes wrong. */
  | "the same in any weather"
  /** What a person or a group hears does not depend on who else talks to the bot. */
  | "alone as among others"

/** @since 0.1.0 */
export const names: ReadonlyArray<Name> = [
  "every message answered",
  "no answer twice",
  "order kept",
  "one after the other",
  "handled once",
  "nothing acknowledged too early",
  "nothing left pending",
  "bounded work",
  "no button leads nowhere",
  "the bot runs",
  "lively again",
  "the same in any weather",
  "alone as among others"
]

/**
 * What was expected and is not so.
 *
 * @category models
 * @since 0.1.0
 */
export interface Violation {
  readonly expectation: string
  /** One sentence. */
  readonly detail: string
  /** Who saw it, and by when what led to it had been said, as far as that is known. */
  readonly who?: string | undefined
  readonly at?: number | undefined
}

/** Which messages want an answer. */
export type Answers = (message: Said) => boolean

const show = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text)

const placeOf = ({ where, who }: { readonly where: string; readonly who: string }) =>
  where === who ? "" : ` in ${where}`

const describe = (message: Said) =>
  `${message.who} ${message.pressed ? "pressed" : "said"} ${show(message.text)}${placeOf(message)} on ${Plan.showTime(message.at)}`

/** What answers each message, each answer once however many hear it. */
const answersOf = (outcome: Outcome): ReadonlyMap<string, ReadonlyArray<Heard>> => {
  const answers = new Map<string, Map<string, Heard>>()
  for (const heard of outcome.heard) {
    for (const { id } of heard.answers) {
      const own = answers.get(id) ?? new Map<string, Heard>()
      if (!own.has(heard.id)) own.set(heard.id, heard)
      answers.set(id, own)
    }
  }
  return new Map(Array.from(answers, ([id, own]) => [id, [...own.values()]]))
}

type Broken = Generator<Violation>
const broken = (
  expectation: Name,
  detail: string,
  seen?: { readonly who: string; readonly at: number }
): Violation => ({ expectation, detail, who: seen?.who, at: seen?.at })

const answered = function* (outcome: Outcome, wanted: Answers): Broken {
  const answers = answersOf(outcome)
  const runs = Map.groupBy(outcome.runs, ({ message }) => message)
  for (const message of outcome.said) {
    const own = answers.get(message.id) ?? []
    if (own.length === 0 && wanted(message)) {
      yield broken("every message answered", `${describe(message)}, and nobody answered.`, message)
    }
    const success = (runs.get(message.id) ?? []).findLast((run) => run.success)
    if (success === undefined) continue
    const isOf = (heard: Heard, run: Run) =>
      heard.answers.some((answer) => answer.id === message.id && answer.run === run)
    // A last run that says nothing knows that all has been said.
    if (own.length < 2 || !own.some((heard) => isOf(heard, success))) continue
    // What is said before a message is deferred is meant.
    const isMeant = (heard: Heard) =>
      heard.answers.some(({ id, late, run }) => id === message.id && !late && run?.deferred === true)
    if (own.every((heard) => isOf(heard, success) || isMeant(heard))) continue
    yield broken(
      "no answer twice",
      `${describe(message)}, and was answered ${own.map(({ text }) => show(text)).join(" and ")}.`,
      message
    )
  }
}

const overlap = (a: Run, b: Run) => a.began < b.ended && b.began < a.ended

const inTurn = function* (outcome: Outcome): Broken {
  const said = new Map(outcome.said.map((message) => [message.id, message]))
  const acknowledgedAt = new Map<string, number>()
  for (const { at, id } of outcome.acknowledged) if (!acknowledgedAt.has(id)) acknowledgedAt.set(id, at)
  for (const runs of Map.groupBy(outcome.runs, ({ conversation, life }) => `${life} ${conversation}`).values()) {
    let longest: Run | undefined
    const before = new Map<string, Run>()
    for (const run of runs) {
      const message = said.get(run.message)
      if (message === undefined) continue
      const earlier = before.get(run.message)
      if (earlier !== undefined && (earlier.success || overlap(earlier, run))) {
        yield broken("handled once", `${describe(message)}, and it was handled twice in the same process.`, message)
      } else if (longest !== undefined && overlap(longest, run)) {
        yield broken(
          "one after the other",
          `${describe(message)}, and it was handled while an earlier one was.`,
          message
        )
      }
      if (earlier === undefined || run.ended > earlier.ended) before.set(run.message, run)
      if (longest === undefined || run.ended > longest.ended) longest = run
    }
  }
  for (const [id, runs] of Map.groupBy(outcome.runs, ({ message }) => message)) {
    const at = acknowledgedAt.get(id)
    const message = said.get(id as Said["id"])
    if (at === undefined || message === undefined || runs.some((run) => run.success && run.ended <= at)) continue
    // Who gives up a message, or has no success of its own, may acknowledge it all the same.
    if (!runs.some((run) => run.success)) continue
    yield broken(
      "nothing acknowledged too early",
      `${describe(message)}, and it was acknowledged before it was handled.`,
      message
    )
  }
}

/**
 * What holds in any weather.
 *
 * @category expectations
 * @since 0.1.0
 */
export const always = function* (outcome: Outcome, wanted: Answers): Broken {
  if (outcome.stopped !== undefined) yield broken("the bot runs", `The bot has ended: ${outcome.stopped}`)
  for (const defect of outcome.defects) yield broken("the bot runs", defect)
  yield* answered(outcome, wanted)
  yield* inTurn(outcome)
  for (const message of outcome.pending) {
    yield broken("nothing left pending", `${describe(message)}, and it was never acknowledged.`, message)
  }
}

const ordered = function* (outcome: Outcome): Broken {
  const answers = answersOf(outcome)
  const deferred = new Set(outcome.runs.flatMap(({ deferred, message }) => (deferred ? [message] : [])))
  const last = new Map<string, number>()
  for (const message of outcome.said) {
    const at = answers.get(message.id)?.[0]?.at
    if (at === undefined || deferred.has(message.id)) continue
    const before = last.get(message.where) ?? 0
    if (at < before)
      yield broken("order kept", `${describe(message)}, and was answered before an earlier message was.`, message)
    last.set(message.where, Math.max(at, before))
  }
}

const buttons = function* (outcome: Outcome): Broken {
  const answers = answersOf(outcome)
  // An answer is like another one when they differ in what was said at most.
  const shape = (message: Said) => {
    const word = message.text.trim().toLowerCase().slice(0, 10)
    return (answers.get(message.id) ?? []).map(({ text }) => text.toLowerCase().replaceAll(word, "*")).join("\n")
  }
  const lost = new Set(outcome.said.filter(({ text }) => text === Plan.nonsense).map(shape))
  for (const message of outcome.said) {
    if (message.pressed && answers.has(message.id) && lost.has(shape(message))) {
      yield broken("no button leads nowhere", `${describe(message)}, and was answered as if it were nonsense.`, message)
    }
  }
}

/** How many of one kind there must be to tell whether they grow. */
const enough = 12

const growth = (values: ReadonlyArray<number>, allowance: number) => {
  if (values.length < enough) return undefined
  const quarter = Math.floor(values.length / 4)
  const early = Math.min(...values.slice(0, quarter))
  const late = Math.min(...values.slice(-quarter))
  return late > 3 * early + allowance ? { early, late } : undefined
}

const bounded = function* (outcome: Outcome): Broken {
  const answers = answersOf(outcome)
  const runs = Map.groupBy(outcome.runs, ({ message }) => message)
  for (const [text, messages] of Map.groupBy(outcome.said, ({ text }) => text)) {
    const work = growth(
      messages.flatMap(({ id }) => (runs.get(id) ?? []).map(({ steps }) => steps)),
      200
    )
    if (work !== undefined) {
      yield broken("bounded work", `${show(text)} took ${work.early} steps at first and ${work.late} in the end.`)
    }
    const length = growth(
      messages.flatMap(({ id }) => (answers.get(id) ?? []).map((heard) => heard.text.length)),
      1000
    )
    if (length !== undefined) {
      yield broken(
        "bounded work",
        `The answers to ${show(text)} had ${length.early} characters at first and ${length.late} in the end.`
      )
    }
  }
}

/**
 * What holds where nothing goes wrong.
 *
 * @category expectations
 * @since 0.1.0
 */
export const inCalm = function* (calm: Outcome): Broken {
  yield* ordered(calm)
  yield* buttons(calm)
  yield* bounded(calm)
}

const inHour = 3_600_000
const patience = 10_000

const lively = function* (calm: Outcome, storm: Outcome): Broken {
  const before = answersOf(calm)
  const answers = answersOf(storm)
  for (const message of storm.said) {
    const usual = before.get(message.id)?.[0]?.at
    if (usual === undefined || message.at < storm.lastFault + inHour) continue
    const at = answers.get(message.id)?.[0]?.at ?? Infinity
    if (at <= usual + patience) continue
    const seconds = Math.round((at - message.at) / 1000)
    yield broken("lively again", `${describe(message)}, and was answered after ${seconds} seconds.`, message)
  }
}

const tally = (outcome: Outcome) => {
  const counts = new Map<string, { readonly heard: Heard; count: number }>()
  for (const heard of outcome.heard) {
    const key = JSON.stringify([heard.who, heard.where, heard.text])
    const known = counts.get(key)
    if (known === undefined) counts.set(key, { heard, count: 1 })
    else known.count++
  }
  return counts
}

/**
 * What holds of a run where things go wrong, beside the same one where nothing does.
 *
 * @category expectations
 * @since 0.1.0
 */
export const inStorm = function* (calm: Outcome, storm: Outcome): Broken {
  yield* lively(calm, storm)
  const a = tally(calm)
  const b = tally(storm)
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const { heard } = (a.get(key) ?? b.get(key))!
    const { text, who } = heard
    const [usual, now] = [a.get(key)?.count ?? 0, b.get(key)?.count ?? 0]
    if (usual === now) continue
    yield broken(
      "the same in any weather",
      `${who} heard ${show(text)}${placeOf(heard)} ${now} times, and ${usual} times when nothing went wrong.`,
      { who, at: (usual > now ? a : b).get(key)!.heard.at }
    )
  }
}

/**
 * What holds of a run with one party alone, beside the same one among others.
 *
 * @category expectations
 * @since 0.1.0
 */
export const alone = function* (calm: Outcome, alone: Outcome, isOfParty: (who: string) => boolean): Broken {
  const heardBy = (outcome: Outcome) =>
    Map.groupBy(
      outcome.heard.filter(({ who }) => isOfParty(who)),
      ({ who }) => who
    )
  const among = heardBy(calm)
  const own = heardBy(alone)
  for (const who of new Set([...among.keys(), ...own.keys()])) {
    const a = among.get(who) ?? []
    const b = own.get(who) ?? []
    const length = Math.max(a.length, b.length)
    for (let index = 0; index < length; index++) {
      if (a[index]?.text === b[index]?.text && a[index]?.where === b[index]?.where) continue
      const words = (heard: Heard | undefined) => (heard === undefined ? "nothing" : show(heard.text))
      yield broken(
        "alone as among others",
        `${who} heard ${words(a[index])} among others, and ${words(b[index])} when nobody else was there.`,
        { who, at: (a[index] ?? b[index])!.at }
      )
      break
    }
  }
}
