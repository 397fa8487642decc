// How a message leaves, over a way that takes whatever it is given.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream, SubscriptionRef } from "effect"
import { Attachments, BlazeError, Conversations, Ids, Message, MixinApi, Outgoing, Quota, Signer } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { HttpClient } from "effect/http"
import * as Meter from "../src/internal/Meter.ts"
import * as Sending from "../src/internal/Sending.ts"
import { lines } from "./support.ts"

const botId = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
const alice = Ids.UserId.make("773e5e77-4107-45c2-b648-8fc722ed77f5")
const group = Ids.ConversationId.make("8d7f6e5c-1a2b-4c3d-9e8f-000000000000")
const ownId = Ids.MessageId.make("3f2b1c4d-9a8e-4c6b-8d7f-000000000001")

type Params = Readonly<Record<string, unknown>>

const nobody = Effect.die(new Error("Nobody is asked for that."))

const scene = Effect.fnUntraced(function* ({ hasMet = true, waits = false } = {}) {
  const sent: Array<Params> = []
  const batches: Array<ReadonlyArray<Params>> = []
  const places: Array<string> = []
  const contacts: Array<string> = []
  const measured: Array<string> = []
  const knobs = { refusal: undefined as BlazeError.BlazeError | undefined, furthers: 0 }
  const taken = (): Effect.Effect<void, BlazeError.BlazeError> =>
    knobs.refusal === undefined ? Effect.void : Effect.fail(knobs.refusal)
  const unused = new Proxy({}, { get: () => () => nobody }) as Conversations.Conversations["Service"]
  const log = lines()
  const sending = yield* Sending.make.pipe(
    Effect.provideService(Sending.Transport, {
      ready: Effect.void,
      sendNow: (_, params, further) =>
        Effect.suspend(() => {
          sent.push(params as Params)
          return Effect.andThen(knobs.furthers-- > 0 ? further : Effect.void, taken())
        })
    }),
    Effect.provideService(Conversations.Conversations, {
      ...unused,
      hasMet: () => hasMet,
      createContact: (user) => Effect.sync(() => (contacts.push(user), group))
    }),
    Effect.provideService(MixinApi.MixinApi, {
      request: (_, { payload }) =>
        Effect.suspend(() => {
          batches.push(payload as ReadonlyArray<Params>)
          return taken() as Effect.Effect<never, BlazeError.BlazeError>
        }),
      client: HttpClient.make(() => nobody),
      files: { get: () => nobody, put: () => nobody },
      serverTime: Effect.succeedNone,
      host: yield* SubscriptionRef.make("test")
    }),
    Effect.provideService(Attachments.Attachments, {
      upload: () => Stream.fromEffect(nobody),
      download: () => Stream.fromEffect(nobody),
      inspect: () => nobody,
      identify: () => nobody
    }),
    Effect.provideService(Quota.Quota, {
      take: (_, kind, count) => Effect.sync(() => (places.push(`${kind} ${count}`), waits)),
      maximumBatch: 100
    }),
    Effect.provideService(Signer.Signer, { userId: botId, token: () => Effect.succeed(Redacted.make("")) }),
    Effect.provideService(Meter.Meter, {
      measure: ({ id }, value, label = "") => void measured.push(`${id} ${label} ${value}`.replace(/ +/g, " ")),
      now: () => 0
    }),
    Effect.provide(BlazeTest.layerPlatform)
  )
  return { batches, contacts, knobs, logs: log, measured, places, sending, sent }
})

const said = (conversationId: string, userId: string | undefined = alice, n = 1) =>
  Message.fromView({
    message_id: `3f2b1c4d-9a8e-4c6b-8d7f-1000000000${String(n).padStart(2, "0")}`,
    conversation_id: conversationId,
    ...(userId === undefined ? {} : { user_id: userId }),
    category: "PLAIN_TEXT",
    data: "aGk"
  })

const inGroup = { conversation: group }

describe("the id of an answer", () => {
  it.effect("is of the message, of where it goes and of what is in it", () =>
    Effect.gen(function* () {
      const { sending } = yield* scene()
      const question = said(group)
      const answer = (content: Outgoing.Content, to = group, message = question) =>
        sending.answer(message, { conversation: to }, content, undefined)
      const first = yield* answer("yes")
      assert.strictEqual(yield* answer("yes"), first)
      const elsewhere = Ids.ConversationId.make("8d7f6e5c-1a2b-4c3d-9e8f-000000000001")
      const others = yield* Effect.all([
        answer("no"),
        answer("yes", elsewhere),
        answer("yes", group, said(group, alice, 2)),
        answer(Outgoing.post("yes")),
        answer(Outgoing.text("yes", { representative: alice })),
        answer(Outgoing.text("yes", { representative: botId }))
      ])
      assert.strictEqual(new Set([first, ...others]).size, 7)
    })
  )

  it.effect("of a side effect is of the message, or of the bot, and of a name", () =>
    Effect.gen(function* () {
      const { sending } = yield* scene()
      const ids = yield* Effect.all([
        sending.derive(said(group), "order"),
        sending.derive(said(group), "receipt"),
        sending.derive(said(group, alice, 2), "order"),
        sending.deriveFor("order"),
        sending.deriveFor("order", "1")
      ])
      assert.strictEqual(new Set(ids).size, 5)
      assert.strictEqual(yield* sending.derive(said(group), "order"), ids[0])
      assert.strictEqual(yield* sending.deriveFor("order"), ids[3])
    })
  )

  it.effect("is that of its key, where it has one, whatever is in it and for whom", () =>
    Effect.gen(function* () {
      const { sending } = yield* scene()
      const answer = (content: Outgoing.Content, key: string) => sending.answer(said(group), inGroup, content, { key })
      const ids = yield* Effect.all([
        answer("yes", "a"),
        answer("no", "a"),
        answer(Outgoing.text("yes", { representative: alice }), "a")
      ])
      assert.strictEqual(new Set(ids).size, 1)
      assert.notStrictEqual(yield* answer("yes", "b"), ids[0])
    })
  )

  it.effect("is one for each part of a text, from its first on", () =>
    Effect.gen(function* () {
      const { sending, sent } = yield* scene()
      const parts = Outgoing.split("ha\n\nha\n\nha", { maximumLength: 2 })
      const all = [...parts, Outgoing.text("ha")]
      const answers = (options?: { readonly id: Ids.MessageId }) =>
        Effect.forEach(all, (part) => sending.answer(said(group), inGroup, part, options))
      const ids = yield* answers()
      assert.strictEqual(new Set(ids).size, 4)
      assert.deepStrictEqual(yield* answers(), ids)
      // With an id of the program's own the first part has it, and so has what has no parts.
      const own = yield* answers({ id: ownId })
      assert.deepStrictEqual([own[0], own[3]], [ownId, ownId])
      assert.strictEqual(new Set(own).size, 3)
      assert.deepStrictEqual(yield* answers({ id: ownId }), own)
      assert.deepStrictEqual(
        sent.slice(-4).map(({ message_id }) => message_id),
        own
      )
    })
  )
})

describe("what is sent", () => {
  it.effect("is known by its id before it goes: one of the program's own, or a new one each time", () =>
    Effect.gen(function* () {
      const { sending, sent } = yield* scene()
      const begun: Array<string> = []
      const send = (id: Ids.MessageId | undefined) =>
        sending.send(inGroup, "hi", id, (id) => {
          assert.strictEqual(sent.length, begun.length)
          begun.push(id)
        })
      const ids = [yield* send(ownId), yield* send(undefined), yield* send(undefined)]
      assert.strictEqual(ids[0], ownId)
      assert.strictEqual(new Set(ids).size, 3)
      assert.deepStrictEqual(begun, ids)
      assert.strictEqual(yield* sending.idOf("hi", ownId), ownId)
      assert.notStrictEqual(yield* sending.idOf("hi", undefined), yield* sending.idOf("hi", undefined))
    })
  )

  it.effect("to somebody who was never met waits until their conversation is made", () =>
    Effect.gen(function* () {
      for (const hasMet of [true, false]) {
        const { contacts, sending, sent } = yield* scene({ hasMet })
        yield* sending.send(inGroup, "hi", undefined)
        const contact = yield* sending.conversationOf({ user: alice })
        // Who is answered has written there.
        yield* sending.answer(said(contact), { user: alice }, "hi", undefined)
        assert.deepStrictEqual(contacts, [])
        yield* sending.send({ user: alice }, "hi", undefined)
        yield* sending.answer(said(group), { user: alice }, "hi", undefined)
        assert.deepStrictEqual(contacts, hasMet ? [] : [alice, alice])
        assert.strictEqual(sent.length, 4)
      }
    })
  )

  it.effect("names whom it is for between two, and is remembered where it went to a group", () =>
    Effect.gen(function* () {
      const { batches, sending, sent } = yield* scene()
      const contact = yield* sending.conversationOf({ user: alice })
      const toContact = { conversation: contact }
      const none = "none"
      const answers: ReadonlyArray<[Message.Message, Parameters<typeof sending.answer>[1], string]> = [
        [said(contact), { user: alice }, alice],
        [said(contact), toContact, alice],
        // Of what nobody has said the sender is not known, and a conversation with somebody else is not theirs.
        [said(contact, ""), toContact, none],
        [said(contact, botId), toContact, none],
        [said(group), toContact, none],
        [said(group), inGroup, none]
      ]
      for (const [message, to, recipient] of answers) {
        const id = yield* sending.answer(message, to, "hi", undefined)
        assert.strictEqual(sent.at(-1)!["recipient_id"] ?? none, recipient)
        assert.strictEqual(sending.hasSent(id), recipient === none)
      }
      for (const to of [{ user: alice }, inGroup]) {
        yield* sending.send(to, "hi", undefined)
        yield* sending.sendBatch([{ to, content: "hi", id: ownId }])
        const recipients = [sent.at(-1), batches.at(-1)![0]].map((params) => params!["recipient_id"])
        assert.deepStrictEqual(recipients, "user" in to ? [alice, alice] : [undefined, undefined])
      }
    })
  )

  it.effect("takes one place in the quota, one more for each further time, and is counted by what came of it", () =>
    Effect.gen(function* () {
      const { knobs, measured, places, sending } = yield* scene({ waits: true })
      yield* sending.send(inGroup, "hi", undefined)
      knobs.furthers = 1
      yield* sending.answer(said(group), inGroup, "hi", undefined)
      assert.deepStrictEqual(places, ["announcement 1", "answer 1", "answer 1"])
      const waits = measured.filter((line) => line.startsWith("blaze_send_waits"))
      assert.strictEqual(waits.length, 3)
      knobs.refusal = BlazeError.fromApi({ code: 20140 })
      yield* Effect.flip(sending.send(inGroup, "hi", undefined))
      assert.deepStrictEqual(
        measured.filter((line) => line.startsWith("blaze_sends")),
        ["blaze_sends_total Success 1", "blaze_sends_total Success 1", "blaze_sends_total Failure 1"]
      )
    })
  )

  it.effect("does not wait, and says so, where the quota has room", () =>
    Effect.gen(function* () {
      const { measured, sending } = yield* scene()
      yield* sending.send(inGroup, "hi", undefined)
      assert.isFalse(measured.some((line) => line.startsWith("blaze_send_waits")))
    })
  )

  it.effect("is doubted once, where Mixin's pages disagree", () => {
    const log = lines()
    return Effect.gen(function* () {
      const { sending, sent } = yield* scene()
      const card = (length: number) =>
        Outgoing.card({
          iconUrl: "https://example.com/icon.png",
          action: "https://example.com",
          title: "t".repeat(length),
          description: "what it is about"
        })
      yield* sending.send(inGroup, card(36), undefined)
      assert.deepStrictEqual(log.all, [])
      yield* sending.send(inGroup, card(37), undefined)
      yield* sending.send(inGroup, card(38), undefined)
      assert.strictEqual(log.all.length, 1)
      assert.include(log.all[0]!, "In what is sent, the title should be at most 36")
      assert.strictEqual(sent.length, 3)
    }).pipe(Effect.provide(log.layer))
  })

  it.effect("later breaks no limit by then: that is looked at when it is prepared", () =>
    Effect.gen(function* () {
      const { sending } = yield* scene()
      const prepared = yield* sending.prepare("hi", ownId)
      assert.strictEqual(prepared.category, "PLAIN_TEXT")
      const error = yield* Effect.flip(sending.prepare("", ownId))
      assert.strictEqual(error.reason._tag, "InvalidContent")
    })
  )
})

describe("a batch", () => {
  const messages = (...lengths: ReadonlyArray<number>) =>
    lengths.map((length, n) => ({
      to: inGroup,
      content: Outgoing.text("x".repeat(length)),
      id: Ids.MessageId.make(`3f2b1c4d-9a8e-4c6b-8d7f-${String(n).padStart(12, "0")}`)
    }))

  it.effect("is one request, with places in the quota for all of it", () =>
    Effect.gen(function* () {
      const { batches, measured, places, sending } = yield* scene()
      const ids = yield* sending.sendBatch(messages(1, 2, 3))
      assert.deepStrictEqual(
        batches.map((batch) => batch.map(({ message_id }) => message_id)),
        [[...ids]]
      )
      assert.deepStrictEqual([places, measured], [["announcement 3"], ["blaze_sends_total Success 3"]])
    })
  )

  it.effect("of more than a hundred, or of more than 127 KiB as sent, is none", () =>
    Effect.gen(function* () {
      const { batches, sending } = yield* scene()
      const refused = Effect.fnUntraced(function* (...lengths: ReadonlyArray<number>) {
        const before = batches.length
        const error = yield* Effect.flip(sending.sendBatch(messages(...lengths)))
        assert.include(error.message, "at most 100 messages, of 128 KiB together")
        assert.strictEqual(batches.length, before)
      })
      const hundred = Array.from({ length: 100 }, () => 1)
      yield* sending.sendBatch(messages(...hundred))
      yield* refused(...hundred, 1)

      const limit = 127 * 1024
      const sizeOf = Effect.fnUntraced(function* (...lengths: ReadonlyArray<number>) {
        yield* sending.sendBatch(messages(...lengths))
        return JSON.stringify(batches.at(-1)).length
      })
      const encoded = (length: number) => Math.ceil((length * 4) / 3)
      const rest = limit - (yield* sizeOf(45_000, 42_000, 3)) + encoded(3) + encoded(42_000)
      const exact = [42_000, 42_001].flatMap((second) =>
        [3, 4, 5].map(
          (third) => [Math.floor(((rest - encoded(second) - encoded(third)) * 3) / 4), second, third] as const
        )
      )
      const [more, second, third] = exact.find(
        ([more, second, third]) => more % 3 === 0 && encoded(more) + encoded(second) + encoded(third) === rest
      )!
      assert.strictEqual(yield* sizeOf(45_000 + more, second, third), limit)
      yield* refused(45_000 + more, second, third + 1)
    })
  )

  it.effect("in somebody's name says which permission it may lack", () =>
    Effect.gen(function* () {
      const { knobs, sending } = yield* scene()
      knobs.refusal = BlazeError.fromApi({ code: 403 })
      const [first] = messages(1)
      const plain = yield* Effect.flip(sending.sendBatch([first!]))
      const content = Outgoing.text("x", { representative: alice })
      const represented = yield* Effect.flip(sending.sendBatch([first!, { ...first!, content }]))
      assert.notInclude(plain.message, "MESSAGES:REPRESENT")
      assert.include(represented.message, "MESSAGES:REPRESENT")
    })
  )
})
