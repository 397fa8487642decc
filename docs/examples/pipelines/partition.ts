// Branches by kind. Both are run for as long as the stream is: one that ended alone would take the other along.
import { Effect, Filter, Stream } from "effect"
import { Delivery, Message } from "effect-blaze"

type Handler<E> = (delivery: Delivery.Delivery<Message.Text>) => Effect.Effect<unknown, E>

export const partition = <E, E2>(deliveries: Stream.Stream<Delivery.Delivery, E>, answer: Handler<E2>) =>
  Effect.gen(function* () {
    const isText = Filter.fromPredicate(Delivery.is(Message.isText))
    const [texts, others] = yield* Stream.partition(deliveries, isText)
    const answering = Stream.runForEach(texts, Delivery.handle(answer))
    const passing = Stream.runForEach(others, (delivery) => delivery.ack)
    yield* Effect.all([answering, passing], { concurrency: 2, discard: true })
  }).pipe(Effect.scoped)
