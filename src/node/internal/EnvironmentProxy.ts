/**
 * The proxy that the environment names, for the WebSocket and REST.
 *
 * Guarantee: every connection goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower case too,
 * say for its host, or directly where they name none; a program's own `ProxyAgent` wins; a proxy sees no token of an encrypted
 * connection.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { getProxyForUrl } from "proxy-from-env"
import * as BlazeError from "../../BlazeError.ts"
import * as Settings from "../../Settings.ts"
import * as WebSocketDialer from "../WebSocketDialer.ts"

const isProxy = (address: string) =>
  URL.canParse(address) && /^(https?|socks[45]?[ah]?):$/.test(new URL(address).protocol)

const unusable = BlazeError.make(
  new BlazeError.InvalidSetting({
    setting: "address",
    field: "HTTPS_PROXY or ALL_PROXY",
    expected: "the address of a proxy that begins with http://, https:// or socks5://"
  })
)

/**
 * Sets `WebSocketDialer.ProxyAgent`, where the environment names a proxy for one of the addresses in use.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, BlazeError.BlazeError> = Layer.effect(
  WebSocketDialer.ProxyAgent,
  Effect.gen(function* () {
    const given = yield* WebSocketDialer.ProxyAgent
    if (given !== undefined) return given
    // A WebSocket is asked for over HTTP, and goes where that goes.
    const { apiUrl, url } = yield* Settings.current
    const proxies = [url, apiUrl]
      .flat()
      .map((address) => getProxyForUrl(address.replace(/^ws/, "http")))
      .filter((proxy) => proxy !== "")
    if (proxies.length === 0) return undefined
    if (!proxies.every(isProxy)) return yield* unusable
    // What speaks to proxies takes a tenth of a second to load.
    const { EnvironmentAgent } = yield* Effect.promise(() => import("./EnvironmentAgent.ts"))
    return yield* Effect.acquireRelease(
      Effect.sync(() => new EnvironmentAgent()),
      (agent) => Effect.sync(() => agent.destroy())
    )
  })
)
