/**
 * What has arrived and was not taken.
 *
 * Guarantee: messages come out in the order in which they arrived. What waits is bounded in number and bytes, and yet no answer waits
 * behind messages: while somebody waits for what stands behind them reading goes on, and what finds no room is kept as it came, or left
 * to the server, which is asked for it again.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as MutableList from "effect/MutableList"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Base64 from "../Base64.ts"
import type * as BlazeError from "../BlazeError.ts"
import type * as BlazeSocket from "../BlazeSocket.ts"
import * as Envelope from "../Envelope.ts"
import * as Decoding from "./Decoding.ts"
import type * as Ids from "../Ids.ts"
import * as Message from "../Message.ts"
import * as Settings from "../Settings.ts"
import * as Signal from "./Signal.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Meter from "./Meter.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Inbox {
  /** A connection has begun. */
  readonly open: (wire: Pick<BlazeSocket.Wire, "decode">) => void
  /** It has ended: what was kept of it is listed on the next one. */
  readonly close: () => void
  /**
   * Takes in a message: it is ready, or its frame is kept, or it is refused, and so are all that follow until the server has listed them
   * again, for else a conversation would lose its order. In number one read may go beyond the bound, in bytes it may not: a frame of a few
   * KB can hold a message of many MB.
   */
  readonly accept: (view: Envelope.MessageView, frame: Uint8Array | string) => void
  /** All of one read was taken in: whoever waits for messages gets them. */
  readonly announce: () => void
  /** Whether there is room for more, or somebody waits for what stands behind the messages. */
  readonly mayReadNow: () => boolean
  /** Waits until that is so. */
  readonly mayRead: Effect.Effect<void>
  /** So many more wait for what stands behind the messages: an answer, a receipt, room for acknowledgements. */
  readonly waitBehind: (more: number) => void
  /** Waits for what stands behind the messages. */
  readonly urgently: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The same, for as long as a scope is open. */
  readonly urgent: Effect.Effect<void, never, Scope.Scope>
  /** Waits until something was refused that there is room for now. */
  readonly refused: Effect.Effect<void>
  /** Whether something was refused that the server has not listed again. */
  readonly isRefusing: () => boolean
  /** Waits until that is so. */
  readonly refusing: Effect.Effect<void>
  /** Waits until it is not. */
  readonly allListed: Effect.Effect<void>
  /** Waits until something is left to the server alone that was handed out before. */
  readonly forgotten: Effect.Effect<void>
  /** Something that was handed out is left to the server alone. */
  readonly forget: () => void
  /** The server is asked to list what is left to it alone, and if that fails it is asked again, on this connection or the next. */
  readonly listing: () => void
  /** From here on the server lists everything that was refused. */
  readonly listed: () => void
  /** Waits until there are messages; for one consumer. Fails once there will be none, and all are taken. */
  readonly arrival: Pull.Pull<void, BlazeError.BlazeError>
  /** Waits until messages wait here. */
  readonly filled: Effect.Effect<void>
  /** Waits until there will be no more messages. */
  readonly ended: Effect.Effect<void>
  /** Takes the messages that are there. Apart from the wait, so that an interruption cannot lose them in between. */
  readonly take: () => ReadonlyArray<Message.Message>
  /** Hands messages out again, before or behind those that wait. */
  readonly offer: (messages: ReadonlyArray<Message.Message>, place: "first" | "last") => void
  /** Takes a message out, if it waits here. */
  readonly remove: (id: Ids.MessageId) => boolean
  /** The messages that wait, the first to come first. */
  readonly waiting: () => ReadonlyArray<Message.Message>
  /** How many messages that nobody had seen before were made something of: what a connection is for. */
  readonly progress: { made: number }
  /** Ends `arrival` at once; what was not taken stays with the server. */
  readonly end: Effect.Effect<void>
  /** There will be no more messages. */
  readonly stop: (reason: BlazeError.BlazeError) => void
}

/** How many kept frames become messages in one go. */
const refillSize = 256

type Bounds = Pick<Settings.Settings, "inboxBytes" | "inboxMessages" | "overflowBytes">

/**
 * An inbox of a size.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = Effect.fnUntraced(function* (bounds: Bounds): Effect.fn.Return<Inbox, never, Meter.Meter> {
  const meter = yield* Meter.Meter
  const decoder = yield* Base64.Decoder
  const ready = makeReady(bounds, meter)
  const kept = makeKept(bounds.overflowBytes)
  const signal = Signal.make()
  const isFull = () => kept.size() > 0 || !ready.hasRoom()
  const left = makeLeft(signal, isFull)
  const behind = makeBehind(signal)
  const mayReadNow = () => behind.isAwaited() || !isFull()
  let wire: Pick<BlazeSocket.Wire, "decode"> | undefined
  const { arrival, end, ended, stop } = makeEnd(signal, () => ready.size() > 0)

  // What was kept comes before what is read next, in the order in which it came.
  const refill = () => {
    for (let n = 0; n < refillSize && wire !== undefined && kept.size() > 0 && ready.fitsMore(); n++) {
      // It was read before it was kept.
      const envelope = Result.getOrThrow(wire.decode(kept.take()))
      ready.add(Message.fromView(Result.getOrThrow(Decoding.messageView(envelope.data)), decoder))
    }
  }

  const changed = () => {
    refill()
    ready.count()
    signal.notify()
  }

  return {
    open: (opened) => {
      kept.clear()
      wire = opened
      left.listed()
    },
    close: () => {
      kept.clear()
      wire = undefined
    },
    accept: (view, frame) => {
      if (wire === undefined) return
      const isRefusing = left.isRefusing()
      if (!isRefusing && kept.size() === 0 && ready.fitsMore()) ready.add(Message.fromView(view, decoder))
      else if (isRefusing || !kept.add(frame)) {
        left.refuse()
        meter.measure(Telemetry.metrics.refusedPushes, 1)
      }
    },
    announce: changed,
    mayReadNow,
    mayRead: signal.until(mayReadNow),
    waitBehind: behind.wait,
    urgently: (effect) => Effect.scoped(Effect.andThen(behind.urgent, effect)),
    urgent: behind.urgent,
    refused: left.refused,
    isRefusing: left.isRefusing,
    refusing: left.refusing,
    allListed: left.allListed,
    forgotten: left.forgotten,
    forget: left.forget,
    listing: left.listing,
    listed: left.listed,
    arrival,
    filled: signal.until(() => ready.size() > 0),
    ended,
    ...makeHanded(ready, changed),
    progress: { made: 0 },
    end,
    stop
  }
})

/** What goes from hand to hand, each time of which is told. */
const makeHanded = (
  ready: ReturnType<typeof makeReady>,
  changed: () => void
): Pick<Inbox, "take" | "offer" | "remove" | "waiting"> => ({
  take: () => {
    const taken = ready.takeAll()
    changed()
    return taken
  },
  offer: (messages, place) => {
    ready.offer(messages, place)
    changed()
  },
  remove: (id) => {
    const isRemoved = ready.remove(id)
    if (isRemoved) changed()
    return isRemoved
  },
  waiting: ready.waiting
})

/** Whether there will be more messages. */
const makeEnd = (signal: Signal.Signal, hasMessages: () => boolean) => {
  let state: "Open" | "Ended" | BlazeError.BlazeError = "Open"
  return {
    arrival: Effect.flatMap(
      signal.until(() => state !== "Open" || hasMessages()),
      (): Pull.Pull<void, BlazeError.BlazeError> => {
        if (state === "Ended") return Cause.done()
        return state === "Open" || hasMessages() ? Effect.void : Effect.fail(state)
      }
    ),
    ended: signal.until(() => state !== "Open"),
    end: Effect.sync(() => {
      state = "Ended"
      signal.notify()
    }),
    stop: (reason: BlazeError.BlazeError) => {
      if (state === "Open") state = reason
      signal.notify()
    }
  }
}

/** What the server alone has: refused when it came, or handed out before and forgotten. */
const makeLeft = (signal: Signal.Signal, isFull: () => boolean) => {
  let isRefusing = false
  let isForgotten = false
  return {
    isRefusing: () => isRefusing,
    refuse: () => {
      isRefusing = true
    },
    refused: signal.until(() => isRefusing && !isFull()),
    refusing: signal.until(() => isRefusing),
    allListed: signal.until(() => !isRefusing),
    listed: () => {
      isRefusing = false
    },
    forget: () => {
      isForgotten = true
      signal.notify()
    },
    forgotten: signal.until(() => isForgotten),
    listing: () => {
      isForgotten = false
    }
  }
}

/** Who waits for what stands behind the messages. */
const makeBehind = (signal: Signal.Signal) => {
  let waiting = 0
  const wait = (more: number) => {
    const before = waiting
    waiting += more
    if (before === 0) signal.notify()
  }
  return {
    wait,
    isAwaited: () => waiting > 0,
    urgent: Effect.acquireRelease(
      Effect.sync(() => wait(1)),
      () => Effect.sync(() => wait(-1))
    )
  }
}

/**
 * An inbox of the size that the settings say.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Inbox, BlazeError.BlazeError, Meter.Meter> = Effect.flatMap(Settings.checked, makeWith)

/** The messages that a consumer may take. */
const makeReady = (bounds: Pick<Bounds, "inboxBytes" | "inboxMessages">, meter: Meter.Meter["Service"]) => {
  let messages: Array<Message.Message> = []
  let bytes = 0
  // How many a consumer has been told of: those of a read that is still taken in are none of them.
  let announced = 0
  let counted = 0
  const counts = new Map<string, number>()
  return {
    size: () => messages.length,
    hasRoom: () => messages.length < bounds.inboxMessages && bytes < bounds.inboxBytes,
    fitsMore: () => announced < bounds.inboxMessages && bytes < bounds.inboxBytes,
    add: (message: Message.Message) => {
      messages.push(message)
      bytes += message.size
      counts.set(message.category, (counts.get(message.category) ?? 0) + 1)
    },
    count: () => {
      announced = messages.length
      if (counts.size > 0) {
        for (const [category, count] of counts) meter.measure(Telemetry.metrics.messages, count, category)
        counts.clear()
      }
      if (counted === messages.length) return
      counted = messages.length
      meter.measure(Telemetry.metrics.inbox, counted)
    },
    offer: (again: ReadonlyArray<Message.Message>, place: "first" | "last") => {
      for (const message of again) bytes += message.size
      if (place === "first") messages = [...again, ...messages]
      else for (const message of again) messages.push(message)
    },
    remove: (id: Ids.MessageId): boolean => {
      const index = messages.findIndex((message) => message.id === id)
      if (index < 0) return false
      for (const message of messages.splice(index, 1)) bytes -= message.size
      return true
    },
    takeAll: (): ReadonlyArray<Message.Message> => {
      const taken = messages
      messages = []
      bytes = 0
      announced = 0
      return taken
    },
    waiting: (): ReadonlyArray<Message.Message> => messages
  }
}

/** Frames as they came, up to so many bytes. */
const makeKept = (maximum: number) => {
  const frames = MutableList.make<Uint8Array>()
  let bytes = 0
  return {
    size: () => frames.length,
    add: (frame: Uint8Array | string): boolean => {
      if (typeof frame === "string" || bytes + frame.length > maximum) return false
      // A copy: what arrives is a window on a larger buffer, which it would hold.
      MutableList.append(frames, new Uint8Array(frame))
      bytes += frame.length
      return true
    },
    take: (): Uint8Array => {
      const frame = MutableList.take(frames) as Uint8Array
      bytes -= frame.length
      return frame
    },
    clear: () => {
      MutableList.clear(frames)
      bytes = 0
    }
  }
}
