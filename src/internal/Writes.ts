/**
 * What is to be written of what is remembered, against what is there.
 *
 * Guarantee: a write is made on what it was decided on, or not at all; made a second time, because its end was not heard of, it changes
 * nothing.
 *
 * @since 0.1.0
 */

/**
 * What is remembered under a name and a key: a value of a `State`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kept {
  readonly key: string
  /** Another one after each write. */
  readonly revision: string
  /** The version of its form. */
  readonly version: number
  /** JSON. */
  readonly value: string
  /** When it is due, in milliseconds since 1970, where it is at all. */
  readonly dueAt: number | undefined
}

/**
 * A value that takes the place of what is remembered under a name and a key, or nothing at all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly name: string
  readonly key: string
  /** The revision that was read, of nothing too, and has to be there still; where nothing was read, whatever is there goes. */
  readonly basedOn: { readonly revision: string | undefined } | undefined
  /** The revision that it makes. */
  readonly revision: string
  /**
   * The times are milliseconds since 1970; what has expired is as good as nothing. What is the `Same` was only looked at, and other writes
   * were decided on it: it has to be there still, and is left as it is.
   */
  readonly next:
    | (Pick<Kept, "version" | "value" | "dueAt"> & { readonly expiresAt: number | undefined })
    | "Same"
    | undefined
}

/**
 * A write that makes a difference.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change extends Omit<Write, "next"> {
  readonly next: Exclude<Write["next"], "Same">
}

/**
 * Of writes, those that make a difference.
 *
 * @category conversions
 * @since 0.1.0
 */
export const changes = (writes: ReadonlyArray<Write>): ReadonlyArray<Change> =>
  writes.flatMap(({ next, ...write }) => (next === "Same" ? [] : [{ ...write, next }]))

/** Where a value stands. */
export const placeOf = ({ key, name }: Pick<Write, "key" | "name">): string => `${name.length} ${name} ${key}`

/** The revisions of what is remembered, by their places; where there is none, nothing is. */
export type Revisions = Map<string, string>

/**
 * Whether writes meet what they were decided on, or have been made.
 *
 * @category predicates
 * @since 0.1.0
 */
export const agree = (writes: ReadonlyArray<Write>, revisions: Revisions): boolean =>
  writes.every((write) => {
    const there = revisions.get(placeOf(write))
    if (write.basedOn === undefined || there === write.basedOn.revision || there === write.revision) return true
    return write.next === undefined && there === undefined
  })

/**
 * What is there once they are made.
 *
 * @category combinators
 * @since 0.1.0
 */
export const make = (writes: ReadonlyArray<Write>, revisions: Revisions): void => {
  for (const write of changes(writes)) {
    if (write.next === undefined) revisions.delete(placeOf(write))
    else revisions.set(placeOf(write), write.revision)
  }
}
