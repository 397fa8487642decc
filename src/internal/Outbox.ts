/**
 * Messages that are stored first, and sent by this process or the next.
 *
 * Guarantee: what was stored is sent once, however often the process ends; in order for each conversation, but for announcements; what is
 * final is kept and not tried again, and what may pass is tried for as long as ids are remembered.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Batches from "./Batches.ts"
import * as BlazeError from "../BlazeError.ts"
import * as Connection from "./Connection.ts"
import type * as Delivery from "../Delivery.ts"
import * as ErrorKind from "./ErrorKind.ts"
import type * as Ids from "../Ids.ts"
import * as Meter from "./Meter.ts"
import type * as Outgoing from "../Outgoing.ts"
import * as Persisted from "./Persisted.ts"
import * as Relay from "./Relay.ts"
import * as Sender from "../Sender.ts"
import * as Sending from "./Sending.ts"
import * as Settings from "../Settings.ts"
import * as Signal from "./Signal.ts"
import * as Signer from "../Signer.ts"
import * as States from "./States.ts"
import * as Store from "../Store.ts"
import * as Telemetry from "../Telemetry.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Outbox extends Context.Service<
  Outbox,
  {
    /** Stores one that goes by itself; fails where Mixin is known to have refused it. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      id: Ids.MessageId | undefined
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /** Stores many that go in batches; what this gives waits for what becomes of them. */
    readonly store: Sender.Sender["Service"]["store"]
  }
>()("effect-blaze/Outbox") {}

const keepsNone = Effect.fail(Persisted.failed("the store keeps no messages to be sent"))

type Errors = Option.Option<BlazeError.BlazeError>

/**
 * How often it is looked at what other processes have stored: every second.
 *
 * @category references
 * @since 0.1.0
 */
export const SharedPeriod = Context.Reference<Duration.Input>("effect-blaze/internal/Outbox/SharedPeriod", {
  defaultValue: () => "1 second"
})

/** How often it is looked at what they have sent that somebody here waits for. */
const sharedPeriodOfResults = "5 seconds"

interface Watcher {
  readonly wanted: ReadonlySet<Ids.MessageId>
  readonly found: Map<Ids.MessageId, Errors>
  readonly failed: Deferred.Deferred<never, BlazeError.BlazeError>
}

/** Who waits for what becomes of messages. */
const makeWatchers = (isShared: boolean) => {
  const watchers = new Set<Watcher>()
  const signal = Signal.make()
  let failure: BlazeError.BlazeError | undefined
  return {
    tell: (results: ReadonlyArray<Persisted.Fate>) => {
      const unwatched = new Set(results)
      for (const { found, wanted } of watchers) {
        for (const result of results) {
          if (!wanted.has(result.id)) continue
          found.set(result.id, Option.fromUndefinedOr(result.error))
          unwatched.delete(result)
        }
      }
      signal.notify()
      return [...unwatched]
    },
    begin: () => {
      failure = undefined
    },
    fail: (error: BlazeError.BlazeError) => {
      failure = error
      for (const { failed } of watchers) Deferred.doneUnsafe(failed, Exit.fail(error))
    },
    await: (
      ids: ReadonlyArray<Ids.MessageId>,
      known: Effect.Effect<ReadonlyMap<Ids.MessageId, Errors>, BlazeError.BlazeError>
    ): Effect.Effect<ReadonlyMap<Ids.MessageId, Errors>, BlazeError.BlazeError> =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const watcher: Watcher = { wanted: new Set(ids), found: new Map(), failed: Deferred.makeUnsafe() }
          watchers.add(watcher)
          return watcher
        }),
        ({ failed, found, wanted }) =>
          Effect.gen(function* () {
            const find = Effect.map(known, (results) => {
              for (const [id, errors] of results) if (!found.has(id)) found.set(id, errors)
            })
            yield* find
            while (found.size < wanted.size) {
              if (failure !== undefined) return yield* failure
              const told = Effect.raceFirst(
                signal.until(() => found.size === wanted.size),
                Deferred.await(failed)
              )
              if (!isShared) yield* told
              // Another process may have sent it.
              else if (Option.isNone(yield* Effect.timeoutOption(told, sharedPeriodOfResults)))
                yield* Effect.ignore(find)
            }
            return found
          }),
        (watcher) => Effect.sync(() => watchers.delete(watcher))
      )
  }
}

const claimed = (claim: Store.Claim): Effect.Effect<void, BlazeError.BlazeError> => {
  if (claim === "Conflict") return Effect.fail(States.takenOver)
  return claim === "Unstored"
    ? Effect.fail(
        Persisted.failed(
          "it is not known whether it was stored, for the store does not answer; with an id of its own it can be stored again"
        )
      )
    : Effect.void
}

const asked = <A>(effect: Effect.Effect<A, unknown>) =>
  ErrorKind.catchAny(effect, (kind) => Effect.fail(Persisted.failed(`the store does not answer${kind}`)))

const forgotten = Option.some(Persisted.failed("what became of it has been forgotten"))

/** What is known of those of which something is. */
const knownOf = (outbox: Store.Outbox<unknown>, ids: ReadonlyArray<Ids.MessageId>) =>
  Effect.map(asked(outbox.results(ids)), (results) => {
    const known = new Map<Ids.MessageId, Errors | "Waiting">()
    for (const [index, result] of results.entries()) {
      if (result === undefined) continue
      const errors =
        result === "Waiting" ? result : Option.map(Option.fromUndefinedOr(result.problem), Persisted.toError)
      known.set(ids[index]!, errors)
    }
    return known
  })

/** Who may store how many: each has his place before it is taken. */
const makeRoom = (outbox: Store.Outbox<unknown>, maximum: number) => {
  const signal = Signal.make()
  const closed = Deferred.makeUnsafe<never, BlazeError.BlazeError>()
  let reserved = 0
  const release = (count: number) => {
    reserved -= count
    signal.notify()
  }
  const has = (count: number) => outbox.hasRoom() && outbox.size() + reserved + count <= maximum
  return {
    notify: signal.notify,
    has,
    /** There will be no more room: nothing is sent any more. */
    close: (error: BlazeError.BlazeError) => Deferred.doneUnsafe(closed, Exit.fail(error)),
    /** Has room for so many for as long as they are being stored. */
    within: (count: number, storing: Effect.Effect<void, BlazeError.BlazeError>) =>
      Effect.suspend(() => {
        let isReserved = false
        const reserve = () => {
          isReserved = has(count)
          if (isReserved) reserved += count
          return isReserved
        }
        return Effect.ensuring(
          Effect.andThen(
            Effect.suspend(() =>
              reserve() ? Effect.void : Effect.raceFirst(signal.until(reserve), Deferred.await(closed))
            ),
            storing
          ),
          Effect.sync(() => {
            if (isReserved) release(count)
          })
        )
      })
  }
}

/** Lets the relay run; gives how something is added to what it sends. */
const start = Effect.fnUntraced(function* (outbox: Store.Outbox<unknown>) {
  const meter = yield* Meter.Meter
  const { outboxMessages } = yield* Settings.checked
  const { shared } = outbox
  const watchers = makeWatchers(shared !== undefined)
  const room = makeRoom(outbox, outboxMessages)
  const signal = Signal.make()
  let count = 0
  let isClosed = false
  const changed = Effect.sync(() => {
    count++
    meter.measure(Telemetry.metrics.outbox, outbox.size())
    signal.notify()
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      room.close(Connection.closed)
      watchers.fail(Connection.closed)
      return outbox.isLasting || outbox.size() === 0
        ? Effect.void
        : Effect.logWarning(
            `${outbox.size()} messages were to be sent that were stored in memory: they are lost with the bot. A store in a database has the next process send them.`
          )
    })
  )
  const tell = (results: ReadonlyArray<Persisted.Fate>) => {
    room.notify()
    return watchers.tell(results)
  }
  const fail = (error: BlazeError.BlazeError) => {
    if (error === States.takenOver) room.close(error)
    watchers.fail(error)
  }
  const run = yield* Relay.make(outbox, { signal, count: () => count }, { ...watchers, fail, tell })
  const relayed = Effect.ignore(run)
  if (shared === undefined) yield* Effect.forkScoped(relayed)
  else {
    // What failed in this process's turn is no matter to the process whose turn it is now.
    yield* Effect.forkScoped(shared.inTurn(Effect.onInterrupt(relayed, () => Effect.sync(watchers.begin))))
    const news = Effect.andThen(Effect.ignoreCause(shared.refresh), Effect.andThen(changed, Effect.sync(room.notify)))
    yield* Effect.forkScoped(Effect.forever(Effect.delay(news, yield* SharedPeriod)))
  }
  const scope = yield* Effect.scope

  const storing = (messages: ReadonlyArray<Store.Unsent>) =>
    Effect.flatMap(asked(outbox.add(messages)), claimed).pipe(
      // It may be stored though that is not known, or become so later.
      Effect.onExit((exit) =>
        Effect.andThen(
          changed,
          Exit.isSuccess(exit) ? Effect.void : Effect.forkIn(Effect.delay(changed, "1 minute"), scope)
        )
      )
    )
  const goingOn = (effect: Effect.Effect<void, BlazeError.BlazeError>) =>
    Effect.flatMap(Effect.forkIn(effect, scope, { startImmediately: true }), Fiber.join)
  const most = Math.ceil(outboxMessages / 10)
  return {
    await: watchers.await,
    /** What is being stored goes on where nobody waits for it any more. */
    add: (messages: ReadonlyArray<Store.Unsent>): Effect.Effect<void, BlazeError.BlazeError> =>
      Effect.suspend(() =>
        isClosed
          ? Effect.fail(Connection.closed)
          : messages.length <= most || room.has(messages.length)
            ? room.within(messages.length, goingOn(storing(messages)))
            : // All of a large announcement would wait for those that cannot be sent for now.
              goingOn(
                Effect.forEach(Arr.chunksOf(messages, most), (some) => room.within(some.length, storing(some)), {
                  discard: true
                })
              )
      )
  }
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function* () {
  const { outbox } = yield* Store.Store
  const { idOf, prepare } = yield* Sending.Sending
  if (outbox === undefined) return Outbox.of({ send: () => keepsNone, store: () => keepsNone })
  const relay = yield* start(outbox)

  const unsentOf = (
    { content, id, to }: Batches.BatchMessage,
    way: Store.Unsent["way"]
  ): Effect.Effect<Store.Unsent, BlazeError.BlazeError> =>
    Effect.zipWith(prepare(content, id), Clock.currentTimeMillis, (prepared, storedAt) => ({
      id,
      to,
      content: Persisted.fromOutgoing(prepared),
      storedAt,
      way
    }))

  return Outbox.of({
    send: Effect.fnUntraced(function* (to, content, given) {
      const id = yield* idOf(content, given)
      // An id of the program's own may have been stored before.
      const known = given === undefined ? undefined : (yield* knownOf(outbox, [id])).get(id)
      if (known === undefined) yield* relay.add([yield* unsentOf({ to, content, id }, "Alone")])
      else if (known !== "Waiting" && Option.isSome(known)) return yield* known.value
      return id
    }),
    store: Effect.fnUntraced(function* (messages, { firstContact = false } = {}) {
      const ids = yield* Effect.forEach(messages, ({ content, id }) => idOf(content, id))
      const known = yield* knownOf(outbox, ids)
      const refused = new Map<number, BlazeError.BlazeError>()
      const unsent: Array<Store.Unsent> = []
      for (const [index, { content, to }] of messages.entries()) {
        const id = ids[index]!
        if (known.has(id)) continue
        const made = yield* Effect.result(unsentOf({ to, content, id }, firstContact ? "FirstContact" : "InBatches"))
        if (Result.isSuccess(made)) unsent.push(made.success)
        // One that breaks a limit keeps nobody else from it.
        else if (Batches.isVerdict(made.failure)) refused.set(index, made.failure)
        else return yield* made.failure
      }
      yield* relay.add(unsent)
      const wanted = ids.filter((_, index) => !refused.has(index))
      const found = Effect.map(knownOf(outbox, wanted), (known) => {
        const errors = new Map<Ids.MessageId, Errors>()
        for (const id of wanted) {
          const each = known.get(id) ?? forgotten
          if (each !== "Waiting") errors.set(id, each)
        }
        return errors
      })
      return Effect.map(relay.await(wanted, found), (errors) =>
        messages.map((message, index) => {
          const id = ids[index]!
          const error = refused.get(index) ?? Option.getOrUndefined(errors.get(id) ?? forgotten)
          return { message, result: error === undefined ? Result.succeed(id) : Result.fail(error) }
        })
      )
    })
  })
})

/**
 * How programs send.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSender = Effect.gen(function* () {
  const outbox = yield* Outbox
  const sending = yield* Sending.Sending
  const { userId } = yield* Signer.Signer
  return Sender.Sender.of({
    userId,
    send: (to, content, { durable = false, id } = {}) =>
      durable ? outbox.send(to, content, id) : sending.send(to, content, id),
    store: outbox.store,
    sendBatch: sending.sendBatch,
    maximumBatch: sending.maximumBatch,
    conversationOf: sending.conversationOf,
    derive: sending.deriveFor
  })
})
