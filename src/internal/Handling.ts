/**
 * A message in the hands of the program: what it asks of the bot that it belongs to.
 *
 * Guarantee: an answer made through a delivery has the same id however often it is made, so the server keeps one; a handler that gives
 * no Effect fails in one sentence that names its message.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Predicate from "effect/Predicate"
import * as BlazeError from "../BlazeError.ts"
import * as Ids from "../Ids.ts"
import * as Branded from "./Branded.ts"
import * as Restart from "./Restart.ts"
import * as Cells from "./Cells.ts"
import type * as Ledger from "./Ledger.ts"
import type * as Outstanding from "./Outstanding.ts"
import type * as Conversations from "../Conversations.ts"
import type * as Users from "../Users.ts"
import type * as Message from "../Message.ts"
import * as Outgoing from "../Outgoing.ts"
import * as Writes from "./Writes.ts"
import type * as State from "../State.ts"
import type * as Store from "../Store.ts"

/**
 * Where a message goes: to a user, in the conversation of the two, or to a conversation that is known.
 *
 * @category models
 * @since 0.1.0
 */
export type Recipient = { readonly user: Ids.UserId } | { readonly conversation: Ids.ConversationId }

/**
 * How an answer is told from another one.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnswerOptions {
  /**
   * Takes the place of the content in the answer's id. Give one when the content may differ when the handler runs again (a
   * language model, a clock), and when the same thing is to be said twice.
   */
  readonly key?: string | undefined
  /** An id of one's own, in place of the one that is derived. */
  readonly id?: Ids.MessageId | undefined
}

/**
 * What became of a delivery: `Ack`, it is done and will not come back; `Defer`, it is not, and is offered again later; `GiveUp`, no
 * further try of this process can change it: it is neither offered again nor acknowledged, so that a mended program gets it.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Ack" }
  | { readonly _tag: "Defer"; readonly after?: Duration.Duration }
  | { readonly _tag: "GiveUp" }

/**
 * What a handler says by what it gives: an outcome counts by its tag, as its type says, and anything else acknowledges.
 *
 * @category models
 * @since 0.1.0
 */
export const outcomeOf = (value: unknown): Outcome["_tag"] => {
  if (!Predicate.hasProperty(value, "_tag")) return "Ack"
  return value._tag === "Defer" || value._tag === "GiveUp" ? value._tag : "Ack"
}

/** After how long a handler wants its message again, where it says so. */
const afterOf = (value: unknown): Duration.Duration | undefined =>
  Predicate.hasProperty(value, "after") && Duration.isDuration(value.after) ? value.after : undefined

/**
 * What sees a bot from within, for tests: every run of a handler, and every message that is sent, with the one that it answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watch {
  readonly around: <A, E, R>(message: Message.Message, handled: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly sending: (id: Ids.MessageId, answers: Ids.MessageId | undefined) => Effect.Effect<void>
}

/**
 * Who watches the bot: nobody.
 *
 * @category references
 * @since 0.1.0
 */
export const Observer = Context.Reference<Watch | undefined>("effect-blaze/Delivery/Observer", {
  defaultValue: () => undefined
})

/**
 * What a delivery asks of the bot it belongs to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Actions {
  /** Whose message it is. */
  readonly botId: Ids.UserId
  /** With what is written in one go with it. */
  readonly ack: (open: Outstanding.Open, writes: ReadonlyArray<Store.Write>) => Effect.Effect<Ledger.Acked>
  /** As `ack`, for several that were handled together. */
  readonly ackAll: (
    open: ReadonlyArray<Outstanding.Open>,
    writes: ReadonlyArray<Store.Write>
  ) => Effect.Effect<Ledger.Acked>
  /** After a time that is given, or as the setting `defer` says. */
  readonly defer: (open: Outstanding.Open, after?: Duration.Duration) => Effect.Effect<void>
  /** Says why in the log. */
  readonly giveUp: (open: Outstanding.Open, reason: string) => Effect.Effect<void>
  /** Whether a handler that is about to begin with it shall not. */
  readonly skips: (open: Outstanding.Open) => boolean
  /** Somebody works on it, and will settle it. */
  readonly hold: (open: Outstanding.Open) => void
  /** Who worked on it does not any more. */
  readonly release: (open: Outstanding.Open) => void
  /** It was released unsettled: it is for the next consumer. */
  readonly leave: (open: Outstanding.Open) => void
  /** What watches the bot, if anything does: see `Observer`. */
  readonly observe:
    | (<A, E, R>(message: Message.Message, handled: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>)
    | undefined
  /** The program had no case for the message, and will acknowledge it all the same. */
  readonly unread: (message: Message.Message) => Effect.Effect<void>
  /** The handler has made answers, and succeeded before any had begun. */
  readonly suspect: (id: Ids.MessageId, isStill: () => boolean) => void
  readonly answer: (
    message: Message.Message,
    to: Recipient,
    content: Outgoing.Content,
    options: AnswerOptions | undefined
  ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
  readonly derive: (message: Message.Message, name: string) => Effect.Effect<Ids.MessageId>
  /** The bot itself, as the API shows it. */
  readonly me: Effect.Effect<Users.User, BlazeError.BlazeError>
  /** Whether the bot sent it to a group, as far as is remembered. */
  readonly hasSent: (id: Ids.MessageId) => boolean
  /** The conversation that the bot and a person are alone in. */
  readonly contactOf: (userId: Ids.UserId) => Effect.Effect<Ids.ConversationId>
  readonly conversation: (
    id: Ids.ConversationId
  ) => Effect.Effect<Option.Option<Conversations.Conversation>, BlazeError.BlazeError>
  /** Has something done that nobody waits for. */
  readonly later: (effect: Effect.Effect<void>) => void
  /** What the bot remembers. */
  readonly storage: Cells.Storage["Service"]
}

/**
 * Says that somebody works on a delivery and will settle it, with `settle`, `ack`, `defer` or `giveUp`: no other consumer gets its message
 * until then.
 *
 * @category combinators
 * @since 0.1.0
 */
export let hold: (delivery: Delivery) => void

/**
 * Says that a handler begins with a delivery, whose end settles it with `settleUnsafe`, whatever the handler itself says of it meanwhile.
 *
 * @category settling
 * @since 0.1.0
 */
export let begin: (delivery: Delivery) => void

/**
 * Says that a delivery waits in a queue, and that nobody works on it before `begin` says so: it may be somebody else's until then.
 *
 * @category combinators
 * @since 0.1.0
 */
export let queue: (delivery: Delivery) => void

/**
 * As `settle`, at once: an effect comes back for what is more than an acknowledgement. `reason` is why a message is given up. What is
 * `Changed` is not settled, and still held: it is for who asked to handle it again.
 *
 * @category combinators
 * @since 0.1.0
 */
export let settleUnsafe: (
  delivery: Delivery,
  exit: Exit.Exit<unknown, unknown>,
  reason?: string
) => Effect.Effect<Ledger.Acked>

/**
 * Forgets what a run of a handler has left that has failed, and is tried again: what it would have written, and that it made answers.
 *
 * @category settling
 * @since 0.1.0
 */
export let forgetRun: (delivery: Delivery) => void

/**
 * Forgets a run of a handler whose message is `Changed`: it is held once more, for the next one.
 *
 * @category settling
 * @since 0.1.0
 */
export let overtake: (delivery: Delivery) => void

/** Has what is `Changed` offered again, soon. */
let again: (delivery: Delivery) => Effect.Effect<void>

/** Whether several, handled together, can be acknowledged in one go. */
let areOne: (deliveries: ReadonlyArray<Delivery>) => boolean

/**
 * Has what is written to states by what handles several deliveries together be of one piece; a run before it has written nothing. Deliveries
 * of several bots, and parts of one, have nothing in common.
 *
 * @category settling
 * @since 0.1.0
 */
export let share: (deliveries: ReadonlyArray<Delivery>) => void

/**
 * As `settleUnsafe`, for deliveries that were handled together. Where they share what they write all of them are `Changed`, or none is; of
 * the others those are offered again that are.
 *
 * @category settling
 * @since 0.1.0
 */
export let settleTogether: (
  deliveries: ReadonlyArray<Delivery>,
  exit: Exit.Exit<unknown, unknown>
) => Effect.Effect<Ledger.Acked>

/**
 * Has who watches the bot see one run of a handler.
 *
 * @category combinators
 * @since 0.1.0
 */
export let observe: <A, E, R>(delivery: Delivery, handled: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Whether it was taken back since it was handed out: who is about to begin with it acknowledges it instead.
 *
 * @category settling
 * @since 0.1.0
 */
export let skips: (delivery: Delivery) => boolean

/**
 * Whether nobody has settled it yet.
 *
 * @category settling
 * @since 0.1.0
 */
export let isOpen: (delivery: Delivery) => boolean

/**
 * Counts a message for which the program has no case, and tells the log of it now and then.
 *
 * @category combinators
 * @since 0.1.0
 */
export let unread: (delivery: Delivery) => Effect.Effect<void>

/**
 * As many deliveries as there are parts.
 *
 * @category models
 * @since 0.1.0
 */
export type Parts<
  M extends Message.Message,
  N extends number,
  Taken extends ReadonlyArray<Delivery<M>> = []
> = number extends N
  ? ReadonlyArray<Delivery<M>>
  : Taken["length"] extends N
    ? Taken
    : Parts<M, N, readonly [...Taken, Delivery<M>]>

/**
 * Several deliveries of one message, for consumers that each have a part in it: it is acknowledged when every part is, deferred once one
 * is, and given up once one is.
 *
 * **When to use**
 *
 * Use before `Stream.broadcastN`, whose consumers would each settle the same delivery, the first of them for all.
 *
 * **Details**
 *
 * What is decided waits until every part is settled, so that the message is not handled beside itself when it comes again. A part that
 * nobody settles keeps the message open, as a delivery that nobody settles does.
 *
 * **Example** (An archive beside the bot)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Blaze, Delivery } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const archived: Array<string> = []
 *
 * const program = Effect.gen(function* () {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* alice.say("hi")
 *   const blaze = yield* Blaze.Blaze
 *   const [first, second] = yield* blaze.deliveries.pipe(
 *     Stream.take(1),
 *     Stream.map((delivery) => Delivery.split(delivery, 2)),
 *     Stream.broadcastN({ n: 2, capacity: 16 })
 *   )
 *   const archive = first.pipe(
 *     Stream.mapEffect(([part]) => Delivery.handle(({ message }) => Effect.sync(() => archived.push(message.id)))(part))
 *   )
 *   const answers = second.pipe(Stream.mapEffect(([, part]) => Delivery.handle((delivery) => delivery.reply("hello"))(part)))
 *   yield* Effect.all([Stream.runDrain(archive), Stream.runDrain(answers)], { concurrency: 2 })
 *   console.assert(archived.length === 1 && (yield* alice.reads).join() === "hello")
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export let split: <M extends Message.Message, const N extends number>(delivery: Delivery<M>, parts: N) => Parts<M, N>

/**
 * A message in the hands of the program, generic in its kind.
 *
 * **Gotchas**
 *
 * A delivery that is never settled holds its message's place for as long as the process lives. `handle`, `filter` and `Bot` settle
 * what passes through them; a plain `Stream.filter` or `Stream.take` does not.
 *
 * @category models
 * @since 0.1.0
 */
export class Delivery<out M extends Message.Message = Message.Message> {
  readonly message: M
  readonly #open: Outstanding.Open
  readonly #actions: Actions
  #draft: Cells.Draft | "taken" | undefined
  /** Whether its handler has made an answer, and begun with any. */
  #answers: "none" | "made" | "begun" = "none"
  /** How often whoever has it holds it; what others hold of the same message is theirs. */
  #holds = 0
  /** Whether one of them settles it by hand. */
  #isHeld = false

  constructor(message: M, open: Outstanding.Open, actions: Actions) {
    this.message = message
    this.#open = open
    this.#actions = actions
  }

  static {
    hold = (delivery) => {
      if (delivery.#isHeld) return
      delivery.#isHeld = true
      delivery.#holds++
      delivery.#actions.hold(delivery.#open)
    }
    begin = (delivery) => {
      // From here on it is the handler that holds it.
      if (delivery.#isHeld) {
        delivery.#isHeld = false
        return
      }
      delivery.#holds++
      delivery.#actions.hold(delivery.#open)
    }
    queue = (delivery) => {
      delivery.#open.isQueued = true
    }
    observe = (delivery, handled) =>
      delivery.#actions.observe === undefined ? handled : delivery.#actions.observe(delivery.message, handled)
    skips = (delivery) => delivery.#actions.skips(delivery.#open)
    isOpen = (delivery) => {
      const { isSettling, value } = delivery.#open
      return value !== undefined && !isSettling
    }
    unread = (delivery) => delivery.#actions.unread(delivery.message)
    split = <M extends Message.Message, const N extends number>(delivery: Delivery<M>, parts: N) => {
      const whole = delivery.#open
      const actionsOf = splitActions(whole, delivery.#actions, parts)
      return Array.from(
        { length: parts },
        () => new Delivery(delivery.message, whole, actionsOf())
      ) as unknown as Parts<M, N>
    }
    overtake = (delivery) => {
      delivery.#holds++
      forgetRun(delivery)
    }
    forgetRun = (delivery) => {
      delivery.#draft = undefined
      // It may have failed before it came to them.
      delivery.#answers = "none"
    }
    again = (delivery) => {
      delivery.#actions.release(delivery.#open)
      return delivery.#actions.defer(delivery.#open, againAfter)
    }
    share = (deliveries) => {
      const draft = areOne(deliveries) ? Cells.makeDraft() : undefined
      for (const delivery of deliveries) delivery.#draft = draft
    }
    areOne = (deliveries) => {
      const [first] = deliveries
      return deliveries.every((delivery) => delivery.#actions.ackAll === first!.#actions.ackAll)
    }
    settleTogether = (deliveries, exit) =>
      Effect.suspend(() => {
        const [first] = deliveries
        if (first === undefined) return Exit.void
        const isHandled = Exit.isSuccess(exit) && outcomeOf(exit.value) === "Ack"
        if (!isHandled || !areOne(deliveries)) {
          // What waits for a store that is away can be interrupted in its own fiber only, and the rest is to be settled all the same.
          const exits = Effect.forEach(deliveries, (delivery) => Effect.exit(settle(delivery, exit)), {
            concurrency: isHandled ? 1 : "unbounded"
          })
          return Effect.flatMap(exits, (all) => all.find(Exit.isFailure) ?? Effect.void)
        }
        const drafts = new Set<Cells.Draft>()
        for (const delivery of deliveries) {
          delivery.#letGo()
          delivery.#suspect()
          if (typeof delivery.#draft === "object") drafts.add(delivery.#draft)
          delivery.#draft = "taken"
        }
        return first.#actions.ackAll(
          deliveries.map((delivery) => delivery.#open),
          Array.from(drafts).flatMap(Cells.take)
        )
      })
    settleUnsafe = (delivery, exit, reason) => {
      delivery.#letGo()
      if (Exit.isSuccess(exit)) {
        const outcome = outcomeOf(exit.value)
        if (outcome === "Defer") return delivery.#actions.defer(delivery.#open, afterOf(exit.value))
        if (outcome === "GiveUp") return delivery.giveUp(reason ?? "its handler says so.")
        delivery.#suspect()
        return delivery.#actions.ack(delivery.#open, delivery.#take())
      }
      forgetRun(delivery)
      // It stays with who is about to begin again.
      if (Restart.isIn(exit.cause)) return Exit.void
      if (Cause.hasInterruptsOnly(exit.cause)) {
        delivery.#actions.leave(delivery.#open)
        return Exit.void
      }
      return isFinal(exit.cause) ? delivery.giveUp(reasonOf(exit.cause)) : delivery.defer
    }
  }

  /** Its handler has ended, or who holds it settles it: nobody who has it works on it. */
  #letGo(): void {
    this.#isHeld = false
    for (; this.#holds > 0; this.#holds--) this.#actions.release(this.#open)
  }

  /** Who holds it settles it by hand; its handler, if there is one, goes on. */
  #letGoByHand(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#holds--
    this.#actions.release(this.#open)
  }

  /** Its handler has succeeded: has it forgotten to run what it has made? */
  #suspect(): void {
    if (this.#answers === "made") this.#actions.suspect(this.message.id, () => this.#answers === "made")
  }

  /** What is to be written with the end of the message, which has come. */
  #take(): ReadonlyArray<Store.Write> {
    const draft = this.#draft
    if (draft === undefined || draft === "taken") return noWrites
    this.#draft = "taken"
    return Cells.take(draft)
  }

  /**
   * Done: the server is told with the next batch, and the message does not come back. What was written to states is stored with it; where
   * that cannot be, because one of them has changed meanwhile, the message is offered again.
   */
  get ack(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#letGoByHand()
      return settled(this, this.#actions.ack(this.#open, this.#take()))
    })
  }

  /** What is remembered of its conversation or person: see `State`. */
  state<A, Key extends string>(state: State.State<A, Key>): Cells.Cell<A> {
    return Cells.drafted(state, state.keyOf(this.message), this.#actions.storage, () => {
      this.#draft ??= Cells.makeDraft()
      return this.#draft === "taken" || this.#open.value === undefined ? undefined : this.#draft
    })
  }

  /** Not done: the message stays unacknowledged on the server, for up to 7 days, and is offered again when `Settings.defer` says. */
  get defer(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#letGoByHand()
      return this.#actions.defer(this.#open)
    })
  }

  /**
   * Not done, and this process cannot do it: one error line says why, and the message is not offered again. It stays unacknowledged on
   * the server, so that the next process gets it.
   */
  giveUp(reason: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#letGoByHand()
      return this.#actions.giveUp(this.#open, reason)
    })
  }

  /**
   * Answers in the same conversation, and waits until the server has it.
   *
   * **Details**
   *
   * The id is derived from the message, the conversation and the content (or `key`), so that a second run sends nothing new.
   */
  reply(content: Outgoing.Content, options?: AnswerOptions): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> {
    return this.send({ conversation: this.message.conversationId }, content, options)
  }

  /** As `reply`, to somebody else. */
  send(
    to: Recipient,
    content: Outgoing.Content,
    options?: AnswerOptions
  ): Effect.Effect<Ids.MessageId, BlazeError.BlazeError> {
    const answer = this.#actions.answer(this.message, to, content, options)
    if (this.#answers === "none") this.#answers = "made"
    return Effect.suspend(() => {
      this.#answers = "begun"
      return answer
    })
  }

  /** Takes back, in the same conversation, a message that the bot sent there or, where it runs the group, anybody's. */
  recall(id: Ids.MessageId): Effect.Effect<void, BlazeError.BlazeError> {
    return Effect.asVoid(this.reply(Outgoing.recall(id)))
  }

  /** Pins messages above the same conversation. To do it once more, after an `unpin`, give a `key`. */
  pin(
    ids: Ids.MessageId | ReadonlyArray<Ids.MessageId>,
    options?: AnswerOptions
  ): Effect.Effect<void, BlazeError.BlazeError> {
    return Effect.asVoid(this.reply(Outgoing.pin(ids), options))
  }

  /** Takes that back. */
  unpin(
    ids: Ids.MessageId | ReadonlyArray<Ids.MessageId>,
    options?: AnswerOptions
  ): Effect.Effect<void, BlazeError.BlazeError> {
    return Effect.asVoid(this.reply(Outgoing.unpin(ids), options))
  }

  /** A UUID for a side effect of this message, the same in every run: the `trace_id` of a transfer, the id of a message to somebody. */
  derive(name: string): Effect.Effect<Ids.MessageId> {
    return this.#actions.derive(this.message, name)
  }

  /** The bot that got it: where the streams of several are merged. */
  get botId(): Ids.UserId {
    return this.#actions.botId
  }

  /** Whether only its sender and the bot are in the conversation. */
  get isDirect(): Effect.Effect<boolean> {
    const { message } = this
    // The system tells of a payment in the conversation with who paid.
    // The sender, and nobody whom a message was sent for.
    const sender = Branded.userId(message.view.user_id ?? "")
    const other = isPayment(message) ? Option.getOrElse(message.opponentId, () => sender) : sender
    return Effect.map(this.#actions.contactOf(other), (contact) => contact === message.conversationId)
  }

  /** Whether its text names the bot: `@` and the bot's identity number. */
  get isMentioned(): Effect.Effect<boolean, BlazeError.BlazeError> {
    const text = textOf(this.message)
    // Nobody is mentioned without the sign, and nothing has to be looked up.
    if (!text.includes("@")) return Effect.succeed(false)
    return Effect.map(this.#actions.me, ({ identityNumber }) => mentionOf(identityNumber).test(text))
  }

  /**
   * Whether it is for the bot: said to it alone, or in a group with a mention of it or as a quote of what it sent.
   *
   * **Gotchas**
   *
   * A quote does not say whose message it quotes: it is told by the last 10 000 messages that this process has sent to groups.
   */
  get isForBot(): Effect.Effect<boolean, BlazeError.BlazeError> {
    if (Option.exists(this.message.quotedMessageId, this.#actions.hasSent)) return Effect.succeed(true)
    return Effect.flatMap(this.isDirect, (isDirect) => (isDirect ? Effect.succeed(true) : this.isMentioned))
  }

  /** Its text without the mention of the bot; empty where it has no text. */
  get textWithoutMention(): Effect.Effect<string, BlazeError.BlazeError> {
    const text = textOf(this.message)
    if (!text.includes("@")) return Effect.succeed(text.trim())
    return Effect.map(this.#actions.me, ({ identityNumber }) => text.replace(mentionOf(identityNumber), "").trim())
  }

  /**
   * The conversation, with its name and who is in it; nothing where the bot is no longer in it. What is known is remembered for ten minutes,
   * and forgotten when a `GroupEvent` says that it has changed.
   */
  get conversation(): Effect.Effect<Option.Option<Conversations.Conversation>, BlazeError.BlazeError> {
    return this.#actions.conversation(this.message.conversationId)
  }

  /** The time since the message was written, by the two clocks of the server and this machine; never negative. */
  get age(): Effect.Effect<Duration.Duration> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      const at = Date.parse(this.message.createdAt)
      return Duration.millis(Number.isFinite(at) ? Math.max(0, now - at) : 0)
    })
  }
}

const noWrites: ReadonlyArray<Store.Write> = []

/** How long it takes until what was overtaken is offered again, where nobody can run its handler again in its place. */
const againAfter = Duration.seconds(1)

/** How often a handler runs again because what it was to write is based on what has changed. */
const maximumConflicts = 10

/**
 * Before the next run of a handler that was overtaken so often: nothing the first time, and then the longer the more there were, so that of
 * many that want the same each gets it. `None` when it has been enough.
 *
 * @category settling
 * @since 0.1.0
 */
export const pauseAfter = (conflicts: number): Option.Option<Effect.Effect<void>> => {
  if (conflicts > maximumConflicts) return Option.none()
  if (conflicts === 1) return Option.some(Effect.void)
  const most = Math.min(1000, 5 * 2 ** conflicts)
  return Option.some(Effect.flatMap(Random.next, (random) => Effect.sleep(random * most)))
}

/** In the words of the log. */
export const overtaken = (deliveries: ReadonlyArray<Delivery>): Effect.Effect<void> =>
  Effect.logError(
    `What the handler of message ${Ids.list(deliveries.map(({ message }) => message.id))} was to write has changed each time since it was read; it is deferred.`
  )

/**
 * Runs what handles deliveries that are held, and settles them with its end; again where that is `Changed`, in their place.
 *
 * @category settling
 * @since 0.1.0
 */
export const inPlace = <A, E, R>(
  deliveries: ReadonlyArray<Delivery>,
  run: Effect.Effect<A, E, R>,
  settleWith: (exit: Exit.Exit<A, E>) => Effect.Effect<Ledger.Acked>
): Effect.Effect<A, E, R> => {
  let conflicts = 0
  let last: Exit.Exit<A, E> | undefined
  const runAgain = (): Effect.Effect<void, never, R> => {
    for (const delivery of deliveries) (isOpen(delivery) ? overtake : forgetRun)(delivery)
    const pause = pauseAfter(++conflicts)
    if (Option.isNone(pause)) {
      return Effect.andThen(
        overtaken(deliveries),
        Effect.forEach(deliveries, (delivery) => settle(delivery, deferred), { discard: true })
      )
    }
    // Interrupted between the two it would stay held, with nobody to settle it.
    return Effect.exit(attempt(Effect.interruptible(Effect.andThen(pause.value, run)))).pipe(
      Effect.map((exit) => {
        // Of several runs within one another the innermost is the last.
        last ??= exit
      })
    )
  }
  // In the exit, so that no interruption comes between the handler's success and the acknowledgement.
  const attempt = (run: Effect.Effect<A, E, R>) =>
    Effect.onExit(run, (exit) => {
      const acked = settleWith(exit)
      if (acked === Exit.void) return Exit.void
      return Effect.flatMap(acked, (claim): Effect.Effect<void, never, R> =>
        claim === "Changed" ? Effect.suspend(runAgain) : Effect.void
      )
    })
  return Effect.flatMap(attempt(run), (value) => last ?? Effect.succeed(value))
}

const deferred = Exit.succeed<Outcome>({ _tag: "Defer" })

const settled = (delivery: Delivery, acked: Effect.Effect<Ledger.Acked>): Effect.Effect<void> =>
  acked === Exit.void
    ? Exit.void
    : Effect.uninterruptible(Effect.flatMap(acked, (claim) => (claim === "Changed" ? again(delivery) : Effect.void)))

const isPayment = (message: Message.Message): message is Message.Snapshot => message._tag === "Snapshot"

const textOf = (message: Message.Message): string => ("text" in message ? message.text : "")

// Chinese has no space before it; what has a letter before it is an address of mail.
const mentionOf = (identityNumber: string) =>
  // Who has no number is mentioned by nobody.
  !/^\d+$/.test(identityNumber) ? /(?!)/ : new RegExp(`(?<![\\w.-])@${identityNumber}(?!\\d)[,:\\uff0c\\uff1a]?\\s?`)

/** What a part does to the whole, which all parts share. */
const splitActions = (whole: Outstanding.Open, actions: Actions, parts: number) => {
  let open = parts
  let held = 0
  let decided: Effect.Effect<void> | undefined
  let isLeft = false
  // Of two parts that write one value the later counts.
  const written = new Map<string, Store.Write>()

  const acknowledge = (): Effect.Effect<void> => {
    const acked = actions.ack(whole, [...written.values()])
    return acked === Exit.void
      ? Exit.void
      : Effect.flatMap(acked, (claim) => {
          if (claim !== "Changed") return Effect.void
          actions.release(whole)
          return actions.defer(whole, againAfter)
        })
  }

  // One that is not begun with yet may be, and the message must not come again meanwhile; of what was interrupted nobody knows.
  const conclude = (): Effect.Effect<void> => {
    if (decided === undefined) return open === 0 ? acknowledge() : Exit.void
    return held === 0 && (open === 0 || isLeft) ? decided : Exit.void
  }

  return (): Actions => {
    let isSettled = false
    const settled = (decision: Effect.Effect<void> | undefined) => {
      // Said before its handler had ended: that it has is what was waited for.
      if (isSettled) return conclude()
      isSettled = true
      open--
      decided = decision ?? decided
      return conclude()
    }
    const ack: Actions["ack"] = (_, writes) => {
      for (const write of isSettled ? noWrites : writes) {
        const place = Writes.placeOf(write)
        // What another part writes was not there yet to look at.
        if (write.next !== "Same" || !written.has(place)) written.set(place, write)
      }
      return settled(undefined)
    }
    return {
      ...actions,
      ack,
      // Its own, so that nothing is taken for one with it.
      ackAll: (opens, writes) => Effect.asVoid(Effect.forEach(opens, (open) => ack(open, writes))),
      defer: (_, after) => Effect.suspend(() => settled(decided ?? actions.defer(whole, after))),
      giveUp: (_, reason) => Effect.suspend(() => settled(actions.giveUp(whole, reason))),
      hold: () => {
        held++
        actions.hold(whole)
      },
      release: () => {
        held--
        actions.release(whole)
        // A part was interrupted while this one was worked on: the next consumer gets the message, unless it is settled now.
        if (isLeft && held === 0) actions.leave(whole)
      },
      leave: () => {
        isLeft = true
        if (decided !== undefined) actions.later(conclude())
        actions.leave(whole)
      }
    }
  }
}

/**
 * Calls a handler, and takes nothing but an Effect from it: in plain JavaScript a `return` is soon forgotten.
 *
 * @category combinators
 * @since 0.1.0
 */
export const call = <D extends Delivery, A, E, R>(
  handler: (delivery: D) => Effect.Effect<A, E, R>,
  delivery: D
): Effect.Effect<A, E, R> => effectOf(handler(delivery), [delivery])

/**
 * What a handler gave, if it is an Effect; else a defect that names the messages.
 *
 * @category combinators
 * @since 0.1.0
 */
export const effectOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  deliveries: ReadonlyArray<Delivery>
): Effect.Effect<A, E, R> => {
  const given: unknown = effect
  if (Effect.isEffect(given)) return effect
  const isPromise = Predicate.isPromiseLike(given)
  // Nobody else will look at it, and a rejection that nobody looks at ends the process.
  if (isPromise) given.then(undefined, () => {})
  const messages = deliveries.map(({ message }) => message)
  const [first] = messages
  const names =
    first !== undefined && messages.length === 1
      ? `message ${first.id} (${first.category})`
      : `messages ${Ids.list(messages.map(({ id }) => id))}`
  return Effect.die(
    new TypeError(
      `The handler of ${names} gave ${isPromise ? "a Promise" : given === undefined ? "nothing" : "something else"} and not an Effect: return ${
        isPromise
          ? "Effect.tryPromise(() => ...) in place of an async function"
          : "an Effect, Effect.void when there is nothing to do"
      }.`
    )
  )
}

/**
 * Why something failed, for one line in the log: errors of this library are a sentence.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reasonOf = (cause: Cause.Cause<unknown>): string => {
  // Anything can be failed with, also what cannot be shown: that must not become a failure of its own.
  try {
    const error = Cause.squash(cause)
    return typeof error === "string" ? error : error instanceof Error ? String(error.message) : Cause.pretty(cause)
  } catch {
    return "it failed with something that cannot be shown."
  }
}

const isFinalError = (error: unknown) => BlazeError.isBlazeError(error) && error.isFinal

/**
 * Whether a failure is one that no further try can change: a final error of Mixin, and nothing else beside it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const isFinal = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.length > 0 && cause.reasons.every((reason) => Cause.isFailReason(reason) && isFinalError(reason.error))

/**
 * What becomes of a delivery whose handler has ended. Success acknowledges, unless it says `Defer` or `GiveUp`; a failure defers, one that
 * no further try can change gives up; an interruption decides nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const settle = (delivery: Delivery, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => settled(delivery, settleUnsafe(delivery, exit)))
