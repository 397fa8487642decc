/**
 * What a program may tell a bot, on one page: addresses, times, schedules and bounds.
 *
 * Guarantee: everything has a default that suits a bot with one owner and any number of people; a value that cannot work is refused
 * when the bot is made, in one sentence with its name.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as BlazeError from "./BlazeError.ts"
import * as Reconnect from "./Reconnect.ts"
import * as Setting from "./internal/Setting.ts"

/**
 * The settings of a bot. Times are durations, counts and bytes whole numbers; `Infinity` takes a bound away.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** The address of the server, or several: when one cannot be reached the next is used, from then on. `wss://blaze.mixin.one/`. */
  readonly url: string | ReadonlyArray<string>
  /** The address of the REST API, or several, as with `url`. `https://api.mixin.one`. */
  readonly apiUrl: string | ReadonlyArray<string>
  /** How long a handshake may take: 10 seconds. */
  readonly handshakeTimeout: Duration.Input
  /** How often the server is pinged: every 10 seconds. Two periods without a sign of life end a connection. */
  readonly pingPeriod: Duration.Input
  /**
   * How long a request may wait for its answer: 5 seconds. An answer travels behind the messages that the server wrote before it: while
   * more than a megabyte comes in within that time, it starts anew, twelve times at most.
   */
  readonly requestTimeout: Duration.Input
  /** When a bot connects again: `Reconnect.jittered(Reconnect.backoff)`, up to 1 second, doubled up to 60, for ever. */
  readonly reconnect: Reconnect.Reconnect
  /** How long a connection has to be up before `reconnect` starts afresh: 60 seconds. */
  readonly stableAfter: Duration.Input
  /**
   * Whether a bot that is refused because of this machine's clock waits for the clock to be set, in place of failing: it tries again
   * once a minute, for as long as the server's time says that the clock is the cause, and tells so each time. For a machine that may
   * start before its clock is set: a small computer without a battery, a virtual machine. `false`.
   */
  readonly awaitClock: boolean
  /** After how many connections in a row that brought nothing new and ended with a bad frame such a frame is passed over: 3. */
  readonly badFrameTolerance: number
  /** How many bytes one frame may inflate to: 16 MiB. */
  readonly maximumFrameSize: number
  /** How many messages may wait for the handlers before reading pauses: 1 000. */
  readonly inboxMessages: number
  /** How many bytes of messages may wait for the handlers before reading pauses: 8 MiB. */
  readonly inboxBytes: number
  /**
   * How many bytes of messages are kept, compressed as they came, while the inbox is full and a request is out: 64 MiB. Beyond it
   * messages are left to the server, which is asked for them again when there is room.
   */
  readonly overflowBytes: number
  /**
   * How many messages may be handed out and not settled before no further one is taken from the inbox: 50 000. A warning in the log says
   * so. What is taken in one go, `inboxMessages` at the most, may go beyond it.
   */
  readonly maximumOpen: number
  /**
   * Whether a handler is told of a recall that took its message back, because that waited or was put aside: `true`. With `false` the
   * recall is acknowledged with it. A recall of what was handled always reaches the handler.
   */
  readonly tellOfRecalls: boolean
  /** How many messages are remembered as given up: 1 000. Beyond it the oldest is acknowledged, and an error in the log says so. */
  readonly maximumGivenUp: number
  /** How many ids of handled messages are remembered: 100 000, or those of `rememberedFor`, whichever are fewer. */
  readonly rememberedMessages: number
  /** For how long an id is remembered: 7 days. After that the server itself forgets an unacknowledged message. */
  readonly rememberedFor: Duration.Input
  /** How many values of a `State` are remembered in memory: 100 000. A store in a database has no bound. */
  readonly rememberedStates: number
  /** How many UTF-16 code units a value of a `State` may have as JSON: 65 536. */
  readonly maximumStateSize: number
  /** How many messages that are stored to be sent may wait: 1 000 000. Who stores more waits until there is room. */
  readonly outboxMessages: number
  /**
   * When a deferred message is offered again: after 30 seconds, doubled up to an hour, 30 times, which takes a day. A message whose
   * schedule has come to its end is given up.
   */
  readonly defer: Schedule.Schedule<unknown>
  /** How many deferred messages are kept: 10 000. */
  readonly deferredMessages: number
  /** How many bytes of deferred messages are kept: 16 MiB. */
  readonly deferredBytes: number
  /** At how many acknowledgements a batch leaves: 100, and never more than the transport takes. */
  readonly acknowledgeBatch: number
  /** How long after its first acknowledgement a batch leaves at the latest: 1 second. */
  readonly acknowledgeWithin: Duration.Input
  /** When a batch that failed is sent again: after 500 ms, doubled up to 30 seconds. There is no last time. */
  readonly acknowledgeRetry: Schedule.Schedule<unknown>
  /**
   * How long the last acknowledgements may take when a bot ends: 10 seconds. With zero every batch is still tried once after the end has
   * begun.
   */
  readonly flushTimeout: Duration.Input
  /** When a send that may be tried again is: full jitter up to 250 ms, doubled up to 10 seconds, ten times. */
  readonly sendRetry: Schedule.Schedule<unknown>
  /**
   * How many messages a bot may send in one `quotaWindow`, as a token bucket: 9 000. A bucket of 9 000 that fills in 6 seconds lets at
   * most 99 000 through in any 60: the burst and 54 seconds' worth. A window of 100 000 a minute would let up to 200 000 through around
   * its edge.
   */
  readonly quotaMessages: number
  /** The time in which the quota fills: 6 seconds. */
  readonly quotaWindow: Duration.Input
  /** The share of the quota that only answers may use: a fifth. */
  readonly answerShare: number
  /** How long an upload or a download may stand still: 30 seconds. */
  readonly transferTimeout: Duration.Input
  /** How many bytes a download may have: 256 MiB. */
  readonly maximumDownload: number
  /** How many bytes a file of an encrypted message may have, which is in memory while it is worked on: 64 MiB. */
  readonly maximumEncryptedFile: number
  /**
   * What goes encrypted: answers to what came encrypted (`InKind`), everything that Mixin encrypts (`Always`: texts, files and so on, but no
   * buttons and cards), or nothing (`Never`).
   */
  readonly encryption: "InKind" | "Always" | "Never"
  /** Whether what should go encrypted and cannot, since somebody's app has no key, fails: `true`. With `false` it goes in plain. */
  readonly encryptionRequired: boolean
  /** How many UTF-16 code units a text may have: 65 536. Source: the limit of Mixin's own apps. */
  readonly maximumTextLength: number
  /** How many buttons a group or a card may have: 18. Source: the official Go client; an older page says 6. */
  readonly maximumButtons: number
  /** How many UTF-16 code units a button's label may have: 36. Source: the official documentation. */
  readonly maximumLabelLength: number
  /** How many UTF-16 code units a card's title may have: 128. Source: the official Android app; the documentation says 36. */
  readonly maximumTitleLength: number
  /** How many UTF-16 code units a card's description may have: 1 024. Source: the official documentation. */
  readonly maximumDescriptionLength: number
  /** How long `drain` waits until nothing is open: 30 seconds. What is not settled then is logged by id. */
  readonly drainTimeout: Duration.Input
}

const mebibyte = 1024 * 1024

/**
 * What holds where nothing else is said.
 *
 * @category settings
 * @since 0.1.0
 */
export const defaults: Settings = {
  url: "wss://blaze.mixin.one/",
  apiUrl: "https://api.mixin.one",
  handshakeTimeout: "10 seconds",
  pingPeriod: "10 seconds",
  requestTimeout: "5 seconds",
  reconnect: Reconnect.jittered(Reconnect.backoff),
  stableAfter: "60 seconds",
  awaitClock: false,
  badFrameTolerance: 3,
  maximumFrameSize: 16 * mebibyte,
  inboxMessages: 1000,
  inboxBytes: 8 * mebibyte,
  overflowBytes: 64 * mebibyte,
  maximumOpen: 50_000,
  tellOfRecalls: true,
  maximumGivenUp: 1000,
  rememberedMessages: 100_000,
  rememberedFor: "7 days",
  rememberedStates: 100_000,
  maximumStateSize: 65_536,
  outboxMessages: 1_000_000,
  defer: Schedule.min([Schedule.exponential("30 seconds"), Schedule.spaced("1 hour")]).pipe(
    Schedule.upTo({ times: 30 })
  ),
  deferredMessages: 10_000,
  deferredBytes: 16 * mebibyte,
  acknowledgeBatch: 100,
  acknowledgeWithin: "1 second",
  acknowledgeRetry: Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("30 seconds")]),
  flushTimeout: "10 seconds",
  sendRetry: Reconnect.jittered(Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("10 seconds")])).pipe(
    Schedule.upTo({ times: 10 })
  ),
  quotaMessages: 9000,
  quotaWindow: "6 seconds",
  answerShare: 0.2,
  transferTimeout: "30 seconds",
  maximumDownload: 256 * mebibyte,
  maximumEncryptedFile: 64 * mebibyte,
  encryption: "InKind",
  encryptionRequired: true,
  maximumTextLength: 65_536,
  maximumButtons: 18,
  maximumLabelLength: 36,
  maximumTitleLength: 128,
  maximumDescriptionLength: 1024,
  drainTimeout: "30 seconds"
}

const keys = <Name extends string>(record: Readonly<Partial<Record<Name, unknown>>>) =>
  Object.keys(record) as Array<Name>

// One for each, so that what is said in two places holds together.
const references = Object.fromEntries(
  keys(defaults).map((name) => [
    name,
    Context.Reference<Settings[typeof name]>(`effect-blaze/Settings/${name}`, { defaultValue: () => defaults[name] })
  ])
) as { readonly [Name in keyof Settings]: Context.Reference<Settings[Name]> }

/**
 * The settings in force, as they were given.
 *
 * @category accessors
 * @since 0.1.0
 */
export const current: Effect.Effect<Settings> = Effect.map(Effect.context<never>(), (context) => {
  const valueOf = <Name extends keyof Settings>(name: Name): Settings[Name] => Context.get(context, references[name])
  return Object.fromEntries(keys(references).map((name) => [name, valueOf(name)])) as unknown as Settings
})

/**
 * Some settings; the others stay as they are.
 *
 * **Example** (A bot on a small machine)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Settings } from "effect-blaze"
 * import { NodeBlaze } from "effect-blaze/node"
 *
 * const small = NodeBlaze.layerConfig.pipe(
 *   Layer.provide(Settings.layer({ inboxMessages: 100, rememberedMessages: 10_000, pingPeriod: "30 seconds" }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (settings: Partial<Settings>): Layer.Layer<never> =>
  Layer.succeedContext(
    keys(settings)
      .filter((name) => settings[name] !== undefined)
      .reduce(
        (context, name) => Context.add(context, references[name] as Context.Reference<unknown>, settings[name]),
        // What was looked at before these were given is no more in force.
        Context.make(Known, undefined) as Context.Context<never>
      )
  )

const addresses = (name: string) =>
  Config.map(Config.String(name), (text) => text.split(",").map((address) => address.trim()))

const encryptions = ["InKind", "Always", "Never"] as const

/** The settings that have a form in text; schedules have none. */
const configs = {
  url: addresses,
  apiUrl: addresses,
  handshakeTimeout: Config.Duration,
  pingPeriod: Config.Duration,
  requestTimeout: Config.Duration,
  stableAfter: Config.Duration,
  awaitClock: Config.Boolean,
  badFrameTolerance: Config.Number,
  maximumFrameSize: Config.Number,
  inboxMessages: Config.Number,
  inboxBytes: Config.Number,
  overflowBytes: Config.Number,
  maximumOpen: Config.Number,
  tellOfRecalls: Config.Boolean,
  maximumGivenUp: Config.Number,
  rememberedMessages: Config.Number,
  rememberedFor: Config.Duration,
  rememberedStates: Config.Number,
  maximumStateSize: Config.Number,
  outboxMessages: Config.Number,
  deferredMessages: Config.Number,
  deferredBytes: Config.Number,
  acknowledgeBatch: Config.Number,
  acknowledgeWithin: Config.Duration,
  flushTimeout: Config.Duration,
  quotaMessages: Config.Number,
  quotaWindow: Config.Duration,
  answerShare: Config.Number,
  transferTimeout: Config.Duration,
  maximumDownload: Config.Number,
  maximumEncryptedFile: Config.Number,
  encryption: (name: string) => Config.Literals(encryptions, name),
  encryptionRequired: Config.Boolean,
  maximumTextLength: Config.Number,
  maximumButtons: Config.Number,
  maximumLabelLength: Config.Number,
  maximumTitleLength: Config.Number,
  maximumDescriptionLength: Config.Number,
  drainTimeout: Config.Duration
} satisfies { readonly [Name in keyof Settings]?: (name: string) => Config.Config<unknown> }

const variableOf = (name: string) => `BLAZE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

const fromVariable = Effect.fnUntraced(function* ([name, config]: readonly [
  string,
  (name: string) => Config.Config<unknown>
]) {
  const variable = variableOf(name)
  // A variable that is set to nothing is as good as none.
  const isSet = Option.isSome(yield* Effect.option(Config.NonEmptyString(variable)))
  if (!isSet) return {}
  const value = yield* Effect.mapError(config(variable), () =>
    BlazeError.make(
      new BlazeError.InvalidSetting({ setting: "option", field: variable, expected: "of the form that the docs name" })
    )
  )
  return { [name]: value }
})

/**
 * The settings that the environment names, over those of the program: `BLAZE_PING_PERIOD="30 seconds"` for `pingPeriod`, and so on,
 * for all but the schedules. Several addresses stand with commas between them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<never, BlazeError.BlazeError> = Layer.unwrap(
  Effect.map(Effect.forEach(Object.entries(configs), fromVariable), (given) => layer(Object.assign({}, ...given)))
)

const counts = {
  badFrameTolerance: 0,
  maximumFrameSize: 1,
  inboxMessages: 1,
  inboxBytes: 1,
  overflowBytes: 0,
  maximumOpen: 1,
  maximumGivenUp: 0,
  rememberedMessages: 0,
  rememberedStates: 0,
  maximumStateSize: 1,
  outboxMessages: 1,
  deferredMessages: 0,
  deferredBytes: 0,
  acknowledgeBatch: 1,
  quotaMessages: 1,
  maximumDownload: 1,
  maximumEncryptedFile: 1,
  maximumTextLength: 1,
  maximumButtons: 1,
  maximumLabelLength: 1,
  maximumTitleLength: 1,
  maximumDescriptionLength: 1
} as const

const times = {
  handshakeTimeout: "positive",
  pingPeriod: "positive",
  requestTimeout: "positive",
  stableAfter: "zero or more",
  rememberedFor: "positive",
  acknowledgeWithin: "zero or more",
  flushTimeout: "zero or more",
  quotaWindow: "positive",
  transferTimeout: "positive",
  drainTimeout: "zero or more"
} as const

type Time = keyof typeof times

/**
 * Settings that can work, their times as durations.
 *
 * @category models
 * @since 0.1.0
 */
export type Checked = Omit<Settings, Time> & { readonly [Name in Time]: Duration.Duration }

const Known = Context.Reference<Checked | undefined>("effect-blaze/Settings/Known", {
  defaultValue: () => undefined
})

const check: Effect.Effect<Checked, BlazeError.BlazeError> = Effect.gen(function* () {
  const given = yield* current
  for (const name of keys(counts)) yield* Setting.count(`Settings.${name}`, given[name], counts[name])
  yield* Setting.share("Settings.answerShare", given.answerShare)
  yield* Setting.oneOf("Settings.encryption", given.encryption, encryptions)
  const durations: Partial<Record<Time, Duration.Duration>> = {}
  for (const name of keys(times)) {
    durations[name] = yield* Setting.duration(`Settings.${name}`, given[name], times[name])
  }
  return { ...given, ...(durations as Record<Time, Duration.Duration>) }
})

/**
 * The settings in force, looked at: for a layer of one's own that has to do with them. Fails with `InvalidSetting`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const checked: Effect.Effect<Checked, BlazeError.BlazeError> = Effect.flatMap(Known, (known) =>
  known === undefined ? check : Effect.succeed(known)
)

/**
 * Has the settings looked at once for all the parts of a layer that ask for them.
 *
 * @category layers
 * @since 0.1.0
 */
export const checkedOnce = <A, E, R>(self: Layer.Layer<A, E, R>): Layer.Layer<A, E | BlazeError.BlazeError, R> =>
  Layer.provide(self, Layer.effect(Known, check))
