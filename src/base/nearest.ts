/** The name that somebody who wrote `wrong` most likely meant; `undefined` if none is near. */
export function nearest(wrong: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let fewest = Number.POSITIVE_INFINITY
  for (const name of names) {
    const edits = distance(wrong.toLowerCase(), name)
    if (edits < fewest && edits <= Math.max(2, name.length * 0.4)) {
      best = name
      fewest = edits
    }
  }
  return best
}

/** The end of an error about an unknown name: ` (did you mean port?)`, or nothing. */
export function didYouMean(wrong: string, names: Iterable<string>): string {
  const name = nearest(wrong, names)
  return name === undefined ? '' : ` (did you mean ${name}?)`
}

/** Letters to insert, delete, replace or swap with their neighbour (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min(row[j - 1]! + 1, above[j]! + 1, above[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, before[j - 2]! + 1)
      row.push(edits)
    }
    before = above
    above = row
  }
  return above[b.length]!
}
