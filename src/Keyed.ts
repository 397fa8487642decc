/**
 * Order per key with bounded concurrency, for any stream. It knows nothing of Blaze.
 *
 * Guarantee: elements of one key are worked on one after the other in their order, elements of different keys at the same time;
 * keys take turns, so that a busy one delays another by one element; an idle key costs nothing; what waits is bounded.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MutableList from "effect/MutableList"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * How long elements that are being worked on may go on when the stream is interrupted, before they are interrupted too: 30 seconds.
 *
 * @category references
 * @since 0.1.0
 */
export const Grace = Context.Reference<Duration.Input>("effect-blaze/Keyed/Grace", {
  defaultValue: () => "30 seconds"
})

/**
 * How elements are told apart and how much is worked on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** Elements of equal keys keep their order. */
  readonly key: (element: A) => unknown
  /** How many elements are worked on at once. */
  readonly concurrency: number
  /** How many elements may be taken from the stream and not yet passed on: 10 000. */
  readonly inFlight?: number | undefined
  /** What an element weighs, in bytes say; nothing by default. */
  readonly weight?: ((element: A) => number) | undefined
  /** How much all elements in flight may weigh. One element is taken whatever its weight. */
  readonly inFlightWeight?: number | undefined
}

interface Waiting<A> {
  readonly element: A
  next: Waiting<A> | undefined
}

interface Lane<A> {
  readonly key: unknown
  first: Waiting<A> | undefined
  last: Waiting<A> | undefined
}

/**
 * Maps every element with an effect: in order within a key, concurrently across keys. Results come in the order of completion.
 *
 * **Details**
 *
 * As long as the backlog of a busy key fits into `inFlight`, it does not keep the others waiting. The first failure ends the
 * stream; as when it is interrupted, what is being worked on has `Grace` to finish before that.
 *
 * **Example** (One account after the other, many accounts at once)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Keyed } from "effect-blaze"
 *
 * const results = Stream.make({ account: "a", n: 1 }, { account: "b", n: 2 }, { account: "a", n: 3 }).pipe(
 *   Keyed.mapEffect(({ n }) => Effect.succeed(n), { key: ({ account }) => account, concurrency: 8 }),
 *   Stream.runCollect
 * )
 * console.assert((await Effect.runPromise(results)).length === 3)
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const mapEffect =
  <A, B, E2, R2>(f: (element: A) => Effect.Effect<B, E2, R2>, options: Options<A>) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<B, E | E2, R | R2> =>
    Stream.transformPull(self, (pull, scope) => make(pull, scope, f, options))

const make = Effect.fnUntraced(function* <A, B, E, R, E2, R2>(
  pull: Pull.Pull<Arr.NonEmptyReadonlyArray<A>, E, void, R>,
  scope: Scope.Scope,
  f: (element: A) => Effect.Effect<B, E2, R2>,
  options: Options<A>
) {
  const { concurrency, inFlight = 10_000, inFlightWeight = Infinity, key, weight = () => 0 } = options
  const grace = Duration.fromInputUnsafe(yield* Grace)

  const lanes = new Map<unknown, Lane<A>>()
  // A lane is in here when it has an element waiting and none running: taking from the front gives every key its turn.
  const ready = MutableList.make<Lane<A>>()
  let results: Array<B> = []
  let resultWeight = 0
  let failure: Cause.Cause<E | E2 | Cause.Done> | undefined
  let workers = 0
  let busy = 0
  let taken = 0
  let takenWeight = 0
  let done = false
  let stopping = false
  let consumer: (() => void) | undefined
  let producer: (() => void) | undefined
  const idle = Deferred.makeUnsafe<void>()

  const notify = () => {
    const current = consumer
    consumer = undefined
    current?.()
  }

  // What completes in one go is passed on in one go.
  let notifying = false
  const notifySoon = () => {
    if (notifying || consumer === undefined) return
    notifying = true
    queueMicrotask(() => {
      notifying = false
      notify()
    })
  }

  const fail = (cause: Cause.Cause<E | E2 | Cause.Done>) => {
    failure ??= cause
    stopping = true
    notify()
  }

  const add = (element: A) => {
    const id = key(element)
    const waiting: Waiting<A> = { element, next: undefined }
    const lane = lanes.get(id)
    if (lane === undefined) {
      const made = { key: id, first: waiting, last: waiting }
      lanes.set(id, made)
      MutableList.append(ready, made)
      return
    }
    if (lane.last === undefined) lane.first = waiting
    else lane.last.next = waiting
    lane.last = waiting
  }

  // What was taken is not linked to what follows it: else one that lives long would keep all later ones from being collected soon.
  const takeFrom = (lane: Lane<A>): A => {
    const waiting = lane.first!
    lane.first = waiting.next
    waiting.next = undefined
    if (lane.first === undefined) lane.last = undefined
    return waiting.element
  }

  // A lane stays in the map while its last element runs, so that the next one of its key lines up behind it.
  const finish = (lane: Lane<A>) => {
    if (lane.first === undefined) lanes.delete(lane.key)
    else MutableList.append(ready, lane)
  }

  const worker = Effect.gen(function* () {
    while (true) {
      const lane = stopping ? MutableList.Empty : MutableList.take(ready)
      if (lane === MutableList.Empty) {
        // In the same breath as the look at the queue: else an element that comes in between would find no worker.
        workers--
        if (workers === 0 && stopping) Deferred.doneUnsafe(idle, Effect.void)
        // It ends, and with it whatever its elements have forked: a worker that waited here would keep that alive.
        return
      }
      const element = takeFrom(lane)
      busy++
      const exit = yield* Effect.exit(Effect.suspend(() => f(element)))
      busy--
      finish(lane)
      if (Exit.isSuccess(exit)) {
        results.push(exit.value)
        resultWeight += weight(element)
        notifySoon()
      } else fail(exit.cause)
    }
  })

  const workerScope = yield* Scope.make()
  // Runs before the scope of the pull closes upstream: what is being worked on may still need it.
  yield* Scope.addFinalizerExit(scope, (exit) =>
    Effect.gen(function* () {
      stopping = true
      if (workers > 0 && !Duration.isZero(grace)) yield* Effect.timeoutOption(Deferred.await(idle), grace)
      yield* Scope.close(workerScope, exit)
    })
  )

  const isFull = () => taken >= inFlight || takenWeight >= inFlightWeight

  // Looked at again when it is parked: room may have come between the two.
  const awaitRoom = Effect.callback<void>((resume) => {
    if (isFull()) producer = () => resume(Effect.void)
    else resume(Effect.void)
  })

  const produce = Effect.gen(function* () {
    while (true) {
      const elements = yield* pull
      for (const element of elements) {
        add(element)
        takenWeight += weight(element)
      }
      taken += elements.length
      // One that does not wait for anything drains the queue at once, and is the only one.
      while (workers < concurrency && ready.length > workers - busy) {
        workers++
        yield* Effect.forkIn(worker, workerScope, { startImmediately: true })
      }
      while (isFull()) yield* awaitRoom
    }
  })

  yield* produce.pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        if (Pull.isDoneCause(cause)) {
          done = true
          notify()
        } else fail(cause)
      })
    ),
    Effect.forkIn(scope)
  )

  return Effect.callback<Arr.NonEmptyReadonlyArray<B>, E | E2 | Cause.Done>((resume) => {
    const attempt = () => {
      if (Arr.isArrayNonEmpty(results)) {
        const batch = results
        results = []
        taken -= batch.length
        takenWeight -= resultWeight
        resultWeight = 0
        resume(Effect.succeed(batch))
        const waiting = producer
        producer = undefined
        waiting?.()
      } else if (failure !== undefined) resume(Effect.failCause(failure))
      else if (done && lanes.size === 0) resume(Cause.done())
      else consumer = attempt
    }
    attempt()
    return Effect.sync(() => {
      if (consumer === attempt) consumer = undefined
    })
  })
})
