import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compileShim } from './shim.ts'

/** `remove` covers unlink and rename; `create` is open with O_CREAT of a file that does not exist. */
export type Operation = 'write' | 'sync' | 'truncate' | 'create' | 'remove'
export type DiskError = 'ENOSPC' | 'EDQUOT' | 'EIO'

export interface Fault {
  /** `any`: write, sync, truncate, create and remove. */
  readonly operations: 'any' | Operation | readonly Operation[]
  readonly error: DiskError
  /** `once`: one call fails. `until-changed`: every call fails until the next `fail` or `clear`. */
  readonly mode: 'once' | 'until-changed'
  /**
   * End of the file name: `.db` is the database, `-wal` its log, `/` the directory. Every file if undefined. At most 32 bytes.
   */
  readonly files?: string
  /** Matching calls that succeed before the first one fails. */
  readonly skip?: number
  /** The first matching write returns after half of its bytes, as on a disk that has just become full; the next one fails. */
  readonly partial?: boolean
}

export interface FullDisk {
  /** Bytes by which files can still grow. Files that shrink or are deleted add to it. */
  readonly room: number
  readonly error?: 'ENOSPC' | 'EDQUOT'
  /** A write that does not fit fills the room and returns a short count instead of failing. */
  readonly partial?: boolean
}

export interface Counters {
  /** Failed by the fault or the full disk. */
  readonly injected: number
  readonly shortWrites: number
  /** The others count calls that succeeded. */
  readonly writes: number
  readonly syncs: number
  readonly truncates: number
  readonly creates: number
  readonly removes: number
}

/** Struct control in shim.c. */
const PAGE_SIZE = 4096
const MAGIC = 0x31435352
const SEQUENCE_AT = 4
const FAULT_AT = 8
const SUFFIX_AT = 32
const SUFFIX_MAX = 32
const FULL_AT = 64
const ROOM_AT = 72
const COUNTERS_AT = 80
const COUNTERS = ['injected', 'shortWrites', 'writes', 'syncs', 'truncates', 'creates', 'removes'] as const

const MODES = { once: 1, 'until-changed': 2 } as const
const OPERATIONS: Readonly<Record<Operation, number>> = { write: 1, sync: 2, truncate: 4, create: 8, remove: 16 }
const ANY = 31

/**
 * Controls the disk under processes that run with `env`: makes calls on files below one directory fail, and counts them.
 * Faults can change while the process runs and persist when it is started again.
 */
export class FaultControl {
  /** For `spawn(process.execPath, argv, { env: { ...process.env, ...control.env } })`. */
  readonly env: Readonly<Record<string, string>>
  readonly #scratch = mkdtempSync(join(tmpdir(), 'roost-faults-'))
  readonly #fd: number
  #sequence = 0
  #journals = 0

  /** Controls files below `dir`, an absolute path. */
  constructor(dir: string) {
    const path = join(this.#scratch, 'control')
    this.#fd = openSync(path, 'w+')
    const page = Buffer.alloc(PAGE_SIZE)
    page.writeUInt32LE(MAGIC)
    writeSync(this.#fd, page)
    this.env = {
      LD_PRELOAD: compileShim(),
      ROOST_FAULT_DIR: dir,
      ROOST_FAULT_CONTROL: path,
      // Files are not to be written past the shim.
      UV_USE_IO_URING: '0',
    }
  }

  /** `env` for a process whose changes are recorded in `journal`, for power-cut.ts. Each process needs its own. */
  record(): { readonly env: Readonly<Record<string, string>>; readonly journal: string } {
    const journal = join(this.#scratch, `journal-${++this.#journals}`)
    return { env: { ...this.env, ROOST_FAULT_RECORD: journal }, journal }
  }

  /** Replaces the fault. The full disk is independent of it. */
  fail({ operations, error, mode, files = '', skip = 0, partial = false }: Fault): void {
    const names = operations === 'any' ? [] : [operations].flat()
    const fault = Buffer.alloc(FULL_AT - FAULT_AT)
    const numbers = [
      MODES[mode],
      operations === 'any' ? ANY : names.reduce((bits, name) => bits | OPERATIONS[name as Operation], 0),
      constants.errno[error],
      skip,
      partial ? 1 : 0,
    ]
    for (const [i, number] of numbers.entries()) fault.writeUInt32LE(number, 4 * i)
    if (Buffer.byteLength(files) > SUFFIX_MAX) throw new RangeError(`longer than ${SUFFIX_MAX} bytes: ${files}`)
    fault.write(files, SUFFIX_AT - FAULT_AT)
    this.#change(FAULT_AT, fault)
  }

  fillDisk({ room, error = 'ENOSPC', partial = false }: FullDisk): void {
    const full = Buffer.alloc(COUNTERS_AT - FULL_AT)
    full.writeUInt32LE(constants.errno[error])
    full.writeUInt32LE(partial ? 1 : 0, 4)
    full.writeBigInt64LE(BigInt(room), ROOM_AT - FULL_AT)
    this.#change(FULL_AT, full)
  }

  /** No fault, and a disk with room. Counters are kept. */
  clear(): void {
    this.#change(FAULT_AT, Buffer.alloc(COUNTERS_AT - FAULT_AT))
  }

  /** False after a fault with mode `once` has failed its call. */
  get isFailing(): boolean {
    return this.#read(FAULT_AT, 4).readUInt32LE() !== 0
  }

  get room(): number {
    return Number(this.#read(ROOM_AT, 8).readBigInt64LE())
  }

  get counters(): Counters {
    const numbers = this.#read(COUNTERS_AT, 8 * COUNTERS.length)
    const entries = COUNTERS.map((name, i) => [name, Number(numbers.readBigUInt64LE(8 * i))])
    return Object.fromEntries(entries) as unknown as Counters
  }

  get injected(): number {
    return this.counters.injected
  }

  /** Resolves once `count` calls have failed since this control was created. */
  async whenInjected(count: number): Promise<void> {
    while (this.injected < count) await sleep(5)
  }

  /** Deletes the control page and the journals. */
  close(): void {
    closeSync(this.#fd)
    rmSync(this.#scratch, { recursive: true })
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    readSync(this.#fd, bytes, 0, length, at)
    return bytes
  }

  /** The shim waits while the sequence number is odd. */
  #change(at: number, bytes: Buffer): void {
    this.#writeSequence()
    writeSync(this.#fd, bytes, 0, bytes.length, at)
    this.#writeSequence()
  }

  #writeSequence(): void {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(++this.#sequence)
    writeSync(this.#fd, bytes, 0, 4, SEQUENCE_AT)
  }
}
