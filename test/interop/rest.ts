// The official REST client, in a process of its own: `GET /me`, then an acknowledgement of the message ids it is given.
import { MixinApi } from "@mixin.dev/mixin-node-sdk"

/** What the client tells the test. */
export type Report =
  | { readonly _tag: "Profile"; readonly userId: string }
  | { readonly _tag: "Acknowledged" }
  | { readonly _tag: "Failed"; readonly code: number | string; readonly description: string }

const { BLAZE_API_URL = "", BLAZE_KEYSTORE = "" } = process.env

const report = (value: Report) => process.send?.(value)

process.on("disconnect", () => process.exit())

const client = MixinApi({
  keystore: JSON.parse(BLAZE_KEYSTORE),
  // No proxy of the environment: what is meant for loopback stays there.
  requestConfig: { baseURL: BLAZE_API_URL, proxy: false, retry: 1 }
})

try {
  const profile = await client.user.profile()
  report({ _tag: "Profile", userId: profile.user_id })
  await client.message.sendAcknowledges(process.argv.slice(2).map((message_id) => ({ message_id, status: "READ" })))
  report({ _tag: "Acknowledged" })
} catch (error) {
  const { code, description, message } = error as { code: number; description?: string; message: string }
  report({ _tag: "Failed", code, description: description ?? message })
}
