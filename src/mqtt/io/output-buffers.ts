import type { Socket } from 'node:net'

/** Part of the memory that queued output may take before every socket that accepts nothing is congested. */
const TIGHT = 0.125

/**
 * Output queued for sockets that do not accept it. A buffer counts once, in full, even if several sockets wait for parts of it;
 * what TLS makes of it is separate for each.
 */
export class OutputBuffers {
  readonly #most: number
  readonly #waiting = new Map<Socket, { readonly buffers: ArrayBufferLike[]; encrypted: number }>()
  /** The number of waiting sockets per buffer. */
  readonly #sharers = new Map<ArrayBufferLike, number>()
  #total = 0

  /** `memoryLimit` in bytes. */
  constructor(memoryLimit: number) {
    this.#most = memoryLimit * TIGHT
  }

  /** Bytes. */
  get total(): number {
    return this.#total
  }

  get isTight(): boolean {
    return this.#total > this.#most
  }

  /** Counts bytes that a socket has not accepted completely. */
  add(socket: Socket, { buffer }: Uint8Array): void {
    let waiting = this.#waiting.get(socket)
    if (waiting === undefined) {
      waiting = { buffers: [], encrypted: 0 }
      this.#waiting.set(socket, waiting)
    }
    if ('encrypted' in socket) {
      this.#total += socket.writableLength - waiting.encrypted
      waiting.encrypted = socket.writableLength
      return
    }
    if (waiting.buffers.at(-1) === buffer) return
    waiting.buffers.push(buffer)
    const sharers = this.#sharers.get(buffer) ?? 0
    if (sharers === 0) this.#total += buffer.byteLength
    this.#sharers.set(buffer, sharers + 1)
  }

  /** The socket has accepted everything, or is gone. */
  empty(socket: Socket): void {
    const waiting = this.#waiting.get(socket)
    if (waiting === undefined) return
    this.#waiting.delete(socket)
    this.#total -= waiting.encrypted
    for (const buffer of waiting.buffers) {
      const sharers = this.#sharers.get(buffer)! - 1
      if (sharers > 0) this.#sharers.set(buffer, sharers)
      else {
        this.#sharers.delete(buffer)
        this.#total -= buffer.byteLength
      }
    }
  }

  /** Finds those that have taken everything and had too little waiting to tell. */
  refresh(): void {
    for (const socket of this.#waiting.keys()) if (socket.writableLength === 0 || socket.destroyed) this.empty(socket)
  }
}
