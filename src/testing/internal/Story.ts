/**
 * What happens to a bot, told as a test, and who is in it.
 *
 * Guarantee: a plan that is told and one that is run do the same, event by event, at the same times.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as BlazeServer from "../BlazeServer.ts"
import * as Plan from "../Plan.ts"
import type * as Simulation from "../Simulation.ts"

const literal = (text: string) => {
  const letters = [...text]
  return letters.length > 20 && new Set(letters).size === 1
    ? `${JSON.stringify(letters[0])}.repeat(${letters.length})`
    : JSON.stringify(text)
}

const units = [
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000]
] as const

const duration = (millis: number) => {
  const unit = units.find(([, size]) => millis !== 0 && millis % size === 0)
  if (unit === undefined) return `"${millis} millis"`
  const count = millis / unit[1]
  return `"${count} ${unit[0]}${Math.abs(count) === 1 ? "" : "s"}"`
}

const value = (data: object) =>
  JSON.stringify(data)
    .replaceAll(/"(\w+)":/g, " $1: ")
    .replaceAll("}", " }")
    .trim()

const isFirstName = (who: string) => Plan.firstNames.some((name) => name === who)
const receiver = (who: string) => (isFirstName(who) ? who : `person(${JSON.stringify(who)})`)

const line = (event: Plan.Event): string => {
  switch (event.do) {
    case "say":
      return `${receiver(event.who)}.say(${literal(event.text)}${event.where === undefined ? "" : `, ${JSON.stringify(event.where)}`})`
    case "press":
      return `${receiver(event.who)}.press(${event.nth})`
    case "read":
      return `${receiver(event.who)}.reads`
    case "inject":
      return `world.inject(${value(event.fault)})`
    case "heal":
      return "world.heal"
    case "cut":
      return "world.cut"
    case "close":
      return `world.close(${event.code})`
    case "halfOpen":
      return "world.halfOpen"
    case "garbage":
      return "world.garbage"
    case "serverClock":
      return `world.setServerClock(${duration(event.by)})`
    case "botClock":
      return `world.setClock(${duration(event.by)})`
    case "kill": {
      const steps = event.steps === 0 ? [] : [`steps: ${event.steps}`]
      const down = event.down === 0 ? [] : [`down: ${duration(event.down)}`]
      const both = [...steps, ...down]
      return `world.kill(${both.length === 0 ? "" : `{ ${both.join(", ")} }`})`
    }
    case "restart":
      return `world.restart(${event.down === 0 ? "" : `{ down: ${duration(event.down)} }`})`
  }
}

/**
 * A plan as a test.
 *
 * @category telling
 * @since 0.1.0
 */
export const print = (plan: Plan.Plan, expectation: string): string => {
  const lines: Array<string> = []
  let now = 0
  for (const event of plan.events) {
    if (event.at > now) lines.push(`world.pass(${duration(event.at - now)})`)
    now = event.at
    lines.push(line(event))
  }
  const used = [...Plan.firstNames, "person", "world"].filter((name) =>
    lines.some((text) => text.match(/^\w+/)?.[0] === name)
  )
  return [
    `it.live(${JSON.stringify(expectation)}, () =>`,
    `  BlazeTest.replay(bot, { ...options, seed: ${plan.seed}, expectation: ${JSON.stringify(expectation)} }, function* (${used.length === 0 ? "" : `{ ${used.join(", ")} }`}) {`,
    ...lines.map((text) => `    yield* ${text}`),
    "  })",
    ")"
  ].join("\n")
}

/**
 * Somebody in a story.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stranger {
  /** Writes to the bot, or in a group: `group1` is that of the first three people, and so on. */
  readonly say: (text: string, group?: string) => Effect.Effect<void>
  /** Presses the n-th of the buttons that the bot last sent, from 0 on and round again. */
  readonly press: (nth: number) => Effect.Effect<void>
  /** Everything that the bot has written to him so far, which is read thereby. */
  readonly reads: Effect.Effect<ReadonlyArray<string>>
}

/**
 * What happens to everybody in a story. Where the bot is looked at in calm weather, nothing of it happens but `pass`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Weather {
  /** Lets time pass. */
  readonly pass: (duration: Duration.Input) => Effect.Effect<void>
  /** The process ends where it stands, or after so many more steps of its scheduler, and begins again when `down` is over (at once). */
  readonly kill: (options?: {
    readonly steps?: number | undefined
    readonly down?: Duration.Input | undefined
  }) => Effect.Effect<void>
  /** The process is asked to end, as by Ctrl-C, and begins again when `down` is over (at once). */
  readonly restart: (options?: { readonly down?: Duration.Input | undefined }) => Effect.Effect<void>
  /** Sets the wall clock of the bot's machine apart from that of the world. */
  readonly setClock: (offset: Duration.Input) => Effect.Effect<void>
  readonly setServerClock: (offset: Duration.Input) => Effect.Effect<void>
  /** Ends every connection without a close frame. */
  readonly cut: Effect.Effect<void>
  /** Ends every connection with one. */
  readonly close: (code: number) => Effect.Effect<void>
  /** Has every connection carry nothing any more, while both sides hold it for open. */
  readonly halfOpen: Effect.Effect<void>
  /** Sends a frame that is no gzip. */
  readonly garbage: Effect.Effect<void>
  readonly inject: (fault: BlazeServer.Fault) => Effect.Effect<void>
  /** Takes back what was injected and has not gone wrong yet. */
  readonly heal: Effect.Effect<void>
}

/**
 * Who is in a story: everybody who has one of the first names, and whoever is asked for.
 *
 * @category models
 * @since 0.1.0
 */
export type Cast = { readonly [Name in Plan.FirstName]: Stranger } & {
  readonly world: Weather
  readonly person: (name: string) => Stranger
}

const millis = (input: Duration.Input | undefined) => (input === undefined ? 0 : Duration.toMillis(input))

/**
 * The cast of a simulation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const castOf = (stage: Simulation.Stage): Cast => {
  // Its time is now: what is to happen has no time of its own in a story.
  const perform = (event: Plan.Event) => stage.perform(event)
  const at = 0
  const person = (who: string): Stranger => ({
    say: (text, where) => perform({ at, do: "say", who, where, text }),
    press: (nth) => perform({ at, do: "press", who, nth }),
    reads: Effect.andThen(
      perform({ at, do: "read", who }),
      Effect.suspend(() => stage.person(who).reads)
    )
  })
  const world: Weather = {
    pass: stage.pass,
    kill: (options) => perform({ at, do: "kill", steps: options?.steps ?? 0, down: millis(options?.down) }),
    restart: (options) => perform({ at, do: "restart", down: millis(options?.down) }),
    setClock: (offset) => perform({ at, do: "botClock", by: millis(offset) }),
    setServerClock: (offset) => perform({ at, do: "serverClock", by: millis(offset) }),
    cut: perform({ at, do: "cut" }),
    close: (code) => perform({ at, do: "close", code }),
    halfOpen: perform({ at, do: "halfOpen" }),
    garbage: perform({ at, do: "garbage" }),
    inject: (fault) => perform({ at, do: "inject", fault }),
    heal: perform({ at, do: "heal" })
  }
  const people = Object.fromEntries(Plan.firstNames.map((name) => [name, person(name)]))
  return { ...people, person, world } as unknown as Cast
}
