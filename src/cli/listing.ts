import { quoted } from '../base/quoted.ts'

/** Lines of a table, of which the first row is the head. `numbers`: columns that are right-aligned. Cells must be printable. */
export function table(rows: readonly (readonly string[])[], numbers: ReadonlySet<number>): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => rows.reduce((most, row) => Math.max(most, row[i]!.length), 0))
  const aligned = (cell: string, i: number): string => (numbers.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
  return rows.map((row) => `${row.map(aligned).join('  ').trimEnd()}\n`)
}

/** One JSON array with one entry per line. */
export function* jsonArray(entries: Iterable<unknown>): Iterable<string> {
  let isFirst = true
  for (const entry of entries) {
    yield `${isFirst ? '[' : ','}\n  ${quoted(entry)}`
    isFirst = false
  }
  yield isFirst ? '[]\n' : '\n]\n'
}
