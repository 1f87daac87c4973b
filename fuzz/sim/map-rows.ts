import { Fold, type LogPlace, References } from '../../src/store/fold.ts'
import { ROW_TABLES, type RowChange, type RowKey, type Rows, readRow } from '../../src/store/rows.ts'
import type { SessionKey, StoreRecord } from '../../src/store/store.ts'

/** Rows in memory, in the order in which the store replays them. */
export class MapRows implements Rows {
  readonly #rows: Map<string, Uint8Array>

  constructor(rows: Iterable<[string, Uint8Array]> = []) {
    this.#rows = new Map(rows)
  }

  copy(): MapRows {
    return new MapRows(this.#rows)
  }

  get size(): number {
    return this.#rows.size
  }

  get keys(): RowKey[] {
    return [...this.#rows.keys()].map(keyOf).sort(inOrder)
  }

  get(key: RowKey): Uint8Array | undefined {
    return this.#rows.get(textOf(key))
  }

  queueOf(session: SessionKey): number[] {
    return this.keys.flatMap(({ table, name, id }) => (table === 'queue' && name === session ? [id] : []))
  }

  change({ key, value }: RowChange): void {
    if (value === undefined) this.#rows.delete(textOf(key))
    else this.#rows.set(textOf(key), value)
  }

  /** Folds a stretch of a log in which every record is a commit of its own. */
  fold(records: readonly StoreRecord[], references?: References, again = false): void {
    for (const change of changesOf(records, this, references, again)) this.change(change)
  }

  /** As a new process counts them. */
  references(): References {
    const references = new References()
    for (const { table, id } of this.keys) if (id !== 0) references.add(id, table === 'messages' ? 0 : 1)
    return references
  }

  *records(): Iterable<StoreRecord> {
    for (const key of this.keys) {
      const records = readRow(this.get(key)!)
      if (typeof records === 'string') throw new Error(records)
      yield* records
    }
  }
}

export function changesOf(
  records: readonly StoreRecord[],
  rows: Rows,
  references?: References,
  again = false,
): Iterable<RowChange> {
  const fold = new Fold(again)
  for (const [lsn, record] of records.entries()) fold.add(record, lsn, 0)
  return fold.changes(rows, ({ lsn }: LogPlace) => records[lsn]!, references)
}

const textOf = ({ table, name, id }: RowKey): string => JSON.stringify([table, name, id])

function keyOf(text: string): RowKey {
  const [table, name, id] = JSON.parse(text)
  return { table, name, id }
}

function inOrder(a: RowKey, b: RowKey): number {
  if (a.table !== b.table) return ROW_TABLES.indexOf(a.table) - ROW_TABLES.indexOf(b.table)
  return a.name === b.name ? a.id - b.id : Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))
}
