import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import type { StoreRecord } from '../../src/store/store.ts'
import { FaultControl } from './faults/faults.ts'
import { Ledger } from './ledger.ts'
import { type ProcessOptions, StoreProcess } from './store-process.ts'
import { type Growth, Traffic } from './traffic.ts'

/** Steps of traffic that are sent to the process at a time. */
const BATCH = 10

/** A store, the processes that have it open in turn, and the ledger of what they were given. */
export class StoreRun {
  readonly control: FaultControl
  readonly options: ProcessOptions
  readonly #root = mkdtempSync(join(tmpdir(), 'roost-store-'))
  #dir = this.#root
  #stores = 0
  #ledger = new Ledger()
  #traffic = new Traffic(1)
  #process: StoreProcess | undefined

  constructor(options: ProcessOptions = {}) {
    this.options = options
    this.control = new FaultControl(this.#root)
  }

  get dir(): string {
    return this.#dir
  }

  get ledger(): Ledger {
    return this.#ledger
  }

  /** Begins another store, in a directory that does not exist yet, in the process that is there. */
  renew(): void {
    this.#dir = join(this.#root, `${++this.#stores}`)
    this.#ledger = new Ledger()
    this.#traffic = new Traffic(this.#stores + 1)
    appendFileSync(join(this.#root, 'acks'), '0\n')
  }

  /** The process that has the store open, or has had it open last. */
  get process(): StoreProcess {
    if (this.#process === undefined) throw new Error('the store was not opened')
    return this.#process
  }

  /** Opens the store in a new process under the shim, and compares what it replays with the ledger. */
  async start(env = this.control.env): Promise<void> {
    this.#process = new StoreProcess(this.#root, env)
    const refused = await this.open()
    if (refused !== undefined) throw new Error(refused)
  }

  /** Opens the store in the process that is there, and compares what it replays with the ledger. Returns the reason if it is refused. */
  async open(): Promise<string | undefined> {
    const opened = await this.process.open(this.#dir, this.options)
    if ('refused' in opened) return opened.refused
    this.#settle(this.#ledger.find(opened.records))
    return undefined
  }

  #settle(count: number | string): void {
    if (typeof count === 'string') throw new Error(count)
    const { acknowledged } = this.#ledger
    if (count < acknowledged) throw new Error(`${count} records are there, and ${acknowledged} were acknowledged`)
    this.#ledger.settle(count)
  }

  /** Appends without waiting until it is durable. Returns how many were refused. */
  async append(records: readonly StoreRecord[], perTurn?: number): Promise<number> {
    const first = this.#ledger.length
    for (const record of records) this.#ledger.append(record)
    return this.#send(first, records, perTurn)
  }

  /** Appends so many steps of traffic, and the sessions and sensors first. Returns how many records were refused. */
  async steps(count: number, growth?: Growth, perTurn?: number): Promise<number> {
    let refused = 0
    const missing = this.#traffic.missing(this.#ledger.contents)
    if (missing.length > 0) refused += await this.append(missing)
    for (let left = count; left > 0; left -= BATCH) {
      const first = this.#ledger.length
      const records: StoreRecord[] = []
      for (let i = 0; i < Math.min(left, BATCH); i++) {
        // Each of them depends on what the one before has made of the store.
        for (const record of this.#traffic.next(this.#ledger.contents, growth)) {
          this.#ledger.append(record)
          records.push(record)
        }
      }
      refused += await this.#send(first, records, perTurn)
    }
    return refused
  }

  async #send(first: number, records: readonly StoreRecord[], perTurn?: number): Promise<number> {
    const refused = await this.process.append(first, records, perTurn)
    this.#ledger.refuse(refused.map((index) => first + index))
    return refused.length
  }

  /** Resolves when all that was appended is durable. */
  async whenDurable(): Promise<void> {
    await this.process.until(() => this.process.durable >= this.#ledger.length)
    this.#ledger.acknowledge(this.#ledger.length)
  }

  /** Closes the store in its process, which goes on; resolves to the error if not everything could be stored. */
  async close(): Promise<string | undefined> {
    const error = await this.process.close()
    this.#ledger.acknowledge(error === undefined ? this.#ledger.length : this.process.acknowledged)
    return error
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.process.kill()
    this.#ledger.acknowledge(this.process.acknowledged)
  }

  /** Opens the store in this process, without faults, and compares what it replays with the ledger. */
  async check(): Promise<void> {
    this.#settle(await replayed(this.#dir, this.options, this.#ledger))
  }

  async end(): Promise<void> {
    await this.#process?.kill()
    this.control.close()
    rmSync(this.#root, { recursive: true })
  }
}

/** What `Ledger.find` says about a store that is opened in this process, or why it cannot be opened. */
export async function replayed(dir: string, options: ProcessOptions, ledger: Ledger): Promise<number | string> {
  const ignore = (): void => {}
  let store: SqliteStore
  try {
    store = await SqliteStore.open(dir, { onDurable: ignore, onFailed: ignore, onRecovered: ignore, ...options }, startHere)
  } catch (error) {
    return (error as Error).message
  }
  try {
    return ledger.find(store.replay())
  } finally {
    await store.close()
  }
}
