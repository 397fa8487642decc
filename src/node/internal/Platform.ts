/**
 * What bots need of Node, and what its environment says to them.
 *
 * Guarantee: a bot is the same, alone and in a cluster.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Agent as HttpsAgent } from "node:https"
import type * as BlazeError from "../../BlazeError.ts"
import * as Settings from "../../Settings.ts"
import * as BufferBase64 from "../BufferBase64.ts"
import * as SynchronousCryptography from "../SynchronousCryptography.ts"
import * as WebSocketDialer from "../WebSocketDialer.ts"
import * as ZlibGzip from "../ZlibGzip.ts"
import * as EnvironmentProxy from "./EnvironmentProxy.ts"

/**
 * @category layers
 * @since 0.1.0
 */
export const layerTools = Layer.mergeAll(
  BufferBase64.layer,
  ZlibGzip.layer,
  NodeFileSystem.layer,
  SynchronousCryptography.layer
)

// One agent serves both schemes: the packages that make proxy agents do.
/**
 * @category layers
 * @since 0.1.0
 */
export const layerHttp = Layer.unwrap(
  Effect.map(WebSocketDialer.ProxyAgent, (agent) =>
    agent === undefined
      ? NodeHttpClient.layerNodeHttpOptions({ keepAlive: true })
      : NodeHttpClient.layerNodeHttpNoAgent.pipe(
          Layer.provide(Layer.succeed(NodeHttpClient.HttpAgent, { http: agent, https: agent as HttpsAgent }))
        )
  )
)

/**
 * Node, for `Blaze.layerOn` and its like.
 *
 * @category layers
 * @since 0.1.0
 */
export const platform = { network: Layer.merge(layerHttp, WebSocketDialer.layer), tools: layerTools }

/**
 * What the environment says: the settings, and the proxy to go through.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnvironment: Layer.Layer<never, BlazeError.BlazeError> = EnvironmentProxy.layer.pipe(
  Layer.provideMerge(Settings.layerConfig)
)
