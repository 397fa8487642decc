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

/** How long nobody may hold the socket before that is told. */
const patience = "1 minute"

const alone = Effect.logWarning(
  "For a minute this runner has heard of nobody who holds the socket: either there is none, or the others are not reached from here. Each machine needs an address of its own in HOST, by which the others reach it."
)

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
    // Whoever had told has ended, or cannot be reached.
    yield* Effect.forkScoped(again(Effect.ensuring(follow, SubscriptionRef.set(told, Option.none()))))
    yield* SubscriptionRef.changes(told).pipe(
      Stream.map(Option.isNone),
      Stream.changes,
      Stream.switchMap((isAlone) => (isAlone ? Stream.fromEffect(Effect.delay(alone, patience)) : Stream.empty)),
      Stream.runDrain,
      Effect.forkScoped
    )
    return told
  })
)
