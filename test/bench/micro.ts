// One number for each room where time goes, so that a regression names its room.
//
//   npm run bench:micro -- --rounds 7 --json result.json
//
// Each is the time for one message, the best of the rounds; the rounds of all are interleaved.
import { NodeCrypto } from "@effect/platform-node"
import { Effect, Layer, Result, Stream } from "effect"
import { Acks, Base64, Gzip, Ids, Keyed, Message, PortableGzip, Store } from "effect-blaze"
import * as Frame from "../../src/internal/Frame.ts"
import * as Acknowledgements from "../../src/internal/Acknowledgements.ts"
import * as Connection from "../../src/internal/Connection.ts"
import { BufferBase64, ZlibGzip } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { randomUUID } from "node:crypto"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Zlib from "node:zlib"
import * as States from "../../src/internal/States.ts"
import * as Underway from "../../src/internal/Underway.ts"
import * as Meter from "../../src/internal/Meter.ts"
import * as Uuid from "../../src/internal/Uuid.ts"
import * as Decoding from "../../src/internal/Decoding.ts"

const { values } = parseArgs({ options: { rounds: { type: "string" }, json: { type: "string" } } })
const rounds = Number(values.rounds ?? 7)

/** The time of one of `count` in a round, in microseconds. */
type Work = () => number | Promise<number>

const timed = (count: number, work: () => void) => () => {
  const begun = performance.now()
  work()
  return ((performance.now() - begun) * 1000) / count
}

const timedEffect = (count: number, work: Effect.Effect<unknown, unknown>) => async () => {
  const begun = performance.now()
  await Effect.runPromise(work)
  return ((performance.now() - begun) * 1000) / count
}

const count = 5000
const text = Buffer.from("seven wizards quietly box their vexing jugs again, and the lazy dog looks on. ".repeat(2))
const views = Array.from({ length: count }, (_, index) => ({
  type: "message",
  representative_id: "",
  quote_message_id: "",
  conversation_id: randomUUID(),
  user_id: randomUUID(),
  session_id: randomUUID(),
  message_id: randomUUID(),
  category: "PLAIN_TEXT",
  data: Buffer.concat([text, Buffer.from(String(index))]).toString("base64"),
  data_base64: Buffer.concat([text, Buffer.from(String(index))]).toString("base64url"),
  status: "SENT",
  source: "CREATE_MESSAGE",
  silent: false,
  expire_in: 0,
  created_at: "2026-01-01T00:00:00.000000Z",
  updated_at: "2026-01-01T00:00:00.000000Z"
}))
const envelopes = views.map((data) => ({ id: randomUUID(), action: "CREATE_MESSAGE", data }))
const bytes = envelopes.map((envelope) => Buffer.from(JSON.stringify(envelope)))
const frames = bytes.map((each) => Zlib.gzipSync(each, { level: 3 }))
const request = {
  id: randomUUID(),
  action: "CREATE_MESSAGE",
  params: {
    conversation_id: randomUUID(),
    message_id: randomUUID(),
    category: "PLAIN_TEXT",
    data_base64: text.toString("base64url")
  }
}
const small = Buffer.from(JSON.stringify(request))

const zlib = Effect.runSync(Effect.provide(Gzip.Gzip, ZlibGzip.layer))
const decoder = Effect.runSync(Effect.provide(Base64.Decoder, BufferBase64.layer))
const fflate = Effect.runSync(Effect.provide(Gzip.Gzip, PortableGzip.layer))
const frame = Effect.runSync(Effect.provide(Frame.Frame, Frame.layer.pipe(Layer.provide(ZlibGzip.layer))))
const limit = 1024 * 1024

const ids = Array.from({ length: 40 * count }, () => randomUUID() as Ids.MessageId)
const batches = Array.from({ length: ids.length / 100 }, (_, batch) => ids.slice(batch * 100, batch * 100 + 100))

const memory = States.layer.pipe(Layer.provide(Store.layerMemory))
const handled = (batches: ReadonlyArray<ReadonlyArray<Ids.MessageId>>) =>
  Effect.gen(function* () {
    const states = yield* States.States
    for (const batch of batches) {
      yield* states.admit(batch)
      for (const id of batch) states.become(id, "Handled")
      yield* states.confirm(batch)
    }
  }).pipe(Effect.provide(memory, { local: true }))

const pipeline = (conversations: number, f: (n: number) => Effect.Effect<unknown>) =>
  Stream.fromIterable(Array.from({ length: 10 * count }, (_, n) => n)).pipe(
    Stream.rechunk(100),
    Keyed.mapEffect(f, { key: (n) => n % conversations, concurrency: 64 }),
    Stream.runDrain
  )

// Acknowledgements with a transport that answers at once.
const acks = Effect.gen(function* () {
  const acks = yield* Acknowledgements.Acknowledgements
  for (const batch of batches.slice(0, (10 * count) / 100)) {
    for (const id of batch) acks.offer(id)
    yield* acks.room
    yield* Effect.yieldNow
  }
  yield* acks.flush
}).pipe(
  Effect.provide(
    Acknowledgements.layer(
      Layer.succeed(
        Acks.Transport,
        Acks.Transport.of({ maximum: 100, atOnce: 16, behindMessages: false, acknowledge: () => Effect.void })
      )
    ).pipe(
      Layer.provide(Connection.layer),
      Layer.provide([
        memory,
        BlazeTest.layerSocket.pipe(Layer.provide(BlazeTest.layerServer)),
        Meter.layer(Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c"))
      ])
    ),
    { local: true }
  ),
  Effect.orDie
)

const messages = views.map((view) => Message.fromView(view))
const randomId = Effect.runSync(Effect.provide(Uuid.makeRandom, NodeCrypto.layerSecureRandom))

const all: Readonly<Record<string, Work>> = {
  "Gzip: inflate 1.2 KB, zlib": timed(count, () => frames.forEach((each) => zlib.gunzip(each, limit))),
  "Gzip: inflate 1.2 KB, fflate": timed(count, () => frames.forEach((each) => fflate.gunzip(each, limit))),
  "Gzip: write a request, zlib": timed(count, () => bytes.forEach(() => zlib.gzip(small))),
  "Gzip: write a request, fflate": timed(count, () => bytes.forEach(() => fflate.gzip(small))),
  "Frame: decode": timed(count, () => frames.forEach((each) => Result.isSuccess(frame.decode(each)))),
  "Frame: encode a request": timed(count, () => bytes.forEach(() => frame.encode(request))),
  "Envelope: check a view": timed(count, () => views.forEach((view) => Decoding.messageView(view))),
  "Message: from a view": timed(count, () => views.forEach((view) => Message.fromView(view))),
  "Message: from a view, text read": timed(count, () =>
    views.forEach((view) => {
      const message = Message.fromView(view, decoder)
      return Message.isText(message) && message.text.length
    })
  ),
  "States: admit, become, confirm; memory filling": timedEffect(
    10 * count,
    handled(batches.slice(0, (10 * count) / 100))
  ),
  "States: the same, memory full": timedEffect(ids.length, handled(batches)),
  "Keyed: 10 keys": timedEffect(
    10 * count,
    pipeline(10, () => Effect.void)
  ),
  "Keyed: every element its own key": timedEffect(
    10 * count,
    pipeline(10 * count, () => Effect.void)
  ),
  "Keyed: 1 000 keys, each element yields": timedEffect(
    10 * count,
    pipeline(1000, () => Effect.yieldNow)
  ),
  "Acks: offer, batch, confirm": timedEffect(10 * count, acks),
  "Underway: begin and end": timed(count, () => {
    const all = Underway.make<Message.Message>()
    for (const message of messages) all.end(all.begin(message, 0))
  }),
  "Ids: a random id": timedEffect(count, Effect.replicateEffect(randomId, count, { discard: true })),
  "Ids: a derived id": timedEffect(
    count,
    Effect.replicateEffect(Ids.derive("answer", ids[0]!, ids[1]!, "PLAIN_TEXT", "aGVsbG8"), count, {
      discard: true
    }).pipe(Effect.provide(NodeCrypto.layerDigest))
  )
}

const best = new Map<string, number>()
for (let round = 0; round < rounds; round++) {
  for (const [name, work] of Object.entries(all)) {
    globalThis.gc?.()
    best.set(name, Math.min(best.get(name) ?? Infinity, await work()))
  }
}
console.table(Object.fromEntries(Array.from(best, ([name, us]) => [name, { us: us.toFixed(2) }])))
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(Object.fromEntries(best), null, 2)}\n`)
process.exit()
