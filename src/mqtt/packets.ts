import { NO_PROPERTIES, type Properties } from './properties.ts'
import type { ProtocolVersion, Publish, QoS } from './publish.ts'

/** MQTT control packet types [5.0 section 2.1.2]. */
export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const
export type PacketType = (typeof PacketType)[keyof typeof PacketType]

export interface Will {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  /** Only the will properties of [5.0 section 3.1.3.2]; empty before 5.0. */
  readonly properties: Properties
}

export interface Connect {
  readonly type: typeof PacketType.CONNECT
  readonly protocolVersion: ProtocolVersion
  /** The high bit of the protocol level, which Mosquitto's bridges set. */
  readonly bridge: boolean
  readonly clientId: string
  /** Clean Session before 5.0. */
  readonly cleanStart: boolean
  /** Seconds; 0 turns it off. */
  readonly keepAlive: number
  readonly will: Will | undefined
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  readonly properties: Properties
}

export interface Connack {
  readonly type: typeof PacketType.CONNACK
  readonly sessionPresent: boolean
  /** Always an MQTT 5 reason code; encoded as the closest 3.x return code for 3.x clients. */
  readonly reasonCode: number
  readonly properties: Properties
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP: one shape, told apart by `type`. */
export interface PublishResponse {
  readonly type: typeof PacketType.PUBACK | typeof PacketType.PUBREC | typeof PacketType.PUBREL | typeof PacketType.PUBCOMP
  readonly packetId: number
  /** 0 before 5.0. */
  readonly reasonCode: number
  readonly properties: Properties
}

export interface SubscriptionRequest {
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface Subscribe {
  readonly type: typeof PacketType.SUBSCRIBE
  readonly packetId: number
  readonly subscriptions: readonly SubscriptionRequest[]
  readonly properties: Properties
}

export interface Suback {
  readonly type: typeof PacketType.SUBACK
  readonly packetId: number
  /** In the order of the requests; MQTT 5 codes, failures encoded as 0x80 for 3.x clients. */
  readonly reasonCodes: readonly number[]
  readonly properties: Properties
}

export interface Unsubscribe {
  readonly type: typeof PacketType.UNSUBSCRIBE
  readonly packetId: number
  readonly filters: readonly string[]
  readonly properties: Properties
}

export interface Unsuback {
  readonly type: typeof PacketType.UNSUBACK
  readonly packetId: number
  /** Not on the wire before 5.0; the decoder returns an empty list there. */
  readonly reasonCodes: readonly number[]
  readonly properties: Properties
}

export interface Ping {
  readonly type: typeof PacketType.PINGREQ | typeof PacketType.PINGRESP
}

export interface Disconnect {
  readonly type: typeof PacketType.DISCONNECT
  readonly reasonCode: number
  readonly properties: Properties
}

export interface Auth {
  readonly type: typeof PacketType.AUTH
  readonly reasonCode: number
  readonly properties: Properties
}

export type Packet =
  | Connect
  | Connack
  | Publish
  | PublishResponse
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Ping
  | Disconnect
  | Auth

/** The packet without reason string and user properties. */
export function withoutProblem<T extends Packet>(packet: T): T {
  if (!('properties' in packet) || packet.properties === NO_PROPERTIES) return packet
  // [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3] [MQTT-3.7.2-3]
  const { reasonString: _reason, userProperties: _pairs, ...properties } = packet.properties
  return { ...packet, properties }
}
