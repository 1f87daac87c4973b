import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { ByteReader } from '../../base/bytes.ts'
import { Histogram } from '../../base/histogram.ts'
import { readRecord } from '../records.ts'
import { rowName } from '../rows.ts'
import type { Lsn, SessionKey, Store, StoreRecord } from '../store.ts'
import { newAhead, RowsAhead } from './ahead.ts'
import { Database } from './database.ts'
import { FOLD_BYTES } from './folding.ts'
import { type Answer, GroupCommit, type GroupCommitOptions } from './group-commit.ts'
import type { Commit, Reply, Request, Room, StoreNews, ThreadOptions } from './protocol.ts'
import type { ScannedRow } from './scan.ts'
import { DATABASE_FILE } from './schema.ts'
import { failureOf, sqliteVersion } from './sqlite.ts'
import { serveStore } from './thread.ts'
import { DamageError } from './verify.ts'

export interface SqliteStoreOptions extends GroupCommitOptions {
  readonly durability?: ThreadOptions['durability']
  /** Bytes on the disk above which nothing new is taken in. */
  readonly maxBytes?: number
  /** Bytes of log after which it is folded into rows. */
  readonly foldBytes?: number
  /** Name of the program, as the store will say it. */
  readonly writtenBy?: string
  /** The thread passes the rows on while it verifies them, for `replayAlong`, which must be called then. */
  readonly passesOn?: boolean
  /** Whether a session is in the store: where the store is full, it may be resumed, and others may not begin. */
  hasSession?(key: SessionKey): boolean
  /** What is worth a line in the log, apart from commits that fail. */
  onNews?(news: StoreNews): void
}

/** Full at the byte bound, a store looks for room that often (ms). */
const HURRY_MS = 1000

const COMMIT_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] as const

/** Starts the store's thread; its replies come to the port that is returned. */
export type StartThread = (options: ThreadOptions) => MessagePort | Worker

export const startWorker: StartThread = (options) =>
  new Worker(new URL('./worker.js', import.meta.url), {
    workerData: options,
    name: 'store',
    // Flags of this process, such as --input-type, are not for the thread.
    execArgv: [],
    // Little of what it makes lives long: V8's 48 MiB would fill with garbage before any of it is collected, and cost no less time.
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
  })

/** The store without a thread of its own: for tests, and where nothing else has to go on meanwhile. */
export const startHere: StartThread = (options) => {
  const { port1, port2 } = new MessageChannel()
  serveStore(port1, options)
  return port2
}

/** The durable store: a log of commits in SQLite, folded into rows, written by a thread of its own. */
export class SqliteStore implements Store {
  readonly #dir: string
  readonly #thread: MessagePort | Worker
  readonly #commits: GroupCommit
  readonly #options: SqliteStoreOptions
  /**
   * Resolves when everything that was kept has been found sound and the store can be written to; rejects, as `open` does, if it
   * is refused. Nothing that `replay` returned may be used before.
   */
  readonly opened: Promise<void>
  /** Seconds from handing commits to the thread until they were durable. */
  readonly commitSeconds = new Histogram(COMMIT_BOUNDS)
  #isOpen = false
  #settle!: { opened(): void; refused(error: Error): void }
  #room: Room = { usedBytes: 0, isTight: false }
  #hurriedAt = Number.NEGATIVE_INFINITY
  #isDamaged = false
  #answered: ((answer: Answer) => void) | undefined
  #closed: (() => void) | undefined
  /** Those who wait for a checkpoint. */
  readonly #checkpoints: (() => void)[] = []
  readonly #ahead: RowsAhead | undefined

  private constructor(
    dir: string,
    thread: MessagePort | Worker,
    lsn: Lsn,
    options: SqliteStoreOptions,
    ahead: RowsAhead | undefined,
  ) {
    this.#ahead = ahead
    this.#dir = dir
    this.#thread = thread
    this.#options = options
    this.#commits = new GroupCommit((commits) => this.#put(commits), lsn, options)
    this.opened = new Promise((opened, refused) => {
      this.#settle = { opened, refused }
    })
    // Callers await it later; until then a rejection is not unhandled.
    this.opened.catch(() => {})
  }

  /**
   * Opens the store in `dir`, and makes it if there is none. Rejects with a one-line error that names the directory: another
   * process uses it, it is damaged, it was written by a version of Roost that this one does not know, or SQLite cannot open it.
   */
  static async open(dir: string, options: SqliteStoreOptions, start = startWorker): Promise<SqliteStore> {
    const store = await SqliteStore.openToRead(dir, options, start)
    await store.opened
    return store
  }

  /**
   * As `open`, but where nothing has to be folded it resolves as soon as `replay` can be called, while the store's thread
   * inspects everything. The store must not be used otherwise before `opened` has resolved.
   */
  static openToRead(dir: string, options: SqliteStoreOptions, start = startWorker): Promise<SqliteStore> {
    const path = resolve(dir)
    const { durability = 'fsync', maxBytes = Number.POSITIVE_INFINITY, foldBytes = FOLD_BYTES, writtenBy = 'roost' } = options
    const ahead = options.passesOn === true ? newAhead() : undefined
    const thread = start({ dir: path, durability, maxBytes, foldBytes: Math.min(foldBytes, maxBytes / 8), writtenBy, ahead })
    return new Promise((done, refused) => {
      let store: SqliteStore | undefined
      const refuse = (error: Error): void => {
        refused(error)
        if (store === undefined) return
        store.#ahead?.end()
        store.#settle.refused(error)
      }
      thread.on('error', refuse)
      thread.on('message', (reply: Reply) => {
        if (reply.kind === 'refused') refuse(new Error(`store ${path}: ${reply.reason}`))
        // From here on an error of the thread is a bug of ours, and ends the process.
        if (reply.kind === 'opened') thread.off('error', refuse)
        if (store === undefined && (reply.kind === 'readable' || reply.kind === 'opened')) {
          const rows = ahead !== undefined && reply.kind === 'readable' ? new RowsAhead(ahead) : undefined
          store = new SqliteStore(path, thread, reply.lsn, options, rows)
          done(store)
        }
        if (store !== undefined) store.#handle(reply)
      })
    })
  }

  /** For messages to people: `SQLite 3.51.3`. */
  static get engine(): string {
    return `SQLite ${sqliteVersion()}`
  }

  get durable(): Lsn {
    return this.#commits.durable
  }

  /** Bytes of the files in use, as of the last commit. */
  get usedBytes(): number {
    return this.#room.usedBytes
  }

  /** Why messages are refused; undefined if the store works and has room. */
  get trouble(): string | undefined {
    if (this.#isDamaged) return 'the store is damaged'
    if (this.#commits.failing) return 'the store cannot be written'
    return this.#isFull ? 'the store is full' : undefined
  }

  get hasRoom(): boolean {
    return this.#commits.hasRoom
  }

  get waitingBytes(): number {
    return this.#commits.waitingBytes
  }

  append(record: StoreRecord): Lsn | 'full' {
    assert(this.#isOpen, 'nothing is appended to a store that has not been found sound')
    const ends = !this.#grows(record)
    if (this.#isFull && !ends) {
      this.#hurry()
      return 'full'
    }
    return this.#commits.append(record, ends)
  }

  get #isFull(): boolean {
    const { usedBytes, isTight } = this.#room
    return (
      isTight || this.#isDamaged || this.#commits.failing || usedBytes >= (this.#options.maxBytes ?? Number.POSITIVE_INFINITY)
    )
  }

  /** What ends something, or takes it further towards its end, is taken in as long as there is any room for it. */
  #grows(record: StoreRecord): boolean {
    switch (record.type) {
      case 'message':
        return !clears(record)
      case 'subscribe':
      case 'sn-topic':
      case 'sn-subscription':
        return true
      case 'will':
        return record.will !== null
      case 'session':
        return this.#options.hasSession?.(record.key) !== true
      default:
        return false
    }
  }

  /**
   * Resolves when everything that is durable now stands in rows in the database file; not while the disk does not allow it, nor
   * while another process reads an older state.
   */
  checkpoint(): Promise<void> {
    return new Promise((done) => {
      this.#checkpoints.push(done)
      this.#send({ kind: 'checkpoint' })
    })
  }

  #hurry(): void {
    const now = performance.now()
    if (now - this.#hurriedAt < HURRY_MS || this.#commits.failing) return
    this.#hurriedAt = now
    this.#send({ kind: 'make-room' })
  }

  #put(commits: readonly Commit[]): Promise<Answer> {
    const began = performance.now()
    return new Promise((answered) => {
      this.#answered = (answer) => {
        this.commitSeconds.observe((performance.now() - began) / 1000)
        answered(answer)
      }
      this.#send(
        { kind: 'commit', commits },
        commits.map(({ bytes }) => bytes.buffer as ArrayBuffer),
      )
    })
  }

  #send(request: Request, transfer: readonly ArrayBuffer[] = []): void {
    this.#thread.postMessage(request, [...transfer])
  }

  #handle(reply: Reply): void {
    if (reply.kind === 'rows') this.#ahead!.push(reply.table, reply.bytes)
    else if (reply.kind === 'news') this.#tell(reply.news)
    else if (reply.kind === 'closed') this.#closed?.()
    else if (reply.kind === 'checkpointed') for (const done of this.#checkpoints.splice(0)) done()
    else if (reply.kind !== 'refused' && reply.kind !== 'readable') {
      const { usedBytes, isTight } = reply
      this.#room = { usedBytes, isTight }
      if (reply.kind === 'answer') this.#answered?.(reply)
      else if (reply.kind === 'opened') {
        this.#isOpen = true
        this.#ahead?.end()
        this.#settle.opened()
      }
    }
  }

  #tell(news: StoreNews): void {
    // Folding may find it before a commit does, and what is taken in now would never be answered.
    this.#isDamaged ||= news.kind === 'damaged'
    this.#options.onNews?.(news)
  }

  /**
   * Reads the rows, which hold everything that there was at the start. Throws a one-line error with the path at the first that
   * cannot be read.
   */
  *replay(): Iterable<StoreRecord> {
    const database = new Database(join(this.#dir, DATABASE_FILE), true)
    try {
      database.holdMoment()
      for (const rows of database.rows()) yield* recordsOf(rows)
    } catch (error) {
      throw this.#unreadable(error)
    } finally {
      database.close()
    }
  }

  /**
   * As `replay`, with the rows that the thread passes on, so that they are read once: reading them takes half as long as what is done
   * with them. Each part takes some milliseconds. Ends early if the store is refused. Where the thread had to fold first, this
   * reads them, all in one part.
   */
  async *replayAlong(): AsyncIterable<Iterable<StoreRecord>> {
    if (this.#ahead === undefined) {
      yield this.replay()
      return
    }
    try {
      for await (const rows of this.#ahead.rows()) yield recordsOf(rows, (error) => this.#unreadable(error))
    } catch (error) {
      throw this.#unreadable(error)
    }
  }

  #unreadable(error: unknown): Error {
    return new Error(`store ${this.#dir}: ${failureOf(error).reason}; see roost store check ${this.#dir}`)
  }

  /** Commits what is left; rejects if that could not be stored. The directory is free for others in either case. */
  async close(): Promise<void> {
    this.#ahead?.drop()
    try {
      await this.opened
    } catch {
      // The thread has ended.
      return
    }
    this.#send({ kind: 'stop-waiting' })
    try {
      await this.#commits.close()
    } catch (error) {
      throw new Error(`store ${this.#dir}: ${(error as Error).message}`)
    } finally {
      const closed = new Promise<void>((done) => {
        this.#closed = done
      })
      this.#send({ kind: 'close' })
      await closed
    }
  }
}

/** The records in these rows, which are read as they are used. Throws what `failed` makes of a DamageError. */
function* recordsOf(rows: readonly ScannedRow[], failed = (error: DamageError): Error => error): Iterable<StoreRecord> {
  const reader = new ByteReader(new Uint8Array(0))
  for (const row of rows) {
    reader.reset(row.bytes, row.start, row.end)
    while (reader.remaining > 0) {
      const record = readRecord(reader)
      if (record !== undefined) yield record
    }
    if (reader.error !== '') throw failed(new DamageError(`row ${rowName(row.key)}: ${reader.error}`))
  }
}

/** Whether all that the record does is to clear a retained topic. */
const clears = ({ message, deliveries, receipt, retains }: Extract<StoreRecord, { type: 'message' }>): boolean =>
  retains === true && message.payload.length === 0 && deliveries.length === 0 && receipt === undefined
