import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { labelOf, readRow } from '../rows.ts'
import type { Lsn } from '../store.ts'
import { type Entry, entryName } from './entries.ts'
import type { Meta } from './meta.ts'
import { isRunning } from './owner.ts'
import { Digest, LABEL_COLUMNS, TABLES, type Table } from './schema.ts'
import type { Value } from './sqlite.ts'
import { damageOf, ownerIn, StoreReader, storeIn } from './store-reader.ts'
import { readWal, type StorePaths } from './wal.ts'

/** How much was read. */
export interface Checked {
  readonly rows: number
  readonly commits: number
  readonly problems: number
}

/**
 * Reads everything in a store, which another process may use meanwhile, and writes nothing. `onProblem` gets one line for each problem.
 * @throws RefusedError, and the system's errors
 */
export function checkStore(dir: string, onProblem: (problem: string) => void): Checked {
  const check = new Check(storeIn(dir), onProblem)
  check.run()
  return check
}

class Check implements Checked {
  rows = 0
  commits = 0
  problems = 0
  readonly #paths: StorePaths
  readonly #onProblem: (problem: string) => void
  readonly #digest = new Digest()
  readonly #messages = new Set<number>()
  /** The tables that could be read to their ends. */
  readonly #read = new Set<Table>()
  /** Number of the last commit that was read. */
  #last: Lsn | undefined

  constructor(paths: StorePaths, onProblem: (problem: string) => void) {
    this.#paths = paths
    this.#onProblem = onProblem
  }

  run(): void {
    const { database, wal } = this.#paths
    if (!existsSync(database)) {
      this.#report(`${basename(database)} is missing, and ${basename(wal)} is there`)
      return
    }
    let meta: Meta | undefined
    this.#attempt('', () => {
      const reader = new StoreReader(database)
      try {
        meta = this.#readAll(reader)
      } finally {
        reader.close()
      }
    })
    const owner = ownerIn(meta, database)
    if (owner !== undefined && isRunning(owner)) return
    const { damage, shortfall } = readWal(this.#paths)
    for (const problem of [damage, shortfall]) if (problem !== undefined) this.#report(problem)
  }

  #readAll(reader: StoreReader): Meta | undefined {
    const tables = reader.tables((problem) => this.#report(problem))
    this.#attempt('', () => {
      for (const problem of reader.structureProblems()) this.#report(problem)
    })
    let meta: Meta | undefined
    this.#attempt('table meta: ', () => {
      if (!tables.has('meta')) return
      meta = reader.meta
      if (meta === undefined) this.#report('meta: it is empty, or its checksum does not match')
    })
    for (const table of TABLES) if (tables.has(table)) this.#table(reader, table, meta)
    if (meta === undefined) return undefined
    if (this.#read.has('log')) this.#gap(this.#last ?? meta.folded, meta.lsn + 1)
    if (this.#read.size === TABLES.length) this.#compare(meta)
    return meta
  }

  #table(reader: StoreReader, table: Table, meta: Meta | undefined): void {
    this.#attempt(`table ${table}: `, () => {
      for (const { id, label, checksum, entry } of reader.rows(table)) {
        if (typeof checksum === 'number') this.#digest.add(checksum)
        if (entry === undefined) this.#report(`${entryName(table, id)}: checksum does not match`)
        else this.#entry(entry, entryName(table, id), label)
        if (table === 'log') this.#commit(Number(id[0]), meta)
        else this.#row(table, id)
      }
      this.#read.add(table)
    })
  }

  #entry({ table, key, value }: Entry, name: string, label: Value): void {
    const records = readRow(value)
    if (typeof records === 'string') this.#report(`${name}: ${records}`)
    else if (key !== undefined && LABEL_COLUMNS[table] !== undefined && label !== labelOf(key, records)) {
      this.#report(`${name}: column ${LABEL_COLUMNS[table]} is not what its records say`)
    }
  }

  #commit(lsn: Lsn, meta: Meta | undefined): void {
    this.commits++
    // Commits that are in the rows are deleted from the first one on.
    const before = this.#last ?? Math.min(lsn - 1, meta?.folded ?? lsn - 1)
    this.#gap(before, lsn)
    this.#last = lsn
  }

  #gap(before: Lsn, lsn: Lsn): void {
    if (lsn === before + 1) return
    if (lsn <= before) this.#report(`commit ${before} is there, and the last one should be ${lsn - 1}`)
    else this.#report(lsn === before + 2 ? `commit ${before + 1} is missing` : `commits ${before + 1} to ${lsn - 1} are missing`)
  }

  #row(table: Table, id: readonly unknown[]): void {
    this.rows++
    if (table === 'messages') this.#messages.add(Number(id[0]))
    if (table !== 'queue' || !this.#read.has('messages') || this.#messages.has(Number(id[1]))) return
    this.#report(`row queue ${id.join(' ')}: its message is missing`)
  }

  #compare(meta: Meta): void {
    const { rows } = this.#digest
    if (rows !== meta.rows) this.#report(`${rows} rows and commits are there, and ${meta.rows} should be`)
    else if (this.#digest.toString() !== meta.digest) {
      this.#report('the rows are not of one moment: some are older or newer than others')
    }
  }

  /** Runs `action`; where SQLite fails, that is a problem. */
  #attempt(what: string, action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#report(`${what}${damageOf(error, this.#paths.database)}`)
    }
  }

  #report(problem: string): void {
    this.problems++
    this.#onProblem(problem)
  }
}
