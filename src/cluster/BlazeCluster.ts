/**
 * One bot on many machines, on `effect/cluster`: the same `Blaze` on each of them.
 *
 * Guarantee: one runner at a time holds the socket, and another takes it over when that one ends; the messages of a conversation are
 * handled one after the other, wherever; what no runner has handled comes back, and what one has is handled by no other.
 *
 * @since 0.1.0
 */
import type * as Sharding from "effect/cluster/Sharding"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Acks from "../Acks.ts"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import type * as BlazeSocket from "../BlazeSocket.ts"
import * as Division from "../internal/Division.ts"
import * as Front from "../internal/Front.ts"
import * as Ledger from "../internal/Ledger.ts"
import * as Sending from "../internal/Sending.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Quota from "../Quota.ts"
import * as Settings from "../Settings.ts"
import type * as Signer from "../Signer.ts"
import * as Desk from "./internal/Desk.ts"
import * as Holder from "./internal/Holder.ts"
import * as Membership from "./internal/Membership.ts"
import * as Runner from "./internal/Runner.ts"
import * as SharedStore from "./internal/SharedStore.ts"
import * as Watched from "./internal/Watched.ts"

/**
 * How a bot stands in its cluster, seen from one runner.
 *
 * **Details**
 *
 * `holder` is the address of the runner that holds the socket, and `runners` how many run the bot, as that one knows: nobody and 0 while it
 * is not heard of. `conversations` is how many have had a message on this runner within the last minute, or two.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClusterStatus {
  readonly holder: Option.Option<string>
  readonly runners: number
  readonly conversations: number
}

/**
 * The cluster of a bot. What the connection is like tells `Blaze.status`, on every runner.
 *
 * **Example** (Where is the socket?)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { BlazeCluster } from "effect-blaze/cluster"
 *
 * const tell = Effect.gen(function* () {
 *   const cluster = yield* BlazeCluster.BlazeCluster
 *   const { conversations, holder, runners } = yield* cluster.status
 *   yield* Effect.log(`${Option.getOrElse(holder, () => "nobody")} of ${runners} holds the socket; ${conversations} conversations are here`)
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class BlazeCluster extends Context.Service<BlazeCluster, { readonly status: Effect.Effect<ClusterStatus> }>()(
  "effect-blaze/cluster/BlazeCluster"
) {}

const layerStatus = Layer.effect(
  BlazeCluster,
  Effect.gen(function* () {
    const told = yield* Watched.Watched
    const { conversations } = yield* Desk.Desk
    return {
      status: Effect.map(SubscriptionRef.get(told), (news) => ({
        holder: Option.map(news, ({ holder }) => holder),
        runners: Option.match(news, { onNone: () => 0, onSome: ({ runners }) => runners }),
        conversations: conversations()
      }))
    }
  })
)

/** How long a runner waits until it writes again what could not be stored: the others wait for its conversations. */
const storePause = "1 second"

/** Before it is known how many runners there are, so many are assumed. */
const assumed = 10

const layerQuota = Quota.layerMemory.pipe(
  Layer.provide(
    Layer.effect(
      Division.Senders,
      Effect.map(Watched.Watched, (told) => {
        let last = assumed
        return () => {
          const news = SubscriptionRef.getUnsafe(told)
          if (Option.isSome(news)) last = Math.max(1, news.value.runners)
          return last
        }
      })
    )
  )
)

/**
 * The parts of a bot in a cluster that can be exchanged: how acknowledgements travel (`Acks.layerRest`).
 *
 * @category layers
 * @since 0.1.0
 */
export interface Ports {
  readonly acks?: Layer.Layer<Acks.Transport, never, Acks.SocketRequest | MixinApi.MixinApi> | undefined
}

/**
 * A bot on a platform of your choice, in a cluster of your choice; `NodeBlazeCluster` has one that is ready.
 *
 * **Details**
 *
 * The `Sharding` that is given is built when the bot begins and closed when it leaves, before its handlers have ended. Several bots can have
 * one that is there already (`Layer.succeed`), with `preemptiveShutdown` off. The database has what is handled, what is put aside and what is remembered, for all runners; it may be the one that the cluster has
 * its locks in.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <E, R>(
  sharding: Layer.Layer<Sharding.Sharding, E, R>,
  { acks = Acks.layerRest }: Ports = {}
): Layer.Layer<Blaze.Services | BlazeCluster, BlazeError.BlazeError | E, R | SqlClient.SqlClient | Blaze.Platform> => {
  const store = SharedStore.layer.pipe(Layer.provide(Holder.layerTurn), Layer.provide(Holder.layerHeld))
  const member = Membership.layer(sharding, acks).pipe(
    Layer.provideMerge(Holder.layerHeld),
    Layer.provideMerge(Desk.layer),
    // Whoever holds the socket reads tables that have been made.
    Layer.provide(store)
  )
  const watched = Watched.layer.pipe(Layer.provideMerge(member))
  return Layer.fresh(
    Front.layer(Blaze.Blaze, Front.make(Runner.makeAside), {
      connection: Runner.makeConnection,
      acknowledgements: Runner.makeAcknowledgements,
      transport: Sending.overRest,
      store,
      quota: layerQuota
    }).pipe(
      Layer.provide(Layer.succeed(Ledger.StorePause, storePause)),
      Layer.provideMerge(layerStatus),
      Layer.provide(watched),
      Layer.provide(Front.layerMeter),
      Settings.checkedOnce
    )
  )
}

/**
 * Makes bots in clusters on a platform, as `Blaze.layerOn` makes them alone.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOn =
  (platform: {
    readonly network: Layer.Layer<BlazeSocket.Dialer | HttpClient.HttpClient>
    readonly tools: Layer.Layer<Blaze.Tools>
  }) =>
  <E, R>(
    signer: Blaze.SignerLayer,
    sharding: Layer.Layer<Sharding.Sharding, E, R | Signer.Signer>,
    ports: Ports = {}
  ): Layer.Layer<
    Blaze.Services | MixinApi.MixinApi | BlazeCluster,
    BlazeError.BlazeError | E,
    R | SqlClient.SqlClient
  > =>
    Layer.fresh(
      layerWith(sharding, ports).pipe(Layer.provideMerge(MixinApi.layer), Layer.provide([signer, platform.network]))
    ).pipe(Layer.provide(platform.tools))
