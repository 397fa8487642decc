/**
 * This runner as a member of the cluster.
 *
 * Guarantee: it leaves in an order in which nobody waits for another: the socket first, then the conversations, then the shards; and
 * once, whoever asks for it first.
 *
 * @since 0.1.0
 */
import * as Sharding from "effect/cluster/Sharding"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Signer from "../../Signer.ts"
import * as Desk from "./Desk.ts"
import * as Holder from "./Holder.ts"
import * as Keeper from "./Keeper.ts"
import * as Wire from "./Wire.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Membership extends Context.Service<
  Membership,
  {
    /** Takes in nothing more, and gives up the socket, if it is here, and the conversations once their handlers have ended. */
    readonly leave: Effect.Effect<void>
  }
>()("effect-blaze/cluster/Membership") {}

/**
 * Ends when the process is told to end: never.
 *
 * @category references
 * @since 0.1.0
 */
export const Ending = Context.Reference<Effect.Effect<void>>("effect-blaze/cluster/Membership/Ending", {
  defaultValue: () => Effect.never
})

/** The conversations of this runner. */
const layerConversations = Layer.unwrap(
  Effect.gen(function* () {
    const { handleText } = yield* Desk.Desk
    const { userId } = yield* Signer.Signer
    const entity = Wire.conversations(userId)
    return entity.toLayer(entity.of({ Handle: ({ payload }) => handleText(payload.view) }), {
      concurrency: "unbounded"
    })
  })
)

/** An entity waits for its requests: those that keep shards here are to end first. */
const layerClosing = Layer.effectDiscard(Effect.flatMap(Keeper.Keeper, ({ close }) => Effect.addFinalizer(() => close)))

/**
 * A member of a cluster, with what it does there. The cluster is made for it alone, and closed when it leaves.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  cluster: Layer.Layer<Sharding.Sharding, E, R>,
  acks: Parameters<typeof Holder.layer>[0]
): Layer.Layer<
  Membership | Sharding.Sharding,
  E,
  R | Exclude<Layer.Services<ReturnType<typeof Holder.layer>>, Sharding.Sharding | Keeper.Keeper>
> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const desk = yield* Desk.Desk
      // What is provided closes last.
      const member = Holder.layer(acks).pipe(
        Layer.provideMerge(layerClosing),
        Layer.provideMerge(Layer.mergeAll(Holder.layerEntity, Keeper.layerEntity, layerConversations)),
        Layer.provideMerge(Keeper.layer),
        Layer.provideMerge(cluster),
        // What runs in there is ours, and handlers do not: nobody looks at a span for each message on its way.
        Layer.provide(Layer.succeed(References.TracerEnabled, false))
      )
      const scope = yield* Scope.make()
      const leave = yield* Effect.cached(
        Effect.uninterruptible(Effect.andThen(desk.close, Scope.close(scope, Exit.void)))
      )
      yield* Effect.addFinalizer(() => Effect.andThen(desk.clear, leave))
      // While its handlers end.
      yield* Effect.forkScoped(Effect.andThen(yield* Ending, leave))
      const context = yield* Layer.buildWithScope(member, scope)
      return context.pipe(Context.pick(Sharding.Sharding), Context.add(Membership, { leave }))
    })
  )
