/**
 * Messages to many, as many in a request as there may be, and what became of each.
 *
 * Guarantee: one recipient whom Mixin refuses keeps nobody else from it; what may pass fails all of them, and can be tried again.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as BlazeError from "../BlazeError.ts"
import type * as Conversations from "../Conversations.ts"
import * as Halving from "./Halving.ts"
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

const sendHalving = <M extends BatchMessage>(
  send: Send<M>,
  messages: ReadonlyArray<M>,
  isOfOne: (error: BlazeError.BlazeError) => boolean
): Effect.Effect<ReadonlyArray<Sender.Sent<M>>, BlazeError.BlazeError> =>
  Effect.suspend(() => {
    const sent: Array<Sender.Sent<M>> = []
    const halving: Halving.Options<M, ReadonlyArray<Ids.MessageId>, BlazeError.BlazeError> = {
      send,
      isOfOne: (cause) => Option.exists(Cause.findErrorOption(cause), isOfOne),
      done: (batch, exit) => {
        const error = Exit.findErrorOption(exit)
        for (const [n, message] of batch.entries()) {
          const result = Exit.isSuccess(exit) ? Result.succeed(exit.value[n]!) : Result.fail(Option.getOrThrow(error))
          sent.push({ message, result })
        }
      }
    }
    return Effect.as(Halving.send(halving, messages), sent)
  })

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
