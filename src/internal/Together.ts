/**
 * Requests that go together.
 *
 * Guarantee: what is asked for while others are out goes in one request as soon as one of those is back, and at once where there are few; one
 * that is refused, or that a server cannot bear, keeps no other from being taken; nothing waits for time.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Halving from "./Halving.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<A, E> {
  /** Asks for several, all of which are taken, or none. */
  readonly send: (batch: ReadonlyArray<A>) => Effect.Effect<unknown, E>
  /** Whether an error is about one of several: then they are halved until that is alone. */
  readonly isOfOne: (error: E) => boolean
  /** Whether it may be: what has failed so a few times goes alone. */
  readonly mayBeOfOne: (error: E) => boolean
  /** How many requests are out at once. */
  readonly atOnce: number
  /** How many go in one, and how much, by `weight`. */
  readonly maximum: number
  readonly maximumWeight: number
  readonly weight: (one: A) => number
}

interface Waiting<A, E> {
  readonly one: A
  readonly weight: number
  readonly further: Effect.Effect<unknown, E>
  readonly done: Deferred.Deferred<void, E>
  isAbandoned: boolean
}

/** Takes what goes in the next request from what waits. */
const take = <A extends object, E>(
  waiting: ReadonlyArray<Waiting<A, E>>,
  { maximum, maximumWeight }: Options<A, E>,
  isSuspect: (one: A) => boolean
) => {
  const batch: Array<Waiting<A, E>> = []
  let sum = 0
  let next = 0
  for (; next < waiting.length && batch.length < maximum; next++) {
    const entry = waiting[next]!
    if (entry.isAbandoned) continue
    sum += entry.weight
    const goesAlone = isSuspect(entry.one)
    if (batch.length > 0 && (goesAlone || sum > maximumWeight)) break
    batch.push(entry)
    if (goesAlone) {
      next++
      break
    }
  }
  return { batch, rest: waiting.slice(next) }
}

/**
 * Asks for several until it is known of each what became of it. Ends once they have been asked for together: to find out who it was of them is
 * nobody else's business, and may take its time.
 */
const makeSettle = <A extends object, E>(
  { atOnce, isOfOne, send }: Options<A, E>,
  failed: (one: A, exit: Exit.Exit<unknown, E>) => void,
  fork: (effect: Effect.Effect<void>) => void
) => {
  const halves = Semaphore.makeUnsafe(atOnce)
  const conclude = (entries: ReadonlyArray<Waiting<A, E>>, exit: Exit.Exit<unknown, E>) => {
    for (const { done } of entries) Deferred.doneUnsafe(done, Exit.asVoid(exit))
  }
  const sendAll = (entries: ReadonlyArray<Waiting<A, E>>) =>
    Effect.suspend(() => {
      const wanted = entries.filter(({ isAbandoned }) => !isAbandoned)
      return wanted.length === 0 ? Effect.void : send(wanted.map(({ one }) => one))
    })
  const furtherOf = (entries: ReadonlyArray<Waiting<A, E>>) =>
    Effect.forEach(entries, ({ further, isAbandoned }) => (isAbandoned ? Effect.void : further), { discard: true })

  return (batch: ReadonlyArray<Waiting<A, E>>): Effect.Effect<void> =>
    Effect.flatMap(Effect.exit(sendAll(batch)), (exit) => {
      const left = new Set(batch)
      const halving: Halving.Options<Waiting<A, E>, unknown, E> = {
        send: (entries) => Effect.andThen(furtherOf(entries), halves.withPermit(sendAll(entries))),
        // What cannot even be asked for is so because of one, too.
        isOfOne: (cause) => Cause.hasDies(cause) || Option.exists(Cause.findErrorOption(cause), isOfOne),
        done: (entries, exit) => {
          for (const entry of entries) left.delete(entry)
          conclude(entries, exit)
        }
      }
      const settled = Effect.map(Effect.exit(Halving.concluded(halving, batch, exit)), (exit) => {
        if (Exit.isSuccess(exit)) return
        if (left.size > 1) for (const { one } of left) failed(one, exit)
        conclude([...left], exit)
      })
      return batch.length === 1 ? settled : Effect.sync(() => fork(settled))
    })
}

/** How often each has failed together with others, though it may have been because of one of them. */
const makeSuspects = <A extends object, E>(mayBeOfOne: (error: E) => boolean) => {
  const failures = new WeakMap<A, number>()
  return {
    has: (one: A) => (failures.get(one) ?? 0) >= Halving.wholeTries,
    failed: (one: A, exit: Exit.Exit<unknown, E>) => {
      if (Option.exists(Exit.findErrorOption(exit), mayBeOfOne)) failures.set(one, (failures.get(one) ?? 0) + 1)
    }
  }
}

/**
 * Gives how one is asked for. `further` is done before it is asked for once more, because it was halved.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A extends object, E>(
  options: Options<A, E>
): Effect.Effect<(one: A, further?: Effect.Effect<unknown, E>) => Effect.Effect<void, E>> =>
  Effect.map(Effect.context<never>(), (context) => {
    const fork = Effect.runForkWith(context)
    const suspects = makeSuspects<A, E>(options.mayBeOfOne)
    const settle = makeSettle(options, suspects.failed, fork)
    let waiting: Array<Waiting<A, E>> = []
    let out = 0

    const run = Effect.gen(function* () {
      // Those that are asked for in the same turn go along.
      yield* Effect.yieldNow
      while (waiting.length > 0) {
        const { batch, rest } = take(waiting, options, suspects.has)
        waiting = rest
        if (batch.length > 0) yield* settle(batch)
      }
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          out--
        })
      )
    )

    return (one, further = Effect.void) =>
      Effect.suspend(() => {
        // Here, for what cannot be weighed is the fault of whoever asks for it.
        const weight = options.weight(one)
        const entry: Waiting<A, E> = { one, weight, further, done: Deferred.makeUnsafe(), isAbandoned: false }
        waiting.push(entry)
        if (out < options.atOnce) {
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
