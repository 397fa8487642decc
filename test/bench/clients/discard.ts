// What the server can do at most: a client that reads and discards, and sends what was compressed beforehand.
import { randomBytes, randomUUID } from "node:crypto"
import { connect } from "node:net"
import { gzipSync } from "node:zlib"
import { serve } from "../job.ts"

const masked = (body: Buffer) =>
  Buffer.concat([Buffer.of(0x82, 0x80 | 126, body.length >> 8, body.length & 255, 0, 0, 0, 0), body])

const frame = (action: string, params?: unknown) =>
  masked(gzipSync(JSON.stringify({ id: randomUUID(), action, params }).padEnd(256), { level: 1 }))

const together = 400

serve(async (job) => {
  const create = Buffer.concat(
    Array.from({ length: together }, (_, index) =>
      frame("CREATE_MESSAGE", {
        conversation_id: "8d7f6e5c-1a2b-4c3d-9e8f-000000000000",
        message_id: randomUUID(),
        category: "PLAIN_TEXT",
        data_base64: Buffer.from(`message number ${index} of a good many that are sent one after the other`).toString(
          "base64url"
        )
      })
    )
  )
  return () => {
    const { hostname, port } = new URL(job.url)
    const socket = connect(Number(port), hostname)
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${hostname}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Protocol: Mixin-Blaze-1\r\n\r\n`
    )
    socket.once("data", () => {
      socket.on("data", () => {})
      if (job.work === "discard") return socket.write(frame("LIST_PENDING_MESSAGES"))
      let sent = 0
      const next = () => {
        while (sent < job.count) {
          sent += together
          if (!socket.write(create)) return socket.once("drain", next)
        }
        return undefined
      }
      return next()
    })
  }
})
