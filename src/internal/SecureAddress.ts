/**
 * Addresses that a token may be sent to.
 *
 * Guarantee: one that is neither encrypted nor on this machine is refused, in a sentence with the name of its setting.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as BlazeError from "../BlazeError.ts"

const isLoopback = (hostname: string) => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)

/**
 * The address, when it is one that a token may be sent to: encrypted, or on this machine.
 *
 * @since 0.1.0
 */
export const one = (address: string, scheme: "ws" | "http"): Result.Result<URL, BlazeError.BlazeError> => {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const secure = url?.protocol === `${scheme}s:`
  const local = url?.protocol === `${scheme}:` && isLoopback(url.hostname)
  return url !== undefined && (secure || local) && url.hash === ""
    ? Result.succeed(url)
    : Result.fail(
        BlazeError.make(
          new BlazeError.InvalidSetting({
            setting: "address",
            field: scheme === "ws" ? "BLAZE_URL" : "BLAZE_API_URL",
            expected: `an address that begins with ${scheme}s:// (with ${scheme}:// on this machine only)`
          })
        )
      )
}

/**
 * The addresses of a setting, one or many, when each of them is one that a token may be sent to.
 *
 * @since 0.1.0
 */
export const all = (
  addresses: string | ReadonlyArray<string>,
  scheme: "ws" | "http"
): Result.Result<ReadonlyArray<URL>, BlazeError.BlazeError> => {
  const list = typeof addresses === "string" ? [addresses] : addresses
  return Result.all((list.length === 0 ? [""] : list).map((address) => one(address, scheme)))
}
