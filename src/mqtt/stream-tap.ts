import type { Malformed } from '../base/malformed.ts'
import type { Connection, ConnectionId } from './connection.ts'
import type { Packet } from './packets.ts'

/** What a tap may look at of a stream: of a client's connection, or of our end of one to a far side. */
export type TappedStream = Pick<Connection, 'id' | 'peer' | 'framer' | 'aliases' | 'outgoingAliases' | 'joining'> & {
  readonly decoder: Pick<Connection['decoder'], 'version'>
  readonly link: Pick<Connection['link'], 'session'>
}

/** Sees every packet of every MQTT stream, while a trace is on. Must not keep what it is given, nor change it. */
export interface StreamTap {
  /**
   * A packet has been read, and nothing done with it yet: in the connection's framer are its bytes. If the framer could not find its
   * end, it is the framer's error, and there are none.
   */
  packetReceived(from: TappedStream, packet: Packet | Malformed): void
  /** Bytes of whole packets, which are about to be written to the stream. */
  packetsSent(to: TappedStream, pieces: readonly Uint8Array[]): void
  /** The stream has ended. */
  streamClosed(id: ConnectionId): void
}
