/**
 * Shards whose conversations are given their messages directly, and not over the cluster.
 *
 * Guarantee: such a shard stays on this runner until what was given to its conversations has ended, as it does for what came over the
 * cluster.
 *
 * @since 0.1.0
 */
import * as EntityId from "effect/cluster/EntityId"
import type * as ShardId from "effect/cluster/ShardId"
import * as Sharding from "effect/cluster/Sharding"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Signal from "../../internal/Signal.ts"
import * as Signer from "../../Signer.ts"
import * as Desk from "./Desk.ts"
import * as Wire from "./Wire.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Keeper extends Context.Service<
  Keeper,
  {
    /**
     * What a shard is called at the desk, where it is kept here until what is given there in the same turn has ended. Where it is not, it will
     * be soon.
     */
    readonly keptOf: (shard: ShardId.ShardId) => string | undefined
    /** The request that keeps one: for as long as it runs the shard cannot move. */
    readonly keep: (shard: string) => Effect.Effect<void>
    /** Keeps no further one. */
    readonly close: Effect.Effect<void>
  }
>()("effect-blaze/cluster/Keeper") {}

/** How often it is looked whether a shard is to move. */
const period = "100 millis"

/** Names of entities, one in each shard. */
const makeNames = (sharding: Sharding.Sharding["Service"]) => {
  const names = new Map<string, string>()
  let tried = 0
  return (shard: ShardId.ShardId): string => {
    const key = String(shard)
    while (!names.has(key)) {
      const name = `keeper ${tried++}`
      const found = String(sharding.getShardId(EntityId.make(name), shard.group))
      if (!names.has(found)) names.set(found, name)
    }
    return names.get(key)!
  }
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Keeper, never, Sharding.Sharding | Desk.Desk | Signer.Signer> = Layer.effect(
  Keeper,
  Effect.gen(function* () {
    const { userId } = yield* Signer.Signer
    const { awaitEnds } = yield* Desk.Desk
    const sharding = yield* Sharding.Sharding
    const keepers = yield* Wire.keepers(userId).client
    const nameOf = makeNames(sharding)
    const scope = yield* Effect.scope
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const asked = new Map<string, ShardId.ShardId>()
    const kept = new Map<string, { readonly shard: ShardId.ShardId; readonly leaving: Deferred.Deferred<void> }>()
    const signal = Signal.make()
    let isClosed = false

    // Nobody tells that a shard is to move, and a request that was interrupted could not wait where it must not.
    const letGo = Effect.sync(() => {
      for (const [key, { leaving, shard }] of kept) {
        if (!isClosed && sharding.hasShardId(shard)) continue
        kept.delete(key)
        Deferred.doneUnsafe(leaving, Exit.void)
      }
    })
    yield* Effect.andThen(
      signal.until(() => kept.size > 0),
      Effect.delay(letGo, period)
    ).pipe(Effect.forever, Effect.forkScoped)

    const ask = (shard: ShardId.ShardId, key: string) => {
      if (asked.has(key)) return
      asked.set(key, shard)
      const asking = Effect.ensuring(
        Effect.exit(Effect.suspend(() => keepers(nameOf(shard)).Keep({ shard: key }))),
        Effect.sync(() => asked.delete(key))
      )
      run(Effect.forkIn(asking, scope))
    }

    return Keeper.of({
      close: Effect.suspend(() => {
        isClosed = true
        return letGo
      }),
      keptOf: (shard) => {
        if (isClosed || !sharding.hasShardId(shard)) return undefined
        const key = String(shard)
        if (kept.has(key)) return key
        ask(shard, key)
        return undefined
      },
      keep: (key) =>
        Effect.suspend(() => {
          const shard = asked.get(key)
          if (shard === undefined || isClosed) return Effect.void
          // Another request may keep it already: it leaves for both.
          const { leaving } = kept.get(key) ?? { leaving: Deferred.makeUnsafe<void>() }
          kept.set(key, { shard, leaving })
          signal.notify()
          return Effect.ensuring(
            Effect.andThen(Deferred.await(leaving), awaitEnds(key)),
            Effect.sync(() => {
              if (kept.get(key)?.leaving === leaving) kept.delete(key)
            })
          )
        })
    })
  })
)

/**
 * The requests that keep shards here.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEntity: Layer.Layer<never, never, Keeper | Sharding.Sharding | Signer.Signer> = Layer.unwrap(
  Effect.gen(function* () {
    const { userId } = yield* Signer.Signer
    const { keep } = yield* Keeper
    const entity = Wire.keepers(userId)
    return entity.toLayer(entity.of({ Keep: ({ payload }) => keep(payload.shard) }), { concurrency: "unbounded" })
  })
)
