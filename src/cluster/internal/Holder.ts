/**
 * Whoever holds the socket: reads what the server sends, and gives each message to the runner that has its conversation.
 *
 * Guarantee: one message of a conversation is given out at a time, in the order of their arrival; what no runner has handled is not
 * acknowledged, whoever ends; only a refusal of the bot itself is the end, whatever else ends it is begun again.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Entity from "effect/cluster/Entity"
import * as EntityId from "effect/cluster/EntityId"
import * as Sharding from "effect/cluster/Sharding"
import * as Singleton from "effect/cluster/Singleton"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Function from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Acks from "../../Acks.ts"
import * as BlazeError from "../../BlazeError.ts"
import * as BlazeSocket from "../../BlazeSocket.ts"
import type * as Envelope from "../../Envelope.ts"
import type * as Gzip from "../../Gzip.ts"
import * as Acknowledgements from "../../internal/Acknowledgements.ts"
import * as Aside from "../../internal/Aside.ts"
import * as Connection from "../../internal/Connection.ts"
import * as Dropped from "../../internal/Dropped.ts"
import * as Elapsed from "../../internal/Elapsed.ts"
import * as Front from "../../internal/Front.ts"
import * as Ledger from "../../internal/Ledger.ts"
import type * as Outstanding from "../../internal/Outstanding.ts"
import * as Mailbox from "../../internal/Mailbox.ts"
import type * as Receipts from "../../internal/Receipts.ts"
import * as States from "../../internal/States.ts"
import * as Keyed from "../../Keyed.ts"
import type * as MixinApi from "../../MixinApi.ts"
import * as Settings from "../../Settings.ts"
import * as Signer from "../../Signer.ts"
import * as Desk from "./Desk.ts"
import * as Keeper from "./Keeper.ts"
import * as SharedStore from "./SharedStore.ts"
import * as Wire from "./Wire.ts"

/**
 * How many messages are out or wait behind those of their conversation, and how many bytes of them. All of them may be out: what only waits for
 * its turn on a runner that is slow is no reason for the others to wait.
 */
const inFlight = 10_000
const inFlightBytes = 16 * 1024 * 1024

/** How long a message waits that its runner has not begun with, or that could not be given. */
const pause = "200 millis"

/** How long what is out has to come back when this ends: a handler may wait for what only another runner can give. */
const maximumGrace = Duration.seconds(1)

/** How often one and the same trouble is told, in milliseconds. */
const warningPeriod = 60_000

type Services = SecureRandom.SecureRandom | BlazeSocket.Dialer | Gzip.Gzip | MixinApi.MixinApi | Signer.Signer

/**
 * What this runner tells of the socket, if it holds it.
 *
 * @category services
 * @since 0.1.0
 */
export class Held extends Context.Service<
  Held,
  {
    readonly status: SubscriptionRef.SubscriptionRef<Wire.Told["status"]>
    readonly receipts: SubscriptionRef.SubscriptionRef<Receipts.Receipts["listen"] | undefined>
    /** Why Mixin has refused the bot here, which this runner's program is told, and no other. */
    readonly refused: Deferred.Deferred<BlazeError.BlazeError>
    /** Whether it is here. */
    readonly isHere: SubscriptionRef.SubscriptionRef<boolean>
    /** How many runners want to know of it. */
    readonly watchers: SubscriptionRef.SubscriptionRef<number>
  }
>()("effect-blaze/cluster/Held") {}

const beginning = Connection.Status.Connecting({ attempt: 1 })

/**
 * @category layers
 * @since 0.1.0
 */
export const layerHeld: Layer.Layer<Held> = Layer.effect(
  Held,
  Effect.gen(function* () {
    return {
      status: yield* SubscriptionRef.make<Wire.Told["status"]>(beginning),
      receipts: yield* SubscriptionRef.make<Receipts.Receipts["listen"] | undefined>(undefined),
      refused: yield* Deferred.make<BlazeError.BlazeError>(),
      isHere: yield* SubscriptionRef.make(false),
      watchers: yield* SubscriptionRef.make(0)
    }
  })
)

/**
 * Whether a message for a conversation that is on this runner is given to it directly, which costs half as much: yes. The test of the way over
 * the cluster says no.
 *
 * @category references
 * @since 0.1.0
 */
export const IsDirect = Context.Reference<boolean>("effect-blaze/cluster/Holder/IsDirect", {
  defaultValue: () => true
})

/** Gives out one message until it is known what became of it. */
const makeGive = Effect.gen(function* () {
  const { userId } = yield* Signer.Signer
  const conversation = yield* Wire.conversations(userId).client
  const desk = yield* Desk.Desk
  const sharding = yield* Sharding.Sharding
  const { keptOf } = yield* Keeper.Keeper
  const isDirect = yield* IsDirect
  const seldom = Elapsed.seldom(yield* Elapsed.now, warningPeriod)
  const warn = (cause: Cause.Cause<unknown>) =>
    seldom(() =>
      Effect.logWarning(
        "A message could not be given to the runner that has its conversation; it is tried again.",
        cause
      )
    )

  return (view: Envelope.MessageView): Effect.Effect<Wire.Answer> => {
    // An entity has to have some name.
    const name = EntityId.make(view.conversation_id || "none")
    const shard = sharding.getShardId(name, "default")
    const give = Effect.suspend(() => {
      const kept = isDirect ? keptOf(shard) : undefined
      return kept === undefined ? conversation(name).Handle({ view: JSON.stringify(view) }) : desk.handle(view, kept)
    })
    const attempt: Effect.Effect<Wire.Answer> = give.pipe(
      // A runner that ends interrupts what it was given, and nobody has interrupted this. What cannot be understood, of another version say, is
      // put aside.
      Effect.catchCause((cause) => Effect.as(warn(cause), Cause.hasDies(cause) ? Wire.deferred : Wire.notHere)),
      Effect.flatMap((answer) =>
        answer._tag === "NotHere" ? Effect.andThen(Effect.sleep(pause), attempt) : Effect.succeed(answer)
      )
    )
    return attempt
  }
})

/** Has each message handled by whoever has its conversation, for as long as there is a connection. */
const forward = Effect.gen(function* () {
  // Whose handler takes long is told where that is.
  const watch = yield* Dropped.Watch
  const ledger = yield* Ledger.make(Effect.succeed, Aside.make).pipe(
    Effect.provideService(Dropped.Watch, { ...watch, tell: () => Effect.void })
  )
  const give = yield* makeGive

  const settle = (entry: Outstanding.Open, answer: Wire.Answer): Effect.Effect<unknown> => {
    ledger.release(entry)
    if (answer._tag === "Deferred") {
      return ledger.defer(entry, answer.after === null ? undefined : Duration.millis(answer.after))
    }
    return answer._tag === "GivenUp" ? ledger.giveUp(entry, answer.reason) : ledger.ack(entry, [])
  }

  const handle = (entry: Outstanding.Open): Effect.Effect<unknown> =>
    Effect.suspend(() => {
      const { value } = entry
      if (value === undefined) return Effect.void
      if (ledger.skips(entry)) return ledger.ack(entry, [])
      ledger.hold(entry)
      return Effect.flatMap(give(value.view), (answer) => settle(entry, answer))
    })

  const receive = Effect.gen(function* () {
    let received: ReadonlyArray<Outstanding.Open> = []
    yield* ledger.receive((entries) => {
      received = entries
    })
    return received as Arr.NonEmptyReadonlyArray<Outstanding.Open>
  })

  yield* Effect.forkScoped(
    Effect.forever(Effect.delay(Effect.andThen(ledger.busy(Function.constFalse), ledger.inspect), watch.period))
  )
  return yield* Stream.fromPull(Effect.succeed(receive)).pipe(
    Stream.map((entry) => ({ entry, key: entry.value!.conversationId, size: entry.value!.size })),
    Keyed.mapEffect(({ entry }) => handle(entry), {
      key: ({ key }) => key,
      concurrency: inFlight,
      inFlight,
      weight: ({ size }) => size,
      inFlightWeight: inFlightBytes
    }),
    Stream.runDrain,
    Effect.provideService(Keyed.Grace, Duration.min(Duration.fromInputUnsafe(yield* Keyed.Grace), maximumGrace))
  )
})

/** One time that this runner holds the socket, from its first connection to what ends it. */
const hold = Effect.gen(function* () {
  const held = yield* Held
  const { receipts, status } = yield* Connection.Connection
  yield* Effect.forkScoped(
    // That it is over is for this runner alone.
    Stream.runForEach(SubscriptionRef.changes(status), (status) =>
      status._tag === "Stopped" ? Effect.void : SubscriptionRef.set(held.status, status)
    )
  )
  yield* Effect.acquireRelease(SubscriptionRef.set(held.receipts, receipts.listen), () =>
    SubscriptionRef.set(held.receipts, undefined)
  )
  return yield* forward
})

const makeParts = (acks: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi>) =>
  Acknowledgements.layer(acks).pipe(
    Layer.provideMerge(Connection.layer.pipe(Layer.provide(BlazeSocket.layer))),
    Layer.provideMerge(States.layer.pipe(Layer.provide(SharedStore.layerHolder))),
    Layer.provideMerge(Front.layerMeter),
    Settings.checkedOnce
  )

/** Holds the socket, again and again, until the server refuses the bot. */
const holdOn = Effect.fnUntraced(function* (parts: ReturnType<typeof makeParts>) {
  const { reconnect } = yield* Settings.checked
  const held = yield* Held
  yield* Effect.acquireRelease(SubscriptionRef.set(held.isHere, true), () =>
    // Nobody has it from here on, until somebody tells that he has.
    Effect.andThen(SubscriptionRef.set(held.status, beginning), SubscriptionRef.set(held.isHere, false))
  )
  const now = yield* Elapsed.now
  let pauses = yield* Elapsed.delays(reconnect)
  while (true) {
    const began = now()
    const exit = yield* hold.pipe(Effect.scoped, Effect.provide(Layer.fresh(parts)), Effect.exit)
    const reason = Option.getOrElse(Exit.findErrorOption(exit), () => broken)
    if (Connection.isLast(reason)) {
      yield* Deferred.succeed(held.refused, reason)
      return
    }
    if (Exit.isFailure(exit) && reason === broken) {
      yield* Effect.logFatal("What holds the socket has ended with a defect.", exit.cause)
    }
    if (now() - began > stable) pauses = yield* Elapsed.delays(reconnect)
    const delay = Option.getOrElse(yield* pauses(reason), () => maximumPause)
    yield* Effect.logError(`The socket is held no longer, and taken again. ${reason.message}`)
    yield* SubscriptionRef.set(held.status, Connection.Status.Waiting({ delay, reason }))
    yield* Effect.sleep(delay)
  }
})

const broken = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "what holds the socket has broken off" })
)

/** After how long what ends is begun again as if for the first time, in milliseconds; and the longest pause before. */
const stable = 60_000
const maximumPause = Duration.minutes(1)

/**
 * Holds the socket on one runner of all.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  acks: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi>
): Layer.Layer<
  never,
  never,
  Sharding.Sharding | Keeper.Keeper | Held | Desk.Desk | Signer.Signer | Services | SqlClient.SqlClient
> =>
  Layer.unwrap(
    Effect.map(Signer.Signer, ({ userId }) =>
      Singleton.make(Wire.holderName(userId), Effect.orDie(holdOn(makeParts(acks))))
    )
  )

/**
 * Whoever holds the socket also sends what is stored to be sent: one at a time keeps its order.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTurn: Layer.Layer<never, never, Held> = Layer.effect(
  SharedStore.Turn,
  Effect.map(Held, ({ isHere }) => {
    const until = (wanted: boolean) =>
      SubscriptionRef.changes(isHere).pipe(
        Stream.filter((is) => is === wanted),
        Stream.take(1),
        Stream.runDrain
      )
    return (send) =>
      Effect.forever(Effect.andThen(until(true), Effect.raceFirst(Effect.andThen(send, Effect.never), until(false))))
  })
)

const told = (held: Held["Service"], holder: string) =>
  SubscriptionRef.changes(held.status).pipe(
    Stream.zipLatest(SubscriptionRef.changes(held.watchers)),
    Stream.map(([status, runners]) => Wire.fromTold({ status, holder, runners }))
  )

/** What is told of receipts first, and again whenever they may have been missed. */
const begun = "[]"

/** How many reads of receipts may wait for a runner; when there are more, it asks the server for them. */
const maximumHeard = 1024

/** Receipts for one runner, from whoever holds the socket. */
const heardOf = (listen: Receipts.Receipts["listen"]) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const heard = Mailbox.make<string, never>()
      const put = (text: string) => {
        heard.put(text)
        heard.wake()
      }
      yield* listen((views) => {
        if (heard.size() <= maximumHeard) return put(JSON.stringify(views))
        heard.clear()
        put(begun)
      })
      put(begun)
      return Stream.fromPull(Effect.succeed(heard.pull))
    })
  )

const receiptsOf = (held: Held["Service"]) =>
  SubscriptionRef.changes(held.receipts).pipe(
    Stream.switchMap((listen) => (listen === undefined ? Stream.never : heardOf(listen)))
  )

/**
 * Tells the runners of it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEntity: Layer.Layer<never, never, Sharding.Sharding | Held | Signer.Signer> = Layer.unwrap(
  Effect.gen(function* () {
    const { userId } = yield* Signer.Signer
    const held = yield* Held
    const entity = Wire.holders(userId)
    const count = (more: number) => SubscriptionRef.update(held.watchers, (watchers) => watchers + more)
    return entity.toLayer(
      Effect.map(Entity.CurrentRunnerAddress, ({ host, port }) =>
        entity.of({
          Watch: () =>
            Stream.unwrap(
              Effect.as(
                Effect.acquireRelease(count(1), () => count(-1)),
                told(held, `${host}:${port}`)
              )
            ),
          Receipts: () => receiptsOf(held)
        })
      ),
      { concurrency: "unbounded" }
    )
  })
)
