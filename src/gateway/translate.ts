import { decodeUtf8, utf8Error } from '../base/bytes.ts'
import type { LinkInfo } from '../mqtt/link.ts'
import { type Connect, PacketType, type PublishResponse, type Subscribe, type Unsubscribe, type Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { ReturnCode } from '../mqttsn/messages.ts'
import type { StoredWill } from '../store/store.ts'
import type { RouteKey } from './ports/route.ts'

// Conversions between MQTT-SN 1.2 and MQTT 5 packets.

/** Session Expiry Interval of a session that does not expire. */
const NEVER = 0xffffffff

/** Packet id of requests that the gateway makes itself; no client can use it. */
export const OWN_REQUEST = 0x10000

/** How the broker sees the link of a client. `isRestored`: it continues a session after a restart. */
export const linkInfo = (peer: RouteKey, username: string | undefined, isRestored: boolean): LinkInfo => ({
  kind: 'sn',
  peer,
  listener: 'sn',
  ...(username !== undefined && { identity: username }),
  ...(isRestored && { isRestored: true as const }),
})

/** The CONNECT that the broker receives. Keep alive is for its log only: the gateway supervises its clients itself. */
export const connectPacket = (
  clientId: string,
  cleanStart: boolean,
  expirySeconds: number,
  will: Will | undefined,
  window = 1,
  keepAlive = 0,
): Connect => ({
  type: PacketType.CONNECT,
  protocolVersion: 5,
  bridge: false,
  clientId,
  cleanStart,
  keepAlive,
  will,
  username: undefined,
  password: undefined,
  // The backlog stays in the session's durable queue.
  properties: { receiveMaximum: window, sessionExpiryInterval: Math.min(expirySeconds, NEVER) },
})

export const responsePacket = (type: PublishResponse['type'], packetId: number, reasonCode = 0): PublishResponse => ({
  type,
  packetId,
  reasonCode,
  properties: NO_PROPERTIES,
})

/** `again`: the client received no SUBACK. If only that was lost, it has the retained messages already. */
export const subscribePacket = (packetId: number, filter: string, qos: QoS, again: boolean): Subscribe => ({
  type: PacketType.SUBSCRIBE,
  packetId,
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: again ? 1 : 0 }],
  properties: NO_PROPERTIES,
})

export const unsubscribePacket = (packetId: number, filter: string): Unsubscribe => ({
  type: PacketType.UNSUBSCRIBE,
  packetId,
  filters: [filter],
  properties: NO_PROPERTIES,
})

/**
 * Returns the return code for an MQTT 5 reason code [1.2 section 5.3.10]. Temporary conditions are congestion. Everything
 * else is "not supported", because after congestion a client retries without end and drains its battery (ruling A18).
 */
export function returnCodeOf(reasonCode: number): number {
  if (reasonCode < 0x80) return ReturnCode.ACCEPTED
  switch (reasonCode) {
    case ReasonCode.QUOTA_EXCEEDED:
    case ReasonCode.SERVER_BUSY:
    case ReasonCode.SERVER_UNAVAILABLE:
      return ReturnCode.CONGESTION
    case ReasonCode.TOPIC_NAME_INVALID:
      return ReturnCode.INVALID_TOPIC_ID
    default:
      return ReturnCode.NOT_SUPPORTED
  }
}

/**
 * Returns a short topic name [1.2 section 6.7], or `undefined` if the two octets, which the sender chooses freely, are
 * not well-formed (MQTT-1.5.4-1, -2).
 */
export function shortTopic(topicId: number): string | undefined {
  const octets = Uint8Array.of(topicId >> 8, topicId & 0xff)
  return utf8Error(octets, 0, 2) === '' ? decodeUtf8(octets, 0, 2) : undefined
}

/** Returns the two octets of a short topic name as an id; `undefined` if the topic has more or fewer octets. */
export function shortTopicId(topic: string): number | undefined {
  const [first, second] = [topic.charCodeAt(0), topic.charCodeAt(1)]
  if (topic.length === 2 && first < 0x80 && second < 0x80) return (first << 8) | second
  if (topic.length === 1 && first >= 0x80 && first < 0x800) return ((0xc0 | (first >> 6)) << 8) | 0x80 | (first & 0x3f)
  return undefined
}

export const storedSensorWill = (will: Will): StoredWill => ({
  message: { topic: will.topic, payload: will.payload, qos: will.qos, retain: will.retain, from: '' },
  delaySeconds: 0,
})

export const restoredSensorWill = ({ message }: StoredWill): Will => ({
  topic: message.topic,
  payload: message.payload,
  qos: message.qos,
  retain: message.retain,
  properties: NO_PROPERTIES,
})
