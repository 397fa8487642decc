/**
 * A bot on Node: `ws`, zlib, node:http and node:crypto, put together.
 *
 * Guarantee: nothing but a keystore is needed, and it comes from `BLAZE_KEYSTORE` or from the program.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Signer from "../Signer.ts"
import * as SqlStore from "../SqlStore.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import * as Platform from "./internal/Platform.ts"
import * as WebSocketDialer from "./WebSocketDialer.ts"

/**
 * What `Blaze`, `BlazeSocket` and `Signer` need of Node.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform: Layer.Layer<BlazeSocket.Dialer | Blaze.Tools> = Layer.merge(
  WebSocketDialer.layer,
  Platform.layerTools
)

/**
 * A bot that signs as told: `layer(Signer.layerString(json))`, say.
 *
 * **Details**
 *
 * The second argument exchanges parts: `{ acks: Acks.layerSocket }`, say. Addresses, times and bounds are references with defaults; give
 * others with `Layer.provide(Settings.layer({ url: "..." }))`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: <StoreServices = never, QuotaServices = never>(
  signer: Blaze.SignerLayer,
  ports?: Blaze.Ports<StoreServices, QuotaServices>
) => Layer.Layer<Blaze.Services | MixinApi.MixinApi, BlazeError.BlazeError, StoreServices | QuotaServices> =
  Blaze.layerOn(Platform.platform)

/**
 * A bot that is set up from the environment.
 *
 * **Details**
 *
 * `BLAZE_KEYSTORE` is the path of the keystore file, or its JSON. `BLAZE_URL` and `BLAZE_API_URL`, when set, are the addresses of
 * another server than Mixin's; several stand with commas between them, and the next is used when one cannot be reached. The proxy that
 * `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name is used for both, unless the program sets `WebSocketDialer.ProxyAgent`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Blaze.Services | MixinApi.MixinApi, BlazeError.BlazeError> = layer(
  Signer.layerConfig
).pipe(Layer.provide(Platform.layerEnvironment))

/**
 * A bot that is set up from the environment as `layerConfig` is, and forgets nothing that it has handled or put aside: a file has it.
 *
 * **Details**
 *
 * The file is SQLite's, made where there is none. What becomes of a message is on the disk before the next one of its conversation begins;
 * after a crash only what was being handled is handled again. Several bots may share a file, and one process has it at a time: see
 * `SqlStore.layer`, which does the same on PostgreSQL.
 *
 * **Example** (A bot that survives)
 *
 * ```ts
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import { Effect } from "effect"
 * import { Bot } from "effect-blaze"
 * import { NodeBlaze } from "effect-blaze/node"
 *
 * const main = Bot.run((delivery) => delivery.reply("welcome")).pipe(
 *   Effect.provide(NodeBlaze.layerDurable({ filename: "bot.sqlite" }))
 * )
 * export const run = () => NodeRuntime.runMain(main)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDurable = (
  options: NodeSqlite.Options
): Layer.Layer<Blaze.Services | MixinApi.MixinApi | SqlClient.SqlClient, BlazeError.BlazeError> =>
  layer(Signer.layerConfig, { store: SqlStore.layer }).pipe(
    Layer.provideMerge(layerFile(options)),
    Layer.provide(Platform.layerEnvironment)
  )

const layerFile = (options: NodeSqlite.Options) =>
  NodeSqlite.layer(options).pipe(Layer.catch((error) => Layer.effectContext(Effect.fail(SqlStore.cannotOpen(error)))))

/**
 * A bot that only sends, over REST: it opens no connection, and takes no message from the bot that listens. For jobs, scripts and
 * announcements. What is `durable` needs a store: `{ store: SqlStore.layer }`, on a file of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSender = <StoreServices = never>(
  signer: Blaze.SignerLayer,
  ports: Pick<Blaze.Ports<StoreServices, never>, "store"> = {}
): Layer.Layer<Blaze.SenderServices | MixinApi.MixinApi, BlazeError.BlazeError, StoreServices> =>
  Layer.fresh(
    Blaze.layerSender(ports).pipe(Layer.provideMerge(MixinApi.layer), Layer.provide([signer, Platform.layerHttp]))
  ).pipe(Layer.provide(Platform.layerTools))

/**
 * A bot that only sends, set up from the environment as `layerConfig` is.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSenderConfig: Layer.Layer<Blaze.SenderServices | MixinApi.MixinApi, BlazeError.BlazeError> =
  layerSender(Signer.layerConfig).pipe(Layer.provide(Platform.layerEnvironment))

/**
 * The raw wire and the REST API, set up from the environment as `layerConfig` is.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSocketConfig: Layer.Layer<BlazeSocket.BlazeSocket | MixinApi.MixinApi, BlazeError.BlazeError> =
  Layer.merge(BlazeSocket.layer, MixinApi.layer).pipe(
    Layer.provide([Signer.layerConfig, Platform.layerHttp]),
    Layer.provide(layerPlatform),
    Layer.provide(Platform.layerEnvironment)
  )
