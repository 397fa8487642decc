// Several bots as one stream: `botId` tells whose message it is, and a reply goes out through the bot that got it.
import { type Effect, Stream } from "effect"
import { Delivery, Keyed } from "effect-blaze"

type Handler<E> = (delivery: Delivery.Delivery) => Effect.Effect<unknown, E>
const key = ({ botId, message }: Delivery.Delivery) => `${botId} ${message.conversationId}`

export const merge = <E, E2>(bots: ReadonlyArray<Stream.Stream<Delivery.Delivery, E>>, answer: Handler<E2>) =>
  Stream.mergeAll(bots, { concurrency: "unbounded" }).pipe(
    Keyed.mapEffect(Delivery.handle(answer), { key, concurrency: 64 })
  )
