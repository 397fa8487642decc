// A TCP proxy on loopback that does to connections what networks do.
import { Effect } from "effect"
import { createConnection, createServer, type AddressInfo, type Socket } from "node:net"

interface Pair {
  readonly client: Socket
  readonly server: Socket
  silent: boolean
}

export interface Proxy {
  readonly port: number
  /** Ends every connection at once. */
  readonly cut: () => void
  /** Holds everything back, then lets it go. */
  readonly stall: (millis: number) => void
  /** From here on nothing passes on the connections that are open, and nobody is told. */
  readonly halfOpen: () => void
  /** Delays what passes during some time. */
  readonly delay: (by: number, during: number) => void
}

export const make = (target: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly proxy: Proxy; readonly close: () => void }>((resume) => {
      const pairs = new Set<Pair>()
      let stalledUntil = 0
      let delay = 0
      let delayUntil = 0

      const forward = (pair: Pair, from: Socket, to: Socket) => {
        // One queue and one timer: chunks leave in the order in which they came, as TCP has it, whatever each has to wait.
        const queue: Array<{ readonly at: number; readonly chunk: Buffer }> = []
        let waiting = false
        const flush = () => {
          waiting = false
          while (queue.length > 0 && queue[0]!.at <= Date.now()) {
            const { chunk } = queue.shift()!
            if (!pair.silent && to.writable) to.write(chunk)
          }
          if (queue.length === 0) return
          waiting = true
          setTimeout(flush, Math.max(1, queue[0]!.at - Date.now()))
        }
        from.on("data", (chunk: Buffer) => {
          const now = Date.now()
          const at = Math.max(stalledUntil, now < delayUntil ? now + delay : now, queue.at(-1)?.at ?? 0)
          queue.push({ at, chunk })
          if (!waiting) flush()
        })
        from.on("error", () => {})
        from.on("close", () => {
          pairs.delete(pair)
          // That it was closed is held back too.
          const end = () => {
            if (!pair.silent) to.destroy()
          }
          if (stalledUntil > Date.now()) setTimeout(end, stalledUntil - Date.now())
          else end()
        })
      }

      const server = createServer((client) => {
        const pair: Pair = { client, server: createConnection(target, "127.0.0.1"), silent: false }
        pairs.add(pair)
        forward(pair, client, pair.server)
        forward(pair, pair.server, client)
      })
      server.listen(0, "127.0.0.1", () => {
        const proxy: Proxy = {
          port: (server.address() as AddressInfo).port,
          cut: () => {
            for (const pair of pairs) {
              pair.client.destroy()
              pair.server.destroy()
            }
          },
          stall: (millis) => {
            stalledUntil = Date.now() + millis
          },
          halfOpen: () => {
            for (const pair of pairs) pair.silent = true
          },
          delay: (by, during) => {
            delay = by
            delayUntil = Date.now() + during
          }
        }
        resume(
          Effect.succeed({
            proxy,
            close: () => {
              proxy.cut()
              server.close()
            }
          })
        )
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ proxy }) => proxy))
