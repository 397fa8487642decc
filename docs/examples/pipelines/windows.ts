// Statistics beside the stream: they are about messages, not deliveries, and one who is slow to read them loses the oldest and holds up nobody.
import { Effect, Queue, Stream } from "effect"
import type { Delivery, Message } from "effect-blaze"

type Report = (messages: ReadonlyArray<Message.Message>) => Effect.Effect<void>

export const windows = <E>(deliveries: Stream.Stream<Delivery.Delivery, E>, report: Report) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const seen = yield* Queue.sliding<Message.Message>(10_000)
      yield* Stream.fromQueue(seen).pipe(
        Stream.groupedWithin(10_000, "1 minute"),
        Stream.runForEach(report),
        Effect.forkScoped
      )
      return Stream.tap(deliveries, ({ message }) => Queue.offer(seen, message))
    })
  )
