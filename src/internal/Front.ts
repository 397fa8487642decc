/**
 * What a program sees of a bot, and what it is put together from: the same over one connection and over many machines.
 *
 * Guarantee: a message is handed out once for as long as it is open, to one consumer at a time; what one leaves is for the next.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Acknowledgements from "./Acknowledgements.ts"
import type * as Aside from "./Aside.ts"
import * as Attachments from "../Attachments.ts"
import * as BlazeError from "../BlazeError.ts"
import * as Branded from "./Branded.ts"
import * as Cells from "./Cells.ts"
import * as Connection from "./Connection.ts"
import * as Conversations from "../Conversations.ts"
import * as Delivery from "../Delivery.ts"
import * as Dropped from "./Dropped.ts"
import * as Encryption from "./Encryption.ts"
import * as Envelope from "../Envelope.ts"
import * as Handling from "./Handling.ts"
import * as Ids from "../Ids.ts"
import * as Ledger from "./Ledger.ts"
import type * as Outstanding from "./Outstanding.ts"
import * as Meter from "./Meter.ts"
import * as Outbox from "./Outbox.ts"
import * as Outgoing from "../Outgoing.ts"
import * as Quota from "../Quota.ts"
import * as Receipts from "./Receipts.ts"
import * as Sender from "../Sender.ts"
import * as Sending from "./Sending.ts"
import * as Settings from "../Settings.ts"
import * as Signer from "../Signer.ts"
import * as State from "../State.ts"
import * as States from "./States.ts"
import * as Store from "../Store.ts"
import * as Underway from "./Underway.ts"
import * as Unread from "./Unread.ts"
import * as Unrun from "./Unrun.ts"
import * as Users from "../Users.ts"

/**
 * The news about a message that the bot sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  readonly messageId: Ids.MessageId
  readonly status: "DELIVERED" | "READ"
}

/**
 * How something is sent: `id` and `durable` are those of `Sender.SendOptions`.
 *
 * **Details**
 *
 * `until` waits for a receipt besides: until the message is on somebody's phone, or was read by somebody. It may never come: see
 * `Effect.timeoutOption`. Fails when the bot stops for good. What is `durable` is sent later, so that nothing can be waited for.
 *
 * @category models
 * @since 0.1.0
 */
export type SendOptions =
  | (Sender.SendOptions & { readonly until?: undefined })
  | (Sender.SendOptions & { readonly durable?: false | undefined; readonly until?: "delivered" | "read" | undefined })

const alreadyConsumed = BlazeError.make(new BlazeError.AlreadyConsumed({}))

/** One run of `deliveries`. */
interface Consumer {
  /** Who asked last. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** It failed or was interrupted. */
  wasCut: boolean
  /** Whether what it handed out may still be settled: its stream has ended in peace, and goes on in a larger one. */
  readonly hands: () => Underway.Hands
}

const makeConsumer = (): Consumer => {
  const consumer: Consumer = {
    fiber: undefined,
    wasCut: false,
    hands: () => (consumer.wasCut ? "Cut" : consumer.fiber?.pollUnsafe() === undefined ? "AtWork" : "Ended")
  }
  return consumer
}

/** What is handed out, to one consumer at a time. */
const makeDeliveries = (
  ledger: Ledger.Ledger,
  conversations: Conversations.Conversations["Service"],
  actions: Omit<Handling.Actions, "leave">
) => {
  let consumer: Consumer | undefined
  // The last consumer was cut short: what it left is settled by the next one, if there is one.
  let abandoned = false

  const actionsOf = (own: Consumer): Handling.Actions => {
    const leave = (entry: Outstanding.Open) => {
      // Somebody else is at work on it.
      if (entry.holders > 0) return
      entry.hands = Underway.inNobodysHands
      if (consumer !== undefined && consumer !== own) ledger.handBack(entry)
      ledger.signal.notify()
    }
    return { ...actions, leave }
  }

  // The scope is that of the whole run: the consumer is done when its handlers are, not when the last message was handed out. Behind
  // operators that give it a scope of its own it ends sooner, and handlers go on with what it has handed out.
  const deliveries = Stream.transformPull(Stream.empty, (_, scope) =>
    Effect.gen(function* () {
      if (consumer !== undefined) return yield* alreadyConsumed
      const own = makeConsumer()
      consumer = own
      yield* Scope.addFinalizerExit(scope, (exit) =>
        Effect.sync(() => {
          consumer = undefined
          own.wasCut = abandoned = Exit.isFailure(exit)
          ledger.signal.notify()
        })
      )
      ledger.takeOver()
      return handOut(own, ledger.receive, actionsOf(own), conversations)
    })
  )

  return {
    deliveries,
    /** Whether nobody consumes, and nobody will settle what is open. */
    isQuiet: () => {
      const { held, open } = ledger.count()
      return consumer === undefined && (open === 0 || (abandoned && held === 0))
    }
  }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <R>(makeAside: Aside.Make<R>) {
  const connection = yield* Connection.Connection
  const acks = yield* Acknowledgements.Acknowledgements
  const ledger = yield* Ledger.make(yield* Encryption.makeReader, makeAside)
  const sender = yield* Sending.Sending
  const outgoing = yield* Sender.Sender
  const conversations = yield* Conversations.Conversations
  const unread = yield* Unread.make
  const unrun = Unrun.make((yield* Meter.Meter).now)
  const { userId } = yield* Signer.Signer
  const observer = yield* Handling.Observer
  const { drainTimeout } = yield* Settings.checked

  const { deliveries, isQuiet } = makeDeliveries(ledger, conversations, {
    botId: userId,
    later: Effect.runForkWith(yield* Effect.context<never>()),
    observe: observer?.around,
    skips: ledger.skips,
    hold: ledger.hold,
    release: ledger.release,
    ack: ledger.ack,
    ackAll: ledger.ackAll,
    defer: ledger.defer,
    giveUp: ledger.giveUp,
    unread: unread.count,
    suspect: unrun.suspect,
    answer: sender.answer,
    derive: sender.derive,
    me: (yield* Users.Users).me,
    hasSent: sender.hasSent,
    contactOf: (user) => sender.conversationOf({ user }),
    conversation: conversations.get,
    storage: yield* State.Storage
  })

  const inspect = Effect.delay(
    Effect.all([ledger.inspect, unread.tell, unrun.tell], { discard: true }),
    (yield* Dropped.Watch).period
  )
  // Days may pass in which there is nothing to look at, and in a simulation they do in a second.
  const busy = ledger.busy(() => !unread.isEmpty() || !unrun.isEmpty())
  yield* Effect.andThen(busy, inspect).pipe(Effect.forever, Effect.forkScoped)

  return {
    userId,
    deliveries,
    receipts: connection.receipts.stream.pipe(
      Stream.map((view): Receipt => ({
        messageId: Branded.messageId(Ids.toLowerCase(view.message_id)),
        status: view.status === "READ" ? "READ" : "DELIVERED"
      }))
    ),
    send: (to: Delivery.Recipient, content: Outgoing.Content, options: SendOptions = {}) =>
      options.until === undefined
        ? outgoing.send(to, content, options)
        : Receipts.awaited(connection.receipts.expect, options.until === "read" ? "READ" : "DELIVERED", (begin) =>
            sender.send(to, content, options.id, begin)
          ),
    recall: (to: Delivery.Recipient, id: Ids.MessageId) =>
      Effect.asVoid(sender.send(to, Outgoing.recall(id), undefined)),
    derive: sender.deriveFor,
    conversationOf: sender.conversationOf,
    request: (action: string, params?: unknown): Effect.Effect<unknown, BlazeError.BlazeError> =>
      action === Envelope.Action.createMessage
        ? sender.post("announcement", params)
        : Effect.flatMap(connection.session, ({ request }) => request(action, params)),
    status: connection.status,
    drain: Effect.gen(function* () {
      yield* connection.inbox.end
      if (Option.isNone(yield* Effect.timeoutOption(ledger.signal.until(isQuiet), drainTimeout))) {
        yield* Effect.logWarning(
          `These messages were not handled when the time to drain was over, and will come back: ${Ids.list(
            Array.from(ledger.entries(), ({ value }) => value!.id)
          )}`
        )
      }
      yield* acks.flush
    })
  }
})

// One by one: what a `Stream.take` cut off an array could not be told from what went down the stream.
const handOut = (
  own: Consumer,
  receive: Ledger.Ledger["receive"],
  actions: Handling.Actions,
  conversations: Conversations.Conversations["Service"]
) => {
  let received: ReadonlyArray<Outstanding.Open> = []
  let next = 0
  const take = (): Arr.NonEmptyReadonlyArray<Delivery.Delivery> | undefined => {
    while (next < received.length) {
      const entry = received[next++]!
      if (entry.value === undefined) continue
      entry.hands = own.hands
      entry.isQueued = false
      entry.isOvertaken = false
      const { _tag, conversationId } = entry.value
      conversations.meet(conversationId)
      if (_tag === "GroupEvent") actions.later(conversations.forget(conversationId))
      return [new Handling.Delivery(entry.value, entry, actions)]
    }
  }
  const takeMore = Effect.gen(function* () {
    while (true) {
      yield* receive((entries) => {
        received = entries
        next = 0
      })
      const taken = take()
      if (taken !== undefined) return taken
    }
  })
  return Effect.withFiber<Arr.NonEmptyReadonlyArray<Delivery.Delivery>, BlazeError.BlazeError | Cause.Done>((fiber) => {
    own.fiber = fiber
    const taken = take()
    return taken === undefined ? takeMore : Effect.succeed(taken)
  })
}

/**
 * What a bot is put together from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parts<R, R2, R3, R4, R5> {
  readonly connection: Effect.Effect<Connection.Connection["Service"], BlazeError.BlazeError, R>
  readonly acknowledgements: Effect.Effect<Acknowledgements.Acknowledgements["Service"], BlazeError.BlazeError, R2>
  readonly transport: Effect.Effect<Sending.Transport["Service"], never, R3>
  /** Both that of messages and that of values. */
  readonly store: Layer.Layer<Store.Store, BlazeError.BlazeError, R4>
  readonly quota: Layer.Layer<Quota.Quota, BlazeError.BlazeError, R5>
}

const meter = Effect.flatMap(Signer.Signer, ({ userId }) => Meter.make(userId))

/**
 * What measures for the bot that signs.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMeter = Layer.effect(Meter.Meter, meter)

/** Gives an effect how a bot sends, and whom and what it knows. */
const provideSender =
  <R3>(transport: Effect.Effect<Sending.Transport["Service"], never, R3>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    self.pipe(
      Effect.provideServiceEffect(Sender.Sender, Outbox.makeSender),
      Effect.provideServiceEffect(Outbox.Outbox, Outbox.make),
      Effect.provideServiceEffect(
        Sending.Sending,
        Effect.provideServiceEffect(Sending.make, Sending.Transport, transport)
      ),
      Effect.provideServiceEffect(Attachments.Attachments, Attachments.make),
      Effect.provideServiceEffect(Conversations.Conversations, Conversations.make),
      Effect.provideServiceEffect(Users.Users, Users.make)
    )

/** What a program gets that only sends. */
const senderServices = [Sender.Sender, Users.Users, Conversations.Conversations, Attachments.Attachments] as const

/**
 * What only sends, of parts.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSender = <R3, R4, R5>({
  quota,
  store,
  transport
}: Pick<Parts<never, never, R3, R4, R5>, "quota" | "store" | "transport">) =>
  Effect.context<Context.Service.Identifier<(typeof senderServices)[number]>>().pipe(
    Effect.map(Context.pick(...senderServices)),
    provideSender(transport),
    Effect.provideServiceEffect(Meter.Meter, meter),
    Layer.effectContext,
    Layer.provide([store, quota]),
    Settings.checkedOnce
  )

/** As `Layer.effectContext`; a layer that is built within shares what it stands on, a database say, with the rest of its bot. */
const inOneBuild = <A, E, R>(services: Effect.Effect<Context.Context<A>, E, R>) =>
  Layer.fromBuildMemo((memoMap, scope) =>
    services.pipe(Effect.provideService(Layer.CurrentMemoMap, memoMap), Scope.provide(scope))
  )

/**
 * A bot of parts, with its front door.
 *
 * **Details**
 *
 * One layer for all its rooms: a layer for each, with its scope, its entry in the memo map and its context, takes 1.4 KB.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Id, Front, RF, R, R2, R3, R4, R5>(
  front: Context.Key<Id, Front>,
  makeFront: Effect.Effect<Front, BlazeError.BlazeError, RF>,
  { acknowledgements, connection, quota, store, transport }: Parts<R, R2, R3, R4, R5>
) =>
  Effect.context<Id | State.Storage | Context.Service.Identifier<(typeof senderServices)[number]>>().pipe(
    // The rooms themselves are nobody else's.
    Effect.map(Context.pick(front, State.Storage, ...senderServices)),
    Effect.provideServiceEffect(front, makeFront),
    provideSender(transport),
    Effect.provideServiceEffect(Acknowledgements.Acknowledgements, acknowledgements),
    Effect.provideServiceEffect(Connection.Connection, connection),
    Effect.provideServiceEffect(State.Storage, Cells.make),
    Effect.provideServiceEffect(States.States, States.make),
    Effect.provideServiceEffect(Meter.Meter, meter),
    inOneBuild,
    Layer.provide([store, quota]),
    Settings.checkedOnce
  )
