// The wallet that docs/examples/payout.ts pays through: a ledger over HTTP, in this process, which goes on when the bot's is killed.
import { Effect } from "effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** Pays each trace once. It can be held before it pays, and before it says that it has. */
export const make = Effect.gen(function* () {
  const asked: Array<string> = []
  const paid = new Map<string, string>()
  let held: "before" | "after" | undefined
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    let body = ""
    for await (const part of request) body += part
    const trace = request.url!.split("/").at(-1)!
    asked.push(trace)
    if (held === "before") return
    if (!paid.has(trace)) paid.set(trace, body)
    if (held === undefined) response.end()
  }
  const server = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  return {
    /** The traces of all requests, in order. */
    asked,
    /** What was paid, by its trace. */
    paid,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: (when: typeof held) => Effect.sync(() => void (held = when))
  }
})
