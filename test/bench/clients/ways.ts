// What the bare loop does with bytes: as people write it, with zlib's defaults; with the tricks that there are, which are zlib's own
// object and every buffer used again and the requests that acknowledge prepared; and on fflate.
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import * as Zlib from "node:zlib"
import { gunzipSync, gzipSync } from "fflate"
import type { Job } from "../job.ts"
import { makeToken } from "./token.ts"

export interface Ways {
  /** A frame's JSON. */
  readonly unpack: (frame: Buffer) => string
  /** A frame, good until the next one. */
  readonly pack: (text: string) => Buffer
  /** The text of a message. */
  readonly decode: (base64: string) => string
  readonly encode: (text: string) => string
  /** The JSON of the request that acknowledges over the socket. */
  readonly receipts: (id: string, messages: ReadonlyArray<string>) => string
  /** Acknowledges over REST. */
  readonly post: (messages: ReadonlyArray<string>) => void
}

const received = (messages: ReadonlyArray<string>) =>
  messages.map((message_id) => ({ message_id, status: "READ" as const }))

const plainWays = (job: Job): Ways => {
  const token = makeToken(job.keystore)
  const agent = new Http.Agent({ keepAlive: true })
  return {
    unpack: (frame) => Zlib.gunzipSync(frame).toString(),
    pack: (text) => Zlib.gzipSync(text),
    decode: (base64) => Buffer.from(base64, "base64").toString(),
    encode: (text) => Buffer.from(text).toString("base64url"),
    receipts: (id, messages) =>
      JSON.stringify({ id, action: "ACKNOWLEDGE_MESSAGE_RECEIPTS", params: { messages: received(messages) } }),
    post: (messages) => {
      const body = JSON.stringify(received(messages))
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
  }
}

const fflateWays = (job: Job): Ways => ({
  ...plainWays(job),
  unpack: (frame) => Buffer.from(gunzipSync(frame)).toString(),
  pack: (text) => Buffer.from(gzipSync(Buffer.from(text), { level: 1 }))
})

/** No frame of the benchmark is larger. Pages that nobody writes to take no memory. */
const scratchSize = 1024 * 1024

interface Handle {
  readonly reset: () => void
  readonly writeSync: (
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number
  ) => void
}

/** zlib's own object below a stream, for one whole input after the other: the length of what it wrote to `output`. */
const reuse = (stream: Zlib.Gzip | Zlib.Gunzip, output: Buffer) => {
  const { _handle: handle, _writeState: state } = stream as unknown as {
    readonly _handle: Handle
    readonly _writeState: Uint32Array
  }
  // It checks nothing: what is damaged is no JSON.
  Object.assign(handle, { onerror: () => {} })
  return (input: Buffer, length: number) => {
    handle.reset()
    handle.writeSync(Zlib.constants.Z_FINISH, input, 0, length, output, 0, output.length)
    return output.length - state[0]!
  }
}

const limitWays = (job: Job): Ways => {
  const token = makeToken(job.keystore)
  const input = Buffer.allocUnsafeSlow(scratchSize)
  const output = Buffer.allocUnsafeSlow(scratchSize)
  const inflate = reuse(Zlib.createGunzip(), output)
  const store = reuse(Zlib.createGzip({ level: 0, windowBits: 9, memLevel: 1 }), output)
  const deflate = reuse(Zlib.createGzip({ level: 1, windowBits: 12, memLevel: 5 }), output)

  const headers = { authorization: "", "content-type": "application/json", "content-length": 0, "x-request-id": "" }
  const { hostname: host, port } = new URL(job.apiUrl)
  const agent = new Http.Agent({ keepAlive: true })
  const prepared = { host, port, path: "/acknowledgements", method: "POST", agent, headers }
  const list = (messages: ReadonlyArray<string>) =>
    `[{"message_id":"${messages.join('","status":"READ"},{"message_id":"')}","status":"READ"}]`
  return {
    unpack: (frame) => output.toString("utf8", 0, inflate(frame, frame.length)),
    // ws copies what it masks, so that the same bytes can be written again at once.
    pack: (text) => {
      const length = input.write(text)
      return output.subarray(0, (length < 1024 ? store : deflate)(input, length))
    },
    decode: (base64) => input.toString("utf8", 0, input.write(base64, "base64")),
    encode: (text) => input.toString("base64url", 0, input.write(text)),
    receipts: (id, messages) =>
      `{"id":"${id}","action":"ACKNOWLEDGE_MESSAGE_RECEIPTS","params":{"messages":${list(messages)}}}`,
    post: (messages) => {
      const body = list(messages)
      const id = randomUUID()
      headers.authorization = `Bearer ${token("POST", "/acknowledgements", body, id)}`
      headers["content-length"] = body.length
      headers["x-request-id"] = id
      Http.request(prepared)
        .on("response", (response) => response.resume())
        .end(body, "latin1")
    }
  }
}

const kinds: Readonly<Record<string, (job: Job) => Ways>> = {
  bare: plainWays,
  limit: limitWays,
  "bare-fflate": fflateWays
}

export const makeWays = (job: Job): Ways => kinds[job.client]!(job)
