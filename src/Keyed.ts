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
import * as Fiber from "effect/Fiber"
import * as MutableList from "effect/MutableList"
import * as Pull from "effect/Pull"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Setting from "./internal/Setting.ts"

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
 * Each element has a fiber of its own: what it forks as a child ends with it. As long as the backlog of a busy key fits into
 * `inFlight`, it does not keep the others waiting. The first failure ends the stream; as when it is interrupted, what is being worked
 * on has `Grace` to finish before that.
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
  <A, B, E2, R2>(f: (element: A) => Effect.Effect<B, E2, R2>, options: Options<NoInfer<A>>) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<B, E | E2, R | R2> =>
    Stream.transformPull(self, (pull, scope) => make(pull, scope, f, (_, exit) => exit, options))

/**
 * As `mapEffect`, for who decides what the end of an element's effect leads to: `next` gets its exit and gives another one, or an effect
 * that goes on with the element while it holds its key, whose exit is judged in the same way.
 *
 * **Details**
 *
 * `next` is told of every end: of a value too that is no effect, which passes all finalizers. When the stream has run out of patience
 * (`isOver`), an effect that it gives is not begun.
 *
 * @category combinators
 * @since 0.1.0
 */
export const mapExit =
  <A, B, E2, R2, C, E3>(
    f: (element: A) => Effect.Effect<B, E2, R2>,
    next: (element: A, exit: Exit.Exit<B, E2>, isOver: boolean) => Exit.Exit<C, E3> | Effect.Effect<B, E2, R2>,
    options: Options<NoInfer<A>>
  ) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<C, E | E3, R | R2> =>
    Stream.transformPull(self, (pull, scope) => make(pull, scope, f, next, options))

interface Working<A, B, E> {
  readonly lane: Lane<A>
  readonly element: A
  fiber: Fiber.Fiber<B, E> | undefined
  /** Where it stands among those that are being worked on. */
  place: number
}

/** After how many elements in one go the rest of the program has its turn. */
const turn = 512

const make = Effect.fnUntraced(function* <A, B, E, R, E2, R2, C, E3>(
  pull: Pull.Pull<Arr.NonEmptyReadonlyArray<A>, E, void, R>,
  scope: Scope.Scope,
  f: (element: A) => Effect.Effect<B, E2, R2>,
  next: (element: A, exit: Exit.Exit<B, E2>, isOver: boolean) => Exit.Exit<C, E3> | Effect.Effect<B, E2, R2>,
  options: Options<A>
) {
  const { concurrency, inFlight = 10_000, inFlightWeight = Infinity, key, weight = () => 0 } = options
  // Defects: a stream of anything has no error of its own for what the program was written with.
  const grace = yield* Effect.orDie(Setting.duration("Keyed.Grace", yield* Grace, "zero or more"))
  yield* Effect.orDie(Setting.count("concurrency", concurrency))
  yield* Effect.orDie(Setting.count("inFlight", inFlight))
  yield* Effect.orDie(Setting.positive("inFlightWeight", inFlightWeight))
  const context = yield* Effect.context<R2>()
  const fork = Effect.runForkWith(context)
  const turns = (yield* Scheduler.Scheduler).makeDispatcher()

  const lanes = new Map<unknown, Lane<A>>()
  // A lane is in here when it has an element waiting and none running: taking from the front gives every key its turn.
  const ready = MutableList.make<Lane<A>>()
  const working: Array<Working<A, B, E2>> = []
  let results: Array<C> = []
  let resultWeight = 0
  let failure: Cause.Cause<E | E3 | Cause.Done> | undefined
  let taken = 0
  let takenWeight = 0
  let done = false
  let stopping = false
  let isOver = false
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

  const fail = (cause: Cause.Cause<E | E3 | Cause.Done>) => {
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

  const finish = (work: Working<A, B, E2>, exit: Exit.Exit<C, E3>) => {
    // The last takes the place of the one that goes: nothing is left behind of it.
    const last = working.pop()!
    if (last !== work) {
      working[work.place] = last
      last.place = work.place
    }
    const { element, lane } = work
    // A lane stays in the map while its last element runs, so that the next one of its key lines up behind it.
    if (lane.first === undefined) lanes.delete(lane.key)
    else MutableList.append(ready, lane)
    if (Exit.isSuccess(exit)) {
      results.push(exit.value)
      resultWeight += weight(element)
      notifySoon()
    } else fail(exit.cause)
    if (stopping && working.length === 0) Deferred.doneUnsafe(idle, Effect.void)
    dispatch()
  }

  const judge = (work: Working<A, B, E2>, exit: Exit.Exit<B, E2>) => {
    let after: ReturnType<typeof next>
    try {
      after = next(work.element, exit, isOver)
    } catch (defect) {
      // Nobody is above an observer: what it throws would end the process, and hold the key for ever.
      after = Exit.die(defect)
    }
    if (Exit.isExit(after)) finish(work, after as Exit.Exit<C, E3>)
    else if (isOver) finish(work, Exit.interrupt())
    else begin(work, after)
  }

  // A root fiber and not a child: nothing that happens to one element, its interruption included, happens to another.
  const begin = (work: Working<A, B, E2>, effect: Effect.Effect<B, E2, R2>) => {
    const fiber = fork(effect)
    work.fiber = fiber
    fiber.addObserver((exit) => judge(work, exit))
  }

  // One loop for all that end while another begins: they do not call each other ever deeper.
  let dispatching = false
  const dispatch = () => {
    if (dispatching) return
    dispatching = true
    let begun = 0
    while (!stopping && working.length < concurrency) {
      if (begun++ === turn) {
        turns.scheduleTask(dispatch, 0)
        break
      }
      const lane = MutableList.take(ready)
      if (lane === MutableList.Empty) break
      const element = takeFrom(lane)
      const work: Working<A, B, E2> = { lane, element, fiber: undefined, place: working.length }
      working.push(work)
      begin(
        work,
        Effect.suspend(() => f(element))
      )
    }
    dispatching = false
  }

  // Runs before the scope of the pull closes upstream: what is being worked on may still need it.
  yield* Scope.addFinalizer(
    scope,
    Effect.gen(function* () {
      stopping = true
      if (working.length > 0 && !Duration.isZero(grace)) yield* Effect.timeoutOption(Deferred.await(idle), grace)
      isOver = true
      yield* Fiber.interruptAll(working.flatMap(({ fiber }) => (fiber === undefined ? [] : [fiber])))
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
      for (let index = 0; index < elements.length;) {
        for (; index < elements.length && !isFull(); index++) {
          const element = elements[index]!
          add(element)
          taken++
          takenWeight += weight(element)
        }
        dispatch()
        while (isFull()) yield* awaitRoom
      }
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

  return Effect.callback<Arr.NonEmptyReadonlyArray<C>, E | E3 | Cause.Done>((resume) => {
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
