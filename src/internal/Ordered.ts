/**
 * A map in the order in which its keys were last set.
 *
 * Guarantee: finding and removing the oldest costs the same however many there are, and have been.
 *
 * @since 0.1.0
 */

/**
 * @category models
 * @since 0.1.0
 */
export interface Entry<out K, out V> {
  readonly key: K
  readonly value: V
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Ordered<K, V> {
  readonly size: () => number
  readonly has: (key: K) => boolean
  readonly get: (key: K) => V | undefined
  /** Puts it behind all others. */
  readonly set: (key: K, value: V) => void
  /** Gives whether it was there. */
  readonly delete: (key: K) => boolean
  readonly oldest: () => Entry<K, V> | undefined
  /** Removes the oldest until so many are left. */
  readonly keep: (maximum: number) => void
  /** Oldest first. The one that was given last may be removed meanwhile, and no other. */
  readonly entries: () => Iterable<Entry<K, V>>
}

interface Linked<K, V> extends Entry<K, V> {
  previous: Linked<K, V> | undefined
  next: Linked<K, V> | undefined
}

/**
 * **Details**
 *
 * In place of the order of a `Map` itself, which finds its first entry by passing all that were removed before it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <K, V>(): Ordered<K, V> => {
  const all = new Map<K, Linked<K, V>>()
  let first: Linked<K, V> | undefined
  let last: Linked<K, V> | undefined

  // What is gone leads nowhere: else one that lives long would keep all later ones from being collected soon.
  const unlink = (entry: Linked<K, V>) => {
    const { next, previous } = entry
    if (previous === undefined) first = next
    else previous.next = next
    if (next === undefined) last = previous
    else next.previous = previous
    entry.previous = entry.next = undefined
  }

  const remove = (key: K) => {
    const entry = all.get(key)
    if (entry === undefined) return false
    unlink(entry)
    return all.delete(key)
  }

  return {
    size: () => all.size,
    has: (key) => all.has(key),
    get: (key) => all.get(key)?.value,
    set: (key, value) => {
      const known = all.get(key)
      if (known !== undefined) unlink(known)
      const entry = { key, value, previous: last, next: undefined }
      if (last === undefined) first = entry
      else last.next = entry
      last = entry
      all.set(key, entry)
    },
    delete: remove,
    oldest: () => first,
    keep: (maximum) => {
      while (first !== undefined && all.size > maximum) remove(first.key)
    },
    entries: function* () {
      for (let entry = first; entry !== undefined;) {
        const { next }: Linked<K, V> = entry
        yield entry
        entry = next
      }
    }
  }
}
