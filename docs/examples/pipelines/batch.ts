// Rows written together: one insert settles all that it wrote. Their key is `message.id`, since a message may come again after a crash.
import { type Effect, Stream } from "effect"
import { Delivery } from "effect-blaze"

type Insert<E> = (group: ReadonlyArray<Delivery.Delivery>) => Effect.Effect<unknown, E>

export const batch = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, insert: Insert<E2>) =>
  deliveries.pipe(Stream.groupedWithin(100, "1 second"), Stream.mapEffect(Delivery.handleAll(insert)))
