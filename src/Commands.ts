/**
 * Commands: declared once, they give the parser, the help, the suggestion for a mistyped name, the buttons of a menu and the sentences
 * for what is wrong.
 *
 * Guarantee: a handler runs with arguments that have the form it declared, and else not at all; whoever speaks to the bot gets an answer
 * that says what to write, and whoever speaks to others in a group gets none.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Pipeable from "effect/Pipeable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as BlazeError from "./BlazeError.ts"
import * as Button from "./Button.ts"
import * as Delivery from "./Delivery.ts"
import * as Message from "./Message.ts"
import * as Outgoing from "./Outgoing.ts"
import * as Settings from "./Settings.ts"

/**
 * The arguments of a command, in their order: a Schema from text for each. `Schema.optionalKey` may be left out, `Rest` takes all that
 * is left.
 *
 * @category models
 * @since 0.1.0
 */
export type Arguments = Readonly<Record<string, Schema.Top & { readonly DecodingServices: never }>>

/**
 * What a handler gets of its arguments.
 *
 * @category models
 * @since 0.1.0
 */
export type Values<A extends Arguments> = Schema.Struct.Type<A>

/** What cannot be made of what somebody wrote. */
type Problem =
  | { readonly _tag: "Missing"; readonly argument: string }
  | { readonly _tag: "Wrong"; readonly argument: string; readonly expected: string }
  | { readonly _tag: "TooMany" }

/**
 * A command.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command<out E = never, out R = never> extends Pipeable.Pipeable {
  /** What it is called, without the slash. */
  readonly name: string
  readonly aliases: ReadonlyArray<string>
  readonly description: string
  /** How it is written: `/price BTC|ETH`. */
  readonly usage: string
  /** It can be written without arguments, and so be a button. */
  readonly isComplete: boolean
  readonly run: (
    written: string,
    delivery: Delivery.Delivery<Message.Text>
  ) => Result.Result<Effect.Effect<unknown, E, R>, Problem>
}

/**
 * An argument that takes all that is left, as it was written, several words and lines too.
 *
 * @category arguments
 * @since 0.1.0
 */
export const Rest = Schema.String.annotate({ title: "text", "effect-blaze/Commands/Rest": true })

const isRest = (schema: Schema.Top) => schema.ast.annotations?.["effect-blaze/Commands/Rest"] === true

const isOptional = (schema: Schema.Top) => schema.ast.context?.isOptional === true

/** The texts that a schema takes, where these are all. */
const literalsOf = ({ ast }: Schema.Top): ReadonlyArray<string> | undefined => {
  const nodes = ast._tag === "Union" ? ast.types : [ast]
  const literals = nodes.map((node) => (node._tag === "Literal" ? String(node.literal) : undefined))
  return literals.every((literal) => literal !== undefined) ? literals : undefined
}

const usageOf = (name: string, fields: Arguments): string =>
  Object.entries(fields).reduce((usage, [argument, schema]) => {
    const shown = literalsOf(schema)?.join("|") ?? argument.toUpperCase()
    return `${usage} ${isOptional(schema) ? `[${shown}]` : shown}`
  }, `/${name}`)

// What people's keyboards make of quotation marks, in English and in Chinese.
const quoted =
  /^(?:"([^"]*)"|'([^']*)'|\u201c([^\u201d]*)\u201d|\u2018([^\u2019]*)\u2019|\u300c([^\u300d]*)\u300d)(?=\s|$)/

/** The first word of a text, or what stands between quotation marks, and what follows. */
const takeWord = (text: string): { readonly word: string; readonly rest: string } | undefined => {
  const trimmed = text.trimStart()
  if (trimmed === "") return undefined
  const between = quoted.exec(trimmed)
  if (between !== null) {
    const word = between.slice(1).find((group) => group !== undefined)!
    return { word, rest: trimmed.slice(between[0].length) }
  }
  const [word] = /^\S+/.exec(trimmed)!
  return { word, rest: trimmed.slice(word.length) }
}

/** Names and symbols are written as they come: `btc` for `BTC`. */
const spelt = (word: string, schema: Schema.Top) =>
  literalsOf(schema)?.find((literal) => literal.toLowerCase() === word.toLowerCase()) ?? word

/** How much of what a schema expects is said: it may quote all that somebody wrote. */
const maximumExpected = 200

const expectedOf = (schema: Schema.Top, message: string) =>
  literalsOf(schema)?.join(", ") ?? (message.split("\n")[0] ?? "").replace(/^Expected /, "").slice(0, maximumExpected)

const parse = <A extends Arguments>(fields: A, written: string): Result.Result<Values<A>, Problem> => {
  const values: Record<string, unknown> = {}
  let left = written
  for (const [argument, schema] of Object.entries(fields)) {
    const whole = left.trim()
    const taken = isRest(schema) && whole !== "" ? { word: whole, rest: "" } : takeWord(left)
    if (taken === undefined) {
      if (isOptional(schema)) continue
      return Result.fail({ _tag: "Missing", argument })
    }
    const decoded = Schema.decodeUnknownResult(schema)(spelt(taken.word, schema))
    if (Result.isFailure(decoded)) {
      return Result.fail({ _tag: "Wrong", argument, expected: expectedOf(schema, decoded.failure.message) })
    }
    values[argument] = decoded.success
    left = taken.rest
  }
  return left.trim() === "" ? Result.succeed(values as Values<A>) : Result.fail({ _tag: "TooMany" })
}

/**
 * A command: its name, its arguments and what it does. It is written `/name`, in capitals or not, alone with the bot, in a group behind a
 * mention of it, or by a button.
 *
 * **Details**
 *
 * Arguments are words, or stand between quotation marks of any kind; a full-width space is a space. There are no flags: `--x` is a word.
 * A name that cannot be called, or an argument that cannot be reached, throws. A button that is tapped twice has its person say the same
 * twice: these are two messages, handled one after the other, each with an answer.
 *
 * **Example** (What a coin costs)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Commands } from "effect-blaze"
 *
 * const price = Commands.command("price", { symbol: Schema.Literals(["BTC", "ETH"]) }, ({ symbol }, delivery) =>
 *   delivery.reply(`${symbol}: 97 000 USD`)
 * ).pipe(Commands.withDescription("What a coin costs"))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const command = <const A extends Arguments, E = never, R = never>(
  name: string,
  fields: A,
  handler: (values: Values<A>, delivery: Delivery.Delivery<Message.Text>) => Effect.Effect<unknown, E, R>
): Command<E, R> => {
  checkName(name)
  checkOrder(name, fields)
  return fromProperties({
    name: name.toLowerCase(),
    aliases: [],
    description: "",
    usage: usageOf(name.toLowerCase(), fields),
    isComplete: Object.values(fields).every(isOptional),
    run: (written, delivery) => Result.map(parse(fields, written), (values) => handler(values, delivery))
  })
}

// A mistake of the program, which would otherwise be a command that nobody can call.
const checkName = (name: string) => {
  if (!/^[^\s/\uff0f@]{1,32}$/.test(name)) {
    throw new TypeError(`A command cannot be called ${JSON.stringify(name)}: write its name without slash and spaces.`)
  }
}

const checkOrder = (name: string, fields: Arguments) => {
  const schemas = Object.values(fields)
  const misplaced = schemas.findIndex(
    (schema, index) =>
      index > 0 && (isRest(schemas[index - 1]!) || (isOptional(schemas[index - 1]!) && !isOptional(schema)))
  )
  if (misplaced > 0) {
    throw new TypeError(
      `The argument ${Object.keys(fields)[misplaced]} of the command ${name} cannot be reached: an argument that takes the rest is the last one, and those that may be left out follow the others.`
    )
  }
}

const fromProperties = <E, R>(properties: Omit<Command<E, R>, "pipe">): Command<E, R> =>
  Object.assign(Object.create(Pipeable.Prototype), properties)

const changed = <E, R>(self: Command<E, R>, changes: Partial<Pick<Command, "aliases" | "description">>) =>
  fromProperties<E, R>({ ...self, ...changes })

/**
 * What the help says of a command.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withDescription =
  (description: string) =>
  <E, R>(self: Command<E, R>): Command<E, R> =>
    changed(self, { description })

/**
 * Other names of a command, in another language say. The help shows the first.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withAliases =
  (...aliases: ReadonlyArray<string>) =>
  <E, R>(self: Command<E, R>): Command<E, R> => {
    for (const alias of aliases) checkName(alias)
    return changed(self, { aliases: aliases.map((alias) => alias.toLowerCase()) })
  }

/**
 * The sentences that commands say by themselves.
 *
 * @category words
 * @since 0.1.0
 */
export interface Words {
  /** The name of the command that lists the commands, and what is said of it. */
  readonly help: { readonly name: string; readonly description: string; readonly heading: string }
  /** There is no command of this name; perhaps another was meant. */
  readonly unknown: (name: string, meant: string | undefined) => string
  readonly missing: (usage: string, argument: string) => string
  readonly wrong: (usage: string, argument: string, expected: string) => string
  readonly tooMany: (usage: string) => string
  /** Somebody spoke to the bot without a command. */
  readonly lost: string
}

/**
 * @category words
 * @since 0.1.0
 */
export const english: Words = {
  help: { name: "help", description: "What I can do", heading: "This is what I can do:" },
  unknown: (name, meant) =>
    meant === undefined ? `I do not know /${name}. Try /help.` : `I do not know /${name}. Did you mean /${meant}?`,
  missing: (usage, argument) => `The ${argument} is missing: ${usage}`,
  wrong: (usage, argument, expected) => `The ${argument} must be ${expected}: ${usage}`,
  tooMany: (usage) => `That is more than I understand: ${usage}`,
  lost: "Try /help."
}

/**
 * @category words
 * @since 0.1.0
 */
export const chinese: Words = {
  help: { name: "help", description: "\u529f\u80fd\u5217\u8868", heading: "\u6211\u53ef\u4ee5\uff1a" },
  unknown: (name, meant) =>
    meant === undefined
      ? `\u6ca1\u6709 /${name} \u8fd9\u4e2a\u547d\u4ee4\uff0c\u8bf7\u53d1\u9001 /help\u3002`
      : `\u6ca1\u6709 /${name} \u8fd9\u4e2a\u547d\u4ee4\uff0c\u60a8\u662f\u60f3\u8bf4 /${meant} \u5417\uff1f`,
  missing: (usage, argument) => `\u7f3a\u5c11 ${argument}\uff1a${usage}`,
  wrong: (usage, argument, expected) => `${argument} \u5e94\u4e3a ${expected}\uff1a${usage}`,
  tooMany: (usage) => `\u53c2\u6570\u592a\u591a\uff1a${usage}`,
  lost: "\u8bf7\u53d1\u9001 /help\u3002"
}

/** How many letters have to be changed, taken away or put in to make one name of another. */
const distance = (a: string, b: string): number => {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1
      current.push(Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + same))
    }
    previous = current
  }
  return previous[b.length]!
}

/** How much of a name that nobody knows is looked at, and said back. */
const maximumName = 32

const nearest = (name: string, names: ReadonlyArray<string>): string | undefined => {
  const [best] = names
    .map((candidate) => ({ candidate, away: distance(name, candidate) }))
    .toSorted((a, b) => a.away - b.away)
  return best !== undefined && best.away <= Math.floor(best.candidate.length / 3) ? best.candidate : undefined
}

/** What a text calls, if it calls anything: `/price BTC` as its name and the rest. A full-width slash is one too. */
const calledBy = (text: string) => {
  const [, name, written] = /^\s*[/\uff0f]([^\s/\uff0f]+)([\s\S]*)$/.exec(text) ?? []
  return name === undefined ? undefined : { name: name.toLowerCase().slice(0, maximumName), written: written ?? "" }
}

const sentenceFor = ({ usage }: Command<unknown, unknown>, problem: Problem, words: Words): string => {
  switch (problem._tag) {
    case "Missing":
      return words.missing(usage, problem.argument)
    case "Wrong":
      return words.wrong(usage, problem.argument, problem.expected)
    case "TooMany":
      return words.tooMany(usage)
  }
}

const helpOf = (commands: ReadonlyArray<Command<unknown, unknown>>, words: Words): string =>
  [
    words.help.heading,
    ...commands.map(({ description, usage }) => (description === "" ? usage : `${usage} \u2014 ${description}`))
  ].join("\n")

/**
 * How commands are put together.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E, R> {
  /** What is done with everything else that is said to the bot. By default a text is answered with what helps; the rest is nothing to answer. */
  readonly orElse?: ((delivery: Delivery.Delivery) => Effect.Effect<unknown, E, R>) | undefined
  /** The sentences: `english` by default. */
  readonly words?: Words | undefined
}

/**
 * A handler of commands, and of a `/help` that lists them.
 *
 * **Details**
 *
 * In a group it hears what mentions the bot and what calls one of its commands, as a button does; what people say to each other it
 * acknowledges without a word, and so notices of the system: `Bot.match({ Snapshot: ..., orElse: Commands.make([...]) })` has both.
 *
 * **Example** (A bot of two commands)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Bot, Commands } from "effect-blaze"
 *
 * const echo = Commands.command("echo", { text: Commands.Rest }, ({ text }, delivery) => delivery.reply(text))
 * const add = Commands.command("add", { a: Schema.FiniteFromString, b: Schema.FiniteFromString }, ({ a, b }, delivery) =>
 *   delivery.reply(String(a + b))
 * ).pipe(Commands.withDescription("A sum"))
 * const program = Bot.run(Commands.make([echo, add]))
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const make = <const C extends ReadonlyArray<Command<unknown, unknown>>, E = never, R = never>(
  commands: C,
  options: Options<E, R> = {}
): ((
  delivery: Delivery.Delivery
) => Effect.Effect<unknown, ErrorOf<C> | NoInfer<E> | BlazeError.BlazeError, ServicesOf<C> | NoInfer<R>>) => {
  const words = options.words ?? english
  const help = command(words.help.name, {}, (_, delivery) => delivery.reply(helpOf(all, words))).pipe(
    withDescription(words.help.description)
  )
  const isOwn = commands.some(({ aliases, name }) => [name, ...aliases].includes(words.help.name.toLowerCase()))
  const all: ReadonlyArray<Command<unknown, unknown>> = isOwn ? commands : [...commands, help]
  const named = all.flatMap((known) => [known.name, ...known.aliases].map((name) => [name, known] as const))
  const byName = new Map(named)
  const twice = named.find(([name, known]) => byName.get(name) !== known)
  if (twice !== undefined) throw new TypeError(`There are two commands of the name ${twice[0]}.`)
  const lost = (delivery: Delivery.Delivery) =>
    Message.isText(delivery.message) ? delivery.reply(words.lost) : Effect.void

  const orElse = (delivery: Delivery.Delivery): Effect.Effect<unknown, unknown, unknown> =>
    options.orElse === undefined ? lost(delivery) : options.orElse(delivery)

  const answer = (
    delivery: Delivery.Delivery<Message.Text>,
    text: string
  ): Effect.Effect<unknown, unknown, unknown> => {
    const called = calledBy(text)
    if (called === undefined) return orElse(delivery)
    const known = byName.get(called.name)
    if (known === undefined) return delivery.reply(words.unknown(called.name, nearest(called.name, [...byName.keys()])))
    const run = known.run(called.written, delivery)
    return Result.isSuccess(run) ? run.success : delivery.reply(sentenceFor(known, run.failure, words))
  }

  const handler = Effect.fnUntraced(function* (delivery: Delivery.Delivery) {
    if (!delivery.message.isSaid) return
    const isForBot = yield* delivery.isForBot
    if (!isTextDelivery(delivery)) return isForBot ? yield* orElse(delivery) : undefined
    // A button says its command without a mention.
    if (!isForBot && !byName.has(calledBy(delivery.message.text)?.name ?? "")) return
    return yield* answer(delivery, yield* delivery.textWithoutMention)
  })
  return handler as never
}

const isTextDelivery = Delivery.is(Message.isText)

/** What the handlers of commands fail with, and need. */
type ErrorOf<C extends ReadonlyArray<Command<unknown, unknown>>> =
  C[number] extends Command<infer E, unknown> ? E : never
type ServicesOf<C extends ReadonlyArray<Command<unknown, unknown>>> =
  C[number] extends Command<unknown, infer R> ? R : never

/**
 * Buttons for the commands that need no arguments.
 *
 * **Example** (A menu)
 *
 * ```ts
 * import { Commands } from "effect-blaze"
 *
 * const balance = Commands.command("balance", {}, (_, delivery) => delivery.reply("0"))
 * const menu = Commands.command("menu", {}, (_, delivery) => delivery.reply(Commands.menu([balance])))
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const menu = (commands: ReadonlyArray<Command<unknown, unknown>>): Outgoing.Outgoing =>
  Outgoing.buttons(
    commands
      .filter(({ isComplete }) => isComplete)
      .map(({ description, name }) =>
        Button.say(
          description === "" || description.length > Settings.defaults.maximumLabelLength ? `/${name}` : description,
          `/${name}`
        )
      )
  )
