/**
 * Ids that were met not long ago.
 *
 * Guarantee: never more are remembered than so many; the oldest is forgotten first.
 *
 * @since 0.1.0
 */

/**
 * @category models
 * @since 0.1.0
 */
export interface Recent<Id> {
  readonly has: (id: Id) => boolean
  readonly add: (id: Id) => void
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <Id>(maximum: number): Recent<Id> => {
  const met = new Set<Id>()
  return {
    has: (id) => met.has(id),
    add: (id) => {
      if (met.has(id)) return
      if (met.size >= maximum) met.delete(met.values().next().value!)
      met.add(id)
    }
  }
}
