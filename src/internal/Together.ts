/**
 * Requests that go together.
 *
 * Guarantee: what is asked for while others are out goes in one request as soon as one of those is back, and at once where there are few; one
 * that is refused, or that a server cannot bear, keeps no other from being taken; nothing waits for time.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<A, E> {
  /** Asks for several, all of which are taken, or none. */
  readonly send: (batch: ReadonlyArray<A>) => Effect.Effect<unknown, E>
  /** Whether an error may be about one of several: then they are halved until that is alone. */
  readonly isOfOne: (error: E) => boolean
  /** How many requests are out at once. */
  readonly atOnce: number
  /** How many go in one, and how much, by `weight`. */
  readonly maximum: number
  readonly maximumWeight: number
  readonly weight: (one: A) => number
}

interface Waiting<A, E> {
  readonly one: A
  readonly done: Deferred.Deferred<void, E>
  isAbandoned: boolean
}

/**
 * Gives how one is asked for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A extends object, E>({
  atOnce,
  isOfOne,
  maximum,
  maximumWeight,
  send,
  weight
}: Options<A, E>): Effect.Effect<(one: A) => Effect.Effect<void, E>> =>
  Effect.map(Effect.context<never>(), (context) => {
    const fork = Effect.runForkWith(context)
    let waiting: Array<Waiting<A, E>> = []
    let out = 0
    // What failed together, asked for again, goes alone.
    const suspects = new WeakSet<A>()

    const take = () => {
      const batch: Array<Waiting<A, E>> = []
      let sum = 0
      let next = 0
      for (; next < waiting.length && batch.length < maximum; next++) {
        const entry = waiting[next]!
        if (entry.isAbandoned) continue
        sum += weight(entry.one)
        const isSuspect = suspects.has(entry.one)
        if (batch.length > 0 && (isSuspect || sum > maximumWeight)) break
        batch.push(entry)
        if (isSuspect) {
          next++
          break
        }
      }
      waiting = waiting.slice(next)
      return batch
    }

    const settle = (batch: ReadonlyArray<Waiting<A, E>>): Effect.Effect<void> =>
      Effect.flatMap(Effect.exit(send(batch.map(({ one }) => one))), (exit) => {
        const error = Option.getOrUndefined(Exit.findErrorOption(exit))
        if (batch.length > 1 && error !== undefined && isOfOne(error)) {
          const middle = Math.ceil(batch.length / 2)
          return Effect.andThen(settle(batch.slice(0, middle)), settle(batch.slice(middle)))
        }
        for (const { done, one } of batch) {
          if (batch.length > 1 && Exit.isFailure(exit)) suspects.add(one)
          Deferred.doneUnsafe(done, Exit.asVoid(exit))
        }
        return Effect.void
      })

    const run = Effect.gen(function* () {
      // Those that are asked for in the same turn go along.
      yield* Effect.yieldNow
      while (waiting.length > 0) {
        const batch = take()
        if (batch.length > 0) yield* settle(batch)
      }
      out--
    })

    return (one) =>
      Effect.suspend(() => {
        const entry: Waiting<A, E> = { one, done: Deferred.makeUnsafe(), isAbandoned: false }
        waiting.push(entry)
        if (out < atOnce) {
          out++
          fork(run)
        }
        return Effect.onInterrupt(Deferred.await(entry.done), () =>
          Effect.sync(() => {
            entry.isAbandoned = true
          })
        )
      })
  })
