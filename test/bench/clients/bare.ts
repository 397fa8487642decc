// The limit: a loop on a bare socket, with nothing but what the protocol asks for. No check of what comes in, no order, no memory
// of what was handled, no reconnect, no bound, no timeout.
import { createHash, createPrivateKey, randomUUID, sign } from "node:crypto"
import * as Http from "node:http"
import * as Zlib from "node:zlib"
import { gunzipSync, gzipSync } from "fflate"
import { WebSocket } from "ws"
import { type Job, serve } from "../job.ts"

const batchSize = 100

const makeToken = (keystore: Job["keystore"]) => {
  const seed = Buffer.from(keystore.session_private_key, "hex")
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed])
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })
  const header = Buffer.from('{"alg":"EdDSA","typ":"JWT"}').toString("base64url")
  return (method: string, uri: string, body: string, jti: string) => {
    const iat = Math.floor(Date.now() / 1000)
    const sig = createHash("sha256")
      .update(method + uri + body)
      .digest("hex")
    const claims = { uid: keystore.app_id, sid: keystore.session_id, iat, exp: iat + 3600, jti, sig, scp: "FULL" }
    const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`
    return `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`
  }
}

serve(async (job) => {
  const token = makeToken(job.keystore)
  const portable = job.client === "bare-fflate"
  // What two options of zlib give to who knows them: a chunk of the right size, and small frames stored as ours are.
  const tuned = job.client === "bare-tuned"
  const gzip = portable
    ? (text: string) => gzipSync(Buffer.from(text), { level: 1 })
    : (text: string) => Zlib.gzipSync(text, { level: tuned && text.length < 1024 ? 0 : 1 })
  const gunzip = portable
    ? (data: Buffer) => Buffer.from(gunzipSync(data)).toString()
    : tuned
      ? (data: Buffer) =>
          Zlib.gunzipSync(data, { chunkSize: Math.max(64, data.readUInt32LE(data.length - 4) + 1) }).toString()
      : (data: Buffer) => Zlib.gunzipSync(data).toString()
  const agent = new Http.Agent({ keepAlive: true })

  const connect = () => {
    const ws = new WebSocket(job.url, "Mixin-Blaze-1", {
      headers: { authorization: `Bearer ${token("GET", "/", "", randomUUID())}` },
      perMessageDeflate: false
    })
    const waiting = new Map<string, () => void>()
    const request = (action: string, params?: unknown) => {
      const id = randomUUID()
      ws.send(gzip(JSON.stringify({ id, action, params })))
      return id
    }

    let batch: Array<{ message_id: string; status: string }> = []
    let timer: NodeJS.Timeout | undefined
    const flush = () => {
      clearTimeout(timer)
      timer = undefined
      const messages = batch
      batch = []
      if (job.acks === "socket") return void request("ACKNOWLEDGE_MESSAGE_RECEIPTS", { messages })
      const body = JSON.stringify(messages)
      const id = randomUUID()
      Http.request(`${job.apiUrl}/acknowledgements`, {
        method: "POST",
        agent,
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
    const acknowledge = (message_id: string) => {
      batch.push({ message_id, status: "READ" })
      if (batch.length >= batchSize) flush()
      else timer ??= setTimeout(flush, 1000)
    }

    const create = (conversation_id: string, data_base64: string) =>
      request("CREATE_MESSAGE", { conversation_id, message_id: randomUUID(), category: "PLAIN_TEXT", data_base64 })

    ws.on("message", (data: Buffer) => {
      const { action, data: view, id } = JSON.parse(gunzip(data))
      const answered = waiting.get(id)
      if (answered !== undefined) {
        waiting.delete(id)
        return answered()
      }
      if (action !== "CREATE_MESSAGE" || view === undefined || view.user_id === job.keystore.app_id) return
      if (job.work === "echo")
        waiting.set(create(view.conversation_id, view.data_base64), () => acknowledge(view.message_id))
      else acknowledge(view.message_id)
    })

    return new Promise<void>((resolve) => {
      ws.on("open", () => {
        waiting.set(request("LIST_PENDING_MESSAGES"), () => {
          if (job.work === "idle") {
            setInterval(() => ws.ping(), 10_000)
            return resolve()
          }
          if (job.work !== "send") return
          let started = 0
          let answered = 0
          const next = () => {
            if (started === job.count) return
            const content = Buffer.from(`message number ${started++} of a good many that are sent one after the other`)
            const id = create("8d7f6e5c-1a2b-4c3d-9e8f-000000000000", content.toString("base64url"))
            waiting.set(id, () => {
              if (++answered === job.count) resolve()
              next()
            })
          }
          for (let n = 0; n < job.inFlight; n++) next()
        })
      })
    })
  }
  if (job.work !== "idle") return connect
  // What only the first of many costs is not counted.
  for (let n = 0; n < 10; n++) await connect()
  return () => Promise.all(Array.from({ length: job.count }, connect)).then(() => {})
})
