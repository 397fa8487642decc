import { assert, describe, it } from "@effect/vitest"
import { Option, Result } from "effect"
import { Message } from "effect-blaze"

const view = (category: string, payload: string | Uint8Array, more: object = {}) => ({
  message_id: "928c5c40-769c-3e97-8387-fb1ae0645311",
  category,
  data: Buffer.from(payload).toString("base64"),
  ...more
})
const from = (category: string, payload: string | Uint8Array, more: object = {}) =>
  Message.fromView(view(category, payload, more))
const contact = "773e5e77-4107-45c2-b648-8fc722ed77f5"

describe("Message", () => {
  it("reads text, from either field", () => {
    for (const more of [{}, { data: "", data_base64: "5L2g5aW9" }, { data: null, data_base64: "5L2g5aW9" }]) {
      const message = from("PLAIN_TEXT", "你好", more)
      assert(Message.isText(message))
      assert.strictEqual(message.text, "你好")
    }
  })

  it("reads the field that is sound when the other is damaged", () => {
    for (const more of [{ data_base64: "aGk=!" }, { data: "aGk=!", data_base64: "aGk" }]) {
      const message = from("PLAIN_TEXT", "hi", more)
      assert(Message.isText(message))
      assert.strictEqual(message.text, "hi")
    }
  })

  it("a text without any payload is Unknown, an empty one is a text", () => {
    const { data: _, ...bare } = view("PLAIN_TEXT", "")
    assert.isTrue(Message.isUnknown(Message.fromView(bare)))
    for (const empty of [{ data: "" }, { data_base64: "" }]) {
      const message = Message.fromView({ ...bare, ...empty })
      assert(Message.isText(message))
      assert.strictEqual(message.text, "")
    }
  })

  it("replaces bytes that are not UTF-8, and reads what is not base64 as empty", () => {
    const message = from("PLAIN_TEXT", Uint8Array.of(0x68, 0xff, 0x69))
    assert(Message.isText(message))
    assert.strictEqual(message.text, "h\uFFFDi")
    const broken = from("PLAIN_TEXT", "", { data: "not base64!" })
    assert(Message.isText(broken))
    assert.strictEqual(broken.text, "")
  })

  it("keeps the mark of byte order that stands in front of a text, and passes over it in front of JSON", () => {
    for (const category of ["PLAIN_TEXT", "PLAIN_POST"]) {
      const message = from(category, "\ufeffhi")
      assert(Message.isText(message) || Message.isPost(message))
      assert.strictEqual(message.text, "\ufeffhi")
    }
    assert.isTrue(Message.isContact(from("PLAIN_CONTACT", `\ufeff{"user_id":"${contact}"}`)))
  })

  it("reads a post, a sticker by id and by name, a contact and a location", () => {
    const post = from("PLAIN_POST", "# title")
    assert(Message.isPost(post))
    assert.strictEqual(post.text, "# title")

    const sticker = from("PLAIN_STICKER", `{"sticker_id":"${contact}"}`)
    assert(Message.isSticker(sticker))
    assert.deepStrictEqual([sticker.stickerId, sticker.name], [Option.some(contact), Option.none()])

    const legacy = from("PLAIN_STICKER", '{"name":"cat","album_id":"animals"}')
    assert(Message.isSticker(legacy))
    assert.deepStrictEqual([legacy.name, legacy.albumId], [Option.some("cat"), Option.some("animals")])

    const card = from("PLAIN_CONTACT", `{"user_id":"${contact}"}`)
    assert(Message.isContact(card))
    assert.strictEqual(card.userId, contact)

    const place = from("PLAIN_LOCATION", '{"longitude":8.5,"latitude":47.4,"name":"Zürich","address":null}')
    assert(Message.isLocation(place))
    assert.deepStrictEqual(
      [place.longitude, place.latitude, place.name, place.address],
      [8.5, 47.4, Option.some("Zürich"), Option.none()]
    )
  })

  it("reads numbers in text, passes over an odd name, and lowers ids", () => {
    const place = from("PLAIN_LOCATION", '{"longitude":"8.5","latitude":" -47.4","name":7,"address":"x"}')
    assert(Message.isLocation(place))
    assert.deepStrictEqual(
      [place.longitude, place.latitude, place.name, place.address],
      [8.5, -47.4, Option.none(), Option.some("x")]
    )
    const card = from("PLAIN_CONTACT", `{"user_id":"${contact.toUpperCase()}"}`)
    assert(Message.isContact(card))
    assert.strictEqual(card.userId, contact)
    const sticker = from("PLAIN_STICKER", `{"sticker_id":"${contact.toUpperCase()}"}`)
    assert(Message.isSticker(sticker))
    assert.deepStrictEqual(sticker.stickerId, Option.some(contact))
    const legacy = from("PLAIN_STICKER", `{"name":"Cat","album_id":"${contact.toUpperCase()}"}`)
    assert(Message.isSticker(legacy))
    assert.deepStrictEqual([legacy.name, legacy.albumId], [Option.some("Cat"), Option.some(contact)])
  })

  it("what is encrypted is unknown until it is decrypted, and then of the kind that is inside", () => {
    for (const [category, plain] of [
      ["ENCRYPTED_TEXT", "PLAIN_TEXT"],
      ["ENCRYPTED_FUTURE", "PLAIN_FUTURE"]
    ] as const) {
      const message = from(category, Uint8Array.of(1, 2))
      assert(Message.isUnknown(message))
      assert.isTrue(message.isEncrypted)
      assert.strictEqual(message.plainCategory, plain)
      assert.deepStrictEqual([...message.bytes], [])
      const opened = Message.decrypted(message, Result.succeed(new TextEncoder().encode("hi")))
      assert.strictEqual(opened._tag, plain === "PLAIN_TEXT" ? "Text" : "Unknown")
      assert.deepStrictEqual([opened.isEncrypted, opened.category, opened.view], [true, category, message.view])
      assert.strictEqual(new TextDecoder().decode(opened.bytes), "hi")
      const refused = Message.decrypted(opened, Result.fail("it is cut short"))
      assert(Message.isUnknown(refused))
      assert.deepStrictEqual([refused.reason, refused.bytes.length], ["it is cut short", 0])
    }
    const image = from("PLAIN_TEXT", "")
    assert.deepStrictEqual([image.isEncrypted, image.plainCategory], [false, "PLAIN_TEXT"])
    assert.isFalse(from("NOT_ENCRYPTED_TEXT", "").isEncrypted)
  })

  it("tells notices of the system, what somebody said, and what neither is", () => {
    const kinds = (category: string) => {
      const { isSaid, isSystem } = from(category, "")
      return { isSaid, isSystem }
    }
    for (const category of [
      "SYSTEM_ACCOUNT_SNAPSHOT",
      "SYSTEM_SAFE_SNAPSHOT",
      "SYSTEM_CONVERSATION",
      "SYSTEM_FUTURE"
    ]) {
      assert.deepStrictEqual(kinds(category), { isSaid: false, isSystem: true }, category)
    }
    for (const category of ["PLAIN_TEXT", "PLAIN_IMAGE", "PLAIN_JSONP", "ENCRYPTED_TEXT", "APP_CARD", "FUTURE_TEXT"]) {
      assert.deepStrictEqual(kinds(category), { isSaid: true, isSystem: false }, category)
    }
    for (const category of [
      "MESSAGE_RECALL",
      "MESSAGE_PIN",
      "PLAIN_JSON",
      "ENCRYPTED_JSON",
      "SIGNAL_KEY",
      "WEBRTC_AUDIO_OFFER",
      "KRAKEN_PUBLISH",
      ""
    ]) {
      assert.deepStrictEqual(kinds(category), { isSaid: false, isSystem: false }, category)
    }
  })

  for (const [category, payload] of [
    ["PLAIN_FUTURE", "x"],
    ["", ""],
    ["PLAIN_CONTACT", "not json"],
    ["PLAIN_CONTACT", '{"user_id":"not a uuid"}'],
    ["PLAIN_STICKER", "{}"],
    ["PLAIN_LOCATION", '{"longitude":"","latitude":47}'],
    ["PLAIN_LOCATION", '{"longitude":"8 E","latitude":47}'],
    ["PLAIN_LOCATION", "null"]
  ] as const) {
    it(`${category} with ${payload || "nothing"} is Unknown, with its bytes`, () => {
      const message = from(category, payload)
      assert(Message.isUnknown(message))
      assert.strictEqual(Buffer.from(message.bytes).toString(), payload)
    })
  }

  it("takes empty, null and absent fields alike", () => {
    for (const quoted of [{}, { quote_message_id: "" }, { quote_message_id: null }]) {
      assert.deepStrictEqual(from("PLAIN_TEXT", "x", quoted).quotedMessageId, Option.none())
    }
  })

  it("the sender is whom the app represents, else the user", () => {
    assert.strictEqual(from("PLAIN_TEXT", "x", { user_id: "a", representative_id: "" }).senderId, "a")
    assert.strictEqual(from("PLAIN_TEXT", "x", { user_id: "a", representative_id: "b" }).senderId, "b")
  })

  it("keeps the time as it came, and knows the backlog", () => {
    const created_at = "2026-01-01T00:00:00.123456789Z"
    const message = from("PLAIN_TEXT", "x", { created_at, source: "LIST_PENDING_MESSAGES" })
    assert.strictEqual(message.createdAt, created_at)
    assert.isTrue(message.fromBacklog)
    assert.isFalse(from("PLAIN_TEXT", "x", { source: "CREATE_MESSAGE" }).fromBacklog)
  })
})
