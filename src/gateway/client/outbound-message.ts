import type { Instant } from '../../base/machine.ts'
import type { Delivery } from '../../mqtt/link.ts'
import type { Publish, QoS } from '../../mqtt/publish.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { MsgType, type SnPublish } from '../../mqttsn/messages.ts'
import type { TopicReference } from '../topics/reference.ts'
import type { GatewayClient } from './client.ts'

/** A delivery on its way to a client. The link's own `Delivery` is good only until its next poll. */
export interface OutboundMessage {
  readonly message: Publish
  readonly qos: QoS
  readonly packetId: number
  /** The message id on the way to the client: with QoS 1 another one than the packet id, if it has to prove the client's address (ruling A20). */
  readonly msgId: number
  readonly retain: boolean
  readonly dup: boolean
  /** The client did not know the topic id and was told again: once is enough for one delivery. */
  registeredAgain: boolean
}

export const hold = ({ message, qos, packetId, retain, dup }: Delivery): OutboundMessage => ({
  message,
  qos,
  packetId,
  msgId: packetId,
  retain,
  dup,
  registeredAgain: false,
})

/** The PUBLISH that delivers it, under this topic id. */
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

/** A REGISTER for it fits into a frame. */
export function canRegister({ route, host }: GatewayClient, topicName: string): boolean {
  return messageLength({ type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName }) <= host.ports.roomTo(route)
}

/**
 * QoS 0 is not acknowledged, and QoS 2 not under an id that is chosen for the address: without a REGACK the address would never prove itself (ruling
 * A20), and with QoS 0 a lost id never show (ruling A10).
 */
export function needsRegack(now: Instant, client: GatewayClient, held: OutboundMessage, reference: TopicReference): boolean {
  if (held.qos === 1) return false
  const { route, host, registry } = client
  const { topicIdType, topicId } = reference
  const needsProof = host.ports.needsProof(now, route, messageLength(publishOf(held, reference)))
  if (needsProof && canRegister(client, held.message.topic)) return true
  // The client was told this id before the process began anew, and nothing has shown since that it still knows it.
  return held.qos === 0 && topicIdType === 'normal' && registry.isTrusted(topicId)
}
