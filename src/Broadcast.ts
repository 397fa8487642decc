/**
 * Announcements: one message to very many people.
 *
 * Guarantee: an announcement that is made again, after a crash say, reaches nobody twice; one recipient whom Mixin refuses keeps nobody else
 * from it; the quota is kept, and the share of it that is kept for answers.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as BlazeError from "./BlazeError.ts"
import * as Conversations from "./Conversations.ts"
import type * as Ids from "./Ids.ts"
import * as Elapsed from "./internal/Elapsed.ts"
import * as Batches from "./internal/Batches.ts"
import * as Setting from "./internal/Setting.ts"
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
  /** How many batches of a hundred are under way at once: 4. What is `durable` has its own number, which is 4. */
  readonly concurrency?: number | undefined
  /**
   * Stores every message before it is sent: after a crash the next process goes on with what was stored, without being told to, and what
   * is known of a recipient is not asked again. See `NodeBlaze.layerDurable`. `false`.
   */
  readonly durable?: boolean | undefined
}

interface Message extends Batches.BatchMessage {
  readonly userId: Ids.UserId
}

const outcomeOf = ({ message: { id, userId }, result }: Sender.Sent<Message>): Outcome =>
  Result.isSuccess(result)
    ? { _tag: "Accepted", userId, messageId: result.success }
    : { _tag: "Refused", userId, messageId: id, error: result.failure }

// What the program cannot say to one is not to keep it from the others.
const unsayable = (userId: Ids.UserId, error: unknown) =>
  BlazeError.make(
    new BlazeError.InvalidContent({
      field: `the content for user ${userId}`,
      expected: `made without an error (${BlazeError.problemOf(error, "no reason given")})`
    })
  )

/**
 * Sends to a stream of users, and gives what became of each, in the order in which batches are done.
 *
 * **Details**
 *
 * A hundred recipients are one request; fewer, where the quota leaves less than a hundred for announcements in one window. A batch that
 * Mixin refuses is halved until the refused recipient is alone. What passes (a lost connection, a server that is busy) is tried again as
 * the setting `sendRetry` says, and then fails the stream: run it again.
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
  (
    content: (userId: Ids.UserId) => Outgoing.Content,
    { concurrency = 4, durable = false, firstContact = false, key }: Options
  ) =>
  <E, R>(
    users: Stream.Stream<Ids.UserId, E, R>
  ): Stream.Stream<Outcome, E | BlazeError.BlazeError, R | Sender.Sender | Conversations.Conversations> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { derive, maximumBatch, sendBatch, store } = yield* Sender.Sender
        const { createContact } = yield* Conversations.Conversations

        yield* Setting.count("the announcement's concurrency", concurrency)

        const messageTo = (userId: Ids.UserId) =>
          Effect.mapEager(derive("broadcast", key, userId), (id): Result.Result<Message, Outcome> => {
            try {
              return Result.succeed({ userId, to: { user: userId }, content: content(userId), id })
            } catch (error) {
              return Result.fail({ _tag: "Refused", userId, messageId: id, error: unsayable(userId, error) })
            }
          })

        const messagesTo = (recipients: ReadonlyArray<Ids.UserId>) =>
          Effect.map(Effect.forEach(recipients, messageTo), Arr.separate)

        const send = Effect.fnUntraced(function* (recipients: ReadonlyArray<Ids.UserId>) {
          const [messages, unsaid] = yield* messagesTo(recipients)
          const sent = yield* Batches.send(sendBatch, createContact, messages, () => firstContact)
          return [...unsaid, ...sent.map(outcomeOf)]
        })

        /** Gives what waits for what becomes of them. */
        const keep = Effect.fnUntraced(function* (recipients: ReadonlyArray<Ids.UserId>) {
          const [messages, unsaid] = yield* messagesTo(recipients)
          const sent = yield* store(messages, { firstContact })
          return Effect.map(sent, (sent) => [...unsaid, ...sent.map(outcomeOf)])
        })

        return durable
          ? users.pipe(
              Stream.grouped(storedTogether),
              Stream.mapEffect(keep),
              Stream.buffer({ capacity: storedAhead }),
              Stream.mapEffect((outcomes) => outcomes),
              Stream.flattenIterable
            )
          : users.pipe(
              Stream.grouped(maximumBatch),
              Stream.mapEffect(send, { concurrency, unordered: true }),
              Stream.flattenIterable
            )
      })
    )

/** How many are stored in one go, and how often that is done before it is known what became of the first. */
const storedTogether = 1000
const storedAhead = 100

const maximumNamed = 20
const maximumReasons = 100

/** Who was refused, and why: one line for each reason, with the first whom it concerns. */
const makeRefusals = () => {
  const reasons = new Map<string, { count: number; readonly first: Array<Ids.UserId> }>()
  return {
    add: (userId: Ids.UserId, reason: string) => {
      const known = reasons.get(reason) ?? { count: 0, first: [] }
      if (known.count === 0 && reasons.size < maximumReasons) reasons.set(reason, known)
      known.count++
      if (known.first.length < maximumNamed) known.first.push(userId)
    },
    tell: Effect.suspend(() =>
      Effect.forEach(
        reasons,
        ([reason, { count, first }]) => {
          const more = count > first.length ? ` and ${count - first.length} more` : ""
          return Effect.logWarning(`The announcement was refused for ${first.join(", ")}${more}. ${reason}`)
        },
        { discard: true }
      )
    )
  }
}

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
 * recipients. Who was refused and why is a warning in the log at the end, one for each reason.
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
      const refusals = makeRefusals()
      const note = (outcome: Outcome) => {
        if (outcome._tag === "Accepted") accepted++
        else {
          refused++
          refusals.add(outcome.userId, outcome.error.message)
        }
      }
      const tell = Effect.suspend(() => options.onProgress?.(progress()) ?? Effect.void)
      yield* users.pipe(
        sendAll(content, options),
        Stream.grouped(reportEvery),
        Stream.runForEach((outcomes) => {
          outcomes.forEach(note)
          return tell
        }),
        Effect.ensuring(refusals.tell)
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
