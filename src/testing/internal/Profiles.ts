/**
 * Who is who: names, numbers and codes of the bots and people of the built-in server, and how bots stand to people.
 *
 * Guarantee: what a bot changes of itself or of how it stands to somebody is seen by that bot, and takes nothing from another.
 *
 * @since 0.1.0
 */
import type * as Endpoint from "../../Endpoint.ts"
import type * as Ids from "../../Ids.ts"

interface Account {
  readonly userId: Ids.UserId
  readonly sessionId: string
}

interface Somebody {
  readonly userId: Ids.UserId
  readonly name: string
}

type Relationship = "FRIEND" | "STRANGER" | "BLOCKING"

interface Profile {
  fullName: string
  biography: string
  avatar: string
  /** How often its code has been changed. */
  codes: number
  preferences: typeof Endpoint.Preferences.Type
  /** How it stands to people; who talks to it is a friend until it says something else. */
  readonly people: Map<Ids.UserId, Relationship>
  /** What it calls them, where that is not the name they have. */
  readonly names: Map<Ids.UserId, string>
}

/** What the server has no time for: the zero of Go. */
export const noTime = "0001-01-01T00:00:00Z"

/**
 * The identity number of somebody, the same in every run: that of a bot begins with 7000, as Mixin's do.
 *
 * @since 0.1.0
 */
export const identityNumber = (userId: Ids.UserId, isBot: boolean): string => {
  const digits = String(Number.parseInt(userId.slice(0, 8), 16) % 1_000_000).padStart(6, "0")
  return isBot ? `7000${digits}` : `3${digits}`
}

/** Where a code leads. */
export const codeUrl = (codeId: string): string => (codeId === "" ? "" : `https://mixin.one/codes/${codeId}`)

const userOf = (
  userId: Ids.UserId,
  isBot: boolean,
  fields: Pick<Endpoint.User, "full_name" | "relationship"> & Partial<Endpoint.User>
): Endpoint.User => ({
  user_id: userId,
  identity_number: identityNumber(userId, isBot),
  biography: "",
  avatar_url: "",
  is_verified: false,
  is_scam: false,
  is_deactivated: false,
  has_safe: false,
  code_id: "",
  code_url: "",
  created_at: noTime,
  ...fields
})

const initial: typeof Endpoint.Preferences.Type = {
  receive_message_source: "EVERYBODY",
  accept_conversation_source: "EVERYBODY",
  accept_search_source: "EVERYBODY",
  fiat_currency: "USD",
  transfer_notification_threshold: 0,
  transfer_confirmation_threshold: 0
}

/**
 * The profiles of a server. `newCode` makes the code of a bot, another one for each count.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (newCode: (userId: Ids.UserId, count: number) => string) => {
  const profiles = new Map<Ids.UserId, Profile>()
  const profileOf = ({ userId }: Pick<Account, "userId">): Profile => {
    const known = profiles.get(userId)
    if (known !== undefined) return known
    const made = {
      fullName: "bot",
      biography: "",
      avatar: "",
      codes: 0,
      preferences: initial,
      people: new Map<Ids.UserId, Relationship>(),
      names: new Map<Ids.UserId, string>()
    }
    profiles.set(userId, made)
    return made
  }
  const relationship = (bot: Account, { userId }: Pick<Somebody, "userId">): Relationship =>
    profileOf(bot).people.get(userId) ?? "FRIEND"
  const person = (bot: Account, somebody: Somebody): Endpoint.User =>
    userOf(somebody.userId, false, {
      full_name: profileOf(bot).names.get(somebody.userId) ?? somebody.name,
      relationship: relationship(bot, somebody)
    })
  const shown = (bot: Account, relationship: string): Endpoint.User => {
    const { avatar, biography, codes, fullName } = profileOf(bot)
    const code = newCode(bot.userId, codes)
    return userOf(bot.userId, true, {
      full_name: fullName,
      biography,
      avatar_url: avatar,
      code_id: code,
      code_url: codeUrl(code),
      relationship
    })
  }
  const me = (bot: Account): Endpoint.Me => ({
    ...shown(bot, "ME"),
    session_id: bot.sessionId,
    ...profileOf(bot).preferences
  })
  return {
    me,
    person,
    /** A bot, as another one sees it. */
    bot: (bot: Account): Endpoint.User => shown(bot, "STRANGER"),
    update: (bot: Account, changes: typeof Endpoint.MeRequest.Type): Endpoint.Me => {
      const profile = profileOf(bot)
      profile.fullName = changes.full_name ?? profile.fullName
      profile.biography = changes.biography ?? profile.biography
      if (changes.avatar_base64) profile.avatar = `data:image/png;base64,${changes.avatar_base64}`
      return me(bot)
    },
    prefer: (bot: Account, preferences: Partial<typeof Endpoint.Preferences.Type>): Endpoint.Me => {
      const profile = profileOf(bot)
      profile.preferences = { ...profile.preferences, ...preferences }
      return me(bot)
    },
    rotateCode: (bot: Account): Endpoint.Me => {
      profileOf(bot).codes++
      return me(bot)
    },
    relate: (
      bot: Account,
      somebody: Somebody,
      { action, full_name }: Omit<typeof Endpoint.RelationshipRequest.Type, "user_id">
    ): Endpoint.User => {
      const { names, people } = profileOf(bot)
      if (action === "UPDATE") {
        if (full_name) names.set(somebody.userId, full_name)
        return person(bot, somebody)
      }
      const becomes = { ADD: "FRIEND", REMOVE: "STRANGER", BLOCK: "BLOCKING", UNBLOCK: "STRANGER" } as const
      const isUndone = action === "UNBLOCK" && relationship(bot, somebody) !== "BLOCKING"
      if (!isUndone) people.set(somebody.userId, becomes[action])
      return person(bot, somebody)
    },
    relationship
  }
}

/** @since 0.1.0 */
export type Profiles = ReturnType<typeof make>
