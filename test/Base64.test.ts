import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { Base64 } from "effect-blaze"
import { hex, vectors } from "./support.ts"

describe("Base64", () => {
  for (const { expected, input, name } of vectors<{ text: string }, Record<string, string | null>>("base64")) {
    it(`decodes ${name} as the most lenient of Go's decoders does`, () => {
      const accepted = Object.values(expected).find((value) => value !== null)
      assert.strictEqual(Option.getOrUndefined(Option.map(Base64.decode(input.text), hex)), accepted)
    })
  }

  it("writes the raw URL form", () => {
    assert.strictEqual(Base64.encode(Uint8Array.of(0xfb, 0xff)), "-_8")
  })
})
