/**
 * Who talks where: the conversations of the built-in server, their members and what these may do.
 *
 * Guarantee: the id of a contact conversation is that of its two, whoever makes it; what changes in a group is told to the bot in it.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Endpoint from "../../Endpoint.ts"
import type * as Ids from "../../Ids.ts"
import * as Branded from "../../internal/Branded.ts"

/** What the server knows of a person here. */
interface Somebody {
  readonly userId: Ids.UserId
}

interface Bot {
  readonly account: { readonly userId: Ids.UserId }
}

/**
 * A conversation of a bot and people.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conversation<B, P> {
  readonly id: string
  readonly bot: B
  readonly category: "CONTACT" | "GROUP"
  /** The people in it, and what they are: `ADMIN` or nothing. */
  readonly members: Map<P, { role: string; readonly since: string }>
  /** What the bot is in it; `undefined` once it has been removed. */
  botRole: string | undefined
  name: string
  announcement: string
  readonly creatorId: Ids.UserId
  readonly createdAt: string
}

/**
 * Something that has changed in a group, as the notice of it says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  readonly action: "CREATE" | "ADD" | "REMOVE" | "JOIN" | "EXIT" | "ROLE" | "UPDATE"
  readonly participant_id?: Ids.UserId
  readonly user_id: Ids.UserId
  readonly role?: string
}

/** Why something is not done, as a code of Mixin's. */
type Refused = { readonly code: number; readonly field?: string }

const refuse = (code: number, field?: string): Result.Result<never, Refused> =>
  Result.fail({ code, ...(field === undefined ? {} : { field }) })

/** Source: the official Flutter app. */
const maximumMembers = 1024

/** What a bot changes in a group that it may change. */
const makeChanges = <B extends Bot, P extends Somebody>(
  tell: (conversation: Conversation<B, P>, change: Change) => void,
  enter: (conversation: Conversation<B, P>, person: P, action: "ADD", actor: Ids.UserId, role: string) => void,
  leave: (conversation: Conversation<B, P>, person: P, action: "REMOVE", actor: Ids.UserId) => void
) => {
  const isManager = ({ botRole }: Conversation<B, P>) => botRole === "OWNER" || botRole === "ADMIN"
  return {
    update: (conversation: Conversation<B, P>, changes: { readonly name?: string; readonly announcement?: string }) => {
      if (!isManager(conversation)) return refuse(403)
      conversation.name = changes.name ?? conversation.name
      conversation.announcement = changes.announcement ?? conversation.announcement
      tell(conversation, { action: "UPDATE", user_id: conversation.bot.account.userId })
      return Result.succeed(conversation)
    },
    change: (
      conversation: Conversation<B, P>,
      action: "ADD" | "REMOVE" | "ROLE",
      asked: ReadonlyArray<{ readonly person: P; readonly role: string }>
    ): Result.Result<Conversation<B, P>, Refused> => {
      if (conversation.category !== "GROUP" || !isManager(conversation)) return refuse(403)
      if (action === "ADD" && conversation.members.size + asked.length >= maximumMembers) return refuse(20116)
      const actor = conversation.bot.account.userId
      for (const { person, role } of asked) {
        if (action === "ADD") enter(conversation, person, "ADD", actor, role)
        else if (action === "REMOVE") leave(conversation, person, "REMOVE", actor)
        else {
          const member = conversation.members.get(person)
          if (member === undefined) return refuse(10002, "user_id")
          member.role = role
          tell(conversation, { action: "ROLE", participant_id: person.userId, user_id: actor, role })
        }
      }
      return Result.succeed(conversation)
    }
  }
}

/** What the API shows of it. */
const view = <B extends Bot, P extends Somebody>(conversation: Conversation<B, P>): Endpoint.Conversation => ({
  conversation_id: Branded.conversationId(conversation.id),
  category: conversation.category,
  creator_id: conversation.creatorId,
  name: conversation.name,
  icon_url: "",
  announcement: conversation.announcement,
  code_id: "",
  code_url: "",
  mute_until: "0001-01-01T00:00:00Z",
  expire_in: 0,
  created_at: conversation.createdAt,
  participants: [
    {
      user_id: conversation.bot.account.userId,
      role: conversation.botRole ?? "",
      created_at: conversation.createdAt
    },
    ...Array.from(conversation.members, ([{ userId }, { role, since }]) => ({
      user_id: userId,
      role,
      created_at: since
    }))
  ]
})

/**
 * The conversations of a server. `tell` tells the bot of a group what has changed in it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <B extends Bot, P extends Somebody>(
  timestamp: () => string,
  tell: (conversation: Conversation<B, P>, change: Change) => void
) => {
  const conversations = new Map<string, Conversation<B, P>>()

  const open = (
    id: string,
    bot: B,
    category: "CONTACT" | "GROUP",
    creatorId: Ids.UserId,
    people: ReadonlyArray<P>,
    names: { readonly name?: string; readonly announcement?: string } = {}
  ): Conversation<B, P> => {
    const known = conversations.get(id)
    if (known !== undefined) return known
    const createdAt = timestamp()
    const conversation: Conversation<B, P> = {
      id,
      bot,
      category,
      members: new Map(people.map((person) => [person, { role: "", since: createdAt }])),
      botRole: creatorId === bot.account.userId ? "OWNER" : "",
      name: names.name ?? "",
      announcement: names.announcement ?? "",
      creatorId,
      createdAt
    }
    conversations.set(id, conversation)
    return conversation
  }

  const leave = (conversation: Conversation<B, P>, person: P, action: "REMOVE" | "EXIT", actor: Ids.UserId) => {
    if (!conversation.members.delete(person)) return
    tell(conversation, { action, participant_id: person.userId, user_id: actor })
  }

  const enter = (conversation: Conversation<B, P>, person: P, action: "ADD" | "JOIN", actor: Ids.UserId, role = "") => {
    if (conversation.members.has(person)) return
    conversation.members.set(person, { role, since: timestamp() })
    tell(conversation, { action, participant_id: person.userId, user_id: actor, role })
  }

  return {
    get: (id: string) => conversations.get(id),
    /** The one that a bot is in, of any kind. */
    of: (bot: B, id: string): Option.Option<Conversation<B, P>> =>
      Option.filter(
        Option.fromUndefinedOr(conversations.get(id)),
        (conversation) => conversation.bot === bot && conversation.botRole !== undefined
      ),
    open,
    enter,
    leave,
    ...makeChanges(tell, enter, leave),
    view
  }
}

/** @since 0.1.0 */
export type Directory<B extends Bot, P extends Somebody> = ReturnType<typeof make<B, P>>
