// Two consumers of every message, each with a part of it: it is acknowledged when both are done, and comes again to both once one defers.
import { Effect, Stream } from "effect"
import { Delivery } from "effect-blaze"

type Deliveries<E> = Stream.Stream<Delivery.Delivery, E>
type Handler<E> = (delivery: Delivery.Delivery) => Effect.Effect<unknown, E>

export const tee = <E, E2>(deliveries: Deliveries<E>, archive: Handler<E2>, respond: Handler<E2>) =>
  Effect.gen(function* () {
    const parts = Stream.map(deliveries, (delivery) => Delivery.split(delivery, 2))
    const [left, right] = yield* Stream.broadcastN(parts, { n: 2, capacity: 16 })
    const archiving = Stream.runForEach(left, ([part]) => Delivery.handle(archive)(part))
    const responding = Stream.runForEach(right, ([, part]) => Delivery.handle(respond)(part))
    yield* Effect.all([archiving, responding], { concurrency: 2, discard: true })
  }).pipe(Effect.scoped)
