// What the client makes of every frame that was captured or published, from the bytes to what comes out of a session.
import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Queue } from "effect"
import { BlazeError, type BlazeSocket, type Envelope, Ids, Message, PortableGzip } from "effect-blaze"
import * as Frame from "../src/internal/Frame.ts"
import * as Inbox from "../src/internal/Inbox.ts"
import { BlazeTest } from "effect-blaze/testing"
import { SecureRandom } from "effect/crypto"
import { gzipSync } from "node:zlib"
import { vectors } from "./support.ts"
import * as Session from "../src/internal/Session.ts"
import * as Meter from "../src/internal/Meter.ts"

const me = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")

type Expected =
  | { readonly kind: "message"; readonly text?: string; readonly fromBacklog?: true; readonly system?: true }
  | { readonly kind: "receipt"; readonly status: string }
  | { readonly kind: "error"; readonly code: number }
  | { readonly kind: "answer" | "echo" }

const bytes = (envelope: object) => new Uint8Array(gzipSync(JSON.stringify(envelope)))

/** A session whose only request is one with the action of the frame, and everything that comes out of it. */
const scene = Effect.fnUntraced(function* (action: string) {
  const frames = yield* Queue.unbounded<Uint8Array, BlazeError.BlazeError>()
  const sent: Array<Envelope.Request> = []
  const messages: Array<Message.Message> = []
  const receipts: Array<Envelope.MessageView> = []
  const { decode } = yield* Frame.Frame
  const wire: BlazeSocket.Wire = {
    socket: undefined as never,
    envelopes: undefined as never,
    receive: Queue.takeAll(frames),
    decode,
    send: (request) => Effect.sync(() => void sent.push(request)),
    isSaturated: () => false,
    host: "memory",
    signedAt: 0
  }
  const meter = yield* Meter.make(me)
  const inbox = yield* Effect.provideService(Inbox.make, Meter.Meter, meter)
  const making = yield* Session.make({
    wire,
    userId: me,
    random: yield* SecureRandom.SecureRandom,
    meter,
    inbox,
    onReceipts: (arrived) => void receipts.push(...arrived),
    passOverBadFrames: false,
    onPassedOver: () => {},
    patience: 0,
    whyClosed: () => BlazeError.make(new BlazeError.Closed({}))
  }).pipe(Effect.forkScoped)
  yield* BlazeTest.settle
  Queue.offerUnsafe(frames, bytes({ id: sent[0]!.id, action: "LIST_PENDING_MESSAGES" }))
  const session = yield* Fiber.join(making)
  const ended = yield* Effect.forkScoped(Effect.exit(session.ended))
  const request = yield* Effect.forkScoped(Effect.exit(session.request(action)))
  yield* BlazeTest.settle
  return {
    arrive: Effect.fnUntraced(function* (envelope: object) {
      yield* Queue.offer(frames, bytes(envelope))
      yield* BlazeTest.settle
      messages.push(...inbox.take())
    }),
    id: sent.at(-1)!.id,
    messages,
    receipts,
    request,
    hasEnded: () => ended.pollUnsafe() !== undefined
  }
})

/** The code of an error by which the client can tell it; that of `Unauthorized` is 401. */
const codeOf = (exit: Exit.Exit<unknown, BlazeError.BlazeError>) => {
  const { reason } = Option.getOrThrow(Exit.findErrorOption(exit))
  assert.include(["Unauthorized", "ApiFailure"], reason._tag)
  return "code" in reason ? reason.code : 401
}

describe("captured frames", () => {
  for (const { expected, input, name } of vectors<{ readonly json: string }, Expected>("views")) {
    it.effect(`${expected.kind}: ${name}`, () =>
      Effect.gen(function* () {
        const envelope = JSON.parse(input.json)
        const { arrive, hasEnded, id, messages, receipts, request } = yield* scene(envelope.action)
        const isAnswer = expected.kind === "answer" || expected.kind === "echo"

        // What answers a request does so once. What comes after that, or for a request that is long forgotten, is the same frame.
        if (isAnswer || (expected.kind === "error" && envelope.action !== "ERROR")) {
          yield* arrive({ ...envelope, id })
          const exit = yield* Fiber.join(request)
          if (expected.kind === "error") assert.strictEqual(codeOf(exit), expected.code)
          else assert.deepStrictEqual(exit, Exit.succeed(envelope.data))
        }
        yield* arrive(envelope)

        if (expected.kind === "error" && envelope.action === "ERROR") {
          assert.isTrue(hasEnded())
          assert.strictEqual(codeOf(yield* Fiber.join(request)), expected.code)
        } else {
          assert.isFalse(hasEnded())
        }
        assert.deepStrictEqual(
          receipts.map(({ message_id, status }) => [message_id, status]),
          expected.kind === "receipt" ? [[envelope.data.message_id, expected.status]] : []
        )
        // What the bot itself has sent is acknowledged by who takes it, and passed to nobody.
        const others = messages.filter(({ isSystem, view }) => view.user_id !== me || isSystem)
        if (expected.kind !== "message") return assert.deepStrictEqual(others, [])
        assert.strictEqual(messages.length, 1)
        const message = messages[0]!
        assert.strictEqual(message.id, envelope.data.message_id)
        assert.strictEqual(message.createdAt, envelope.data.created_at)
        assert.strictEqual(message.fromBacklog, expected.fromBacklog ?? false)
        assert.strictEqual(message.isSystem, expected.system ?? false)
        assert.strictEqual(message.isSaid, expected.text !== undefined)
        assert.strictEqual(Message.isText(message) ? message.text : undefined, expected.text)
      }).pipe(Effect.provide([NodeCrypto.layerSecureRandom, Frame.layer.pipe(Layer.provide(PortableGzip.layer))]))
    )
  }
})
