// A loop on a bare socket, with nothing but what the protocol asks for. No check of what comes in, no order, no memory of what was
// handled, no reconnect, no bound, no timeout.
import { randomUUID } from "node:crypto"
import { WebSocket } from "ws"
import { type Job, read, serve } from "../job.ts"
import { makeToken } from "./token.ts"
import { makeWays, type Ways } from "./ways.ts"

const batchSize = 100

/** Acknowledges 100 at a time, or what a second brings. */
const acknowledging = (flush: (messages: ReadonlyArray<string>) => void) => {
  let batch: Array<string> = []
  let timer: NodeJS.Timeout | undefined
  const end = () => {
    clearTimeout(timer)
    timer = undefined
    const messages = batch
    batch = []
    flush(messages)
  }
  return (message: string) => {
    batch.push(message)
    if (batch.length >= batchSize) end()
    else timer ??= setTimeout(end, 1000)
  }
}

/** Sends what the job asks for, so many at once. */
const sendAll = (job: Job, create: (text: string, answered: () => void) => void) =>
  new Promise<void>((resolve) => {
    let started = 0
    let answers = 0
    const next = () => {
      if (started === job.count) return
      create(`message number ${started++} of a good many that are sent one after the other`, () => {
        if (++answers === job.count) resolve()
        next()
      })
    }
    for (let n = 0; n < job.inFlight; n++) next()
  })

const loop = (job: Job, ways: Ways, token: ReturnType<typeof makeToken>) => {
  const ws = new WebSocket(job.url, "Mixin-Blaze-1", {
    headers: { authorization: `Bearer ${token("GET", "/", "", randomUUID())}` },
    perMessageDeflate: false
  })
  const waiting = new Map<string, () => void>()
  const request = (action: string, params: unknown, answered: () => void) => {
    const id = randomUUID()
    waiting.set(id, answered)
    ws.send(ways.pack(JSON.stringify({ id, action, params })))
  }
  const create = (conversation_id: string, text: string, answered: () => void) =>
    request(
      "CREATE_MESSAGE",
      { conversation_id, message_id: randomUUID(), category: "PLAIN_TEXT", data_base64: ways.encode(text) },
      answered
    )
  const acknowledge = acknowledging(
    job.acks === "socket" ? (messages) => ws.send(ways.pack(ways.receipts(randomUUID(), messages))) : ways.post
  )

  ws.on("message", (data: Buffer) => {
    const { action, data: view, id } = JSON.parse(ways.unpack(data))
    const answered = waiting.get(id)
    if (answered !== undefined) {
      waiting.delete(id)
      return answered()
    }
    if (action !== "CREATE_MESSAGE" || view === undefined || view.user_id === job.keystore.app_id) return
    const text = ways.decode(view.data_base64)
    read(text)
    if (job.work === "echo") create(view.conversation_id, text, () => acknowledge(view.message_id))
    else acknowledge(view.message_id)
  })

  return new Promise<void>((resolve) => {
    const listed = () => {
      if (job.work === "idle") {
        setInterval(() => ws.ping(), 10_000)
        resolve()
      } else if (job.work === "send") {
        const conversation = "8d7f6e5c-1a2b-4c3d-9e8f-000000000000"
        void sendAll(job, (text, answered) => create(conversation, text, answered)).then(resolve)
      }
    }
    ws.on("open", () => request("LIST_PENDING_MESSAGES", undefined, listed))
  })
}

serve(async (job) => {
  const ways = makeWays(job)
  const token = makeToken(job.keystore)
  const connect = () => loop(job, ways, token)
  if (job.work !== "idle") return connect
  // What only the first of many costs is not counted.
  for (let n = 0; n < 10; n++) await connect()
  return () => Promise.all(Array.from({ length: job.count }, connect)).then(() => {})
})
