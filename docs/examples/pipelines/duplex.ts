// The wire itself: requests in, envelopes out, until the connection ends.
import { Stream } from "effect"
import { BlazeSocket, type Envelope } from "effect-blaze"

export const duplex = <E>(requests: Stream.Stream<Envelope.Request, E>) =>
  requests.pipe(
    Stream.pipeThroughChannel(BlazeSocket.duplex<E>()),
    Stream.map(({ action }) => action)
  )
