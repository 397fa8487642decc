// What a bot has received, against a pipeline: a pipeline is a function of its deliveries.
import { Effect, Stream } from "effect"
import { type Delivery, Recording } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"

type Pipeline<E> = (deliveries: Stream.Stream<Delivery.Delivery>) => Stream.Stream<unknown, E>

export const replay = <E>(lines: Iterable<string>, pipeline: Pipeline<E>) =>
  Effect.gen(function* () {
    const views = yield* Effect.fromResult(Recording.read(lines))
    const { deliveries, happened } = yield* BlazeTest.replayViews(views)
    yield* Stream.runDrain(pipeline(deliveries))
    return yield* happened
  })
