import { assert, describe, it } from "@effect/vitest"
import { Option, Result, Schema } from "effect"
import { Envelope } from "effect-blaze"
import * as Decoding from "../src/internal/Decoding.ts"

const view: Required<Envelope.MessageView> = {
  message_id: "928C5c40-769c-3e97-8387-fb1ae0645311",
  conversation_id: "7a7f32ba-0c2b-3b5f-9e9d-6b2a2f3a2b11",
  user_id: "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
  representative_id: "",
  session_id: "e0f1a2b3-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
  category: "PLAIN_TEXT",
  data: "aGk=",
  data_base64: "aGk",
  status: "SENT",
  source: "CREATE_MESSAGE",
  quote_message_id: "",
  silent: false,
  expire_in: 0,
  created_at: "2026-01-01T00:00:00.000000Z",
  updated_at: "2026-01-01T00:00:00.000000Z"
}
const envelope = { id: "e0f1a2b3", action: "CREATE_MESSAGE", data: view }

// What JSON can hold, where 1e999 is without end.
const values: ReadonlyArray<unknown> = ["", "a", "A", 7, Infinity, true, null, {}, { code: 7 }, []]

/** An object with each of its fields in turn gone, and of each of the values. */
const variations = function* (whole: object) {
  for (const field of [...Object.keys(whole), "error", "other"]) {
    for (const value of values) yield { ...whole, [field]: value }
    const { [field as keyof typeof whole]: _, ...rest } = whole
    yield rest
  }
}

const failure = (error: Envelope.ErrorBody) => {
  const { reason } = Decoding.blazeError(error)
  assert(reason._tag === "ApiFailure")
  return reason
}

describe("Envelope", () => {
  it("names the field of an error, whether extra is an object or the name itself, and nothing that is no name", () => {
    assert.strictEqual(failure({ code: 10002, extra: { field: "message_id" } }).field, "message_id")
    assert.strictEqual(failure({ code: 10002, extra: "messages[0].data" }).field, "messages[0].data")
    for (const extra of [undefined, null, 7, "the text was: hello", { field: "hello you" }, { field: 7 }, {}]) {
      assert.isUndefined(failure({ code: 10002, extra }).field)
    }
  })

  it("describes an error by either spelling", () => {
    assert.strictEqual(failure({ code: 403, desciption: "Forbidden" }).description, "Forbidden")
    assert.strictEqual(failure({ code: 403, description: "Forbidden", desciption: "x" }).description, "Forbidden")
  })

  it("an envelope and a view as the server writes them are read without their schemas", () => {
    assert.deepStrictEqual(Decoding.plainIncoming(envelope), envelope)
    assert.deepStrictEqual(Decoding.plainView({ type: "message", ...view }), view)
  })

  it("what is read without its schema is what the schema makes of it", () => {
    const read = { plain: 0, bySchema: 0 }
    const compare = <A>(plain: A | undefined, schema: Schema.Decoder<A>, input: unknown) => {
      const decoded = Schema.decodeUnknownResult(schema)(input)
      if (plain === undefined) return read.bySchema++
      assert.deepStrictEqual(Result.getSuccess(decoded), Option.some(plain), JSON.stringify(input))
      return read.plain++
    }
    for (const input of [...values, ...variations(envelope)]) {
      compare(Decoding.plainIncoming(input), Envelope.Incoming, input)
    }
    for (const input of [...values, ...variations(view)]) {
      compare(Decoding.plainView(input), Envelope.MessageView, input)
    }
    assert.isAbove(read.plain, 20)
    assert.isAbove(read.bySchema, 100)
  })
})
