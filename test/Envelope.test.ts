import { assert, describe, it } from "@effect/vitest"
import { Envelope } from "effect-blaze"
import * as Decoding from "../src/internal/Decoding.ts"

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
})
