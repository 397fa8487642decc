/**
 * What the REST API of the built-in server does, endpoint by endpoint.
 *
 * Guarantee: a bot sees and changes what it is in, and nothing else; what Mixin refuses is refused, with its codes.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Endpoint from "../../Endpoint.ts"
import type * as Envelope from "../../Envelope.ts"
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
  readonly me: (bot: Bot) => Endpoint.User
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
  readonly change: (
    bot: Bot,
    id: string,
    action: "ADD" | "REMOVE" | "ROLE",
    participants: ReadonlyArray<typeof Endpoint.ParticipantRequest.Type>
  ) => Served<Endpoint.Conversation>
}

const actions: ReadonlySet<string> = new Set(["ADD", "REMOVE", "ROLE"])

const isAction = (action: string): action is "ADD" | "REMOVE" | "ROLE" => actions.has(action)

/**
 * The rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRules = <Bot>(server: Server<Bot>): ReadonlyArray<RestRules.Rule<Bot>> => {
  const invalid = (field: string) => server.failure(10002, field)
  const found = <A>(value: Option.Option<A>): Served<A> => Result.fromOption(value, () => server.failure(404))
  return [
    RestRules.make(Endpoint.acknowledge, invalid, (bot, { payload }) => {
      if (payload.length > Endpoint.maximumAcknowledgements) return Result.fail(invalid("messages"))
      return Result.succeed(server.acknowledge(bot, payload))
    }),
    RestRules.make(Endpoint.messages, invalid, (bot, { payload }) => {
      if (payload.length > Endpoint.maximumMessages) return Result.fail(invalid("messages"))
      return server.send(bot, payload)
    }),
    RestRules.make(Endpoint.me, invalid, (bot) => Result.succeed(server.me(bot))),
    RestRules.make(Endpoint.users, invalid, (bot, { payload }) =>
      Result.succeed(payload.flatMap((id) => Option.toArray(server.user(bot, id))))
    ),
    RestRules.make(Endpoint.user, invalid, (bot, { path }) => found(server.user(bot, path.id))),
    RestRules.make(Endpoint.search, invalid, (bot, { path }) => found(server.search(bot, path.query))),
    RestRules.make(Endpoint.friends, invalid, (bot) => Result.succeed(server.friends(bot))),
    RestRules.make(Endpoint.conversation, invalid, (bot, { path }) => found(server.conversation(bot, path.id))),
    RestRules.make(Endpoint.createConversation, invalid, (bot, { payload }) => server.create(bot, payload)),
    RestRules.make(Endpoint.participants, invalid, (bot, { path, payload }) =>
      isAction(path.action) ? server.change(bot, path.id, path.action, payload) : Result.fail(server.failure(404))
    ),
    RestRules.make(Endpoint.updateConversation, invalid, (bot, { path, payload }) =>
      server.update(bot, path.id, payload)
    )
  ]
}

/**
 * The identity number of somebody, the same in every run: that of a bot begins with 7000, as Mixin's do.
 *
 * @since 0.1.0
 */
export const identityNumber = (userId: Ids.UserId, isBot: boolean): string => {
  const digits = String(Number.parseInt(userId.slice(0, 8), 16) % 1_000_000).padStart(6, "0")
  return isBot ? `7000${digits}` : `3${digits}`
}
