/**
 * Messages that are stored first, and sent by this process or the next.
 *
 * Guarantee: what was stored is sent once, however often the process ends; in order for each conversation, but for announcements; what is
 * final is kept and not tried again, and what may pass is tried for as long as ids are remembered.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Batches from "./Batches.ts"
import type * as BlazeError from "../BlazeError.ts"
import type * as Conversations from "../Conversations.ts"
import type * as Delivery from "../Delivery.ts"
import * as ErrorKind from "./ErrorKind.ts"
import type * as Ids from "../Ids.ts"
import * as Meter from "./Meter.ts"
import type * as Outgoing from "../Outgoing.ts"
import * as Persisted from "./Persisted.ts"
import * as Relay from "./Relay.ts"
import * as Sender from "../Sender.ts"
import * as Sending from "./Sending.ts"
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

/** Who waits for what becomes of messages. */
const makeWatchers = (ended: Effect.Effect<never, BlazeError.BlazeError>) => {
  interface Watcher {
    readonly wanted: ReadonlySet<Ids.MessageId>
    readonly found: Map<Ids.MessageId, Errors>
  }
  const watchers = new Set<Watcher>()
  const signal = Signal.make()
  return {
    /** Tells when it is known what became of some. */
    signal,
    /** Tells, and gives those of which nobody wants to know. */
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
    await: (
      ids: ReadonlyArray<Ids.MessageId>,
      known: Effect.Effect<ReadonlyMap<Ids.MessageId, Errors>, BlazeError.BlazeError>
    ): Effect.Effect<ReadonlyArray<Errors>, BlazeError.BlazeError> =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const watcher: Watcher = { wanted: new Set(ids), found: new Map() }
          watchers.add(watcher)
          return watcher
        }),
        ({ found, wanted }) =>
          Effect.gen(function* () {
            for (const [id, errors] of yield* known) found.set(id, errors)
            yield* Effect.raceFirst(
              signal.until(() => found.size === wanted.size),
              ended
            )
            return ids.map((id) => found.get(id)!)
          }),
        (watcher) => Effect.sync(() => watchers.delete(watcher))
      )
  }
}

const claimed = (claim: Store.Claim): Effect.Effect<void, BlazeError.BlazeError> => {
  if (claim === "Conflict") return Effect.fail(States.takenOver)
  return claim === "Unstored" ? Effect.fail(Persisted.failed("the store cannot be written")) : Effect.void
}

const asked = <A>(effect: Effect.Effect<A, unknown>) =>
  Effect.mapError(effect, (error) => Persisted.failed(`the store does not answer${ErrorKind.of(error)}`))

/** Makes of what is to be sent what is stored. */
const makeUnsent =
  (prepare: Sending.Sending["Service"]["prepare"]) =>
  (
    to: Delivery.Recipient,
    content: Outgoing.Content,
    id: Ids.MessageId | undefined,
    way: Store.Unsent["way"]
  ): Effect.Effect<Store.Unsent, BlazeError.BlazeError> =>
    Effect.zipWith(prepare(content, id), Clock.currentTimeMillis, (prepared, storedAt) => ({
      id: prepared.id,
      to,
      content: Persisted.fromOutgoing(prepared.content),
      storedAt,
      way
    }))

/** What is stored of those of which it is known what became of them. */
const errorsOf = (outbox: Store.Outbox<unknown>, ids: ReadonlyArray<Ids.MessageId>) =>
  Effect.flatMap(asked(outbox.results(ids)), (known) => {
    const found = new Map<Ids.MessageId, Errors>()
    for (const [index, result] of known.entries()) {
      const id = ids[index]!
      if (result === undefined) return Effect.fail(Persisted.failed(`what became of message ${id} has been forgotten`))
      if (result !== "Waiting") found.set(id, Option.map(Option.fromUndefinedOr(result.problem), Persisted.toError))
    }
    return Effect.succeed(found)
  })

/** Lets the relay run; gives how something is added to what it sends. */
const start = Effect.fnUntraced(function* (outbox: Store.Outbox<unknown>) {
  const meter = yield* Meter.Meter
  const ended = yield* Deferred.make<never, BlazeError.BlazeError>()
  const watchers = makeWatchers(Deferred.await(ended))
  const signal = Signal.make()
  let count = 0
  const run = yield* Relay.make(outbox, { signal, count: () => count }, watchers.tell)
  yield* run.pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError("What was stored to be sent waits for the next process: this one sends nothing more.", cause)
    ),
    Effect.catchCause((cause) => Deferred.failCause(ended, cause)),
    Effect.forkScoped
  )
  return {
    await: watchers.await,
    add: Effect.fnUntraced(function* (messages: ReadonlyArray<Store.Unsent>) {
      if (!outbox.hasRoom()) yield* Effect.raceFirst(watchers.signal.until(outbox.hasRoom), Deferred.await(ended))
      yield* Effect.flatMap(asked(outbox.add(messages)), claimed)
      meter.measure(Telemetry.metrics.outbox, outbox.size())
      count++
      signal.notify()
    })
  }
})

const make = Effect.gen(function* () {
  const { outbox } = yield* Store.Store
  const { prepare } = yield* Sending.Sending
  if (outbox === undefined) return Outbox.of({ send: () => keepsNone, store: () => keepsNone })
  const relay = yield* start(outbox)
  const unsentOf = makeUnsent(prepare)

  return Outbox.of({
    send: Effect.fnUntraced(function* (to, content, id) {
      const message = yield* unsentOf(to, content, id, "Alone")
      // An id of the program's own may have been stored before.
      const [known] = id === undefined ? [] : yield* asked(outbox.results([message.id]))
      if (known === undefined) yield* relay.add([message])
      else if (known !== "Waiting" && known.problem !== undefined) return yield* Persisted.toError(known.problem)
      return message.id
    }),
    store: Effect.fnUntraced(function* (messages, { firstContact = false } = {}) {
      const way = firstContact ? "FirstContact" : "InBatches"
      // One that breaks a limit keeps nobody else from it.
      const prepared = yield* Effect.forEach(messages, ({ content, id, to }) =>
        unsentOf(to, content, id, way).pipe(
          Effect.map((unsent): Result.Result<Store.Unsent, BlazeError.BlazeError> => Result.succeed(unsent)),
          Effect.catchIf(Batches.isVerdict, (error) => Effect.succeed(Result.fail(error)))
        )
      )
      const unsent = prepared.flatMap((each) => (Result.isSuccess(each) ? [each.success] : []))
      yield* relay.add(unsent)
      const ids = unsent.map(({ id }) => id)
      return Effect.map(relay.await(ids, errorsOf(outbox, ids)), (errors) => {
        let next = 0
        return messages.map((message, index) => ({
          message,
          result: Result.flatMap(prepared[index]!, ({ id }) =>
            Option.match(errors[next++]!, { onNone: () => Result.succeed(id), onSome: Result.fail })
          )
        }))
      })
    })
  })
})

/**
 * The outbox, and how programs send.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Outbox | Sender.Sender,
  BlazeError.BlazeError,
  Sending.Sending | Store.Store | Conversations.Conversations | Meter.Meter | Signer.Signer
> = Layer.effectContext(
  Effect.gen(function* () {
    const sending = yield* Sending.Sending
    const { userId } = yield* Signer.Signer
    const outbox = yield* make
    return Context.empty().pipe(
      Context.add(Outbox, outbox),
      Context.add(Sender.Sender, {
        userId,
        send: (to, content, { durable = false, id } = {}) =>
          durable ? outbox.send(to, content, id) : sending.send(to, content, id),
        store: outbox.store,
        sendBatch: sending.sendBatch,
        maximumBatch: sending.maximumBatch,
        conversationOf: sending.conversationOf,
        derive: sending.deriveFor
      })
    )
  })
)
