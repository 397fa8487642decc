/**
 * How acknowledgements travel: over REST, over the socket, or as you say.
 *
 * Guarantee: a transport takes as many as it says and fails when one of them was not taken; what is made of that is not its business.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as Envelope from "./Envelope.ts"
import * as MixinApi from "./MixinApi.ts"

/**
 * The port to the way acknowledgements travel.
 *
 * @category services
 * @since 0.1.0
 */
export class Transport extends Context.Service<
  Transport,
  {
    /** The most that one call takes. */
    readonly maximum: number
    /** How many calls may be under way. */
    readonly atOnce: number
    /** Its answers come over the socket, behind the messages that the server has written before. */
    readonly behindMessages: boolean
    readonly acknowledge: (
      messages: ReadonlyArray<Envelope.Acknowledgement>
    ) => Effect.Effect<void, BlazeError.BlazeError>
  }
>()("effect-blaze/Acks/Transport") {}

/**
 * Over REST, up to 100 at a time: the default, and what the official documentation recommends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRest: Layer.Layer<Transport, never, MixinApi.MixinApi> = Layer.effect(
  Transport,
  Effect.map(MixinApi.MixinApi, ({ request }) => ({
    maximum: Endpoint.maximumAcknowledgements,
    atOnce: 16,
    behindMessages: false,
    acknowledge: (payload) => request(Endpoint.acknowledge, { payload })
  }))
)

/** How many acknowledgements may be under way before no further message is handed out. */
export const maximumUnderWay = 32_000

/** How many messages one frame may acknowledge. Source: the comment of a Go client about the server's limit. */
const maximumPerFrame = 80

/**
 * A request over the bot's own connection; the bot provides it for the transport that is its part. The answer comes behind the messages
 * that the server has written before.
 *
 * @category services
 * @since 0.1.0
 */
export class SocketRequest extends Context.Service<
  SocketRequest,
  (action: string, params: unknown) => Effect.Effect<unknown, BlazeError.BlazeError>
>()("effect-blaze/Acks/SocketRequest") {}

/**
 * Over the socket, up to 80 at a time.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSocket: Layer.Layer<Transport, never, SocketRequest> = Layer.effect(
  Transport,
  Effect.map(SocketRequest, (request) => ({
    maximum: maximumPerFrame,
    // Their answers stand in the stream behind all that the server has pushed before: enough of them must be under way.
    atOnce: Math.ceil(maximumUnderWay / maximumPerFrame),
    behindMessages: true,
    acknowledge: (messages) => Effect.asVoid(request(Envelope.Action.acknowledgeReceipts, { messages }))
  }))
)
