import { createHash } from 'node:crypto'
import { Fold, type LogPlace, References } from '../../src/base/fold.ts'
import { idOf, isPayload, type RowChange, RowKeys, type Rows, readRow } from '../../src/base/rows.ts'
import type { StoreRecord } from '../../src/base/store.ts'

export const KEYS = new RowKeys((text) => createHash('sha256').update(text).digest())

/** Rows in memory, in the order of their keys. */
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

  /** As hexadecimal digits, sorted. */
  get keys(): string[] {
    return [...this.#rows.keys()].sort()
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(hex(key))
  }

  *keysUnder(prefix: Uint8Array): Iterable<Uint8Array> {
    for (const key of this.keys) if (key.startsWith(hex(prefix))) yield Buffer.from(key, 'hex')
  }

  change({ key, value }: RowChange): void {
    if (value === undefined) this.#rows.delete(hex(key))
    else this.#rows.set(hex(key), value)
  }

  /** Folds a stretch of a log in which every record is a commit of its own. */
  fold(records: readonly StoreRecord[], references?: References, again = false): void {
    for (const change of changesOf(records, this, references, again)) this.change(change)
  }

  /** As a new process counts them. */
  references(): References {
    const references = new References()
    for (const key of this.keys.map((each) => Buffer.from(each, 'hex')))
      if (idOf(key) !== 0) references.add(idOf(key), isPayload(key) ? 0 : 1)
    return references
  }

  *records(): Iterable<StoreRecord> {
    for (const key of this.keys) {
      const records = readRow(this.#rows.get(key)!)
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
  const fold = new Fold(KEYS, again)
  for (const [lsn, record] of records.entries()) fold.add(record, lsn, 0)
  return fold.changes(rows, ({ lsn }: LogPlace) => records[lsn]!, references)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
