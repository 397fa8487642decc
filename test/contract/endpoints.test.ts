// The rest of the REST API, as the built-in server plays it: in memory and over the network.
import { assert, describe, it } from "@effect/vitest"
import { NodeHttpClient } from "@effect/platform-node"
import { Context, Effect, Layer, Redacted } from "effect"
import { Blaze, BlazeError, Endpoint, Ids, MixinApi, Settings, Signer } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { HttpBody, HttpClientRequest, UrlParams } from "effect/http"
import { both, scene } from "./faces.ts"

const rest = Effect.gen(function* () {
  const found = yield* scene
  const context = yield* Layer.build(found.api)
  const { client, request } = Context.get(context, MixinApi.MixinApi)
  return { ...found, http: client, request }
})

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

describe("groups", () => {
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
