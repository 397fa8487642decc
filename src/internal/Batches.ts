/**
 * Messages to many, a hundred in a request, and what became of each.
 *
 * Guarantee: one recipient whom Mixin refuses keeps nobody else from it; what may pass fails all of them, and can be tried again.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as BlazeError from "../BlazeError.ts"
import type * as Conversations from "../Conversations.ts"
import type * as Ids from "../Ids.ts"
import type * as Sender from "../Sender.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface BatchMessage extends Sender.OutgoingMessage {
  readonly id: Ids.MessageId
}

/**
 * Whether it says what became of a message, and not of a try: a code that is not known is a verdict too, for one recipient whom it is about
 * must not hold up all others for ever.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isVerdict = (error: BlazeError.BlazeError): boolean =>
  error.isFinal ||
  error.reason._tag === "NotEncrypted" ||
  (error.reason._tag === "FileFailed" && error.reason.operation === "reading") ||
  (error.reason._tag === "ApiFailure" && !error.isRetryable && !error.isFatal) ||
  (error.reason._tag === "Intermediary" && error.reason.status === 413)

type Send<M> = (messages: ReadonlyArray<M>) => Effect.Effect<ReadonlyArray<Ids.MessageId>, BlazeError.BlazeError>

// Halved until who is refused is alone: Mixin does not say which of a batch it was. What is known to hold one who is refused, since the
// other half does not, is not sent as a whole.
const sendHalving = <M extends BatchMessage>(
  send: Send<M>,
  messages: ReadonlyArray<M>,
  isOfOne: (error: BlazeError.BlazeError) => boolean
): Effect.Effect<ReadonlyArray<Sender.Sent<M>>, BlazeError.BlazeError> =>
  Effect.flatMap(Effect.result(send(messages)), (sent) => {
    if (Result.isSuccess(sent)) {
      return Effect.succeed(messages.map((message, n) => ({ message, result: Result.succeed(sent.success[n]!) })))
    }
    const { failure } = sent
    if (!isOfOne(failure)) return Effect.fail(failure)
    return messages.length === 1
      ? Effect.succeed([{ message: messages[0]!, result: Result.fail(failure) }])
      : sendHalves(send, messages, isOfOne)
  })

const sendHalves = <M extends BatchMessage>(
  send: Send<M>,
  messages: ReadonlyArray<M>,
  isOfOne: (error: BlazeError.BlazeError) => boolean
): Effect.Effect<ReadonlyArray<Sender.Sent<M>>, BlazeError.BlazeError> => {
  const half = Math.ceil(messages.length / 2)
  const second = messages.slice(half)
  return Effect.flatMap(sendHalving(send, messages.slice(0, half), isOfOne), (first) => {
    const isInSecond = second.length > 1 && first.every(({ result }) => Result.isSuccess(result))
    const rest = isInSecond ? sendHalves(send, second, isOfOne) : sendHalving(send, second, isOfOne)
    return Effect.map(rest, (others) => [...first, ...others])
  })
}

/**
 * Makes conversations, and tells who can be written to and who cannot.
 *
 * @category sending
 * @since 0.1.0
 */
const meet = <M extends BatchMessage>(
  createContact: Conversations.Conversations["Service"]["createContact"],
  messages: ReadonlyArray<M>,
  isOfOne: (error: BlazeError.BlazeError) => boolean
) =>
  Effect.forEach(
    messages,
    (message) =>
      ("user" in message.to ? Effect.asVoid(createContact(message.to.user)) : Effect.void).pipe(
        Effect.map((): Result.Result<M, Sender.Sent<M>> => Result.succeed(message)),
        Effect.catchIf(isOfOne, (error) => Effect.succeed(Result.fail({ message, result: Result.fail(error) })))
      ),
    { concurrency: 16 }
  )

/**
 * Sends a batch, to those first whom the bot may not have met. `isOfOne` says of which errors it is to be found out whose they are.
 *
 * @category sending
 * @since 0.1.0
 */
export const send = Effect.fnUntraced(function* <M extends BatchMessage>(
  send: Send<M>,
  createContact: Conversations.Conversations["Service"]["createContact"],
  messages: ReadonlyArray<M>,
  isFirstContact: (message: M) => boolean,
  isOfOne: (error: BlazeError.BlazeError) => boolean = isVerdict
): Effect.fn.Return<ReadonlyArray<Sender.Sent<M>>, BlazeError.BlazeError> {
  const strangers = messages.filter(isFirstContact)
  const [met, unmet] = Arr.separate(strangers.length === 0 ? [] : yield* meet(createContact, strangers, isOfOne))
  const known = strangers.length === 0 ? messages : [...messages.filter((message) => !isFirstContact(message)), ...met]
  const sent = known.length === 0 ? [] : yield* sendHalving(send, known, isOfOne)
  return [...unmet, ...sent]
})
