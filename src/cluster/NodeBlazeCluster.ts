/**
 * A bot on many machines, for Node, with its locks in PostgreSQL.
 *
 * Guarantee: nothing but a keystore, an address and a database is needed; a socket whose machine has died is taken over within ten seconds,
 * and no two bots of one database have anything in common.
 *
 * @since 0.1.0
 */
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as MessageStorage from "effect/cluster/MessageStorage"
import type * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as SqlRunnerStorage from "effect/cluster/SqlRunnerStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Blaze from "../Blaze.ts"
import * as BlazeError from "../BlazeError.ts"
import * as ErrorKind from "../internal/ErrorKind.ts"
import * as Platform from "../node/internal/Platform.ts"
import type * as MixinApi from "../MixinApi.ts"
import * as Signer from "../Signer.ts"
import * as BlazeCluster from "./BlazeCluster.ts"
import * as Membership from "./internal/Membership.ts"

/**
 * How a cluster of bots is set up where nothing else is said; the rest is as `effect/cluster` has it.
 *
 * **Details**
 *
 * A runner that dies counts as alive for `shardLockExpiration`, and a runner that cannot reach the database gives its shards up before that.
 * Lower than 6 seconds a stall of 2 seconds drops every shard, and the socket.
 *
 * @category settings
 * @since 0.1.0
 */
export const defaults = {
  shardLockExpiration: "6 seconds",
  shardLockRefreshInterval: "2 seconds",
  refreshAssignmentsInterval: "1 second",
  runnerHealthCheckInterval: "2 seconds",
  entityMessagePollInterval: "1 second",
  runnerJoinDebounce: "3 seconds",
  // A conversation moves once its handler has ended: longer than a handler has when its bot ends.
  entityTerminationTimeout: "40 seconds",
  maxResidentEntities: "unbounded",
  simulateRemoteSerialization: false
} satisfies Partial<ShardingConfig.ShardingConfig["Service"]>

/**
 * How a runner is set up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends BlazeCluster.Ports {
  /** Before the id of the bot in the names of the cluster's tables: clusters with other prefixes are others. `effect_blaze`. */
  readonly prefix?: string | undefined
  /** What differs from `defaults`, and from the environment: `HOST` and `PORT`, where the other runners reach this one, and so on. */
  readonly sharding?: Partial<ShardingConfig.ShardingConfig["Service"]> | undefined
}

/** How many hexadecimal digits of a bot's id are in the names of its tables: PostgreSQL takes 63 letters. */
const digits = 16

/** The cluster of the Node processes of one bot that share a database: a runner gets shards of all that is in its cluster. */
const layerSharding = ({
  prefix = "effect_blaze",
  sharding
}: Options): Layer.Layer<Sharding.Sharding, BlazeError.BlazeError, SqlClient.SqlClient | Signer.Signer> =>
  Layer.unwrap(
    Effect.map(Signer.Signer, ({ userId }) =>
      layerOf(`${prefix}_${userId.replaceAll("-", "").slice(0, digits)}`, { ...defaults, ...sharding })
    )
  )

const layerOf = (
  prefix: string,
  shardingConfig: Partial<ShardingConfig.ShardingConfig["Service"]>
): Layer.Layer<Sharding.Sharding, BlazeError.BlazeError, SqlClient.SqlClient> =>
  NodeClusterSocket.layer({ storage: "byo", runnerHealth: "ping", shardingConfig }).pipe(
    Layer.provide([
      // Mixin keeps a message until it is acknowledged: nothing else has to.
      MessageStorage.layerNoop,
      SqlRunnerStorage.layerWith({ prefix }).pipe(Layer.provide(ShardingConfig.layerFromEnv(shardingConfig)))
    ]),
    Layer.catch((error) => Layer.effectContext(Effect.fail(cannotBegin(error))))
  )

const cannotBegin = (error: unknown) =>
  BlazeError.make(
    new BlazeError.InvalidSetting({
      setting: "option",
      field: "the cluster",
      expected: `an address to listen on that is free, and a database that can be read and written:${ErrorKind.of(error)}`
    })
  )

const signals = ["SIGTERM", "SIGINT"] as const

/** Ends when the process is told to. Where nobody else listens to that, it ends the process, as it would without this. */
const ending = Effect.callback<void>((resume) => {
  const forget = () => {
    for (const signal of signals) process.off(signal, listen)
  }
  const listen = (signal: NodeJS.Signals) => {
    const isAlone = process.listenerCount(signal) === 1
    forget()
    if (isAlone) process.kill(process.pid, signal)
    resume(Effect.void)
  }
  // First of all: who listens once is no listener any more when it is told.
  for (const signal of signals) process.prependListener(signal, listen)
  return Effect.sync(forget)
})

/**
 * A bot that signs as told, on one of many machines.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  signer: Blaze.SignerLayer,
  options: Options = {}
): Layer.Layer<
  Blaze.Services | MixinApi.MixinApi | BlazeCluster.BlazeCluster,
  BlazeError.BlazeError,
  SqlClient.SqlClient
> =>
  BlazeCluster.layerOn(Platform.platform)(signer, layerSharding(options), options).pipe(
    Layer.provide(Layer.succeed(Membership.Ending, ending))
  )

/**
 * A bot on one of many machines, that is set up from the environment as `NodeBlaze.layerConfig` is.
 *
 * **Details**
 *
 * `HOST` and `PORT` are where the other runners reach this one: `localhost` and `34431` where they are not said. The database is that of the
 * `SqlClient`: PostgreSQL 14 or newer, which all runners share.
 *
 * **Gotchas**
 *
 * Whoever reaches that port can give messages to the bot: it belongs into a network of the runners alone.
 *
 * **Example** (One of many)
 *
 * ```ts
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect, Layer } from "effect"
 * import { Bot } from "effect-blaze"
 * import { NodeBlazeCluster } from "effect-blaze/cluster"
 *
 * const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })
 *
 * const main = Bot.run((delivery) => delivery.reply("welcome")).pipe(
 *   Effect.provide(NodeBlazeCluster.layerConfig.pipe(Layer.provide(database)))
 * )
 * export const run = () => NodeRuntime.runMain(main)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<
  Blaze.Services | MixinApi.MixinApi | BlazeCluster.BlazeCluster,
  BlazeError.BlazeError,
  SqlClient.SqlClient
> = layer(Signer.layerConfig).pipe(Layer.provide(Platform.layerEnvironment))
