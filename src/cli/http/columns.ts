import { printable } from '../../process/log.ts'
import { table } from '../listing.ts'

/** A column of a table of entries. `now`: milliseconds since 1970. `isNumber`: right-aligned. */
export type Column<T> = readonly [head: string, cell: (entry: T, now: number) => string, isNumber?: boolean]

/** The table, with its head. */
export function columnLines<T>(columns: readonly Column<T>[], entries: readonly T[], now: number): readonly string[] {
  const rows = entries.map((entry) => columns.map(([, cell]) => printable(cell(entry, now))))
  return table(
    [columns.map(([head]) => head), ...rows],
    new Set(columns.flatMap(([, , isNumber], i) => (isNumber === true ? [i] : []))),
  )
}
