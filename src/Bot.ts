/**
 * What most people use: a handler, or one per kind of message, run over everything the bot receives.
 *
 * Guarantee: success acknowledges; a failure is tried again, and then deferred: nothing is dropped that nobody said to drop; one
 * conversation is worked on in order, many at the same time; one bot has one consumer; at most one fork is spent on a message.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Blaze from "./Blaze.ts"
import type * as BlazeError from "./BlazeError.ts"
import * as Delivery from "./Delivery.ts"
import * as Keyed from "./Keyed.ts"
import type * as Message from "./Message.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Underway from "./Underway.ts"

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
} & { readonly orElse: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown, unknown> }

type Returned<C> = { [K in keyof C]: C[K] extends (...args: never) => infer R ? R : never }[keyof C]

/**
 * A handler from one handler per kind of message, each with a delivery of its kind; `orElse` gets the rest.
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
    cases: C & { readonly [Kind in Exclude<keyof C, keyof Cases>]: never }
  ): Handler<Effect.Error<Returned<C>>, Effect.Services<Returned<C>>> =>
  (delivery) => {
    const handler = (cases[delivery.message._tag] ?? cases.orElse) as Handler<
      Effect.Error<Returned<C>>,
      Effect.Services<Returned<C>>
    >
    return handler(delivery)
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
  /** When a handler that failed is tried again, while its message holds its conversation: after 1 and after 2 seconds. */
  readonly retry?: Schedule.Schedule<unknown, E | Cause.TimeoutError> | undefined
  /** What becomes of a message whose tries have all failed: it is logged and deferred. A dead-letter store says `Ack`. */
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
  onFailure: (delivery: Delivery.Delivery, cause: Cause.Cause<unknown>) =>
    Effect.as(Effect.logError(`The handler failed; message ${delivery.message.id} is deferred.`, cause), Delivery.Defer)
} as const

/** After how long a running handler is warned about, in milliseconds. */
const slowAfter = 60_000

interface Running {
  readonly delivery: Delivery.Delivery
  /** When this try has to be over. */
  deadline: number
  /** Ends this try. */
  expire: (() => void) | undefined
}

// One sweeper for all handlers: a timer for each would cost more than the rest of the library.
const makeSweeper = Effect.fnUntraced(function* (
  telemetry: Telemetry.Telemetry,
  timeout: Duration.Duration | undefined
) {
  const { metrics } = Telemetry
  const running = Underway.make<Running>()
  const period = timeout === undefined ? 1000 : Math.max(1, Math.min(1000, Duration.toMillis(timeout) / 10))

  const sweep = Effect.gen(function* () {
    const now = telemetry.now()
    const oldest = running.oldest()
    telemetry.measure(metrics.handlersRunning, running.size())
    telemetry.measure(metrics.oldestHandler, oldest === undefined ? 0 : (now - oldest.since) / 1000)
    const slow: Array<string> = []
    for (const entry of running.entries()) {
      const { deadline, delivery, expire } = entry.value!
      if (now >= deadline) expire?.()
      if (!entry.warned && now - entry.since >= slowAfter) {
        entry.warned = true
        slow.push(delivery.message.id)
      }
    }
    if (slow.length > 0) {
      yield* Effect.logWarning(
        `The handlers of ${slow.length} messages have been running for a minute, and hold their conversations: ${slow.slice(0, 20).join(", ")}.`
      )
    }
  })
  // While nothing runs there is nothing to look at, and an idle bot costs no timer.
  let wake: (() => void) | undefined
  const busy = Effect.callback<void>((resume) => {
    if (running.size() > 0) resume(Effect.void)
    else wake = () => resume(Effect.void)
  })
  yield* Effect.andThen(busy, sweep.pipe(Effect.delay(period))).pipe(Effect.forever, Effect.forkScoped)
  return {
    ...running,
    begin: (handling: Running) => {
      const entry = running.begin(handling, telemetry.now())
      const current = wake
      wake = undefined
      current?.()
      return entry
    }
  }
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
): Effect.fn.Return<void, BlazeError.BlazeError, Blaze.Blaze | R | R2> {
  const blaze = yield* Blaze.Blaze
  const telemetry = yield* Telemetry.make(blaze.userId)
  const traced = yield* Telemetry.Traced
  const { metrics } = Telemetry
  const inFlight = options.inFlight ?? defaults.inFlight
  const retry = options.retry ?? defaults.retry
  const onFailure = options.onFailure ?? defaults.onFailure
  const timeout = options.timeout === undefined ? undefined : Duration.fromInputUnsafe(options.timeout)
  const timeoutMillis = timeout === undefined ? Infinity : Duration.toMillis(timeout)

  yield* Effect.gen(function* () {
    const interrupted: Array<string> = []
    yield* Effect.addFinalizer(() => {
      telemetry.measure(metrics.handlersRunning, 0)
      telemetry.measure(metrics.oldestHandler, 0)
      return interrupted.length === 0
        ? Effect.void
        : Effect.logWarning(
            `These handlers did not finish in time and were interrupted; their messages will come back: ${interrupted.slice(0, 20).join(", ")}`
          )
    })
    const running = yield* makeSweeper(telemetry, timeout)

    const attempt = (handling: Running): Effect.Effect<unknown, E | Cause.TimeoutError, R> => {
      const once = Effect.suspend(() => handler(handling.delivery))
      if (timeout === undefined) return once
      return Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(once, { startImmediately: true })
        let expired = false
        handling.deadline = telemetry.now() + timeoutMillis
        handling.expire = () => {
          expired = true
          fiber.interruptUnsafe()
        }
        const exit = yield* Effect.onInterrupt(Fiber.await(fiber), () => Fiber.interrupt(fiber))
        handling.deadline = Infinity
        if (expired && Exit.isFailure(exit)) return yield* new Cause.TimeoutError("the handler took too long")
        return yield* exit
      })
    }

    // As Effect.retry, but for defects and interruptions of the handler too, and free of cost for one that succeeds.
    const persevere = Effect.fnUntraced(function* (handling: Running, cause: Cause.Cause<E | Cause.TimeoutError>) {
      const { delivery } = handling
      const step = yield* Schedule.toStep(retry)
      let last = cause
      while (true) {
        const error = Option.getOrUndefined(Cause.findErrorOption(last)) as E | Cause.TimeoutError
        const next = yield* Effect.exit(step(yield* Clock.currentTimeMillis, error))
        if (Exit.isFailure(next)) break
        yield* Effect.sleep(next.value[1])
        const exit = yield* Effect.exit(attempt(handling))
        if (Exit.isSuccess(exit)) return exit.value
        last = exit.cause
      }
      return yield* Effect.suspend(() => onFailure(delivery, last)).pipe(
        Effect.catchCause((cause) =>
          Effect.as(Effect.logError(`onFailure failed for message ${delivery.message.id}.`, cause), Delivery.Defer)
        )
      )
    })

    const handle = (delivery: Delivery.Delivery): Effect.Effect<unknown, never, R | R2> =>
      Effect.suspend(() => {
        const handling: Running = { delivery, deadline: Infinity, expire: undefined }
        const entry = running.begin(handling)
        // The acknowledgement is in the exit, so that no interruption comes between it and the handler's success.
        return Effect.onExit(
          Effect.catchCause(attempt(handling), (cause) => persevere(handling, cause)),
          (exit) => {
            running.end(entry)
            if (Exit.isFailure(exit) && interrupted.length < 1000) interrupted.push(delivery.message.id)
            const outcome = Exit.isFailure(exit)
              ? "interrupted"
              : exit.value === Delivery.Defer
                ? "deferred"
                : "acknowledged"
            telemetry.measure(metrics.handlerTime, (telemetry.now() - entry.since) / 1000, outcome)
            return Delivery.settle(delivery, exit)
          }
        )
      })

    const spanned = (delivery: Delivery.Delivery) =>
      Effect.withSpan(handle(delivery), Telemetry.span.handle, { attributes: { messageId: delivery.message.id } })

    yield* blaze.deliveries.pipe(
      Keyed.mapEffect(traced ? spanned : handle, {
        key: ({ message }) => message.conversationId,
        concurrency: options.concurrency ?? defaults.concurrency,
        inFlight: inFlight.messages,
        weight: ({ message }) => message.size,
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
