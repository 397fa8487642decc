/**
 * Recorded messages as deliveries, without a server.
 *
 * Guarantee: what a pipeline does to each is what it would do in a bot, ids and limits included; nothing is sent.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Attachments from "../../Attachments.ts"
import * as Base64 from "../../Base64.ts"
import * as Conversations from "../../Conversations.ts"
import * as Delivery from "../../Delivery.ts"
import * as Handling from "../../internal/Handling.ts"
import type * as Envelope from "../../Envelope.ts"
import * as Ids from "../../Ids.ts"
import * as Branded from "../../internal/Branded.ts"
import * as Underway from "../../internal/Underway.ts"
import * as Ledger from "../../internal/Ledger.ts"
import type * as Outstanding from "../../internal/Outstanding.ts"
import * as Message from "../../Message.ts"
import * as MixinApi from "../../MixinApi.ts"
import * as Outgoing from "../../Outgoing.ts"
import * as Quota from "../../Quota.ts"
import * as Sending from "../../internal/Sending.ts"
import * as Signer from "../../Signer.ts"
import * as State from "../../State.ts"
import * as Store from "../../Store.ts"
import * as Users from "../../Users.ts"
import * as Meter from "../../internal/Meter.ts"
import * as Seeded from "./Seeded.ts"

/**
 * What became of a message. One that was deferred does not come again: each view is handed out once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Happened {
  readonly messageId: Ids.MessageId
  /** `Open` as long as nobody has settled it. */
  readonly outcome: "Acknowledged" | "Deferred" | "GivenUp" | "Open"
  /** What it was answered with, in order. */
  readonly answers: ReadonlyArray<{
    readonly id: Ids.MessageId
    readonly to: Delivery.Recipient
    readonly category: string
    /** The payload as text. */
    readonly text: string
  }>
}

type Mutable<A> = { -readonly [Key in keyof A]: A[Key] }

interface Entry extends Mutable<Omit<Happened, "answers">> {
  readonly answers: Array<Happened["answers"][number]>
}

const textOf = (content: Outgoing.Outgoing) =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    Option.getOrElse(Base64.decode(content.dataBase64), () => new Uint8Array())
  )

const runsNone = () => Effect.die(new Error("A replay makes and runs no groups."))

/** Every conversation is there, and nothing is known of any. */
const everywhere: Conversations.Conversations["Service"] = {
  get: () => Effect.succeedNone,
  createGroup: runsNone,
  update: runsNone,
  add: runsNone,
  remove: runsNone,
  setRole: runsNone,
  rotate: runsNone,
  join: runsNone,
  exit: runsNone,
  mute: runsNone,
  disappear: runsNone,
  createContact: () => Effect.succeed(Branded.conversationId("")),
  hasMet: () => true,
  meet: () => {},
  forget: () => Effect.void
}

/** What really makes ids and looks at limits, over a way that leads nowhere. */
const asksNobody = Effect.die(new Error("A replay asks nobody."))

const makeSender = (botId: Ids.UserId) =>
  Sending.make.pipe(
    Effect.provide(
      Layer.mergeAll(
        Layer.succeed(Sending.Transport, { ready: Effect.void, sendNow: () => Effect.void }),
        Layer.succeed(Conversations.Conversations, everywhere),
        Layer.effect(
          MixinApi.MixinApi,
          Effect.map(SubscriptionRef.make("replay"), (host) => ({
            request: () => asksNobody,
            client: HttpClient.make(() => asksNobody),
            files: { get: () => asksNobody, put: () => asksNobody },
            serverTime: Effect.succeedNone,
            host
          }))
        ),
        Layer.succeed(Attachments.Attachments, {
          upload: () => Stream.die(new Error("A replay asks nobody.")),
          download: () => Stream.die(new Error("A replay asks nobody.")),
          inspect: () => asksNobody,
          identify: () => asksNobody
        }),
        Layer.succeed(Quota.Quota, { take: () => Effect.succeed(false), maximumBatch: Infinity }),
        Layer.succeed(Signer.Signer, { userId: botId, token: () => Effect.succeed(Redacted.make("")) }),
        Meter.layer(botId),
        Seeded.layerPlatform("replay")
      )
    )
  )

/** Writes what goes with messages that were handled together, and settles them, unless what that is decided on has changed. */
const ackingIn =
  (store: Store.Store["Service"], settle: (entry: Outstanding.Open) => void): Handling.Actions["ackAll"] =>
  (entries, writes) => {
    const ids = entries.flatMap(({ value }) => (value === undefined ? [] : [value.id]))
    const settled = Effect.sync(() => entries.forEach(settle))
    return writes.length === 0 || ids.length === 0
      ? settled
      : Effect.flatMap(
          store.commit(ids.map((id) => ({ id, outcome: Store.Handled, writes }))),
          (claims): Effect.Effect<Ledger.Acked> => (claims.includes("Changed") ? Effect.succeed("Changed") : settled)
        )
  }

/** What a bot remembers from the beginning of a replay to its end. */
const remembering = Effect.all({ storage: State.Storage, store: Store.Store }).pipe(
  Effect.provide(
    Layer.fresh(State.layer.pipe(Layer.provideMerge(Store.layerMemory), Layer.provide(Seeded.layerPlatform("replay"))))
  ),
  Effect.orDie
)

const nobody = Branded.userId("00000000-0000-0000-0000-000000000000")

/** In their order, each once, and without what the bot itself has sent. */
const messagesOf = (views: Iterable<Envelope.MessageView>, botId: Ids.UserId): Array<Message.Message> => {
  const seen = new Set<Ids.MessageId>()
  return Array.from(views, (view) => Message.fromView(view)).filter((message) => {
    const isNew = !seen.has(message.id) && !Ledger.isOwn(message, botId)
    seen.add(message.id)
    return isNew
  })
}

/**
 * Hands out recorded views, and tells what became of each.
 *
 * **When to use**
 *
 * Use to run a pipeline over what a bot has received: a pipeline is a function of its deliveries. `Recording` writes the views.
 *
 * **Details**
 *
 * For one consumer at a time. `happened` has what was handed out.
 *
 * **Example** (A pipeline that is a function)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Delivery, Message } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const echo = <E>(deliveries: Stream.Stream<Delivery.Delivery, E>) =>
 *   deliveries.pipe(
 *     Delivery.filter(Message.isText),
 *     Stream.mapEffect(Delivery.handle((delivery) => delivery.reply(delivery.message.text)))
 *   )
 *
 * const views = [{ message_id: "928c5c40-769c-3e97-8387-fb1ae0645311", category: "PLAIN_TEXT", data: "aGk=" }]
 * const program = Effect.gen(function*() {
 *   const { deliveries, happened } = yield* BlazeTest.replayViews(views)
 *   yield* Stream.runDrain(echo(deliveries))
 *   const [first] = yield* happened
 *   console.assert(first?.outcome === "Acknowledged" && first.answers[0]?.text === "hi")
 * })
 *
 * await Effect.runPromise(program)
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const replayViews = Effect.fnUntraced(function* (
  views: Iterable<Envelope.MessageView>,
  options: {
    readonly botId?: Ids.UserId | undefined
    /** By which the bot is mentioned. */
    readonly identityNumber?: string | undefined
  } = {}
) {
  const { botId = nobody, identityNumber = "7000" } = options
  const sender = yield* makeSender(botId)
  const { storage, store } = yield* remembering
  const open = Underway.make<Message.Message>()
  const records = new Map<Outstanding.Open, Entry>()
  const later = Effect.runForkWith(yield* Effect.context<never>())
  const messages = messagesOf(views, botId)

  const settle = (entry: Outstanding.Open, outcome: Happened["outcome"]) => {
    if (open.end(entry) !== undefined) records.get(entry)!.outcome = outcome
  }

  const ackAll = ackingIn(store, (entry) => settle(entry, "Acknowledged"))

  const actionsOf = (record: Entry): Handling.Actions => ({
    botId,
    later,
    observe: undefined,
    skips: () => false,
    hold: () => {},
    release: () => {},
    leave: () => {},
    ack: (entry, writes) => ackAll([entry], writes),
    ackAll,
    defer: (entry) => Effect.sync(() => settle(entry, "Deferred")),
    giveUp: (entry) => Effect.sync(() => settle(entry, "GivenUp")),
    unread: () => Effect.void,
    suspect: () => {},
    answer: (message, to, content, options) =>
      Effect.tap(sender.answer(message, to, content, options), (id) =>
        Effect.sync(() => {
          const outgoing = Outgoing.fromContent(content)
          record.answers.push({ id, to, category: outgoing.category, text: textOf(outgoing) })
        })
      ),
    derive: sender.derive,
    me: Effect.succeed(Users.fromApi({ user_id: botId, identity_number: identityNumber })),
    hasSent: sender.hasSent,
    contactOf: (user) => sender.conversationOf({ user }),
    conversation: () => Effect.succeedNone,
    storage
  })

  const deliveryOf = (entry: Outstanding.Open) =>
    new Handling.Delivery(entry.value!, entry, actionsOf(records.get(entry)!))

  const next = (): Delivery.Delivery | undefined => {
    const message = messages.shift()
    if (message === undefined) return undefined
    const entry = open.begin(message, 0)
    records.set(entry, { messageId: message.id, outcome: "Open", answers: [] })
    return deliveryOf(entry)
  }

  // One by one, as in a bot: what is not asked for is not handed out. Whoever comes after begins with what the one before has left.
  const deliveries: Stream.Stream<Delivery.Delivery> = Stream.suspend(() => {
    const left = Array.from(open.entries(), deliveryOf)
    return Stream.fromPull(
      Effect.succeed(
        Effect.suspend(() => {
          const delivery = left.shift() ?? next()
          return delivery === undefined ? Cause.done() : Effect.succeed(Arr.of(delivery))
        })
      )
    )
  })
  const happened: Effect.Effect<ReadonlyArray<Happened>> = Effect.sync(() => [...records.values()])
  return { deliveries, happened }
})
