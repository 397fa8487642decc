/**
 * What people have paid to the bots of the built-in server, as Safe's ledger tells it.
 *
 * Guarantee: a payment is in it once, whatever becomes of the notice of it; a bot sees its own and nobody else's.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Endpoint from "../../Endpoint.ts"
import type * as Envelope from "../../Envelope.ts"
import type * as Ids from "../../Ids.ts"
import * as Nanoseconds from "../../internal/Nanoseconds.ts"
import * as Face from "./Face.ts"
import * as RestRules from "./RestRules.ts"

interface Bot {
  readonly account: { readonly userId: Ids.UserId }
}

/** How many transfers a page has at the most. Source: the official documentation. */
const maximumPage = 500

const invalid = (field: string) => Face.failure(10002, field)

/**
 * What was asked for: from a time on, that time included, the newest first unless `order` is `ASC`. Whether the real server includes the
 * time itself is not known; a client that expects it to loses nothing.
 */
const page = (
  transfers: ReadonlyArray<Endpoint.SafeSnapshot>,
  query: URLSearchParams
): Result.Result<ReadonlyArray<Endpoint.SafeSnapshot>, Envelope.ErrorBody> => {
  const asked = (name: string) => query.get(name) ?? ""
  const limit = Number(asked("limit") || maximumPage)
  if (!Number.isInteger(limit) || limit < 1) return Result.fail(invalid("limit"))
  const offset = asked("offset") === "" ? undefined : Nanoseconds.fromText(asked("offset"))
  if (offset === undefined && asked("offset") !== "") return Result.fail(invalid("offset"))
  const isAscending = asked("order") === "ASC"
  const isIn = ({ created_at }: Endpoint.SafeSnapshot) => {
    if (offset === undefined) return true
    const at = Nanoseconds.fromText(created_at)!
    return isAscending ? at >= offset : at <= offset
  }
  const isOf = (name: string, value: string | undefined) => asked(name) === "" || asked(name) === value
  const found = transfers.filter(
    (transfer) => isOf("asset", transfer.asset_id) && isOf("opponent", transfer.opponent_id) && isIn(transfer)
  )
  return Result.succeed((isAscending ? found : found.toReversed()).slice(0, Math.min(limit, maximumPage)))
}

/**
 * The ledger of a server.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (timestamp: () => string) => {
  const ledgers = new Map<Ids.UserId, Array<Endpoint.SafeSnapshot>>()
  const transfersOf = ({ account }: Bot) => {
    const known = ledgers.get(account.userId) ?? []
    ledgers.set(account.userId, known)
    return known
  }
  const rules: ReadonlyArray<RestRules.Rule<Bot>> = [
    RestRules.make(Endpoint.safeSnapshots, invalid, (bot, _, query) => page(transfersOf(bot), query)),
    RestRules.make(Endpoint.safeSnapshot, invalid, (bot, { path }) =>
      Result.fromOption(
        Option.fromUndefinedOr(transfersOf(bot).find(({ snapshot_id }) => snapshot_id === path.id)),
        () => Face.failure(404)
      )
    )
  ]
  return {
    rules,
    /** Writes down what a bot was paid. */
    record: (bot: Bot, payment: Omit<Endpoint.SafeSnapshot, "type" | "user_id" | "created_at">): void => {
      const { userId } = bot.account
      transfersOf(bot).push({ type: "snapshot", user_id: userId, ...payment, created_at: timestamp() })
    }
  }
}

/** @since 0.1.0 */
export type Payments = ReturnType<typeof make>
