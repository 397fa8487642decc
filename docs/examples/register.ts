// A dialog in steps, in each conversation: name, e-mail, confirmation. It goes on where it was after a restart, and after a crash.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Option, Schema } from "effect"
import { Bot, State } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const Step = Schema.Union([
  Schema.TaggedStruct("Name", {}),
  Schema.TaggedStruct("Email", { name: Schema.String }),
  Schema.TaggedStruct("Confirm", { name: Schema.String, email: Schema.String }),
  Schema.TaggedStruct("Registered", { name: Schema.String, email: Schema.String })
])
type Step = typeof Step.Type

export const Registration = State.conversation("registration", Step)

const next = (now: Step, text: string): readonly [Step, string] => {
  switch (now._tag) {
    case "Name":
      return [{ _tag: "Email", name: text }, `Hello ${text}, what is your e-mail address?`]
    case "Email":
      return /^\S+@\S+\.\S+$/.test(text)
        ? [{ _tag: "Confirm", name: now.name, email: text }, `${now.name}, ${text}: is that right? (yes/no)`]
        : [now, "That is no e-mail address. Once more?"]
    case "Confirm":
      return text.toLowerCase() === "yes"
        ? [{ ...now, _tag: "Registered" }, "You are registered."]
        : [{ _tag: "Name" }, "From the beginning: what is your name?"]
    case "Registered":
      return [now, `You are registered as ${now.name}, ${now.email}.`]
  }
}

export const register = Bot.match({
  Text: Effect.fnUntraced(function* (delivery) {
    const registration = delivery.state(Registration)
    const [step, said] = Option.match(yield* registration.get, {
      onNone: () => [{ _tag: "Name" }, "What is your name?"] as const,
      onSome: (now) => next(now, delivery.message.text.trim())
    })
    yield* registration.set(step)
    yield* delivery.reply(said, { key: "dialog" })
  }),
  orElse: (delivery) => delivery.reply("Text only, please.")
})

if (import.meta.main) {
  Bot.run(register).pipe(Effect.provide(NodeBlaze.layerDurable({ filename: "register.sqlite" })), NodeRuntime.runMain)
}
