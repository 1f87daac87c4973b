import type { Socket } from 'node:net'
import type { ConnectionId, StreamInfo } from '../connection.ts'
import type { Stream, StreamHost } from './stream-host.ts'

/** Milliseconds after which an ended socket is destroyed, whatever its peer does. */
export const LINGER_MS = 1000

const NOTHING = new Uint8Array(0)

/** A piece of a buffer that is smaller than one part in so many is not worth keeping it. */
const SLAB_PARTS = 4

const STREAM = Symbol('stream')

/** The event listeners find the stream at its socket, so that all connections share them: closures would take 1 kB for each. */
type SocketOfStream<S> = Socket & { [STREAM]: S }

export interface StreamOptions {
  readonly host: StreamHost
  /** Bytes queued in one socket above which its link stops listening. */
  readonly socketBufferBytes: number
  /** Milliseconds for which a socket may accept nothing of what is queued. */
  readonly writeTimeoutMs: number
  /** The reason for `closed` where the socket has none. */
  readonly closedReason?: string
  /** The open streams of the listener: each adds itself, and removes itself when its socket is closed. */
  readonly streams?: Set<SocketStream>
}

/** An MQTT stream over a socket. A subclass sends its bytes on the socket itself, or in WebSocket messages. */
export abstract class SocketStream implements Stream {
  protected readonly socket: Socket
  protected readonly from: StreamInfo
  protected readonly options: StreamOptions
  protected connection: ConnectionId = 0
  /** Why it is going to close. */
  protected reason: string
  #isCongested = false
  #isDraining = false
  #isEmptying = false

  constructor(socket: Socket, from: StreamInfo, options: StreamOptions) {
    this.socket = socket
    this.from = from
    this.options = options
    this.reason = options.closedReason ?? 'connection closed by the client'
  }

  protected get host(): StreamHost {
    return this.options.host
  }

  /** Reports the stream to the host, and starts to listen to the socket's events. */
  open(): this {
    const { socket, options } = this
    options.streams?.add(this)
    ;(socket as SocketOfStream<SocketStream>)[STREAM] = this
    this.connection = options.host.opened(this, this.from)
    socket.on('timeout', onTimeout)
    socket.on('drain', onDrain)
    socket.on('close', onClose)
    return this
  }

  protected abstract send(bytes: Uint8Array): void

  /** Whether the kernel reads the bytes that are sent, and nothing in between keeps them for later. */
  protected abstract get isDirect(): boolean

  /**
   * Sends what was written, then FIN, and discards input until the peer ends too: destroying a socket with unread bytes would
   * reset it, and the peer would lose the packet with the reason. After DISCONNECT the input is not awaited. The socket is gone
   * after `LINGER_MS` at the latest.
   */
  abstract end(saidGoodbye?: boolean): void
  abstract pause(): void
  abstract resume(): void

  write(bytes: Uint8Array): boolean {
    const { socket } = this
    const { host, socketBufferBytes, writeTimeoutMs } = this.options
    // Queued bytes are copied out of their slab: ten bytes for a slow reader would keep the output for all others in memory.
    const waits = socket.writableLength > 0 && bytes.length * SLAB_PARTS < bytes.buffer.byteLength
    const sent = waits ? Buffer.from(bytes) : bytes
    this.send(sent)
    if (socket.writableLength === 0) return this.isDirect
    host.outputs.add(socket, sent)
    if (!socket.writableNeedDrain) {
      this.#emptyLater()
      return waits
    }
    if (!this.#isDraining) {
      this.#isDraining = true
      // Node checks what the kernel has accepted: a slow reader does not time out, one that reads nothing does.
      socket.setTimeout(writeTimeoutMs)
    }
    if (this.#isCongested || (socket.writableLength <= socketBufferBytes && !host.outputs.isTight)) return waits
    this.#isCongested = true
    host.handle({ kind: 'congested', connection: this.connection, on: true })
    return waits
  }

  /** Node reports that everything has left only to a socket that asked for a pause. To others, an empty write does. */
  #emptyLater(): void {
    const { socket } = this
    // Once it is ended nothing more may be written, and `close` empties it.
    if (this.#isEmptying || socket.writableNeedDrain || !socket.writable) return
    this.#isEmptying = true
    socket.write(NOTHING, () => {
      this.#isEmptying = false
      if (socket.writableLength === 0) this.host.outputs.empty(socket)
      else this.#emptyLater()
    })
  }

  timedOut(): void {
    if (!this.#isDraining) return
    // The kernel may have sent everything, which the process has not noticed yet.
    if (this.host.wasPaused) this.socket.setTimeout(this.options.writeTimeoutMs)
    else this.host.handle({ kind: 'stuck', connection: this.connection })
  }

  drained(): void {
    this.host.outputs.empty(this.socket)
    if (this.#isDraining) {
      this.#isDraining = false
      this.socket.setTimeout(0)
    }
    if (!this.#isCongested) return
    this.#isCongested = false
    this.host.handle({ kind: 'congested', connection: this.connection, on: false })
  }

  /** The socket is closed. */
  gone(): void {
    this.options.streams?.delete(this)
    this.host.outputs.empty(this.socket)
  }

  protected chunk(bytes: Uint8Array): void {
    this.host.handle({ kind: 'chunk', connection: this.connection, bytes })
  }

  protected closed(): void {
    this.host.closed(this.connection, this.reason)
  }
}

/** MQTT on a socket as it is: TCP, TLS or Unix. */
class PlainStream extends SocketStream {
  #lingering: NodeJS.Timeout | undefined = undefined

  override open(): this {
    super.open()
    this.socket.on('data', onData)
    this.socket.on('error', onError)
    return this
  }

  protected send(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  protected get isDirect(): boolean {
    return !('encrypted' in this.socket)
  }

  end(saidGoodbye = false): void {
    const { socket } = this
    if (this.#lingering !== undefined || socket.closed) return
    // Nothing is left to send or to read: shutdown, timer and another turn took a tenth of a short connection's CPU time.
    if (saidGoodbye && socket.writableLength === 0 && !('encrypted' in socket)) {
      socket.destroy()
      return
    }
    this.#lingering = setTimeout(() => socket.destroy(), LINGER_MS)
    this.host.lingering(this.from)
    socket.resume()
    if (saidGoodbye) socket.destroySoon()
    else socket.end()
  }

  pause(): void {
    if (this.#lingering === undefined) this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  received(bytes: Uint8Array): void {
    // [3.1.1 MQTT-7.1.1-1]
    if (this.#lingering === undefined) this.chunk(bytes)
  }

  failed(error: Error): void {
    this.reason = `connection failed: ${error.message}`
  }

  override gone(): void {
    super.gone()
    if (this.#lingering !== undefined) {
      clearTimeout(this.#lingering)
      this.host.arrived(this.from)
    }
    this.closed()
  }
}

function onTimeout(this: Socket): void {
  ;(this as SocketOfStream<SocketStream>)[STREAM].timedOut()
}

function onDrain(this: Socket): void {
  ;(this as SocketOfStream<SocketStream>)[STREAM].drained()
}

function onClose(this: Socket): void {
  ;(this as SocketOfStream<SocketStream>)[STREAM].gone()
}

function onData(this: Socket, bytes: Buffer): void {
  ;(this as SocketOfStream<PlainStream>)[STREAM].received(bytes)
}

function onError(this: Socket, error: Error): void {
  ;(this as SocketOfStream<PlainStream>)[STREAM].failed(error)
}

/** Starts an MQTT stream on a TCP, TLS or Unix socket. */
export function openSocketStream(socket: Socket, from: StreamInfo, options: StreamOptions): SocketStream {
  return new PlainStream(socket, from, options).open()
}
