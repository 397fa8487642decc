/**
 * Who of several it was, where all that is told is that it was one of them.
 *
 * Guarantee: one that is refused keeps no other from being taken; what is known to hold it is not asked for as a whole again.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as BlazeError from "../BlazeError.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<A, B, E> {
  /** Asks for several, all of which are taken, or none. */
  readonly send: (batch: ReadonlyArray<A>) => Effect.Effect<B, E>
  /** Whether this may be about one of several. Whatever else it is, is the end for all that are left. */
  readonly isOfOne: (cause: Cause.Cause<E>) => boolean
  /** What became of several, or of one that was refused. */
  readonly done: (batch: ReadonlyArray<A>, exit: Exit.Exit<B, E>) => void
}

/**
 * Whether it may be because of one of several that it fails, though it may pass: it is the API that says so, and not the network, nor that it
 * has had too many.
 *
 * @category predicates
 * @since 0.1.0
 */
export const mayBeOfOne = (error: BlazeError.BlazeError): boolean =>
  error.reason._tag === "ApiFailure" && error.isRetryable && error.reason.code !== 429

/** How often what may be because of one of several is tried with all of them, before each goes alone. */
export const wholeTries = 2

/**
 * Asks for several, which are halved until who is refused is alone. Gives whether anybody was.
 *
 * @category constructors
 * @since 0.1.0
 */
export const send = <A, B, E>(options: Options<A, B, E>, batch: ReadonlyArray<A>): Effect.Effect<boolean, E> =>
  Effect.flatMap(Effect.exit(Effect.suspend(() => options.send(batch))), (exit) => concluded(options, batch, exit))

/**
 * The same, of what has been asked for already.
 *
 * @category constructors
 * @since 0.1.0
 */
export const concluded = <A, B, E>(
  options: Options<A, B, E>,
  batch: ReadonlyArray<A>,
  exit: Exit.Exit<B, E>
): Effect.Effect<boolean, E> => {
  if (Exit.isFailure(exit)) {
    if (!options.isOfOne(exit.cause)) return Effect.failCause(exit.cause)
    if (batch.length > 1) return Effect.as(sendHalves(options, batch), true)
  }
  options.done(batch, exit)
  return Effect.succeed(Exit.isFailure(exit))
}

const sendHalves = <A, B, E>(options: Options<A, B, E>, batch: ReadonlyArray<A>): Effect.Effect<unknown, E> => {
  const middle = Math.ceil(batch.length / 2)
  const second = batch.slice(middle)
  // One of them is refused: where it is nobody in the first half, it is somebody in the second.
  return Effect.flatMap(send(options, batch.slice(0, middle)), (isInFirst) =>
    isInFirst || second.length === 1 ? send(options, second) : sendHalves(options, second)
  )
}
