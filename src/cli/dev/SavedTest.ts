/**
 * A conversation as a test.
 *
 * Guarantee: what was said and tapped is said and tapped in the same order, and what the bot answered is what is expected.
 *
 * @since 0.1.0
 */
import type * as Scene from "./Scene.ts"

/**
 * What somebody did besides what was said. A tap has said a message.
 *
 * @category models
 * @since 0.1.0
 */
export type Doing =
  | {
      readonly _tag: "Tapped"
      readonly at: number
      readonly person: string
      readonly label: string
      readonly message: string
    }
  | { readonly _tag: "Recalled"; readonly at: number; readonly person: string; readonly message: string }

const quoted = (text: string) => JSON.stringify(text)

const isText = ({ category }: Scene.Message) => /^(PLAIN|ENCRYPTED)_(TEXT|POST)$/.test(category)

/** What a person's name cannot be as that of a variable there. */
const taken = new Set(
  `account group server it assert bot shown arguments await break case catch class const continue debugger default delete do else enum eval export
  extends false finally for function if implements import in instanceof interface let new null package private protected public return static super
  switch this throw true try typeof undefined var void while with yield`.split(/\s+/)
)

const variableOf = (person: string, index: number) =>
  /^[a-z][A-Za-z]*$/.test(person) && !taken.has(person) ? person : `person${index + 1}`

interface Step {
  readonly at: number
  /** What somebody does, or what the bot has sent. */
  readonly does: string | Scene.Message
}

/** How long after the bot's answer it is for sure that no other one comes, in milliseconds. */
const quiet = 500

/** Time passes by tenths of a second: what takes less is no matter to a bot. */
const tenths = (milliseconds: number) => Math.round(milliseconds / 100) * 100

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

const inGroup = ".filter(({ conversationId }) => conversationId === group)"

/** How what people have said is said in the test. */
const makeSay = (
  { isGroup, messages, people }: Scene.Chat,
  doings: ReadonlyArray<Doing>,
  variables: ReadonlyMap<string, string>,
  literal: (text: string) => string
) => {
  const place = isGroup ? ", group" : ""
  const first = variables.get(people[0]!)!
  const here = isGroup ? inGroup : ""
  const named = new Set([
    ...messages.flatMap(({ quoted }) => (quoted === undefined ? [] : [quoted])),
    ...doings.flatMap((doing) => (doing._tag === "Recalled" ? [doing.message] : []))
  ])
  const answers = messages.filter(({ from }) => from === undefined)
  const nameOf = (id: string): string | undefined => {
    const index = messages.findIndex((message) => message.id === id)
    if (index < 0) return undefined
    if (messages[index]!.from !== undefined) return `message${index + 1}`
    return `(yield* ${first}.received)${here}[${answers.findIndex((answer) => answer.id === id)}]!.messageId`
  }
  const said = ({ category, from, quoted: id, text }: Scene.Message) => {
    const who = variables.get(from!)!
    const quotes = id === undefined ? undefined : nameOf(id)
    if (quotes !== undefined) return `${who}.quote(${quotes}, ${literal(text)}${place})`
    if (category === "PLAIN_TEXT") return `${who}.say(${literal(text)}${place})`
    if (category === "PAID") return `${who}.pay(${text})`
    // The bytes are not kept.
    if (category === "PLAIN_IMAGE" || category === "PLAIN_DATA") {
      return `${who}.sendFile(${quoted(category)}, new Uint8Array(1), ${text}${place})`
    }
    return `${who}.send(${quoted(category)}, ${literal(text)}${place})`
  }
  return {
    say: (message: Scene.Message) =>
      `${named.has(message.id) ? `const ${nameOf(message.id)!} = ` : ""}yield* ${said(message)}`,
    recall: (person: string, id: string) => `yield* ${variables.get(person)!}.recall(${nameOf(id)!}${place})`
  }
}

/** What was done and answered, in its order. */
const stepsOf = (
  chat: Scene.Chat,
  doings: ReadonlyArray<Doing>,
  variables: ReadonlyMap<string, string>,
  literal: (text: string) => string
): ReadonlyArray<Step> => {
  const { messages } = chat
  const { recall, say } = makeSay(chat, doings, variables, literal)
  const isThere = new Set(messages.map(({ id }) => id))
  const tapped = new Set(doings.flatMap((doing) => (doing._tag === "Tapped" ? [doing.message] : [])))
  const done = doings.flatMap((doing): ReadonlyArray<Step> => {
    // What is not kept any more was not said in the test.
    if (!isThere.has(doing.message)) return []
    return doing._tag === "Tapped"
      ? [{ at: doing.at, does: `yield* ${variables.get(doing.person)!}.tap(${literal(doing.label)})` }]
      : [{ at: doing.at, does: recall(doing.person, doing.message) }]
  })
  const saidOrAnswered = messages.flatMap((message): ReadonlyArray<Step> => {
    if (message.from === undefined) return [{ at: message.at, does: message }]
    return tapped.has(message.id) ? [] : [{ at: message.at, does: say(message) }]
  })
  return [...done, ...saidOrAnswered].toSorted((a, b) => a.at - b.at)
}

const linesOf = (steps: ReadonlyArray<Step>, literal: (text: string) => string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const shown: Array<string> = []
  // When something was taken back is not known: what is left in the end is.
  const isWhole = steps.every(({ does }) => typeof does === "string" || !does.isGone)
  const expect = () => lines.push(`assert.deepStrictEqual(yield* shown, [${shown.map(literal).join(", ")}])`)
  const pass = (milliseconds: number) => {
    if (milliseconds > 0) lines.push(`yield* BlazeTest.pass("${milliseconds} millis")`)
  }
  let passed = steps[0]?.at ?? 0
  let answered: number | undefined
  for (const { at, does } of steps) {
    if (typeof does === "object") {
      answered = at
      if (!does.isGone) shown.push(isText(does) ? does.text : does.category)
      continue
    }
    const gap = tenths(at - passed)
    pass(gap)
    passed += gap
    if (isWhole && answered !== undefined && at - answered >= quiet) expect()
    answered = undefined
    lines.push(does)
  }
  pass(tenths((steps.at(-1)?.at ?? passed) - passed) + 1000)
  expect()
  return lines
}

/**
 * The test's file: `from` is where the bot's handler is, as the test imports it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const of = (
  chat: Scene.Chat,
  doings: ReadonlyArray<Doing>,
  options: { readonly identityNumber: string; readonly mentionsOnly: boolean; readonly from: string }
): string => {
  const { from, identityNumber, mentionsOnly } = options
  const { isGroup, people, title } = chat
  const literal = makeLiteral(identityNumber)
  const variables = new Map(people.map((person, index) => [person, variableOf(person, index)]))
  const lines = linesOf(stepsOf(chat, doings, variables, literal.of), literal.of)
  const setting = people.map((person) => `const ${variables.get(person)!} = yield* BlazeTest.user(${quoted(person)})`)
  const group = [
    "const server = yield* BlazeServer.BlazeServer",
    ...(mentionsOnly ? ['yield* server.setGroupRule("mentions")'] : []),
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
      messages${isGroup ? `\n        ${inGroup}` : ""}
        .map(({ category, text }) => (/_(TEXT|POST)$/.test(category) ? text : category))
    )
    yield* Effect.forkChild(Bot.run(bot))
    ${lines.join("\n    ")}
  }).pipe(Effect.provide(BlazeTest.layer))
)
`
}
