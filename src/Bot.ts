/**
 * What most people use: a handler, or one per kind of message, run over everything the bot receives.
 *
 * Guarantee: success acknowledges; a failure leaves the message with the server, which brings it back; one conversation is worked
 * on in order, many at the same time; one bot has one consumer.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Blaze from "./Blaze.ts"
import type * as BlazeError from "./BlazeError.ts"
import * as Delivery from "./Delivery.ts"
import * as Keyed from "./Keyed.ts"
import type * as Message from "./Message.ts"

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
  <const C extends Cases>(cases: C): Handler<Effect.Error<Returned<C>>, Effect.Services<Returned<C>>> =>
  (delivery) => {
    const handler = (cases[delivery.message._tag] ?? cases.orElse) as Handler<
      Effect.Error<Returned<C>>,
      Effect.Services<Returned<C>>
    >
    return handler(delivery)
  }

/**
 * How many messages are worked on at once: 64.
 *
 * @category references
 * @since 0.1.0
 */
export const Concurrency = Context.Reference<number>("effect-blaze/Bot/Concurrency", { defaultValue: () => 64 })

const settled =
  <E, R>(handler: Handler<E, R>): Handler<never, R> =>
  (delivery) =>
    Effect.catchCause(
      Effect.suspend(() => handler(delivery)),
      (cause) =>
        Effect.logError(`The handler failed; message ${delivery.message.id} stays with the server.`, cause).pipe(
          Effect.as(Delivery.Defer)
        )
    )

/**
 * Runs a handler over every message until the server refuses the bot, which is the only way it fails.
 *
 * **Details**
 *
 * Interrupted (by Ctrl-C, say) it takes no further message and lets the running handlers finish, for up to `Keyed.Grace`.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function* <E, R>(
  handler: Handler<E, R>
): Effect.fn.Return<void, BlazeError.BlazeError, Blaze.Blaze | R> {
  const blaze = yield* Blaze.Blaze
  const concurrency = yield* Concurrency
  yield* blaze.deliveries.pipe(
    Keyed.mapEffect(Delivery.handle(settled(handler)), {
      key: ({ message }) => message.conversationId,
      concurrency
    }),
    Stream.runDrain
  )
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
export const layer = <E, R>(handler: Handler<E, R>): Layer.Layer<never, never, Blaze.Blaze | R> =>
  Layer.effectDiscard(
    run(handler).pipe(
      Effect.catch((error) => Effect.logError(error.message)),
      Effect.forkScoped
    )
  )
