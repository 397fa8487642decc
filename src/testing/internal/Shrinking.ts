/**
 * Makes a plan shorter for as long as it still shows what is wrong.
 *
 * Guarantee: what is left still fails, and no pass of all that is tried makes it shorter, unless so much has been tried that it is time to stop.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Plan from "../Plan.ts"

/** How many worlds may be tried to make one shorter. */
const maximumTries = 500
const maximumSteps = 16
/** How often in all of it one crash is tried in place of everything that goes wrong. */
const maximumCrashes = 2
/** With so few things said it costs little to try many crashes. */
const fewActs = 40

/**
 * What is known of how a plan fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hint {
  /** It fails in calm weather too. */
  readonly isCalm: boolean
  /** Who saw it, and when. */
  readonly who?: string | undefined
  readonly at?: number | undefined
}

/** What is tried to make a plan shorter, with the shortest one that still failed. */
interface Search<E> {
  readonly best: () => Plan.Plan
  /** So much has been tried that it is time to stop. */
  readonly isOver: () => boolean
  /** Whether it still fails with these events alone, which it has from then on. */
  readonly attempt: (events: ReadonlyArray<Plan.Event>) => Effect.Effect<boolean, E>
}

const makeSearch = <E>(plan: Plan.Plan, fails: (plan: Plan.Plan) => Effect.Effect<boolean, E>): Search<E> => {
  let best = plan
  let tries = 0
  return {
    best: () => best,
    isOver: () => tries >= maximumTries,
    attempt: Effect.fnUntraced(function* (events: ReadonlyArray<Plan.Event>) {
      if (tries >= maximumTries) return false
      tries++
      const candidate = Plan.withEvents(best, events)
      if (!(yield* fails(candidate))) return false
      best = candidate
      return true
    })
  }
}

const actsOf = (plan: Plan.Plan) => plan.events.filter(Plan.isAct)

const dropPeople = Effect.fnUntraced(function* <E>({ attempt, best }: Search<E>) {
  const people = [...new Set(actsOf(best()).map(({ who }) => who))]
  if (people.length < 2) return
  for (const who of people) {
    if (yield* attempt(best().events.filter((event) => !Plan.isAct(event) || event.who === who))) return
  }
  for (const who of people) yield* attempt(best().events.filter((event) => !Plan.isAct(event) || event.who !== who))
})

// Delta debugging: ever smaller parts are left out.
const dropEvents = Effect.fnUntraced(function* <E>({ attempt, best, isOver }: Search<E>) {
  let parts = 2
  while (best().events.length > 1 && !isOver()) {
    const size = Math.ceil(best().events.length / parts)
    let isShorter = false
    for (let from = 0; from < best().events.length; from += size) {
      if (yield* attempt([...best().events.slice(0, from), ...best().events.slice(from + size)])) {
        isShorter = true
        from -= size
      }
    }
    if (isShorter) parts = Math.max(2, Math.min(parts, best().events.length))
    else if (size === 1) return
    else parts = Math.min(best().events.length, parts * 2)
  }
})

// Many small faults often do together what one crash does.
const makeCrashInstead = <E>({ attempt, best }: Search<E>) => {
  let crashes = 0
  return Effect.fnUntraced(function* () {
    const weather = best().events.filter((event) => !Plan.isAct(event))
    if (weather.length < 2 || crashes++ >= maximumCrashes) return
    const people = actsOf(best())
    for (const { at } of people.toReversed().slice(0, 3)) {
      for (let steps = 0; steps <= maximumSteps; steps++) {
        if (yield* attempt([...people, { at, do: "kill", steps, down: 0 }])) return
      }
    }
  })
}

const pauses = [0, 100, 500, 1000, 2000, 5000, 10_000, 60_000, 600_000, 3_600_000]

const shortenPauses = Effect.fnUntraced(function* <E>({ attempt, best }: Search<E>) {
  for (let index = 0; index < best().events.length; index++) {
    const pause = best().events[index]!.at - (best().events[index - 1]?.at ?? 0)
    for (const shorter of pauses) {
      if (shorter >= pause) break
      const later = best().events.map((event, n) => (n < index ? event : { ...event, at: event.at - pause + shorter }))
      if (yield* attempt(later)) break
    }
  }
})

const longestPauses = [60_000, 600_000, 3_600_000]

// Hours in which nothing happens cost as much as the rest, in every world that is tried after this.
const capPauses = Effect.fnUntraced(function* <E>({ attempt, best }: Search<E>) {
  for (const longest of longestPauses) {
    let at = 0
    const events = best().events.map((event, index) => {
      at += Math.min(longest, event.at - (best().events[index - 1]?.at ?? 0))
      return { ...event, at }
    })
    if (at === best().events.at(-1)?.at) return
    if (yield* attempt(events)) return
  }
})

/** The same event with less in it, in the order in which it is worth a try. */
const simplerThan = (event: Plan.Event): ReadonlyArray<Plan.Event> => {
  const simpler: Array<Plan.Event> = []
  if (event.do === "say") {
    if (event.text.length > 1) simpler.push({ ...event, text: "a" })
    for (let length = 8; length < event.text.length; length *= 2) {
      simpler.push({ ...event, text: event.text.slice(0, length) })
    }
  }
  if (event.do === "kill") {
    if (event.steps > 0 && event.down > 0) simpler.push({ ...event, steps: 0, down: 0 })
    if (event.steps > 0) simpler.push({ ...event, steps: 0 })
    if (event.down > 0) simpler.push({ ...event, down: 0 })
  }
  if (event.do === "restart" && event.down > 0) simpler.push({ ...event, down: 0 })
  return simpler
}

const simplify = Effect.fnUntraced(function* <E>({ attempt, best }: Search<E>) {
  for (let index = 0; index < best().events.length; index++) {
    for (const other of simplerThan(best().events[index]!)) {
      if (yield* attempt(best().events.with(index, other))) break
    }
  }
})

// The first names, in the order in which they come up.
const rename = Effect.fnUntraced(function* <E>({ attempt, best }: Search<E>) {
  const acts = actsOf(best())
  const people = [...new Set(acts.map(({ who }) => who))]
  const names = new Map(people.map((who, n) => [who, Plan.nameOf(n)]))
  if (people.every((who) => names.get(who) === who)) return
  if (acts.some((act) => act.do === "say" && act.where !== undefined)) return
  yield* attempt(best().events.map((event) => (Plan.isAct(event) ? { ...event, who: names.get(event.who)! } : event)))
})

/**
 * Makes a plan shorter for as long as it still fails.
 *
 * @category running
 * @since 0.1.0
 */
export const shrink = Effect.fnUntraced(function* <E>(
  plan: Plan.Plan,
  { at, isCalm, who }: Hint,
  fails: (plan: Plan.Plan) => Effect.Effect<boolean, E>
) {
  const search = makeSearch(plan, fails)
  const { attempt, best, isOver } = search
  const crashInstead = makeCrashInstead(search)

  if (isCalm) yield* attempt(actsOf(best()))
  // What came later can hardly have led to it, and what others did seldom has.
  if (at !== undefined) yield* attempt(best().events.filter((event) => event.at <= at))
  if (who !== undefined) yield* attempt(best().events.filter((event) => !Plan.isAct(event) || event.who === who))
  while (!isOver()) {
    const before = best()
    yield* dropPeople(search)
    yield* capPauses(search)
    if (actsOf(best()).length <= fewActs) yield* crashInstead()
    yield* dropEvents(search)
    yield* crashInstead()
    yield* shortenPauses(search)
    yield* simplify(search)
    if (best() === before) break
  }
  yield* rename(search)
  return best()
})
