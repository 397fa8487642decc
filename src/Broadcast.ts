/**
 * Announcements: one message to very many people.
 *
 * Guarantee: an announcement that is made again, after a crash say, reaches nobody twice; one recipient whom Mixin refuses keeps nobody else
 * from it; the quota is kept, and the share of it that is kept for answers.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as BlazeError from "./BlazeError.ts"
import * as Conversations from "./Conversations.ts"
import * as Endpoint from "./Endpoint.ts"
import type * as Ids from "./Ids.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import type * as Outgoing from "./Outgoing.ts"
import * as Sender from "./Sender.ts"

/**
 * What became of a recipient: the server took the message, which tells no more than that, or refused it.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Accepted"; readonly userId: Ids.UserId; readonly messageId: Ids.MessageId }
  | {
      readonly _tag: "Refused"
      readonly userId: Ids.UserId
      readonly messageId: Ids.MessageId
      readonly error: BlazeError.BlazeError
    }

/**
 * How an announcement is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What is announced, in a word: with the recipient it makes the id of each message. Another key is another announcement. */
  readonly key: string
  /** Makes the conversation with each recipient first, a request for each: for people who have not met the bot. `false`. */
  readonly firstContact?: boolean | undefined
  /** How many batches of a hundred are under way at once: 4. */
  readonly concurrency?: number | undefined
}

type Message = Parameters<Sender.Sender["Service"]["sendBatch"]>[0][number] & { readonly userId: Ids.UserId }

const accepted = ({ id, userId }: Message): Outcome => ({ _tag: "Accepted", userId, messageId: id })

const refused = ({ id, userId }: Message, error: BlazeError.BlazeError): Outcome => ({
  _tag: "Refused",
  userId,
  messageId: id,
  error
})

// A code that is not known is a verdict too: one recipient whom it is about must not hold up all others for ever.
const isVerdict = (error: BlazeError.BlazeError) =>
  error.isFinal ||
  (error.reason._tag === "ApiFailure" && !error.isRetryable && !error.isFatal) ||
  (error.reason._tag === "Intermediary" && error.reason.status === 413)

// Halved until who is refused is alone: Mixin does not say which of a batch it was.
const sendHalving = (
  send: Sender.Sender["Service"]["sendBatch"],
  messages: ReadonlyArray<Message>
): Effect.Effect<ReadonlyArray<Outcome>, BlazeError.BlazeError> =>
  Effect.flatMap(Effect.result(send(messages)), (sent) => {
    if (Result.isSuccess(sent)) return Effect.succeed(messages.map(accepted))
    const { failure } = sent
    if (!isVerdict(failure)) return Effect.fail(failure)
    if (messages.length === 1) return Effect.succeed([refused(messages[0]!, failure)])
    const half = Math.ceil(messages.length / 2)
    return Effect.zipWith(
      sendHalving(send, messages.slice(0, half)),
      Effect.suspend(() => sendHalving(send, messages.slice(half))),
      (a, b) => [...a, ...b]
    )
  })

/**
 * Sends to a stream of users, and gives what became of each, in the order in which batches are done.
 *
 * **Details**
 *
 * A hundred recipients are one request. A batch that Mixin refuses is halved until the refused recipient is alone. What passes (a lost
 * connection, a server that is busy) is tried again as the setting `sendRetry` says, and then fails the stream: run it again.
 *
 * **Example** (A sale)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Broadcast, Ids } from "effect-blaze"
 *
 * const announce = (users: Stream.Stream<Ids.UserId>) =>
 *   users.pipe(
 *     Broadcast.sendAll(() => "The sale begins.", { key: "spring sale" }),
 *     Stream.filter(({ _tag }) => _tag === "Refused"),
 *     Stream.runCount
 *   )
 * ```
 *
 * @category sending
 * @since 0.1.0
 */
export const sendAll =
  (content: (userId: Ids.UserId) => Outgoing.Content, { concurrency = 4, firstContact = false, key }: Options) =>
  <E, R>(
    users: Stream.Stream<Ids.UserId, E, R>
  ): Stream.Stream<Outcome, E | BlazeError.BlazeError, R | Sender.Sender | Conversations.Conversations> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { derive, sendBatch } = yield* Sender.Sender
        const { createContact } = yield* Conversations.Conversations

        const messageTo = (userId: Ids.UserId) =>
          Effect.map(derive("broadcast", key, userId), (id): Message => ({
            userId,
            to: { user: userId },
            content: content(userId),
            id
          }))

        /** Who can be written to, and who cannot. */
        const meet = (messages: ReadonlyArray<Message>) =>
          Effect.forEach(
            messages,
            (message) =>
              createContact(message.userId).pipe(
                Effect.map((): Result.Result<Message, Outcome> => Result.succeed(message)),
                Effect.catchIf(isVerdict, (error) => Effect.succeed(Result.fail(refused(message, error))))
              ),
            { concurrency: 16 }
          )

        const send = Effect.fnUntraced(function* (recipients: ReadonlyArray<Ids.UserId>) {
          const messages = yield* Effect.forEach(recipients, messageTo)
          if (!firstContact) return yield* sendHalving(sendBatch, messages)
          const met = yield* meet(messages)
          const known = met.flatMap((result) => (Result.isSuccess(result) ? [result.success] : []))
          const unknown = met.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
          return known.length === 0 ? unknown : [...unknown, ...(yield* sendHalving(sendBatch, known))]
        })

        return users.pipe(
          Stream.grouped(Endpoint.maximumMessages),
          Stream.mapEffect(send, { concurrency, unordered: true }),
          Stream.flattenIterable
        )
      })
    )

/**
 * How far an announcement is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly accepted: number
  readonly refused: number
  /** Of how many, where that is known. */
  readonly total: Option.Option<number>
  readonly perSecond: number
  /** How much longer it will take at this rate, where the total is known. */
  readonly remaining: Option.Option<Duration.Duration>
}

/**
 * As `sendAll`, for who wants to know how many it reached: a summary at its end, and the progress on the way, after every thousand
 * recipients. Why one was refused is a warning in the log.
 *
 * **Example** (With progress)
 *
 * ```ts
 * import { Stream } from "effect"
 * import { Broadcast, Ids } from "effect-blaze"
 *
 * const announce = (users: ReadonlyArray<Ids.UserId>) =>
 *   Stream.fromIterable(users).pipe(
 *     Broadcast.run(() => "The sale begins.", {
 *       key: "spring sale",
 *       total: users.length,
 *       onProgress: Broadcast.progressBar
 *     })
 *   )
 * ```
 *
 * @category sending
 * @since 0.1.0
 */
export const run =
  <R2 = never>(
    content: (userId: Ids.UserId) => Outgoing.Content,
    options: Options & {
      readonly total?: number | undefined
      readonly onProgress?: ((progress: Progress) => Effect.Effect<void, never, R2>) | undefined
    }
  ) =>
  <E, R>(
    users: Stream.Stream<Ids.UserId, E, R>
  ): Effect.Effect<Progress, E | BlazeError.BlazeError, R | R2 | Sender.Sender | Conversations.Conversations> =>
    Effect.gen(function* () {
      const now = yield* Elapsed.now
      const begun = now()
      let accepted = 0
      let refused = 0
      const progress = (): Progress => {
        const done = accepted + refused
        const perSecond = (done / Math.max(1, now() - begun)) * 1000
        const total = Option.fromUndefinedOr(options.total)
        return {
          accepted,
          refused,
          total,
          perSecond,
          remaining: Option.map(total, (total) =>
            Duration.seconds(perSecond === 0 ? 0 : Math.max(0, total - done) / perSecond)
          )
        }
      }
      const note = (outcome: Outcome) => {
        if (outcome._tag === "Accepted") {
          accepted++
          return []
        }
        refused++
        return [`The announcement was refused for user ${outcome.userId}. ${outcome.error.message}`]
      }
      const tell = Effect.suspend(() => options.onProgress?.(progress()) ?? Effect.void)
      yield* users.pipe(
        sendAll(content, options),
        Stream.grouped(reportEvery),
        Stream.runForEach((outcomes) =>
          Effect.andThen(
            Effect.forEach(outcomes.flatMap(note), (line) => Effect.logWarning(line), { discard: true }),
            tell
          )
        )
      )
      return progress()
    })

/** After how many recipients the progress is told. */
const reportEvery = 1000

const barWidth = 24

const spelled = (duration: Duration.Duration) => {
  const seconds = Math.ceil(Duration.toSeconds(duration))
  return seconds < 60 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}

const counted = ({ accepted, perSecond, refused }: Progress) =>
  `${accepted} sent, ${refused} refused, ${Math.round(perSecond)} a second`

/**
 * Shows how far an announcement is, for `onProgress`: at a terminal as a bar, which needs the `total`; elsewhere, and without one, as a line
 * each time.
 *
 * **Details**
 *
 * It is written to the standard error stream, so that what the program itself writes can go into a file.
 *
 * @category progress
 * @since 0.1.0
 */
export const progressBar = Effect.fnUntraced(function* (
  progress: Progress
): Effect.fn.Return<void, never, Stdio.Stdio> {
  const { stderr, stderrIsTerminal } = yield* Stdio.Stdio
  const { accepted, refused, remaining, total } = progress
  let line = `${counted(progress)}\n`
  if (Option.isSome(total) && Option.isSome(remaining) && (yield* stderrIsTerminal)) {
    const done = accepted + refused
    const share = total.value === 0 ? 1 : Math.min(1, done / total.value)
    const full = Math.floor(share * barWidth)
    const bar = "#".repeat(full) + "-".repeat(barWidth - full)
    const rest = done < total.value ? `, ${spelled(remaining.value)} left` : ""
    // Back to the beginning of the line, whose end may be that of a longer one.
    line = `\r[${bar}] ${Math.floor(share * 100)} %, ${counted(progress)}${rest}\u001b[K${done < total.value ? "" : "\n"}`
  }
  // Whoever cannot be shown the progress is not to lose the announcement.
  yield* Effect.ignore(Stream.run(Stream.make(line), stderr({ endOnDone: false })))
})
