/**
 * The life of an id: open, deferred, given up or handled.
 *
 * Guarantee: an id has one state, whatever arrives again; a message is open from the moment that it is taken until somebody says what
 * became of it; what is acknowledged is remembered before it is.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Acknowledgements from "./Acknowledgements.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Connection from "./Connection.ts"
import type * as Aside from "./Aside.ts"
import * as Dropped from "./Dropped.ts"
import * as ErrorKind from "./ErrorKind.ts"
import * as Ids from "../Ids.ts"
import type * as Inbox from "./Inbox.ts"
import type * as Message from "../Message.ts"
import * as Outstanding from "./Outstanding.ts"
import * as Recalls from "./Recalls.ts"
import * as Signal from "./Signal.ts"
import * as States from "./States.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as Store from "../Store.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

type Open = Outstanding.Open

/**
 * What came of an acknowledgement: what is `Changed` is still open, and held once more, for who handles it again.
 *
 * @category models
 * @since 0.1.0
 */
export type Acked = "Changed" | void

/**
 * @category models
 * @since 0.1.0
 */
export interface Ledger extends Pick<
  Outstanding.Outstanding,
  "entries" | "handBack" | "hold" | "release" | "takeOver"
> {
  /**
   * Waits for messages and opens those that are neither open nor settled. Ends, or fails with why there will be no more. They are given
   * where nothing can be interrupted: what is open is known to somebody.
   */
  readonly receive: (
    give: (entries: ReadonlyArray<Open>) => void
  ) => Effect.Effect<void, BlazeError.BlazeError | Cause.Done>
  /** It is handled: acknowledges it, once that and what is written with it are stored, where the store commits at once. */
  readonly ack: (entry: Open, writes: ReadonlyArray<Store.Write>) => Effect.Effect<Acked>
  /** As `ack`, for what was handled together: all of it is `Changed`, or nothing. */
  readonly ackAll: (entries: ReadonlyArray<Open>, writes: ReadonlyArray<Store.Write>) => Effect.Effect<Acked>
  /** It is not: puts it aside, or gives it up when it has been offered for long enough. */
  readonly defer: (entry: Open, after?: Duration.Duration) => Effect.Effect<void>
  /** It cannot be: neither offers it again nor acknowledges it. */
  readonly giveUp: (entry: Open, reason: string) => Effect.Effect<void>
  /** Whether a handler that is about to begin with it shall not: it was taken back or settled, or is a recall that nobody is told of. */
  readonly skips: (entry: Open) => boolean
  /** How many are open, those that are just being put aside or given up included, and how many somebody holds. */
  readonly count: () => { readonly open: number; readonly held: number }
  /** Tells when something was opened or settled. */
  readonly signal: Signal.Signal
  /** Measures what is open, and tells once of what was dropped. */
  readonly inspect: Effect.Effect<void>
  /** Waits until there is something to look at, here or, when something has ended, elsewhere. */
  readonly busy: (elsewhere: () => boolean) => Effect.Effect<void>
}

/**
 * A push of what the bot itself has sent; notices of its own transfers and groups carry its id too.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isOwn = (message: Message.Message, userId: Ids.UserId): boolean =>
  message.view.user_id === userId && !message.isSystem

const isSealed = ({ value }: Open) => value?._tag === "Unknown" && value.isSealed

/** Opens what has come sealed, and is still open then. */
const makeUnsealed = (
  open: Pick<Outstanding.Outstanding, "replace">,
  read: (message: Message.Message) => Effect.Effect<Message.Message>
) => {
  // What one consumer leaves may be settled all the same, while another one waits for this.
  const unseal = (entry: Open) =>
    Effect.suspend(() => {
      const { value } = entry
      return value === undefined ? Effect.void : Effect.map(read(value), (message) => open.replace(entry, message))
    })
  return (entries: ReadonlyArray<Open>) => {
    const sealed = entries.filter(isSealed)
    return sealed.length === 0
      ? Effect.succeed(entries)
      : Effect.as(Effect.forEach(sealed, unseal, { discard: true }), entries)
  }
}

/** Opens what is new of the messages that have come in. */
const makeAdmit = Effect.fnUntraced(function* (
  inbox: Inbox.Inbox,
  open: Outstanding.Outstanding,
  aside: Pick<Aside.Aside, "knows" | "resume" | "withdraw">,
  takenBack: TakenBack,
  read: (message: Message.Message) => Effect.Effect<Message.Message>
) {
  const acks = yield* Acknowledgements.Acknowledgements
  const states = yield* States.States
  const { userId } = yield* Signer.Signer
  const meter = yield* Meter.Meter
  const { metrics } = Telemetry

  const judge = (messages: ReadonlyArray<Message.Message>, verdicts: ReadonlyArray<States.Verdict>) => {
    const entries: Array<Open> = []
    const resumed = takenBack.note(messages, verdicts)
    const since = meter.now()
    let backlogged = 0
    let progressed = false
    for (let index = 0; index < messages.length; index++) {
      const message = messages[index]!
      const verdict = verdicts[index]!
      if (verdict === "New") {
        // What was put aside and is offered again has been counted, and says nothing about the connection.
        if (!aside.knows(message.id)) {
          if (message.fromBacklog) backlogged++
          progressed = true
        }
        if (takenBack.settles(message)) continue
        entries.push(open.begin(message, since))
        continue
      }
      if (verdict === "Unread") {
        aside.withdraw(message.id)
        continue
      }
      if (typeof verdict === "object") {
        if (takenBack.settles(message)) continue
        resumed.push(aside.resume(message, verdict, since))
        continue
      }
      const returned = verdict === "Open" ? open.takeReturned(message.id) : undefined
      if (returned !== undefined && !returned.isSettling) {
        if (takenBack.settles(message)) open.end(returned)
        else entries.push(returned)
        continue
      }
      meter.measure(metrics.duplicates, 1, verdict)
      if (verdict === "Handled") acks.offer(message.id)
    }
    if (backlogged > 0) meter.measure(metrics.backlogged, backlogged)
    if (progressed) inbox.progress.made++
    return resumed.length === 0 ? Effect.succeed(entries) : Effect.as(Effect.all(resumed, { discard: true }), entries)
  }

  const unsealed = makeUnsealed(open, read)

  // Not interruptible once messages are taken: they are open then, and known to whoever consumes next.
  return Effect.suspend(() => {
    const messages: Array<Message.Message> = []
    let own = 0
    for (const message of inbox.take()) {
      if (!isOwn(message, userId)) messages.push(message)
      else {
        own++
        acks.offer(message.id)
      }
    }
    if (own > 0) meter.measure(metrics.own, own)
    return states.admit(messages.map((message) => message.id)).pipe(
      Effect.flatMap((verdicts) => judge(messages, verdicts)),
      Effect.flatMap(unsealed)
    )
  }).pipe(Effect.uninterruptible)
})

/** What becomes of messages that are taken back, and of their recalls. */
const makeTakenBack = Effect.fnUntraced(function* (aside: Aside.Aside, recalls: Recalls.Recalls) {
  const acks = yield* Acknowledgements.Acknowledgements
  const states = yield* States.States
  const { tellOfRecalls } = yield* Settings.checked

  const conclude = (id: Ids.MessageId) => {
    aside.forget(id)
    recalls.forget(id)
    states.become(id, "Handled")
    acks.offer(id)
  }
  const skips = (message: Message.Message) => recalls.takes(message) || (!tellOfRecalls && recalls.hasTaken(message))
  const settles = (message: Message.Message): boolean => {
    const isSkipped = skips(message)
    if (isSkipped) conclude(message.id)
    return isSkipped
  }

  return {
    conclude,
    /** It is not this process's to settle any more. */
    leave: (id: Ids.MessageId) => {
      aside.forget(id)
      recalls.forget(id)
      states.become(id, "Forgotten")
    },
    skips,
    /** Whether nobody gets it, which settles it. */
    settles,
    giveUp: (message: Message.Message, reason: string) =>
      Effect.suspend(() => (settles(message) ? Effect.void : aside.giveUp(message, reason))),
    defer: (message: Message.Message, since: number, after: Duration.Duration | undefined) =>
      Effect.suspend(() =>
        settles(message)
          ? Effect.void
          : Effect.map(aside.defer(message, since, after), () => {
              // A recall that came while this was being stored has found it open, and was noted.
              if (states.of(message.id) === "Deferred") settles(message)
            })
      ),
    /** Looks for recalls among what has come, whose messages may have come with them; gives what is to be told. */
    note: (
      messages: ReadonlyArray<Message.Message>,
      verdicts: ReadonlyArray<States.Verdict>
    ): Array<Effect.Effect<void>> => {
      const told: Array<Effect.Effect<void>> = []
      for (let index = 0; index < messages.length; index++) {
        const message = messages[index]!
        if (message._tag !== "Recall" || verdicts[index] !== "New") continue
        const { messageId } = message
        const state = states.of(messageId)
        const waiting = aside.waiting(messageId)
        if (state === "GivenUp" ? aside.givenUp.takesBack(message) : waiting && Recalls.isFor(message, waiting)) {
          recalls.taken(message)
          conclude(messageId)
          if (state === "GivenUp") told.push(aside.givenUp.count)
        } else if (state === "Open" || state === "Due" || (state === "Deferred" && waiting === undefined)) {
          recalls.note(message)
        }
      }
      return told
    }
  }
})
type TakenBack = Effect.Success<ReturnType<typeof makeTakenBack>>

/** What is put aside, given up, and taken back. */
const makeSetApart = Effect.fnUntraced(function* <R>(inbox: Inbox.Inbox, makeAside: Aside.Make<R>) {
  const states = yield* States.States
  const meter = yield* Meter.Meter
  const recalls = Recalls.make(
    (id) => states.of(id) === "Open",
    () => meter.measure(Telemetry.metrics.takenBack, 1)
  )
  const aside = yield* makeAside(inbox, recalls)
  const takenBack = yield* makeTakenBack(aside, recalls)
  return { aside, takenBack }
})

/** More is open than may be, which is told once until it is half as much. */
const makeTooMany = (maximum: number, open: () => number) => {
  let isTold = false
  return {
    isSo: () => {
      if (open() < maximum / 2) isTold = false
      return open() >= maximum
    },
    tell: Effect.suspend(() => {
      if (isTold) return Effect.void
      isTold = true
      return Effect.logWarning(
        `${maximum} messages are open, handed out and neither acknowledged nor deferred: no further one is handed out until some are. The setting maximumOpen is the bound.`
      )
    })
  }
}

/** Measures what is open, and tells of what was dropped. */
const makeInspection = Effect.fnUntraced(function* (
  inbox: Inbox.Inbox,
  open: Pick<Outstanding.Outstanding, "activity" | "count" | "entries" | "oldest">,
  isAwaited: () => boolean,
  deferred: () => number
) {
  const meter = yield* Meter.Meter
  const clock = yield* Clock.Clock
  const { metrics } = Telemetry
  const tellOfDropped = yield* Dropped.makeInspection(open, isAwaited, meter.now)
  return Effect.suspend(() => {
    const oldest = open.oldest()
    const waiting = inbox.waiting()[0]
    const now = meter.now()
    const written = Date.parse((oldest?.value ?? waiting)?.createdAt ?? "")
    const age = clock.currentTimeMillisUnsafe() - written
    meter.measure(metrics.oldestPending, Number.isFinite(age) ? Math.max(0, age / 1000) : 0)
    meter.measure(metrics.open, open.count().open)
    meter.measure(metrics.oldestOpen, oldest === undefined ? 0 : (now - oldest.since) / 1000)
    meter.measure(metrics.deferred, deferred())
    return Effect.map(tellOfDropped, (dropped) => meter.measure(metrics.dropped, dropped))
  })
})

/** Opens what has come, for one consumer at a time. */
const makeReceive = (
  inbox: Inbox.Inbox,
  acks: Acknowledgements.Acknowledgements["Service"],
  tooMany: ReturnType<typeof makeTooMany>,
  admit: Effect.Success<ReturnType<typeof makeAdmit>>,
  signal: Signal.Signal
) => {
  let awaited = 0
  let isAdmitting = false
  const admitted = Effect.sync(() => {
    isAdmitting = false
    signal.notify()
  })
  const receive = Effect.fnUntraced(function* (give: (entries: ReadonlyArray<Open>) => void) {
    while (true) {
      yield* acks.room
      if (tooMany.isSo()) {
        yield* tooMany.tell
        yield* Effect.raceFirst(
          signal.until(() => !tooMany.isSo()),
          inbox.ended
        )
      }
      awaited++
      yield* Effect.ensuring(
        inbox.arrival,
        Effect.sync(() => awaited--)
      )
      isAdmitting = true
      const isGiven = yield* admit.pipe(
        Effect.map((entries) => {
          if (entries.length === 0) return false
          give(entries)
          return true
        }),
        Effect.ensuring(admitted),
        Effect.uninterruptible
      )
      if (isGiven) return
    }
  })
  return { receive, isAwaited: () => awaited > 0, isAdmitting: () => isAdmitting }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <R>(
  read: (message: Message.Message) => Effect.Effect<Message.Message>,
  makeAside: Aside.Make<R>
): Effect.fn.Return<
  Ledger,
  BlazeError.BlazeError,
  | R
  | Connection.Connection
  | Acknowledgements.Acknowledgements
  | States.States
  | Signer.Signer
  | Meter.Meter
  | Scope.Scope
> {
  const { inbox, withdrawn } = yield* Connection.Connection
  const acks = yield* Acknowledgements.Acknowledgements
  const { maximumOpen } = yield* Settings.checked
  const signal = Signal.make()
  const open = Outstanding.make(inbox, Effect.runForkWith(yield* Effect.context<never>()))
  const { aside, takenBack } = yield* makeSetApart(inbox, makeAside)
  const admit = yield* makeAdmit(inbox, open, aside, takenBack, read)
  const { apart, settled } = makeSettled(open, signal)
  const { isAdmitting, isAwaited, receive } = makeReceive(
    inbox,
    acks,
    makeTooMany(maximumOpen, open.handedOut),
    admit,
    signal
  )
  // What is being admitted is not open yet.
  const known = Effect.tap(
    withdrawn,
    signal.until(() => !isAdmitting())
  )
  yield* Effect.forkScoped(Effect.forever(makeWithdraw(known, open, aside, takenBack, signal)))

  return {
    receive,
    ...(yield* makeAck(open, takenBack, signal)),
    defer: (entry, after) => settled(entry, (message) => takenBack.defer(message, entry.since, after)),
    giveUp: (entry, reason) => settled(entry, (message) => takenBack.giveUp(message, reason)),
    skips: ({ isSettling, value }) => value === undefined || isSettling || takenBack.skips(value),
    hold: open.hold,
    release: open.release,
    handBack: open.handBack,
    takeOver: open.takeOver,
    count: () => {
      const { held, open: size } = open.count()
      return { open: size + apart(), held }
    },
    entries: open.entries,
    signal,
    busy: (elsewhere) =>
      Effect.raceFirst(
        signal.until(() => open.size() > 0 || elsewhere()),
        inbox.filled
      ),
    inspect: yield* makeInspection(inbox, open, isAwaited, aside.size)
  }
})

/** Whether nobody has begun with it: a pipeline of the program's own does with what it takes what it likes, and need not say so. */
const isUnbegun = ({ hands, holders, isQueued }: Open) => holders === 0 && (isQueued || hands() === "Cut")

/** Takes back what somebody else is to have, unless it has been begun with. */
const makeWithdraw = (
  withdrawn: Effect.Effect<ReadonlyArray<Ids.MessageId>>,
  open: Pick<Outstanding.Outstanding, "end" | "entries">,
  aside: Pick<Aside.Aside, "withdraw">,
  takenBack: Pick<TakenBack, "leave">,
  signal: Signal.Signal
) =>
  Effect.map(withdrawn, (ids) => {
    const all = new Set(ids)
    for (const entry of open.entries()) {
      const { value } = entry
      if (value === undefined || !all.has(value.id) || !isUnbegun(entry)) continue
      open.end(entry)
      takenBack.leave(value.id)
      aside.withdraw(value.id)
    }
    signal.notify()
  })

/** What ends in another way than handled. */
const makeSettled = (open: Outstanding.Outstanding, signal: Signal.Signal) => {
  let apart = 0
  const done = Effect.sync(() => {
    apart--
    signal.notify()
  })
  return {
    /** How many are between their end and what is made of it, which may take a store its time. */
    apart: () => apart,
    settled: (entry: Open, settle: (message: Message.Message) => Effect.Effect<void>) =>
      Effect.suspend(() => {
        // What was said first counts, though it is still being stored.
        const message = entry.isSettling ? undefined : open.end(entry)
        if (message === undefined) return Effect.void
        apart++
        return Effect.ensuring(settle(message), done)
      }).pipe(Effect.uninterruptible)
  }
}

/**
 * How long it takes until what could not be stored is written again: 30 seconds, while its conversation waits.
 *
 * @category references
 * @since 0.1.0
 */
export const StorePause = Context.Reference<Duration.Input>("effect-blaze/internal/Ledger/StorePause", {
  defaultValue: () => "30 seconds"
})

/** What is made of what the store says of messages that were handled. */
const makeConclude = Effect.fnUntraced(function* (
  open: Outstanding.Outstanding,
  takenBack: TakenBack,
  signal: Signal.Signal
) {
  const meter = yield* Meter.Meter
  const { stop } = yield* Connection.Connection

  const end = (entry: Open) => {
    const message = open.end(entry)
    if (message === undefined) return
    takenBack.conclude(message.id)
    signal.notify()
  }

  const leave = (ids: ReadonlyArray<Ids.MessageId>) => {
    signal.notify()
    return Effect.andThen(Effect.logError(States.othersHave(ids)), stop(States.takenOver))
  }

  // For the consumer of now, by another entry: who had it has nothing to say of it any more. Whoever still works on it hears of it at its end.
  const offerAgain = (entry: Open) => {
    if (entry.holders > 0) entry.isOvertaken = true
    else {
      const message = open.end(entry)
      if (message !== undefined) open.handBack(open.begin(message, entry.since))
    }
    signal.notify()
  }

  return {
    end,
    /** `isAwaited` is whether who has handled them is there, who can do it again. */
    conclude: (
      entries: ReadonlyArray<Open>,
      claims: ReadonlyArray<Store.Claim>,
      isAwaited: boolean
    ): Effect.Effect<Acked> => {
      const isChanged = claims.includes("Changed")
      for (const entry of entries) open.unsettle(entry, isChanged && isAwaited)
      if (isChanged) {
        meter.measure(Telemetry.metrics.conflicts, 1)
        if (!isAwaited) entries.forEach(offerAgain)
        return changed
      }
      const others: Array<Ids.MessageId> = []
      for (const [index, entry] of entries.entries()) {
        if (States.isOwn(claims[index])) end(entry)
        else {
          const message = open.end(entry)
          if (message === undefined) continue
          others.push(message.id)
          takenBack.leave(message.id)
        }
      }
      return others.length === 0 ? Effect.void : leave(others)
    }
  }
})
type Conclude = Effect.Success<ReturnType<typeof makeConclude>>["conclude"]

/**
 * Stores what was handled. Held meanwhile, and open: nobody else gets it, and nobody takes it for done. It is handled once, however often
 * it has to be written, and whoever is interrupted who waits for that.
 */
const makeStored = Effect.fnUntraced(function* (open: Outstanding.Outstanding, conclude: Conclude) {
  const states = yield* States.States
  const storePause = yield* StorePause
  const scope = yield* Effect.scope

  const write = (ids: ReadonlyArray<Ids.MessageId>, writes: ReadonlyArray<Store.Write>) =>
    Effect.catchCause(
      Effect.suspend(() => states.settle(ids, writes)),
      (cause) =>
        Effect.as(
          Effect.logError(
            `What became of messages cannot be stored${ErrorKind.of(Cause.squash(cause))}: ${Ids.list(ids)}`
          ),
          ids.map((): Store.Claim => "Unstored")
        )
    )

  const storedLater = Effect.fnUntraced(function* (
    entries: ReadonlyArray<Open>,
    ids: ReadonlyArray<Ids.MessageId>,
    writes: ReadonlyArray<Store.Write>
  ) {
    const done = Deferred.makeUnsafe<Acked>()
    let isAwaited = true
    const again = Effect.gen(function* () {
      let claims: ReadonlyArray<Store.Claim> = ["Unstored"]
      while (claims.includes("Unstored")) {
        yield* Effect.sleep(storePause)
        claims = yield* write(ids, writes)
      }
      const concluded = conclude(entries, claims, isAwaited)
      // At once: it is held for who waits, who may be interrupted in between.
      if (concluded === changed) Deferred.doneUnsafe(done, concluded)
      else yield* concluded
    })
    const fiber = yield* Effect.forkIn(Effect.interruptible(again), scope)
    // It is done with, or the bot has ended and nobody writes it any more.
    fiber.addObserver(() => Deferred.doneUnsafe(done, Exit.void))
    // In a finalizer too: nobody could end while a database is away.
    return yield* Effect.onInterrupt(Effect.interruptible(Deferred.await(done)), () =>
      Effect.sync(() => {
        isAwaited = false
      })
    )
  })

  return (entries: ReadonlyArray<Open>, writes: ReadonlyArray<Store.Write>) =>
    Effect.suspend(() => {
      const ids = entries.map(({ value }) => value!.id)
      for (const entry of entries) open.settle(entry)
      return Effect.flatMap(write(ids, writes), (claims) =>
        claims.includes("Unstored") ? storedLater(entries, ids, writes) : conclude(entries, claims, true)
      )
    }).pipe(Effect.uninterruptible)
})

const changed = Exit.succeed<Acked>("Changed")

const isSettled = (entry: Open) => entry.value === undefined || entry.isSettling

/** What is done with what is handled. */
const makeAck = Effect.fnUntraced(function* (
  open: Outstanding.Outstanding,
  takenBack: TakenBack,
  signal: Signal.Signal
) {
  const { commitsAtOnce } = yield* States.States
  const { conclude, end } = yield* makeConclude(open, takenBack, signal)
  const stored = yield* makeStored(open, conclude)
  // What it was acknowledged with before was not stored.
  const again = (entries: ReadonlyArray<Open>) =>
    Effect.suspend(() => {
      for (const entry of entries) {
        entry.isOvertaken = false
        open.hold(entry)
      }
      return changed
    })
  return {
    ack: (entry: Open, writes: ReadonlyArray<Store.Write>): Effect.Effect<Acked> => {
      if (isSettled(entry)) return Exit.void
      if (entry.isOvertaken) return again([entry])
      if (commitsAtOnce || writes.length > 0) return stored([entry], writes)
      end(entry)
      return Exit.void
    },
    ackAll: (entries: ReadonlyArray<Open>, writes: ReadonlyArray<Store.Write>): Effect.Effect<Acked> =>
      Effect.suspend(() => {
        const unsettled = entries.filter((entry) => !isSettled(entry))
        if (unsettled.length === 0) return Effect.void
        if (unsettled.some((entry) => entry.isOvertaken)) return again(unsettled)
        if (commitsAtOnce || writes.length > 0) return stored(unsettled, writes)
        for (const entry of unsettled) end(entry)
        return Effect.void
      })
  }
})
