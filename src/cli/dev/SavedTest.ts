/**
 * A conversation as a test.
 *
 * Guarantee: what was said and tapped is said and tapped in the same order, and what the bot answered is what is expected.
 *
 * @since 0.1.0
 */
import type * as Scene from "./Scene.ts"

/**
 * What somebody did, beside what was said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tapped {
  readonly at: number
  readonly person: string
  readonly label: string
}

const quoted = (text: string) => JSON.stringify(text)

const isText = ({ category }: Scene.Message) => /^(PLAIN|ENCRYPTED)_(TEXT|POST)$/.test(category)

const names = new Set([
  "account",
  "group",
  "server",
  "it",
  "assert",
  "Effect",
  "Bot",
  "BlazeTest",
  "BlazeServer",
  "bot",
  "shown"
])

const variableOf = (person: string, index: number) =>
  /^[a-z][A-Za-z0-9]*$/.test(person) && !names.has(person) ? person : `person${index + 1}`

interface Step {
  readonly at: number
  /** What somebody does, or what the bot has sent. */
  readonly does: string | Scene.Message
}

const plural = (seconds: number) => (seconds === 1 ? "1 second" : `${seconds} seconds`)

/** A text in the test, where the bot has another identity number. */
const makeLiteral = (identityNumber: string) => {
  let isUsed = false
  return {
    isUsed: () => isUsed,
    of: (text: string) => {
      if (!text.includes(identityNumber)) return quoted(text)
      isUsed = true
      const escaped = quoted(text).slice(1, -1).replaceAll('\\"', '"').replace(/[`$]/g, "\\$&")
      return `\`${escaped.replaceAll(identityNumber, "${account.identityNumber}")}\``
    }
  }
}

/** How what people have said is said in the test. */
const makeSay = (
  { isGroup, messages, people }: Scene.Chat,
  variables: ReadonlyMap<string, string>,
  literal: (text: string) => string
) => {
  const place = isGroup ? ", group" : ""
  const names = new Map<string, string>()
  const answers = messages.filter(({ from }) => from === undefined)
  const quotedAs = (id: string) => {
    const index = answers.findIndex((answer) => answer.id === id)
    // In a group others have got something, too.
    return index < 0 || isGroup ? names.get(id) : `(yield* ${variables.get(people[0]!)!}.received)[${index}]!.messageId`
  }
  const said = ({ category, from, quoted: id, text }: Scene.Message) => {
    const who = variables.get(from!)!
    const quotes = id === undefined ? undefined : quotedAs(id)
    if (quotes !== undefined) return `${who}.quote(${quotes}, ${literal(text)}${place})`
    if (category === "PLAIN_TEXT") return `${who}.say(${literal(text)}${place})`
    if (category === "PAID") return `${who}.pay(${text})`
    // The bytes are not kept.
    if (category === "PLAIN_IMAGE" || category === "PLAIN_DATA") {
      return `${who}.sendFile(${quoted(category)}, new Uint8Array(1), ${text}${place})`
    }
    return `${who}.send(${quoted(category)}, ${literal(text)}${place})`
  }
  return (message: Scene.Message, index: number) => {
    const line = `yield* ${said(message)}`
    if (!messages.some((other) => other.quoted === message.id)) return line
    const name = `message${index + 1}`
    names.set(message.id, name)
    return `const ${name} = ${line}`
  }
}

/** What was done and answered, in its order. */
const stepsOf = (
  chat: Scene.Chat,
  taps: ReadonlyArray<Tapped>,
  variables: ReadonlyMap<string, string>,
  literal: (text: string) => string
): ReadonlyArray<Step> => {
  const { messages } = chat
  const say = makeSay(chat, variables, literal)
  const tapped = new Set<Scene.Message>()
  const ofTaps = taps.map(({ at, label, person }): Step => {
    // A button that says something has said it in the same moment.
    const said = messages.find((message) => message.from === person && message.at >= at && !tapped.has(message))
    if (said !== undefined && said.at - at < 1000) tapped.add(said)
    return { at, does: `yield* ${variables.get(person)!}.tap(${literal(label)})` }
  })
  const ofMessages = messages.flatMap((message, index): ReadonlyArray<Step> => {
    if (message.from === undefined) return [{ at: message.at, does: message }]
    return tapped.has(message) ? [] : [{ at: message.at, does: say(message, index) }]
  })
  return [...ofTaps, ...ofMessages].toSorted((a, b) => a.at - b.at)
}

const linesOf = (steps: ReadonlyArray<Step>, literal: (text: string) => string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const shown: Array<string> = []
  // When something was taken back is not known: what is left in the end is.
  const isWhole = steps.every(({ does }) => typeof does === "string" || !does.isGone)
  let begun = steps[0]?.at ?? 0
  for (const [index, { at, does }] of steps.entries()) {
    const [before, next] = [steps[index - 1]?.does, steps[index + 1]?.does]
    if (typeof does === "string") {
      if (typeof before !== "string") begun = at
      lines.push(does)
      if (next !== undefined) continue
    } else if (!does.isGone) shown.push(isText(does) ? does.text : does.category)
    if (typeof next === "object") continue
    lines.push(`yield* BlazeTest.pass(${quoted(plural(Math.max(1, Math.ceil((at - begun) / 1000))))})`)
    if (isWhole || next === undefined) {
      lines.push(`assert.deepStrictEqual(yield* shown, [${shown.map(literal).join(", ")}])`)
    }
  }
  return lines
}

/**
 * The test's file. `from` is where the bot's handler is, as the test imports it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const of = (chat: Scene.Chat, taps: ReadonlyArray<Tapped>, identityNumber: string, from: string): string => {
  const { isGroup, people, title } = chat
  const literal = makeLiteral(identityNumber)
  const variables = new Map(people.map((person, index) => [person, variableOf(person, index)]))
  const lines = linesOf(stepsOf(chat, taps, variables, literal.of), literal.of)
  const setting = people.map((person) => `const ${variables.get(person)!} = yield* BlazeTest.user(${quoted(person)})`)
  const group = [
    "const server = yield* BlazeServer.BlazeServer",
    `const group = yield* server.group(account, [${[...variables.values()].join(", ")}])`
  ]
  const account = isGroup || literal.isUsed() ? ["const account = yield* BlazeTest.Account"] : []
  return `// A conversation that was saved on the page of \`effect-blaze dev\`: ${title.replace(/[\r\n\u2028\u2029]/g, " ")}.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { ${isGroup ? "BlazeServer, " : ""}BlazeTest } from "effect-blaze/testing"
import { bot } from ${quoted(from)}

it.effect(${quoted(`answers ${people.join(" and ")}`)}, () =>
  Effect.gen(function* () {
    ${[...account, ...setting, ...(isGroup ? group : [])].join("\n    ")}
    // What is on the phone: the text of each message, or the kind of what is none.
    const shown = Effect.map(${variables.get(people[0]!)!}.received, (messages) =>
      messages${isGroup ? "\n        .filter(({ conversationId }) => conversationId === group)" : ""}
        .map(({ category, text }) => (/_(TEXT|POST)$/.test(category) ? text : category))
    )
    yield* Effect.forkChild(Bot.run(bot))
    ${lines.join("\n    ")}
  }).pipe(Effect.provide(BlazeTest.layer))
)
`
}
