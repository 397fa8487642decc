import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import { Gzip, PortableGzip, Settings } from "effect-blaze"
import * as Frame from "../src/internal/Frame.ts"
import { ZlibGzip } from "effect-blaze/node"
import { gzipSync } from "node:zlib"
import { bytes, vectors } from "./support.ts"

const codecs = { fflate: PortableGzip.layer, zlib: ZlibGzip.layer }

for (const [codec, layer] of Object.entries(codecs)) {
  const gunzip = (frame: Uint8Array, maximumSize = 8 * 1024 * 1024) =>
    Effect.map(Gzip.Gzip, (gzip) => gzip.gunzip(frame, maximumSize)).pipe(Effect.provide(layer), Effect.runSync)
  const withFrame = <A>(f: (frame: Frame.Frame["Service"]) => A, maximumSize = 8 * 1024 * 1024) =>
    Effect.map(Frame.Frame, f).pipe(
      Effect.provide(Frame.layer.pipe(Layer.provide([layer, Settings.layer({ maximumFrameSize: maximumSize })]))),
      Effect.runSync
    )

  describe(`frames with ${codec}`, () => {
    for (const file of ["gzip-frames", "ws-frames"]) {
      for (const { expected, input, name } of vectors<{ frame_base64: string }, { text: string }>(file)) {
        it(`inflates ${file}: ${name}`, () => {
          const result = gunzip(bytes(input.frame_base64))
          assert(Result.isSuccess(result))
          assert.strictEqual(new TextDecoder().decode(result.success), expected.text)
        })
      }
    }

    for (const { expected, input, name } of vectors<{ frame_base64: string }, { error: string }>("gzip-negative")) {
      it(`refuses ${name} (${expected.error})`, () => {
        const result = withFrame((frame) => frame.decode(bytes(input.frame_base64)))
        assert(Result.isFailure(result))
        assert.strictEqual(result.failure.reason._tag, "BadInput")
      })
    }

    it("refuses a text frame", () => {
      const result = withFrame((frame) => frame.decode('{"id":"1","action":"ERROR"}'))
      assert(Result.isFailure(result))
      assert.include(result.failure.message, "a text frame")
    })

    it("refuses what is not UTF-8, though it would make an envelope", () => {
      const text = Buffer.from('{"id":"1","action":"?"}')
      text[text.indexOf("?")] = 0xff
      const result = withFrame((frame) => frame.decode(new Uint8Array(gzipSync(text))))
      assert(Result.isFailure(result))
      assert.include(result.failure.message, "not UTF-8")
    })

    it("stops at the limit, whatever the frame claims", () => {
      const text = JSON.stringify({ id: "1", action: "x".repeat(100_000) })
      const honest = new Uint8Array(gzipSync(text))
      const liar = honest.slice()
      liar.set([1, 0, 0, 0], liar.length - 4)
      assert.isTrue(Result.isSuccess(withFrame((frame) => frame.decode(honest), text.length)))
      for (const frame of [honest, liar]) {
        const result = withFrame(({ decode }) => decode(frame), text.length - 1)
        assert(Result.isFailure(result))
      }
      const size = withFrame(({ decode }) => decode(honest), text.length - 1)
      assert(Result.isFailure(size) && size.failure.reason._tag === "BadInput")
      assert.include(size.failure.message, `more than ${text.length - 1} bytes`)
    })

    it("refuses a frame that claims less than it holds, though the checksum is right for that", () => {
      const frame = new Uint8Array(gzipSync("{}more"))
      const claim = new Uint8Array(gzipSync("{}"))
      frame.set(claim.subarray(claim.length - 8), frame.length - 8)
      assert.isTrue(Result.isFailure(gunzip(frame)))
    })

    it("a bomb of many megabytes costs no more than the limit", () => {
      const bomb = new Uint8Array(gzipSync(Buffer.alloc(256 * 1024 * 1024)))
      // A claimed size within the limit must not help it.
      bomb.set([100, 0, 0, 0], bomb.length - 4)
      const before = process.memoryUsage().rss
      assert.isTrue(Result.isFailure(gunzip(bomb, 1024 * 1024)))
      assert.isBelow(process.memoryUsage().rss - before, 64 * 1024 * 1024)
    })

    it("reads what it wrote, at every length around what is encoded in place, one after the other", () => {
      withFrame((frame) => {
        for (const letter of ["a", "é", "漢", "😀"]) {
          for (let length = 900; length < 1100; length += 7) {
            const text = letter.repeat(length / letter.length)
            const frames = [text, "short"].map((id) => frame.encode({ id, action: "LIST_PENDING_MESSAGES" }))
            assert.deepStrictEqual(
              frames.map((bytes) => Result.getOrThrow(frame.decode(bytes)).id),
              [text, "short"]
            )
          }
        }
      })
    })

    it("reads what it wrote, and what the other codec wrote", () => {
      const envelope = {
        id: "0623f846-aa86-4664-bb65-0e5559890a5c",
        action: "CREATE_MESSAGE",
        params: { text: "你好 🌍" }
      }
      for (const writer of Object.values(codecs)) {
        const written = Effect.map(Frame.Frame, ({ encode }) => encode(envelope)).pipe(
          Effect.provide(Frame.layer.pipe(Layer.provide(writer))),
          Effect.runSync
        )
        const read = gunzip(written)
        assert(Result.isSuccess(read))
        assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(read.success)), envelope)
      }
    })

    for (const [name, envelope] of Object.entries<object>({
      "no id": { action: "ERROR", error: { status: 202, code: 401, description: "x" } },
      "an id that is null": { id: null, action: "ERROR", error: { code: 401 } },
      "an id that is a number": { id: 7, action: "ERROR", error: { code: 401 } },
      "its code as text": { id: "a", action: "ERROR", error: { code: "401" } },
      "a status that is no number": { id: "a", action: "ERROR", error: { status: "SENT", code: 401 } },
      "a description that is none": {
        id: "a",
        action: "ERROR",
        error: { code: 401, description: { en: "x" }, extra: [] }
      }
    })) {
      it(`an error with ${name} keeps its meaning`, () => {
        const result = withFrame(({ decode }) => decode(new Uint8Array(gzipSync(JSON.stringify(envelope)))))
        assert(Result.isSuccess(result))
        assert.strictEqual(result.success.id, "id" in envelope && typeof envelope.id === "string" ? "a" : "")
        assert.strictEqual(result.success.action, "ERROR")
        assert.strictEqual(result.success.error?.code, 401)
      })
    }

    for (const [name, envelope] of Object.entries<object>({
      "no action": { id: "a" },
      "an action that is no text": { id: "a", action: 7 },
      "an error without a code": { id: "a", action: "ERROR", error: { description: "x" } },
      "an error whose code says nothing": { id: "a", action: "ERROR", error: { code: "" } }
    })) {
      it(`refuses ${name}`, () => {
        const result = withFrame(({ decode }) => decode(new Uint8Array(gzipSync(JSON.stringify(envelope)))))
        assert(Result.isFailure(result))
        assert.include(result.failure.message, "not an envelope")
      })
    }

    it("null counts as absent, unknown fields pass", () => {
      const frame = new Uint8Array(gzipSync('{"id":"1","action":"X","data":null,"error":null,"more":{"a":1}}'))
      const result = withFrame(({ decode }) => decode(frame))
      assert(Result.isSuccess(result))
      assert.strictEqual(result.success.error, null)
    })
  })
}
