// Nobody is answered more than once in two seconds. Who waits takes no place among those who are answered.
import type { Effect, Stream } from "effect"
import { Delivery, Keyed } from "effect-blaze"

type Handler<E> = (delivery: Delivery.Delivery) => Effect.Effect<unknown, E>
const key = ({ message }: Delivery.Delivery) => message.conversationId

export const rateLimit = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, answer: Handler<E2>) =>
  deliveries.pipe(Keyed.mapEffect(Delivery.handle(answer), { key, concurrency: 64, every: "2 seconds" }))
