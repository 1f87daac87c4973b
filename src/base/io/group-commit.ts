import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter } from '../bytes.ts'
import { readRecord, writeRecord } from '../records.ts'
import type { Lsn, StoreRecord } from '../store.ts'
import { commitFailure } from './commit-failure.ts'

export interface CommitListener {
  /** Everything up to this Lsn is durable. */
  onDurable(upTo: Lsn): void
  /** Commits fail, or do not end; called once until `onRecovered`. Nothing is lost meanwhile: records wait, up to the bound. */
  onFailed(error: string): void
  onRecovered(): void
}

export interface GroupCommitOptions extends CommitListener {
  /** Bytes of records that are not durable yet; beyond it `append` gives 'full'. */
  readonly maxBufferedBytes?: number
  /** Milliseconds until a commit that failed is tried again the first time; doubles up to `RETRY_MAX_MS`. */
  readonly retryMs?: number
}

/** Makes one commit durable; rejects if it could not. The bytes are left alone until then. */
export type PutCommit = (lsn: Lsn, value: Uint8Array) => Promise<unknown>

export const MAX_BUFFERED_BYTES = 64 * 1024 * 1024
const RETRY_MS = 100
const RETRY_MAX_MS = 5_000

/** A commit that takes longer is reported as failing, although it may still succeed. */
const COMMIT_SLOW_MS = 10_000

/** A commit that is larger is divided, so that nobody has to look at more than this in one go. */
const COMMIT_BYTES = 1024 * 1024

/** A buffer that grew beyond this for one commit is not kept for the next. */
const BUFFER_KEPT_BYTES = 2 * COMMIT_BYTES
const BUFFER_FIRST_BYTES = 64 * 1024

/** CRC-32 of the records that follow it, because lmdb has no checksums of its own. */
const HEADER_BYTES = 4

interface Commit {
  readonly lsn: Lsn
  readonly buffer: ByteWriter
  readonly value: Uint8Array
}

/**
 * Gathers records into commits. At most one commit is in flight, or several that share one transaction; all records since it began form the
 * next one, and share its Lsn, the number of the commit. Commits that fail are tried again for ever, with the same bytes under the same Lsn.
 */
export class GroupCommit {
  readonly #put: PutCommit
  readonly #listener: CommitListener
  readonly #maxBufferedBytes: number
  readonly #retryMs: number
  #durable: Lsn
  #open = newBuffer()
  #spare: ByteWriter | undefined = newBuffer()
  /** Number of the commit that records go into now. */
  #openLsn: Lsn
  #inFlightBytes = 0
  /** Commits that are complete and wait for those in flight. */
  #sealed: Commit[] = []
  #sealedBytes = 0
  #lastAt = 0
  #lastBytes = 0
  /** From the first record that waits until none does. */
  #busy = false
  #failing = false
  #closing = false
  #failure = ''
  #endPause: (() => void) | undefined
  #ended: (() => void) | undefined
  readonly #slow: NodeJS.Timeout

  constructor(put: PutCommit, durable: Lsn, options: GroupCommitOptions) {
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

  /** Commits fail, or do not end. */
  get failing(): boolean {
    return this.#failing
  }

  /** Offset, in its commit, of the record that was appended last. */
  get lastAt(): number {
    return this.#lastAt
  }

  get lastBytes(): number {
    return this.#lastBytes
  }

  /** Serialises at once. 'full': the bound is reached, or `close` was called, and nothing was appended. */
  append(record: StoreRecord): Lsn | 'full' {
    if (this.#closing) return 'full'
    const open = this.#open
    const before = open.length
    try {
      writeRecord(open, record)
    } catch (error) {
      // A bug of ours must not also leave half a record in the log.
      open.length = before
      throw error
    }
    if (open.length + this.#sealedBytes + this.#inFlightBytes > this.#maxBufferedBytes) {
      open.length = before
      return 'full'
    }
    if (!this.#busy) {
      this.#busy = true
      // After the I/O of this turn of the loop, so that all that it brought goes into one commit.
      setImmediate(() => void this.#run())
    }
    this.#lastAt = before
    this.#lastBytes = open.length - before
    const lsn = this.#openLsn
    if (open.length >= COMMIT_BYTES) this.#seal()
    return lsn
  }

  /**
   * Commits what is left. If the commit fails now it is tried once more and then given up: nothing that depends on it was acknowledged.
   * Rejects in that case.
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

  get #hasMore(): boolean {
    return this.#open.length > HEADER_BYTES || this.#sealed.length > 0
  }

  #seal(): void {
    const buffer = this.#open
    const value = seal(buffer)
    this.#sealed.push({ lsn: this.#openLsn++, buffer, value })
    this.#sealedBytes += value.length
    this.#open = this.#spare ?? newBuffer()
    this.#spare = undefined
  }

  async #run(): Promise<void> {
    while (this.#hasMore) {
      if (this.#open.length > HEADER_BYTES) this.#seal()
      const commits = this.#sealed
      this.#inFlightBytes = this.#sealedBytes
      this.#sealed = []
      this.#sealedBytes = 0
      if (!(await this.#commit(commits))) break
      this.#inFlightBytes = 0
      const { lsn, buffer } = commits.at(-1)!
      this.#spare = buffer.bytes.length > BUFFER_KEPT_BYTES ? undefined : emptied(buffer)
      this.#durable = lsn
      this.#listener.onDurable(lsn)
    }
    this.#busy = false
    this.#ended?.()
  }

  async #commit(commits: readonly Commit[]): Promise<boolean> {
    for (let pauseMs = this.#retryMs; ; pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS)) {
      const last = this.#closing
      this.#slow.refresh()
      // In one turn of the loop, so that lmdb makes one transaction of them.
      const errors = await Promise.all(commits.map(({ lsn, value }) => this.#attempt(lsn, value)))
      const error = errors.find((each) => each !== undefined)
      if (error === undefined) {
        if (this.#failing) this.#listener.onRecovered()
        this.#failing = false
        return true
      }
      this.#fail(error)
      if (last) return false
      if (!this.#closing) await this.#pause(pauseMs)
    }
  }

  async #attempt(lsn: Lsn, value: Uint8Array): Promise<string | undefined> {
    try {
      await this.#put(lsn, value)
      return undefined
    } catch (error) {
      return commitFailure(error)
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

/** The records of one commit with their offsets, or in one line what is wrong with its bytes. */
export function readCommit(
  value: Uint8Array,
  each: (record: StoreRecord, at: number, bytes: number) => void,
): string | undefined {
  const reader = new ByteReader(value)
  const sum = reader.u32('checksum')
  if (reader.error !== '') return reader.error
  if (sum !== crc32(value.subarray(HEADER_BYTES))) return 'checksum does not match'
  for (let count = 1; reader.remaining > 0; count++) {
    const { at } = reader
    const record = readRecord(reader)
    if (record === undefined) return `record ${count}: ${reader.error}`
    each(record, at, reader.at - at)
  }
  return undefined
}

/** A CRC-32 of the bytes, and the bytes. */
export function withChecksum(bytes: Uint8Array): Uint8Array {
  const buffer = newBuffer(HEADER_BYTES + bytes.length)
  buffer.raw(bytes)
  return seal(buffer)
}

/** The bytes without their checksum; `undefined` if it is not theirs. */
export function checked(value: Uint8Array): Uint8Array | undefined {
  if (value.length < HEADER_BYTES) return undefined
  const bytes = value.subarray(HEADER_BYTES)
  const sum = value[0]! * 0x100_0000 + ((value[1]! << 16) | (value[2]! << 8) | value[3]!)
  return sum === crc32(bytes) ? bytes : undefined
}

function seal(buffer: ByteWriter): Uint8Array {
  const { length } = buffer
  const sum = crc32(buffer.bytes.subarray(HEADER_BYTES, length))
  buffer.length = 0
  buffer.u32(sum)
  buffer.length = length
  return buffer.bytes.subarray(0, length)
}

const newBuffer = (bytes = BUFFER_FIRST_BYTES): ByteWriter => emptied(new ByteWriter(bytes))

function emptied(buffer: ByteWriter): ByteWriter {
  buffer.length = HEADER_BYTES
  return buffer
}
