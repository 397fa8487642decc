/**
 * What most people use: a handler, or one per kind of message, run over everything the bot receives.
 *
 * Guarantee: success acknowledges; a failure is tried again, and then deferred, or given up when no try can change it: nothing is dropped
 * that nobody said to drop; one conversation is worked on in order, many at the same time; each try has one fiber, and what it forks as a
 * child ends with it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Blaze from "./Blaze.ts"
import type * as BlazeError from "./BlazeError.ts"
import * as Delivery from "./Delivery.ts"
import * as Handling from "./internal/Handling.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import * as Ids from "./Ids.ts"
import * as Keyed from "./Keyed.ts"
import type * as Message from "./Message.ts"
import * as Setting from "./internal/Setting.ts"
import * as Signal from "./internal/Signal.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Meter from "./internal/Meter.ts"
import * as Underway from "./internal/Underway.ts"

/**
 * What is done with a message. What it gives is ignored, but for `Delivery.Defer`, which leaves the message unacknowledged.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<E = never, R = never> = (delivery: Delivery.Delivery) => Effect.Effect<unknown, E, R>

type Kinds = { readonly [M in Message.Message as M["_tag"]]: M }

type Cases = {
  readonly [Tag in keyof Kinds]?: (delivery: Delivery.Delivery<Kinds[Tag]>) => Effect.Effect<unknown, unknown, unknown>
} & { readonly orElse?: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown, unknown> }

/** The kinds there are, for whoever has written another one to read. */
type KindNames =
  "Text, Post, Image, Video, Audio, File, Live, Transcript, Sticker, Contact, Location, Buttons, Card, Snapshot, GroupEvent, Recall, Pin, Unknown"

type NoKind<Kind extends string> = `"${Kind}" is no kind of message. There are ${KindNames}, and orElse for the rest.`

/** The kinds that there is a case for, whatever comes. */
type Handled<C> = {
  [Kind in keyof Kinds]: C extends { readonly [K in Kind]: unknown } ? Kind : never
}[keyof Kinds]

/** What cases without `orElse` are told: which kinds they leave out. */
type Complete<C> = "orElse" extends keyof C
  ? unknown
  : [Exclude<keyof Kinds, Handled<C>>] extends [never]
    ? unknown
    : WithoutCasesFor<Exclude<keyof Kinds, Handled<C>>>

interface WithoutCasesFor<Kind> {
  readonly orElse: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown, unknown>
  readonly kinds?: Kind
}

type Returned<C> = { [K in keyof C]: C[K] extends (...args: never) => infer R ? R : never }[keyof C]

/**
 * A handler from one handler per kind of message, each with a delivery of its kind; `orElse` gets the rest of what people say, and is
 * needed unless there is a case for every kind.
 *
 * **Details**
 *
 * Notices of the system, recalls, pins and the traffic of people's devices are acknowledged when they have no case of their own: they are
 * nothing to answer. What people say and nobody reads, because it is encrypted or of an unknown category, goes to `orElse` and is told in
 * the log, once a minute for each category. `blaze_unread_messages_total` counts both.
 *
 * **Example** (An echo)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Outgoing } from "effect-blaze"
 *
 * const echo = Bot.match({
 *   Text: (delivery) => delivery.reply(delivery.message.text),
 *   Contact: (delivery) => delivery.reply(Outgoing.contact(delivery.message.userId)),
 *   orElse: () => Effect.void
 * })
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const match =
  <const C extends Cases>(
    cases: C & { readonly [Kind in Exclude<keyof C, keyof Cases>]: NoKind<Kind & string> } & Complete<C>
  ): Handler<Effect.Error<Returned<C>>, Effect.Services<Returned<C>>> =>
  (delivery) => {
    type Result = Effect.Effect<unknown, Effect.Error<Returned<C>>, Effect.Services<Returned<C>>>
    const { _tag, isSaid } = delivery.message
    const own = cases[_tag] as ((delivery: Delivery.Delivery) => Result) | undefined
    if (own !== undefined) return Handling.call(own, delivery)
    if (!isSaid) return Handling.unread(delivery)
    const orElse = Handling.call(cases.orElse!, delivery) as Result
    return _tag === "Unknown" ? Effect.andThen(Handling.unread(delivery), orElse) : orElse
  }

/**
 * How a handler is run. What is left out has a default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E, R> {
  /** How many messages are worked on at once: 64. */
  readonly concurrency?: number | undefined
  /** How many messages, and how many bytes of them, are in hand: 10 000, 32 MiB. A conversation's backlog within it delays no other. */
  readonly inFlight?: { readonly messages: number; readonly bytes: number } | undefined
  /** How long one try may take; no limit by default. A try that runs into it fails with a `TimeoutError`. */
  readonly timeout?: Duration.Input | undefined
  /**
   * When a handler that failed is tried again, while its message holds its conversation: after 1 and after 2 seconds. A failure that no
   * further try can change (`Delivery.isFinal`) is not tried again.
   */
  readonly retry?: Schedule.Schedule<unknown, E | Cause.TimeoutError> | undefined
  /**
   * What becomes of a message whose tries have all failed: it is logged and deferred, or given up when no further try can change the
   * failure. A dead-letter store says `Ack`.
   */
  readonly onFailure?:
    | ((
        delivery: Delivery.Delivery,
        cause: Cause.Cause<E | Cause.TimeoutError>
      ) => Effect.Effect<Delivery.Outcome, never, R>)
    | undefined
}

const defaults = {
  concurrency: 64,
  inFlight: { messages: 10_000, bytes: 32 * 1024 * 1024 },
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 })),
  onFailure: (delivery: Delivery.Delivery, cause: Cause.Cause<unknown>): Effect.Effect<Delivery.Outcome> =>
    Delivery.isFinal(cause)
      ? Effect.succeed(Delivery.GiveUp)
      : Effect.as(
          Effect.logError(`The handler failed; message ${delivery.message.id} is deferred.`, cause),
          Delivery.Defer
        )
} as const

const outcomeLabels = { Ack: "acknowledged", Defer: "deferred", GiveUp: "given_up" } as const

/** After how long a running handler is warned about, in milliseconds. */
const slowAfter = 60_000

/** How many handlers that were interrupted are remembered for the log. */
const maximumInterrupted = 1000

/** A message whose handler runs. */
interface Running {
  readonly delivery: Delivery.Delivery
  /** Its place among them, from the first try until it is settled. */
  entry: Underway.Entry<Running> | undefined
  /** What runs this try, and when it has to be over. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  deadline: number
  /** This try ran into its deadline. */
  expired: boolean
}

/** A message on its way through its tries. */
interface Handling<E> extends Running {
  /** The pauses before its next tries, once one has failed. */
  pauses: ((error: E | Cause.TimeoutError) => Effect.Effect<Option.Option<Duration.Duration>>) | undefined
  /** Why its tries have come to their end. */
  failure: Cause.Cause<E | Cause.TimeoutError> | undefined
  stage: "trying" | "deciding" | "settling"
  /** How often what it was to write was based on what had changed. */
  conflicts: number
  /** That is so of its last run, and it is held still. */
  isOvertaken: boolean
}

// One sweeper for all handlers: a timer for each would cost more than the rest of the library.
const makeSweeper = Effect.fnUntraced(function* (
  meter: Meter.Meter["Service"],
  timeout: Duration.Duration | undefined
) {
  const { metrics } = Telemetry
  const running = Underway.make<Running>()
  const period = timeout === undefined ? 1000 : Math.max(1, Math.min(1000, Duration.toMillis(timeout) / 10))

  const sweep = Effect.gen(function* () {
    const now = meter.now()
    const oldest = running.oldest()
    meter.measure(metrics.handlersRunning, running.size())
    meter.measure(metrics.oldestHandler, oldest === undefined ? 0 : (now - oldest.since) / 1000)
    const slow: Array<Ids.MessageId> = []
    for (const entry of running.entries()) {
      const handling = entry.value!
      if (now >= handling.deadline) {
        handling.deadline = Infinity
        handling.expired = true
        handling.fiber?.interruptUnsafe()
      }
      if (!entry.warned && now - entry.since >= slowAfter) {
        entry.warned = true
        slow.push(handling.delivery.message.id)
      }
    }
    if (slow.length > 0) {
      yield* Effect.logWarning(
        `The handlers of ${slow.length} messages have been running for a minute, and hold their conversations: ${Ids.list(slow)}.`
      )
    }
  })
  // While nothing runs there is nothing to look at, and an idle bot costs no timer.
  const signal = Signal.make()
  const busy = signal.until(() => running.size() > 0)
  yield* Effect.andThen(busy, sweep.pipe(Effect.delay(period))).pipe(Effect.forever, Effect.forkScoped)
  return {
    ...running,
    begin: (handling: Running) => {
      handling.entry = running.begin(handling, meter.now())
      signal.notify()
    }
  }
})

type Settling<E, R> = Effect.Effect<unknown, E | Cause.TimeoutError, R>

interface Settings<E, R> {
  readonly concurrency: number
  readonly inFlight: { readonly messages: number; readonly bytes: number }
  readonly timeout: Duration.Duration | undefined
  readonly retry: Schedule.Schedule<unknown, E | Cause.TimeoutError>
  readonly onFailure: NonNullable<Options<E, R>["onFailure"]>
}

const check = Effect.fnUntraced(function* <E, R>(
  options: Options<E, R>
): Effect.fn.Return<Settings<E, R>, BlazeError.BlazeError> {
  const concurrency = yield* Setting.count("concurrency", options.concurrency ?? defaults.concurrency)
  const inFlight = options.inFlight ?? defaults.inFlight
  yield* Setting.count("inFlight.messages", inFlight.messages)
  yield* Setting.count("inFlight.bytes", inFlight.bytes)
  yield* Setting.duration("Keyed.Grace", yield* Keyed.Grace, "zero or more")
  const timeout =
    options.timeout === undefined ? undefined : yield* Setting.duration("timeout", options.timeout, "positive")
  const { onFailure = defaults.onFailure, retry = defaults.retry } = options
  return { concurrency, inFlight, timeout, retry, onFailure }
})

/** The tries of a message, and what comes after the last of them. */
const makeTries = <E, R, R2>(
  handler: Handler<E, R>,
  { onFailure, retry, timeout }: Settings<E, R2>,
  traced: boolean,
  now: () => number
) => {
  const timeoutMillis = timeout === undefined ? Infinity : Duration.toMillis(timeout)

  const attempt = (handling: Handling<E>): Effect.Effect<unknown, E, R> =>
    timeout === undefined
      ? Handling.observe(handling.delivery, Handling.call(handler, handling.delivery))
      : Effect.withFiber((fiber) => {
          handling.fiber = fiber
          handling.deadline = now() + timeoutMillis
          return Handling.observe(handling.delivery, Handling.call(handler, handling.delivery))
        })

  const spanned = (handling: Handling<E>) =>
    Meter.withSpan(
      Effect.suspend(() => attempt(handling)),
      Telemetry.span.handle,
      { messageId: handling.delivery.message.id }
    )
  const first = traced ? spanned : attempt

  // As Effect.retry, but for defects and interruptions of the handler too.
  const after = Effect.fnUntraced(function* (
    handling: Handling<E>,
    cause: Cause.Cause<E | Cause.TimeoutError>
  ): Effect.fn.Return<unknown, E | Cause.TimeoutError, R | R2> {
    Handling.forgetRun(handling.delivery)
    if (!Delivery.isFinal(cause)) {
      handling.pauses ??= yield* Elapsed.delays(retry)
      const error = Option.getOrUndefined(Cause.findErrorOption(cause)) as E | Cause.TimeoutError
      const pause = yield* handling.pauses(error)
      if (Option.isSome(pause)) {
        yield* Effect.sleep(pause.value)
        // It may have been taken back meanwhile, which is all that there is to do.
        return Handling.skips(handling.delivery) ? undefined : yield* first(handling)
      }
    }
    handling.stage = "deciding"
    handling.failure = cause
    return yield* Handling.call((delivery) => onFailure(delivery, cause), handling.delivery)
  })

  return { first, after }
}

/** What becomes of a message, held still, whose handler has decided on what has changed. Whoever came first has what he wrote. */
const overtaken = <E, R>(
  handling: Handling<E>,
  isOver: boolean,
  again: (handling: Handling<E>) => Settling<E, R>
): Settling<E, R> => {
  const { delivery } = handling
  Handling.overtake(delivery)
  handling.isOvertaken = false
  handling.failure = undefined
  if (isOver) return Handling.settleUnsafe(delivery, Exit.interrupt())
  const pause = Handling.pauseAfter(++handling.conflicts)
  if (Option.isSome(pause)) {
    handling.stage = "trying"
    return Effect.andThen(
      pause.value,
      Effect.suspend(() => again(handling))
    )
  }
  return Effect.andThen(
    Handling.overtaken([delivery]),
    Effect.suspend(() => Handling.settleUnsafe(delivery, Exit.succeed(Delivery.Defer)))
  )
}

/** Tells at the end whose handlers did not finish. */
const makeInterrupted = Effect.fnUntraced(function* (meter: Meter.Meter["Service"]) {
  const interrupted: Array<Ids.MessageId> = []
  yield* Effect.addFinalizer(() => {
    meter.measure(Telemetry.metrics.handlersRunning, 0)
    meter.measure(Telemetry.metrics.oldestHandler, 0)
    return interrupted.length === 0
      ? Effect.void
      : Effect.logWarning(
          `These handlers did not finish in time and were interrupted; their messages will come back: ${Ids.list(interrupted)}`
        )
  })
  return (id: Ids.MessageId) => {
    if (interrupted.length < maximumInterrupted) interrupted.push(id)
  }
})

/** What begins with a message, and what follows from each end. */
const makeCourse = Effect.fnUntraced(function* <E, R, R2>(
  handler: Handler<E, R>,
  settings: Settings<E, R2>,
  userId: Ids.UserId
) {
  const meter = yield* Meter.make(userId)
  const tries = makeTries(handler, settings, yield* Telemetry.Traced, meter.now)
  const interrupted = yield* makeInterrupted(meter)
  const running = yield* makeSweeper(meter, settings.timeout)

  // It may have been taken back since it was handed out, or since its last run.
  const attempt = (handling: Handling<E>): Settling<E, R | R2> => {
    if (Handling.skips(handling.delivery)) {
      handling.stage = "settling"
      return Handling.settleUnsafe(handling.delivery, Exit.void)
    }
    running.begin(handling)
    return tries.first(handling)
  }

  const begin = (handling: Handling<E>): Settling<E, R | R2> => {
    Handling.begin(handling.delivery)
    return attempt(handling)
  }

  const finish = (handling: Handling<E>, exit: Exit.Exit<unknown, unknown>): Settling<E, R | R2> => {
    const { delivery, failure } = handling
    const entry = handling.entry!
    handling.stage = "settling"
    running.end(entry)
    const outcome = Exit.isFailure(exit) ? "interrupted" : outcomeLabels[Handling.outcomeOf(exit.value)]
    meter.measure(Telemetry.metrics.handlerTime, (meter.now() - entry.since) / 1000, outcome)
    const settled = Handling.settleUnsafe(
      delivery,
      exit,
      outcome === "given_up" && failure ? Handling.reasonOf(failure) : undefined
    )
    if (settled === Exit.void) return settled
    // An interruption that has waited for this takes what it gives: the message would stay held.
    return Effect.uninterruptible(
      Effect.map(settled, (claim) => {
        handling.isOvertaken = claim === "Changed"
      })
    )
  }

  // Seen from outside the handler's fiber: there are ends of a fiber that pass whatever it has put around itself.
  const next = (
    handling: Handling<E>,
    exit: Exit.Exit<unknown, E | Cause.TimeoutError>,
    isOver: boolean
  ): Exit.Exit<void> | Settling<E, R | R2> => {
    const { delivery, expired, stage } = handling
    handling.fiber = undefined
    handling.deadline = Infinity
    handling.expired = false
    if (stage === "settling") {
      return handling.isOvertaken ? overtaken(handling, isOver, attempt) : Exit.void
    }
    if (Exit.isSuccess(exit)) return finish(handling, exit)
    if (isOver) {
      interrupted(delivery.message.id)
      return finish(handling, Exit.interrupt())
    }
    if (stage === "trying") {
      return tries.after(
        handling,
        expired ? Cause.fail(new Cause.TimeoutError("the handler took too long")) : exit.cause
      )
    }
    return Effect.as(
      Effect.logError(`onFailure failed for message ${delivery.message.id}; it is deferred.`, exit.cause),
      Delivery.Defer
    )
  }

  return { begin, next }
})

/**
 * Runs a handler over every message until the server refuses the bot, which is the only way it fails.
 *
 * **Details**
 *
 * A handler that fails, dies or is interrupted is tried again by `retry`; then `onFailure` decides. Interrupted (by Ctrl-C, say) the bot
 * takes no further message and lets the running handlers finish, for up to `Keyed.Grace`.
 *
 * **Example** (A dead-letter store)
 *
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Bot, Delivery } from "effect-blaze"
 *
 * const program = (failures: Ref.Ref<ReadonlyArray<string>>) =>
 *   Bot.run(() => Effect.fail("no stock"), {
 *     timeout: "30 seconds",
 *     onFailure: (delivery) =>
 *       Ref.update(failures, (ids) => [...ids, delivery.message.id]).pipe(Effect.as(Delivery.Ack))
 *   })
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function* <E, R, R2 = never>(
  handler: Handler<E, R>,
  options: Options<E, R2> = {}
): Effect.fn.Return<void, BlazeError.BlazeError, Blaze.Blaze | R | NoInfer<R2>> {
  const blaze = yield* Blaze.Blaze
  const settings = yield* check(options)
  const { concurrency, inFlight } = settings

  yield* Effect.gen(function* () {
    const { begin, next } = yield* makeCourse(handler, settings, blaze.userId)
    yield* blaze.deliveries.pipe(
      Stream.map((delivery): Handling<E> => {
        Handling.queue(delivery)
        return {
          delivery,
          entry: undefined,
          fiber: undefined,
          deadline: Infinity,
          expired: false,
          pauses: undefined,
          failure: undefined,
          stage: "trying",
          conflicts: 0,
          isOvertaken: false
        }
      }),
      Keyed.mapExit(begin, next, {
        key: ({ delivery }) => delivery.message.conversationId,
        concurrency,
        isAfterwards: ({ stage }) => stage === "settling",
        inFlight: inFlight.messages,
        weight: ({ delivery }) => delivery.message.size,
        inFlightWeight: inFlight.bytes
      }),
      Stream.runDrain
    )
  }).pipe(Effect.scoped)
})

/**
 * Runs a handler in the background of a larger application, for as long as its scope is open.
 *
 * **Details**
 *
 * When the server refuses the bot, that is logged as an error and the rest of the application goes on; `Blaze.status` tells it as data.
 *
 * @category running
 * @since 0.1.0
 */
export const layer = <E, R, R2 = never>(
  handler: Handler<E, R>,
  options?: Options<E, R2>
): Layer.Layer<never, never, Blaze.Blaze | R | R2> =>
  Layer.effectDiscard(
    run(handler, options).pipe(
      Effect.catch((error) => Effect.logError(error.message)),
      Effect.catchDefect((defect) => Effect.logFatal("The bot has ended with a defect.", defect)),
      Effect.forkScoped
    )
  )
