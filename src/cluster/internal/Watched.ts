/**
 * What whoever holds the socket tells.
 *
 * Guarantee: it is asked again for as long as this runner lives, whoever holds the socket meanwhile.
 *
 * @since 0.1.0
 */
import type * as Sharding from "effect/cluster/Sharding"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Signer from "../../Signer.ts"
import * as Wire from "./Wire.ts"

/** How long it takes until it is asked again. */
const pause = "1 second"

/**
 * @category services
 * @since 0.1.0
 */
export class Watched extends Context.Service<Watched, SubscriptionRef.SubscriptionRef<Option.Option<Wire.Told>>>()(
  "effect-blaze/cluster/Watched"
) {}

/**
 * Has something done again whenever it has ended, whatever it ended with.
 *
 * @category combinators
 * @since 0.1.0
 */
export const again = <R>(effect: Effect.Effect<unknown, unknown, R>): Effect.Effect<never, never, R> =>
  Effect.forever(Effect.andThen(Effect.exit(effect), Effect.sleep(pause)))

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Watched, never, Sharding.Sharding | Signer.Signer> = Layer.effect(
  Watched,
  Effect.gen(function* () {
    const { userId } = yield* Signer.Signer
    const holders = yield* Wire.holders(userId).client
    const told = yield* SubscriptionRef.make(Option.none<Wire.Told>())
    const follow = Effect.suspend(() =>
      holders(Wire.holderName(userId))
        .Watch()
        .pipe(
          Stream.mapEffect((text) => Wire.toTold(text)),
          Stream.runForEach((news) => SubscriptionRef.set(told, Option.some(news as Wire.Told)))
        )
    )
    yield* Effect.forkScoped(again(follow))
    return told
  })
)
