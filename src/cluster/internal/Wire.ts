/**
 * What the runners of a bot say to each other.
 *
 * Guarantee: what comes from another runner is read by a schema; no two bots of one cluster have a name in common.
 *
 * @since 0.1.0
 */
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as BlazeError from "../../BlazeError.ts"
import type * as Connection from "../../internal/Connection.ts"
import type * as Ids from "../../Ids.ts"

/**
 * What became of a message on the runner that it was given to. `NotHere`: that runner is leaving, and has not begun with it.
 *
 * @category models
 * @since 0.1.0
 */
export const Answer = Schema.Union([
  Schema.TaggedStruct("Handled", {}),
  Schema.TaggedStruct("Deferred", { after: Schema.NullOr(Schema.Finite) }),
  Schema.TaggedStruct("GivenUp", { reason: Schema.String }),
  Schema.TaggedStruct("NotHere", {})
])
/** @since 0.1.0 */
export type Answer = typeof Answer.Type

/** @since 0.1.0 */
export const handled: Answer = { _tag: "Handled" }
/** @since 0.1.0 */
export const notHere: Answer = { _tag: "NotHere" }
/** With no time that its handler has asked for. */
export const deferred: Answer = { _tag: "Deferred", after: null }

/**
 * One conversation: it is given one message at a time, as JSON of what the server has sent.
 *
 * **Details**
 *
 * A handler goes on though the runner ends or dies that has given it its message, and its conversation stays where it is until then: else it
 * would be begun twice.
 *
 * @category entities
 * @since 0.1.0
 */
export const conversations = (bot: Ids.UserId) =>
  Entity.make(`effect-blaze/${bot}/Conversation`, [
    Rpc.make("Handle", { payload: { view: Schema.String }, success: Answer })
      .annotate(ClusterSchema.Uninterruptible, true)
      .annotate(ClusterSchema.ClientTracingEnabled, false)
  ])

/** The name of who holds the socket: of a singleton, and of the entity that is on the same runner because it has the same name. */
export const holderName = (bot: Ids.UserId): string => `effect-blaze/${bot}`

/**
 * Who holds the socket: tells its status, and what becomes of the bot's own messages.
 *
 * @category entities
 * @since 0.1.0
 */
export const holders = (bot: Ids.UserId) => Entity.make(`effect-blaze/${bot}/Holder`, [told("Watch"), told("Receipts")])

/** What goes on for as long as there is somebody who tells it: it must not keep the shard from moving. */
const told = <Name extends string>(name: Name) =>
  Rpc.make(name, { success: Schema.String, stream: true })
    .annotate(ClusterSchema.InterruptOnTermination, true)
    .annotate(ClusterSchema.ClientTracingEnabled, false)

/**
 * What keeps a shard where it is: a request that ends once the shard may move.
 *
 * @category entities
 * @since 0.1.0
 */
export const keepers = (bot: Ids.UserId) =>
  Entity.make(`effect-blaze/${bot}/Keeper`, [
    Rpc.make("Keep", { payload: { shard: Schema.String } }).annotate(ClusterSchema.ClientTracingEnabled, false)
  ])

const Reason = Schema.toCodecJson(BlazeError.BlazeError)

const Status = Schema.Union([
  Schema.TaggedStruct("Connecting", { attempt: Schema.Finite }),
  Schema.TaggedStruct("Connected", {
    since: Schema.Finite,
    listed: Schema.Boolean,
    badFrames: Schema.Finite,
    givenUp: Schema.Finite,
    host: Schema.String,
    apiHost: Schema.String
  }),
  Schema.TaggedStruct("Waiting", { delay: Schema.toCodecJson(Schema.Duration), reason: Reason })
])

/**
 * What whoever holds the socket tells: how its connection is, where it runs, and how many runners it tells that.
 *
 * @category models
 * @since 0.1.0
 */
export interface Told {
  readonly status: Exclude<Connection.Status, { readonly _tag: "Stopped" }>
  readonly holder: string
  readonly runners: number
}

const ToldText = Schema.fromJsonString(Schema.Struct({ status: Status, holder: Schema.String, runners: Schema.Finite }))
const encode = Schema.encodeSync(ToldText)
const decode = Schema.decodeEffect(ToldText)

/**
 * @category conversions
 * @since 0.1.0
 */
export const fromTold = (told: Told): string => encode(told as typeof ToldText.Type)

/**
 * @category conversions
 * @since 0.1.0
 */
export const toTold = decode
