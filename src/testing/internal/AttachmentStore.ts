/**
 * The files of the built-in server: bytes that are put into a slot without a token, and given back.
 *
 * Guarantee: a file is there once all of its bytes are, and only in a slot that was asked for; none is held in memory, and nothing is
 * left on the disk when the server ends.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, rename, rm, stat } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import * as Face from "./Face.ts"

/** The largest file, in bytes. */
const maximumSize = 2 * 1024 ** 3

const end = (response: ServerResponse, status: number, headers: Record<string, string> = {}) =>
  response.writeHead(status, { ...headers, "content-length": "0" }).end()

const give = async (file: string, response: ServerResponse) => {
  const found = await stat(file).catch(() => undefined)
  if (found === undefined) return end(response, 404)
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": String(found.size) })
  return pipeline(createReadStream(file), response)
}

/**
 * Serves the files of a server, for as long as the scope is open; tells whether a request was for one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (isAttachment: (id: string) => boolean) {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "effect-blaze-"))),
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  )
  let uploads = 0

  const put = async (file: string, request: IncomingMessage, response: ServerResponse) => {
    const size = Number(request.headers["content-length"] ?? Number.NaN)
    if (!(size <= maximumSize)) return end(response, Number.isNaN(size) ? 411 : 413, { connection: "close" })
    const partial = `${file}.${uploads++}`
    try {
      await pipeline(request, createWriteStream(partial))
      await rename(partial, file)
    } finally {
      await rm(partial, { force: true })
    }
    return end(response, 200)
  }

  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const path = request.url?.split("?")[0] ?? ""
    if (!path.startsWith(Face.attachmentPath)) return false
    const id = path.slice(Face.attachmentPath.length)
    const serve = async () => {
      if (!isAttachment(id)) return end(response, 404, { connection: "close" })
      const file = join(directory, id)
      if (request.method === "PUT") return put(file, request, response)
      if (request.method === "GET") return give(file, response)
      return end(response, 405)
    }
    // A client that is gone in the middle leaves nothing behind, and there is nobody to tell.
    serve().catch(() => void response.destroy())
    return true
  }
})
