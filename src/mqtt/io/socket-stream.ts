import type { Socket } from 'node:net'
import type { StreamInfo } from '../connection.ts'
import type { StreamHost } from './stream-host.ts'

/** Milliseconds after which a socket that we have ended is destroyed, whatever its peer does. */
export const LINGER_MS = 1000

/** A piece of a buffer that is smaller than one part in so many is not worth keeping it. */
const SLAB_PARTS = 4

/** What carries a stream's bytes: a socket as it is, or WebSocket messages on it. */
export interface Carrier {
  send(bytes: Uint8Array): void
  /**
   * Sends what was written, then FIN, and discards what still comes until the peer ends too: destroyed with bytes unread, the socket would be reset,
   * and the peer would lose the packet that says why. One that has said goodbye is not listened to. The socket is gone `LINGER_MS` later at the latest.
   */
  end(saidGoodbye?: boolean): void
  pause(): void
  resume(): void
}

/** What its carrier tells an open stream. */
export interface OpenStream {
  chunk(bytes: Uint8Array): void
  /** Bytes that are there and are no chunk yet. */
  buffering(bytes: number): void
  /** Why it is going to close. */
  failed(reason: string): void
  closed(): void
}

export interface StreamOptions {
  readonly host: StreamHost
  /** Bytes that may wait in one socket before its link stops listening. */
  readonly socketBufferBytes: number
  /** Milliseconds that a socket may take nothing of what waits for it. */
  readonly writeTimeoutMs: number
}

/** Opens a stream of MQTT in the host, over a socket of any kind. */
export function openStream(
  socket: Socket,
  carrier: Carrier,
  from: StreamInfo,
  { host, socketBufferBytes, writeTimeoutMs }: StreamOptions,
): OpenStream {
  let reason = 'connection closed by the client'
  const { outputs } = host
  let congested = false
  let draining = false
  const connection = host.opened(
    {
      write: (bytes) => {
        // What has to wait is taken out of its slab: ten bytes for a slow reader would keep all that was written to others beside them.
        const waits = socket.writableLength > 0 && bytes.length * SLAB_PARTS < bytes.buffer.byteLength
        const sent = waits ? Buffer.from(bytes) : bytes
        carrier.send(sent)
        if (socket.writableLength > 0) outputs.add(socket, sent)
        // Only a socket that wants a pause tells when it has drained, however small the bound is.
        if (!socket.writableNeedDrain) return
        if (!draining) {
          draining = true
          // Node looks at what the kernel has taken: who reads slowly does not time out, who reads nothing does.
          socket.setTimeout(writeTimeoutMs)
        }
        if (congested || (socket.writableLength <= socketBufferBytes && !outputs.isTight)) return
        congested = true
        host.handle({ kind: 'congested', connection, on: true })
      },
      end: (saidGoodbye) => carrier.end(saidGoodbye),
      pause: () => carrier.pause(),
      resume: () => carrier.resume(),
    },
    from,
  )
  socket.on('timeout', () => {
    if (!draining) return
    // The kernel may have sent all that it had, and the process has not seen it yet.
    if (host.wasPaused) socket.setTimeout(writeTimeoutMs)
    else host.handle({ kind: 'stuck', connection })
  })
  socket.on('close', () => outputs.empty(socket))
  socket.on('drain', () => {
    outputs.empty(socket)
    if (draining) {
      draining = false
      socket.setTimeout(0)
    }
    if (!congested) return
    congested = false
    host.handle({ kind: 'congested', connection, on: false })
  })
  return {
    chunk: (bytes) => host.handle({ kind: 'chunk', connection, bytes }),
    buffering: (bytes) => host.handle({ kind: 'buffering', connection, bytes }),
    failed: (why) => {
      reason = why
    },
    closed: () => host.closed(connection, reason),
  }
}

/** MQTT on a socket as it is: TCP, TLS or Unix. */
export function openSocketStream(socket: Socket, from: StreamInfo, options: StreamOptions): Carrier {
  let isEnding = false
  const carrier: Carrier = {
    send: (bytes) => socket.write(bytes),
    end: (saidGoodbye = false) => {
      if (isEnding) return
      isEnding = true
      linger(socket, from, options.host)
      const timer = setTimeout(() => socket.destroy(), LINGER_MS)
      socket.once('close', () => clearTimeout(timer))
      socket.resume()
      if (saidGoodbye) socket.destroySoon()
      else socket.end()
    },
    pause: () => !isEnding && socket.pause(),
    resume: () => socket.resume(),
  }
  const stream = openStream(socket, carrier, from, options)
  socket.on('data', (bytes) => {
    if (!isEnding) stream.chunk(bytes)
  })
  socket.on('error', (error) => stream.failed(`connection failed: ${error.message}`))
  socket.on('close', () => stream.closed())
  return carrier
}

/** A socket that has been ended counts among the connections of its peer until it is closed. */
export function linger(socket: Socket, from: StreamInfo, host: StreamHost): void {
  if (socket.closed) return
  host.lingering(from)
  socket.once('close', () => host.arrived(from))
}
