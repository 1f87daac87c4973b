import type { PublishResponse } from '../mqtt/packets.ts'
import type { OutgoingMessage } from './outgoing-message.ts'

/** Receives what `Outbound` reports. */
export interface OutboundOwner {
  /** For the owner of the link. */
  answer(type: PublishResponse['type'], packetId: number, reasonCode: number): void
  /**
   * True if a QoS 2 message that is given up, but may have arrived, counts as received: the owner records PUBREC before it sends PUBREL.
   * If it were refused, and the process ended before that was recorded, it would be sent twice. Sensors receive the refusal.
   */
  readonly recordsGivenUp: boolean
  /** The far side will not have it: it is given up. */
  givenUp(message: OutgoingMessage, reason: string): void
  /** PUBREL is to be written, if a stream is up; otherwise `resume` returns this packet id. */
  releases(packetId: number): void
  /** It does not do something that MQTT has. Also said when it was said before. */
  limited(what: string): void
  /** A message is held after so many refusals in a row: returns for how many milliseconds. */
  holds(refusals: number, reason: string): number
}
