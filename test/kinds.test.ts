// What the system, buttons, cards, recalls and pins are to a bot: kinds of their own, whatever year their payload is of.
import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Option } from "effect"
import { Ids, Message } from "effect-blaze"

const id = (n: number) => `44444444-4444-4444-8444-${String(n).padStart(12, "0")}`
const bot = Ids.UserId.make(id(1))
const alice = Ids.UserId.make(id(2))

const from = (category: string, payload: unknown, more: object = {}) =>
  Message.fromView({
    message_id: id(9),
    user_id: "00000000-0000-0000-0000-000000000000",
    category,
    data_base64: Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload)).toString("base64url"),
    ...more
  })

const transfer = {
  type: "transfer",
  snapshot_id: id(3),
  asset_id: id(4),
  amount: "0.1",
  opponent_id: alice,
  trace_id: id(5),
  memo: "",
  created_at: "2026-01-02T03:04:05.123456Z"
}

const snapshot = (category: string, fields: object = {}) => {
  const message = from(category, { ...transfer, ...fields })
  assert(Message.isSnapshot(message), message._tag === "Unknown" ? message.reason : message._tag)
  return message
}

describe("a snapshot", () => {
  it("of the old API, of Safe and of an inscription is one kind", () => {
    for (const category of ["SYSTEM_ACCOUNT_SNAPSHOT", "SYSTEM_SAFE_SNAPSHOT", "SYSTEM_SAFE_INSCRIPTION"]) {
      const message = snapshot(category, { inscription_hash: "abcd" })
      assert.deepStrictEqual(
        [message.snapshotId, message.assetId, message.opponentId, message.traceId, message.inscriptionHash],
        [id(3), id(4), Option.some(alice), Option.some(id(5)), Option.some("abcd")]
      )
      assert.strictEqual(message.isSafe, category !== "SYSTEM_ACCOUNT_SNAPSHOT")
      assert.isTrue(message.isSystem)
      assert.isFalse(message.isSaid)
    }
  })

  it("names the other side by either spelling, and by none for a deposit", () => {
    const { opponent_id: _, ...bare } = transfer
    for (const [fields, expected] of [
      [{ ...bare, counter_user_id: alice.toUpperCase() }, Option.some(alice)],
      [{ ...bare, opponent_id: "" }, Option.none()]
    ] as const) {
      const message = from("SYSTEM_SAFE_SNAPSHOT", fields)
      assert(Message.isSnapshot(message))
      assert.deepStrictEqual(message.opponentId, expected)
    }
  })

  it("has its amount in plain digits, however large or small, without zeros that say nothing", () => {
    for (const [amount, text] of [
      ["0.1", "0.1"],
      ["-2.50", "2.5"],
      ["10000000000000000", "10000000000000000"],
      ["1" + "0".repeat(63), "1" + "0".repeat(63)],
      ["0.00000001", "0.00000001"],
      ["100.000", "100"],
      ["0", "0"],
      ["0.000", "0"]
    ] as const) {
      assert.strictEqual(snapshot("SYSTEM_SAFE_SNAPSHOT", { amount }).amountText, text)
    }
  })

  it("keeps every digit of the amount, and tells the direction apart", () => {
    const exact = "123456789012345678901234567890.000000000000000001"
    for (const [amount, direction] of [
      [exact, "Received"],
      [`-${exact}`, "Sent"],
      ["0", "Received"]
    ] as const) {
      const message = snapshot("SYSTEM_SAFE_SNAPSHOT", { amount })
      assert.strictEqual(message.direction, direction)
      assert.isTrue(BigDecimal.equals(message.amount, BigDecimal.fromStringUnsafe(amount.replace("-", ""))))
    }
  })

  it("is Unknown where the amount is none: nothing that is not a number is one, and no exponent fills the memory", () => {
    for (const amount of ["", "1e999999999", "NaN", "Infinity", "0x10", "1,5", 1, null, "1".repeat(65)]) {
      const message = from("SYSTEM_ACCOUNT_SNAPSHOT", { ...transfer, amount })
      assert(Message.isUnknown(message), String(amount))
      assert.include(message.reason, "a payload of another form")
    }
  })

  it("has the memo as it was sent and, in Safe, as the text that it hides", () => {
    const hidden = Buffer.from("order 7").toString("hex")
    for (const [category, memo, text] of [
      ["SYSTEM_SAFE_SNAPSHOT", hidden, "order 7"],
      ["SYSTEM_SAFE_SNAPSHOT", `efbbbf${hidden}`, "\ufefforder 7"],
      ["SYSTEM_SAFE_SNAPSHOT", "ff", "ff"],
      ["SYSTEM_SAFE_SNAPSHOT", "hello", "hello"],
      ["SYSTEM_ACCOUNT_SNAPSHOT", "12345678", "12345678"],
      ["SYSTEM_SAFE_SNAPSHOT", "", ""]
    ] as const) {
      const message = snapshot(category, { memo })
      assert.deepStrictEqual([message.memo, message.memoText], [memo, text])
    }
  })
})

describe("an event of a group", () => {
  it("tells who did what to whom, and the bot apart", () => {
    const actions = ["CREATE", "ADD", "REMOVE", "JOIN", "EXIT", "ROLE", "UPDATE", "EXPIRE"]
    const told = actions.map((action) => {
      const message = from("SYSTEM_CONVERSATION", { action, participant_id: bot, user_id: alice, role: "ADMIN" })
      assert(Message.isGroupEvent(message))
      assert.isTrue(message.isAbout(bot))
      assert.isFalse(message.isAbout(alice))
      assert.deepStrictEqual([message.actorId, message.role], [Option.some(alice), Option.some("Admin")])
      return message.action
    })
    assert.deepStrictEqual(told, [
      "Created",
      "Added",
      "Removed",
      "Joined",
      "Left",
      "RoleChanged",
      "Updated",
      "ExpirationChanged"
    ])
  })

  it("takes who did it from the view where the payload names nobody, and never the system", () => {
    const payload = { action: "JOIN", participant_id: alice }
    const byAlice = from("SYSTEM_CONVERSATION", payload, { user_id: alice })
    const bySystem = from("SYSTEM_CONVERSATION", { ...payload, role: "PRESIDENT", expire_in: "60" })
    assert(Message.isGroupEvent(byAlice) && Message.isGroupEvent(bySystem))
    assert.deepStrictEqual([byAlice.actorId, bySystem.actorId], [Option.some(alice), Option.none()])
    assert.deepStrictEqual([bySystem.role, bySystem.expireIn], [Option.none(), Option.some(60)])
    for (const [role, expected] of [
      ["", "Member"],
      ["OWNER", "Owner"]
    ] as const) {
      const message = from("SYSTEM_CONVERSATION", { ...payload, role })
      assert(Message.isGroupEvent(message))
      assert.deepStrictEqual(message.role, Option.some(expected))
    }
  })

  it("of an action that is not known is Unknown, and says so", () => {
    const message = from("SYSTEM_CONVERSATION", { action: "EXPLODE" })
    assert(Message.isUnknown(message))
    assert.include(message.reason, "action")
  })
})

describe("buttons and cards", () => {
  it("has the buttons, without a colour too", () => {
    const message = from("APP_BUTTON_GROUP", [
      { label: "BTC", action: "input:/price BTC", color: "#ABABAB" },
      { label: "Docs", action: "https://example.com" }
    ])
    assert(Message.isButtons(message))
    assert.deepStrictEqual(message.buttons, [
      { label: "BTC", action: "input:/price BTC", color: Option.some("#ABABAB") },
      { label: "Docs", action: "https://example.com", color: Option.none() }
    ])
    assert.isTrue(message.isSaid)
  })

  it("reads an old card and a new one, its cover in either form", () => {
    const old = from("APP_CARD", {
      app_id: bot,
      icon_url: "https://example.com/i.png",
      title: "t",
      description: "d",
      action: "https://example.com",
      shareable: false
    })
    assert(Message.isCard(old))
    assert.deepStrictEqual(
      [old.appId, old.title, old.description, old.iconUrl, old.action, old.buttons, old.isShareable],
      [
        Option.some(bot),
        "t",
        "d",
        Option.some("https://example.com/i.png"),
        Option.some("https://example.com"),
        [],
        false
      ]
    )
    for (const cover of [{ cover_url: "https://c" }, { cover: { url: "https://c", width: 64 } }]) {
      const card = from("APP_CARD", { title: "t", ...cover, actions: [{ label: "a", color: "#fff", action: "b" }] })
      assert(Message.isCard(card))
      assert.deepStrictEqual(
        [card.coverUrl, card.action, card.buttons.length, card.isShareable],
        [Option.some("https://c"), Option.none(), 1, true]
      )
    }
  })
})

it("a card has the cover that is there, whichever of its two fields is empty", () => {
  for (const fields of [
    { cover_url: "", cover: { url: "https://c" } },
    { cover_url: "https://c", cover: { url: "" } }
  ]) {
    const card = from("APP_CARD", { title: "t", ...fields })
    assert(Message.isCard(card))
    assert.deepStrictEqual(card.coverUrl, Option.some("https://c"))
  }
})

describe("recalls and pins", () => {
  it("name their messages, and are said by nobody", () => {
    const recall = from("MESSAGE_RECALL", { message_id: id(7).toUpperCase() })
    assert(Message.isRecall(recall))
    assert.strictEqual(recall.messageId, id(7))
    const [pin, unpin] = ["PIN", "UNPIN"].map((action) => from("MESSAGE_PIN", { action, message_ids: [id(7), id(8)] }))
    assert(Message.isPin(pin!) && Message.isPin(unpin!))
    assert.deepStrictEqual([pin.isPinned, unpin.isPinned], [true, false])
    assert.deepStrictEqual(pin.messageIds.join(), [id(7), id(8)].join())
    assert.isFalse(recall.isSaid || pin.isSaid)
  })
})

describe("what does not fit", () => {
  it("is Unknown with the reason, which is short whatever was sent", () => {
    for (const [category, payload, reason] of [
      ["APP_CARD", "no JSON", "a payload that is not JSON"],
      ["APP_CARD", { description: "x".repeat(10_000) }, "a payload of another form"],
      ["APP_BUTTON_GROUP", Array.from({ length: 1000 }, () => "x".repeat(100)), "a payload of another form"],
      ["PLAIN_HOLOGRAM", "x", 'the category "PLAIN_HOLOGRAM"']
    ] as const) {
      const message = from(category, payload)
      assert(Message.isUnknown(message))
      assert.include(message.reason, reason)
      assert.isBelow(message.reason.length, 400)
    }
  })
})
