/**
 * What the REST API of the built-in server does, endpoint by endpoint.
 *
 * Guarantee: a bot sees and changes what it is in, and nothing else; what Mixin refuses is refused, with its codes.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Endpoint from "../../Endpoint.ts"
import * as Envelope from "../../Envelope.ts"
import type * as Ids from "../../Ids.ts"
import * as RestRules from "./RestRules.ts"

type Served<A> = Result.Result<A, Envelope.ErrorBody>

/**
 * What the rules ask of the server, for one bot each.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server<Bot> {
  readonly failure: (code: number, field?: string) => Envelope.ErrorBody
  readonly acknowledge: (bot: Bot, messages: ReadonlyArray<Envelope.Acknowledgement>) => void
  /** Sends all of the messages or none. */
  readonly send: (bot: Bot, messages: ReadonlyArray<unknown>) => Served<void>
  /** Sends the one message that somebody has not put into an array, and gives its view. */
  readonly sendOne: (bot: Bot, message: unknown) => Served<unknown>
  readonly sendEncrypted: (
    bot: Bot,
    messages: ReadonlyArray<unknown>
  ) => Served<ReadonlyArray<typeof Endpoint.EncryptedState.Type>>
  /** The one session that somebody has. */
  readonly sessions: (id: string) => Option.Option<Endpoint.Session>
  readonly me: (bot: Bot) => Endpoint.Me
  readonly updateMe: (bot: Bot, changes: typeof Endpoint.MeRequest.Type) => Endpoint.Me
  readonly prefer: (bot: Bot, preferences: typeof Endpoint.Preferences.Type) => Endpoint.Me
  readonly rotateMyCode: (bot: Bot) => Endpoint.Me
  readonly relate: (bot: Bot, request: typeof Endpoint.RelationshipRequest.Type) => Option.Option<Endpoint.User>
  readonly blocked: (bot: Bot) => ReadonlyArray<Endpoint.User>
  readonly user: (bot: Bot, id: string) => Option.Option<Endpoint.User>
  readonly search: (bot: Bot, query: string) => Option.Option<Endpoint.User>
  readonly friends: (bot: Bot) => ReadonlyArray<Endpoint.User>
  readonly conversation: (bot: Bot, id: string) => Option.Option<Endpoint.Conversation>
  readonly create: (bot: Bot, request: typeof Endpoint.ConversationRequest.Type) => Served<Endpoint.Conversation>
  readonly update: (
    bot: Bot,
    id: string,
    changes: { readonly name?: string; readonly announcement?: string }
  ) => Served<Endpoint.Conversation>
  readonly rotate: (bot: Bot, id: string) => Served<Endpoint.Conversation>
  readonly mute: (bot: Bot, id: string, seconds: number) => Served<Endpoint.Conversation>
  readonly disappear: (bot: Bot, id: string, seconds: number) => Served<Endpoint.Conversation>
  readonly join: (bot: Bot, code: string) => Served<Endpoint.Conversation>
  readonly exit: (bot: Bot, id: string) => Served<void>
  readonly createAttachment: (bot: Bot) => Endpoint.Attachment
  /** What a code leads to. */
  readonly code: (bot: Bot, code: string) => Option.Option<{ readonly type: "user" | "conversation" }>
  /** Tells somebody of a transfer. */
  readonly notifyTransfer: (
    bot: Bot,
    transfer: { readonly transaction_hash: string; readonly output_index: number; readonly receiver_id: Ids.UserId }
  ) => Served<object>
  readonly attachment: (bot: Bot, id: string) => Option.Option<Endpoint.Attachment>
  /** The receipts since a time, in nanoseconds. */
  readonly receiptsSince: (bot: Bot, nanos: bigint) => ReadonlyArray<object>
  readonly change: (
    bot: Bot,
    id: string,
    action: "ADD" | "REMOVE" | "ROLE",
    participants: ReadonlyArray<typeof Endpoint.ParticipantRequest.Type>
  ) => Served<Endpoint.Conversation>
}

const actions: ReadonlySet<string> = new Set(["ADD", "REMOVE", "ROLE"])

const isAction = (action: string): action is "ADD" | "REMOVE" | "ROLE" => actions.has(action)

/** A message alone is taken as well as an array of them: older clients send one. */
const messagesOrOne: Endpoint.Endpoint<"/messages", ReadonlyArray<unknown> | { readonly [x: string]: unknown }, void> =
  {
    ...Endpoint.messages,
    payload: Schema.Union([Schema.Array(Schema.Unknown), Schema.Record(Schema.String, Schema.Unknown)])
  }

const acknowledgementsOrOne: Endpoint.Endpoint<
  "/acknowledgements",
  ReadonlyArray<Envelope.Acknowledgement> | Envelope.Acknowledgement,
  void
> = {
  ...Endpoint.acknowledge,
  payload: Schema.Union([Schema.Array(Envelope.Acknowledgement), Envelope.Acknowledgement])
}

/** With what the client does not read of them. */
const receiptsAsPushed: Endpoint.Endpoint<"/messages/status/:since", never, ReadonlyArray<object>> = {
  ...Endpoint.receipts,
  data: undefined
}

/** The same. */
const codeAsWhole: Endpoint.Endpoint<"/codes/:id", never, object> = { ...Endpoint.code, data: undefined }
const transferAsPushed = { ...Endpoint.notifyTransfer, data: undefined }

interface Refusals {
  readonly invalid: (field: string) => Envelope.ErrorBody
  readonly notFound: () => Envelope.ErrorBody
}

const messageRules = <Bot>(server: Server<Bot>, { invalid }: Refusals): ReadonlyArray<RestRules.Rule<Bot>> => [
  RestRules.make(acknowledgementsOrOne, invalid, (bot, { payload }) => {
    const messages = "message_id" in payload ? [payload] : payload
    if (messages.length > Endpoint.maximumAcknowledgements) return Result.fail(invalid("messages"))
    return Result.succeed(server.acknowledge(bot, messages))
  }),
  RestRules.make(messagesOrOne, invalid, (bot, { payload }) => {
    if (!Array.isArray(payload)) return server.sendOne(bot, payload) as Served<void>
    if (payload.length > Endpoint.maximumMessages) return Result.fail(invalid("messages"))
    return server.send(bot, payload)
  }),
  RestRules.make(Endpoint.encryptedMessages, invalid, (bot, { payload }) =>
    payload.length > Endpoint.maximumMessages ? Result.fail(invalid("messages")) : server.sendEncrypted(bot, payload)
  ),
  RestRules.make(Endpoint.sessions, invalid, (_bot, { payload }) =>
    Result.succeed(payload.flatMap((id) => Option.toArray(server.sessions(id))))
  ),
  RestRules.make(receiptsAsPushed, invalid, (bot, { path }) =>
    /^\d{1,19}$/.test(path.since)
      ? Result.succeed(server.receiptsSince(bot, BigInt(path.since)))
      : Result.fail(invalid("offset"))
  ),
  RestRules.make(Endpoint.createAttachment, invalid, (bot) => Result.succeed(server.createAttachment(bot)))
]

const peopleRules = <Bot>(server: Server<Bot>, { invalid, notFound }: Refusals): ReadonlyArray<RestRules.Rule<Bot>> => {
  const found = <A>(value: Option.Option<A>): Served<A> => Result.fromOption(value, notFound)
  return [
    RestRules.make(Endpoint.me, invalid, (bot) => Result.succeed(server.me(bot))),
    RestRules.make(Endpoint.safeMe, invalid, (bot) => Result.succeed(server.me(bot))),
    RestRules.make(Endpoint.updateMe, invalid, (bot, { payload }) =>
      payload.full_name === "" ? Result.fail(invalid("full_name")) : Result.succeed(server.updateMe(bot, payload))
    ),
    RestRules.make(Endpoint.preferences, invalid, (bot, { payload }) => Result.succeed(server.prefer(bot, payload))),
    RestRules.make(Endpoint.rotateMyCode, invalid, (bot) => Result.succeed(server.rotateMyCode(bot))),
    RestRules.make(Endpoint.users, invalid, (bot, { payload }) =>
      Result.succeed(payload.flatMap((id) => Option.toArray(server.user(bot, id))))
    ),
    RestRules.make(Endpoint.user, invalid, (bot, { path }) => found(server.user(bot, path.id))),
    RestRules.make(Endpoint.search, invalid, (bot, { path }) => found(server.search(bot, path.query))),
    RestRules.make(Endpoint.friends, invalid, (bot) => Result.succeed(server.friends(bot))),
    RestRules.make(Endpoint.blockedUsers, invalid, (bot) => Result.succeed(server.blocked(bot))),
    RestRules.make(Endpoint.relationships, invalid, (bot, { payload }) =>
      payload.action === "UPDATE" && !payload.full_name
        ? Result.fail(invalid("full_name"))
        : found(server.relate(bot, payload))
    ),
    RestRules.make(codeAsWhole, invalid, (bot, { path }) => found(server.code(bot, path.id))),
    RestRules.make(Endpoint.favoriteApps, invalid, (bot, { path }) => found(Option.as(server.user(bot, path.id), []))),
    // Nobody has made one.
    RestRules.make(Endpoint.circles, invalid, () => Result.succeed([])),
    RestRules.make(transferAsPushed, invalid, (bot, { payload }) => server.notifyTransfer(bot, payload)),
    RestRules.make(Endpoint.attachment, invalid, (bot, { path }) => found(server.attachment(bot, path.id)))
  ]
}

const conversationRules = <Bot>(
  server: Server<Bot>,
  { invalid, notFound }: Refusals
): ReadonlyArray<RestRules.Rule<Bot>> => [
  RestRules.make(Endpoint.conversation, invalid, (bot, { path }) =>
    Result.fromOption(server.conversation(bot, path.id), notFound)
  ),
  RestRules.make(Endpoint.createConversation, invalid, (bot, { payload }) => server.create(bot, payload)),
  RestRules.make(Endpoint.participants, invalid, (bot, { path, payload }) =>
    isAction(path.action) ? server.change(bot, path.id, path.action, payload) : Result.fail(notFound())
  ),
  RestRules.make(Endpoint.updateConversation, invalid, (bot, { path, payload }) =>
    server.update(bot, path.id, payload)
  ),
  RestRules.make(Endpoint.rotateConversation, invalid, (bot, { path }) => server.rotate(bot, path.id)),
  RestRules.make(Endpoint.joinConversation, invalid, (bot, { path }) => server.join(bot, path.code)),
  RestRules.make(Endpoint.exitConversation, invalid, (bot, { path }) => server.exit(bot, path.id)),
  RestRules.make(Endpoint.muteConversation, invalid, (bot, { path, payload }) =>
    server.mute(bot, path.id, payload.duration)
  ),
  RestRules.make(Endpoint.disappear, invalid, (bot, { path, payload }) =>
    server.disappear(bot, path.id, payload.duration)
  )
]

/**
 * The rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRules = <Bot>(server: Server<Bot>): ReadonlyArray<RestRules.Rule<Bot>> => {
  const refusals: Refusals = {
    invalid: (field) => server.failure(10002, field),
    notFound: () => server.failure(404)
  }
  return [...messageRules(server, refusals), ...peopleRules(server, refusals), ...conversationRules(server, refusals)]
}
