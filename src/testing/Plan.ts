/**
 * What happens in a simulation: who says what and when, what goes wrong and when. Data, so that it can be printed and made smaller.
 *
 * Guarantee: what each person says, and when, follows from the seed and that person's name alone, so that leaving out one person or all
 * faults leaves everything else as it was.
 *
 * @since 0.1.0
 */
import type * as Random from "effect/Random"
import type * as BlazeServer from "./BlazeServer.ts"
import * as Seeded from "./internal/Seeded.ts"

/**
 * What a person does. `where` is the group, or else the conversation with the bot; times are milliseconds from the beginning.
 *
 * @category models
 * @since 0.1.0
 */
export type Act =
  | {
      readonly at: number
      readonly do: "say"
      readonly who: string
      readonly where?: string | undefined
      readonly text: string
    }
  /** Presses one of the buttons that the bot last sent, if it has sent any. */
  | { readonly at: number; readonly do: "press"; readonly who: string; readonly nth: number }
  | { readonly at: number; readonly do: "read"; readonly who: string }

/**
 * What goes wrong.
 *
 * @category models
 * @since 0.1.0
 */
export type Weather =
  | { readonly at: number; readonly do: "inject"; readonly fault: BlazeServer.Fault }
  /** What was injected and has not gone wrong yet is taken back. */
  | { readonly at: number; readonly do: "heal" }
  | { readonly at: number; readonly do: "cut" }
  | { readonly at: number; readonly do: "close"; readonly code: number }
  | { readonly at: number; readonly do: "halfOpen" }
  | { readonly at: number; readonly do: "garbage" }
  | { readonly at: number; readonly do: "serverClock"; readonly by: number }
  | { readonly at: number; readonly do: "botClock"; readonly by: number }
  /** The process ends where it stands, after so many more steps of its scheduler, and another one begins when `down` is over. */
  | { readonly at: number; readonly do: "kill"; readonly steps: number; readonly down: number }
  /** The process is asked to end, as by Ctrl-C, and another one begins when `down` is over. */
  | { readonly at: number; readonly do: "restart"; readonly down: number }

/** @since 0.1.0 */
export type Event = Act | Weather

/**
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  readonly seed: number
  readonly events: ReadonlyArray<Event>
  /** Nothing happens after this. */
  readonly until: number
}

/** @since 0.1.0 */
export const isAct = (event: Event): event is Act => event.do === "say" || event.do === "press" || event.do === "read"

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/**
 * How often each thing goes wrong in a day.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rates {
  /** Connections that end without a close frame. */
  readonly cut: number
  /** Connections that end with one. */
  readonly close: number
  /** Connections that carry nothing any more, and nobody is told. */
  readonly halfOpen: number
  /** Frames that are no gzip, or damaged. */
  readonly garbage: number
  /** Messages that arrive twice. */
  readonly duplicate: number
  /** Requests that are not answered, or late. */
  readonly silence: number
  /** Requests that are answered with an error. */
  readonly failure: number
  /** Handshakes that are refused, or lead to nothing. */
  readonly refusal: number
  /** REST requests that are answered with an error. */
  readonly rest: number
  /** Clocks that are set, the server's and the bot's. */
  readonly clock: number
  /** Processes that end where they stand. */
  readonly kill: number
  /** Processes that are asked to end. */
  readonly restart: number
}

/** @since 0.1.0 */
export const noFaults: Rates = {
  cut: 0,
  close: 0,
  halfOpen: 0,
  garbage: 0,
  duplicate: 0,
  silence: 0,
  failure: 0,
  refusal: 0,
  rest: 0,
  clock: 0,
  kill: 0,
  restart: 0
}

/** @since 0.1.0 */
export const allFaults: Rates = {
  cut: 6,
  close: 2,
  halfOpen: 3,
  garbage: 4,
  duplicate: 3,
  silence: 6,
  failure: 6,
  refusal: 6,
  rest: 4,
  clock: 4,
  kill: 9,
  restart: 3
}

/** The same weather, so many times as rough. */
export const scale = (rates: Rates, factor: number): Rates =>
  Object.fromEntries(Object.entries(rates).map(([kind, rate]) => [kind, rate * factor])) as unknown as Rates

/**
 * How much happens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly seed: number
  readonly people: number
  readonly days: number
  readonly words: ReadonlyArray<string>
  readonly rates: Rates
  /** How often in a day a person comes, and how many messages that brings on average. */
  readonly visits?: number | undefined
  readonly perVisit?: number | undefined
  readonly groupVisits?: number | undefined
  /** How many groups of three there are; the rest talk to the bot alone. */
  readonly groups?: number | undefined
}

/** Who may be in a story by name. */
export const firstNames = [
  "alice",
  "bob",
  "carol",
  "dave",
  "erin",
  "frank",
  "grace",
  "heidi",
  "ivan",
  "judy",
  "kim",
  "leo",
  "mallory",
  "nina",
  "oscar",
  "peggy",
  "quinn",
  "rosa",
  "sam",
  "tina",
  "uma",
  "victor",
  "wendy",
  "xena",
  "yuri",
  "zoe"
] as const

/** @since 0.1.0 */
export type FirstName = (typeof firstNames)[number]

/** The n-th person's name: the first ones have names alone. */
export const nameOf = (n: number): string => {
  const name = firstNames[n % firstNames.length]!
  return n < firstNames.length ? name : `${name}${Math.floor(n / firstNames.length) + 1}`
}

/** What a bot has to understand that nobody has told. */
export const nonsense = "zqxvkw"

const nastyWords = [
  "0",
  "-1",
  "NaN",
  "999999999999999999999",
  "1e309",
  " ",
  "__proto__",
  "constructor",
  "null",
  "/",
  "//",
  "{}",
  "%s",
  "<b>",
  "'; --",
  "a\u0000b",
  "\u202eabc",
  "🙈",
  "ﷺ",
  "\ud800",
  "x".repeat(5000),
  "x".repeat(25_000),
  "x".repeat(60_000)
]

type Stream = typeof Random.Random.Service

const below = (random: Stream, limit: number) => random.nextDoubleUnsafe() * limit
const count = (random: Stream, limit: number) => Math.floor(below(random, limit))
const pick = <A>(random: Stream, items: ReadonlyArray<A>): A => items[count(random, items.length)]!

const plot = (random: Stream, options: Options, who: string, where: string | undefined): ReadonlyArray<Act> => {
  const { days, perVisit = 4, visits = 2, words } = options
  const acts: Array<Act> = []
  const until = days * day
  const wordsOf = () =>
    random.nextDoubleUnsafe() < 0.75 || words.length === 0
      ? pick(random, words.length === 0 ? ["hello"] : words)
      : Array.from({ length: 1 + count(random, 4) }, () => pick(random, words)).join(" ")
  for (let visit = 0; visit < Math.max(1, Math.round(days * visits)); visit++) {
    let at = below(random, until)
    const messages = 1 + count(random, 2 * perVisit)
    for (let n = 0; n < messages && at < until; n++) {
      const dice = random.nextDoubleUnsafe()
      const time = Math.floor(at)
      if (dice > 0.85 && n > 0 && where === undefined) {
        const nth = count(random, 8)
        acts.push({ at: time, do: "press", who, nth })
        // Impatient people tap twice.
        if (random.nextDoubleUnsafe() < 0.2) acts.push({ at: time + 1 + count(random, 150), do: "press", who, nth })
      } else acts.push({ at: time, do: "say", who, where, text: dice < 0.2 ? pick(random, nastyWords) : wordsOf() })
      // They write twice in a row, answer, think, and come back.
      const pause = random.nextDoubleUnsafe()
      at +=
        pause < 0.3
          ? below(random, 50)
          : pause < 0.85
            ? second + below(random, 19 * second)
            : below(random, 20 * minute)
    }
    if (random.nextDoubleUnsafe() < 0.5) acts.push({ at: Math.floor(Math.min(at, until)), do: "read", who })
  }
  return acts
}

const inject = (at: number, ...faults: ReadonlyArray<BlazeServer.Fault>): ReadonlyArray<Weather> =>
  faults.map((fault) => ({ at, do: "inject", fault }))

const listing = "LIST_PENDING_MESSAGES"
const creation = "CREATE_MESSAGE"

const faults: { readonly [Kind in keyof Rates]: (random: Stream, at: number) => ReadonlyArray<Weather> } = {
  cut: (_, at) => [{ at, do: "cut" }],
  close: (random, at) => [{ at, do: "close", code: pick(random, [1000, 1001, 1006, 1011]) }],
  halfOpen: (_, at) => [{ at, do: "halfOpen" }],
  garbage: (random, at) =>
    random.nextDoubleUnsafe() < 0.5 ? [{ at, do: "garbage" }] : inject(at, { _tag: "CorruptPush" }),
  duplicate: (_, at) => inject(at, { _tag: "DuplicatePush" }),
  silence: (random, at) =>
    inject(
      at,
      pick<BlazeServer.Fault>(random, [
        { _tag: "IgnoreRequest" },
        { _tag: "IgnoreRequest", action: creation },
        { _tag: "DelayAnswer", by: count(random, 20 * second) }
      ])
    ),
  failure: (random, at) =>
    inject(
      at,
      random.nextDoubleUnsafe() < 0.5
        ? { _tag: "FailRequest", action: creation, code: pick(random, [7000, 7001, 429, 500]) }
        : { _tag: "FailRequest", action: listing, code: pick(random, [500, 7000, 403, 10002]) }
    ),
  refusal: (random, at) => [
    ...inject(
      at,
      ...pick<ReadonlyArray<BlazeServer.Fault>>(random, [
        [{ _tag: "RefuseHandshake", status: pick(random, [403, 429, 500, 503]) }],
        [{ _tag: "DropConnection" }],
        [{ _tag: "DropConnection" }, { _tag: "DropConnection" }, { _tag: "DropConnection" }],
        [{ _tag: "ErrorFrame", code: pick(random, [500, 7000, 10002]) }]
      ])
    ),
    { at, do: "cut" }
  ],
  rest: (random, at) =>
    inject(
      at,
      pick<BlazeServer.Fault>(random, [
        { _tag: "FailRest", status: 500, body: "" },
        { _tag: "FailRest", status: 200, body: "<html>busy</html>" },
        {
          _tag: "FailRest",
          status: 202,
          body: '{"error":{"status":202,"code":429,"description":"Too Many Requests"}}'
        }
      ])
    ),
  clock: (random, at) =>
    random.nextDoubleUnsafe() < 0.3
      ? [{ at, do: "serverClock", by: Math.floor(below(random, 20 * minute) - 10 * minute) }]
      : [{ at, do: "botClock", by: Math.floor(below(random, 4 * hour) - 2 * hour) }],
  kill: (random, at) => [
    { at, do: "kill", steps: Math.floor(random.nextDoubleUnsafe() ** 2 * 60), down: downtime(random) }
  ],
  restart: (random, at) => [{ at, do: "restart", down: downtime(random) }]
}

const downtime = (random: Stream) =>
  Math.floor(random.nextDoubleUnsafe() < 0.6 ? below(random, 2 * second) : below(random, hour))

const kinds = Object.keys(noFaults) as Array<keyof Rates>

const storm = (options: Options, busy: ReadonlyArray<number>): ReadonlyArray<Weather> =>
  kinds.flatMap((kind) => {
    const random = Seeded.random(options.seed, "weather", kind)
    // What goes wrong does so where something is going on, mostly; what counts steps does so right then.
    const when = () => {
      const dice = random.nextDoubleUnsafe()
      if (busy.length === 0 || dice > 0.75) return Math.floor(below(random, options.days * day))
      const at = pick(random, busy)
      return kind === "kill" && dice < 0.5 ? at : Math.floor(at + random.nextDoubleUnsafe() ** 2 * 8 * second)
    }
    const expected = options.rates[kind] * options.days
    const times = Math.floor(expected) + (random.nextDoubleUnsafe() < expected % 1 ? 1 : 0)
    return Array.from({ length: times }, () => faults[kind](random, when())).flat()
  })

const groupSize = 3

/** The group that a person belongs to, from the first ones on. */
const groupOf = (n: number, groups: number) =>
  n < groupSize * groups ? `group${Math.floor(n / groupSize) + 1}` : undefined

/** Who is in a group: `group1` is that of the first three people. */
export const membersOf = (group: string): ReadonlyArray<string> => {
  const number = Number(/^group([1-9]\d*)$/.exec(group)?.[1])
  if (!Number.isSafeInteger(number)) throw new Error(`There is no group ${group}: they are group1, group2 and so on.`)
  return Array.from({ length: groupSize }, (_, n) => nameOf((number - 1) * groupSize + n))
}

/**
 * A plan by a seed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Plan => {
  const { days, groups = 0, people, seed } = options
  const acts: Array<Act> = []
  for (let n = 0; n < people; n++) {
    const who = nameOf(n)
    const group = groupOf(n, groups)
    acts.push(...plot(Seeded.random(seed, "person", who), options, who, undefined))
    if (group !== undefined) {
      acts.push(
        ...plot(Seeded.random(seed, "member", who), { ...options, visits: options.groupVisits ?? 0.5 }, who, group)
      )
    }
  }
  // To know what the bot says that does not understand.
  if (people > 0) acts.push({ at: second, do: "say", who: nameOf(0), text: nonsense })
  const busy = acts.map(({ at }) => at).toSorted((a, b) => a - b)
  const weather = storm(options, busy)
  // An hour after the last thing that went wrong, and a process was down for, some ask again, to see whether all is well.
  const end = days * day
  const quiet = Math.max(0, ...weather.map(({ at }) => at), end)
  const again = quiet + 2 * hour + 10 * minute
  const visitors = Array.from({ length: Math.min(3, people) }, (_, n) => nameOf(n))
  const epilogue: ReadonlyArray<Event> =
    weather.length === 0
      ? []
      : [
          { at: quiet, do: "heal" },
          ...visitors.map((who): Act => ({ at: again, do: "say", who, text: options.words[0] ?? "hello" }))
        ]
  const events = [...acts, ...weather, ...epilogue].toSorted((a, b) => a.at - b.at)
  return { seed, events, until: Math.max(end, again) }
}

/**
 * Part of a plan, which ends after its last event.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withEvents = (plan: Plan, events: ReadonlyArray<Event>): Plan => {
  const sorted = events.toSorted((a, b) => a.at - b.at)
  return { ...plan, events: sorted, until: (sorted.at(-1)?.at ?? 0) + second }
}

const digits = (n: number, length: number) => String(n).padStart(length, "0")

/** A time of the plan, as it is told. */
export const showTime = (at: number): string => {
  const part = (unit: number, count: number) => Math.floor(at / unit) % count
  const time = [digits(part(hour, 24), 2), digits(part(minute, 60), 2), digits(part(second, 60), 2)].join(":")
  return `day ${Math.floor(at / day) + 1} ${time}.${digits(part(1, 1000), 3)}`
}
