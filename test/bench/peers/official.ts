// The official Node client.
//
// `BlazeKeystoreClient` has the address of Mixin built in, so this is the function below it, which takes one, with what the loop
// adds: LIST_PENDING_MESSAGES once the connection is open.
import { sendRaw, websocket } from "@mixin.dev/mixin-node-sdk/blaze"
import { randomUUID } from "node:crypto"
import { read, serve } from "../job.ts"

serve(async (job) => () => {
  const create = (conversation_id: string, text: string) =>
    sendRaw(ws, {
      id: randomUUID(),
      action: "CREATE_MESSAGE",
      params: {
        conversation_id,
        message_id: randomUUID(),
        category: "PLAIN_TEXT",
        data_base64: Buffer.from(text).toString("base64url")
      }
    })
  const ws = websocket(
    job.keystore as never,
    job.url,
    {
      onMessage: async (message) => {
        // The answers to its own requests come here, too.
        if (message.category !== "PLAIN_TEXT") return
        const text = String(message.data)
        read(text)
        if (job.work === "echo") await create(message.conversation_id, text)
      }
    },
    { parse: true, syncAck: job.work !== "send" }
  )
  return new Promise<void>((resolve) => {
    ws.on("open", async () => {
      await sendRaw(ws, { id: randomUUID(), action: "LIST_PENDING_MESSAGES" })
      if (job.work !== "send") return
      let next = 0
      const send = async () => {
        while (next < job.count) {
          await create(
            "8d7f6e5c-1a2b-4c3d-9e8f-000000000000",
            `message number ${next++} of a good many that are sent one after the other`
          )
        }
      }
      await Promise.all(Array.from({ length: job.inFlight }, send))
      resolve()
    })
  })
})
