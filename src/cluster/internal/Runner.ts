/**
 * One runner of many: what a program sees of the bot there.
 *
 * Guarantee: what the entities of this runner are given is handed out here, and whoever has given it learns what became of it; the status and
 * the receipts are those of whoever holds the socket.
 *
 * @since 0.1.0
 */
import type * as Sharding from "effect/cluster/Sharding"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "../../BlazeError.ts"
import * as Endpoint from "../../Endpoint.ts"
import * as Envelope from "../../Envelope.ts"
import * as Acknowledgements from "../../internal/Acknowledgements.ts"
import type * as Aside from "../../internal/Aside.ts"
import * as Connection from "../../internal/Connection.ts"
import * as Deferral from "../../internal/Deferral.ts"
import * as Receipts from "../../internal/Receipts.ts"
import * as Signal from "../../internal/Signal.ts"
import * as States from "../../internal/States.ts"
import * as MixinApi from "../../MixinApi.ts"
import * as Signer from "../../Signer.ts"
import * as Desk from "./Desk.ts"
import * as Holder from "./Holder.ts"
import * as Membership from "./Membership.ts"
import * as Watched from "./Watched.ts"
import * as Wire from "./Wire.ts"

/** How long receipts are still told of after nobody wants them: often somebody does again. */
const linger = "1 minute"

const decodeViews = Schema.decodeEffect(Schema.fromJsonString(Schema.Array(Envelope.MessageView)))

/** Receipts, from whoever holds the socket, for as long as somebody here wants them. */
const makeReceipts = Effect.gen(function* () {
  const { userId } = yield* Signer.Signer
  const holders = yield* Wire.holders(userId).client
  const signal = Signal.make()
  let wanted = 0
  const want = (more: number) => {
    wanted += more
    signal.notify()
  }
  const receipts = yield* Receipts.make({
    waitBehind: want,
    urgent: Effect.acquireRelease(
      Effect.sync(() => want(1)),
      () => Effect.sync(() => want(-1))
    )
  })

  const follow = Effect.suspend(() =>
    holders(Wire.holderName(userId))
      .Receipts()
      .pipe(
        Stream.mapEffect((text) => decodeViews(text)),
        Stream.runForEach((views) => {
          if (views.length > 0) return Effect.sync(() => receipts.publish(views))
          // From here on none is missed: what came before is asked for.
          return Effect.flatMap(receipts.begin, Effect.forkScoped)
        }),
        Effect.scoped
      )
  )
  const unwanted: Effect.Effect<void> = Effect.andThen(
    signal.until(() => wanted === 0),
    Effect.andThen(
      Effect.sleep(linger),
      Effect.suspend(() => (wanted === 0 ? Effect.void : unwanted))
    )
  )
  const episode = Effect.gen(function* () {
    yield* signal.until(() => wanted > 0)
    // What came before is asked for once whoever holds the socket tells.
    yield* Effect.asVoid(receipts.begin)
    yield* Effect.raceFirst(Watched.again(follow), unwanted)
    yield* receipts.forget
  })
  yield* Effect.forkScoped(Effect.forever(episode))
  return receipts
})

const hasNoEndpoint = (action: string) =>
  BlazeError.make(
    new BlazeError.InvalidContent({
      field: `the request ${action}`,
      expected: "one that can be made over REST, as in a cluster, where the socket may be on another machine"
    })
  )

const decodeAcknowledgements = Schema.decodeUnknownEffect(
  Schema.Struct({ messages: Schema.Array(Envelope.Acknowledgement) })
)
const decodeAcknowledgement = Schema.decodeUnknownEffect(Envelope.Acknowledgement)

/** Requests of the protocol, where REST knows them too. */
const makeRequest = Effect.map(MixinApi.MixinApi, ({ request }) => {
  const acknowledge = (payload: ReadonlyArray<typeof Envelope.Acknowledgement.Type>) =>
    request(Endpoint.acknowledge, { payload })
  return (action: string, params?: unknown): Effect.Effect<unknown, BlazeError.BlazeError> => {
    const unfit = hasNoEndpoint(action)
    if (action === Envelope.Action.acknowledgeReceipts) {
      return Effect.flatMap(
        Effect.mapError(decodeAcknowledgements(params), () => unfit),
        ({ messages }) => acknowledge(messages)
      )
    }
    if (action === Envelope.Action.acknowledgeReceipt) {
      return Effect.flatMap(
        Effect.mapError(decodeAcknowledgement(params), () => unfit),
        (message) => acknowledge([message])
      )
    }
    return Effect.fail(unfit)
  }
})

/**
 * The connection as it is seen from a runner.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeConnection: Effect.Effect<
  Connection.Connection["Service"],
  BlazeError.BlazeError,
  | Desk.Desk
  | Holder.Held
  | Membership.Membership
  | Watched.Watched
  | Sharding.Sharding
  | MixinApi.MixinApi
  | Signer.Signer
  | Scope.Scope
> = Effect.gen(function* () {
  const { clear, close, inbox, withdrawn } = yield* Desk.Desk
  const { leave } = yield* Membership.Membership
  const { refused } = yield* Holder.Held
  const told = yield* Watched.Watched
  const request = yield* makeRequest
  const receipts = yield* makeReceipts
  const status = yield* SubscriptionRef.make<Connection.Status>(Connection.Status.Connecting({ attempt: 1 }))
  const scope = yield* Effect.scope
  let isStopped = false

  const stop = (reason: BlazeError.BlazeError) =>
    Effect.suspend(() => {
      if (isStopped) return Effect.void
      isStopped = true
      inbox.stop(reason)
      receipts.stop(reason)
      // What is out is for a runner that goes on, and so is the socket.
      return Effect.andThen(
        Effect.andThen(close, clear),
        Effect.andThen(SubscriptionRef.set(status, Connection.Status.Stopped({ reason })), Effect.forkIn(leave, scope))
      )
    })

  yield* SubscriptionRef.changes(told).pipe(
    Stream.runForEach((news) => {
      if (isStopped) return Effect.void
      const connecting = Connection.Status.Connecting({ attempt: 1 })
      return SubscriptionRef.set(status, Option.isNone(news) ? connecting : news.value.status)
    }),
    Effect.forkScoped
  )
  yield* Effect.forkScoped(Effect.flatMap(Deferred.await(refused), stop))
  yield* Effect.addFinalizer(() => stop(Connection.closed))

  const session = Effect.succeed({ request, watchListing: () => Effect.never, ended: Effect.never })
  return Connection.Connection.of({
    session,
    sessionNow: session,
    inbox: { ...inbox, end: Effect.andThen(Effect.forkIn(leave, scope), Effect.andThen(close, inbox.end)) },
    receipts,
    status,
    withdrawn,
    tell: () => Effect.void,
    stop
  })
})

/**
 * What is handled is acknowledged by whoever has given it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeAcknowledgements: Effect.Effect<
  Acknowledgements.Acknowledgements["Service"],
  never,
  Desk.Desk | Membership.Membership | States.States
> = Effect.gen(function* () {
  const { answer, clear } = yield* Desk.Desk
  const { leave } = yield* Membership.Membership
  const states = yield* States.States
  return {
    offer: (id) => {
      // The database knows it, for all of them.
      states.become(id, "Forgotten")
      answer(id, Wire.handled)
    },
    room: Effect.void,
    flush: Effect.andThen(clear, leave)
  }
})

/**
 * What is not handled is put aside, or given up, by whoever has given it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeAside: Aside.Make<Desk.Desk | States.States> = (_inbox, recalls) =>
  Effect.gen(function* () {
    const { answer } = yield* Desk.Desk
    const states = yield* States.States
    const giveBack = (id: Parameters<typeof answer>[0], said: Wire.Answer) =>
      Effect.sync(() => {
        recalls.forget(id)
        states.become(id, "Forgotten")
        answer(id, said)
      })
    return {
      defer: ({ id }, _since, after) =>
        giveBack(id, {
          _tag: "Deferred",
          after: after === undefined ? null : Math.min(Duration.toMillis(after), Deferral.retention)
        }),
      // What is stored of it is for whoever has given it, who knows that it is time.
      resume: ({ id }) => giveBack(id, Wire.deferred),
      giveUp: ({ id }, reason) => giveBack(id, { _tag: "GivenUp", reason }),
      withdraw: (id) => answer(id, Wire.notHere),
      givenUp: { count: Effect.void, takesBack: () => false },
      forget: () => {},
      waiting: () => undefined,
      knows: () => false,
      size: () => 0
    }
  })
