// Every messaging operation of `mixin-node-sdk`, in a process of its own. Its hosts are constants, which are replaced.
import { randomUUID } from "node:crypto"
import { replaceHosts } from "./hosts.ts"
import { expect, payloads, run, world } from "./operations.ts"

const { alice, aliceNumber, apiUrl, bob, contact, keystore, pending } = world()

replaceHosts(apiUrl, "")

type Json = Record<string, unknown>
type Operations = Record<string, (...args: ReadonlyArray<unknown>) => Promise<Json & Array<Json>>>
interface Constructor {
  new (keystore: Record<string, string>): Operations
}
const { Client } = (await import("mixin-node-sdk" as string)) as { readonly Client: Constructor }
const client = new Client(keystore)

const group = randomUUID()
let attachmentId = ""
let lastText = ""

const request = (text: string) => ({
  category: "PLAIN_TEXT",
  conversation_id: contact,
  recipient_id: alice,
  message_id: randomUUID(),
  data: Buffer.from(text).toString("base64url")
})

const has = (id: string, users: ReadonlyArray<Json>) =>
  expect(
    users.some(({ user_id }) => user_id === id),
    users
  )
const call = (name: string, ...args: ReadonlyArray<unknown>) => client[name]!(...args)

await run({
  userMe: async () => expect((await call("userMe"))["user_id"] === keystore["client_id"], "the profile"),
  readUser: async () => expect((await call("readUser", alice))["full_name"] === "alice", "alice"),
  readUsers: async () => has(bob, await call("readUsers", [alice, bob])),
  searchUser: async () => expect((await call("searchUser", aliceNumber))["user_id"] === alice, "alice by her number"),
  readFriends: async () => has(alice, await call("readFriends")),
  modifyRelationships: () => call("modifyRelationships", { user_id: bob, action: "BLOCK" }),
  readBlockUsers: async () => {
    has(bob, await call("readBlockUsers"))
    await call("modifyRelationships", { user_id: bob, action: "UNBLOCK" })
  },
  updateProfile: async () => {
    const changed = await call("updateProfile", { receive_message_source: "CONTACTS" })
    expect(changed["receive_message_source"] === "CONTACTS", changed)
  },
  createContactConversation: async () =>
    expect((await call("createContactConversation", alice))["conversation_id"] === contact, "the contact"),
  createGroupConversation: async () =>
    expect(
      (await call("createGroupConversation", group, "A group", [{ user_id: alice }]))["name"] === "A group",
      group
    ),
  readConversation: async () => expect((await call("readConversation", group))["category"] === "GROUP", "a group"),
  addParticipants: () => call("addParticipants", group, [bob]),
  adminParticipants: () => call("adminParticipants", group, [bob]),
  removeParticipants: () => call("removeParticipants", group, [bob]),
  updateConversation: async () =>
    expect((await call("updateConversation", group, { name: "Another" }))["name"] === "Another", "the new name"),
  rotateConversation: async () => expect((await call("rotateConversation", group))["code_id"] !== "", "a code"),
  sendAcknowledgement: () => call("sendAcknowledgement", { message_id: pending[0], status: "READ" }),
  sendAcknowledgements: () => call("sendAcknowledgements", [{ message_id: pending[1], status: "READ" }]),
  sendMessage: async () => {
    const view = await call("sendMessage", request("one"))
    expect(view["type"] === "message" && view["source"] === "CREATE_MESSAGE", view)
  },
  sendMessages: () => call("sendMessages", [request("first of two"), request("second of two")]),
  getSessions: async () => {
    const [session] = await call("getSessions", [alice])
    expect(session?.["user_id"] === alice && String(session["public_key"]).length === 43, session)
  },
  sendEncryptMessage: async () => {
    const state = await call("sendEncryptMessage", { ...request(""), category: "ENCRYPTED_TEXT", data: "secret" })
    expect(state["state"] === "SUCCESS", state)
  },
  sendEncryptMessages: async () => {
    const one = (data: string) => ({ ...request(""), category: "ENCRYPTED_TEXT", data })
    const states = await call("sendEncryptMessages", [one("first secret"), one("second secret")])
    expect(states.length === 2 && states.every(({ state }) => state === "SUCCESS"), states)
  },
  sendTextMsg: async () => {
    lastText = String((await call("sendTextMsg", alice, "text"))["message_id"])
  },
  sendPostMsg: () => call("sendPostMsg", alice, "# post"),
  sendImageMsg: () => call("sendImageMsg", alice, payloads.image),
  sendDataMsg: () => call("sendDataMsg", alice, payloads.file),
  sendStickerMsg: () => call("sendStickerMsg", alice, payloads.sticker),
  sendContactMsg: () => call("sendContactMsg", alice, { user_id: bob }),
  sendAppCardMsg: () => call("sendAppCardMsg", alice, payloads.card),
  sendAudioMsg: () => call("sendAudioMsg", alice, payloads.audio),
  sendLiveMsg: () => call("sendLiveMsg", alice, payloads.live),
  sendVideoMsg: () => call("sendVideoMsg", alice, payloads.video),
  sendLocationMsg: () => call("sendLocationMsg", alice, payloads.location),
  sendAppButtonMsg: () => call("sendAppButtonMsg", alice, payloads.buttons),
  sendRecallMsg: () => call("sendRecallMsg", alice, { message_id: lastText }),
  createAttachment: async () => expect((await call("createAttachment"))["upload_url"] !== undefined, "a slot"),
  uploadFile: async () => {
    const uploaded = await call("uploadFile", Buffer.from("what is in it"))
    attachmentId = String(uploaded["attachment_id"])
    expect((await (await fetch(String(uploaded["view_url"]))).text()) === "what is in it", "the same bytes")
  },
  showAttachment: async () => expect((await call("showAttachment", attachmentId))["view_url"] !== undefined, "where")
})
