import type { Instant } from '../../base/machine.ts'
import type { Delivery } from '../../mqtt/link.ts'
import type { Publish, QoS } from '../../mqtt/publish.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { MsgType, type SnPublish } from '../../mqttsn/messages.ts'
import type { TopicReference } from '../topics/reference.ts'
import type { GatewayClient } from './client.ts'

/** A delivery in flight to a client. A copy, because the link's own `Delivery` is valid only until its next poll. */
export interface OutboundMessage {
  readonly message: Publish
  readonly qos: QoS
  readonly packetId: number
  /**
   * The message id towards the client. With QoS 1 it differs from the packet id if it has to validate the client's address
   * (ruling A20).
   */
  readonly msgId: number
  readonly retain: boolean
  readonly dup: boolean
  /** The client rejected the topic id and it was registered again, which is done once per delivery. */
  registeredAgain: boolean
}

export const outboundMessage = ({ message, qos, packetId, retain, dup }: Delivery): OutboundMessage => ({
  message,
  qos,
  packetId,
  msgId: packetId,
  retain,
  dup,
  registeredAgain: false,
})

/** Returns the PUBLISH that delivers the message under this topic id. */
export const publishOf = (
  { message, qos, retain, dup, msgId }: OutboundMessage,
  { topicIdType, topicId }: TopicReference,
): SnPublish => ({
  type: MsgType.PUBLISH,
  dup,
  qos,
  retain,
  topicIdType,
  topicId,
  msgId,
  data: message.payload,
})

/** True if a REGISTER of this topic fits into a frame. */
export function canRegister({ route, host }: GatewayClient, topicName: string): boolean {
  return messageLength({ type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName }) <= host.ports.roomTo(route)
}

/**
 * True if the delivery must be preceded by a REGISTER that the client acknowledges. QoS 0 has no acknowledgement, and the ids of
 * QoS 2 are not chosen to validate the address: only a REGACK can do that (ruling A20). With QoS 0 nothing else would show that
 * the client has lost the topic id (ruling A10).
 */
export function needsRegack(now: Instant, client: GatewayClient, delivery: OutboundMessage, reference: TopicReference): boolean {
  if (delivery.qos === 1) return false
  const { route, host, registry } = client
  const { topicIdType, topicId } = reference
  const needsProof = host.ports.needsProof(now, route, messageLength(publishOf(delivery, reference)))
  if (needsProof && canRegister(client, delivery.message.topic)) return true
  // The client learned this id before the restart, and nothing has shown since that it still knows it.
  return delivery.qos === 0 && topicIdType === 'normal' && registry.isTrusted(topicId)
}
