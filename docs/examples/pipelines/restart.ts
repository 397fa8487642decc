// An answer to half of what somebody has said is of no use: what arrives interrupts it, and is answered together with it.
import type { Effect, Stream } from "effect"
import { Delivery, Keyed } from "effect-blaze"

type Answer<E> = (messages: ReadonlyArray<Delivery.Delivery>) => Effect.Effect<unknown, E>
const key = ({ message }: Delivery.Delivery) => message.conversationId

export const restart = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, answer: Answer<E2>) =>
  deliveries.pipe(Keyed.mapEffectBatch(Delivery.handleAll(answer), { key, concurrency: 64, restart: true }))
