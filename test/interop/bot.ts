// An echo bot on the official client, in a process of its own: it can be ended by its pid, whatever its client does.
//
// `BlazeKeystoreClient` has the address of Mixin built in, so this is the function below it, which takes one, with
// what the loop adds: LIST_PENDING_MESSAGES once the connection is open.
import { type MessageView, sendRaw, websocket } from "@mixin.dev/mixin-node-sdk/blaze"
import { randomUUID } from "node:crypto"

/** What the bot tells the test. */
export type Report =
  | { readonly _tag: "Heard"; readonly messageId: string; readonly text: string; readonly source: string }
  | { readonly _tag: "Replied"; readonly written: boolean }
  | { readonly _tag: "Receipt"; readonly messageId: string; readonly status: string }
  | { readonly _tag: "Failed"; readonly problem: string }

const { BLAZE_KEYSTORE = "", BLAZE_URL = "" } = process.env

const report = (value: Report) => process.send?.(value)

// A test that dies takes the bot with it.
process.on("disconnect", () => process.exit())

const onMessage = async (message: MessageView) => {
  // The client hands over the answers to its own requests as well, and they have no category.
  if (message.category !== "PLAIN_TEXT") return
  const text = String(message.data)
  report({ _tag: "Heard", messageId: message.message_id, text, source: message.source })
  const written = await sendRaw(ws, {
    id: randomUUID(),
    action: "CREATE_MESSAGE",
    params: {
      conversation_id: message.conversation_id,
      recipient_id: message.user_id,
      message_id: randomUUID(),
      category: "PLAIN_TEXT",
      data_base64: Buffer.from(`you said: ${text}`).toString("base64url")
    }
  })
  report({ _tag: "Replied", written })
}

const ws = websocket(
  JSON.parse(BLAZE_KEYSTORE),
  BLAZE_URL,
  {
    onMessage,
    onAckReceipt: (receipt) => {
      report({ _tag: "Receipt", messageId: receipt.message_id, status: receipt.status })
    }
  },
  { parse: true, syncAck: true }
)
ws.on("open", () => sendRaw(ws, { id: randomUUID(), action: "LIST_PENDING_MESSAGES" }))
ws.on("error", (error: Error) => report({ _tag: "Failed", problem: error.message }))
