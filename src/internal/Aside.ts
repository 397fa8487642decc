/**
 * What becomes of messages that are not handled: they are put aside and offered again, or given up.
 *
 * Guarantee: a message is put aside or given up by one rule, whoever says so; what is given up is told, and bounded.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Acknowledgements from "./Acknowledgements.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Connection from "./Connection.ts"
import * as Deferral from "./Deferral.ts"
import type * as Ids from "../Ids.ts"
import type * as Inbox from "./Inbox.ts"
import type * as Message from "../Message.ts"
import * as Meter from "./Meter.ts"
import * as Ordered from "./Ordered.ts"
import * as Recalls from "./Recalls.ts"
import * as Settings from "../Settings.ts"
import * as States from "./States.ts"
import type * as Store from "../Store.ts"
import * as Telemetry from "../Telemetry.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Aside {
  /** Puts a message aside that was first handed out at `since`, in milliseconds of `Elapsed.now`. */
  readonly defer: (message: Message.Message, since: number, after: Duration.Duration | undefined) => Effect.Effect<void>
  /** Puts a message aside again that an earlier process had put aside. */
  readonly resume: (message: Message.Message, stored: Store.Deferred, since: number) => Effect.Effect<void>
  readonly giveUp: (message: Message.Message, reason: string) => Effect.Effect<void>
  /** It is somebody else's to handle, and no handler has begun with it here. */
  readonly withdraw: (id: Ids.MessageId) => void
  /** What is given up. */
  readonly givenUp: {
    readonly count: Effect.Effect<void>
    /** Whether a recall takes back what is given up. */
    readonly takesBack: (recall: Message.Recall) => boolean
  }
  /** The message is done with. */
  readonly forget: (id: Ids.MessageId) => void
  /** The message of an id that waits here for its time. */
  readonly waiting: (id: Ids.MessageId) => Message.Message | undefined
  /** It was put aside before, and is not done with. */
  readonly knows: (id: Ids.MessageId) => boolean
  /** How many are put aside now. */
  readonly size: () => number
}

/**
 * Makes what a ledger does with messages that are not handled.
 *
 * @category models
 * @since 0.1.0
 */
export type Make<R> = (inbox: Inbox.Inbox, recalls: Recalls.Recalls) => Effect.Effect<Aside, BlazeError.BlazeError, R>

const gaveUp = {
  Exhausted: "it has been offered again for as long as the setting defer says.",
  Dropped: "the server, which keeps a message for 7 days, has dropped it."
} as const

/** Gives messages up, and forgets the oldest of too many. */
const makeGivenUp = Effect.fnUntraced(function* (forget: (id: Ids.MessageId) => Effect.Effect<void>) {
  const { tell } = yield* Connection.Connection
  const acks = yield* Acknowledgements.Acknowledgements
  const states = yield* States.States
  const meter = yield* Meter.Meter
  const { maximumGivenUp } = yield* Settings.checked
  // With who has said it where: the message itself is not kept.
  const givenUp = Ordered.make<Ids.MessageId, string>()
  const count = Effect.suspend(() => {
    meter.measure(Telemetry.metrics.givenUp, givenUp.size())
    return tell({ givenUp: givenUp.size() })
  })

  const giveUp = Effect.fnUntraced(function* (message: Message.Message, reason: string): Effect.fn.Return<void> {
    const { id } = message
    // Nobody takes back a notice of the system's.
    givenUp.set(id, message.isSaid ? Recalls.speakerOf(message) : "")
    yield* forget(id)
    yield* Effect.logError(
      `Message ${id} is given up: ${reason.replace(/\.?$/, ".")} It is not offered again by this process, and stays unacknowledged for the next one.`
    )
    const oldest = givenUp.size() > maximumGivenUp ? givenUp.oldest()?.key : undefined
    if (oldest !== undefined) {
      givenUp.delete(oldest)
      states.become(oldest, "Handled")
      acks.offer(oldest)
      yield* Effect.logError(
        `More than ${maximumGivenUp} messages are given up: the oldest, ${oldest}, is acknowledged, and nobody will handle it.`
      )
    }
    yield* count
  })

  return {
    giveUp,
    count,
    /** Whether a recall takes back what is given up. */
    takesBack: (recall: Message.Recall): boolean =>
      givenUp.get(recall.messageId) === Recalls.speakerOf(recall) && givenUp.delete(recall.messageId)
  }
})

/**
 * In this process, which offers them again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  inbox: Inbox.Inbox,
  recalls: Recalls.Recalls
): Effect.fn.Return<
  Aside,
  BlazeError.BlazeError,
  Scope.Scope | Connection.Connection | Acknowledgements.Acknowledgements | States.States | Meter.Meter
> {
  const meter = yield* Meter.Meter
  const states = yield* States.States
  const acks = yield* Acknowledgements.Acknowledgements
  const { stop } = yield* Connection.Connection
  const givenUp = yield* makeGivenUp((id) => {
    recalls.forget(id)
    return deferral.giveUp(id)
  })
  const { giveUp } = givenUp
  const deferral: Deferral.Deferral = yield* Deferral.make({
    offer: (message) => inbox.offer([message], "last"),
    drop: (message) => giveUp(message, gaveUp.Dropped)
  })
  const judge = (message: Message.Message, verdict: Deferral.Verdict) => {
    if (verdict === "Exhausted" || verdict === "Dropped") return giveUp(message, gaveUp[verdict])
    if (verdict === "Handled") {
      // It was stored as handled before, which counts.
      deferral.forget(message.id)
      states.become(message.id, "Handled")
      acks.offer(message.id)
    }
    if (verdict === "Conflict") return stop(States.takenOver)
    // It is on the server only, which has to be asked for it.
    if (verdict === "NoRoom") inbox.forget()
    meter.measure(Telemetry.metrics.deferred, deferral.size())
    return Effect.void
  }
  return {
    giveUp,
    givenUp,
    withdraw: (id) => {
      deferral.forget(id)
      // It is on the server only, which has to be asked for it.
      inbox.forget()
    },
    forget: deferral.forget,
    waiting: deferral.waiting,
    knows: deferral.knows,
    size: deferral.size,
    defer: (message: Message.Message, since: number, after: Duration.Duration | undefined) =>
      Effect.flatMap(deferral.defer(message, since, after), (verdict) => judge(message, verdict)),
    resume: (message: Message.Message, stored: Store.Deferred, since: number) =>
      Effect.flatMap(deferral.resume(message, since, stored), (verdict) => judge(message, verdict))
  }
})
