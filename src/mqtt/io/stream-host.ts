import type { ConnectionId, StreamInfo } from '../connection.ts'
import type { OutputBuffers } from './output-buffers.ts'

/** The output of a connection. */
export interface Stream {
  /** Returns true if nothing refers to the bytes any more: the kernel has them all, and their buffer may be reused. */
  write(bytes: Uint8Array): boolean
  /** Sends what was written, then ends, even if the peer does not read. `saidGoodbye` as in `ConnectionOutput`. */
  end(saidGoodbye: boolean): void
  pause(): void
  resume(): void
}

/** Events of an open stream, except its end. */
export type StreamEvent =
  | { readonly kind: 'chunk'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** `bytes` received that are no chunk yet. */
  | { readonly kind: 'buffering'; readonly connection: ConnectionId; readonly bytes: number }
  /** The socket has more queued than it should, or no longer has. */
  | { readonly kind: 'congested'; readonly connection: ConnectionId; readonly on: boolean }
  /** The socket has accepted nothing for `write_timeout_seconds`. */
  | { readonly kind: 'stuck'; readonly connection: ConnectionId }

/** What listeners need of the event loop that drives `Connections`. */
export interface StreamHost {
  /** Bytes queued in sockets. */
  readonly outputs: OutputBuffers
  /** True shortly after a pause of the process: peers may have acted in time and not have been read yet. */
  readonly wasPaused: boolean
  /** A socket was accepted, and is no stream yet. Returns why it has to be refused, or `undefined`. */
  arriving(from: StreamInfo): string | undefined
  /** Ends what `arriving` or `lingering` began. */
  arrived(from: StreamInfo): void
  /** A stream has ended, and its socket still has to close. */
  lingering(from: StreamInfo): void
  opened(stream: Stream, from: StreamInfo): ConnectionId
  handle(event: StreamEvent): void
  closed(connection: ConnectionId, reason: string): void
}
