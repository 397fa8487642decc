/**
 * One clock and one queue of tasks for all that is simulated.
 *
 * Guarantee: the same program does the same in every run, step by step, however fast the machine is. A `Life` is a process: once it is
 * killed no fiber of it takes another step, so that no finalizer runs and nothing is flushed; its wall clock can be set without touching
 * the time that passes.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Random from "effect/Random"
import type * as Scheduler from "effect/Scheduler"

/** Something that is due at a time; what has nothing to do any more was called off. */
interface Timer {
  readonly at: number
  readonly number: number
  readonly life: Life | undefined
  act: (() => void) | undefined
}

const isBefore = (a: Timer, b: Timer) => a.at < b.at || (a.at === b.at && a.number < b.number)

/** A binary heap, the earliest on top. */
const makeTimers = () => {
  const items: Array<Timer> = []
  return {
    first: (): Timer | undefined => items[0],
    add: (timer: Timer) => {
      let index = items.push(timer) - 1
      while (index > 0) {
        const parent = (index - 1) >> 1
        if (!isBefore(timer, items[parent]!)) break
        items[index] = items[parent]!
        index = parent
      }
      items[index] = timer
    },
    remove: () => {
      const last = items.pop()!
      if (items.length === 0) return
      let index = 0
      while (true) {
        let child = 2 * index + 1
        if (child >= items.length) break
        if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++
        if (!isBefore(items[child]!, last)) break
        items[index] = items[child]!
        index = child
      }
      items[index] = last
    }
  }
}

/** A task of a fiber that is ready to go on. */
interface Task {
  readonly life: Life
  readonly priority: number
  readonly run: () => void
}

/** How many steps there may be at one moment: what takes more goes round for ever. */
const stepsAtOnce = 300_000
const operationsAtOnce = 20_000_000

/**
 * Something goes round for ever, and time does not pass.
 *
 * @category errors
 * @since 0.1.0
 */
export class Standstill extends Error {
  constructor() {
    super("There are steps without an end, and no time passes: something goes round for ever.")
  }
}

const nanos = (millis: number) => BigInt(Math.round(millis * 1000)) * 1000n

/** How many turns of the queue of promises may pass without a task before all is taken to wait for time. */
const hops = 16
/** After how many rounds the program around the simulation has its turn. */
const rounds = 256
/** After how many steps a fiber lets the others run. */
const stepsPerTurn = 2048

/**
 * @category models
 * @since 0.1.0
 */
export interface World {
  /** The time since the beginning, in milliseconds. */
  readonly now: () => number
  /** When the next thing is due, if anything is. */
  readonly next: () => number | undefined
  /** A new process. */
  readonly begin: () => Life
  /** Has something happen at a time, unless the process that it is for has been killed by then. */
  readonly at: (time: number, life: Life | undefined, act: () => void) => void
  /** Lets all go on until then: whatever does not wait for time is done, and then the earliest of what does. Dies with a `Standstill`. */
  readonly advance: (to: number) => Effect.Effect<void>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Life {
  readonly isAlive: () => boolean
  /** How many steps its fibers have taken. */
  readonly steps: () => number
  readonly scheduler: Scheduler.Scheduler
  readonly clock: Clock.Clock
  /** Sets its wall clock apart from the world's, in milliseconds. */
  readonly setClock: (offset: number) => void
  /** Ends it where it stands, or after so many more of its tasks and timers. */
  readonly kill: (afterSteps: number, killed: () => void) => void
}

/** The time, and what is due when. */
const makeAgenda = () => {
  const timers = makeTimers()
  let now = 0
  let made = 0
  // What was called off, or is for somebody who is dead, is not due any more.
  const first = () => {
    let timer = timers.first()
    while (timer !== undefined && (timer.act === undefined || timer.life?.isAlive() === false)) {
      timers.remove()
      timer = timers.first()
    }
    return timer
  }
  return {
    now: () => now,
    next: () => first()?.at,
    at: (time: number, life: Life | undefined, act: () => void): Timer => {
      // Whole milliseconds, as the timers of the platform: a smaller rest would never be over.
      const timer: Timer = { at: Math.ceil(Math.max(time, now)), number: made++, life, act }
      timers.add(timer)
      return timer
    },
    /** The earliest that is due until then, for which its time has come. When there is none, all the time until then has passed. */
    take: (to: number) => {
      const timer = first()
      if (timer === undefined || timer.at > to) {
        now = to
        return undefined
      }
      timers.remove()
      now = timer.at
      return timer
    }
  }
}
type Agenda = ReturnType<typeof makeAgenda>

/** The steps of everybody, each of which may be the last one of a life or one too many for its moment. */
const makeSteps = () => {
  // Since time last passed.
  let steps = 0
  // What fibers do within their steps: one that never waits takes few steps, and long ones.
  let operations = 0
  const pending = new Map<Life, { steps: number; readonly end: () => void }>()

  // A kill that was announced comes before the step that it counts down to.
  const countdown = (life: Life): boolean => {
    const kill = pending.get(life)
    if (kill !== undefined && kill.steps-- === 0) kill.end()
    return life.isAlive()
  }
  const timePasses = () => {
    steps = 0
    operations = 0
  }
  return {
    timePasses,
    operate: () => {
      operations++
    },
    take: (life: Life | undefined, act: () => void) => {
      if (life !== undefined && !countdown(life)) return
      if (++steps > stepsAtOnce || operations > operationsAtOnce) {
        timePasses()
        throw new Standstill()
      }
      act()
    },
    /** Has a life end before the step after so many more, or now. */
    killAfter: (life: Life, steps: number, killed: () => void) => {
      const end = () => {
        pending.delete(life)
        killed()
      }
      const known = pending.get(life)
      if (steps === 0) end()
      // The one that comes first is the one that counts.
      else if (known === undefined || steps < known.steps) pending.set(life, { steps, end })
    }
  }
}
type Steps = ReturnType<typeof makeSteps>

const shuffle = (batch: Array<Task>, random: typeof Random.Random.Service) => {
  for (let index = batch.length - 1; index > 0; index--) {
    const other = Math.floor(random.nextDoubleUnsafe() * (index + 1))
    const task = batch[index]!
    batch[index] = batch[other]!
    batch[other] = task
  }
}

/** The tasks that are ready, and those that they make ready, until there is none. */
const makeTasks = (steps: Steps, order: typeof Random.Random.Service | undefined) => {
  let tasks: Array<Task> = []
  return {
    add: (task: Task) => {
      tasks.push(task)
    },
    isEmpty: () => tasks.length === 0,
    drain: () => {
      while (tasks.length > 0) {
        const batch = tasks
        tasks = []
        if (order !== undefined) shuffle(batch, order)
        if (batch.some(({ priority }) => priority !== 0)) batch.sort((a, b) => a.priority - b.priority)
        for (const { life, run } of batch) steps.take(life, run)
      }
    }
  }
}
type Tasks = ReturnType<typeof makeTasks>

/** A clock that shows whatever it is set to, while as much time passes on it as in the world. */
const makeClock = (agenda: Agenda, life: () => Life, wall: () => number): Clock.Clock => ({
  currentTimeMillisUnsafe: wall,
  currentTimeMillis: Effect.sync(wall),
  currentTimeNanosUnsafe: () => nanos(wall()),
  currentTimeNanos: Effect.sync(() => nanos(wall())),
  monotonicTimeNanosUnsafe: () => nanos(agenda.now()),
  monotonicTimeNanos: Effect.sync(() => nanos(agenda.now())),
  sleep: (duration) => {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback<void>((resume) => {
      const timer = agenda.at(agenda.now() + millis, life(), () => resume(Effect.void))
      return Effect.sync(() => {
        timer.act = undefined
      })
    })
  }
})

const makeLife = (epoch: number, agenda: Agenda, steps: Steps, tasks: Tasks): Life => {
  let alive = true
  let taken = 0
  let offset = 0
  const dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (run, priority) => {
      if (alive) tasks.add({ life, priority, run })
    },
    flush: () => {}
  }
  const life: Life = {
    isAlive: () => alive,
    steps: () => taken,
    scheduler: {
      executionMode: "async",
      shouldYield: (fiber) => {
        taken++
        steps.operate()
        return fiber.currentOpCount >= stepsPerTurn
      },
      makeDispatcher: () => dispatcher
    },
    clock: makeClock(
      agenda,
      () => life,
      () => Math.floor(epoch + agenda.now() + offset)
    ),
    setClock: (millis) => {
      offset = millis
    },
    kill: (afterSteps, killed) => {
      if (!alive) return
      steps.killAfter(life, afterSteps, () => {
        alive = false
        killed()
      })
    }
  }
  return life
}

/**
 * A world whose wall clock begins at `epoch`, in milliseconds. With `order`, tasks that are ready at once run in random order.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly epoch: number
  readonly order?: typeof Random.Random.Service | undefined
}): World => {
  const { epoch, order } = options
  const agenda = makeAgenda()
  const steps = makeSteps()
  const tasks = makeTasks(steps, order)

  // Promises too: what a chain of them leads to belongs to this moment.
  const comeToRest = async () => {
    tasks.drain()
    for (let quiet = 0; quiet < hops; quiet++) {
      await undefined
      if (tasks.isEmpty()) continue
      tasks.drain()
      quiet = -1
    }
  }

  /** Whether it is done. */
  const advanceSome = async (to: number): Promise<boolean> => {
    for (let round = 0; round < rounds; round++) {
      await comeToRest()
      const before = agenda.now()
      const timer = agenda.take(to)
      if (agenda.now() > before) steps.timePasses()
      if (timer === undefined) return true
      steps.take(timer.life, timer.act!)
    }
    return false
  }

  const advance = (to: number): Effect.Effect<void> =>
    Effect.flatMap(
      Effect.promise(() => advanceSome(to)),
      (isThere) => (isThere ? Effect.void : Effect.andThen(Effect.yieldNow, advance(to)))
    )

  return {
    now: agenda.now,
    next: agenda.next,
    begin: () => makeLife(epoch, agenda, steps, tasks),
    at: agenda.at,
    advance
  }
}
