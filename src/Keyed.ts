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
import * as Pull from "effect/Pull"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Elapsed from "./internal/Elapsed.ts"
import * as Lanes from "./internal/Lanes.ts"
import * as Restart from "./internal/Restart.ts"
import * as Setting from "./internal/Setting.ts"
import * as Signal from "./internal/Signal.ts"

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
  /** The least time between the beginnings of two elements, or batches, of one key: what waits for it takes no place among those at work. */
  readonly every?: Duration.Input | undefined
}

/**
 * How elements of one key come together.
 *
 * @category models
 * @since 0.1.0
 */
export interface BatchOptions<A> extends Options<A> {
  /** How many elements a batch may have: 100. */
  readonly size?: number | undefined
  /**
   * How long nothing of a key may have arrived before its batch begins, unless it is full. Nothing is waited for when the stream has ended, or
   * no more may be in flight.
   */
  readonly quiet?: Duration.Input | undefined
  /**
   * Whether what arrives of a key interrupts its batch, which begins again with both: no by default. A batch that is full is not
   * interrupted. One that cannot be interrupted ends first, and begins again all the same.
   */
  readonly restart?: boolean | undefined
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
    Stream.transformPull(self, (pull, scope) =>
      make(pull, scope, { f, next: (_, exit) => exit }, options, one(options))
    )

/**
 * Maps what has gathered of a key with one effect: a batch at a time for each key, in order, and as many keys at once as `concurrency` says.
 *
 * **When to use**
 *
 * Use `quiet` to wait until a person has stopped typing, `restart` where an answer to half of what was said is of no use (a language
 * model), neither to write what has come meanwhile in one go.
 *
 * **Details**
 *
 * What waits costs no fiber and no place among those at work. In flight is each element, as with `mapEffect`; failures, interruptions
 * and `Grace` are the same too.
 *
 * **Example** (One sum for what an account has gathered)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Keyed } from "effect-blaze"
 *
 * const sums = Stream.make({ account: "a", n: 1 }, { account: "b", n: 2 }, { account: "a", n: 3 }).pipe(
 *   Keyed.mapEffectBatch((batch) => Effect.succeed(batch.reduce((sum, { n }) => sum + n, 0)), {
 *     key: ({ account }) => account,
 *     concurrency: 8,
 *     quiet: "1 second"
 *   }),
 *   Stream.runCollect
 * )
 * console.assert((await Effect.runPromise(sums)).toSorted().join() === "2,4")
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const mapEffectBatch =
  <A, B, E2, R2>(
    f: (batch: Arr.NonEmptyReadonlyArray<A>) => Effect.Effect<B, E2, R2>,
    options: BatchOptions<NoInfer<A>>
  ) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<B, E | E2, R | R2> =>
    Stream.transformPull(self, (pull, scope) =>
      make(pull, scope, { f, next: (_, exit) => exit }, options, batches(options))
    )

/**
 * As `mapEffect`, for who decides what the end of an element's effect leads to: `next` gets its exit and gives another one, or an effect
 * that goes on with the element while it holds its key, whose exit is judged in the same way.
 *
 * **Details**
 *
 * `next` is told of every end: of a value too that is no effect, which passes all finalizers. When the stream has run out of patience
 * (`isOver`), an effect that it gives is not begun. One for which `isAfterwards` holds its key and takes no place of the `concurrency`: it
 * waits for a write, say, which others are to share.
 *
 * @category combinators
 * @since 0.1.0
 */
export const mapExit =
  <A, B, E2, R2, C, E3>(
    f: (element: A) => Effect.Effect<B, E2, R2>,
    next: (element: A, exit: Exit.Exit<B, E2>, isOver: boolean) => Exit.Exit<C, E3> | Effect.Effect<B, E2, R2>,
    options: Options<NoInfer<A>> & { readonly isAfterwards?: ((element: NoInfer<A>) => boolean) | undefined }
  ) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<C, E | E3, R | R2> =>
    Stream.transformPull(self, (pull, scope) =>
      make(pull, scope, { f, next, isAfterwards: options.isAfterwards }, options, one(options))
    )

/** What is worked on in one go: an element, or a batch of them. */
interface Unit<A, U> {
  readonly take: (lane: Lanes.Lane<A>) => U
  readonly size: (unit: U) => number
  readonly weight: (unit: U) => number
  /** For one that begins again with what arrives: whether it may, and what it is made of. */
  readonly restart?: { readonly hasRoom: (unit: U) => boolean; readonly elements: (unit: U) => ReadonlyArray<A> }
}

const weightless = () => 0

const one = <A>({ weight = weightless }: Options<A>): Unit<A, A> => ({ take: Lanes.shift, size: () => 1, weight })

const defaultSize = 100

const batches = <A>({
  restart = false,
  size = defaultSize,
  weight
}: BatchOptions<A>): Unit<A, Arr.NonEmptyReadonlyArray<A>> => ({
  take: (lane) => {
    const batch: Arr.NonEmptyArray<A> = [Lanes.shift(lane)]
    while (lane.size > 0 && batch.length < size) batch.push(Lanes.shift(lane))
    return batch
  },
  size: (batch) => batch.length,
  weight: weight === undefined ? weightless : (batch) => batch.reduce((sum, element) => sum + weight(element), 0),
  ...(restart ? { restart: { hasRoom: (batch) => batch.length < size, elements: (batch) => batch } } : {})
})

interface Work<A, U, B, E> {
  readonly lane: Lanes.Lane<A>
  readonly unit: U
  /** As it was at first, whatever is done to the elements. */
  readonly weight: number
  fiber: Fiber.Fiber<B, E> | undefined
  /** Where it stands among those that are being worked on. */
  place: number
  /** It was interrupted to begin again. */
  isRestarting: boolean
  /** What goes on with it takes no place. */
  isAfterwards: boolean
}

/** After how many elements in one go the rest of the program has its turn. */
const turn = 512

/** How much has been taken from the stream and not been passed on. */
const makeInFlight = (maximum: number, maximumWeight: number) => {
  let size = 0
  let total = 0
  const signal = Signal.make()
  const isFull = () => size >= maximum || total >= maximumWeight
  return {
    isFull,
    add: (weight: number) => {
      size++
      total += weight
    },
    remove: (count: number, weight: number) => {
      size -= count
      total -= weight
      signal.notify()
    },
    awaitRoom: signal.until(() => !isFull())
  }
}

/** What comes out, and who waits for it. */
const makeOutput = <C, E>(isOver: () => boolean, passedOn: (count: number, weight: number) => void) => {
  let results: Array<C> = []
  let count = 0
  let weight = 0
  let failure: Cause.Cause<E | Cause.Done> | undefined
  let consumer: (() => void) | undefined
  let isNotifying = false

  const notify = () => {
    const current = consumer
    consumer = undefined
    current?.()
  }

  const take = () => {
    const batch = results
    const taken = { count, weight }
    results = []
    count = weight = 0
    return { batch, ...taken }
  }

  const pull = Effect.callback<Arr.NonEmptyReadonlyArray<C>, E | Cause.Done>((resume) => {
    const attempt = () => {
      if (results.length > 0) {
        const { batch, count, weight } = take()
        resume(Effect.succeed(batch as unknown as Arr.NonEmptyReadonlyArray<C>))
        passedOn(count, weight)
      } else if (failure !== undefined) resume(Effect.failCause(failure))
      else if (isOver()) resume(Cause.done())
      else consumer = attempt
    }
    attempt()
    return Effect.sync(() => {
      if (consumer === attempt) consumer = undefined
    })
  })

  return {
    pull,
    notify,
    // What completes in one go is passed on in one go.
    push: (result: C, size: number, heavy: number) => {
      results.push(result)
      count += size
      weight += heavy
      if (isNotifying || consumer === undefined) return
      isNotifying = true
      queueMicrotask(() => {
        isNotifying = false
        notify()
      })
    },
    fail: (cause: Cause.Cause<E | Cause.Done>) => {
      failure ??= cause
      notify()
    }
  }
}

type Output<C, E> = ReturnType<typeof makeOutput<C, E>>

/** What is being worked on. */
const makeWorking = <A, U, B, E>(lanes: Lanes.Lanes<A>, restart: Unit<A, U>["restart"]) => {
  const working: Array<Work<A, U, B, E>> = []
  let afterwards = 0
  const byLane = new Map<Lanes.Lane<A>, Work<A, U, B, E>>()
  return {
    size: () => working.length,
    /** How many take a place. */
    places: () => working.length - afterwards,
    /**
     * One takes its place no longer, or again though there may be none: said before what goes on with it begins, which may be its end. Gives
     * whether a place has come free.
     */
    makePlace: (work: Work<A, U, B, E>, isAfterwards: boolean): boolean => {
      if (work.isAfterwards === isAfterwards) return false
      afterwards += isAfterwards ? 1 : -1
      return (work.isAfterwards = isAfterwards)
    },
    add: (lane: Lanes.Lane<A>, unit: U, weight: number): Work<A, U, B, E> => {
      const work = {
        lane,
        unit,
        weight,
        fiber: undefined,
        place: working.length,
        isRestarting: false,
        isAfterwards: false
      }
      working.push(work)
      if (restart !== undefined) byLane.set(lane, work)
      return work
    },
    remove: (work: Work<A, U, B, E>) => {
      // The last takes the place of the one that goes: nothing is left behind of it.
      const last = working.pop()!
      if (work.isAfterwards) afterwards--
      if (last !== work) {
        working[work.place] = last
        last.place = work.place
      }
      if (restart !== undefined) byLane.delete(work.lane)
      lanes.release(work.lane)
    },
    /** Something has arrived of a key that may be worked on. */
    arrived: (lane: Lanes.Lane<A>) => {
      const work = restart === undefined ? undefined : byLane.get(lane)
      if (work?.fiber === undefined || work.isRestarting || restart?.hasRoom(work.unit) !== true) return
      work.isRestarting = true
      Restart.interrupt(work.fiber)
    },
    /** Whether it waits again now, together with what has arrived. */
    rejoins: (work: Work<A, U, B, E>, exit: Exit.Exit<B, E>): boolean => {
      if (!work.isRestarting || Exit.isSuccess(exit) || !Cause.hasInterruptsOnly(exit.cause)) return false
      lanes.putBack(work.lane, restart!.elements(work.unit))
      return true
    },
    interrupt: Effect.suspend(() =>
      Fiber.interruptAll(working.flatMap(({ fiber }) => (fiber === undefined ? [] : [fiber])))
    )
  }
}

/** How a unit is worked on, and what its end leads to. */
interface Course<U, B, E2, R2, C, E3> {
  readonly f: (unit: U) => Effect.Effect<B, E2, R2>
  readonly next: (unit: U, exit: Exit.Exit<B, E2>, isOver: boolean) => Exit.Exit<C, E3> | Effect.Effect<B, E2, R2>
  readonly isAfterwards?: ((unit: U) => boolean) | undefined
}

/** One loop for all that end while another begins: they do not call each other ever deeper. */
const makeDispatch = <A>(
  lanes: Lanes.Lanes<A>,
  turns: Scheduler.SchedulerDispatcher,
  timer: Pick<Timer, "set"> | undefined,
  mayBegin: () => boolean,
  start: (lane: Lanes.Lane<A>) => void
) => {
  let isDispatching = false
  const goOn = () => {
    isDispatching = false
    dispatch()
  }
  const dispatch = () => {
    if (isDispatching) return
    isDispatching = true
    let begun = 0
    while (mayBegin()) {
      if (begun++ === turn) return turns.scheduleTask(goOn, 0)
      const lane = lanes.take()
      if (lane === undefined) break
      start(lane)
    }
    isDispatching = false
    timer?.set(dispatch)
  }
  return dispatch
}

// Nobody is above an observer: what it throws would end the process, and hold the key for ever.
const follow = <A>(next: () => A) => {
  try {
    return next()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** Takes from the lanes, as many at once as `concurrency` says. */
const makeWorkers = Effect.fnUntraced(function* <A, U, B, E2, R2, C, E3>(
  { f, isAfterwards, next }: Course<U, B, E2, R2, C, E3>,
  { restart, size, take, weight }: Unit<A, U>,
  lanes: Lanes.Lanes<A>,
  { fail, push }: Pick<Output<C, E3>, "fail" | "push">,
  concurrency: number,
  timer: Pick<Timer, "set"> | undefined
) {
  const fork = Effect.runForkWith(yield* Effect.context<R2>())
  const working = makeWorking<A, U, B, E2>(lanes, restart)
  const idle = Deferred.makeUnsafe<void>()
  let isStopping = false
  let isOver = false

  const remove = (work: Work<A, U, B, E2>) => {
    working.remove(work)
    if (isStopping && working.size() === 0) Deferred.doneUnsafe(idle, Effect.void)
    dispatch()
  }

  const finish = (work: Work<A, U, B, E2>, exit: Exit.Exit<C, E3>) => {
    if (Exit.isSuccess(exit)) push(exit.value, size(work.unit), work.weight)
    else {
      isStopping = true
      fail(exit.cause)
    }
    remove(work)
  }

  const judge = (work: Work<A, U, B, E2>, exit: Exit.Exit<B, E2>) => {
    if (!isStopping && working.rejoins(work, exit)) return remove(work)
    const after = follow(() => next(work.unit, exit, isOver))
    if (Exit.isExit(after)) finish(work, after as Exit.Exit<C, E3>)
    else if (isOver) finish(work, Exit.interrupt())
    else {
      const makesPlace = working.makePlace(work, isAfterwards?.(work.unit) === true)
      begin(work, after)
      if (makesPlace) dispatch()
    }
  }

  // A root fiber and not a child: nothing that happens to one element, its interruption included, happens to another.
  const begin = (work: Work<A, U, B, E2>, effect: Effect.Effect<B, E2, R2>) => {
    const fiber = fork(effect)
    work.fiber = fiber
    fiber.addObserver((exit) => judge(work, exit))
  }

  const start = (lane: Lanes.Lane<A>) => {
    const unit = take(lane)
    begin(
      working.add(lane, unit, weight(unit)),
      Effect.suspend(() => f(unit))
    )
  }

  const dispatch = makeDispatch(
    lanes,
    (yield* Scheduler.Scheduler).makeDispatcher(),
    timer,
    () => !isStopping && working.places() < concurrency,
    start
  )

  return {
    dispatch,
    arrived: working.arrived,
    /** Nothing further begins. */
    close: () => {
      isStopping = true
    },
    end: (grace: Duration.Duration) =>
      Effect.gen(function* () {
        isStopping = true
        if (working.size() > 0 && !Duration.isZero(grace)) yield* Effect.timeoutOption(Deferred.await(idle), grace)
        isOver = true
        yield* working.interrupt
      })
  }
})

interface Timer {
  /** Calls `dispatch` when the next pause is over. */
  readonly set: (dispatch: () => void) => void
  readonly stop: Effect.Effect<void>
}

/** Has keys whose pause is over looked at in time: one timer for all of them. */
const makeTimer = Effect.fnUntraced(function* (
  lanes: Pick<Lanes.Lanes<never>, "due" | "endPauses">,
  now: () => number
): Effect.fn.Return<Timer> {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let timer: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined
  const set = (dispatch: () => void): void => {
    const at = lanes.due()
    if (at === undefined || (timer !== undefined && timer.at <= at)) return
    timer?.fiber.interruptUnsafe()
    const ring = Effect.sync(() => {
      timer = undefined
      lanes.endPauses()
      dispatch()
    })
    timer = { at, fiber: fork(Effect.andThen(Elapsed.sleepUntil(now, at), ring)) }
  }
  return {
    set,
    stop: Effect.suspend(() => (timer === undefined ? Effect.void : Fiber.interrupt(timer.fiber)))
  }
})

/** What an element waits for besides its turn. */
const pausesOf = Effect.fnUntraced(function* <A>({ every = 0, quiet = 0, size = defaultSize }: BatchOptions<A>) {
  const distance = yield* Setting.duration("every", every, "zero or more")
  const silence = yield* Setting.duration("quiet", quiet, "zero or more")
  yield* Setting.count("size", size)
  return { every: Duration.toMillis(distance), quiet: Duration.toMillis(silence), size }
}, Effect.orDie)

const make = Effect.fnUntraced(function* <A, U, B, E, R, E2, R2, C, E3>(
  pull: Pull.Pull<Arr.NonEmptyReadonlyArray<A>, E, void, R>,
  scope: Scope.Scope,
  course: Course<U, B, E2, R2, C, E3>,
  options: BatchOptions<A>,
  unit: Unit<A, U>
) {
  const { concurrency, inFlight: maximum = 10_000, inFlightWeight = Infinity, weight = weightless } = options
  // Defects: a stream of anything has no error of its own for what the program was written with.
  const grace = yield* Effect.orDie(Setting.duration("Keyed.Grace", yield* Grace, "zero or more"))
  yield* Effect.orDie(Setting.count("concurrency", concurrency))
  yield* Effect.orDie(Setting.count("inFlight", maximum))
  yield* Effect.orDie(Setting.positive("inFlightWeight", inFlightWeight))
  const pauses = yield* pausesOf(options)
  const now = yield* Elapsed.now

  let isDone = false
  const inFlight = makeInFlight(maximum, inFlightWeight)
  const lanes = Lanes.make(options.key, pauses, now)
  const output = makeOutput<C, E | E3>(() => isDone && lanes.isIdle(), inFlight.remove)
  const timer = pauses.every > 0 || pauses.quiet > 0 ? yield* makeTimer(lanes, now) : undefined
  const workers = yield* makeWorkers(course, unit, lanes, output, concurrency, timer)

  // Runs before the scope of the pull closes upstream: what is being worked on may still need it.
  yield* Scope.addFinalizer(scope, Effect.andThen(timer?.stop ?? Effect.void, workers.end(grace)))

  const produce = Effect.gen(function* () {
    while (true) {
      const elements = yield* pull
      for (let index = 0; index < elements.length;) {
        for (; index < elements.length && !inFlight.isFull(); index++) {
          const element = elements[index]!
          inFlight.add(weight(element))
          workers.arrived(lanes.add(element))
        }
        // Who waits for silence would wait for what nobody reads.
        if (inFlight.isFull()) lanes.hurry()
        workers.dispatch()
        if (inFlight.isFull()) yield* inFlight.awaitRoom
      }
    }
  })

  yield* produce.pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        if (Pull.isDoneCause(cause)) {
          isDone = true
          lanes.hurry()
          workers.dispatch()
          output.notify()
        } else {
          workers.close()
          output.fail(cause)
        }
      })
    ),
    Effect.forkIn(scope)
  )

  return output.pull
})
