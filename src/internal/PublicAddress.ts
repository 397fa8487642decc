/**
 * Addresses that the API names for files.
 *
 * Guarantee: none of them leads to this machine or into the network that it stands in, unless the API itself stands there; what a name
 * resolves to is not looked at.
 *
 * @since 0.1.0
 */
import ipaddr from "ipaddr.js"

const isPrivateName = (name: string) =>
  /(?:^|\.)(?:localhost|local|internal|lan|home\.arpa)\.?$/.test(name) || !name.includes(".")

// `URL` has written out whatever form an address had: 0x7f.1 is 127.0.0.1 here.
const isPrivate = (hostname: string): boolean => {
  const literal = hostname.replace(/^\[|\]$/g, "")
  return ipaddr.isValid(literal) ? ipaddr.process(literal).range() !== "unicast" : isPrivateName(literal)
}

/**
 * The address, where files may be taken from or put to it: encrypted and public, or on the host of the API.
 *
 * @since 0.1.0
 */
export const parse = (address: string, base: string | undefined, apiOrigins: ReadonlySet<string>): URL | undefined => {
  if (!URL.canParse(address, base)) return undefined
  const url = new URL(address, base)
  if (url.username !== "" || url.password !== "") return undefined
  if (apiOrigins.has(url.origin)) return url
  return url.protocol === "https:" && !isPrivate(url.hostname) ? url : undefined
}
