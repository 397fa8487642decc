/**
 * An agent that asks the environment for each connection. Loaded only where the environment names a proxy.
 *
 * Guarantee: the host decides whether a connection goes through a proxy, and through which; connections are kept for the next request.
 *
 * @since 0.1.0
 */
import { Agent, type AgentConnectOpts } from "agent-base"
import { HttpsProxyAgent } from "https-proxy-agent"
import * as Http from "node:http"
import * as Https from "node:https"
import { getProxyForUrl } from "proxy-from-env"
import { SocksProxyAgent } from "socks-proxy-agent"

const options = { keepAlive: true }

const proxyAgent = (address: string): Http.Agent =>
  address.startsWith("socks") ? new SocksProxyAgent(address, options) : new HttpsProxyAgent(address, options)

/** @since 0.1.0 */
export class EnvironmentAgent extends Agent {
  readonly #agents = new Map<string, Http.Agent>()

  override connect(_request: Http.ClientRequest, { host, port, secureEndpoint }: AgentConnectOpts): Http.Agent {
    const scheme = secureEndpoint ? "https" : "http"
    const proxy = getProxyForUrl(`${scheme}://${host?.includes(":") ? `[${host}]` : host}:${port}`)
    const name = proxy || scheme
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const agent = proxy === "" ? new (secureEndpoint ? Https : Http).Agent(options) : proxyAgent(proxy)
    this.#agents.set(name, agent)
    return agent
  }

  override destroy(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    super.destroy()
  }
}
