/**
 * Messages on their way out, for programs that send and do not listen: a job, a script, an announcement.
 *
 * Guarantee: what is sent keeps its id over every try, so that the server keeps one; nothing leaves beyond the quota, and nothing that
 * breaks a rule of Mixin leaves at all. Over REST it opens no connection, so
 * that it takes no message from the bot that listens.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type * as BlazeError from "./BlazeError.ts"
import type * as Delivery from "./Delivery.ts"
import type * as Ids from "./Ids.ts"
import * as Keyed from "./Keyed.ts"
import type * as Outgoing from "./Outgoing.ts"

/**
 * What is to be sent to somebody.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutgoingMessage {
  readonly to: Delivery.Recipient
  readonly content: Outgoing.Content
  /** Makes it the same message however often it is sent: give one where the program may be run again. */
  readonly id?: Ids.MessageId | undefined
}

/**
 * How something is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /** Makes it the same message however often it is sent. */
  readonly id?: Ids.MessageId | undefined
  /**
   * Stores it, and no more: this process sends it, or the next one that has the store (see `NodeBlaze.layerDurable`; in memory it lasts as
   * long as the process). `false`.
   *
   * **Details**
   *
   * What is stored for one conversation is sent in its order. What may pass is tried again for as long as ids are remembered (`rememberedFor`);
   * what is refused for good is a warning in the log, and sending the same `id` again fails with it.
   */
  readonly durable?: boolean | undefined
}

/**
 * How messages leave. Every layer of a bot gives one, which sends over the bot's connection; `Blaze.layerSender` gives
 * one that sends over REST.
 *
 * **Example** (A job that tells how it went)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { type Ids, Sender } from "effect-blaze"
 *
 * // With NodeBlaze.layerSenderConfig, beside a bot that listens.
 * export const report = Effect.fnUntraced(function*(operator: Ids.UserId, night: string) {
 *   const { derive, send } = yield* Sender.Sender
 *   yield* send({ user: operator }, "The backup is done.", { id: yield* derive("backup", night) })
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Sender extends Context.Service<
  Sender,
  {
    /** The bot itself. */
    readonly userId: Ids.UserId
    /** Sends, and waits until the server has it or, with `durable`, until it is stored. */
    readonly send: (
      to: Delivery.Recipient,
      content: Outgoing.Content,
      options?: SendOptions
    ) => Effect.Effect<Ids.MessageId, BlazeError.BlazeError>
    /**
     * Stores messages, which this process or the next one sends in batches, in no order; what it gives waits until it is known what became
     * of each. Those whose ids were stored before are not stored again. With `firstContact` each conversation is made first.
     */
    readonly store: <M extends OutgoingMessage & { readonly id: Ids.MessageId }>(
      messages: ReadonlyArray<M>,
      options?: { readonly firstContact?: boolean | undefined }
    ) => Effect.Effect<Effect.Effect<ReadonlyArray<Sent<M>>, BlazeError.BlazeError>, BlazeError.BlazeError>
    /**
     * Sends up to `maximumBatch` messages, of 128 KiB together, in one request over REST: Mixin takes all of them or refuses all. Of what
     * comes of each it says nothing; `Broadcast` finds out. Gives the ids that they have on the server: that of a further part of
     * `Outgoing.split` follows from the one that is given.
     */
    readonly sendBatch: (
      messages: ReadonlyArray<OutgoingMessage & { readonly id: Ids.MessageId }>
    ) => Effect.Effect<ReadonlyArray<Ids.MessageId>, BlazeError.BlazeError>
    /** How many messages a batch has at most: 100, or what the quota leaves for announcements in one window where that is less. */
    readonly maximumBatch: number
    /** The conversation that a message to somebody goes to: with a person, the one that only the two are in. */
    readonly conversationOf: (to: Delivery.Recipient) => Effect.Effect<Ids.ConversationId>
    /** An id that follows from the bot and some texts, the same in every run: for what may be sent again. */
    readonly derive: (...parts: ReadonlyArray<string>) => Effect.Effect<Ids.MessageId>
  }
>()("effect-blaze/Sender") {}

/**
 * What became of it: its id, or why it could not be sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent<M extends OutgoingMessage> {
  readonly message: M
  readonly result: Result.Result<Ids.MessageId, BlazeError.BlazeError>
}

/**
 * How many messages are sent at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendAllOptions {
  /** To different recipients: 32. */
  readonly concurrency?: number | undefined
}

/**
 * Sends a stream of messages: in order for each recipient, many recipients at once, with the retries and the quota of `send`.
 *
 * **Details**
 *
 * There is a result for each message, in the order of completion, and none of them fails the stream. Four times as many messages as
 * are sent at once are taken from it in advance.
 *
 * **Example** (An announcement that may be run again)
 *
 * ```ts
 * import { Effect, Result, Stream } from "effect"
 * import { Ids, Sender } from "effect-blaze"
 *
 * const announce = (users: ReadonlyArray<Ids.UserId>) =>
 *   Stream.fromIterable(users).pipe(
 *     Stream.mapEffect((user) =>
 *       Effect.map(Ids.derive("spring sale", user), (id) => ({
 *         to: { user },
 *         content: "The sale begins.",
 *         id
 *       }))
 *     ),
 *     Sender.sendAll(),
 *     Stream.filter(({ result }) => Result.isFailure(result)),
 *     Stream.runCollect
 *   )
 * ```
 *
 * @category sending
 * @since 0.1.0
 */
export const sendAll =
  ({ concurrency = 32 }: SendAllOptions = {}) =>
  <M extends OutgoingMessage, E, R>(self: Stream.Stream<M, E, R>): Stream.Stream<Sent<M>, E, R | Sender> =>
    Stream.unwrap(
      Effect.map(Sender, ({ conversationOf, send }) =>
        self.pipe(
          // A person, and the conversation with that person, are one recipient.
          Stream.mapEffect((message) =>
            Effect.map(conversationOf(message.to), (conversationId) => ({ message, conversationId }))
          ),
          Keyed.mapEffect(
            ({ message }) =>
              Effect.map(Effect.result(send(message.to, message.content, { id: message.id })), (result): Sent<M> => ({
                message,
                result
              })),
            { key: ({ conversationId }) => conversationId, concurrency, inFlight: inAdvance * concurrency }
          )
        )
      )
    )

/**
 * How many messages were sent, and how many could not be.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly sent: number
  readonly failed: number
}

/**
 * As `sendAll`, for who wants to know only how many were sent: why one could not be is a warning in the log.
 *
 * **Example** (Run a stream of messages)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Sender } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function*() {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* alice.addBot
 *   const counts = yield* Stream.make("one", "two").pipe(
 *     Stream.map((content) => ({ to: { user: alice.userId }, content })),
 *     Stream.run(Sender.sink())
 *   )
 *   console.assert(counts.sent === 2 && counts.failed === 0)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category sending
 * @since 0.1.0
 */
export const sink = (options?: SendAllOptions): Sink.Sink<Counts, OutgoingMessage, never, never, Sender> =>
  Sink.fromTransform((upstream: Pull.Pull<Arr.NonEmptyReadonlyArray<OutgoingMessage>, never, void>) =>
    Stream.fromPull(Effect.succeed(upstream)).pipe(
      sendAll(options),
      Stream.runFoldEffect((): Counts => ({ sent: 0, failed: 0 }), count),
      Effect.map((counts): Sink.End<Counts> => [counts])
    )
  )

const count = ({ failed, sent }: Counts, { message, result }: Sent<OutgoingMessage>): Effect.Effect<Counts> =>
  Result.isSuccess(result)
    ? Effect.succeed({ sent: sent + 1, failed })
    : Effect.as(Effect.logWarning(`A message to ${nameOf(message.to)} was not sent. ${result.failure.message}`), {
        sent,
        failed: failed + 1
      })

const nameOf = (to: Delivery.Recipient) => ("user" in to ? `user ${to.user}` : `conversation ${to.conversation}`)

/** How many times as many messages as are sent at once are taken in advance. */
const inAdvance = 4
