import { closeSync, fchmodSync, fstatSync, openSync, writeSync } from 'node:fs'
import { StartError } from '../base/start-error.ts'
import { reasonOf } from '../config/io/text-file.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import type { TraceEvent } from '../trace/event.ts'
import { PcapWriter } from '../trace/pcap.ts'
import type { Watcher } from '../trace/tracer.ts'
import type { Logger } from './log.ts'

/** Bytes that are collected before they are written, at the latest at the end of the turn. */
const BATCH_BYTES = 64 * 1024

export interface TraceFileOptions {
  readonly path: string
  readonly maxBytes: number
  readonly payloads: boolean
}

/**
 * Empties a capture file, or makes it. It is only for its owner, one that was there before as well: it shows who publishes what.
 * @throws an error of the system
 */
export function openCapture(path: string): number {
  const file = openSync(path, 'w', 0o600)
  try {
    const stat = fstatSync(file)
    // Not /dev/null, nor a pipe.
    if (stat.isFile() && (stat.mode & 0o077) !== 0) fchmodSync(file, 0o600)
  } catch (error) {
    closeSync(file)
    throw error
  }
  return file
}

/** A capture file. It ends when it is full or cannot be written: the log says so, and Roost runs on. */
export class TraceFile implements Watcher {
  readonly #options: TraceFileOptions
  readonly #log: Logger
  readonly #pcap: PcapWriter
  /** Called when it ends before `close`. */
  ended: () => void = () => {}
  #file: number | undefined
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #writtenBytes = 0
  #flushing: NodeJS.Immediate | undefined

  /** @throws StartError */
  constructor(options: TraceFileOptions, log: Logger) {
    this.#options = options
    this.#log = log
    this.#pcap = new PcapWriter(options.payloads)
    try {
      this.#file = openCapture(options.path)
    } catch (error) {
      throw new StartError(`trace_file: cannot write ${options.path}: ${reasonOf(error)}`)
    }
    this.#add([this.#pcap.header()])
  }

  /** Bytes of memory that it takes. */
  get bytes(): number {
    return this.#file === undefined ? 0 : this.#waitingBytes + this.#pcap.bytes
  }

  seen(event: TraceEvent): void {
    if (this.#file !== undefined) this.#add(this.#pcap.records(Date.now(), event))
  }

  streamClosed(connection: ConnectionId): void {
    if (this.#file !== undefined) this.#add(this.#pcap.closed(Date.now(), connection))
  }

  close(): void {
    this.#flush()
    this.#end()
  }

  /** Adds records, all of them or none. */
  #add(records: readonly Uint8Array[]): void {
    const bytes = records.reduce((sum, { length }) => sum + length, 0)
    if (this.#writtenBytes + this.#waitingBytes + bytes > this.#options.maxBytes) {
      this.close()
      this.ended()
      this.#log.warn(`${this.#options.path}: full, no more packets are traced to it (trace_file_max_mib)`)
      return
    }
    this.#waiting.push(...records)
    this.#waitingBytes += bytes
    if (this.#waitingBytes >= BATCH_BYTES) this.#flush()
    else this.#flushing ??= setImmediate(() => this.#flush())
  }

  #flush(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing)
    this.#flushing = undefined
    if (this.#file === undefined || this.#waitingBytes === 0) return
    const batch = Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    this.#writtenBytes += batch.length
    try {
      for (let at = 0; at < batch.length; ) at += writeSync(this.#file, batch, at)
    } catch (error) {
      this.#end()
      this.ended()
      this.#log.error(`${this.#options.path}: ${reasonOf(error)}, no more packets are traced to it (trace_file)`)
    }
  }

  #end(): void {
    if (this.#file === undefined) return
    closeSync(this.#file)
    this.#file = undefined
  }
}
