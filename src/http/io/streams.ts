import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { EventStream } from '../exchange.ts'

/** Event streams at a time. */
export const STREAMS_MAX = 16
/** Milliseconds between two comments that keep proxies from closing a stream on which nothing happens. */
const HEARTBEAT_MS = 15_000

interface Open {
  readonly stream: EventStream
  readonly response: ServerResponse
  readonly socket: Socket
  /** The browser session that asked for it. */
  readonly sessionId: string | undefined
  /** Written, and not taken by the socket yet. */
  isFull: boolean
}

/**
 * Event streams to browsers and programs. A stream is asked for more when its socket has taken what was written before: for a slow
 * reader nothing is kept but one chunk.
 */
export class Streams {
  readonly #open = new Set<Open>()
  #beat: NodeJS.Timeout | undefined
  #pump: NodeJS.Immediate | undefined
  readonly #ready = new Set<Open>()

  get size(): number {
    return this.#open.size
  }

  /** Bytes of memory that wait for their readers, besides what has been written. */
  get bytes(): number {
    let bytes = 0
    for (const { stream } of this.#open) bytes += stream.bytes ?? 0
    return bytes
  }

  /** Why there is no room for another stream; '' if there is. */
  get refusal(): string {
    return this.#open.size >= STREAMS_MAX ? `there are ${STREAMS_MAX} event streams already` : ''
  }

  /**
   * Takes over a response whose head has been written, on a socket that has no other stream. The end is seen at the socket, because
   * a response that waits for the one before it, or whose socket has closed already, emits no 'close'.
   */
  add(stream: EventStream, response: ServerResponse, socket: Socket, sessionId?: string): void {
    if (socket.destroyed) {
      stream.close()
      return
    }
    const open: Open = { stream, response, socket, sessionId, isFull: false }
    this.#open.add(open)
    stream.wake = () => this.#wake(open)
    socket.once('close', () => this.#end(open))
    response.on('error', () => this.#end(open))
    response.on('drain', () => {
      open.isFull = false
      this.#wake(open)
    })
    this.#beat ??= setInterval(() => this.#onBeat(), HEARTBEAT_MS).unref()
    this.#wake(open)
  }

  /** Ends all streams. */
  close(): void {
    for (const open of [...this.#open]) this.#finish(open)
  }

  /** Ends the streams of a browser session, which is over. */
  closeOf(sessionId: string): void {
    for (const open of [...this.#open]) if (open.sessionId === sessionId) this.#finish(open)
  }

  #finish(open: Open): void {
    open.response.end()
    this.#end(open)
  }

  /** Events may come by the thousand within a turn: what they lead to is written once, after it. */
  #wake(open: Open): void {
    if (open.isFull || !this.#open.has(open)) return
    this.#ready.add(open)
    this.#pump ??= setImmediate(() => {
      this.#pump = undefined
      const ready = [...this.#ready]
      this.#ready.clear()
      for (const each of ready) this.#write(each)
    })
  }

  #write(open: Open): void {
    if (!this.#open.has(open)) return
    const text = open.stream.next()
    if (text === '') return
    open.isFull = !open.response.write(text)
    // There may be more than one chunk of it.
    this.#wake(open)
  }

  #onBeat(): void {
    for (const { isFull, response } of this.#open) if (!isFull) response.write(': still here\n\n')
  }

  #end(open: Open): void {
    if (!this.#open.delete(open)) return
    this.#ready.delete(open)
    open.stream.close()
    if (this.#open.size > 0) return
    clearInterval(this.#beat)
    this.#beat = undefined
  }
}
