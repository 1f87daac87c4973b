import { useState } from 'preact/hooks'
import { count } from '../lib/numbers.ts'
import { type Column, Table } from './table.tsx'

/** Rows that are shown before the user asks for more. */
const FIRST = 8

interface ShortTableProps<Row> {
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly keyOf: (row: Row) => string
  /** How many there are; `rows` may be the first ones. */
  readonly total: number
}

/** A table among other things on a page: its first rows, and the others when the user asks for them. */
export function ShortTable<Row>({ rows, total, ...more }: ShortTableProps<Row>) {
  const [isWhole, setIsWhole] = useState(false)
  const isLong = rows.length > FIRST + 2
  return (
    <>
      <Table {...more} rows={isLong && !isWhole ? rows.slice(0, FIRST) : rows} />
      {isLong && (
        <button type="button" class="plain table-more" aria-expanded={isWhole} onClick={() => setIsWhole(!isWhole)}>
          {isWhole
            ? `Show the first ${FIRST}`
            : total > rows.length
              ? `Show the first ${count(rows.length)} of ${count(total)}`
              : `Show all ${count(total)}`}
        </button>
      )}
    </>
  )
}
