/**
 * The people, their conversations with the bot, and what can be done to it: all that the page shows.
 *
 * Guarantee: it outlives the bot's process; it keeps the last few hundred messages of a conversation.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Branded from "../../internal/Branded.ts"
import * as Signal from "../../internal/Signal.ts"
import * as Server from "../../testing/BlazeServer.ts"
import * as Buttons from "../../testing/internal/Buttons.ts"
import type * as BotProcess from "./BotProcess.ts"
import * as SavedTest from "./SavedTest.ts"
import type * as Scene from "./Scene.ts"
import type * as Wiretap from "./Wiretap.ts"

const maximumMessages = 300
const maximumPeople = 50
const maximumName = 40

/** How often at most phones are looked at. */
const moment = "20 millis"

interface Person {
  readonly person: Server.Person
  isBlocking: boolean
  isOff: boolean
}

interface Chat {
  readonly id: string
  readonly title: string
  readonly isGroup: boolean
  readonly people: ReadonlyArray<string>
  messages: Array<{ -readonly [Key in keyof Scene.Message]: Scene.Message[Key] }>
  readonly doings: Array<SavedTest.Doing>
}

/** What is asked for cannot be done: the sentence is for the page. */
const impossible = (sentence: string) => Effect.fail(new Error(sentence))

type FaultName = Extract<Scene.Action, { readonly _tag: "Fault" }>["fault"]

const faults: Readonly<Record<Exclude<FaultName, "cut" | "half open" | "heal" | "clock an hour ahead">, Server.Fault>> =
  {
    "refuse the next handshake": { _tag: "RefuseHandshake", status: 503 },
    "drop the next connection": { _tag: "DropConnection" },
    "fail the next REST request": { _tag: "FailRest", status: 503, body: "" },
    "answer the next request late": { _tag: "DelayAnswer", by: "5 seconds" },
    "do not answer the next request": { _tag: "IgnoreRequest" },
    "push the next message twice": { _tag: "DuplicatePush" },
    "push the next message damaged": { _tag: "CorruptPush" }
  }

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly bot: Server.BotAccount
  readonly file: string
  readonly people: ReadonlyArray<string>
  readonly process: SubscriptionRef.SubscriptionRef<BotProcess.State>
  readonly wire: ReturnType<typeof Wiretap.make>
  /** Begins the bot's process anew. */
  readonly restart: Effect.Effect<void>
  /** Writes a test, and gives where it is. */
  readonly save: (code: string) => Effect.Effect<string, Error>
  /** Where the test finds the bot's handler. */
  readonly handlerFile: Effect.Effect<string>
}

/** The conversations, as the server's events tell of them. */
const makeChats = (now: () => number) => {
  const chats = new Map<string, Chat>()
  // All of them, for phones hold what is not shown here any more.
  const known = new Set<string>()
  const begin = (id: string, title: string, people: ReadonlyArray<string>, isGroup: boolean) => {
    if (!chats.has(id)) chats.set(id, { id, title, people, isGroup, messages: [], doings: [] })
  }
  const add = (chat: string, message: Omit<Scene.Message, "at" | "state" | "isGone">) => {
    const found = chats.get(chat)
    if (found === undefined || known.has(message.id)) return
    known.add(message.id)
    found.messages.push({ ...message, at: now(), state: "sent", isGone: false })
    if (found.messages.length > 2 * maximumMessages) found.messages = found.messages.slice(-maximumMessages)
  }
  return {
    begin,
    add,
    mark: (ids: ReadonlyArray<string>, state: Scene.Message["state"]) => {
      const all = new Set(ids)
      for (const { messages } of chats.values()) {
        for (const message of messages) if (all.has(message.id) && message.state !== "read") message.state = state
      }
    },
    get: (id: string) => chats.get(id),
    all: (): ReadonlyArray<Scene.Chat> =>
      [...chats.values()].map(({ id, isGroup, messages, people, title }) => ({ id, isGroup, messages, people, title })),
    /** What is on people's phones now. */
    refresh: (phones: ReadonlyArray<readonly [name: string, received: ReadonlyArray<Server.Received>]>) => {
      const shown = new Set<string>()
      for (const [name, received] of phones) {
        for (const { category, conversationId, messageId, quotedMessageId, text } of received) {
          shown.add(messageId)
          // A group that the bot has made.
          begin(conversationId, "a group of the bot's", [name], true)
          const quoted = Option.getOrUndefined(quotedMessageId)
          add(conversationId, { id: messageId, from: undefined, category, text, quoted })
        }
      }
      for (const { messages } of chats.values()) {
        for (const message of messages) if (message.from === undefined) message.isGone = !shown.has(message.id)
      }
    }
  }
}

/** What the button of a label does, in a message. */
const actionOf = (message: Pick<Scene.Message, "category" | "text">, label: string) =>
  Buttons.of(message).find((button) => button.label === label)?.action

type Chats = ReturnType<typeof makeChats>

type Acts = {
  readonly [Tag in Scene.Action["_tag"]]: (
    action: Extract<Scene.Action, { readonly _tag: Tag }>
  ) => Effect.Effect<unknown, Error>
}

/** What the acts are about. */
interface Stage {
  readonly server: Server.BlazeServer["Service"]
  readonly options: Options
  readonly people: Map<string, Person>
  readonly chats: Chats
  readonly now: () => number
  readonly settings: { mentionsOnly: boolean; isEncrypted: boolean; faults: ReadonlyArray<string> }
  readonly personOf: (name: string) => Effect.Effect<Person, Error>
  readonly chatOf: (id: string) => Effect.Effect<Chat, Error>
}

type Speaking = "Say" | "Quote" | "Send" | "SendFile" | "Recall" | "Tap" | "Pay" | "Read"

/** What somebody does in a conversation. */
const speaking = ({ chatOf, chats, now, personOf }: Stage): Pick<Acts, Speaking> => {
  const saying = (
    action: { readonly person: string; readonly chat: string },
    said: { readonly category: string; readonly text: string; readonly quoted?: string },
    say: (person: Server.Person, chat: ReturnType<typeof Branded.conversationId>) => Effect.Effect<string>
  ) =>
    Effect.gen(function* () {
      const { person } = yield* personOf(action.person)
      const chat = yield* chatOf(action.chat)
      const id = yield* say(person, Branded.conversationId(chat.id))
      const { category, quoted, text } = said
      chats.add(chat.id, { id, from: person.name, category, text, quoted })
      return id
    })
  return {
    Say: (action) =>
      saying(action, { category: "PLAIN_TEXT", text: action.text }, (person, chat) => person.say(action.text, chat)),
    Quote: (action) =>
      saying(action, { category: "PLAIN_TEXT", text: action.text, quoted: action.message }, (person, chat) =>
        person.quote(Branded.messageId(action.message), action.text, chat)
      ),
    Send: (action) =>
      saying(action, { category: action.category, text: action.payload }, (person, chat) =>
        person.send(action.category, action.payload, chat)
      ),
    SendFile: (action) => {
      const bytes = Base64.decode(action.base64)
      if (Result.isFailure(bytes)) return impossible("The file did not come as it was sent.")
      return saying(action, { category: action.category, text: JSON.stringify(action.fields) }, (person, chat) =>
        person.sendFile(action.category, bytes.success, action.fields, chat)
      )
    },
    Recall: Effect.fnUntraced(function* (action) {
      const { person } = yield* personOf(action.person)
      const chat = yield* chatOf(action.chat)
      const at = now()
      yield* person.recall(Branded.messageId(action.message), Branded.conversationId(chat.id))
      chat.doings.push({ _tag: "Recalled", at, person: person.name, message: action.message })
      const message = chat.messages.find(({ id }) => id === action.message)
      if (message !== undefined) message.isGone = true
    }),
    Tap: Effect.fnUntraced(function* (action) {
      const { person } = yield* personOf(action.person)
      const chat = yield* chatOf(action.chat)
      const message = chat.messages.find(({ id }) => id === action.message)
      const does = message === undefined || message.isGone ? undefined : actionOf(message, action.label)
      if (does === undefined) return yield* impossible(`There is no button ${action.label} in that message.`)
      const text = /^input:(.*)$/s.exec(does)?.[1]
      if (text === undefined) return { action: does }
      const newest = (yield* person.received).findLast((received) => actionOf(received, action.label))
      const at = now()
      const said = yield* saying(action, { category: "PLAIN_TEXT", text }, (person, chat) => person.say(text, chat))
      // A tap in a test is on the newest of its label.
      if (newest?.messageId === action.message) {
        chat.doings.push({ _tag: "Tapped", at, person: person.name, label: action.label, message: said })
      }
      return { action: does }
    }),
    Pay: Effect.fnUntraced(function* (action) {
      const { person } = yield* personOf(action.person)
      const { amount, asset, memo } = action
      const id = yield* person.pay({ asset, amount, memo })
      const text = JSON.stringify({ asset, amount, memo })
      chats.add(person.conversationId, { id, from: person.name, category: "PAID", text, quoted: undefined })
    }),
    Read: (action) =>
      Effect.flatMap(personOf(action.person), ({ isOff, person }) => (isOff ? Effect.void : person.unread))
  }
}

/** Who is there, and how their phones are. */
const gathering = ({
  chats,
  options: { bot },
  people,
  personOf,
  server
}: Stage): Pick<Acts, "AddPerson" | "MakeGroup" | "Switch"> => ({
  AddPerson: Effect.fnUntraced(function* (action) {
    const name = action.name.trim()
    if (name === "" || name.length > maximumName || /[\p{Cc}:]/u.test(name)) {
      return yield* impossible(`A name has 1 to ${maximumName} characters, and no colon.`)
    }
    if (people.has(name)) return yield* impossible(`${name} is there already.`)
    if (people.size >= maximumPeople) return yield* impossible(`There are ${maximumPeople} people, and no more.`)
    const person = yield* server.user(bot, name)
    people.set(name, { person, isBlocking: false, isOff: false })
    chats.begin(person.conversationId, name, [name], false)
  }),
  MakeGroup: Effect.fnUntraced(function* (action) {
    const members = (yield* Effect.forEach(action.people, personOf)).map(({ person }) => person)
    if (members.length === 0) return yield* impossible("A group has somebody in it.")
    const names = members.map(({ name }) => name)
    chats.begin(yield* server.group(bot, members), `${names.join(", ")} and the bot`, names, true)
  }),
  Switch: Effect.fnUntraced(function* (action) {
    const known = yield* personOf(action.person)
    const { block, turnOff, turnOn, unblock } = known.person
    if (action.what === "block") {
      yield* action.isOn ? block : unblock
      known.isBlocking = action.isOn
    } else {
      yield* action.isOn ? turnOn : turnOff
      known.isOff = !action.isOn
    }
  })
})

/** What is made to go wrong, and what is as somebody else decides. */
const meddling = ({
  chatOf,
  options: { bot, handlerFile, restart, save },
  server,
  settings
}: Stage): Pick<Acts, "Fault" | "Rule" | "Encryption" | "Restart" | "Save"> => ({
  Fault: ({ fault: name }) => {
    if (name === "cut") return bot.cut
    if (name === "half open") return bot.halfOpen
    settings.faults = name === "heal" ? [] : [...settings.faults, name].slice(-maximumPeople)
    if (name === "heal") return Effect.andThen(server.heal, server.setClockOffset(0))
    return name === "clock an hour ahead" ? server.setClockOffset("1 hour") : server.inject(faults[name])
  },
  Rule: ({ mentionsOnly }) => {
    settings.mentionsOnly = mentionsOnly
    return server.setGroupRule(mentionsOnly ? "mentions" : "everything")
  },
  Encryption: ({ isOn }) => {
    settings.isEncrypted = isOn
    return server.setEncryption(bot, isOn)
  },
  Restart: () => restart,
  Save: Effect.fnUntraced(function* (action) {
    const chat = yield* chatOf(action.chat)
    if (!chat.messages.some(({ from }) => from !== undefined)) {
      return yield* impossible("Nothing has been said here that could be a test.")
    }
    const code = SavedTest.of(chat, chat.doings, {
      identityNumber: bot.identityNumber,
      mentionsOnly: settings.mentionsOnly,
      from: yield* handlerFile
    })
    return { code, path: yield* save(code) }
  })
})

/** What the page shows, as it is now. */
const makeScene = ({ chats, options: { bot, file, process, wire }, people, settings }: Stage) =>
  Effect.gen(function* () {
    const { metrics, output, runs, state } = yield* SubscriptionRef.get(process)
    const acknowledged = yield* bot.acknowledged
    const shown: Scene.Scene = {
      bot: {
        file,
        identityNumber: bot.identityNumber,
        process: state,
        runs,
        connections: yield* bot.connections,
        handshakes: yield* bot.handshakes,
        pending: yield* bot.pending,
        acknowledged: acknowledged.reduce((sum, { length }) => sum + length, 0),
        sent: (yield* bot.sent).length,
        metrics
      },
      people: [...people.values()].map(({ isBlocking, isOff, person: { identityNumber, name, userId } }) => ({
        name,
        userId,
        identityNumber,
        isBlocking,
        isOff
      })),
      chats: chats.all(),
      wire: wire.kept(),
      output,
      ...settings
    }
    return shown
  })

/** Follows what happens on the server; gives how phones are looked at. */
const following = Effect.fnUntraced(function* ({ chats, people, server }: Stage, changed: Effect.Effect<void>) {
  const refresh = Effect.gen(function* () {
    chats.refresh(
      yield* Effect.forEach(people.values(), ({ person }) =>
        Effect.map(person.received, (received) => [person.name, received] as const)
      )
    )
    yield* changed
  })
  const signal = Signal.make()
  let isStale = false
  yield* server.events.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        if (event._tag === "Acknowledged") chats.mark(event.messageIds, "acknowledged")
        if (event._tag === "Receipt") chats.mark([event.messageId], event.status === "READ" ? "read" : "delivered")
        isStale = true
        signal.notify()
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  // Once for all that comes in a moment, however long the conversations are.
  yield* signal
    .until(() => isStale)
    .pipe(
      Effect.andThen(
        Effect.suspend(() => {
          isStale = false
          return refresh
        })
      ),
      Effect.andThen(Effect.sleep(moment)),
      Effect.forever,
      Effect.forkScoped
    )
  return refresh
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const server = yield* Server.BlazeServer
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const people = new Map<string, Person>()
  const chats = makeChats(now)
  const stage: Stage = {
    server,
    options,
    people,
    chats,
    now,
    settings: { mentionsOnly: false, isEncrypted: false, faults: [] },
    personOf: (name) => {
      const person = people.get(name)
      return person === undefined ? impossible(`There is nobody called ${name}.`) : Effect.succeed(person)
    },
    chatOf: (id) => {
      const chat = chats.get(id)
      return chat === undefined ? impossible("There is no such conversation.") : Effect.succeed(chat)
    }
  }
  const acts: Acts = { ...speaking(stage), ...gathering(stage), ...meddling(stage) }
  for (const name of options.people) yield* acts.AddPerson({ _tag: "AddPerson", name })

  const revision = yield* SubscriptionRef.make(0)
  const changed = SubscriptionRef.update(revision, (count) => count + 1)
  const refresh = yield* following(stage, changed)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  options.wire.listen(() => void fork(changed))
  yield* SubscriptionRef.changes(options.process).pipe(
    Stream.runForEach(() => changed),
    Effect.forkScoped
  )

  return {
    scene: makeScene(stage),
    /** Tells that something is other than before, now and whenever it is. */
    changes: SubscriptionRef.changes(revision),
    /** Does what is asked for, or fails with a sentence that says why not. */
    act: (action: Scene.Action): Effect.Effect<unknown, Error> =>
      Effect.ensuring(acts[action._tag](action as never), refresh).pipe(
        // What cannot be in the server's world, a word in a group that one is not in say, is a defect of a test, and none here.
        Effect.catchDefect((defect) => Effect.fail(defect instanceof Error ? defect : new Error(String(defect))))
      ),
    /** The bytes of a file that the bot has sent. */
    file: Effect.fnUntraced(function* (id: string) {
      for (const { person } of people.values()) {
        const message = (yield* person.received).find(({ messageId }) => messageId === id)
        if (message === undefined) continue
        const bytes = yield* person.openFile(message)
        if (Option.isSome(bytes)) return bytes
      }
      return Option.none<Uint8Array>()
    })
  }
})
/** @since 0.1.0 */
export type Playground = Effect.Success<ReturnType<typeof make>>
