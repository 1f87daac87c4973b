import type { PublishResponse } from '../mqtt/packets.ts'
import type { OutgoingMessage } from './outgoing-message.ts'

/** What `Outbound` tells. */
export interface OutboundOwner {
  /** For the owner of the link. */
  answer(type: PublishResponse['type'], packetId: number, reasonCode: number): void
  /**
   * A message with QoS 2 that is given up although the far side may have it counts as received: the owner records that before it
   * releases the packet id. If it were refused, and that not recorded, it would be sent twice. A sensor has to hear of the refusal.
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
