import { ByteWriter } from '../../base/bytes.ts'
import { writeRecord } from '../records.ts'
import type { Lsn, StoreRecord } from '../store.ts'
import type { Commit } from './protocol.ts'

export interface CommitListener {
  /** Everything up to this Lsn is durable. */
  onDurable(upTo: Lsn): void
  /**
   * Commits fail, or do not complete; called once until `onRecovered`. Nothing is lost meanwhile: records wait, up to the limit.
   */
  onFailed(error: string): void
  onRecovered(): void
}

export interface GroupCommitOptions extends CommitListener {
  /** Bytes of records that are not durable yet; beyond it `append` returns 'full', unless the record ends something. */
  readonly maxBufferedBytes?: number
  /** Milliseconds until a failed commit is retried for the first time; doubles up to `RETRY_MAX_MS`. */
  readonly retryMs?: number
}

/** The result of a transaction: the same commits, whose bytes may be reused, and the error if it failed. */
export interface Answer {
  readonly commits: readonly Commit[]
  readonly error: string | undefined
}

/** Makes commits durable in one transaction, all or none. Their bytes belong to it until it answers. Never rejects. */
export type PutCommits = (commits: readonly Commit[]) => Promise<Answer>

export const MAX_BUFFERED_BYTES = 64 * 1024 * 1024
/** Part of the limit up to which there is room for work that can wait. */
const ROOM = 0.25
/** Part of the limit by which records that end something may exceed it: they are small, and would not be sent again. */
const ENDS = 0.25
const RETRY_MS = 100
const RETRY_MAX_MS = 5_000

/** A commit that takes longer is reported as failing, although it may still succeed. */
const COMMIT_SLOW_MS = 10_000

/** A larger commit is divided, so that no reader has to process more at a time. */
const COMMIT_BYTES = 1024 * 1024

/** A buffer that grew beyond this for one commit is not kept for the next. */
const BUFFER_KEPT_BYTES = 2 * COMMIT_BYTES
const BUFFER_FIRST_BYTES = 64 * 1024

/**
 * Gathers records into commits. At most one commit is in flight, or several that share one transaction; all records since it
 * began form the next one, and share its Lsn, the number of the commit. Failed commits are retried indefinitely, with the same
 * bytes under the same Lsn.
 */
export class GroupCommit {
  readonly #put: PutCommits
  readonly #listener: CommitListener
  readonly #maxBufferedBytes: number
  readonly #retryMs: number
  #durable: Lsn
  #open = new ByteWriter(BUFFER_FIRST_BYTES)
  #spare: ByteWriter | undefined = new ByteWriter(BUFFER_FIRST_BYTES)
  /** Number of the commit that records go into now. */
  #openLsn: Lsn
  #inFlightBytes = 0
  /** Commits that are complete and wait for those in flight. */
  #sealed: Commit[] = []
  #sealedBytes = 0
  /** From the first waiting record until none is left. */
  #busy = false
  #failing = false
  #closing = false
  #failure = ''
  #endPause: (() => void) | undefined
  #ended: (() => void) | undefined
  readonly #slow: NodeJS.Timeout

  constructor(put: PutCommits, durable: Lsn, options: GroupCommitOptions) {
    this.#put = put
    this.#listener = options
    this.#maxBufferedBytes = options.maxBufferedBytes ?? MAX_BUFFERED_BYTES
    this.#retryMs = options.retryMs ?? RETRY_MS
    this.#durable = durable
    this.#openLsn = durable + 1
    this.#slow = setTimeout(() => this.#reportSlow(), COMMIT_SLOW_MS).unref()
  }

  get durable(): Lsn {
    return this.#durable
  }

  /** Whether commits fail, or do not complete. */
  get failing(): boolean {
    return this.#failing
  }

  /** As `Store.hasRoom`. */
  get hasRoom(): boolean {
    return this.waitingBytes <= this.#maxBufferedBytes * ROOM
  }

  /**
   * Serialises at once. 'full': the bound is reached, or `close` was called, and nothing was appended. `ends`: the record ends
   * something, and may exceed the bound by a quarter.
   */
  append(record: StoreRecord, ends = false): Lsn | 'full' {
    if (this.#closing) return 'full'
    const open = this.#open
    const before = open.length
    try {
      writeRecord(open, record)
    } catch (error) {
      // A bug must not leave half a record in the log.
      open.length = before
      throw error
    }
    if (this.waitingBytes > this.#maxBufferedBytes * (ends ? 1 + ENDS : 1)) {
      open.length = before
      return 'full'
    }
    if (!this.#busy) {
      this.#busy = true
      // After the I/O of this turn of the event loop, so that all its records share one commit.
      setImmediate(() => void this.#run())
    }
    const lsn = this.#openLsn
    if (open.length >= COMMIT_BYTES) this.#seal()
    return lsn
  }

  /**
   * Commits the rest. If that fails it is retried once and then abandoned, and the promise rejects: nothing that depends on it
   * was acknowledged.
   */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#busy) {
      this.#endPause?.()
      await new Promise<void>((resolve) => {
        this.#ended = resolve
      })
    }
    clearTimeout(this.#slow)
    if (this.#hasMore || this.#inFlightBytes > 0) {
      throw new Error(`closed with commit ${this.#durable + 1} not stored: ${this.#failure}`)
    }
  }

  /** Bytes of records that are not durable yet. */
  get waitingBytes(): number {
    return this.#open.length + this.#sealedBytes + this.#inFlightBytes
  }

  get #hasMore(): boolean {
    return this.#open.length > 0 || this.#sealed.length > 0
  }

  #seal(): void {
    const { bytes, length } = this.#open
    this.#sealed.push({ lsn: this.#openLsn++, bytes: bytes.subarray(0, length) })
    this.#sealedBytes += length
    this.#open = this.#spare ?? new ByteWriter(BUFFER_FIRST_BYTES)
    this.#spare = undefined
  }

  async #run(): Promise<void> {
    while (this.#hasMore) {
      if (this.#open.length > 0) this.#seal()
      // One at a time while they fail: a full disk may have room for the next one, but not for all.
      const commits = this.#sealed.splice(0, this.#failing ? 1 : this.#sealed.length)
      this.#inFlightBytes = bytesOf(commits)
      this.#sealedBytes -= this.#inFlightBytes
      const done = await this.#commit(commits)
      if (done === undefined) break
      this.#inFlightBytes = 0
      const { lsn, bytes } = done.at(-1)!
      this.#spare = bytes.buffer.byteLength > BUFFER_KEPT_BYTES ? undefined : new ByteWriter(bytes.buffer as ArrayBuffer)
      this.#durable = lsn
      this.#listener.onDurable(lsn)
    }
    this.#busy = false
    this.#ended?.()
  }

  /** The commits as they came back, when they are durable; `undefined` if they never will be. */
  async #commit(commits: readonly Commit[]): Promise<readonly Commit[] | undefined> {
    let sent = commits
    for (let pauseMs = this.#retryMs; ; pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS)) {
      const last = this.#closing
      this.#slow.refresh()
      const { commits: returned, error } = await this.#put(sent)
      sent = returned
      if (error !== undefined && sent.length > 1) {
        const rest = sent.slice(1)
        sent = sent.slice(0, 1)
        this.#sealed.unshift(...rest)
        this.#sealedBytes += bytesOf(rest)
        this.#inFlightBytes -= bytesOf(rest)
      }
      if (error === undefined) {
        if (this.#failing && this.#sealed.length === 0) {
          this.#failing = false
          this.#listener.onRecovered()
        }
        return sent
      }
      this.#fail(error)
      if (last) return undefined
      if (!this.#closing) await this.#pause(pauseMs)
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #fail(error: string): void {
    this.#failure = error
    if (this.#failing) return
    this.#failing = true
    this.#listener.onFailed(error)
  }

  #reportSlow(): void {
    if (this.#inFlightBytes > 0) this.#fail(`commit ${this.#durable + 1} takes longer than ${COMMIT_SLOW_MS / 1000} s`)
  }
}

const bytesOf = (commits: readonly Commit[]): number => commits.reduce((sum, { bytes }) => sum + bytes.length, 0)
