import { assert, describe, it } from "@effect/vitest"
import { Option, Result } from "effect"
import { Button, Ids, Message, Outgoing, Settings } from "effect-blaze"
import { seeded } from "./support.ts"

const id = "773e5e77-4107-45c2-b648-8fc722ed77f5"
const address = {
  botId: Ids.UserId.make(id),
  conversationId: Ids.ConversationId.make(id),
  messageId: Ids.MessageId.make(id)
}
const params = (outgoing: Outgoing.Outgoing) => Outgoing.toParams(outgoing, address)
const payload = (outgoing: Outgoing.Outgoing) => Buffer.from(outgoing.dataBase64, "base64url").toString()

const sentPayload = (outgoing: Outgoing.Outgoing) => {
  const { data_base64 } = Result.getOrThrow(params(outgoing)) as { readonly data_base64: string }
  return JSON.parse(Buffer.from(data_base64, "base64url").toString())
}

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

describe("buttons and cards", () => {
  const group = [
    Button.say("BTC", "/price BTC"),
    Button.open("Docs", "https://example.com", { color: "#ABCDEF" }),
    Button.pay({ label: "Pay", recipient: id, asset: id, amount: "0.10" })
  ]

  it("writes what Mixin's clients write", () => {
    assert.deepStrictEqual(JSON.parse(payload(Outgoing.buttons(group))), [
      { label: "BTC", color: "#3D75E3", action: "input:/price BTC" },
      { label: "Docs", color: "#ABCDEF", action: "https://example.com" },
      { label: "Pay", color: "#3D75E3", action: `https://mixin.one/pay/${id}?asset=${id}&amount=0.1` }
    ])
    const old = Outgoing.card({
      title: "t",
      description: "d",
      iconUrl: "https://example.com/i.png",
      action: "https://example.com"
    })
    assert.deepStrictEqual(sentPayload(old), {
      app_id: id,
      title: "t",
      description: "d",
      icon_url: "https://example.com/i.png",
      action: "https://example.com"
    })
    const card = Outgoing.card({
      title: "t",
      description: "d",
      coverUrl: "https://example.com/c.png",
      buttons: group.slice(0, 1),
      shareable: false
    })
    assert.deepStrictEqual(sentPayload(card), {
      app_id: id,
      title: "t",
      description: "d",
      cover_url: "https://example.com/c.png",
      actions: [{ label: "BTC", color: "#3D75E3", action: "input:/price BTC" }],
      shareable: false
    })
  })

  it("names what is wrong with them, and knows the limits of the settings", () => {
    const button = (label: string) => Button.say(label, "x")
    const many = (count: number) => Outgoing.buttons(Array.from({ length: count }, (_, n) => button(String(n))))
    for (const [outgoing, field] of [
      [Outgoing.buttons([]), "the buttons"],
      [many(19), "the buttons"],
      [Outgoing.buttons([button("")]), "a button's label"],
      [Outgoing.buttons([button("x".repeat(37))]), "a button's label"],
      [Outgoing.buttons([Button.say("a", " ")]), "what a button says"],
      [Outgoing.buttons([Button.say("a", "b", { color: "red" })]), "a button's colour"],
      [Outgoing.buttons([Button.open("a", "javascript:alert(1)")]), "a button's address"],
      [Outgoing.buttons([Button.open("a", " https://e.com")]), "a button's address"],
      [Outgoing.card({ title: "x", description: "", iconUrl: "https://e.com", action: "https:e.com" }), "the action"],
      [Outgoing.buttons([Button.pay({ label: "a", recipient: id, asset: id, amount: "0" })]), "the amount"],
      [Outgoing.card({ title: "", description: "" }), "the title"],
      [Outgoing.card({ title: "x".repeat(129), description: "" }), "the title"],
      [Outgoing.card({ title: "x", description: "x".repeat(1025) }), "the description"],
      [Outgoing.card({ title: "x", description: "", coverUrl: "x.png" }), "the cover's address"],
      [Outgoing.card({ title: "x", description: "", iconUrl: "x", action: "https://e.com" }), "the icon's address"],
      [Outgoing.card({ title: "x", description: "", buttons: [button("")] }), "a button's label"]
    ] as const) {
      const failed = params(outgoing)
      assert(Result.isFailure(failed), field)
      assert.include(failed.failure.message, `Cannot send this: ${field} must be`)
    }
    assert.isTrue(Result.isSuccess(params(many(18))))
    assert.isTrue(Result.isFailure(Outgoing.toParams(many(7), address, { ...Settings.defaults, maximumButtons: 6 })))
  })

  it("are what was sent when they come back", () => {
    const there = (outgoing: Outgoing.Outgoing) => {
      const { category, data_base64 } = Result.getOrThrow(params(outgoing)) as Record<string, string>
      return Message.fromView({ message_id: id, category: category!, data_base64: data_base64! })
    }
    const buttons = there(Outgoing.buttons(group))
    assert(Message.isButtons(buttons))
    assert.deepStrictEqual(
      buttons.buttons.map(({ action, label }) => [label, action]),
      group.map(({ action, label }) => [label, action])
    )
    const card = there(Outgoing.card({ title: "t", description: "d", buttons: group }))
    assert(Message.isCard(card))
    assert.deepStrictEqual([card.title, card.description, card.buttons.length], ["t", "d", 3])
    assert.deepStrictEqual(card.appId, Option.some(address.botId))
  })
})

describe("forward", () => {
  const arrived = (category: string, payload: string, more: object = {}) =>
    Message.fromView({ message_id: id, category, data: Buffer.from(payload).toString("base64"), ...more })

  it("passes on what arrived, read or not, with the message that it quotes", () => {
    const image = arrived("PLAIN_IMAGE", '{"attachment_id":"x?>"}', { quote_message_id: id })
    const outgoing = Outgoing.forward(image)
    assert.deepInclude(Result.getOrThrow(params(outgoing)), {
      category: "PLAIN_IMAGE",
      data_base64: Buffer.from('{"attachment_id":"x?>"}').toString("base64url"),
      quote_message_id: id
    })
    const other = Ids.MessageId.make("11111111-1111-4111-8111-111111111111")
    assert.strictEqual(Outgoing.forward(image, { quote: other }).quotedMessageId, other)
    assert.isUndefined(Outgoing.forward(image, { quote: undefined }).quotedMessageId)
    assert.strictEqual(Outgoing.forward(image, { silent: true }).quotedMessageId, id)
  })

  it("refuses what a bot may not send, and what could not be decrypted, and says why", () => {
    for (const category of [
      "SYSTEM_CONVERSATION",
      "ENCRYPTED_TEXT",
      "MESSAGE_RECALL",
      "PLAIN_JSON",
      "SIGNAL_TEXT",
      ""
    ]) {
      assert.isTrue(Result.isFailure(params(Outgoing.forward(arrived(category, "x")))), category)
    }
    const refused = (category: string) => Outgoing.forward(arrived(category, "x")).problem?.message
    assert.strictEqual(
      refused("ENCRYPTED_TEXT"),
      'Cannot send this: what is passed on must be one that this bot can read, and of "ENCRYPTED_TEXT" it cannot: it is encrypted, and was not decrypted.'
    )
    const opened = Message.decrypted(arrived("ENCRYPTED_TEXT", "x"), Result.succeed(new TextEncoder().encode("secret")))
    const passed = Outgoing.forward(opened)
    assert.deepStrictEqual([passed.category, payload(passed), passed.problem], ["PLAIN_TEXT", "secret", undefined])
    const future = Message.decrypted(arrived("ENCRYPTED_JSON", "x"), Result.succeed(Uint8Array.of(1)))
    assert.match(Outgoing.forward(future).problem!.message, /of a kind that a bot may send, and it is "ENCRYPTED_JSON"/)
    assert.match(refused("MESSAGE_RECALL")!, /of a kind that a bot may send, and it is "MESSAGE_RECALL"/)
    for (const category of ["PLAIN_TEXT", "PLAIN_LIVE", "PLAIN_SOMETHING_NEW", "APP_CARD", "APP_BUTTON_GROUP"]) {
      assert.isTrue(Result.isSuccess(params(Outgoing.forward(arrived(category, "x")))), category)
    }
  })
})

describe("split", () => {
  const texts = (content: string, maximumLength?: number) => Outgoing.split(content, { maximumLength }).map(payload)

  it("cuts after a paragraph, a line, a sentence or a word, whichever is there", () => {
    assert.deepStrictEqual(texts("one two.\n\nthree four", 15), ["one two.", "three four"])
    assert.deepStrictEqual(texts("one two\nthree four", 15), ["one two", "three four"])
    assert.deepStrictEqual(texts("One two. Three four", 15), ["One two.", "Three four"])
    assert.deepStrictEqual(texts("one two three four", 15), ["one two three", "four"])
    assert.deepStrictEqual(texts("onetwothreefour", 5), ["onetw", "othre", "efour"])
    assert.deepStrictEqual(texts("你好。世界。再见", 6), ["你好。世界。", "再见"])
    assert.deepStrictEqual(texts("  "), [])
    assert.deepStrictEqual(texts("short"), ["short"])
  })

  it("loses nothing but white space at the cuts, halves no character, and every part can be sent", () => {
    const random = seeded(7)
    const alphabet = ["a", "\n", "\n\n", ". ", " ", "好", "👍", "e\u0301"]
    for (let round = 0; round < 300; round++) {
      const length = Math.floor(random() * 60)
      const content = Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]!).join("")
      const maximumLength = 2 + Math.floor(random() * 20)
      const parts = Outgoing.split(content, { maximumLength })
      assert.strictEqual(parts.map(payload).join("").replace(/\s/g, ""), content.replace(/\s/g, ""))
      for (const [index, part] of parts.entries()) {
        assert.isAtMost(payload(part).length, maximumLength)
        assert.isTrue(Result.isSuccess(params(part)))
        assert.strictEqual(part.part, index + 1)
      }
    }
    const long = "好".repeat(200_000)
    const parts = Outgoing.split(long)
    assert.strictEqual(parts.map(payload).join(""), long)
    assert.isTrue(parts.every((part) => Result.isSuccess(params(part))))
  })
})
