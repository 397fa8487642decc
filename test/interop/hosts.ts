// Has `mixin-node-sdk`, whose hosts are constants, talk to another server: they are replaced while it is loaded.
import { registerHooks } from "node:module"

/** To be called before the client is imported. */
export const replaceHosts = (apiUrl: string, url: string): void => {
  registerHooks({
    load: (address, context, next) => {
      const loaded = next(address, context)
      const { source } = loaded
      if (!address.includes("/node_modules/mixin-node-sdk/") || source === undefined || source === null) return loaded
      const text = typeof source === "string" ? source : Buffer.from(source as Uint8Array).toString()
      return {
        ...loaded,
        source: text
          .replaceAll(/https:\/\/(mixin-api\.zeromesh\.net|api\.mixin\.one)/g, apiUrl)
          .replaceAll(/wss:\/\/(mixin-blaze\.zeromesh\.net|blaze\.mixin\.one)\/?/g, url)
      }
    }
  })
}
