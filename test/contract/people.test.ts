// Users, conversations and messages over REST, as the built-in server plays them: in memory and over the network.
import { assert, describe, it } from "@effect/vitest"
import { NodeCrypto } from "@effect/platform-node"
import { Duration, Effect, Fiber, Layer, Option, Result } from "effect"
import { BlazeError, Conversations, Endpoint, Ids, MixinApi, Signer, Users } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { both, scene } from "./faces.ts"

const stranger = Ids.UserId.make("99999999-9999-4999-8999-999999999999")

const people = Effect.gen(function* () {
  const found = yield* scene
  const signer = Layer.effect(
    Signer.Signer,
    Effect.map(BlazeTest.Account, ({ userId }) => ({ userId, token: () => Effect.die("nothing is signed here") }))
  )
  const layer = Layer.mergeAll(Users.layer, Conversations.layer).pipe(
    Layer.provide([signer, NodeCrypto.layer]),
    Layer.provideMerge(found.api)
  )
  const context = yield* Layer.build(layer)
  return {
    ...found,
    users: yield* Effect.provideContext(Users.Users, context),
    conversations: yield* Effect.provideContext(Conversations.Conversations, context),
    rest: yield* Effect.provideContext(MixinApi.MixinApi, context)
  }
})

const message = (conversationId: string, text = "hi") => ({
  conversation_id: conversationId,
  message_id: crypto.randomUUID(),
  category: "PLAIN_TEXT",
  data_base64: Buffer.from(text).toString("base64url")
})

const codeOf = (error: BlazeError.BlazeError) =>
  error.reason._tag === "ApiFailure" ? error.reason.code : error.message

describe("people over REST", () => {
  both(
    "finds users by id and number, and nobody where nobody is",
    Effect.gen(function* () {
      const { alice, bot, server, users } = yield* people
      const bob = yield* server.user(bot, "bob")
      const found = Option.getOrThrow(yield* users.get(alice.userId))
      assert.deepInclude(found, { userId: alice.userId, fullName: "alice" })
      assert.match(found.identityNumber, /^3\d+$/)
      assert.deepStrictEqual(yield* users.get(stranger), Option.none())
      const all = yield* users.getAll([bob.userId, stranger, alice.userId, bot.userId])
      assert.deepStrictEqual(
        all.map(({ fullName }) => fullName),
        ["bob", "alice", "bot"]
      )
      const me = yield* users.me
      assert.strictEqual(me.userId, bot.userId)
      assert.match(me.identityNumber, /^7000/)
      assert.deepStrictEqual(yield* users.search(found.identityNumber), Option.some(found))
      assert.deepStrictEqual(yield* users.search("no such/number?"), Option.none())
    })
  )

  both(
    "makes the conversation with a person once, and refuses who has blocked the bot",
    Effect.gen(function* () {
      const { alice, bot, conversations, rest, server } = yield* people
      const send = rest.request(Endpoint.messages, { payload: [message(alice.conversationId)] })
      assert.strictEqual(codeOf(yield* Effect.flip(send)), 403)
      assert.strictEqual(yield* conversations.createContact(alice.userId), alice.conversationId)
      yield* send
      assert.deepStrictEqual(yield* alice.reads, ["hi"])
      const found = Option.getOrThrow(yield* conversations.get(alice.conversationId))
      assert.strictEqual(found.category, "Contact")
      assert.deepStrictEqual(
        found.members.map(({ userId }) => userId).toSorted(),
        [bot.userId, alice.userId].toSorted()
      )
      const bob = yield* server.user(bot, "bob")
      yield* bob.block
      assert.strictEqual(codeOf(yield* Effect.flip(conversations.createContact(bob.userId))), 403)
      assert.strictEqual(codeOf(yield* Effect.flip(conversations.createContact(stranger))), 10002)
      assert.deepStrictEqual(yield* conversations.get(bob.conversationId), Option.none())
    })
  )

  both(
    "makes a group, the same one with the same key, changes who is in it, and checks its limits",
    Effect.gen(function* () {
      const { alice, bot, conversations, rest, server } = yield* people
      const bob = yield* server.user(bot, "bob")
      const group = { name: "team", announcement: "hello", members: [alice.userId], key: "order 7" }
      const made = yield* conversations.createGroup(group)
      assert.deepInclude(made, { category: "Group", name: "team", announcement: "hello" })
      assert.deepStrictEqual(made.members[0], { userId: bot.userId, role: "Owner" })
      assert.strictEqual((yield* conversations.createGroup(group)).conversationId, made.conversationId)
      const other = yield* conversations.createGroup({ name: "team", members: [alice.userId] })
      assert.notStrictEqual(other.conversationId, made.conversationId)

      const change = (action: string, user: Ids.UserId, role?: "ADMIN" | "") =>
        rest.request(Endpoint.participants, {
          path: { id: made.conversationId, action },
          payload: [{ user_id: user, ...(role === undefined ? {} : { role }) }]
        })
      const rolesOf = ({ participants = [] }: Endpoint.Conversation) => participants.map(({ role }) => role)
      assert.deepStrictEqual(rolesOf(yield* change("ADD", bob.userId)), ["OWNER", "", ""])
      assert.deepStrictEqual(rolesOf(yield* change("ROLE", bob.userId, "ADMIN")), ["OWNER", "", "ADMIN"])
      assert.deepStrictEqual(rolesOf(yield* change("REMOVE", bob.userId)), ["OWNER", ""])
      assert.strictEqual(codeOf(yield* Effect.flip(change("ADD", stranger))), 10002)
      assert.strictEqual(codeOf(yield* Effect.flip(change("EAT", bob.userId))), 404)
      const renamed = yield* rest.request(Endpoint.updateConversation, {
        path: { id: made.conversationId },
        payload: { name: "crew" }
      })
      assert.deepStrictEqual([renamed.name, renamed.announcement], ["crew", "hello"])
      // Of two groups that it made, and four changes in one of them.
      assert.strictEqual((yield* bot.pending).length, 6)

      for (const wrong of [
        { name: "", members: [] },
        { name: "x".repeat(513), members: [] },
        { name: "x", announcement: "x".repeat(1025), members: [] },
        {
          name: "x",
          members: Array.from({ length: 256 }, (_, n) =>
            Ids.UserId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)
          )
        }
      ]) {
        const error = yield* Effect.flip(conversations.createGroup(wrong))
        assert.strictEqual(error.reason._tag, "InvalidContent")
      }
      const theirs = yield* server.group(bot, [alice])
      const refused = rest.request(Endpoint.updateConversation, { path: { id: theirs }, payload: { name: "mine" } })
      assert.strictEqual(codeOf(yield* Effect.flip(refused)), 403)
    })
  )

  both(
    "runs a group: who is in it and what they are, its name, its code, how long its messages last",
    Effect.gen(function* () {
      const { alice, bot, conversations, server } = yield* people
      const bob = yield* server.user(bot, "bob")
      const carol = yield* server.user(bot, "carol")
      const { code, conversationId: id } = yield* conversations.createGroup({ name: "team", members: [alice.userId] })
      const rolesOf = ({ members }: Conversations.Conversation) => members.map(({ role }) => role)
      const both = [bob.userId.toUpperCase() as Ids.UserId, bob.userId, carol.userId]
      assert.deepStrictEqual(rolesOf(yield* conversations.add(id, both)), ["Owner", "Member", "Member", "Member"])
      const promoted = yield* conversations.setRole(id, bob.userId, "Admin")
      assert.deepStrictEqual(rolesOf(promoted), ["Owner", "Member", "Admin", "Member"])
      const demoted = yield* conversations.setRole(id, bob.userId, "Member")
      assert.deepStrictEqual(rolesOf(demoted), ["Owner", "Member", "Member", "Member"])
      assert.strictEqual((yield* conversations.remove(id, [alice.userId, carol.userId])).members.length, 2)
      const renamed = yield* conversations.update(id, { name: "crew" })
      assert.deepInclude(yield* conversations.update(id, { announcement: "hello" }), {
        name: "crew",
        announcement: "hello"
      })
      assert.notStrictEqual((yield* conversations.rotate(id)).code, code)
      assert.match(renamed.codeUrl, new RegExp(code))
      assert.strictEqual((yield* conversations.disappear(id, "1 minute")).expireIn, 60)
      assert.strictEqual((yield* conversations.disappear(id, 1500)).expireIn, 2)
      assert.strictEqual((yield* conversations.disappear(id, 0)).expireIn, 0)
      yield* conversations.mute(id, "1 day")
      yield* conversations.mute(id, 0)
      // What it has done it knows: nothing is asked.
      yield* server.inject({ _tag: "FailRest", status: 404, body: "" }, Infinity)
      const known = Option.getOrThrow(yield* conversations.get(id))
      assert.deepInclude(known, { name: "crew", announcement: "hello", expireIn: 0 })
      assert.deepStrictEqual(
        known.members.map(({ userId }) => userId),
        [bot.userId, bob.userId]
      )
      yield* server.heal
      yield* conversations.exit(id)
      assert.deepStrictEqual(yield* conversations.get(id), Option.none())
      const again = yield* conversations.join(known.code)
      assert.deepStrictEqual(rolesOf(again), ["Member", "Member"])
      assert.strictEqual(codeOf(yield* Effect.flip(conversations.join("no such code"))), 404)
    })
  )

  both(
    "has left a group whose answer was lost, and knows it",
    Effect.gen(function* () {
      const { api, bot, alice, reaches, server } = yield* people
      const id = yield* server.group(bot, [alice])
      let isLost = true
      // The request arrives, and its answer does not.
      const lossy = Layer.effect(
        MixinApi.MixinApi,
        Effect.map(MixinApi.MixinApi, (rest) => ({
          ...rest,
          request: ((endpoint: Endpoint.Endpoint<"/">, input: Endpoint.Input<"/", unknown>) =>
            Effect.tap(rest.request(endpoint, input), () => {
              if (!isLost || !endpoint.path.endsWith("/exit")) return Effect.void
              isLost = false
              return Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation: "waiting" })))
            })) as never
        }))
      ).pipe(Layer.provide(api))
      const signer = Layer.succeed(Signer.Signer, { userId: bot.userId, token: () => Effect.die("nothing is signed") })
      yield* Effect.gen(function* () {
        const conversations = yield* Conversations.Conversations
        assert.isTrue(Option.isSome(yield* conversations.get(id)))
        const leaving = yield* Effect.forkChild(conversations.exit(id))
        yield* reaches(Effect.sync(() => leaving.pollUnsafe() !== undefined))
        yield* Fiber.join(leaving)
        assert.deepStrictEqual(yield* conversations.get(id), Option.none())
        assert.strictEqual(codeOf(yield* Effect.flip(conversations.exit(id))), 404)
      }).pipe(Effect.provide(Conversations.layer.pipe(Layer.provide([lossy, signer, NodeCrypto.layer]))))
    })
  )

  both(
    "may do in a group what its owner has made it, and no more",
    Effect.gen(function* () {
      const { alice, bot, conversations, server } = yield* people
      const bob = yield* server.user(bot, "bob")
      const carol = yield* server.user(bot, "carol")
      const id = yield* server.group(bot, [alice, bob])
      const refused = <A>(asked: Effect.Effect<A, BlazeError.BlazeError>) => Effect.map(Effect.flip(asked), codeOf)
      for (const asked of [
        conversations.add(id, [carol.userId]),
        conversations.remove(id, [bob.userId]),
        conversations.setRole(id, bob.userId, "Admin"),
        conversations.update(id, { name: "mine" }),
        conversations.rotate(id),
        conversations.disappear(id, "1 minute")
      ] as const) {
        assert.strictEqual(yield* refused<unknown>(asked), 403)
      }
      yield* alice.appoint(id, bot, "Admin")
      yield* alice.appoint(id, bob, "Admin")
      assert.strictEqual((yield* conversations.add(id, [carol.userId])).members.length, 4)
      // As in the apps: an admin has no say over owners and other admins, and appoints none.
      assert.strictEqual(yield* refused(conversations.remove(id, [alice.userId])), 403)
      assert.strictEqual(yield* refused(conversations.remove(id, [carol.userId, bob.userId])), 403)
      assert.strictEqual(yield* refused(conversations.setRole(id, carol.userId, "Admin")), 403)
      yield* alice.appoint(id, bob, "Member")
      assert.strictEqual((yield* conversations.remove(id, [bob.userId])).members.length, 3)
      yield* alice.appoint(id, bot, "Member")
      assert.strictEqual(yield* refused(conversations.rotate(id)), 403)
      for (const wrong of [bob.appoint(id, bot, "Admin"), alice.appoint(id, bob, "Admin")]) {
        assert.match(String(yield* Effect.exit(wrong)), /is not in the group/)
      }
      assert.match(String(yield* Effect.exit(carol.appoint(id, bot, "Admin"))), /carol is not the owner/)
    })
  )

  both(
    "asks nothing of a group that breaks a limit",
    Effect.gen(function* () {
      const { alice, bot, conversations, server } = yield* people
      const id = yield* server.group(bot, [alice])
      const many = Array.from({ length: 256 }, (_, n) =>
        Ids.UserId.make(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)
      )
      for (const [asked, field] of [
        [conversations.add(id, []), "the members"],
        [conversations.add(id, many), "the members"],
        [conversations.remove(id, ["alice" as Ids.UserId]), "the members"],
        [conversations.setRole(id, "" as Ids.UserId, "Admin"), "the members"],
        [conversations.createGroup({ name: "x", members: ["alice" as Ids.UserId] }), "the members"],
        [conversations.update(id, { name: "" }), "the group's name"],
        [conversations.update(id, { name: "x".repeat(513) }), "the group's name"],
        [conversations.update(id, { announcement: "x".repeat(1025) }), "the announcement"],
        [conversations.mute(id, -1), "the time to mute"],
        [conversations.mute(id, Number.NaN), "the time to mute"],
        [conversations.mute(id, "40000 days"), "the time to mute"],
        [conversations.mute(id, "soon" as never), "the time to mute"],
        [conversations.disappear(id, "85 days"), "the time to disappear"],
        [conversations.disappear(id, Infinity), "the time to disappear"]
      ] as const) {
        const { reason } = yield* Effect.flip(Effect.asVoid<unknown, BlazeError.BlazeError, never>(asked))
        assert.strictEqual(reason._tag === "InvalidContent" ? reason.field : reason._tag, field)
      }
    })
  )

  both(
    "has contacts, names them and blocks people",
    Effect.gen(function* () {
      const { alice, bot, server, users } = yield* people
      const bob = yield* server.user(bot, "bob")
      const names = (all: ReadonlyArray<Users.User>) => all.map(({ fullName }) => fullName).toSorted()
      assert.deepStrictEqual(names(yield* users.contacts), ["alice", "bob"])
      assert.strictEqual((yield* users.removeContact(bob.userId)).relationship, "Stranger")
      assert.deepStrictEqual(names(yield* users.contacts), ["alice"])
      const upperCase = bob.userId.toUpperCase() as Ids.UserId
      assert.strictEqual((yield* users.addContact(upperCase)).relationship, "Contact")
      assert.strictEqual((yield* users.rename(bob.userId, "Robert")).fullName, "Robert")
      assert.deepStrictEqual(names(yield* users.contacts), ["Robert", "alice"])
      // What it has said of somebody it knows.
      assert.strictEqual(Option.getOrThrow(yield* users.get(bob.userId)).fullName, "Robert")
      assert.strictEqual((yield* users.block(alice.userId)).relationship, "Blocked")
      assert.deepStrictEqual(names(yield* users.blocked), ["alice"])
      yield* users.unblock(alice.userId)
      assert.deepStrictEqual(yield* users.blocked, [])
      assert.strictEqual(codeOf(yield* Effect.flip(users.block(stranger))), 404)
      for (const [asked, field] of [
        [users.block("alice" as Ids.UserId), "the user"],
        [users.rename(bob.userId, ""), "the name"],
        [users.updateMe({ fullName: "" }), "the bot's name"],
        [users.updateMe({ avatar: new Uint8Array(0) }), "the bot's picture"]
      ] as const) {
        const { reason } = yield* Effect.flip(asked)
        assert.strictEqual(reason._tag === "InvalidContent" ? reason.field : reason._tag, field)
      }
    })
  )

  both(
    "tries again what passes, of groups, of people and of the bot itself",
    Effect.gen(function* () {
      const { alice, bot, conversations, reaches, server, users } = yield* people
      const id = yield* server.group(bot, [alice])
      for (const asked of [
        conversations.mute(id, "1 day"),
        conversations.createGroup({ name: "x", members: [] }),
        conversations.exit(id),
        users.block(alice.userId),
        users.updateMe({ biography: "" }),
        users.prefer({})
      ] as const) {
        yield* server.inject({ _tag: "FailRest", status: 500, body: "" }, 2)
        const fiber = yield* Effect.forkChild(Effect.asVoid<unknown, BlazeError.BlazeError, never>(asked))
        yield* reaches(Effect.sync(() => fiber.pollUnsafe() !== undefined))
        yield* Fiber.join(fiber)
      }
    })
  )

  both(
    "changes what people see of the bot, and says who may come to it",
    Effect.gen(function* () {
      const { bot, rest, users } = yield* people
      assert.strictEqual((yield* users.me).fullName, "bot")
      const avatar = new Uint8Array([1, 2, 3])
      const updated = yield* users.updateMe({ fullName: "Shop", biography: "We sell things.", avatar })
      assert.deepInclude(updated, { fullName: "Shop", biography: "We sell things.", relationship: "Me" })
      assert.match(Option.getOrThrow(updated.avatarUrl), /AQID$/)
      assert.deepStrictEqual(yield* users.me, updated)
      assert.strictEqual((yield* users.updateMe({ biography: "" })).fullName, "Shop")
      assert.strictEqual(Option.getOrThrow(yield* users.get(bot.userId)).biography, "")
      yield* users.prefer({ messagesFrom: "Contacts", foundBy: "Contacts" })
      yield* users.prefer({ foundBy: "Everybody" })
      assert.deepInclude(yield* rest.request(Endpoint.me, {}), {
        receive_message_source: "CONTACTS",
        accept_conversation_source: "EVERYBODY",
        accept_search_source: "EVERYBODY"
      })
    })
  )

  both(
    "takes up to 100 messages in one request, all of them or none",
    Effect.gen(function* () {
      const { alice, bot, rest } = yield* people
      yield* alice.addBot
      const post = (payload: ReadonlyArray<ReturnType<typeof message>>) => rest.request(Endpoint.messages, { payload })
      const hundred = Array.from({ length: 100 }, (_, n) => message(alice.conversationId, String(n)))
      yield* post(hundred)
      yield* post(hundred)
      assert.strictEqual((yield* bot.sent).length, 100)
      const bad = [message(alice.conversationId), message(crypto.randomUUID())]
      assert.strictEqual(codeOf(yield* Effect.flip(post(bad))), 403)
      assert.strictEqual(codeOf(yield* Effect.flip(post([...hundred, ...bad]))), 10002)
      assert.strictEqual((yield* bot.sent).length, 100)
    })
  )
})

describe("Users", () => {
  // A server that counts what it is asked for.
  const counting = Effect.gen(function* () {
    const requests: Array<ReadonlyArray<string>> = []
    const knobs = { fails: false }
    const api = Layer.effect(
      MixinApi.MixinApi,
      Effect.map(MixinApi.MixinApi, (api): MixinApi.MixinApi["Service"] => ({
        ...api,
        request: (endpoint, input) => {
          requests.push([endpoint.path, ...((input.payload as ReadonlyArray<string> | undefined) ?? [])])
          return knobs.fails
            ? Effect.fail(BlazeError.make(new BlazeError.Timeout({ operation: "asking" })))
            : api.request(endpoint, input)
        }
      }))
    ).pipe(Layer.provide(BlazeTest.layerSocket))
    const users = yield* Effect.provideContext(Users.Users, yield* Layer.build(Users.layer.pipe(Layer.provide(api))))
    const bot = yield* BlazeTest.Account
    const server = yield* BlazeServer.BlazeServer
    const alice = yield* server.user(bot, "alice")
    return { alice, bot, knobs, requests, server, users }
  })

  it.effect("what is asked in one turn is one request, each id once, a hundred at most in each", () =>
    Effect.gen(function* () {
      const { alice, bot, requests, server, users } = yield* counting
      const many = yield* Effect.forEach(Array.from({ length: 149 }), (_, n) => server.user(bot, `person ${n}`))
      const ids = [...many.map(({ userId }) => userId), alice.userId, alice.userId]
      assert.strictEqual((yield* users.getAll(ids)).length, 151)
      assert.deepStrictEqual(
        requests.map((request) => request.length - 1),
        [100, 50]
      )
      yield* users.get(alice.userId)
      assert.strictEqual(requests.length, 2)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )

  it.effect("remembers somebody for an hour, nobody for a minute, and a failure not at all", () =>
    Effect.gen(function* () {
      const { alice, knobs, requests, users } = yield* counting
      knobs.fails = true
      assert.isTrue(Result.isFailure(yield* Effect.result(users.get(alice.userId))))
      assert.isTrue(Result.isFailure(yield* Effect.result(users.me)))
      knobs.fails = false
      yield* users.me
      yield* users.me
      yield* users.get(alice.userId)
      yield* users.get(stranger)
      const asked = requests.length
      assert.strictEqual(asked, 5)
      const after = Effect.fnUntraced(function* (time: Duration.Input) {
        yield* TestClock.adjust(time)
        yield* users.get(alice.userId)
        yield* users.get(stranger)
        yield* users.me
        return requests.length - asked
      })
      assert.strictEqual(yield* after("30 seconds"), 0)
      assert.strictEqual(yield* after("31 seconds"), 1)
      assert.strictEqual(yield* after("1 hour"), 3)
    }).pipe(Effect.provide(BlazeTest.layerServer))
  )
})
