import { connect, type Socket } from 'node:net'
import type { ConnectionId, StreamInfo } from '../../mqtt/connection.ts'
import { openSocketStream, type SocketStream, type StreamOptions } from '../../mqtt/io/socket-stream.ts'
import type { Stream, StreamEvent, StreamHost } from '../../mqtt/io/stream-host.ts'
import type { Target } from '../target.ts'

/** Bytes queued in one socket above which its link writes no messages. */
const SOCKET_BUFFER_BYTES = 256 * 1024
/** Milliseconds for which a socket may accept nothing of what is queued. */
const WRITE_TIMEOUT_MS = 60_000

/** What dialling needs of the event loop. */
export interface DialHost extends Pick<StreamHost, 'outputs' | 'wasPaused' | 'closed'> {
  handle(event: StreamEvent): void
  /** The stream that was asked for under this id is open. */
  dialled(connection: ConnectionId, stream: Stream): void
}

/** Opens a stream to a target. The host hears `dialled`, or `closed` with the reason; until then the result ends the attempt. */
export function dial(target: Target, connection: ConnectionId, host: DialHost): Stream {
  return new Attempt(target, connection, host)
}

/** A stream that is not open yet. */
class Attempt implements Stream {
  readonly #socket: Socket
  #isOver = false

  constructor(target: Target, connection: ConnectionId, host: DialHost) {
    const { host: address, port, url } = target
    const socket = connect({ host: address, port, noDelay: true })
    this.#socket = socket
    const failed = (error: Error): void => {
      if (this.#isOver) return
      this.#isOver = true
      socket.destroy()
      host.closed(connection, error.message)
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      if (this.#isOver) return
      this.#isOver = true
      socket.off('error', failed)
      const streams = new Set<SocketStream>()
      const options: StreamOptions = {
        host: new DialledHost(connection, host),
        socketBufferBytes: SOCKET_BUFFER_BYTES,
        writeTimeoutMs: WRITE_TIMEOUT_MS,
        streams,
      }
      openSocketStream(socket, { peer: url, listener: '' }, options)
    })
  }

  write(): boolean {
    return true
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#isOver = true
    this.#socket.destroy()
  }
}

/** The event loop, for a stream whose id is known already, and which no listener counts. */
class DialledHost implements StreamHost {
  readonly #connection: ConnectionId
  readonly #host: DialHost

  constructor(connection: ConnectionId, host: DialHost) {
    this.#connection = connection
    this.#host = host
  }

  get outputs(): StreamHost['outputs'] {
    return this.#host.outputs
  }

  get wasPaused(): boolean {
    return this.#host.wasPaused
  }

  arriving(): undefined {}

  arrived(): void {}

  lingering(): void {}

  opened(stream: Stream, _from: StreamInfo): ConnectionId {
    this.#host.dialled(this.#connection, stream)
    return this.#connection
  }

  handle(event: StreamEvent): void {
    this.#host.handle(event)
  }

  closed(connection: ConnectionId, reason: string): void {
    this.#host.closed(connection, reason)
  }
}
