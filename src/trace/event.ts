import type { Shown } from '../base/describe.ts'
import { plainName } from '../base/describe.ts'
import type { Malformed } from '../base/malformed.ts'
import type { RouteKey } from '../gateway/ports/route.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import { describePacket } from '../mqtt/describe.ts'
import type { Packet } from '../mqtt/packets.ts'
import { describeDatagram } from '../mqttsn/describe.ts'
import type { Message } from '../mqttsn/messages.ts'

interface Seen {
  /** `->`: from the client. */
  readonly way: '->' | '<-'
  /** The client id, as far as it is known: CONNECT says it first. */
  readonly client: string | undefined
  /** Name of the topic of a message, or behind the topic id or alias in it; undefined if there is none, or it is unknown. */
  readonly topic: string | undefined
  /** The packet as it was read or written. May contain a password: see `redacted`. Valid only during the call. */
  readonly bytes: Uint8Array
}

/** A packet of an MQTT stream. */
export interface StreamEvent extends Seen {
  readonly protocol: 'mqtt'
  readonly connection: ConnectionId
  /** Its address: `192.0.2.7:51234`. */
  readonly peer: string
  readonly packet: Packet | Malformed
}

/** A datagram from or to a sensor. */
export interface DatagramEvent extends Seen {
  readonly protocol: 'mqtt-sn'
  /** Its route, behind a forwarder if it is encapsulated. */
  readonly peer: RouteKey
  /** The forwarder's route, or the sensor's. */
  readonly carrier: RouteKey
  readonly packet: Message | Malformed
}

export type TraceEvent = StreamEvent | DatagramEvent

/**
 * Returns the event as a line: `sensor-7 -> PUBLISH topic=0x0003 (site/temp) qos=1 msgid=12 4 bytes`. What says who is at an
 * address has the address too: `sensor-7 at 192.0.2.7:51234 -> CONNECT ...`. Never contains a password or authentication data.
 */
export function traceLine(event: TraceEvent, payloads = false): string {
  return `${whoOf(event)} ${event.way} ${describe(event, { topic: event.topic, payloads })}`
}

function whoOf({ client, peer, packet }: TraceEvent): string {
  const at = plainName(peer)
  if (client === undefined) return at
  const introduces = 'clientId' in packet && packet.clientId !== undefined
  return introduces ? `${plainName(client)} at ${at}` : plainName(client)
}

function describe(event: TraceEvent, shown: Shown): string {
  if (event.protocol === 'mqtt-sn') return describeDatagram(event.bytes, shown)
  const { packet } = event
  if (!('kind' in packet)) return describePacket(packet, shown)
  return `malformed: ${packet.reason}${packet.rule === undefined ? '' : ` (${packet.rule})`}`
}
