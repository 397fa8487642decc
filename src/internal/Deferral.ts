/**
 * Messages that are put aside: their handler failed, and they are offered again.
 *
 * Guarantee: a message that is put aside is offered again by its schedule until that has come to its end or the server has dropped it;
 * what is kept is bounded in number and bytes, and what finds no room is left to the server, which is asked for it again.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as BlazeError from "../BlazeError.ts"
import * as Elapsed from "./Elapsed.ts"
import type * as Ids from "../Ids.ts"
import type * as Message from "../Message.ts"
import * as Settings from "../Settings.ts"
import * as States from "./States.ts"
import type * as Store from "../Store.ts"

/** How long the server keeps an unacknowledged message: 7 days, in milliseconds. Source: the official documentation. */
export const retention = Duration.toMillis("7 days")

/** How many places in a schedule are remembered: so many times those that find room, and so many more. */
const rememberedFor = 10
const rememberedBesides = 10_000

/** How far a schedule is followed for a message that an earlier process had put aside, whatever a store says. */
const maximumTries = 1000

interface Entry {
  /** How many steps of its schedule it has taken; a time that a handler asks for is none. */
  tries: number
  /** When it is offered again, by `Elapsed.now`. */
  due: number
  readonly delay: (input: undefined) => Effect.Effect<Option.Option<Duration.Duration>>
  /** When the server has dropped it, by `Elapsed.now`. */
  readonly dropped: number
  message: Message.Message | undefined
  /** What waits for its time. */
  timer: Fiber.Fiber<void> | undefined
}

/**
 * What became of a message that was to be put aside: it was, there is no room for it, its schedule has come to its end, the server has
 * dropped it, it was handled meanwhile, or another process has it.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "Kept" | "NoRoom" | "Exhausted" | "Dropped" | "Handled" | "Conflict"

/**
 * @category models
 * @since 0.1.0
 */
export interface Deferral {
  /** Puts a message aside that was first handed out at `since`, in milliseconds of `Elapsed.now`. */
  readonly defer: (
    message: Message.Message,
    since: number,
    after: Duration.Duration | undefined
  ) => Effect.Effect<Verdict>
  /** Puts a message aside again that an earlier process had put aside. */
  readonly resume: (message: Message.Message, since: number, stored: Store.Deferred) => Effect.Effect<Verdict>
  /** This process does nothing more for it: the next one has all its tries. */
  readonly giveUp: (id: Ids.MessageId) => Effect.Effect<void>
  /** The message of an id that waits here for its time. */
  readonly waiting: (id: Ids.MessageId) => Message.Message | undefined
  /** The message is done with. */
  readonly forget: (id: Ids.MessageId) => void
  /** It was put aside before, and is not done with. */
  readonly knows: (id: Ids.MessageId) => boolean
  /** How many are put aside now. */
  readonly size: () => number
}

// Counted from its arrival here, unless the server's date is later: then that of the server counts, which drops it.
const makeEntry = Effect.fnUntraced(function* (
  schedule: Schedule.Schedule<unknown>,
  message: Message.Message,
  since: number
): Effect.fn.Return<Entry> {
  const delay = yield* Elapsed.delays(schedule)
  const arrivedAt = (yield* Clock.currentTimeMillis) - ((yield* Elapsed.now)() - since)
  const createdLater = Date.parse(message.createdAt) - arrivedAt
  return {
    tries: 0,
    due: 0,
    delay,
    dropped: since + retention + (createdLater > 0 ? createdLater : 0),
    message: undefined,
    timer: undefined
  }
})

/** The messages that wait here for their time, with a bound. */
const makeAside = Effect.fnUntraced(function* (
  bounds: Pick<Settings.Settings, "deferredBytes" | "deferredMessages">,
  on: {
    readonly offer: (message: Message.Message) => void
    readonly drop: (message: Message.Message) => Effect.Effect<void>
  }
) {
  const states = yield* States.States
  const scope = yield* Effect.scope
  const now = yield* Elapsed.now
  let count = 0
  let bytes = 0

  const take = (entry: Entry): Message.Message | undefined => {
    const { message } = entry
    if (message === undefined) return undefined
    entry.message = undefined
    entry.timer = undefined
    count--
    bytes -= message.size
    return message
  }

  const wakeUp = (entry: Entry) =>
    Effect.suspend(() => {
      const message = take(entry)
      if (message === undefined) return Effect.void
      if (now() >= entry.dropped) return on.drop(message)
      states.become(message.id, "Due")
      return Effect.sync(() => on.offer(message))
    })

  return {
    count: () => count,
    take,
    hasRoom: (message: Message.Message) =>
      count < bounds.deferredMessages && bytes + message.size <= bounds.deferredBytes,
    put: (entry: Entry, message: Message.Message) =>
      Effect.suspend(() => {
        states.become(message.id, "Deferred")
        entry.message = message
        count++
        bytes += message.size
        return Effect.map(
          Effect.forkIn(Effect.andThen(Elapsed.sleepUntil(now, entry.due), wakeUp(entry)), scope),
          (timer) => {
            entry.timer = timer
          }
        )
      })
  }
})

/** Takes one more try of the schedule. */
const step = (entry: Entry) => {
  entry.tries++
  return entry.delay(undefined)
}

const askedFor = (after: Duration.Duration | undefined) =>
  after === undefined ? {} : { after: Math.min(Duration.toMillis(after), retention) }

/** Why a message is not put aside, by what its store says. */
const refusalOf = ([claim]: ReadonlyArray<Store.Claim>): Verdict | undefined =>
  claim === "Known" ? "Handled" : claim === "Conflict" ? "Conflict" : undefined

/**
 * `offer` gets each message when it is its time, `drop` one that the server has dropped meanwhile.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (on: {
  readonly offer: (message: Message.Message) => void
  readonly drop: (message: Message.Message) => Effect.Effect<void>
}): Effect.fn.Return<Deferral, BlazeError.BlazeError, Scope.Scope | States.States> {
  const settings = yield* Settings.checked
  const states = yield* States.States
  const clock = yield* Clock.Clock
  const now = yield* Elapsed.now
  // An id stays, with the place in its schedule, from its first deferral until it is done with, whether it finds room or not.
  const entries = new Map<Ids.MessageId, Entry>()
  const aside = yield* makeAside(settings, on)

  const remember = (entry: Entry, id: Ids.MessageId, delay: number): boolean => {
    entry.due = now() + delay
    // Where it stands in its schedule is kept for far more than find room, so that these too come to an end.
    const hasRoom = entries.has(id) || entries.size < rememberedFor * settings.deferredMessages + rememberedBesides
    if (hasRoom) entries.set(id, entry)
    return hasRoom
  }

  const putAside = (entry: Entry, message: Message.Message): Effect.Effect<Verdict> => {
    if (aside.hasRoom(message)) return Effect.as(aside.put(entry, message), "Kept")
    states.become(message.id, entries.has(message.id) ? "Due" : "Forgotten")
    return Effect.succeed("NoRoom")
  }

  return {
    defer: Effect.fnUntraced(function* (message, since, after): Effect.fn.Return<Verdict> {
      const entry = entries.get(message.id) ?? (yield* makeEntry(settings.defer, message, since))
      if (now() >= entry.dropped) return "Dropped"
      // A time that a handler asks for is no try that has failed.
      const delay = after === undefined ? yield* step(entry) : Option.some(after)
      if (Option.isNone(delay)) return "Exhausted"
      const pause = Math.min(Duration.toMillis(delay.value), entry.dropped - now())
      // Stored before it can be offered again: a write that came later would undo what is made of it then.
      if (remember(entry, message.id, pause)) {
        const until = clock.currentTimeMillisUnsafe() + pause
        const outcome = { _tag: "Deferred", tries: entry.tries, until, ...askedFor(after) } as const
        const refusal = refusalOf(yield* states.commit([message.id], outcome))
        if (refusal !== undefined) return refusal
      }
      return yield* putAside(entry, message)
    }),
    resume: Effect.fnUntraced(function* (message, since, { after = 0, tries, until }) {
      const entry = yield* makeEntry(settings.defer, message, since)
      let delay = Duration.zero
      while (entry.tries < Math.min(tries, maximumTries)) {
        const next = yield* step(entry)
        // A schedule that is at its end by now gives it up after this try, and not before.
        if (Option.isNone(next)) break
        delay = next.value
      }
      // Whatever has been done to the clock meanwhile.
      const longest = Math.max(after, Duration.toMillis(delay))
      remember(entry, message.id, Math.min(until - clock.currentTimeMillisUnsafe(), longest))
      return yield* putAside(entry, message)
    }),
    giveUp: (id) =>
      Effect.suspend(() => {
        states.become(id, "GivenUp")
        const until = clock.currentTimeMillisUnsafe()
        return entries.delete(id)
          ? Effect.asVoid(states.commit([id], { _tag: "Deferred", tries: 0, until }))
          : Effect.void
      }),
    waiting: (id) => entries.get(id)?.message,
    forget: (id) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      entry.timer?.interruptUnsafe()
      aside.take(entry)
      entries.delete(id)
    },
    knows: (id) => entries.has(id),
    size: aside.count
  }
})
