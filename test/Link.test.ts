import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Result } from "effect"
import { Ids, Link } from "effect-blaze"

const id = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const payment = { recipient: id, asset: id, amount: "1" }
const mix = "MIX3QEeg1WkLrjvjxyMRf6Xc8dxs81tpPc"

describe("Link", () => {
  it("writes a payment of today and one of before Safe", () => {
    const full = {
      ...payment,
      memo: "a&b=c d+e#好",
      trace: id.toUpperCase(),
      returnTo: "https://example.com/?a=b"
    }
    assert.strictEqual(
      Result.getOrThrow(Link.pay(full)),
      `https://mixin.one/pay/${id}?asset=${id}&amount=1&memo=a%26b%3Dc%20d%2Be%23%E5%A5%BD&trace=${id}&return_to=https%3A%2F%2Fexample.com%2F%3Fa%3Db`
    )
    assert.strictEqual(
      Result.getOrThrow(Link.payBeforeSafe({ ...payment, memo: "m" })),
      `https://mixin.one/pay?recipient=${id}&asset=${id}&amount=1&memo=m`
    )
    assert.include(Result.getOrThrow(Link.pay({ ...payment, recipient: mix })), `/pay/${mix}?`)
  })

  it("writes an amount without an exponent and without zeros behind, whatever it was given as", () => {
    for (const [amount, written] of [
      ["0.00000001", "0.00000001"],
      ["100", "100"],
      ["1.50", "1.5"],
      ["12345678901234567890.12345678", "12345678901234567890.12345678"],
      [BigDecimal.make(1n, -20), "100000000000000000000"],
      [BigDecimal.make(25n, 1), "2.5"]
    ] as const) {
      assert.include(Result.getOrThrow(Link.pay({ ...payment, amount })), `&amount=${written}`)
    }
  })

  it("refuses what could not be paid, and names it", () => {
    for (const [wrong, field] of [
      ...["0", "-1", "", "1e5", "NaN", "0.000000001", "1,5", BigDecimal.make(1n, 9), BigDecimal.make(1n, -1e9)].map(
        (amount) => [{ amount }, "the amount"] as const
      ),
      [{ recipient: "alice" }, "the recipient"],
      [{ recipient: `${mix}/../evil` }, "the recipient"],
      [{ asset: "BTC" }, "the asset"],
      [{ trace: "order 7" }, "the trace"],
      [{ returnTo: "javascript:alert(1)" }, "returnTo"]
    ] as const) {
      const link = Link.pay({ ...payment, ...wrong })
      assert(
        Result.isFailure(link),
        JSON.stringify(wrong, (_, value) => (typeof value === "bigint" ? `${value}` : value))
      )
      assert.include(link.failure.message, `${field} must be`)
    }
  })

  it("writes the name of a parameter as it writes its value, so that none is another's", () => {
    assert.strictEqual(
      Link.app(Ids.UserId.make(id), { "a&b=c": "1", "\ud83d": "2" }),
      `mixin://apps/${id}?action=open&a%26b%3Dc=1&%EF%BF%BD=2`
    )
  })

  it("knows an address by how it begins: what a browser would mend is none", () => {
    for (const address of [
      " https://e.com",
      "\0https://e.com",
      "ht\ntps://e.com",
      "https:e.com",
      "https:/e.com",
      "mixin:x"
    ]) {
      assert.strictEqual(Link.protocolOf(address), "", JSON.stringify(address))
    }
    for (const [address, protocol] of [
      ["HTTPS://e.com", "https:"],
      ["mixin://users/x", "mixin:"],
      ["ftp://e.com", "ftp:"]
    ] as const) {
      assert.strictEqual(Link.protocolOf(address), protocol)
    }
  })

  it("writes people, conversations, bots and shared texts", () => {
    const user = Ids.UserId.make(id)
    assert.deepStrictEqual(
      [
        Link.transfer(user),
        Link.user(user),
        Link.conversation(Ids.ConversationId.make(id)),
        Link.app(user, { order: "7 &8" }),
        Link.share("a?>")
      ],
      [
        `mixin://transfer/${id}`,
        `mixin://users/${id}`,
        `mixin://conversations/${id}`,
        `mixin://apps/${id}?action=open&order=7%20%268`,
        "mixin://send?category=text&data=YT8%2B"
      ]
    )
  })
})
