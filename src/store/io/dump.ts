import { readRow } from '../rows.ts'
import { entryName } from './entries.ts'
import { KEY_COLUMNS, TABLES, type Table } from './schema.ts'
import { StoreReader, storeIn } from './store-reader.ts'

const DECODER = new TextDecoder('utf-8', { fatal: true })

/**
 * Everything in a store as JSON, one line for each row and for each commit that is not in rows yet. Bytes are `{"text": ...}` where
 * they are UTF-8, and `{"base64": ...}` otherwise. `onProblem` gets a line for each row that cannot be read.
 * @throws RefusedError, and SQLite's errors
 */
export function* dumpStore(dir: string, onProblem: (problem: string) => void, only?: Table): Iterable<string> {
  const reader = new StoreReader(storeIn(dir).database)
  try {
    const tables = reader.tables(onProblem)
    for (const table of TABLES) if (tables.has(table) && (only ?? table) === table) yield* tableLines(reader, table, onProblem)
  } finally {
    reader.close()
  }
}

function* tableLines(reader: StoreReader, table: Table, onProblem: (problem: string) => void): Iterable<string> {
  for (const { id, entry } of reader.rows(table)) {
    const records = entry === undefined ? 'checksum does not match' : readRow(entry.value)
    if (typeof records === 'string') {
      onProblem(`${entryName(table, id)}: ${records}`)
      continue
    }
    const key = Object.fromEntries(KEY_COLUMNS[table].map((column, i) => [column, id[i]]))
    yield JSON.stringify({ table, ...key, records }, plain)
  }
}

/** A replacer for `JSON.stringify`, which has called a Buffer's own `toJSON` before. */
function plain(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const raw = this[key]
  if (raw instanceof Uint8Array) return ofBytes(raw)
  return typeof raw === 'number' && !Number.isFinite(raw) ? String(raw) : value
}

function ofBytes(bytes: Uint8Array): { readonly text: string } | { readonly base64: string } {
  try {
    return { text: DECODER.decode(bytes) }
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') }
  }
}
