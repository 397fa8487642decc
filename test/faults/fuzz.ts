// npm run test:fuzz -- --seed N --count N
//
// Mutated frames and envelopes through both codecs, the frame and a session: no crash, no hang, no growth. The corpus is the vectors and
// frames as a real server sends them.
import { Deferred, Effect, Exit, Fiber, Layer, Queue, Result } from "effect"
import { BlazeError, type BlazeSocket, Ids, type Message, PortableGzip, Settings } from "effect-blaze"
import * as Frame from "../../src/internal/Frame.ts"
import * as Inbox from "../../src/internal/Inbox.ts"
import { ZlibGzip } from "effect-blaze/node"
import { NodeCrypto } from "@effect/platform-node"
import { SecureRandom } from "effect/crypto"
import { parseArgs } from "node:util"
import { gunzipSync, gzipSync } from "node:zlib"
import { bytes, seeded, vectors } from "../support.ts"
import * as Session from "../../src/internal/Session.ts"
import * as Meter from "../../src/internal/Meter.ts"

const { values: args } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" } } })
const seed = Number(args.seed ?? 1)
const count = Number(args.count ?? 1_000_000)
const limit = 256 * 1024

const random = seeded(seed)
const below = (n: number) => Math.floor(random() * n)

const botId = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
const view = {
  type: "message",
  message_id: "928c5c40-769c-3e97-8387-fb1ae0645311",
  conversation_id: "72e9a6c7-3e78-30ee-add8-aa114eada65a",
  user_id: "773e5e77-4107-45c2-b648-8fc722ed77f5",
  category: "PLAIN_TEXT",
  data: "aGVsbG8=",
  data_base64: "aGVsbG8",
  status: "SENT",
  source: "CREATE_MESSAGE",
  created_at: "2026-01-01T00:00:00.123456789Z",
  silent: false,
  expire_in: 0
}
const envelopes: ReadonlyArray<object> = [
  { id: "0623f846-aa86-4664-bb65-0e5559890a5c", action: "CREATE_MESSAGE", data: view },
  { id: "1", action: "CREATE_MESSAGE", data: { ...view, category: "PLAIN_LOCATION", data: "eyJsb25naXR1ZGUiOjF9" } },
  { id: "2", action: "ACKNOWLEDGE_MESSAGE_RECEIPT", data: { ...view, status: "READ", conversation_id: "" } },
  { id: "3", action: "CREATE_MESSAGE", data: { ...view, user_id: botId, category: "" } },
  { id: "4", action: "ERROR", error: { status: 202, code: 7000, description: "x", extra: { field: "y" } } },
  { id: "5", action: "LIST_PENDING_MESSAGES" },
  { id: "6", action: "CREATE_CALL", data: view }
]
const texts = envelopes.map((envelope) => JSON.stringify(envelope))
const corpus = [
  ...["gzip-frames", "gzip-negative", "ws-frames"].flatMap((file) =>
    vectors<{ frame_base64: string }, unknown>(file).map(({ input }) => bytes(input.frame_base64))
  ),
  ...texts.map((text) => new Uint8Array(gzipSync(text)))
].filter((frame) => frame.length < 4096)

const mutateBytes = (frame: Uint8Array): Uint8Array => {
  const mutated = frame.slice()
  for (let times = 1 + below(4); times > 0 && mutated.length > 0; times--) mutated[below(mutated.length)] = below(256)
  switch (below(6)) {
    case 0:
      return mutated.subarray(0, below(mutated.length + 1))
    case 1:
      return new Uint8Array([...mutated, ...frame.subarray(0, below(40))])
    default:
      return mutated
  }
}

const odd: ReadonlyArray<unknown> = [
  null,
  0,
  -1,
  1e308,
  "",
  "x".repeat(300),
  [],
  {},
  true,
  "__proto__",
  [[[]]],
  { a: { b: {} } }
]

// Replaces, removes or adds a field somewhere in an envelope, and packs it well: this gets past the gzip.
const mutateEnvelope = (): Uint8Array => {
  const envelope = JSON.parse(texts[below(texts.length)]!) as Record<string, unknown>
  for (let times = 1 + below(3); times > 0; times--) {
    const inner =
      below(3) > 0 && typeof envelope["data"] === "object" && envelope["data"] !== null ? envelope["data"] : envelope
    const fields = inner as Record<string, unknown>
    const names = Object.keys(fields)
    const name = below(8) === 0 ? "__proto__" : (names[below(names.length)] ?? "id")
    if (below(4) === 0) delete fields[name]
    else
      Object.defineProperty(fields, name, {
        value: structuredClone(odd[below(odd.length)]),
        enumerable: true,
        configurable: true,
        writable: true
      })
  }
  let text = JSON.stringify(below(30) === 0 ? odd[below(odd.length)] : envelope) ?? "undefined"
  if (below(4) === 0) {
    const at = below(text.length)
    text = text.slice(0, at) + String.fromCharCode(below(0x3000)) + text.slice(at + below(3))
  }
  return new Uint8Array(gzipSync(text, { level: 1 }))
}

const main = Effect.gen(function* () {
  const random = yield* SecureRandom.SecureRandom
  const meter = yield* Meter.make(botId)
  const frames = yield* Effect.forEach([PortableGzip.layer, ZlibGzip.layer], (gzip) =>
    Effect.provide(Frame.Frame, Frame.layer.pipe(Layer.provide([gzip, Settings.layer({ maximumFrameSize: limit })])), {
      local: true
    })
  )
  const [fflate, zlib] = frames as [Frame.Frame["Service"], Frame.Frame["Service"]]

  let accepted = 0
  let lenient = 0
  let sessions = 0
  let messages = 0
  let heap = 0
  const began = process.hrtime.bigint()

  // A session that passes over bad frames reads everything; one that does not ends at the first, and the next one takes its place.
  const open = Effect.gen(function* () {
    sessions++
    const queue = yield* Queue.unbounded<Uint8Array>()
    const answered = yield* Deferred.make<void>()
    const wire: BlazeSocket.Wire = {
      host: "memory",
      signedAt: 0,
      socket: undefined as never,
      envelopes: undefined as never,
      receive: Queue.takeAll(queue),
      decode: zlib.decode,
      isSaturated: () => false,
      send: ({ action, id }) =>
        Effect.sync(() => {
          Queue.offerUnsafe(queue, new Uint8Array(gzipSync(JSON.stringify({ id, action }))))
          Deferred.doneUnsafe(answered, Effect.void)
        })
    }
    const touch = (message: Message.Message) => {
      messages++
      void [message.id, message.senderId, message.createdAt, message.bytes.length, message.fromBacklog, message.size]
      if (message._tag === "Text") void message.text.length
    }
    const inbox = yield* Effect.provideService(Inbox.make, Meter.Meter, meter)
    yield* inbox.arrival.pipe(
      Effect.andThen(Effect.sync(() => inbox.take().forEach(touch))),
      Effect.forever,
      Effect.exit,
      Effect.forkScoped
    )
    const session = yield* Session.make({
      wire,
      userId: botId,
      random,
      meter,
      inbox,
      onReceipts: () => {},
      passOverBadFrames: sessions % 2 === 0,
      onPassedOver: () => {},
      patience: 0,
      whyClosed: () => BlazeError.make(new BlazeError.Closed({}))
    })
    return { queue, ended: session.ended }
  })

  for (let done = 0; done < count;) {
    yield* Effect.gen(function* () {
      const { ended, queue } = yield* open
      const batch = Math.min(25, count - done)
      for (let n = 0; n < batch; n++) {
        const frame = below(2) === 0 ? mutateBytes(corpus[below(corpus.length)]!) : mutateEnvelope()
        const one = fflate.decode(frame)
        const other = zlib.decode(frame)
        // fflate does not look at the redundant complement of a stored block's length; the checksum decides there.
        if (Result.isSuccess(one) && Result.isFailure(other)) lenient++
        else if (Result.isSuccess(other) && JSON.stringify(one) !== JSON.stringify(other)) {
          throw new Error(`the codecs disagree about ${Buffer.from(frame).toString("base64")}`)
        }
        if (Result.isSuccess(one)) accepted++
        else if (one.failure.reason._tag !== "BadInput") throw new Error(`not BadInput: ${one.failure.message}`)
        Queue.offerUnsafe(queue, frame)
      }
      done += batch
      // All frames are one pull; a few turns later they have been read, or one of them has ended the session.
      const fiber = yield* Effect.forkChild(Effect.flip(ended))
      yield* Effect.yieldNow.pipe(Effect.repeat({ times: 20 }))
      const exit = fiber.pollUnsafe()
      if (exit !== undefined && !(Exit.isSuccess(exit) && BlazeError.isBlazeError(exit.value))) {
        throw new Error("a session ended without a reason")
      }
      if (exit === undefined && (yield* Queue.size(queue)) > 0) throw new Error("a session hangs")
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.scoped)
    if (done === 50_000 || (heap === 0 && done >= count / 4)) {
      globalThis.gc?.()
      heap = process.memoryUsage().heapUsed
    }
  }
  globalThis.gc?.()
  const growth = (process.memoryUsage().heapUsed - heap) / 2 ** 20
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  console.log(
    `fuzz: ${count} frames, seed ${seed}: ${accepted} accepted (${lenient} by fflate alone), ${messages} messages in ${sessions} sessions, heap ${growth.toFixed(1)} MiB more, ${seconds.toFixed(0)} s`
  )
  if (lenient > count / 200) throw new Error("fflate accepts too much")
  if (growth > 20) throw new Error("memory has grown")
})

// The corpus itself must be readable, else nothing is fuzzed.
gunzipSync(corpus.at(-1)!)
await Effect.runPromise(main.pipe(Effect.provide(NodeCrypto.layerSecureRandom)))
