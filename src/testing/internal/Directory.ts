/**
 * Who talks where: the conversations of the built-in server, their members and what these may do.
 *
 * Guarantee: the id of a contact conversation is that of its two, whoever makes it; what changes in a group is told to the bot in it, and
 * that it has made one.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Endpoint from "../../Endpoint.ts"
import type * as Ids from "../../Ids.ts"
import * as Branded from "../../internal/Branded.ts"
import type * as Phones from "./Phones.ts"
import * as Profiles from "./Profiles.ts"

/** What the server knows of a person here. */
interface Somebody {
  readonly userId: Ids.UserId
  readonly phone: Phones.Phone
}

interface Bot {
  readonly account: { readonly userId: Ids.UserId }
  readonly phone: Phones.Phone
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
  /** The people in it, and what they are: `OWNER`, `ADMIN` or nothing. */
  readonly members: Map<P, { role: string; readonly since: string }>
  /** What the bot is in it; `undefined` once it has been removed. */
  botRole: string | undefined
  name: string
  announcement: string
  readonly creatorId: Ids.UserId
  readonly createdAt: string
  /** By which a group is joined. */
  codeId: string
  /** How often it has been changed. */
  codes: number
  muteUntil: string
  /** After how many seconds what was read disappears; 0 for never. */
  expireIn: number
}

/**
 * Something that has changed in a group, as the notice of it says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  readonly action: "CREATE" | "ADD" | "REMOVE" | "JOIN" | "EXIT" | "ROLE" | "UPDATE" | "EXPIRE"
  readonly participant_id?: Ids.UserId
  readonly user_id: Ids.UserId
  readonly role?: string
  readonly expire_in?: number
}

/** What a directory asks of its server. */
interface Server<B extends Bot, P extends Somebody> {
  readonly timestamp: () => string
  /** The time in so many seconds. */
  readonly timeIn: (seconds: number) => string
  /** The code of a group, another one for each count. */
  readonly newCode: (id: string, count: number) => string
  /** Tells the bot of a group what has changed in it. */
  readonly tell: (conversation: Conversation<B, P>, change: Change) => void
}

/** Why something is not done, as a code of Mixin's. */
type Refused = { readonly code: number; readonly field?: string }

const refuse = (code: number, field?: string): Result.Result<never, Refused> =>
  Result.fail({ code, ...(field === undefined ? {} : { field }) })

/** Source: the official Flutter app. */
const maximumMembers = 1024

/** How many may be in a new group beside the bot. Source: docs/protocol.md section 10. */
const maximumCreated = 255

/** How long a name and an announcement may be. Source: docs/protocol.md section 10. */
const maximumName = 512
const maximumAnnouncement = 1024

/** A hundred years, after which nobody waits for what was muted. In seconds. */
const maximumMute = 100 * 365 * 86_400

interface Names {
  readonly name?: string
  readonly announcement?: string
}

const tooLong = ({ announcement = "", name = "" }: Names): string | undefined => {
  if (name.length > maximumName) return "name"
  return announcement.length > maximumAnnouncement ? "announcement" : undefined
}

/** Whether the bot of a conversation runs it, as its owner or as an admin. */
export const isManager = ({ botRole }: { readonly botRole: string | undefined }): boolean =>
  botRole === "OWNER" || botRole === "ADMIN"

/** What a bot changes in a group that it may change. */
const makeChanges = <B extends Bot, P extends Somebody>(
  { newCode, tell, timeIn }: Server<B, P>,
  enter: (conversation: Conversation<B, P>, person: P, action: "ADD", actor: Ids.UserId, role: string) => void,
  leave: (conversation: Conversation<B, P>, person: P, action: "REMOVE", actor: Ids.UserId) => void
) => {
  const appoint = (conversation: Conversation<B, P>, person: P, actor: Ids.UserId, role: string) => {
    conversation.members.get(person)!.role = role
    tell(conversation, { action: "ROLE", participant_id: person.userId, user_id: actor, role })
  }
  /** Whom an admin may not put out, and nobody makes something else: who has as much to say. */
  const isAbove = ({ botRole }: Conversation<B, P>, role: string | undefined) =>
    role === "OWNER" || (role === "ADMIN" && botRole !== "OWNER")

  return {
    appoint,
    update: (conversation: Conversation<B, P>, changes: Names) => {
      if (conversation.category !== "GROUP" || !isManager(conversation)) return refuse(403)
      const problem = tooLong(changes)
      if (problem !== undefined) return refuse(10002, problem)
      conversation.name = changes.name ?? conversation.name
      conversation.announcement = changes.announcement ?? conversation.announcement
      tell(conversation, { action: "UPDATE", user_id: conversation.bot.account.userId })
      return Result.succeed(conversation)
    },
    rotate: (conversation: Conversation<B, P>) => {
      if (conversation.category !== "GROUP" || !isManager(conversation)) return refuse(403)
      conversation.codeId = newCode(conversation.id, ++conversation.codes)
      return Result.succeed(conversation)
    },
    mute: (conversation: Conversation<B, P>, seconds: number) => {
      if (seconds > maximumMute) return refuse(10002, "duration")
      conversation.muteUntil = seconds === 0 ? Profiles.noTime : timeIn(seconds)
      return Result.succeed(conversation)
    },
    disappear: (conversation: Conversation<B, P>, seconds: number) => {
      if (conversation.category === "GROUP" && !isManager(conversation)) return refuse(403)
      conversation.expireIn = seconds
      tell(conversation, { action: "EXPIRE", user_id: conversation.bot.account.userId, expire_in: seconds })
      return Result.succeed(conversation)
    },
    change: (
      conversation: Conversation<B, P>,
      action: "ADD" | "REMOVE" | "ROLE",
      asked: ReadonlyArray<{ readonly person: P; readonly role: string }>
    ): Result.Result<Conversation<B, P>, Refused> => {
      if (conversation.category !== "GROUP" || !isManager(conversation)) return refuse(403)
      const added = action === "ADD" ? asked.filter(({ person }) => !conversation.members.has(person)).length : 0
      if (added > 0 && conversation.members.size + added >= maximumMembers) return refuse(20116)
      const roles = asked.map(({ person }) => conversation.members.get(person)?.role)
      if (action !== "ADD" && roles.some((role) => isAbove(conversation, role))) return refuse(403)
      if (action === "ROLE" && conversation.botRole !== "OWNER") return refuse(403)
      if (action === "ROLE" && roles.includes(undefined)) return refuse(10002, "user_id")
      const actor = conversation.bot.account.userId
      for (const { person, role } of asked) {
        if (action === "ADD") enter(conversation, person, "ADD", actor, role)
        else if (action === "REMOVE") leave(conversation, person, "REMOVE", actor)
        else appoint(conversation, person, actor, role)
      }
      return Result.succeed(conversation)
    }
  }
}

/** How the bot of a group comes and goes. */
const makeBotMoves = <B extends Bot, P extends Somebody>({ tell }: Server<B, P>) => ({
  /** It enters, or is taken in by somebody. */
  enterBot: (conversation: Conversation<B, P>, action: "ADD" | "JOIN", actor: Ids.UserId) => {
    if (conversation.botRole !== undefined) return
    conversation.botRole = ""
    tell(conversation, { action, participant_id: conversation.bot.account.userId, user_id: actor, role: "" })
  },
  /** The owner makes it an admin, or a member again. */
  appointBot: (conversation: Conversation<B, P>, actor: Ids.UserId, role: string) => {
    conversation.botRole = role
    tell(conversation, { action: "ROLE", participant_id: conversation.bot.account.userId, user_id: actor, role })
  },
  /** It leaves, or is put out by somebody; it is told that, as the last thing. */
  leaveBot: (conversation: Conversation<B, P>, action: "REMOVE" | "EXIT", actor: Ids.UserId) => {
    if (conversation.botRole === undefined) return
    conversation.botRole = undefined
    tell(conversation, { action, participant_id: conversation.bot.account.userId, user_id: actor })
  }
})

/** What the API shows of it. */
const view = <B extends Bot, P extends Somebody>(conversation: Conversation<B, P>): Endpoint.Conversation => ({
  conversation_id: Branded.conversationId(conversation.id),
  category: conversation.category,
  creator_id: conversation.creatorId,
  name: conversation.name,
  icon_url: "",
  announcement: conversation.announcement,
  code_id: conversation.codeId,
  code_url: Profiles.codeUrl(conversation.codeId),
  mute_until: conversation.muteUntil,
  expire_in: conversation.expireIn,
  created_at: conversation.createdAt,
  participants: [
    ...(conversation.botRole === undefined
      ? []
      : [
          {
            user_id: conversation.bot.account.userId,
            role: conversation.botRole,
            created_at: conversation.createdAt
          }
        ]),
    ...Array.from(conversation.members, ([{ userId }, { role, since }]) => ({
      user_id: userId,
      role,
      created_at: since
    }))
  ],
  participant_sessions: [
    ...(conversation.botRole === undefined ? [] : [conversation.bot.phone.session]),
    ...Array.from(conversation.members.keys(), ({ phone }) => phone.session)
  ]
})

/** Ways to find a conversation. */
const makeSearch = <B extends Bot, P extends Somebody>(conversations: ReadonlyMap<string, Conversation<B, P>>) => ({
  get: (id: string) => conversations.get(id),
  /** The one that a bot is in, of any kind. */
  of: (bot: B, id: string): Option.Option<Conversation<B, P>> =>
    Option.filter(
      Option.fromUndefinedOr(conversations.get(id)),
      (conversation) => conversation.bot === bot && conversation.botRole !== undefined
    ),
  /** The group of a code. */
  byCode: (bot: B, code: string): Option.Option<Conversation<B, P>> =>
    Option.fromUndefinedOr(
      [...conversations.values()].find(({ bot: member, codeId }) => member === bot && codeId === code && code !== "")
    )
})

/**
 * The conversations of a server.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <B extends Bot, P extends Somebody>(server: Server<B, P>) => {
  const { newCode, tell, timestamp } = server
  const conversations = new Map<string, Conversation<B, P>>()

  const open = (
    id: string,
    bot: B,
    category: "CONTACT" | "GROUP",
    creatorId: Ids.UserId,
    people: ReadonlyArray<P>,
    names: Names = {}
  ): Conversation<B, P> => {
    const known = conversations.get(id)
    if (known !== undefined) return known
    const createdAt = timestamp()
    const roleOf = ({ userId }: P) => (category === "GROUP" && userId === creatorId ? "OWNER" : "")
    const conversation: Conversation<B, P> = {
      id,
      bot,
      category,
      members: new Map(people.map((person) => [person, { role: roleOf(person), since: createdAt }])),
      botRole: creatorId === bot.account.userId ? "OWNER" : "",
      name: names.name ?? "",
      announcement: names.announcement ?? "",
      creatorId,
      createdAt,
      codeId: category === "GROUP" ? newCode(id, 0) : "",
      codes: 0,
      muteUntil: Profiles.noTime,
      expireIn: 0
    }
    conversations.set(id, conversation)
    return conversation
  }

  /** The bot makes a group, once. */
  const create = (
    id: string,
    bot: B,
    asked: ReadonlyArray<{ readonly person: P; readonly role: string }>,
    names: Names
  ): Result.Result<Conversation<B, P>, Refused> => {
    const known = conversations.get(id)
    if (known !== undefined) return Result.succeed(known)
    const problem = tooLong(names) ?? (asked.length > maximumCreated ? "participants" : undefined)
    if (problem !== undefined) return refuse(10002, problem)
    const people = asked.map(({ person }) => person)
    const made = open(id, bot, "GROUP", bot.account.userId, people, names)
    for (const { person, role } of asked) made.members.get(person)!.role = role
    tell(made, { action: "CREATE", user_id: bot.account.userId })
    return Result.succeed(made)
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
    ...makeBotMoves(server),
    ...makeChanges(server, enter, leave),
    ...makeSearch(conversations),
    open,
    create,
    enter,
    leave,
    view
  }
}

/** @since 0.1.0 */
export type Directory<B extends Bot, P extends Somebody> = ReturnType<typeof make<B, P>>
