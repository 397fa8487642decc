/**
 * A message with what can be done about it.
 *
 * Guarantee: an answer made through a delivery has the same id however often it is made, so the server keeps one; `handle` and
 * `filter` never lose an acknowledgement.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Handling from "./internal/Handling.ts"
import type * as Message from "./Message.ts"

export type { AnswerOptions, Delivery, Outcome, Parts, Recipient } from "./internal/Handling.ts"
export { hold, isFinal, isOpen, settle, split } from "./internal/Handling.ts"

/** @since 0.1.0 */
export const Ack: Handling.Outcome = { _tag: "Ack" }
/** @since 0.1.0 */
export const Defer: Handling.Outcome = { _tag: "Defer" }
/** @since 0.1.0 */
export const GiveUp: Handling.Outcome = { _tag: "GiveUp" }

/**
 * As `Defer`, for a time of one's own in place of the schedule's: the message comes again after it, however often that was said before.
 *
 * **Example** (Not yet)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Delivery } from "effect-blaze"
 *
 * const patient = Bot.match({ orElse: () => Effect.succeed(Delivery.deferFor("10 minutes")) })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export const deferFor = (time: Duration.Input): Handling.Outcome => ({
  _tag: "Defer",
  after: Duration.fromInputUnsafe(time)
})

/**
 * Runs a handler, then acknowledges; what a handler fails with passes through, unacknowledged.
 *
 * **Details**
 *
 * A handler that gives `Defer` or `GiveUp` decides otherwise. One that is interrupted leaves its message open: it is the first thing that
 * the next consumer of `deliveries` gets.
 *
 * **Example** (Handling without acknowledging)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Delivery } from "effect-blaze"
 *
 * const later = Delivery.handle(() => Effect.succeed(Delivery.Defer))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const handle =
  <M extends Message.Message, A, E, R>(handler: (delivery: Handling.Delivery<M>) => Effect.Effect<A, E, R>) =>
  (delivery: Handling.Delivery<M>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      Handling.begin(delivery)
      const run = Effect.suspend(() => Handling.observe(delivery, Handling.call(handler, delivery)))
      return Handling.inPlace([delivery], run, (exit) => Handling.settleUnsafe(delivery, exit))
    })

/** Those that are not settled; all of them where none is left, for a handler has to give something. */
const stillOpen = <M extends Message.Message>(deliveries: ReadonlyArray<Handling.Delivery<M>>) => {
  const open = deliveries.filter(Handling.isOpen)
  return open.length === 0 ? deliveries : open
}

/**
 * As `handle`, for a group of deliveries: one effect for all of them, and what it ends with settles each. Behind
 * `Stream.groupedWithin`, say. A failure that is final for one of several defers them all.
 *
 * **Example** (Rows written together)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Blaze, Delivery } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function* () {
 *   const alice = yield* BlazeTest.user("alice")
 *   for (const text of ["one", "two", "three"]) yield* alice.say(text)
 *   const rows: Array<ReadonlyArray<string>> = []
 *   const blaze = yield* Blaze.Blaze
 *   yield* blaze.deliveries.pipe(
 *     Stream.take(3),
 *     Stream.groupedWithin(100, "1 second"),
 *     Stream.mapEffect(Delivery.handleAll((group) => Effect.sync(() => rows.push(group.map(({ message }) => message.id))))),
 *     Stream.runDrain
 *   )
 *   console.assert(rows.length === 1 && rows[0]?.length === 3)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const handleAll =
  <M extends Message.Message, A, E, R>(
    handler: (deliveries: ReadonlyArray<Handling.Delivery<M>>) => Effect.Effect<A, E, R>
  ) =>
  (given: ReadonlyArray<Handling.Delivery<M>>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      // What was settled meanwhile is not handled again: a batch that begins anew has it still.
      const deliveries = stillOpen(given)
      for (const delivery of deliveries) Handling.begin(delivery)
      const run = Effect.suspend(() => {
        Handling.share(deliveries)
        // Of one that was overtaken some may be settled by now.
        const still = stillOpen(deliveries)
        const handled = Effect.suspend(() => Handling.effectOf(handler(still), still))
        return deliveries.reduce((handled, delivery) => Handling.observe(delivery, handled), handled)
      })
      return Handling.inPlace(deliveries, run, (exit) => {
        // What no further try can change of one of them may be of no account to the others.
        const isOfOne = deliveries.length > 1 && Exit.isFailure(exit) && Handling.isFinal(exit.cause)
        return Handling.settleTogether(deliveries, isOfOne ? Exit.succeed(Defer) : exit)
      })
    })

/**
 * Narrows a delivery by its message, for `Stream.partition` with `Filter.fromPredicate`, say. What a `Stream.filter` with it leaves out
 * nobody settles; with `filter` it is acknowledged.
 *
 * @category combinators
 * @since 0.1.0
 */
export const is =
  <N extends Message.Message>(refinement: (message: Message.Message) => message is N) =>
  (delivery: Handling.Delivery): delivery is Handling.Delivery<N> =>
    refinement(delivery.message)

/**
 * Keeps the deliveries of one kind, or whose message meets a condition, and acknowledges the rest.
 *
 * @category combinators
 * @since 0.1.0
 */
export const filter: {
  <M extends Message.Message, N extends M>(
    refinement: (message: M) => message is N
  ): <E, R>(self: Stream.Stream<Handling.Delivery<M>, E, R>) => Stream.Stream<Handling.Delivery<N>, E, R>
  <M extends Message.Message>(
    predicate: (message: M) => boolean
  ): <E, R>(self: Stream.Stream<Handling.Delivery<M>, E, R>) => Stream.Stream<Handling.Delivery<M>, E, R>
} =
  <M extends Message.Message>(predicate: (message: M) => boolean) =>
  <E, R>(self: Stream.Stream<Handling.Delivery<M>, E, R>): Stream.Stream<Handling.Delivery<M>, E, R> =>
    self.pipe(
      Stream.mapArrayEffect((deliveries) => {
        const kept: Array<Handling.Delivery<M>> = []
        const dropped: Array<Handling.Delivery<M>> = []
        for (const delivery of deliveries) (predicate(delivery.message) ? kept : dropped).push(delivery)
        const acknowledged = Effect.forEach(dropped, (delivery) => delivery.ack, { discard: true })
        return Effect.as(acknowledged, [kept] as Arr.NonEmptyReadonlyArray<ReadonlyArray<Handling.Delivery<M>>>)
      }),
      Stream.flattenIterable
    )
