import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Base64 } from "effect-blaze"
import { BufferBase64 } from "effect-blaze/node"
import { hex, seeded, vectors } from "./support.ts"

const decoders = {
  portable: Base64.portable,
  Buffer: Effect.runSync(Effect.provide(Base64.Decoder, BufferBase64.layer))
}

for (const [name, { decode, decodeText }] of Object.entries(decoders)) {
  describe(`Base64, ${name}`, () => {
    for (const { expected, input, name } of vectors<{ text: string }, Record<string, string | null>>("base64")) {
      it(`decodes ${name} as the most lenient of Go's decoders does`, () => {
        const accepted = Object.values(expected).find((value) => value !== null)
        assert.strictEqual(Option.getOrUndefined(Option.map(decode(input.text), hex)), accepted)
      })
    }

    it("gives bytes that nobody else has", () => {
      const [one, other] = ["aGk", "aG8"].map((text) => Option.getOrThrow(decode(text)))
      assert.strictEqual(one!.buffer.byteLength, 2)
      assert.notStrictEqual(one!.buffer, other!.buffer)
      for (const size of [5, 9000, 48_000]) {
        const bytes = Option.getOrThrow(decode(Buffer.alloc(size, "x").toString("base64url")))
        assert.deepStrictEqual([bytes.constructor, bytes.length], [Uint8Array, size])
      }
    })

    it("reads the text of a payload as it was written, whatever its length and whatever came before", () => {
      const texts = [
        "",
        "hi",
        "\ufeffhi",
        "h\u00e9llo \u{1f44d}",
        ...[8191, 8192, 8193, 48_000].map((size) => "x".repeat(size)),
        "hi"
      ]
      const read = texts.map((text) => decodeText(Buffer.from(text).toString("base64url")))
      assert.deepStrictEqual(read, texts.map(Option.some))
      assert.deepStrictEqual(decodeText("_4A"), Option.some("\ufffd\ufffd"))
      for (const text of ["a", "+_8=", "hi you"]) assert.deepStrictEqual(decodeText(text), Option.none())
    })
  })
}

describe("Base64", () => {
  it("its two decoders agree on 50 000 texts that are base64, nearly so, or not at all", () => {
    const random = seeded(11)
    const below = (limit: number) => Math.floor(random() * limit)
    const standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    const digits = [standard, standard.replace("+/", "-_"), `${standard}-_`, `${standard}=\r\n \u0141\u{1f600}é`]
    for (let n = 0; n < 50_000; n++) {
      const letters = Array.from(digits[below(digits.length)]!)
      let text = Array.from({ length: below(40) }, () => letters[below(letters.length)]!).join("")
      if (below(2) === 0) text += "=".repeat(below(4))
      if (below(4) === 0)
        text = `${text.slice(0, below(40))}${["=", "\n", "\u0141", "-", "/"][below(5)]}${text.slice(below(40))}`
      const [one, other] = Object.values(decoders).map(({ decode, decodeText }) => ({
        bytes: Option.getOrUndefined(Option.map(decode(text), hex)),
        text: Option.getOrUndefined(decodeText(text))
      }))
      assert.deepStrictEqual(one, other, JSON.stringify(text))
    }
  })

  it("writes the raw URL form", () => {
    assert.strictEqual(Base64.encode(Uint8Array.of(0xfb, 0xff)), "-_8")
  })
})
