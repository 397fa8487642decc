// The rest of the REST API, as the built-in server plays it: in memory and over the network.
import { assert, describe, it } from "@effect/vitest"
import { NodeHttpClient } from "@effect/platform-node"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { Blaze, BlazeError, BlazeSocket, Endpoint, Ids, MixinApi, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { HttpBody, HttpClientRequest, UrlParams } from "effect/http"
import { both, memoryServer, scene } from "./faces.ts"

const rest = Effect.gen(function* () {
  const found = yield* scene
  const context = yield* Layer.build(found.api)
  const { client, request } = Context.get(context, MixinApi.MixinApi)
  /** What a request is answered, whatever it carries. */
  const post = (path: string, payload: unknown) =>
    client
      .post(path, { body: HttpBody.text(JSON.stringify(payload), "application/json") })
      .pipe(Effect.flatMap((answer) => answer.json as Effect.Effect<Answer, unknown>))
  return { ...found, http: client, request, post }
})

interface Answer {
  readonly data?: Record<string, unknown>
  readonly error?: { readonly code: number; readonly extra?: string }
}

const refusalOf = ({ error }: Answer) => [error?.code, error?.extra]

const codeOf = (error: BlazeError.BlazeError) =>
  error.reason._tag === "ApiFailure" ? error.reason.code : error.message

const group = Ids.ConversationId.make("11111111-1111-4111-8111-111111111111")
const stranger = Ids.UserId.make("99999999-9999-4999-8999-999999999999")
const groupOf = (...people: ReadonlyArray<BlazeServer.Person>) => ({
  category: "GROUP" as const,
  conversation_id: group,
  name: "a group",
  participants: people.map(({ userId }) => ({ user_id: userId }))
})

/** With a look at what the bot was told of its groups, which it has to be told so often and no oftener. */
const listed = Effect.gen(function* () {
  const found = yield* rest
  const events = Effect.fnUntraced(function* (count: number) {
    assert.strictEqual((yield* found.bot.pending).length, count)
    const wire = yield* Effect.flatMap(BlazeSocket.BlazeSocket, (socket) => socket.open)
    yield* wire.send({ id: crypto.randomUUID(), action: "LIST_PENDING_MESSAGES" })
    const [, ...notices] = yield* Stream.runCollect(Stream.take(wire.envelopes, 1 + count))
    return notices.map(({ data }) => {
      const { data: payload, user_id } = data as { readonly data: string; readonly user_id: string }
      const event: Readonly<Record<string, unknown>> = { ...JSON.parse(atob(payload)), speaker: user_id }
      return event
    })
  })
  return { ...found, events: (count: number) => events(count).pipe(Effect.scoped, Effect.provide(found.socket)) }
})

describe("the bot's own profile", () => {
  both(
    "is changed piece by piece, and is what everybody sees then",
    Effect.gen(function* () {
      const { bot, request } = yield* rest
      const before = yield* request(Endpoint.me, {})
      assert.deepInclude(before, { relationship: "ME", session_id: bot.sessionId, fiat_currency: "USD" })
      yield* request(Endpoint.updateMe, { payload: { full_name: "Tea", avatar_base64: "aGVsbG8=" } })
      yield* request(Endpoint.updateMe, { payload: { biography: "sells tea" } })
      yield* request(Endpoint.preferences, { payload: { fiat_currency: "EUR" } })
      const after = yield* request(Endpoint.me, {})
      assert.deepInclude(after, { full_name: "Tea", biography: "sells tea", fiat_currency: "EUR" })
      assert.strictEqual(after.accept_search_source, before.accept_search_source)
      assert.match(after.avatar_url!, /aGVsbG8=$/)
      assert.strictEqual((yield* request(Endpoint.user, { path: { id: bot.userId } })).full_name, "Tea")
      assert.deepStrictEqual(yield* request(Endpoint.safeMe, {}), after)
      assert.strictEqual(codeOf(yield* Effect.flip(request(Endpoint.updateMe, { payload: { full_name: "" } }))), 10002)
    })
  )

  both(
    "has a code that is another one when it is asked for anew",
    Effect.gen(function* () {
      const { request } = yield* rest
      const { code_id: first } = yield* request(Endpoint.me, {})
      const { code_id: second, code_url } = yield* request(Endpoint.rotateMyCode, {})
      assert.notStrictEqual(first, second)
      assert.strictEqual(code_url, `https://mixin.one/codes/${second}`)
      assert.strictEqual((yield* request(Endpoint.me, {})).code_id, second)
    })
  )
})

describe("relationships", () => {
  both(
    "make friends, strangers and blocked people, whose words do not come",
    Effect.gen(function* () {
      const { alice, bot, request, server } = yield* rest
      const bob = yield* server.user(bot, "bob")
      const relate = (action: "ADD" | "REMOVE" | "BLOCK" | "UNBLOCK", user_id = alice.userId) =>
        request(Endpoint.relationships, { payload: { user_id, action } })
      const names = (endpoint: typeof Endpoint.friends | typeof Endpoint.blockedUsers) =>
        Effect.map(request<string, never, ReadonlyArray<Endpoint.User>>(endpoint, {}), (users) =>
          users.map(({ full_name }) => full_name)
        )
      assert.deepStrictEqual(yield* names(Endpoint.friends), ["alice", "bob"])
      assert.strictEqual((yield* relate("BLOCK")).relationship, "BLOCKING")
      assert.deepStrictEqual(yield* names(Endpoint.friends), ["bob"])
      assert.deepStrictEqual(yield* names(Endpoint.blockedUsers), ["alice"])
      yield* alice.say("do you hear me?")
      const heard = yield* bob.say("I am heard")
      assert.deepStrictEqual(yield* bot.pending, [heard])
      assert.strictEqual((yield* relate("UNBLOCK")).relationship, "STRANGER")
      assert.strictEqual((yield* relate("ADD")).relationship, "FRIEND")
      assert.strictEqual((yield* relate("UNBLOCK")).relationship, "FRIEND")
      assert.strictEqual((yield* relate("REMOVE")).relationship, "STRANGER")
      assert.deepStrictEqual(yield* names(Endpoint.friends), ["bob"])
      assert.strictEqual(codeOf(yield* Effect.flip(relate("ADD", stranger))), 404)
    })
  )
})

describe("other bots", () => {
  both(
    "are strangers, and are found as who they are",
    Effect.gen(function* () {
      const { bot, request, server } = yield* rest
      const other = yield* server.makeBot
      const shown = yield* request(Endpoint.user, { path: { id: other.userId } })
      assert.deepInclude(shown, { relationship: "STRANGER", identity_number: other.identityNumber })
      const me = yield* request(Endpoint.user, { path: { id: bot.userId } })
      assert.strictEqual(me.relationship, "ME")
    })
  )
})

describe("contacts", () => {
  both(
    "have the name that the bot gives them, and stand to it as before",
    Effect.gen(function* () {
      const { alice, bot, request, server } = yield* rest
      yield* server.makeBot
      const update = (full_name: string) =>
        request(Endpoint.relationships, { payload: { user_id: alice.userId, action: "UPDATE", full_name } })
      assert.deepInclude(yield* update("Alice from work"), { full_name: "Alice from work", relationship: "FRIEND" })
      const shown = yield* request(Endpoint.user, { path: { id: alice.userId } })
      assert.strictEqual(shown.full_name, "Alice from work")
      assert.strictEqual(codeOf(yield* Effect.flip(update(""))), 10002)
      assert.strictEqual((yield* server.user(bot, "alice")).userId, alice.userId)
    })
  )
})

describe("groups", () => {
  both(
    "have the roles that they are made with, and an owner: who made them",
    Effect.gen(function* () {
      const { alice, bot, request, server } = yield* rest
      const bob = yield* server.user(bot, "bob")
      const made = yield* request(Endpoint.createConversation, {
        payload: {
          ...groupOf(alice),
          participants: [{ user_id: alice.userId, role: "ADMIN" }, { user_id: bob.userId }]
        }
      })
      const rolesOf = ({ participants = [] }: Endpoint.Conversation) => participants.map(({ role }) => role)
      assert.deepStrictEqual(rolesOf(made), ["OWNER", "ADMIN", ""])
      const theirs = yield* request(Endpoint.conversation, { path: { id: yield* server.group(bot, [alice, bob]) } })
      assert.deepStrictEqual([rolesOf(theirs), theirs.creator_id], [["", "OWNER", ""], alice.userId])
      // A conversation of two has no owner among the people.
      yield* alice.addBot
      const contact = yield* request(Endpoint.conversation, { path: { id: alice.conversationId } })
      assert.notInclude(rolesOf(contact), "OWNER")
    })
  )

  both(
    "are nobody's but those of who is in them, and no conversation of two is one",
    Effect.gen(function* () {
      const { alice, post, request, server } = yield* rest
      const other = yield* server.makeBot
      const carol = yield* server.user(other, "carol")
      const theirs = yield* server.group(other, [carol])
      const ask = (conversation_id: string, category: string) =>
        post("/conversations", { category, conversation_id, participants: [{ user_id: alice.userId }] })
      assert.deepStrictEqual(refusalOf(yield* ask(theirs, "GROUP")), [403, undefined])
      assert.deepStrictEqual(refusalOf(yield* ask(alice.conversationId, "GROUP")), [10002, "conversation_id"])
      yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      assert.deepStrictEqual(refusalOf(yield* ask(group, "CONTACT")), [10002, "conversation_id"])
      yield* request(Endpoint.exitConversation, { path: { id: group } })
      assert.deepStrictEqual(refusalOf(yield* ask(group, "GROUP")), [403, undefined])
      yield* alice.addBot
      assert.deepStrictEqual(refusalOf(yield* ask(alice.conversationId, "GROUP")), [10002, "conversation_id"])
    })
  )

  both(
    "are neither muted nor have messages disappear for longer than Mixin can, nor have longer names",
    Effect.gen(function* () {
      const { alice, post, request } = yield* rest
      yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      const duration = [10002, "duration"]
      for (const seconds of [1e13, 101 * 366 * 86_400, -1, 1.5, "1"]) {
        assert.deepStrictEqual(refusalOf(yield* post(`/conversations/${group}/mute`, { duration: seconds })), duration)
      }
      for (const seconds of [12 * 7 * 86_400 + 1, 1e13]) {
        const answer = yield* post(`/conversations/${group}/disappear`, { duration: seconds })
        assert.deepStrictEqual(refusalOf(answer), duration)
      }
      const years = yield* post(`/conversations/${group}/mute`, { duration: 10 * 365 * 86_400 })
      assert.match(String(years.data?.["mute_until"]), /^\d{4}-/)
      const weeks = yield* post(`/conversations/${group}/disappear`, { duration: 12 * 7 * 86_400 })
      assert.strictEqual(weeks.data?.["expire_in"], 12 * 7 * 86_400)
      const own = yield* Effect.flip(
        request(Endpoint.disappear, { path: { id: group }, payload: { duration: 12 * 7 * 86_400 + 1 } })
      )
      assert.include(own.message, "of the form of its endpoint")

      const long = { name: "x".repeat(513), announcement: "x".repeat(1025) }
      const another = crypto.randomUUID()
      for (const field of ["name", "announcement"] as const) {
        const names = { [field]: long[field] }
        assert.deepStrictEqual(refusalOf(yield* post(`/conversations/${group}`, names)), [10002, field])
        const made = { ...groupOf(alice), conversation_id: another, ...names }
        assert.deepStrictEqual(refusalOf(yield* post("/conversations", made)), [10002, field])
      }
      const longest = { name: "x".repeat(512), announcement: "x".repeat(1024) }
      assert.deepInclude((yield* post(`/conversations/${group}`, longest)).data, longest)
    })
  )

  both(
    "are changed by who may, tell each change once, and tell nothing where nothing has changed",
    Effect.gen(function* () {
      const { alice, bot, post, request, server, events } = yield* listed
      const bob = yield* server.user(bot, "bob")
      yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      const change = (action: string, ...people: ReadonlyArray<object>) =>
        post(`/conversations/${group}/participants/${action}`, people)
      yield* change("ADD", { user_id: bob.userId, role: "ADMIN" })
      const again = yield* change("ADD", { user_id: bob.userId }, { user_id: bob.userId })
      const participants = again.data?.["participants"] as ReadonlyArray<Endpoint.Participant>
      assert.deepStrictEqual(
        participants.map(({ role }) => role),
        ["OWNER", "", "ADMIN"]
      )
      yield* change("REMOVE", { user_id: bob.userId }, { user_id: bob.userId })
      assert.deepStrictEqual(refusalOf(yield* change("ROLE", { user_id: bob.userId, role: "ADMIN" })), [
        10002,
        "user_id"
      ])
      yield* post(`/conversations/${group}/disappear`, { duration: 60 })
      const { code_id } = yield* request(Endpoint.conversation, { path: { id: group } })
      yield* request(Endpoint.joinConversation, { path: { code: code_id! } })
      yield* alice.invite(group)
      yield* alice.expel(group)
      yield* alice.expel(group)
      yield* alice.invite(group)
      const told = yield* events(6)
      assert.deepStrictEqual(
        told.map(({ action }) => action),
        ["CREATE", "ADD", "REMOVE", "EXPIRE", "REMOVE", "ADD"]
      )
      assert.deepInclude(told[3], { user_id: bot.userId, expire_in: 60 })
      assert.deepInclude(told[5], { user_id: alice.userId, participant_id: bot.userId })

      // It is a member like any other now.
      assert.deepStrictEqual(refusalOf(yield* post(`/conversations/${group}/disappear`, { duration: 30 })), [
        403,
        undefined
      ])
      assert.strictEqual((yield* request(Endpoint.conversation, { path: { id: group } })).expire_in, 60)
      // In a conversation of two either may.
      yield* alice.addBot
      const ours = yield* post(`/conversations/${alice.conversationId}/disappear`, { duration: 30 })
      assert.strictEqual(ours.data?.["expire_in"], 30)
      // That of two has no name.
      const named = yield* post(`/conversations/${alice.conversationId}`, { name: "us" })
      assert.deepStrictEqual(refusalOf(named), [403, undefined])
    })
  )

  it.effect("take in 1024 members and no more", () =>
    Effect.gen(function* () {
      const { bot, post, request, server } = yield* rest
      const people = yield* Effect.forEach(Array.from({ length: 1024 }), (_, n) => server.user(bot, `person ${n}`))
      yield* request(Endpoint.createConversation, { payload: groupOf(...people.slice(0, 200)) })
      const add = (from: number, to: number) =>
        post(
          `/conversations/${group}/participants/ADD`,
          people.slice(from, to).map(({ userId }) => ({ user_id: userId }))
        )
      assert.isUndefined((yield* add(200, 1000)).error)
      assert.deepStrictEqual(refusalOf(yield* add(1000, 1024)), [20116, undefined])
      // With the bot these are all that there is room for.
      assert.isUndefined((yield* add(1000, 1023)).error)
      // Who is in it already takes no room.
      assert.isUndefined((yield* add(0, 1023)).error)
      assert.deepStrictEqual(refusalOf(yield* add(1023, 1024)), [20116, undefined])
      const { participants = [] } = yield* request(Endpoint.conversation, { path: { id: group } })
      assert.strictEqual(participants.length, 1024)
      const participantsOf = (count: number) => ({
        ...groupOf(...people.slice(0, count)),
        conversation_id: "22222222-2222-4222-8222-222222222222"
      })
      assert.deepStrictEqual(refusalOf(yield* post("/conversations", participantsOf(256))), [10002, "participants"])
      assert.isUndefined((yield* post("/conversations", participantsOf(255))).error)
    }).pipe(Effect.scoped, Effect.provide(memoryServer))
  )

  both(
    "tell the bot of its own doing in its own name, and of anybody else's in Mixin's where others have made them",
    Effect.gen(function* () {
      const { alice, bot, events, request, server } = yield* listed
      const theirs = yield* server.group(bot, [alice])
      const { code_id } = yield* request(Endpoint.conversation, { path: { id: theirs } })
      yield* request(Endpoint.exitConversation, { path: { id: theirs } })
      yield* request(Endpoint.joinConversation, { path: { code: code_id! } })
      yield* alice.expel(theirs)
      assert.deepStrictEqual(
        (yield* events(3)).map(({ action, speaker }) => [action, speaker === bot.userId]),
        [
          ["EXIT", true],
          ["JOIN", true],
          ["REMOVE", false]
        ]
      )
    })
  )

  both(
    "are joined by a code, which is worth nothing once there is another",
    Effect.gen(function* () {
      const { alice, request } = yield* rest
      const { code_id: first } = yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      const { code_id: second } = yield* request(Endpoint.rotateConversation, { path: { id: group } })
      yield* request(Endpoint.exitConversation, { path: { id: group } })
      assert.strictEqual(codeOf(yield* Effect.flip(request(Endpoint.conversation, { path: { id: group } }))), 404)
      const join = (code: string | undefined) => request(Endpoint.joinConversation, { path: { code: code! } })
      assert.strictEqual(codeOf(yield* Effect.flip(join(first))), 404)
      const joined = yield* join(second)
      assert.deepStrictEqual(
        joined.participants!.map(({ role, user_id }) => [user_id === alice.userId, role]),
        [
          [false, ""],
          [true, ""]
        ]
      )
      // Who has left is a member like any other when it comes back, and may not change what is an owner's.
      assert.strictEqual(codeOf(yield* Effect.flip(request(Endpoint.rotateConversation, { path: { id: group } }))), 403)
    })
  )

  both(
    "are muted, and have messages disappear, for as long as is said",
    Effect.gen(function* () {
      const { alice, request, server } = yield* rest
      yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      const mute = (duration: number) =>
        request(Endpoint.muteConversation, { path: { id: group }, payload: { duration } })
      const until = Date.parse((yield* mute(3600)).mute_until!)
      assert.approximately(until - server.now(), 3_600_000, 60_000)
      assert.match((yield* mute(0)).mute_until!, /^0001/)
      const { expire_in } = yield* request(Endpoint.disappear, { path: { id: group }, payload: { duration: 60 } })
      assert.strictEqual(expire_in, 60)
      assert.strictEqual((yield* request(Endpoint.conversation, { path: { id: group } })).expire_in, 60)
      assert.include((yield* Effect.flip(mute(-1))).message, "of the form of its endpoint")
    })
  )

  both(
    "put the bot out, and take it in again: it is told both, and hears nothing between",
    Effect.gen(function* () {
      const { alice, bot, request, server } = yield* rest
      const id = yield* server.group(bot, [alice])
      yield* alice.expel(id)
      const told = yield* bot.pending
      assert.strictEqual(told.length, 1)
      yield* alice.say("it is gone", id)
      assert.deepStrictEqual(yield* bot.pending, told)
      const send = request(Endpoint.messages, {
        payload: [{ conversation_id: id, message_id: crypto.randomUUID(), category: "PLAIN_TEXT", data_base64: "aGk" }]
      })
      assert.strictEqual(codeOf(yield* Effect.flip(send)), 403)
      yield* alice.invite(id)
      yield* alice.say("it is back", id)
      assert.strictEqual((yield* bot.pending).length, 3)
      yield* send
    })
  )
})

describe("messages over REST", () => {
  const message = (alice: BlazeServer.Person) => ({
    conversation_id: alice.conversationId,
    message_id: Ids.MessageId.make(crypto.randomUUID()),
    category: "PLAIN_TEXT",
    data_base64: Buffer.from("hi").toString("base64url")
  })

  both(
    "are taken alone, not only in an array, and answered with their view",
    Effect.gen(function* () {
      const { alice, http } = yield* rest
      yield* alice.addBot
      const one = message(alice)
      const body = HttpBody.text(JSON.stringify(one), "application/json")
      const answer = yield* http.post("/messages", { body })
      assert.strictEqual(answer.status, 200)
      const { data } = (yield* answer.json) as { readonly data: Record<string, unknown> }
      assert.deepInclude(data, { type: "message", message_id: one.message_id, source: "CREATE_MESSAGE" })
      assert.deepStrictEqual(yield* alice.reads, ["hi"])
    })
  )

  both(
    "are taken together over the socket too, all or none",
    Effect.gen(function* () {
      const { alice, bot, clientOverSocket } = yield* rest
      yield* alice.addBot
      const [one, two, three] = [message(alice), message(alice), message(alice)]
      yield* Effect.gen(function* () {
        const { request } = yield* Blaze.Blaze
        yield* request("CREATE_PLAIN_MESSAGES", { messages: [one, two] })
        const broken = { ...three, category: "NO_SUCH" }
        const error = yield* Effect.flip(request("CREATE_PLAIN_MESSAGES", { messages: [message(alice), broken] }))
        assert.strictEqual(codeOf(error), 10002)
      }).pipe(Effect.provide(clientOverSocket))
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ messageId }) => messageId),
        [one.message_id, two.message_id]
      )
    })
  )

  both(
    "have receipts, which can be asked for from a time on",
    Effect.gen(function* () {
      const { alice, request, server } = yield* rest
      yield* alice.addBot
      const one = message(alice)
      yield* request(Endpoint.messages, { payload: [one] })
      const since = (millis: number) =>
        request(Endpoint.receipts, { path: { since: String(BigInt(Math.floor(millis)) * 1_000_000n) } })
      const receipts = yield* since(server.now() > 60_000 ? server.now() - 60_000 : 0)
      assert.deepStrictEqual(
        receipts.map(({ message_id, status }) => [message_id, status]),
        [[one.message_id, "DELIVERED"]]
      )
      assert.deepStrictEqual(yield* since(server.now() + 60_000), [])
      assert.strictEqual(
        codeOf(yield* Effect.flip(request(Endpoint.receipts, { path: { since: "yesterday" } }))),
        10002
      )
    })
  )
})

describe("what is seldom asked for", () => {
  both(
    "tells what a code leads to, what bots somebody shows, and which circles there are",
    Effect.gen(function* () {
      const { alice, bot, request } = yield* rest
      const made = yield* request(Endpoint.createConversation, { payload: groupOf(alice) })
      const me = yield* request(Endpoint.me, {})
      const codeAt = (id = "") => request(Endpoint.code, { path: { id } })
      assert.deepInclude(yield* codeAt(made.code_id), {
        type: "conversation",
        conversation_id: made.conversation_id,
        name: "a group"
      })
      assert.deepInclude(yield* codeAt(me.code_id), { type: "user", user_id: bot.userId })
      assert.strictEqual(codeOf(yield* Effect.flip(codeAt("nothing"))), 404)
      assert.deepStrictEqual(yield* request(Endpoint.favoriteApps, { path: { id: alice.userId } }), [])
      assert.strictEqual(codeOf(yield* Effect.flip(request(Endpoint.favoriteApps, { path: { id: stranger } }))), 404)
      assert.deepStrictEqual(yield* request(Endpoint.circles, {}), [])
    })
  )

  both(
    "has Mixin tell somebody of a transfer, once however often it is asked",
    Effect.gen(function* () {
      const { alice, request } = yield* rest
      const transfer = { transaction_hash: "ab12", output_index: 0, receiver_id: alice.userId }
      const ask = (payload: typeof transfer) => request(Endpoint.notifyTransfer, { payload })
      const first = yield* ask(transfer)
      assert.strictEqual(first.category, "SYSTEM_SAFE_SNAPSHOT")
      assert.strictEqual((yield* ask(transfer)).message_id, first.message_id)
      assert.notStrictEqual((yield* ask({ ...transfer, output_index: 1 })).message_id, first.message_id)
      const shown = yield* alice.received
      assert.deepStrictEqual(
        shown.map(({ text }) => JSON.parse(text).transaction_hash),
        ["ab12", "ab12"]
      )
      assert.strictEqual(codeOf(yield* Effect.flip(ask({ ...transfer, receiver_id: stranger }))), 404)
      assert.match(String(yield* Effect.flip(ask({ ...transfer, output_index: -1 }))), /of the form of its endpoint/)
    })
  )
})

describe("messages that Mixin would not take", () => {
  const id = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"
  const taken: Readonly<Record<string, unknown>> = {
    PLAIN_TEXT: "hello",
    PLAIN_POST: "# hello",
    PLAIN_STICKER: { name: "hi", album_id: id },
    PLAIN_IMAGE: { attachment_id: id },
    PLAIN_AUDIO: { attachment_id: id },
    PLAIN_VIDEO: { attachment_id: id },
    PLAIN_DATA: { attachment_id: id },
    PLAIN_CONTACT: { user_id: id },
    PLAIN_LIVE: { url: "https://example.com/a.m3u8" },
    PLAIN_LOCATION: { longitude: 1, latitude: "2" },
    PLAIN_TRANSCRIPT: [{ name: "alice", category: "PLAIN_TEXT" }],
    APP_BUTTON_GROUP: [{ label: "Say it", action: "input:it", color: "#1DA1F2" }],
    APP_CARD: { app_id: "", title: "A card", description: "", action: null, actions: null },
    MESSAGE_RECALL: { message_id: id },
    MESSAGE_PIN: { action: "PIN", message_ids: [id] }
  }

  const attempts = Effect.gen(function* () {
    const { alice, bot, post } = yield* rest
    yield* alice.addBot
    const attempt = (category: string, payload: unknown, more: Record<string, unknown> = {}) => {
      const text = typeof payload === "string" ? payload : JSON.stringify(payload)
      const one = {
        conversation_id: alice.conversationId,
        message_id: crypto.randomUUID(),
        category,
        data_base64: Buffer.from(text).toString("base64url")
      }
      return Effect.map(post("/messages", [{ ...one, ...more }]), refusalOf)
    }
    return { alice, attempt, bot }
  })
  const fine = [undefined, undefined]

  both(
    "are those of other categories than bots may send",
    Effect.gen(function* () {
      const { attempt, bot } = yield* attempts
      for (const [category, payload] of Object.entries(taken)) {
        // What is recalled has to be there.
        const more = category === "PLAIN_TEXT" ? { message_id: id } : {}
        assert.deepStrictEqual(yield* attempt(category, payload, more), fine, category)
      }
      for (const category of ["PLAIN_TXT", "PLAIN_JSON", "APP_NONE", "MESSAGE_", "ENCRYPTED_TEXT", "constructor"]) {
        assert.deepStrictEqual(yield* attempt(category, "{}"), [10002, "category"], category)
      }
      assert.strictEqual((yield* bot.sent).length, Object.keys(taken).length)
    })
  )

  both(
    "are those whose payload is not what the category has, and those without any",
    Effect.gen(function* () {
      const { attempt, bot } = yield* attempts
      for (const category of Object.keys(taken)) {
        assert.deepStrictEqual(yield* attempt(category, ""), [10002, "data"], category)
        if (/TEXT$|POST$/.test(category)) continue
        for (const payload of ["hello", "{}", "[{}]", "null", `"${id}"`]) {
          assert.deepStrictEqual(yield* attempt(category, payload), [10002, "data"], `${category} ${payload}`)
        }
      }
      assert.deepStrictEqual(yield* attempt("APP_CARD", { title: "a", actions: [{}] }), [10002, "data"])
      assert.deepStrictEqual(yield* attempt("MESSAGE_PIN", { action: "EAT", message_ids: [] }), [10002, "data"])
      assert.deepStrictEqual(yield* attempt("MESSAGE_PIN", { action: "PIN", message_ids: ["x"] }), [10002, "data"])
      assert.deepStrictEqual(yield* attempt("MESSAGE_RECALL", { message_id: "x" }), [10002, "data"])
      assert.deepStrictEqual(yield* bot.sent, [])
    })
  )

  both(
    "are those whose fields are of another form, and not those that leave them empty",
    Effect.gen(function* () {
      const { alice, attempt, bot } = yield* attempts
      for (const [field, value] of [
        ["recipient_id", "alice"],
        ["recipient_id", 7],
        ["quote_message_id", "that one"],
        ["silent", "yes"],
        ["silent", 1],
        ["expire_in", 1.5],
        ["expire_in", -1],
        ["expire_in", "60"],
        ["conversation_id", "here"],
        ["message_id", ""]
      ] as const) {
        const refused = yield* attempt("PLAIN_TEXT", "hello", { [field]: value })
        assert.deepStrictEqual(refused, [10002, field], `${field} ${value}`)
      }
      assert.deepStrictEqual(yield* bot.sent, [])
      const nothing = { recipient_id: "", quote_message_id: "", representative_id: "", silent: false, expire_in: 0 }
      assert.deepStrictEqual(yield* attempt("PLAIN_TEXT", "hello", nothing), fine)
      const nulls = Object.fromEntries(Object.keys(nothing).map((field) => [field, null]))
      assert.deepStrictEqual(yield* attempt("PLAIN_TEXT", "hello", { ...nulls, data: null }), fine)
      const quoted = { recipient_id: alice.userId.toUpperCase(), quote_message_id: id, silent: true, expire_in: 60 }
      assert.deepStrictEqual(yield* attempt("PLAIN_TEXT", "hello", quoted), fine)
    })
  )

  both(
    "leave an answer with nothing in it to those that it takes together, to acknowledgements and to who leaves",
    Effect.gen(function* () {
      const { alice, bot, post, server } = yield* rest
      const hello = yield* alice.addBot
      const one = {
        conversation_id: alice.conversationId,
        message_id: crypto.randomUUID(),
        category: "PLAIN_TEXT",
        data_base64: "aGk"
      }
      assert.deepStrictEqual(yield* post("/messages", [one]), {})
      const acknowledgement = { message_id: hello, status: "READ" }
      const tooMany = yield* post(
        "/acknowledgements",
        Array.from({ length: 101 }, () => acknowledgement)
      )
      assert.deepStrictEqual(refusalOf(tooMany), [10002, "messages"])
      assert.deepStrictEqual(yield* bot.pending, [hello])
      assert.deepStrictEqual(yield* post("/acknowledgements", [acknowledgement]), {})
      assert.deepStrictEqual(yield* post(`/conversations/${yield* server.group(bot, [alice])}/exit`, {}), {})
    })
  )
})

describe("any other request", () => {
  both(
    "is made in the bot's name by the signed client, with its query",
    Effect.gen(function* () {
      const { bot, http } = yield* rest
      const answer = yield* http.get("/me", { urlParams: { note: "a b" } })
      const { data } = (yield* answer.json) as { readonly data: { readonly user_id: string } }
      assert.strictEqual(data.user_id, bot.userId)
      assert.notInclude(Object.keys(answer.request.headers).join(), "trace")
      assert.notInclude(Object.keys(answer.request.headers).join(), "b3")
      const missing = yield* http.get("/no/such/thing")
      assert.deepInclude(((yield* missing.json) as { readonly error: object }).error, { code: 404 })
    })
  )

  both(
    "goes to the API and to nobody else, whatever address it names",
    Effect.gen(function* () {
      const { http } = yield* rest
      for (const address of ["https://example.com/me", "http://127.0.0.1:1/me", "me"]) {
        const error = yield* Effect.flip(http.get(address))
        assert.notInclude(JSON.stringify(error), "Bearer")
        assert.strictEqual(error.reason._tag, "InvalidUrlError", address)
      }
    })
  )

  both(
    "goes with its query, as what its body is, and as nobody else's",
    Effect.gen(function* () {
      const { alice, http } = yield* rest
      const asset = crypto.randomUUID()
      for (const amount of ["1", "2"]) yield* alice.pay({ asset, amount })
      const page = yield* http.get("/safe/snapshots?limit=1&order=ASC&offset=1970-01-01T00:00:00Z")
      assert.strictEqual(((yield* page.json) as { readonly data: ReadonlyArray<unknown> }).data.length, 1)
      const mine = yield* http.get("/me", { headers: { authorization: "Bearer somebody's", "x-request-id": "1" } })
      assert.strictEqual(mine.status, 200)
      const form = yield* http.post("/no/such", { body: HttpBody.urlParams(UrlParams.make([["a", "b"]])) })
      const sent = form.request.headers["content-type"]
      assert.match(sent!, /^application\/x-www-form-urlencoded/)
    })
  )

  both(
    "has a body that can be signed, or is not made",
    Effect.gen(function* () {
      const { http } = yield* rest
      for (const body of [HttpBody.formData(new FormData()), HttpBody.uint8Array(Uint8Array.of(0x5b, 0xff, 0x5d))]) {
        const request = HttpClientRequest.post("/messages", { body })
        assert.strictEqual((yield* Effect.flip(http.execute(request))).reason._tag, "EncodeError")
      }
    })
  )
})

describe("on loopback", () => {
  const served = Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    return { bot, local, server }
  })

  it.live("a token is good once", () =>
    Effect.gen(function* () {
      const { bot, local } = yield* served
      const signer = yield* Effect.flatMap(Signer.Signer, ({ token }) =>
        token({ method: "GET", uri: "/me", body: "" })
      ).pipe(Effect.provide(Signer.layerString(bot.keystore)), Effect.provide(NodeBlaze.layerPlatform))
      const ask = Effect.promise(async () => {
        const answer = await fetch(`${local.apiUrl}/me`, {
          headers: { authorization: `Bearer ${Redacted.value(signer)}` }
        })
        return (await answer.json()) as { readonly data?: object; readonly error?: { readonly code: number } }
      })
      assert.isDefined((yield* ask).data)
      assert.strictEqual((yield* ask).error?.code, 401)
    }).pipe(Effect.provide(LocalServer.layer()))
  )

  it.live("a file is taken into a slot that was asked for, given back, and not there before", () =>
    Effect.gen(function* () {
      const { bot, local } = yield* served
      const layer = MixinApi.layer.pipe(
        Layer.provide(Signer.layerString(bot.keystore)),
        Layer.provide([NodeBlaze.layerPlatform, NodeHttpClient.layerNodeHttp]),
        Layer.provide(Settings.layer({ apiUrl: local.apiUrl }))
      )
      const { request } = Context.get(yield* Layer.build(layer), MixinApi.MixinApi)
      const slot = yield* request(Endpoint.createAttachment, {})
      const call = (url: string, init?: RequestInit) =>
        Effect.promise(async () => {
          const answer = await fetch(url, init)
          return [answer.status, await answer.text()] as const
        })
      assert.deepStrictEqual(yield* call(slot.view_url!), [404, ""])
      assert.deepStrictEqual(yield* call(slot.upload_url!, { method: "PUT", body: "its bytes" }), [200, ""])
      assert.deepStrictEqual(yield* call(slot.view_url!), [200, "its bytes"])
      const again = yield* request(Endpoint.attachment, { path: { id: slot.attachment_id } })
      assert.strictEqual(again.view_url, slot.view_url)
      const nobodys = slot.upload_url!.replace(slot.attachment_id, crypto.randomUUID())
      assert.strictEqual((yield* call(nobodys, { method: "PUT", body: "its bytes" }))[0], 404)
      assert.strictEqual((yield* call(nobodys))[0], 404)
      assert.strictEqual((yield* call(slot.upload_url!, { method: "DELETE" }))[0], 405)
    }).pipe(Effect.provide(LocalServer.layer()))
  )
})
