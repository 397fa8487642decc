// Every messaging operation of the official client's REST modules, in a process of its own.
import { MixinApi } from "@mixin.dev/mixin-node-sdk"
import { randomUUID } from "node:crypto"
import { expect, payloads, run, world } from "./operations.ts"

const { alice, aliceNumber, apiUrl, bob, contact, keystore, pending } = world()

// No proxy of the environment: what is meant for loopback stays there.
const client = MixinApi({ keystore, requestConfig: { baseURL: apiUrl, proxy: false, retry: 1 } } as Parameters<
  typeof MixinApi
>[0])
const { attachment, conversation, message, user } = client

const group = randomUUID()
let code = ""
let attachmentId = ""
let viewUrl = ""
let lastText = ""

type Payloads = Parameters<typeof message.sendImage>[1] &
  Parameters<typeof message.sendAudio>[1] &
  Parameters<typeof message.sendVideo>[1] &
  Parameters<typeof message.sendFile>[1] &
  Parameters<typeof message.sendLive>[1] &
  Parameters<typeof message.sendLocation>[1] &
  Parameters<typeof message.sendAppCard>[1] &
  Parameters<typeof message.sendSticker>[1]
const payload = (name: keyof typeof payloads) => payloads[name] as unknown as Payloads

const request = (text: string) => ({
  category: "PLAIN_TEXT" as const,
  conversation_id: contact,
  recipient_id: alice,
  message_id: randomUUID(),
  data_base64: Buffer.from(text).toString("base64url")
})

const has = (id: string, users: ReadonlyArray<{ readonly user_id: string }>) =>
  expect(
    users.some(({ user_id }) => user_id === id),
    users
  )

await run({
  "user.profile": async () => expect((await user.profile()).user_id === keystore["app_id"], "the profile"),
  "user.fetch": async () => expect((await user.fetch(alice)).full_name === "alice", "alice"),
  "user.fetchList": async () => has(bob, await user.fetchList([alice, bob, randomUUID()])),
  "user.search": async () => expect((await user.search(aliceNumber)).user_id === alice, "alice by her number"),
  "user.friends": async () => has(alice, await user.friends()),
  "user.updateRelationships": async () => {
    const blocked = await user.updateRelationships({ user_id: bob, action: "BLOCK" })
    expect(blocked.relationship === "BLOCKING", blocked)
  },
  "user.blockings": async () => {
    has(bob, await user.blockings())
    await user.updateRelationships({ user_id: bob, action: "UNBLOCK" })
    expect((await user.blockings()).length === 0, "nobody is blocked")
  },
  "user.update": async () => {
    await user.update("Renamed", "aGVsbG8=")
    expect((await user.profile()).full_name === "Renamed", "the new name")
  },
  "user.updatePreferences": async () => {
    const changed = await user.updatePreferences({ receive_message_source: "CONTACTS" })
    expect(changed.receive_message_source === "CONTACTS" && changed.accept_search_source !== "", changed)
  },
  "user.rotateCode": async () => {
    const before = (await user.profile()).code_id
    const { code_id } = await user.rotateCode()
    expect(code_id !== before && code_id !== "", code_id)
  },
  "conversation.createContact": async () =>
    expect((await conversation.createContact(alice)).conversation_id === contact, "the contact"),
  "conversation.create": async () => {
    const made = await conversation.create({
      category: "CONTACT",
      conversation_id: contact,
      participants: [{ user_id: alice }]
    })
    expect(made.category === "CONTACT", made)
  },
  "conversation.createGroup": async () => {
    const made = await conversation.createGroup(group, "A group", [{ user_id: alice }])
    expect(made.conversation_id === group && made.name === "A group", made)
  },
  "conversation.fetch": async () => expect((await conversation.fetch(group)).creator_id === keystore["app_id"], "it"),
  "conversation.updateParticipants": () => conversation.updateParticipants(group, "ADD", [{ user_id: bob }]),
  "conversation.removeParticipants": () => conversation.removeParticipants(group, [bob]),
  "conversation.addParticipants": () => conversation.addParticipants(group, [bob]),
  "conversation.setAdmin": () => conversation.setAdmin(group, [bob]),
  "conversation.revokeAdmin": () => conversation.revokeAdmin(group, [bob]),
  "conversation.updateGroupInfo": async () => {
    await conversation.updateGroupInfo(group, { name: "Another name", announcement: "Welcome" })
    const { announcement, name } = await conversation.fetch(group)
    expect(name === "Another name" && announcement === "Welcome", { announcement, name })
  },
  "conversation.resetGroupCode": async () => {
    const before = (await conversation.fetch(group)).code_id
    code = (await conversation.resetGroupCode(group)).code_id
    expect(code !== before && code !== "", code)
  },
  "conversation.mute": async () => {
    const { mute_until } = await conversation.mute(group, 3600)
    expect(Date.parse(mute_until) > 0, mute_until)
  },
  "conversation.unmute": async () => {
    const { mute_until } = await conversation.unmute(group)
    expect(mute_until.startsWith("0001"), mute_until)
  },
  "conversation.disappearDuration": async () =>
    expect((await conversation.disappearDuration(group, 60)).expire_in === 60, "a minute"),
  "conversation.exitGroup": () => conversation.exitGroup(group),
  "conversation.joinGroup": async () =>
    expect((await conversation.joinGroup(code)).conversation_id === group, "the group again"),
  "message.sendAcknowledgement": () => message.sendAcknowledgement({ message_id: pending[0], status: "READ" }),
  "message.sendAcknowledges": () => message.sendAcknowledges([{ message_id: pending[1], status: "READ" }]),
  "message.sendOne": () => message.sendOne(request("one")),
  "message.sendBatch": () => message.sendBatch([request("first of two"), request("second of two")]),
  "message.sendLegacy": () => message.sendLegacy(request("legacy")),
  "message.sendMsg": () => message.sendMsg(alice, "PLAIN_TEXT", "any"),
  "message.sendText": async () => {
    lastText = (await message.sendText(alice, "text")).message_id
  },
  "message.sendPost": () => message.sendPost(alice, "# post"),
  "message.sendSticker": () => message.sendSticker(alice, payload("sticker")),
  "message.sendContact": () => message.sendContact(alice, { user_id: bob }),
  "message.sendImage": () => message.sendImage(alice, payload("image")),
  "message.sendAudio": () => message.sendAudio(alice, payload("audio")),
  "message.sendVideo": () => message.sendVideo(alice, payload("video")),
  "message.sendFile": () => message.sendFile(alice, payload("file")),
  "message.sendLive": () => message.sendLive(alice, payload("live")),
  "message.sendLocation": () => message.sendLocation(alice, payload("location")),
  "message.sendAppCard": () => message.sendAppCard(alice, payload("card")),
  "message.sendAppButton": () => message.sendAppButton(alice, payloads.buttons),
  "message.sendRecall": () => message.sendRecall(alice, { message_id: lastText }),
  "message.sendTransfer": () =>
    message.sendTransfer(alice, {
      type: "transfer",
      snapshot_id: randomUUID(),
      opponent_id: alice,
      asset_id: randomUUID(),
      amount: 1,
      trace_id: randomUUID(),
      memo: "",
      created_at: "2026-01-01T00:00:00Z"
    } as unknown as Parameters<typeof message.sendTransfer>[1]),
  "attachment.create": async () => {
    const slot = await attachment.create()
    expect(slot.upload_url !== undefined && slot.attachment_id !== "", slot)
  },
  "attachment.upload": async () => {
    const uploaded = await attachment.upload(new File(["what is in it"], "a.txt"))
    attachmentId = uploaded.attachment_id
    viewUrl = uploaded.view_url
    expect((await (await fetch(viewUrl)).text()) === "what is in it", "the same bytes")
  },
  "attachment.fetch": async () => expect((await attachment.fetch(attachmentId)).view_url === viewUrl, "where it is")
})
