// A Blaze server that does as little as it can: frames are compressed before the clock runs and written many at a time, and what
// comes in is looked at just closely enough to answer it. It verifies no token and keeps no state but what ends a run.
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as Zlib from "node:zlib"
import { WebSocketServer } from "ws"
import type { FromServer, Load, ToServer } from "./job.ts"

const tell = (message: FromServer) => process.send?.(message)
process.on("disconnect", () => process.exit())

const chunkSize = 64 * 1024
const words = "the quick brown fox jumps over a lazy dog while seven wizards quietly box their vexing jugs again".split(
  " "
)

// The same text for the same number: every run is served the same.
const text = (index: number, length: number) => {
  let state = index + 1
  let result = `${index}`
  while (result.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    result += ` ${words[state % words.length]}${state % 97}`
  }
  return result
}

const hex = (value: number, length: number) => value.toString(16).padStart(length, "0")
const messageId = (index: number) => `3f2b1c4d-9a8e-4c6b-8d7f-${hex(index, 12)}`
const indexOf = (id: string) => Number.parseInt(id.slice(24), 16)
const userId = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const time = "2026-01-01T00:00:00.000000Z"

// What a push holds besides its text, twice in base64.
const bare = 730
const payload = (load: Load, index: number) => Buffer.from(text(index, Math.max(16, ((load.size - bare) / 2) * 0.75)))

const view = (load: Load, index: number, data: Buffer) => ({
  type: "message",
  representative_id: "",
  quote_message_id: "",
  conversation_id: `8d7f6e5c-1a2b-4c3d-9e8f-${hex(index % load.conversations, 12)}`,
  user_id: userId,
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  message_id: messageId(index),
  category: "PLAIN_TEXT",
  data: data.toString("base64"),
  data_base64: data.toString("base64url"),
  status: "SENT",
  source: "CREATE_MESSAGE",
  silent: false,
  expire_in: 0,
  created_at: time,
  updated_at: time
})

const webSocketFrame = (body: Buffer) => {
  const { length } = body
  const header =
    length < 126
      ? Buffer.of(0x82, length)
      : length < 65536
        ? Buffer.of(0x82, 126, length >> 8, length & 255)
        : Buffer.of(0x82, 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255)
  return Buffer.concat([header, body])
}

const push = (load: Load, index: number, data: Buffer) =>
  webSocketFrame(
    Zlib.gzipSync(JSON.stringify({ id: randomUUID(), action: "CREATE_MESSAGE", data: view(load, index, data) }), {
      level: 3
    })
  )

// An answer begins with ids that are not known beforehand, in a stored block; the rest is compressed once.
const gzipHeader = Buffer.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)
const answerer = (rest: string) => {
  const plain = Buffer.from(rest)
  const compressed = Zlib.deflateRawSync(plain, { level: 3 })
  return (start: string) => {
    const length = start.length
    const frame = Buffer.allocUnsafe(gzipHeader.length + 5 + length + compressed.length + 8)
    gzipHeader.copy(frame)
    let at = gzipHeader.length
    frame[at] = 0
    frame.writeUInt16LE(length, at + 1)
    frame.writeUInt16LE(~length & 0xffff, at + 3)
    at += 5
    frame.write(start, at, "latin1")
    const crc = Zlib.crc32(plain, Zlib.crc32(frame.subarray(at, at + length)))
    at += length
    compressed.copy(frame, at)
    at += compressed.length
    frame.writeUInt32LE(crc, at)
    frame.writeUInt32LE(length + plain.length, at + 4)
    return frame
  }
}
const answerPlain = answerer("}")
const { message_id: _, ...own } = view({ size: 1000, conversations: 1 } as Load, 0, Buffer.from("an answer"))
const answerOwn = answerer(`${JSON.stringify({ ...own, category: "" }).slice(1)}}`)

let load: Load | undefined
let chunks: ReadonlyArray<Buffer> = []
// The first message of every chunk.
let firsts: ReadonlyArray<number> = []
let seen = new Uint8Array(0)
let done = 0
let began: number | undefined
let cpu = process.cpuUsage()
let finished = true
let pushed: Array<number> = []
let latencies: Array<number> = []
let echoed = 0

const begin = () => {
  if (began !== undefined) return
  began = performance.now()
  cpu = process.cpuUsage()
}

const finish = () => {
  if (finished || began === undefined) return
  finished = true
  const wall = performance.now() - began
  const { system, user } = process.cpuUsage(cpu)
  const sorted = latencies.toSorted((a, b) => a - b)
  tell({ _tag: "Finished", wall, serverCpu: (user + system) / 1000, latencies: sorted, echoed })
}

const acknowledge = (id: string) => {
  const index = indexOf(id)
  if (seen[index] !== 0) return
  seen[index] = 1
  if (++done === load?.count && load.work !== "send") finish()
}

// Who lists again gets what is not acknowledged, in place of what was still to come.
const serving = new WeakMap<Duplex, number>()
const serve = (socket: Duplex) => {
  const turn = (serving.get(socket) ?? 0) + 1
  serving.set(socket, turn)
  const unacknowledged = seen.indexOf(0)
  let next = Math.max(
    0,
    firsts.findLastIndex((first) => first <= unacknowledged)
  )
  const flood = () => {
    while (next < chunks.length && serving.get(socket) === turn) {
      if (!socket.write(chunks[next++]!)) return socket.once("drain", flood)
    }
    // Nobody acknowledges what is discarded: the work is done when the last byte has left.
    return load?.work === "discard" ? socket.write("", finish) : undefined
  }
  const trickle = () => {
    if (socket.destroyed || load === undefined || began === undefined) return
    const due = Math.min(load.count, ((performance.now() - began) * load.rate) / 1000)
    for (; next < due; next++) {
      pushed[next] = performance.now()
      socket.write(chunks[next]!)
    }
    if (next < load.count) setTimeout(trickle, 1)
  }
  return load !== undefined && load.rate > 0 ? trickle() : flood()
}

const gunzip = (data: Buffer) =>
  Zlib.gunzipSync(data, { chunkSize: Math.max(64, data.readUInt32LE(data.length - 4) + 1) })

const receive = (socket: Duplex, data: Buffer, send: (frame: Buffer) => void) => {
  const { action, id, params } = JSON.parse(gunzip(data).toString("latin1"))
  switch (action) {
    case "LIST_PENDING_MESSAGES": {
      if (load?.work !== "send") begin()
      send(answerPlain(`{"id":"${id}","action":"${action}"`))
      if (load?.work !== "send") serve(socket)
      return
    }
    case "CREATE_MESSAGE": {
      begin()
      if (load?.work === "echo") {
        const text = Buffer.from(params.data_base64 ?? params.data, "base64").toString("latin1")
        echoed += text.length
        const index = Number.parseInt(text)
        if (index >= load.warmUp) latencies.push(performance.now() - pushed[index]!)
      }
      send(answerOwn(`{"id":"${id}","action":"${action}","data":{"message_id":"${params.message_id}",`))
      if (load?.work === "send" && ++done === load.count) finish()
      return
    }
    case "ACKNOWLEDGE_MESSAGE_RECEIPTS": {
      send(answerPlain(`{"id":"${id}","action":"${action}"`))
      for (const { message_id } of params.messages) acknowledge(message_id)
      return
    }
    case "ACKNOWLEDGE_MESSAGE_RECEIPT": {
      send(answerPlain(`{"id":"${id}","action":"${action}"`))
      // The official client acknowledges the answers to its own requests, too.
      if (params.message_id?.startsWith("3f2b1c4d")) acknowledge(params.message_id)
      return
    }
  }
}

const http = Http.createServer((request, response) => {
  const parts: Array<Buffer> = []
  request.on("data", (part: Buffer) => parts.push(part))
  request.on("end", () => {
    response.setHeader("content-type", "application/json")
    response.setHeader("x-request-id", request.headers["x-request-id"] ?? "")
    response.end('{"data":null}')
    if (request.url === "/acknowledgements") {
      for (const { message_id } of JSON.parse(Buffer.concat(parts).toString())) acknowledge(message_id)
    }
  })
})
const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  handleProtocols: () => "Mixin-Blaze-1"
})
http.on("upgrade", (request, socket, head) => {
  socket.on("error", () => {})
  sockets.handleUpgrade(request, socket, head, (ws) => {
    let corked = false
    const send = (frame: Buffer) => {
      if (!corked) {
        corked = true
        socket.cork()
        process.nextTick(() => {
          corked = false
          socket.uncork()
        })
      }
      ws.send(frame)
    }
    ws.on("message", (data: Buffer) => receive(socket, data, send))
    ws.on("error", () => {})
  })
})
// The official client leaves a server that does not ping.
setInterval(() => sockets.clients.forEach((ws) => ws.ping()), 10_000)

const prepare = (next: Load) => {
  load = next
  const frames: Array<Buffer> = []
  const joined: Array<Buffer> = []
  const starts: Array<number> = []
  let size = 0
  // Every text is ASCII, so that its bytes are its characters.
  let characters = 0
  if (next.work !== "send" && next.work !== "idle") {
    for (let index = 0; index < next.count; index++) {
      if (size === 0) starts.push(index)
      const data = payload(next, index)
      characters += data.length
      const frame = push(next, index, data)
      frames.push(frame)
      size += frame.length
      if (next.rate > 0 || size >= chunkSize || index === next.count - 1) {
        joined.push(Buffer.concat(frames.splice(0)))
        size = 0
      }
    }
  }
  chunks = joined
  firsts = starts
  tell({ _tag: "Loaded", characters })
}

process.on("message", (message: ToServer) => {
  if (message._tag === "Load") return prepare(message.load)
  seen = new Uint8Array(load?.count ?? 0)
  done = 0
  began = undefined
  finished = false
  pushed = []
  latencies = []
  echoed = 0
})

http.listen(0, "127.0.0.1", () => {
  const { port } = http.address() as AddressInfo
  tell({ _tag: "Listening", url: `ws://127.0.0.1:${port}/`, apiUrl: `http://127.0.0.1:${port}` })
})
