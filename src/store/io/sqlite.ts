import { createRequire } from 'node:module'
import process from 'node:process'

/** A value that SQLite stores. */
export type Value = number | string | Uint8Array | null
export type Row = Readonly<Record<string, Value>>

/** A prepared statement; parameters are positional. */
export interface Statement {
  run(...parameters: Value[]): { readonly changes: number | bigint }
  get(...parameters: Value[]): Row | undefined
  all(...parameters: Value[]): Row[]
  iterate(...parameters: Value[]): IterableIterator<Row>
}

/** A connection to a database, synchronous: what both bindings have in common. Everything in it throws. */
export interface Connection {
  exec(sql: string): unknown
  prepare(sql: string): Statement
  close(): unknown
}

/**
 * `full`: there is no room on the disk. `busy`: another process holds a lock. `damaged`: the file is not a database, or not a
 * sound one. `io`: reading or writing failed.
 */
export type FailureKind = 'full' | 'busy' | 'damaged' | 'io' | 'other'

export interface Failure {
  readonly kind: FailureKind
  /** One line. */
  readonly reason: string
}

type Open = (path: string, readOnly: boolean) => Connection

/** No binding to SQLite can be loaded. The message is one line that says what to do. */
export class NoBindingError extends Error {
  constructor(remedy: string) {
    super(`SQLite is missing: use Node.js 22.13 or later, which has it, or ${remedy}`)
  }
}

interface NodeSqlite {
  DatabaseSync: new (path: string, options: { readOnly: boolean }) => Connection
}

type BetterSqlite3 = new (path: string, options: { readonly: boolean }) => Connection

/** Opens a database. @throws NoBindingError if neither this Node.js nor better-sqlite3 has SQLite, and SQLite's own errors */
export function openDatabase(path: string, readOnly = false): Connection {
  open ??= fromNode() ?? fromPackage()
  return open(path, readOnly)
}

let open: Open | undefined

/** node:sqlite, from Node.js 22.13 on without a flag. */
function fromNode(): Open | undefined {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < 22 || (major === 22 && minor < 13)) return undefined
  const sqlite = withoutSqliteWarning(() => process.getBuiltinModule('node:sqlite' as never)) as NodeSqlite | undefined
  return sqlite && ((path, readOnly) => new sqlite.DatabaseSync(path, { readOnly }))
}

/** better-sqlite3, an optional dependency for Node.js 20. @throws NoBindingError */
function fromPackage(): Open {
  try {
    const Database = createRequire(import.meta.url)('better-sqlite3') as BetterSqlite3
    // Loads the binary, which is what may be missing.
    new Database(':memory:', { readonly: false }).close()
    return (path, readonly) => new Database(path, { readonly })
  } catch (error) {
    throw new NoBindingError(remedy(error as { code?: string }))
  }
}

/** npm leaves the package out with --omit=optional or if it cannot be built, and its binary with --ignore-scripts. */
function remedy({ code }: { code?: string }): string {
  if (code === 'MODULE_NOT_FOUND')
    return 'install better-sqlite3 (npm install without --omit=optional; to compile it: python3, make, g++; npm ci --foreground-scripts says why it failed)'
  return 'build the binary of better-sqlite3 for this Node.js (npm rebuild better-sqlite3)'
}

/** Node.js 22 warns that its SQLite is experimental. That one warning is left out; all others pass. */
function withoutSqliteWarning<T>(load: () => T): T {
  const { emitWarning } = process
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (!`${warning}`.startsWith('SQLite is an experimental feature')) emitWarning.call(process, warning, ...rest)
  }) as typeof process.emitWarning
  try {
    return load()
  } finally {
    process.emitWarning = emitWarning
  }
}

/** SQLite's primary result codes [sqlite.org/rescode.html]. */
const KINDS: Readonly<Record<string, { readonly code: number; readonly kind: FailureKind; readonly reason: string }>> = {
  SQLITE_BUSY: { code: 5, kind: 'busy', reason: 'another process has locked it' },
  SQLITE_READONLY: { code: 8, kind: 'io', reason: 'it cannot be written' },
  SQLITE_IOERR: { code: 10, kind: 'io', reason: 'input/output error' },
  SQLITE_CORRUPT: { code: 11, kind: 'damaged', reason: 'the database file is damaged' },
  SQLITE_FULL: { code: 13, kind: 'full', reason: 'no space left on device' },
  SQLITE_CANTOPEN: { code: 14, kind: 'io', reason: 'the database file cannot be opened' },
  SQLITE_NOTADB: { code: 26, kind: 'damaged', reason: 'the file is not a database' },
}

/** SQLITE_IOERR with what went wrong, by its number: node:sqlite gives no names. */
const IOERR = [
  '',
  '_READ',
  '_SHORT_READ',
  '_WRITE',
  '_FSYNC',
  '_DIR_FSYNC',
  '_TRUNCATE',
  '_FSTAT',
  '_UNLOCK',
  '_RDLOCK',
  '_DELETE',
]

/** What an error of either binding means. */
export function failureOf(error: unknown): Failure {
  const { code, errcode, message } = error as { code?: string; errcode?: number; message?: string }
  const text = (message ?? String(error)).replaceAll(/\s+/g, ' ')
  for (const [name, known] of Object.entries(KINDS)) {
    const isExtended = typeof code === 'string' && code.startsWith(`${name}_`)
    if (code !== name && !isExtended && (errcode === undefined || (errcode & 0xff) !== known.code)) continue
    return { kind: known.kind, reason: `${known.reason} (${isExtended ? code : `${name}${extension(name, errcode)}`})` }
  }
  return { kind: 'other', reason: text }
}

function extension(name: string, errcode: number | undefined): string {
  const number = (errcode ?? 0) >> 8
  if (number === 0) return ''
  return name === 'SQLITE_IOERR' && number < IOERR.length ? IOERR[number]! : ` ${number}`
}

/** The version of SQLite itself. */
export function sqliteVersion(): string {
  const memory = openDatabase(':memory:')
  try {
    return String(memory.prepare('SELECT sqlite_version() AS version').get()!.version)
  } finally {
    memory.close()
  }
}
