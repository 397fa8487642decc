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
  // The set knows their order too, but finds the first of them by passing all that are gone.
  const inOrder: Array<Id> = []
  let oldest = 0
  return {
    has: (id) => met.has(id),
    add: (id) => {
      if (met.has(id)) return
      if (inOrder.length < maximum) inOrder.push(id)
      else {
        met.delete(inOrder[oldest]!)
        inOrder[oldest] = id
        oldest = (oldest + 1) % maximum
      }
      met.add(id)
    }
  }
}
