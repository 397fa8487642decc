/**
 * The files of the built-in server: bytes that are put into a slot without a token, and given back.
 *
 * Guarantee: a file is there once all of its bytes are, and only in a slot that was asked for; none is held in memory, and nothing is
 * left on the disk when the server ends.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as Face from "./Face.ts"

const end = (response: ServerResponse, status: number, headers: Record<string, string> = {}) =>
  response.writeHead(status, { ...headers, "content-length": "0" }).end()

/** Where a part begins that is asked for; only an open end is given. */
const beginningOf = ({ headers }: IncomingMessage, size: number): number | undefined => {
  const [, begin] = /^bytes=(\d+)-$/.exec(headers.range ?? "") ?? []
  return begin === undefined || Number(begin) >= size ? undefined : Number(begin)
}

const give = async (file: string, request: IncomingMessage, response: ServerResponse, cut: number | undefined) => {
  const found = await stat(file).catch(() => undefined)
  if (found === undefined) return end(response, 404)
  const { size } = found
  const start = beginningOf(request, size)
  response.writeHead(start === undefined ? 200 : 206, {
    "content-type": "application/octet-stream",
    "content-length": String(size - (start ?? 0)),
    ...(start === undefined ? {} : { "content-range": `bytes ${start}-${size - 1}/${size}` })
  })
  const from = start ?? 0
  if (cut === undefined) return pipeline(createReadStream(file, { start: from }), response)
  if (cut > 0) await pipeline(createReadStream(file, { start: from, end: from + cut - 1 }), response, { end: false })
  return response.destroy()
}

/** Lets so many bytes through, and fails. */
const cutAfter = (cut: number) => {
  let left = cut
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      left -= chunk.length
      done(left < 0 ? new Error("cut") : null, chunk)
    }
  })
}

/**
 * Serves the files of a server, for as long as the scope is open; tells whether a request was for one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* ({ isAttachment, setStore, takeCut }: Face.Face) {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "effect-blaze-"))),
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  )
  let uploads = 0

  const put = async (file: string, request: IncomingMessage, response: ServerResponse) => {
    const size = Number(request.headers["content-length"] ?? Number.NaN)
    if (!(size <= Face.maximumFileSize)) return end(response, Number.isNaN(size) ? 411 : 413, { connection: "close" })
    const partial = `${file}.${uploads++}`
    const cut = takeCut()
    try {
      if (cut === undefined) await pipeline(request, createWriteStream(partial))
      else await pipeline(request, cutAfter(cut), createWriteStream(partial))
      await rename(partial, file)
    } finally {
      await rm(partial, { force: true })
    }
    return end(response, 200)
  }

  setStore({
    put: (id, bytes) => Effect.promise(() => writeFile(join(directory, id), bytes)),
    get: (id) =>
      Effect.option(Effect.tryPromise(() => readFile(join(directory, id)))).pipe(
        Effect.map(Option.map((bytes) => new Uint8Array(bytes)))
      )
  })

  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const path = request.url?.split("?")[0] ?? ""
    if (!path.startsWith(Face.attachmentPath)) return false
    const id = path.slice(Face.attachmentPath.length)
    const serve = async () => {
      if (!isAttachment(id)) return end(response, 404, { connection: "close" })
      const file = join(directory, id)
      if (request.method === "PUT") return put(file, request, response)
      if (request.method === "GET") return give(file, request, response, takeCut())
      return end(response, 405)
    }
    // A client that is gone in the middle leaves nothing behind, and there is nobody to tell.
    serve().catch(() => void response.destroy())
    return true
  }
})
