// The bot of the official client on effect-blaze: its commands, its thanks for a payment, and its log of what has been read.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Option, Stream } from "effect"
import { Blaze, Bot, Button, Commands, Conversations, Outgoing, Users } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const who = Commands.command(
  "who",
  {},
  Effect.fnUntraced(function* (_, delivery) {
    const users = yield* Users.Users
    const user = yield* users.get(delivery.message.senderId)
    const name = Option.match(user, { onNone: () => "nobody", onSome: ({ fullName }) => fullName })
    yield* delivery.reply(`You are ${name}.`, { key: "name" })
  })
)

const room = Commands.command(
  "room",
  {},
  Effect.fnUntraced(function* (_, delivery) {
    const conversations = yield* Conversations.Conversations
    const { id, senderId } = delivery.message
    const group = yield* conversations.createGroup({ name: "A room", members: [senderId], key: id })
    yield* delivery.send({ conversation: group.conversationId }, "Here we can talk.")
  })
)

const menu = Commands.command("menu", {}, (_, delivery) =>
  delivery.reply(Outgoing.buttons([Button.say("Who am I?", "/who"), Button.say("A room", "/room")]))
)

export const bot = Bot.match({
  Snapshot: Effect.fnUntraced(function* (delivery) {
    const { amountText, direction, opponentId } = delivery.message
    if (direction !== "Received" || Option.isNone(opponentId)) return
    yield* delivery.send({ user: opponentId.value }, `Thank you for ${amountText}.`)
  }),
  orElse: Commands.make([who, room, menu])
})

const receipts = Effect.flatMap(Blaze.Blaze, (blaze) =>
  Stream.runForEach(blaze.receipts, ({ messageId, status }) => Effect.log(messageId, status))
)

if (import.meta.main) {
  Effect.raceFirst(Bot.run(bot), receipts).pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
}
