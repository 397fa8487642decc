// Customer service: a group of the staff (STAFF_GROUP) hears who writes to the bot, and answers by quoting. DATA is a directory.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Effect, Layer, Option, Schema } from "effect"
import { Bot, type Delivery, Ids, Outgoing, Users } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { KeyValueStore } from "effect/persistence"

const Question = Schema.Struct({ conversation: Ids.ConversationId, quote: Ids.MessageId })

export const relay = Effect.gen(function* () {
  const staff = { conversation: yield* Config.schema(Ids.ConversationId, "STAFF_GROUP") }
  const questions = KeyValueStore.toSchemaStore(yield* KeyValueStore.KeyValueStore, Question)
  const users = yield* Users.Users
  const ask = Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
    const { conversationId, id, senderId } = delivery.message
    const question = yield* delivery.send(staff, Outgoing.forward(delivery.message, { quote: undefined }))
    yield* questions.set(question, { conversation: conversationId, quote: id })
    const name = Option.match(yield* users.get(senderId), { onNone: () => "Somebody", onSome: Outgoing.mention })
    yield* delivery.send(staff, Outgoing.text(`${name} asks.`, { quote: question, silent: true }), { key: "who" })
  })
  const answer = Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
    const question = yield* questions.get(Option.getOrElse(delivery.message.quotedMessageId, () => "nothing"))
    if (Option.isNone(question)) return
    const { conversation, quote } = question.value
    yield* delivery.send({ conversation }, Outgoing.forward(delivery.message, { quote }))
  })
  const pass = (it: Delivery.Delivery) => (it.message.conversationId === staff.conversation ? answer(it) : ask(it))
  return Bot.match({
    Unknown: (it) => (it.message.isSealed ? it.reply("I cannot decrypt that.") : pass(it)),
    orElse: pass
  })
})

if (import.meta.main) {
  const files = Layer.unwrap(Effect.map(Config.String("DATA"), KeyValueStore.layerFileSystem))
  const services = Layer.merge(NodeBlaze.layerConfig, Layer.provide(files, NodeServices.layer))
  Effect.flatMap(relay, (handler) => Bot.run(handler)).pipe(Effect.provide(services), NodeRuntime.runMain)
}
