/**
 * What a bot remembers of a conversation or a person: typed values, which a handler reads and writes.
 *
 * Guarantee: what a handler writes is stored together with "this message was handled", or neither is; nothing is written on what has
 * changed since it was read; a value that its form does not fit fails, and is not taken for nothing.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Ids from "./Ids.ts"
import * as Cells from "./internal/Cells.ts"
import type * as Message from "./Message.ts"
import type * as Store from "./Store.ts"

export { layer, Storage } from "./internal/Cells.ts"
export type { Cell, Form } from "./internal/Cells.ts"

/**
 * A value for each conversation or each person.
 *
 * @category models
 * @since 0.1.0
 */
export interface State<in out A, out Key extends string = string> extends Cells.Form<A> {
  /** Whose value a handler of a message gets. */
  readonly keyOf: (message: Message.Message) => Key
}

/**
 * How a value changes over the years.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The version of the schema, a whole number: 1, and one more each time that what is stored does not fit any more. */
  readonly version?: number | undefined
  /** Makes what was stored by another version, as JSON, into what this version stores. Without it such a value fails. */
  readonly migrate?: ((stored: unknown, version: number) => unknown) | undefined
  /** How long after its last write a value is remembered: for ever. */
  readonly timeToLive?: Duration.Input | undefined
}

type Codec<A> = Schema.Codec<A, unknown>

const problemOf = ({ timeToLive, version = 1 }: Options) => {
  if (!Number.isSafeInteger(version) || version < 1) return "its version has to be a whole number from 1 on"
  if (timeToLive === undefined) return undefined
  const life = Duration.fromInput(timeToLive)
  return Option.isSome(life) && Duration.isPositive(life.value) ? undefined : "its timeToLive has to be a positive time"
}

const makeForm = <A>(
  kind: "conversation" | "person",
  name: string,
  schema: Codec<A>,
  options: Options
): Cells.Form<A> => {
  const { migrate, timeToLive, version = 1 } = options
  const json = Schema.toCodecJson(schema)
  const decode = Schema.decodeUnknownExit(json)
  const encode = Schema.encodeExit(json)
  const failed = (problem: string) => Effect.fail(BlazeError.make(new BlazeError.StateFailed({ state: name, problem })))

  const read = (kept: Pick<Store.Kept, "version" | "value">) => {
    const stored: unknown = JSON.parse(kept.value)
    return decode(kept.version === version ? stored : migrate?.(stored, kept.version))
  }
  const write = (value: A) => {
    const encoded = encode(value)
    const text: unknown = Exit.isSuccess(encoded) ? JSON.stringify(encoded.value) : undefined
    return typeof text === "string" ? text : undefined
  }

  return {
    name,
    place: `${kind} ${name}`,
    problem: problemOf(options),
    timeToLive,
    decode: (kept) =>
      Effect.suspend(() => {
        if (kept.version !== version && migrate === undefined) {
          return failed(`version ${kept.version} of it is stored, and version ${version} has no migrate`)
        }
        // Whatever somebody has stored there, and whatever migrate makes of it.
        return Effect.catchCause(
          Effect.suspend(() => read(kept)),
          () => failed(`what is stored, of version ${kept.version}, does not fit its schema`)
        )
      }),
    encode: (value) =>
      Effect.suspend(() => {
        const text = write(value)
        return text === undefined
          ? failed("a value does not fit its schema, or has no form in JSON")
          : Effect.succeed({ version, value: text })
      })
  }
}

/**
 * A value for each conversation: for what is being talked about.
 *
 * **When to use**
 *
 * Use for dialogs, games and settings of a group. `person` is for what somebody is asked once, wherever it was.
 *
 * **Details**
 *
 * `delivery.state` reads and writes it in a handler. What was written counts when the handler has succeeded: it is stored in one transaction
 * with "this message was handled", before the next message of the conversation begins. A handler that fails, or defers its message, has written
 * nothing. Where it is stored is the bot's `Store`: in memory, or with `NodeBlaze.layerDurable` in a file.
 *
 * **Example** (A counter that never counts a message twice)
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Bot, State } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const Visits = State.conversation("visits", Schema.Int)
 *
 * const bot = Bot.match({
 *   orElse: Effect.fnUntraced(function* (delivery) {
 *     const visits = delivery.state(Visits)
 *     const count = Option.getOrElse(yield* visits.get, () => 0) + 1
 *     yield* visits.set(count)
 *     yield* delivery.reply(`Visit ${count}.`)
 *   })
 * })
 *
 * const program = Effect.gen(function* () {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* Effect.forkChild(Bot.run(bot))
 *   yield* alice.say("hi")
 *   yield* alice.say("hi again")
 *   yield* BlazeTest.settle
 *   console.assert((yield* alice.reads).join() === "Visit 1.,Visit 2.")
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const conversation = <A>(
  name: string,
  schema: Codec<A>,
  options: Options = {}
): State<A, Ids.ConversationId> => ({
  ...makeForm("conversation", name, schema, options),
  keyOf: ({ conversationId }) => conversationId
})

/**
 * A value for each person, in whatever conversation: `conversation` tells how it is used.
 *
 * **Gotchas**
 *
 * What a person says in two conversations at the same time is handled at the same time. Where both handlers read the value and write it, the
 * one that ends later has written nothing and runs again, with what the other one has written, and may have answered before that. A dialog
 * is better kept by its conversation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const person = <A>(name: string, schema: Codec<A>, options: Options = {}): State<A, Ids.UserId> => ({
  ...makeForm("person", name, schema, options),
  keyOf: ({ senderId }) => senderId
})

/**
 * A value outside of a handler. What is written is stored at once, on what `get` has read last: when that has changed meanwhile it fails with
 * `StateChanged`. Without a `get` it is stored whatever is there.
 *
 * **Example** (The shop's own program moves a dialog on)
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Blaze, type Ids, State } from "effect-blaze"
 *
 * const Order = State.conversation("order", Schema.Literals(["ordered", "sent"]))
 *
 * const sent = Effect.fnUntraced(function* (conversation: Ids.ConversationId) {
 *   const order = yield* State.of(Order, conversation)
 *   if (Option.contains(yield* order.get, "sent")) return
 *   yield* order.set("sent")
 *   const blaze = yield* Blaze.Blaze
 *   yield* blaze.send({ conversation }, "It is on its way.", { id: yield* blaze.derive("sent", conversation) })
 * })
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const of = <A, Key extends string>(
  state: State<A, Key>,
  key: Key
): Effect.Effect<Cells.Cell<A>, never, Cells.Storage> =>
  Effect.map(Cells.Storage, (storage) => Cells.immediate(state, key, storage))

/**
 * Makes another value of what is remembered, outside of a handler, and gives it: nothing that somebody else writes is lost. `f` may be called
 * more often than once.
 *
 * **Details**
 *
 * In this process one is made after the other. Where a handler has written meanwhile it begins again, ten times at the most; then it fails
 * with `StateChanged`.
 *
 * **Example** (Credit that another program gives)
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { State } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const Credit = State.person("credit", Schema.Int)
 *
 * const program = Effect.gen(function* () {
 *   const { userId } = yield* BlazeTest.user("alice")
 *   const add = State.update(Credit, userId, (credit) => Option.getOrElse(credit, () => 0) + 5)
 *   yield* Effect.all([add, add, add], { concurrency: "unbounded" })
 *   const credit = yield* State.of(Credit, userId)
 *   console.assert(Option.contains(yield* credit.get, 15))
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer)))
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const update = <A, Key extends string>(
  state: State<A, Key>,
  key: Key,
  f: (before: Option.Option<A>) => A
): Effect.Effect<A, BlazeError.BlazeError, Cells.Storage> =>
  Effect.flatMap(Cells.Storage, (storage) => Cells.update(state, key, storage, f))

/**
 * A value that is due.
 *
 * @category models
 * @since 0.1.0
 */
export interface Due<A, Key extends string = string> extends Cells.Cell<A> {
  readonly key: Key
  readonly value: A
  /** In milliseconds since 1970. */
  readonly dueAt: number
}

/** How many values that are due are told of at once. */
const maximumDue = 1000

/**
 * What is due by now, that of longest ago first and a thousand at the most: what was written with `due`, and not written since. It stays due
 * until it is written again.
 *
 * **When to use**
 *
 * Use for reminders and time limits, every few seconds. After a restart wait until the bot's status says that what was pending has been
 * `listed`: somebody may have answered meanwhile.
 *
 * **Details**
 *
 * A value that cannot be read is told in the log, and left where it is. `set` and `remove` of one that is due fail with `StateChanged` when it
 * was written since: who has answered in that moment is not reminded, if the reminder is sent after the write.
 *
 * **Example** (A question that is asked once more)
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Blaze, Bot, State } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 * import { TestClock } from "effect/testing"
 *
 * const Asked = State.conversation("asked", Schema.String)
 *
 * const bot = Bot.match({
 *   orElse: Effect.fnUntraced(function* (delivery) {
 *     const asked = delivery.state(Asked)
 *     if (Option.isSome(yield* asked.get)) return yield* asked.remove
 *     yield* asked.set("How old are you?", { due: "1 hour" })
 *     yield* delivery.reply("How old are you?")
 *   })
 * })
 *
 * const remind = Effect.gen(function* () {
 *   const blaze = yield* Blaze.Blaze
 *   for (const { dueAt, key, set, value } of yield* State.due(Asked)) {
 *     const id = yield* blaze.derive("remind", key, String(dueAt))
 *     yield* blaze.send({ conversation: key }, `Once more: ${value}`, { id, durable: true })
 *     // Somebody may have answered in this moment.
 *     yield* Effect.ignore(set(value))
 *   }
 * })
 *
 * const program = Effect.gen(function* () {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* Effect.forkChild(Bot.run(bot))
 *   yield* alice.say("hi")
 *   yield* BlazeTest.pass("1 hour")
 *   yield* remind
 *   yield* remind
 *   console.assert((yield* alice.reads).join() === "How old are you?,Once more: How old are you?")
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer), Effect.provide(TestClock.layer())))
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const due = <A, Key extends string>(
  state: State<A, Key>
): Effect.Effect<ReadonlyArray<Due<A, Key>>, BlazeError.BlazeError, Cells.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Cells.Storage
    const entries: Array<Due<A, Key>> = []
    const unread: Array<string> = []
    let looked = 0
    // What cannot be read stays where it is, and must not hide the rest.
    while (entries.length === 0) {
      const found = yield* storage.due(state.place, maximumDue, looked)
      for (const kept of found) {
        const value = yield* Effect.exit(state.decode(kept))
        if (Exit.isSuccess(value)) entries.push(dueOf(state, kept, value.value, storage))
        else if (unread.push(kept.key) > maximumDue) unread.pop()
      }
      looked += found.length
      if (found.length < maximumDue) break
    }
    if (unread.length > 0) {
      yield* Effect.logError(
        `What is due of the state ${JSON.stringify(state.name)} does not fit its schema, and is left where it is: ${Ids.list(unread)}`
      )
    }
    return entries
  })

const dueOf = <A, Key extends string>(
  state: State<A, Key>,
  kept: Store.Kept,
  value: A,
  storage: Cells.Storage["Service"]
): Due<A, Key> => ({
  ...Cells.immediate(state, kept.key, storage, kept),
  // It was stored under a key of the state's.
  key: kept.key as Key,
  value,
  dueAt: kept.dueAt ?? 0
})
