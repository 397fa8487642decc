import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Ids, Outgoing } from "effect-blaze"

const id = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const address = { conversationId: Ids.ConversationId.make(id), messageId: Ids.MessageId.make(id) }
const params = (outgoing: Outgoing.Outgoing) => Outgoing.toParams(outgoing, address)
const payload = (outgoing: Outgoing.Outgoing) => Buffer.from(outgoing.dataBase64, "base64url").toString()

describe("Outgoing", () => {
  it("writes what the documentation shows, and leaves out what is not set", () => {
    assert.deepStrictEqual(Result.getOrThrow(params(Outgoing.text("hi"))), {
      conversation_id: id,
      message_id: id,
      category: "PLAIN_TEXT",
      data_base64: "aGk"
    })
  })

  it("writes quote, silence and expiry, and the recipient", () => {
    const outgoing = Outgoing.text("hi", { quote: address.messageId, silent: true, expireIn: "90 seconds" })
    const written = Outgoing.toParams(outgoing, { ...address, recipientId: Ids.UserId.make(id) })
    assert.deepInclude(Result.getOrThrow(written), {
      quote_message_id: id,
      silent: true,
      expire_in: 90,
      recipient_id: id
    })
  })

  it("counts the expiry in whole seconds, and never less than was asked for", () => {
    for (const [expireIn, seconds] of [
      ["500 millis", 1],
      ["1 second", 1],
      ["1001 millis", 2]
    ] as const) {
      assert.strictEqual(Result.getOrThrow(params(Outgoing.text("hi", { expireIn })))["expire_in"], seconds)
    }
  })

  it("writes the payload of every kind", () => {
    assert.deepStrictEqual(
      [
        Outgoing.post("# t"),
        Outgoing.sticker(id),
        Outgoing.contact(Ids.UserId.make(id)),
        Outgoing.location({ longitude: 8.5, latitude: 47.4, name: "Zürich" }),
        Outgoing.fromContent("plain")
      ].map((outgoing) => [outgoing.category, payload(outgoing)]),
      [
        ["PLAIN_POST", "# t"],
        ["PLAIN_STICKER", `{"sticker_id":"${id}"}`],
        ["PLAIN_CONTACT", `{"user_id":"${id}"}`],
        ["PLAIN_LOCATION", '{"longitude":8.5,"latitude":47.4,"name":"Zürich"}'],
        ["PLAIN_TEXT", "plain"]
      ]
    )
  })

  it("lowers the ids that it writes", () => {
    const upper = id.toUpperCase()
    assert.deepStrictEqual(
      [Outgoing.sticker(upper), Outgoing.contact(upper as Ids.UserId)].map((outgoing) => [
        outgoing.problem,
        payload(outgoing)
      ]),
      [
        [undefined, `{"sticker_id":"${id}"}`],
        [undefined, `{"user_id":"${id}"}`]
      ]
    )
  })

  for (const [name, outgoing, field] of [
    ["no text", Outgoing.text(""), "the text"],
    ["a text that is too long", Outgoing.text("x".repeat(65_537)), "the text"],
    ["a post that is too long", Outgoing.post("x".repeat(65_537)), "the text"],
    ["a sticker without an id", Outgoing.sticker(""), "the sticker's id"],
    ["a contact that is no user", Outgoing.contact("x" as Ids.UserId), "the contact's user id"],
    ["a place off the earth", Outgoing.location({ longitude: 181, latitude: 0 }), "the location"],
    ["a place that a broken receiver tells", Outgoing.location({ longitude: 0, latitude: 0 }), "the location"],
    ["more than a request may hold", Outgoing.text("语".repeat(40_000)), "the content"]
  ] as const) {
    it(`refuses ${name} and names the field`, () => {
      const result = params(outgoing)
      assert(Result.isFailure(result))
      const { reason } = result.failure
      assert(reason._tag === "InvalidContent")
      assert.strictEqual(reason.field, field)
      assert.notInclude(result.failure.message, "xxx")
    })
  }
})
