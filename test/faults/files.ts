// npm run test:files -- --megabytes N
//
// A large file up and down over the loopback server: how much memory that takes above the start, and how long beside `fetch` with a stream,
// in turn. Each is a process of its own, and so is the server; in a small young generation, so that what is held shows, and not what the
// collector has left lying so far.
import { Effect, Option, Stream } from "effect"
import { Attachments, Endpoint, MixinApi, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { Layer } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const { values: args } = parseArgs({ options: { megabytes: { type: "string" }, rounds: { type: "string" } } })
const rounds = Number(args.rounds ?? 3)
const mebibyte = 1024 * 1024
const pieceSize = 256 * 1024
const piece = new Uint8Array(pieceSize).fill(7)

interface World {
  readonly environment: { readonly BLAZE_URL: string; readonly BLAZE_API_URL: string; readonly BLAZE_KEYSTORE: string }
}

interface Result {
  readonly upload: number
  readonly download: number
  readonly bytes: number
  /** How much resident memory there was more than at the start, at the most. */
  readonly memory: number
}

const seconds = (since: bigint) => Number(process.hrtime.bigint() - since) / 1e9

/** What a transfer takes, with the memory looked at as it goes. */
const measured = async (
  transfer: (note: () => void) => Promise<{ upload: number; download: number; bytes: number }>
) => {
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  let most = before
  let count = 0
  const result = await transfer(() => {
    if (++count % 64 === 0) most = Math.max(most, process.memoryUsage().rss)
  })
  return { ...result, memory: most - before }
}

const layerOf = ({ environment }: World) =>
  NodeBlaze.layerSender(Signer.layerString(environment.BLAZE_KEYSTORE)).pipe(
    Layer.provide(
      Settings.layer({ apiUrl: environment.BLAZE_API_URL, url: environment.BLAZE_URL, maximumDownload: Infinity })
    )
  )

const ours = (world: World, size: number) =>
  Effect.gen(function* () {
    const attachments = yield* Attachments.Attachments
    const stream = Stream.fromIterable({
      *[Symbol.iterator]() {
        for (let sent = 0; sent < size; sent += pieceSize) yield piece
      }
    })
    // What both do once at the beginning is not what a gigabyte takes.
    yield* Stream.runDrain(attachments.upload({ stream: Stream.make(piece), size: pieceSize, key: "first" }))
    return yield* Effect.promise(() =>
      measured((note) =>
        Effect.runPromise(
          Effect.gen(function* () {
            const began = process.hrtime.bigint()
            const last = yield* Stream.runLast(
              Stream.tap(attachments.upload({ stream, size, key: "it" }), () => Effect.sync(note))
            )
            const upload = seconds(began)
            const attachment = Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
            const again = process.hrtime.bigint()
            let bytes = 0
            yield* Stream.runForEach(attachments.download(attachment), (received) =>
              Effect.sync(() => {
                bytes += received.length
                note()
              })
            )
            return { upload, download: seconds(again), bytes }
          })
        )
      )
    )
  }).pipe(Effect.provide(layerOf(world)))

const fetching = (world: World, size: number) =>
  Effect.gen(function* () {
    const api = yield* MixinApi.MixinApi
    const slot = yield* api.request(Endpoint.createAttachment, {})
    const other = yield* api.request(Endpoint.createAttachment, {})
    const put = async (address: string, length: number, note: () => void) => {
      let sent = 0
      const body = new ReadableStream<Uint8Array>({
        type: "bytes" as never,
        pull: (controller) => {
          if (sent >= length) return controller.close()
          sent += pieceSize
          note()
          controller.enqueue(piece.slice())
        }
      })
      const { status } = await fetch(address, {
        method: "PUT",
        body,
        headers: { "content-length": String(length) },
        duplex: "half"
      } as RequestInit)
      if (status !== 200) throw new Error(`status ${status}`)
    }
    return yield* Effect.promise(async () => {
      await put(other.upload_url!, pieceSize, () => {})
      return measured(async (note) => {
        const began = process.hrtime.bigint()
        await put(slot.upload_url!, size, note)
        const upload = seconds(began)
        const again = process.hrtime.bigint()
        let bytes = 0
        const response = await fetch(slot.view_url!)
        for await (const received of response.body!) {
          bytes += received.length
          note()
        }
        return { upload, download: seconds(again), bytes }
      })
    })
  }).pipe(Effect.provide(layerOf(world)))

const child = (role: string, payload: unknown): { process: ChildProcess; message: Promise<unknown> } => {
  const started = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, FILES_ROLE: role, FILES_PAYLOAD: JSON.stringify(payload ?? null) },
    execArgv: ["--conditions=effect-blaze-source", "--expose-gc", "--max-semi-space-size=1"]
  })
  const message = new Promise((resolve, reject) => {
    started.once("message", resolve)
    started.once("exit", (code) => reject(new Error(`${role} ended with ${code}`)))
  })
  return { process: started, message }
}

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1]!

const main = async () => {
  const size = Math.max(1, Number(args.megabytes ?? 1024)) * mebibyte
  const server = child("server", undefined)
  const world = (await server.message) as World
  const results: Record<"ours" | "fetching", Array<Result>> = { ours: [], fetching: [] }
  for (let round = 0; round < rounds; round++) {
    for (const role of ["ours", "fetching"] as const) {
      const result = (await child(role, { world, size }).message) as Result
      if (result.bytes !== size) throw new Error(`${role}: ${result.bytes} bytes in place of ${size}`)
      results[role].push(result)
    }
  }
  server.process.kill("SIGKILL")
  const ratios = (of: "upload" | "download") =>
    median(results.ours.map((result, round) => results.fetching[round]![of] / result[of]))
  const memoryOf = (role: "ours" | "fetching") => Math.max(...results[role].map(({ memory }) => memory)) / mebibyte
  const memory = memoryOf("ours")
  const times = (role: "ours" | "fetching", of: "upload" | "download") =>
    median(results[role].map((result) => result[of])).toFixed(2)
  console.log(
    `files: ${size / mebibyte} MiB, ${rounds} rounds: up ${times("ours", "upload")} s beside ${times("fetching", "upload")} s of fetch (${ratios("upload").toFixed(2)} times its speed), down ${times("ours", "download")} s beside ${times("fetching", "download")} s (${ratios("download").toFixed(2)}), ${memory.toFixed(0)} MiB of memory above the start beside ${memoryOf("fetching").toFixed(0)}`
  )
  if (memory > 64) throw new Error("more than 64 MiB")
}

const serve = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  process.send!({ environment: local.environment(bot) })
  process.once("disconnect", () => process.exit())
  return yield* Effect.never
}).pipe(Effect.provide(LocalServer.layer()))

const role = process.env["FILES_ROLE"]
const payload = () => JSON.parse(process.env["FILES_PAYLOAD"]!) as { readonly world: World; readonly size: number }
if (role === undefined) await main()
else if (role === "server") await Effect.runPromise(serve)
else {
  const { size, world } = payload()
  process.send!(await Effect.runPromise(role === "ours" ? ours(world, size) : fetching(world, size)))
  process.exit()
}
