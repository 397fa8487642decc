// An echo bot on `mixin-node-sdk`, in a process of its own. The client's hosts are constants, which are replaced while it is loaded.
import { randomUUID } from "node:crypto"
import type { Report } from "./bot.ts"
import { replaceHosts } from "./hosts.ts"

const { BLAZE_API_URL = "", BLAZE_KEYSTORE = "", BLAZE_URL = "" } = process.env

const report = (value: Report) => process.send?.(value)

// A test that dies takes the bot with it.
process.on("disconnect", () => process.exit())

replaceHosts(BLAZE_API_URL, BLAZE_URL)

interface View {
  readonly category?: string
  readonly conversation_id: string
  readonly data: unknown
  readonly message_id: string
  readonly source: string
  readonly status: string
  readonly user_id: string
}
interface Client {
  loopBlaze: (handler: {
    readonly onMessage: (view: View) => Promise<void>
    readonly onAckReceipt: (view: View) => void
  }) => void
  readonly ws: { readonly on: (event: "error", act: (error: Error) => void) => void }
  send_raw: (message: object) => Promise<boolean>
}
const { BlazeClient } = (await import("mixin-node-sdk" as string)) as {
  readonly BlazeClient: new (keystore: unknown, options: object) => Client
}

const client = new BlazeClient(JSON.parse(BLAZE_KEYSTORE), { parse: true, syncAck: true })
client.loopBlaze({
  onMessage: async (view) => {
    // The client hands over the answers to its own requests as well, and they have no category.
    if (view.category !== "PLAIN_TEXT" && view.category !== "ENCRYPTED_TEXT") return
    const text = String(view.data)
    report({ _tag: "Heard", messageId: view.message_id, text, source: view.source })
    const written = await client.send_raw({
      id: randomUUID(),
      action: "CREATE_MESSAGE",
      params: {
        conversation_id: view.conversation_id,
        recipient_id: view.user_id,
        message_id: randomUUID(),
        category: "PLAIN_TEXT",
        data: Buffer.from(`you said: ${text}`).toString("base64")
      }
    })
    report({ _tag: "Replied", written })
  },
  onAckReceipt: (view) => void report({ _tag: "Receipt", messageId: view.message_id, status: view.status })
})
client.ws.on("error", (error) => void report({ _tag: "Failed", problem: error.message }))
