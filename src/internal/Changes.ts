/**
 * What changes that are stored together come to.
 *
 * Guarantee: of each id and each place what was said last is stored, and of an id that is handled nothing more.
 *
 * @since 0.1.0
 */
import type * as Ids from "../Ids.ts"
import type * as Store from "../Store.ts"
import * as Writes from "./Writes.ts"

/**
 * What became of a message, or what belongs to none: what is to be sent, and what became of that.
 *
 * @category models
 * @since 0.1.0
 */
export type Change = (Store.Change | { readonly id?: undefined; readonly writes: ReadonlyArray<Store.Write> }) & {
  readonly unsent?: ReadonlyArray<Store.Unsent>
  readonly sent?: ReadonlyArray<Store.Sent>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Sorted {
  /** What came of each change, in their order. */
  readonly claims: ReadonlyArray<Store.Claim>
  /** What is handled now, and was not. */
  readonly ids: ReadonlyArray<Ids.MessageId>
  readonly deferred: ReadonlyArray<readonly [Ids.MessageId, Store.Deferred]>
  readonly writes: ReadonlyArray<Writes.Change>
}

/**
 * @category combinators
 * @since 0.1.0
 */
export const sort = (
  changes: ReadonlyArray<Change>,
  isHandled: (id: Ids.MessageId) => boolean,
  revisions: Writes.Revisions
): Sorted => {
  const newest = new Map<Ids.MessageId, Store.Outcome>()
  const written = new Map<string, Writes.Change>()
  const claims = changes.map((change): Store.Claim => {
    const { id, writes } = change
    if (id !== undefined && (isHandled(id) || newest.get(id)?._tag === "Handled")) return "Known"
    if (!Writes.agree(writes, revisions)) return "Changed"
    Writes.make(writes, revisions)
    for (const write of Writes.changes(writes)) written.set(Writes.placeOf(write), write)
    if (id !== undefined) newest.set(id, change.outcome)
    return "Committed"
  })
  const ids: Array<Ids.MessageId> = []
  const deferred: Array<readonly [Ids.MessageId, Store.Deferred]> = []
  for (const [id, outcome] of newest) {
    if (outcome._tag === "Handled") ids.push(id)
    else deferred.push([id, outcome])
  }
  return { claims, ids, deferred, writes: [...written.values()] }
}
