// One answer to all that somebody has typed, once that is all: a person who goes on typing is waited for, and holds up nobody.
import type { Effect, Stream } from "effect"
import { Delivery, Keyed } from "effect-blaze"

type Answer<E> = (messages: ReadonlyArray<Delivery.Delivery>) => Effect.Effect<unknown, E>
const key = ({ message }: Delivery.Delivery) => message.conversationId

export const debounce = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, answer: Answer<E2>) =>
  deliveries.pipe(
    Keyed.mapEffectBatch(Delivery.handleAll(answer), { key, concurrency: 64, quiet: "2 seconds", size: 20 })
  )
