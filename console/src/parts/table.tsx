import { Component, type ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Sorting } from '../lib/sorted.ts'
import { Icon } from './icons.tsx'

export interface Column<Row> {
  readonly id: string
  readonly title: string
  readonly cell: (row: Row) => ComponentChildren
  /** What the column is sorted by; absent: it cannot be. */
  readonly sort?: (row: Row) => string | number | undefined
  /** Numbers stand at the right. */
  readonly isNumber?: boolean
  /** Left out on a phone, and on a tablet. */
  readonly hideBelow?: 'tablet' | 'desktop'
  /** Class of the cells, for their width. */
  readonly class?: string
}

interface TableProps<Row> {
  /** What the table lists, for screen readers. */
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly keyOf: (row: Row) => string
  readonly sorting?: Sorting
  readonly onSort?: (sorting: Sorting) => void
}

/** Rows that are in the page beyond the visible ones, above and below. */
const BEYOND = 8
const FALLBACK_HEIGHT = 48

/**
 * A table of which only the visible rows are in the page, so that ten thousand are as quick as ten. All rows have the same height. The
 * window scrolls, not the table: on a phone there is nothing worse than a box that scrolls within a page.
 */
export function Table<Row>({ caption, columns, rows, keyOf, sorting, onSort }: TableProps<Row>) {
  const body = useRef<HTMLTableSectionElement>(null)
  const [height, setHeight] = useState(FALLBACK_HEIGHT)
  const [[from, to], setRange] = useState<readonly [number, number]>([0, 40])

  useEffect(() => {
    let frame = 0
    const look = (): void => {
      frame = 0
      // Another one on a phone. Read together with the rest, when nothing has changed that would have to be laid out first.
      const measured = body.current?.querySelector('tr[data-row]')?.getBoundingClientRect().height ?? 0
      if (measured > 0 && Math.abs(measured - height) > 0.5) setHeight(measured)
      const top = body.current?.getBoundingClientRect().top ?? 0
      const first = Math.max(0, Math.floor(-top / height) - BEYOND)
      const count = Math.ceil(innerHeight / height) + 2 * BEYOND
      setRange((before) => (before[0] === first && before[1] === first + count ? before : [first, first + count]))
    }
    const onScroll = (): void => {
      frame ||= requestAnimationFrame(look)
    }
    look()
    addEventListener('scroll', onScroll, { passive: true })
    addEventListener('resize', onScroll)
    return () => {
      cancelAnimationFrame(frame)
      removeEventListener('scroll', onScroll)
      removeEventListener('resize', onScroll)
    }
  }, [height])

  const first = Math.min(from, Math.max(0, rows.length - 1))
  const last = Math.min(to, rows.length)
  const above = first * height
  const below = (rows.length - last) * height
  return (
    <div class="table">
      <table aria-rowcount={rows.length + 1}>
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <HeadCell key={column.id} column={column} sorting={sorting} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          {above > 0 && <Spacer height={above} />}
          {rows.slice(first, last).map((row, i) => (
            <TableRow key={keyOf(row)} row={row} columns={columns} index={first + i + 2} />
          ))}
          {below > 0 && <Spacer height={below} />}
        </tbody>
      </table>
    </div>
  )
}

interface RowProps {
  // biome-ignore lint/suspicious/noExplicitAny: a class cannot have the type of its table's rows.
  readonly row: any
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  readonly columns: readonly Column<any>[]
  readonly index: number
}

/** Drawn again only if it has changed: scrolling leaves most rows as they are. */
class TableRow extends Component<RowProps> {
  override shouldComponentUpdate({ row, columns, index }: RowProps): boolean {
    const { props } = this
    return row !== props.row || columns !== props.columns || index !== props.index
  }

  override render({ row, columns, index }: RowProps) {
    return (
      <tr data-row aria-rowindex={index}>
        {columns.map(({ id, cell, ...column }) => (
          <td key={id} class={classOf(column)}>
            {cell(row)}
          </td>
        ))}
      </tr>
    )
  }
}

/** One cell: more would make columns of those that are hidden. */
const Spacer = ({ height }: { readonly height: number }) => (
  <tr class="spacer">
    <td style={{ height: `${height}px` }} />
  </tr>
)

function HeadCell<Row>({
  column,
  sorting,
  onSort,
}: {
  column: Column<Row>
  sorting?: Sorting | undefined
  onSort?: ((sorting: Sorting) => void) | undefined
}) {
  const { id, title, sort } = column
  const isSorted = sorting?.by === id
  if (sort === undefined || onSort === undefined)
    return (
      <th scope="col" class={classOf(column)}>
        {title}
      </th>
    )
  return (
    <th scope="col" class={classOf(column)} aria-sort={isSorted ? (sorting.down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" class="sort" onClick={() => onSort({ by: id, down: isSorted && !sorting.down })}>
        {title}
        {isSorted && <Icon name={sorting.down ? 'down' : 'up'} />}
      </button>
    </th>
  )
}

const classOf = ({ isNumber, hideBelow, class: own }: Pick<Column<never>, 'isNumber' | 'hideBelow' | 'class'>): string =>
  [isNumber === true && 'number', hideBelow !== undefined && `from-${hideBelow}`, own].filter(Boolean).join(' ')
