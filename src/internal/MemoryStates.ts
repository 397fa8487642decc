/**
 * What is remembered by a process, for as long as it lives.
 *
 * Guarantee: writes are made together or not at all; what has expired is not there, and so many values are kept at the most.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ordered from "./Ordered.ts"
import * as Writes from "./Writes.ts"

interface Entry extends Writes.Kept {
  readonly name: string
  readonly expiresAt: number | undefined
}

/** How often what has expired is looked for where there is no room, in milliseconds. */
const expirePeriod = 1000

/**
 * `maximum` is how many values are kept: beyond it those go that were written longest ago, which is told once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (maximum: number, clock: Clock.Clock) => {
  const entries = Ordered.make<string, Entry>()
  let isTold = false
  let expiredAt = -Infinity

  const current = (place: string): Entry | undefined => {
    const entry = entries.get(place)
    if (entry === undefined || (entry.expiresAt ?? Infinity) > clock.currentTimeMillisUnsafe()) return entry
    entries.delete(place)
    return undefined
  }

  const apply = (write: Writes.Change) => {
    const place = Writes.placeOf(write)
    const { key, name, next, revision } = write
    if (next === undefined) entries.delete(place)
    else entries.set(place, { ...next, name, key, revision })
  }

  // All of them are looked at, so that this is not done for each write.
  const forgetExpired = () => {
    const now = clock.currentTimeMillisUnsafe()
    if (Math.abs(now - expiredAt) < expirePeriod) return
    expiredAt = now
    for (const { key, value } of entries.entries()) if ((value.expiresAt ?? Infinity) <= now) entries.delete(key)
  }

  const forgetOldest = Effect.suspend(() => {
    if (entries.size() > maximum) forgetExpired()
    if (entries.size() <= maximum) return Effect.void
    entries.keep(maximum)
    if (isTold) return Effect.void
    isTold = true
    return Effect.logWarning(
      `More than ${maximum} values are remembered in memory: those that were written longest ago are forgotten. The setting rememberedStates is the bound; a store in a database has none.`
    )
  })

  return {
    read: (name: string, key: string): Writes.Kept | undefined => current(Writes.placeOf({ name, key })),
    due: (name: string, by: number, maximum: number, without: number): ReadonlyArray<Writes.Kept> =>
      Array.from(entries.entries())
        .filter(({ key, value }) => value.name === name && (value.dueAt ?? Infinity) <= by && current(key))
        .map(({ value }) => value)
        .toSorted((a, b) => a.dueAt! - b.dueAt!)
        .slice(without, without + maximum),
    /** Makes writes that belong together; gives whether they were. */
    write: (writes: ReadonlyArray<Writes.Write>): Effect.Effect<boolean> =>
      Effect.suspend(() => {
        const revisions: Writes.Revisions = new Map()
        for (const write of writes) {
          const place = Writes.placeOf(write)
          const entry = current(place)
          if (entry !== undefined) revisions.set(place, entry.revision)
        }
        if (!Writes.agree(writes, revisions)) return Effect.succeed(false)
        Writes.changes(writes).forEach(apply)
        return Effect.as(forgetOldest, true)
      })
  }
}
