// A bare script that echoes, and says when it has the first message: what `docs/examples/echo.ts` is compared with.
import { randomUUID } from "node:crypto"
import { writeSync } from "node:fs"
import * as Http from "node:http"
import * as Zlib from "node:zlib"
import { WebSocket } from "ws"
import { makeToken } from "./token.ts"

const keystore = JSON.parse(process.env["BLAZE_KEYSTORE"] ?? "")
const token = makeToken(keystore)
const ws = new WebSocket(process.env["BLAZE_URL"] ?? "", "Mixin-Blaze-1", {
  headers: { authorization: `Bearer ${token("GET", "/", "", randomUUID())}` },
  perMessageDeflate: false
})

const request = (action: string, params?: unknown) => {
  ws.send(Zlib.gzipSync(JSON.stringify({ id: randomUUID(), action, params })))
}

const acknowledge = (message_id: string) => {
  const body = JSON.stringify([{ message_id, status: "READ" }])
  const id = randomUUID()
  Http.request(`${process.env["BLAZE_API_URL"]}/acknowledgements`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token("POST", "/acknowledgements", body, id)}`,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-request-id": id
    }
  })
    .on("response", (response) => response.resume())
    .end(body)
}

ws.on("open", () => request("LIST_PENDING_MESSAGES"))
ws.on("message", (data: Buffer) => {
  const { action, data: view } = JSON.parse(Zlib.gunzipSync(data).toString())
  if (action !== "CREATE_MESSAGE" || view.user_id === keystore.app_id) return
  const text = Buffer.from(view.data_base64, "base64").toString()
  writeSync(1, JSON.stringify({ wall: performance.now(), cpu: process.cpuUsage(), characters: text.length }))
  request("CREATE_MESSAGE", {
    conversation_id: view.conversation_id,
    message_id: randomUUID(),
    category: "PLAIN_TEXT",
    data_base64: Buffer.from(text).toString("base64url")
  })
  acknowledge(view.message_id)
})
