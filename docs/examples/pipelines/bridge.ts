// To a log: at least once, in order within a conversation, and no faster than the log takes it. A retry belongs inside of the handler.
import { Effect, Schedule, type Stream } from "effect"
import { Delivery, Keyed, type Message } from "effect-blaze"

type Produce<E> = (key: string, message: Message.Message) => Effect.Effect<unknown, E>
const key = ({ message }: Delivery.Delivery) => message.conversationId

export const bridge = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, produce: Produce<E2>) => {
  const write = ({ message }: Delivery.Delivery) =>
    Effect.retry(produce(message.conversationId, message), Schedule.spaced("1 second"))
  return deliveries.pipe(Keyed.mapEffect(Delivery.handle(write), { key, concurrency: 32, inFlight: 32 }))
}
