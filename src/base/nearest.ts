/**
 * Returns the name that was most likely meant by `wrong`, or `undefined` if none is similar: the shortest one that `wrong` is the
 * beginning of (`cert` means certfile rather than port), unless another one differs in a single letter.
 */
export function nearest(wrong: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let fewest = Number.POSITIVE_INFINITY
  let longer: string | undefined
  const word = wrong.toLowerCase()
  for (const name of names) {
    if (word.length >= 3 && name.toLowerCase().startsWith(word) && name.length < (longer?.length ?? Number.POSITIVE_INFINITY))
      longer = name
    const edits = distance(word, name)
    if (edits < fewest && edits < name.length / 2 && edits <= Math.max(2, name.length * 0.4)) {
      best = name
      fewest = edits
    }
  }
  return fewest > 1 ? (longer ?? best) : best
}

/** Returns the end of an error message about an unknown name: ` (did you mean port?)`, or ''. */
export function didYouMean(wrong: string, names: Iterable<string>): string {
  const name = nearest(wrong, names)
  return name === undefined ? '' : ` (did you mean ${name}?)`
}

/** Number of insertions, deletions, replacements and swaps of adjacent letters (optimal string alignment). */
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
