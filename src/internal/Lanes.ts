/**
 * Elements by their key, and whose turn it is.
 *
 * Guarantee: elements of one key keep their order; a key whose element is being worked on waits; keys that are ready take turns; one that
 * is idle is forgotten. Nothing here costs more the more there is, and what waits for time has no timer of its own.
 *
 * @since 0.1.0
 */
import * as MutableList from "effect/MutableList"
import * as Ordered from "./Ordered.ts"

interface Waiting<A> {
  readonly element: A
  next: Waiting<A> | undefined
}

/**
 * All that waits of one key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lane<A> {
  readonly key: unknown
  first: Waiting<A> | undefined
  last: Waiting<A> | undefined
  size: number
  /** Something of it is being worked on. */
  isBusy: boolean
  /** It stands in the queue of those that are ready. */
  isQueued: boolean
}

/**
 * What a key waits for besides its turn, in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pauses {
  /** From its last arrival, unless `size` elements wait. */
  readonly quiet: number
  readonly size: number
  /** From the beginning of its last work. */
  readonly every: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Lanes<A> {
  readonly add: (element: A) => Lane<A>
  /** The next key whose turn it is, busy from now on. */
  readonly take: () => Lane<A> | undefined
  /** What was taken of a key goes before what has arrived since. */
  readonly putBack: (lane: Lane<A>, elements: ReadonlyArray<A>) => void
  /** Nothing of it is being worked on any more. */
  readonly release: (lane: Lane<A>) => void
  /** Nothing waits, and nothing is being worked on. */
  readonly isIdle: () => boolean
  /** When the first pause is over. */
  readonly due: () => number | undefined
  /** Pauses that are over now are. */
  readonly endPauses: () => void
  /** Nothing can arrive now: there is no silence to wait for. */
  readonly hurry: () => void
}

/**
 * Takes the first element. It is not linked to what follows it: else one that lives long would keep all later ones from being collected soon.
 *
 * @category elements
 * @since 0.1.0
 */
export const shift = <A>(lane: Lane<A>): A => {
  const waiting = lane.first!
  lane.first = waiting.next
  waiting.next = undefined
  if (lane.first === undefined) lane.last = undefined
  lane.size--
  return waiting.element
}

const push = <A>(lane: Lane<A>, element: A) => {
  const waiting: Waiting<A> = { element, next: undefined }
  if (lane.last === undefined) lane.first = waiting
  else lane.last.next = waiting
  lane.last = waiting
  lane.size++
}

/** Pauses of one length: what begins last ends last, so that they stand in the order of their ends. */
const makeTimetable = <A>(length: number) => {
  const ends = Ordered.make<Lane<A>, number>()
  return {
    begin: (lane: Lane<A>, now: number) => ends.set(lane, now + length),
    cancel: (lane: Lane<A>) => ends.delete(lane),
    has: (lane: Lane<A>) => ends.has(lane),
    due: () => ends.oldest()?.value,
    /** Takes those whose pause is over by now. */
    over: function* (now: number) {
      for (const { key: lane, value: end } of ends.entries()) {
        if (end > now) return
        ends.delete(lane)
        yield lane
      }
    }
  }
}

/** What keys wait for besides their turn. */
const makeWaits = <A>({ every, quiet, size }: Pauses, now: () => number) => {
  const silences = quiet > 0 ? makeTimetable<A>(quiet) : undefined
  const distances = every > 0 ? makeTimetable<A>(every) : undefined
  const isSpaced = (lane: Lane<A>) => distances?.has(lane) === true
  return {
    arrived: (lane: Lane<A>) => silences?.begin(lane, now()),
    begun: (lane: Lane<A>) => distances?.begin(lane, now()),
    isSpaced,
    forget: (lane: Lane<A>) => silences?.cancel(lane),
    isPaused: (lane: Lane<A>) => isSpaced(lane) || (lane.size < size && silences?.has(lane) === true),
    due: () => {
      const first = Math.min(silences?.due() ?? Infinity, distances?.due() ?? Infinity)
      return first === Infinity ? undefined : first
    },
    over: function* () {
      const time = now()
      if (silences !== undefined) yield* silences.over(time)
      if (distances !== undefined) yield* distances.over(time)
    },
    endSilences: function* () {
      if (silences !== undefined) yield* silences.over(Infinity)
    }
  }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(key: (element: A) => unknown, pauses: Pauses, now: () => number): Lanes<A> => {
  const lanes = new Map<unknown, Lane<A>>()
  // Taking from the front gives every key its turn.
  const ready = MutableList.make<Lane<A>>()
  const waits = makeWaits<A>(pauses, now)
  // Keys that have something waiting, or being worked on.
  let active = 0

  const enqueue = (lane: Lane<A>) => {
    if (lane.isBusy || lane.isQueued || lane.first === undefined || waits.isPaused(lane)) return
    lane.isQueued = true
    MutableList.append(ready, lane)
  }

  const laneOf = (id: unknown): Lane<A> => {
    const known = lanes.get(id)
    if (known !== undefined) return known
    const lane: Lane<A> = { key: id, first: undefined, last: undefined, size: 0, isBusy: false, isQueued: false }
    lanes.set(id, lane)
    return lane
  }

  // One that waits for its distance is remembered for as long; a silence is nobody's once nothing waits for it.
  const forget = (lane: Lane<A>) => {
    if (lane.first !== undefined || lane.isBusy || waits.isSpaced(lane)) return
    lanes.delete(lane.key)
    waits.forget(lane)
  }

  return {
    add: (element) => {
      const lane = laneOf(key(element))
      if (lane.first === undefined && !lane.isBusy) active++
      push(lane, element)
      waits.arrived(lane)
      enqueue(lane)
      return lane
    },
    take: () => {
      while (true) {
        const lane = MutableList.take(ready)
        if (lane === MutableList.Empty) return undefined
        lane.isQueued = false
        // Something has arrived since it became ready.
        if (waits.isPaused(lane)) continue
        lane.isBusy = true
        waits.begun(lane)
        return lane
      }
    },
    putBack: (lane, elements) => {
      for (const element of elements.toReversed()) {
        lane.first = { element, next: lane.first }
        lane.last ??= lane.first
      }
      lane.size += elements.length
    },
    release: (lane) => {
      lane.isBusy = false
      if (lane.first === undefined) {
        active--
        forget(lane)
      } else enqueue(lane)
    },
    isIdle: () => active === 0,
    due: waits.due,
    endPauses: () => {
      for (const lane of waits.over()) {
        enqueue(lane)
        forget(lane)
      }
    },
    hurry: () => {
      for (const lane of waits.endSilences()) enqueue(lane)
    }
  }
}
