import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { BlazeError } from "effect-blaze"

const {
  AlreadyConsumed,
  ApiFailure,
  BadInput,
  ClientTooOld,
  Closed,
  ConnectionLost,
  HandshakeRefused,
  Intermediary,
  InvalidContent,
  InvalidSetting,
  Timeout,
  Unauthorized,
  Unreachable
} = BlazeError

const host = "blaze.mixin.one"

/** What an error may be, beside its sentence. */
type Trait = "isFatal" | "isRetryable" | "isFinal" | "isClockWrong" | "isHostBound" | "isUndecided" | "isTooLarge"
const traits: ReadonlyArray<Trait> = [
  "isFatal",
  "isRetryable",
  "isFinal",
  "isClockWrong",
  "isHostBound",
  "isUndecided",
  "isTooLarge"
]

const cases: ReadonlyArray<readonly [BlazeError.Reason, sentence: RegExp, traits: ReadonlyArray<Trait>]> = [
  [new Unauthorized({}), /^Mixin refused the bot \(401\): check that the keystore/, ["isFatal"]],
  [new Unauthorized({ code: 20121 }), /\(20121\)/, ["isFatal"]],
  [
    new Unauthorized({ clockDifference: 600_000 }),
    /clock is 10m ahead of the server's: set the clock/,
    ["isFatal", "isClockWrong"]
  ],
  [new Unauthorized({ clockDifference: -600_000 }), /clock is 10m behind the server's/, ["isFatal", "isClockWrong"]],
  [new Unauthorized({ tokenAge: 90_000 }), /token was 1m 30s old .* a fresh one is tried once/, ["isRetryable"]],
  [new ClientTooOld({}), /install the newest effect-blaze/, ["isFatal"]],
  [new HandshakeRefused({ host, status: 503 }), /HTTP status 503\.$/, ["isRetryable", "isHostBound"]],
  [new HandshakeRefused({ host, status: 401 }), /401/, ["isRetryable", "isHostBound", "isUndecided"]],
  [new Intermediary({ host, status: 407 }), /it is the proxy/, ["isRetryable", "isHostBound"]],
  [new Intermediary({ host, status: 413 }), /too large for it/, ["isRetryable", "isTooLarge"]],
  [new Intermediary({ host, status: 401 }), /in place of Mixin/, ["isRetryable", "isHostBound", "isUndecided"]],
  [
    new Unreachable({ host, problem: "ECONNREFUSED" }),
    /\(ECONNREFUSED\): check the network/,
    ["isRetryable", "isHostBound"]
  ],
  [new ConnectionLost({ code: 1006 }), /\(close code 1006\)/, ["isRetryable"]],
  [new ConnectionLost({ code: 1001, detail: "bye" }), /\(close code 1001, bye\)/, ["isRetryable"]],
  [new Timeout({ operation: "waiting" }), /^Timed out: waiting\.$/, ["isRetryable", "isHostBound"]],
  [new ApiFailure({ code: 403 }), /The bot may not write there/, ["isFinal"]],
  [new ApiFailure({ code: 10002, field: "data" }), /error 10002, field data\.$/, ["isFinal"]],
  [new ApiFailure({ code: 10002, status: 500 }), /10002/, ["isRetryable"]],
  [new ApiFailure({ code: 429 }), /429/, ["isRetryable"]],
  [new ApiFailure({ code: 7000 }), /7000/, ["isRetryable"]],
  [new ApiFailure({ code: 99_999 }), /99999/, []],
  [new BadInput({ problem: "a text frame" }), /not Blaze: a text frame\.$/, ["isRetryable"]],
  [new InvalidContent({ field: "the text", expected: "shorter" }), /the text must be shorter\.$/, ["isFinal"]],
  [
    new InvalidSetting({ setting: "option", field: "x", expected: "y" }),
    /The option cannot be used: x must be y\.$/,
    []
  ],
  [new AlreadyConsumed({}), /combine the two into one handler\.$/, []],
  [new Closed({}), /shutting down/, []]
]

describe("BlazeError", () => {
  for (const [reason, sentence, own] of cases) {
    it(`${reason._tag}: ${reason.message}`, () => {
      const error = BlazeError.make(reason)
      assert.match(error.message, sentence)
      assert.match(error.message, /^[A-Z].*\.$/)
      assert.deepStrictEqual(
        traits.filter((trait) => error[trait]),
        own
      )
      // One line is all that a program prints which ends with it.
      assert.strictEqual(error.stack, `BlazeError: ${error.message}`)
    })
  }

  it("is told by its tag, whatever copy of the package made it", () => {
    assert.isTrue(BlazeError.isBlazeError(BlazeError.make(new Closed({}))))
    assert.isFalse(BlazeError.isBlazeError(new Closed({})))
    assert.isFalse(BlazeError.isBlazeError(new Error("Closed")))
  })

  it("has the pause that the other end asked for, or none", () => {
    const pauses = [
      new Intermediary({ host, status: 503, retryAfter: 7000 }),
      new ApiFailure({ code: 429, retryAfter: 1000 }),
      new ApiFailure({ code: 429 }),
      new Closed({})
    ].map((reason) => Duration.toMillis(BlazeError.make(reason).retryAfter))
    assert.deepStrictEqual(pauses, [7000, 1000, 0, 0])
  })

  it("an error of the server is about the bot, about the client's age, or about the request", () => {
    const tagOf = (code: number, status?: number) => BlazeError.fromApi({ code, status }).reason._tag
    assert.deepStrictEqual(
      [401, 20121, 10006, 403, 10002].map((code) => tagOf(code)),
      ["Unauthorized", "Unauthorized", "ClientTooOld", "ApiFailure", "ApiFailure"]
    )
    // A server that is out of order says nothing about the bot.
    assert.deepStrictEqual(
      [401, 20121, 10006].map((code) => tagOf(code, 500)),
      ["ApiFailure", "ApiFailure", "ApiFailure"]
    )
  })

  it("keeps 200 letters of what the server says, and 100 of a field", () => {
    const { reason } = BlazeError.fromApi({ code: 10002, description: "x".repeat(300), field: "y".repeat(300) })
    assert(reason._tag === "ApiFailure")
    assert.deepStrictEqual([reason.description?.length, reason.field?.length], [200, 100])
  })

  it("a 20121 in the answer to a request concerns that request", () => {
    const ofRequest = BlazeError.ofRequest(BlazeError.fromApi({ code: 20121 }))
    assert.strictEqual(ofRequest.reason._tag, "ApiFailure")
    assert.isFalse(ofRequest.isFatal)
    const other = BlazeError.fromApi({ code: 401 })
    assert.strictEqual(BlazeError.ofRequest(other), other)
  })

  it("an answer that ended the connection is a lost connection to what was out on it", () => {
    const { reason } = BlazeError.ofConnection(BlazeError.fromApi({ code: 10002 }))
    assert(reason._tag === "ConnectionLost")
    assert.strictEqual(reason.detail, "the server ended it with error 10002")
    const other = BlazeError.make(new Timeout({ operation: "waiting" }))
    assert.strictEqual(BlazeError.ofConnection(other), other)
  })

  it("a refusal names the clock beyond 5 minutes, and the token's age beyond one", () => {
    const refused = BlazeError.fromApi({ code: 20121 })
    const explained = (known: Parameters<typeof BlazeError.explain>[1]) => {
      const { reason } = BlazeError.explain(refused, known)
      assert(reason._tag === "Unauthorized")
      assert.strictEqual(reason.code, 20121)
      return [reason.clockDifference, reason.tokenAge]
    }
    const now = 1_000_000
    assert.deepStrictEqual(explained({ now }), [undefined, undefined])
    assert.deepStrictEqual(explained({ now, serverTime: now - 300_000 }), [undefined, undefined])
    assert.deepStrictEqual(explained({ now, serverTime: now - 300_001 }), [300_001, undefined])
    assert.deepStrictEqual(explained({ now, serverTime: now + 300_001 }), [-300_001, undefined])
    assert.deepStrictEqual(explained({ now, signedAt: now - 60_000 }), [undefined, undefined])
    assert.deepStrictEqual(explained({ now, signedAt: now - 60_001 }), [undefined, 60_001])
  })

  it("a refusal that stands is fatal, however old its token was", () => {
    const old = BlazeError.make(new Unauthorized({ code: 20121, clockDifference: 600_000, tokenAge: 90_000 }))
    const { isFatal, reason } = BlazeError.standing(old)
    assert.isTrue(isFatal)
    assert.deepStrictEqual({ ...reason }, { ...new Unauthorized({ code: 20121, clockDifference: 600_000 }) })
    const other = BlazeError.make(new Closed({}))
    assert.strictEqual(BlazeError.standing(other), other)
  })

  it("says of an error of the platform its code, else a first line in which nothing can be secret", () => {
    const problemOf = (error: unknown) => BlazeError.problemOf(error, "no connection")
    assert.strictEqual(problemOf({ code: "ECONNREFUSED", message: "connect ECONNREFUSED" }), "ECONNREFUSED")
    assert.strictEqual(problemOf(new Error("unexpected server response\nat x")), "unexpected server response")
    for (const hidden of ["http://user:word@proxy", "Bearer x", "eyJhbGciOi", "user@proxy", ""]) {
      assert.strictEqual(problemOf(new Error(hidden)), "no connection")
    }
    for (const none of [undefined, "text", {}, { message: 7 }]) assert.strictEqual(problemOf(none), "no connection")
  })
})
