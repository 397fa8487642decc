// A conversation of the page as a test: the text of it. That it passes is seen in npm run test:page.
import { assert, it } from "@effect/vitest"
import * as SavedTest from "../src/cli/dev/SavedTest.ts"
import type * as Scene from "../src/cli/dev/Scene.ts"

const message = (id: string, from: string | undefined, text: string, at: number, more: Partial<Scene.Message> = {}) =>
  ({ id, from, category: "PLAIN_TEXT", text, at, quoted: undefined, state: "sent", isGone: false, ...more }) as const

const options = { identityNumber: "7000", mentionsOnly: false, from: "../src/bot.ts" }

it("lets pass the time that had passed, in which a bot may be silent or speak by itself", () => {
  const messages = [
    message("1", "alice", "hi", 0),
    message("2", undefined, "hello", 100),
    message("3", undefined, "are you there?", 60_000),
    message("4", "alice", "yes", 63_000)
  ]
  const code = SavedTest.of({ id: "c", title: "alice", isGroup: false, people: ["alice"], messages }, [], options)
  assert.deepStrictEqual(
    code
      .split("\n")
      .filter((line) => /BlazeTest\.pass|deepStrictEqual|say\(/.test(line))
      .map((line) => line.trim()),
    [
      'yield* alice.say("hi")',
      'yield* BlazeTest.pass("63000 millis")',
      'assert.deepStrictEqual(yield* shown, ["hello", "are you there?"])',
      'yield* alice.say("yes")',
      'yield* BlazeTest.pass("1000 millis")',
      'assert.deepStrictEqual(yield* shown, ["hello", "are you there?"])'
    ]
  )
})

it("has a variable for everybody, whatever they are called, takes back what was, and keeps the rule of the group", () => {
  const people = ["new", "person1", "Ünï", "bob"]
  const messages = [
    message("1", "new", "@7000 `hi` ${x}", 0),
    message("2", undefined, "hello", 100),
    message("3", "bob", "to that", 5000, { quoted: "2" })
  ]
  const code = SavedTest.of(
    { id: "c", title: "all\nof them", isGroup: true, people, messages },
    [{ _tag: "Recalled", at: 9000, person: "new", message: "1" }],
    { ...options, mentionsOnly: true }
  )
  const variables = [...code.matchAll(/const (\w+) = yield\* BlazeTest\.user/g)].map((match) => match[1])
  assert.deepStrictEqual(variables, ["person1", "person2", "person3", "bob"])
  assert.include(code, 'yield* server.setGroupRule("mentions")')
  assert.include(code, "const message1 = yield* person1.say(`@${account.identityNumber} \\`hi\\` \\${x}`, group)")
  assert.include(code, "conversationId === group)[0]!.messageId")
  assert.include(code, "yield* person1.recall(message1, group)")
  assert.notInclude(code, "all\nof them")
})
