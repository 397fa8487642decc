/** What a mode of the benchmark gives. */
export interface Table {
  readonly title: string
  readonly rows: ReadonlyArray<{ readonly name: string; readonly values: Readonly<Record<string, string>> }>
}

export const quantile = (sorted: ReadonlyArray<number>, share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

export const median = (values: ReadonlyArray<number>) => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Round by round, so that a machine whose speed drifts does not decide. */
export const ratios = <A>(ours: ReadonlyArray<A>, theirs: ReadonlyArray<A>, pick: (value: A) => number) =>
  ours.map((value, round) => pick(value) / pick(theirs[round]!))

export const show = (value: number, digits = 2) => (Number.isNaN(value) ? "" : value.toFixed(digits))

/** A column for each of those that somebody is compared with; empty where one does not take part. */
export const comparisons = <A>(
  ours: ReadonlyArray<A>,
  theirs: ReadonlyArray<{ readonly name: string; readonly results: ReadonlyArray<A> | undefined }>,
  what: string,
  pick: (value: A) => number
): Record<string, string> =>
  Object.fromEntries(
    theirs.map(({ name, results }) => [
      `${what} / ${name}`,
      results === undefined ? "" : show(median(ratios(ours, results, pick)))
    ])
  )
