/**
 * What the page and the server behind it say to each other.
 *
 * Guarantee: what comes from the page is read by a schema.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * What somebody does on the page.
 *
 * @category models
 * @since 0.1.0
 */
export const Action = Schema.Union([
  Schema.TaggedStruct("Say", { person: Schema.String, chat: Schema.String, text: Schema.String }),
  Schema.TaggedStruct("Quote", {
    person: Schema.String,
    chat: Schema.String,
    message: Schema.String,
    text: Schema.String
  }),
  Schema.TaggedStruct("Recall", { person: Schema.String, chat: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("Tap", {
    person: Schema.String,
    chat: Schema.String,
    message: Schema.String,
    label: Schema.String
  }),
  Schema.TaggedStruct("Send", {
    person: Schema.String,
    chat: Schema.String,
    category: Schema.String,
    payload: Schema.String
  }),
  Schema.TaggedStruct("SendFile", {
    person: Schema.String,
    chat: Schema.String,
    category: Schema.Literals(["PLAIN_IMAGE", "PLAIN_DATA"]),
    base64: Schema.String,
    fields: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite]))
  }),
  Schema.TaggedStruct("Pay", {
    person: Schema.String,
    asset: Schema.String,
    amount: Schema.String,
    memo: Schema.String
  }),
  Schema.TaggedStruct("Read", { person: Schema.String }),
  Schema.TaggedStruct("AddPerson", { name: Schema.String }),
  Schema.TaggedStruct("MakeGroup", { people: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("Switch", {
    person: Schema.String,
    what: Schema.Literals(["block", "phone"]),
    isOn: Schema.Boolean
  }),
  Schema.TaggedStruct("Fault", {
    fault: Schema.Literals([
      "cut",
      "half open",
      "refuse the next handshake",
      "drop the next connection",
      "fail the next REST request",
      "answer the next request late",
      "do not answer the next request",
      "push the next message twice",
      "push the next message damaged",
      "clock an hour ahead",
      "heal"
    ])
  }),
  Schema.TaggedStruct("Rule", { mentionsOnly: Schema.Boolean }),
  Schema.TaggedStruct("Encryption", { isOn: Schema.Boolean }),
  Schema.TaggedStruct("Restart", {}),
  Schema.TaggedStruct("Save", { chat: Schema.String })
])
/** @since 0.1.0 */
export type Action = typeof Action.Type

/**
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly id: string
  /** A person's name, or nothing where it is the bot's. */
  readonly from: string | undefined
  readonly category: string
  /** Its payload as text. */
  readonly text: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly quoted: string | undefined
  /** How far it has come: a person's until the bot has acknowledged it, the bot's until somebody has read it. */
  readonly state: "sent" | "acknowledged" | "delivered" | "read"
  /** Taken back, or it has disappeared. */
  readonly isGone: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Chat {
  readonly id: string
  readonly title: string
  readonly isGroup: boolean
  readonly people: ReadonlyArray<string>
  readonly messages: ReadonlyArray<Message>
}

/**
 * Something that has travelled: a frame of the socket, or a request over REST with its answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Travelled {
  readonly number: number
  readonly at: number
  readonly by: "bot" | "server" | "rest"
  /** What it is, in a few words. */
  readonly title: string
  /** All of it, as JSON. */
  readonly body: string
}

/**
 * The bot's process.
 *
 * @category models
 * @since 0.1.0
 */
export type Process =
  | { readonly _tag: "Starting" }
  | { readonly _tag: "Running" }
  /** How, in a few words, and what it has said last. */
  | { readonly _tag: "Ended"; readonly how: string; readonly words: string }

/**
 * A metric of the bot's process.
 *
 * @category models
 * @since 0.1.0
 */
export const Metric = Schema.Struct({
  name: Schema.String,
  labels: Schema.String,
  value: Schema.String,
  description: Schema.String
})
/** @since 0.1.0 */
export type Metric = typeof Metric.Type

/**
 * All that the page shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scene {
  readonly bot: {
    readonly file: string
    readonly identityNumber: string
    readonly process: Process
    /** How often it was begun. */
    readonly runs: number
    readonly connections: number
    readonly handshakes: number
    readonly pending: ReadonlyArray<string>
    readonly acknowledged: number
    readonly sent: number
    /** As it says itself, which it does once a second while it runs. */
    readonly metrics: ReadonlyArray<Metric>
  }
  readonly people: ReadonlyArray<{
    readonly name: string
    readonly userId: string
    readonly identityNumber: string
    readonly isBlocking: boolean
    readonly isOff: boolean
  }>
  readonly chats: ReadonlyArray<Chat>
  readonly wire: ReadonlyArray<Travelled>
  readonly output: ReadonlyArray<string>
  readonly mentionsOnly: boolean
  readonly isEncrypted: boolean
  readonly faults: ReadonlyArray<string>
}
