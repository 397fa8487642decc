// The official REST client, in a process of its own: what it was paid, from a time on, and the first of it by its id.
import { MixinApi, type SafeSnapshot } from "@mixin.dev/mixin-node-sdk"

/** What the client tells the test. */
export type Report =
  | { readonly _tag: "Ledger"; readonly list: ReadonlyArray<SafeSnapshot>; readonly one: SafeSnapshot }
  | { readonly _tag: "Failed"; readonly problem: string }

const { BLAZE_API_URL = "", BLAZE_KEYSTORE = "" } = process.env

const report = (value: Report) => process.send?.(value)

process.on("disconnect", () => process.exit())

const client = MixinApi({
  keystore: JSON.parse(BLAZE_KEYSTORE),
  // No proxy of the environment: what is meant for loopback stays there.
  requestConfig: { baseURL: BLAZE_API_URL, proxy: false, retry: 1 }
})

try {
  const [, , asset = "", offset = ""] = process.argv
  const list = await client.safe.fetchSafeSnapshots({ asset, offset, limit: 10 })
  const one = await client.safe.fetchSafeSnapshot(list.at(0)?.snapshot_id ?? "none")
  report({ _tag: "Ledger", list, one })
} catch (error) {
  report({ _tag: "Failed", problem: String(error) })
}
