// What is to be sent, as a stream: a result for each. With ids it may be run again, and sends nothing twice.
import type { Stream } from "effect"
import { Sender } from "effect-blaze"

export const outgoing = <E>(messages: Stream.Stream<Sender.OutgoingMessage, E>) =>
  messages.pipe(Sender.sendAll({ concurrency: 32 }))
