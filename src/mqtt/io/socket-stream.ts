import type { Socket } from 'node:net'
import type { StreamInfo } from '../connection.ts'
import type { StreamHost } from './stream-host.ts'

/** Milliseconds after which an ended socket is destroyed, whatever its peer does. */
export const LINGER_MS = 1000

const NOTHING = new Uint8Array(0)

/** A piece of a buffer that is smaller than one part in so many is not worth keeping it. */
const SLAB_PARTS = 4

/** The carrier of a stream's bytes: a plain socket, or WebSocket messages on it. */
export interface Carrier {
  send(bytes: Uint8Array): void
  /**
   * Sends what was written, then FIN, and discards input until the peer ends too: destroying a socket with unread bytes would
   * reset it, and the peer would lose the packet with the reason. After DISCONNECT the input is not awaited. The socket is gone
   * after `LINGER_MS` at the latest.
   */
  end(saidGoodbye?: boolean): void
  pause(): void
  resume(): void
}

/** Events of the carrier for an open stream. */
export interface OpenStream {
  chunk(bytes: Uint8Array): void
  /** Bytes received that are no chunk yet. */
  buffering(bytes: number): void
  /** Why it is going to close. */
  failed(reason: string): void
  closed(): void
}

export interface StreamOptions {
  readonly host: StreamHost
  /** Bytes queued in one socket above which its link stops listening. */
  readonly socketBufferBytes: number
  /** Milliseconds for which a socket may accept nothing of what is queued. */
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
  let emptying = false
  /** Node reports that everything has left only to a socket that asked for a pause. To others, an empty write does. */
  const emptyLater = (): void => {
    // Once it is ended nothing more may be written, and `close` empties it.
    if (emptying || socket.writableNeedDrain || !socket.writable) return
    emptying = true
    socket.write(NOTHING, () => {
      emptying = false
      if (socket.writableLength === 0) outputs.empty(socket)
      else emptyLater()
    })
  }
  const connection = host.opened(
    {
      write: (bytes) => {
        // Queued bytes are copied out of their slab: ten bytes for a slow reader would keep the output for all others in memory.
        const waits = socket.writableLength > 0 && bytes.length * SLAB_PARTS < bytes.buffer.byteLength
        const sent = waits ? Buffer.from(bytes) : bytes
        carrier.send(sent)
        if (socket.writableLength === 0) return
        outputs.add(socket, sent)
        if (!socket.writableNeedDrain) {
          emptyLater()
          return
        }
        if (!draining) {
          draining = true
          // Node checks what the kernel has accepted: a slow reader does not time out, one that reads nothing does.
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
    // The kernel may have sent everything, which the process has not noticed yet.
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
  const { host } = options
  let lingering: NodeJS.Timeout | undefined
  const carrier: Carrier = {
    send: (bytes) => socket.write(bytes),
    end: (saidGoodbye = false) => {
      if (lingering !== undefined || socket.closed) return
      lingering = setTimeout(() => socket.destroy(), LINGER_MS)
      host.lingering(from)
      socket.resume()
      if (saidGoodbye) socket.destroySoon()
      else socket.end()
    },
    pause: () => lingering === undefined && socket.pause(),
    resume: () => socket.resume(),
  }
  const stream = openStream(socket, carrier, from, options)
  socket.on('data', (bytes) => {
    // [3.1.1 MQTT-7.1.1-1]
    if (lingering === undefined) stream.chunk(bytes)
  })
  socket.on('error', (error) => stream.failed(`connection failed: ${error.message}`))
  socket.on('close', () => {
    if (lingering !== undefined) {
      clearTimeout(lingering)
      host.arrived(from)
    }
    stream.closed()
  })
  return carrier
}
