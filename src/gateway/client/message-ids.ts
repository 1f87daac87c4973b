import { messageLength } from '../../mqttsn/encode.ts'
import { MsgType } from '../../mqttsn/messages.ts'
import type { GatewayClient } from './client.ts'
import type { OpenExchanges } from './exchange.ts'
import type { OutboundMessage } from './outbound-message.ts'

// Message ids chosen by the gateway. For an address that is not validated yet they are random, so that a sender at another
// address cannot guess the acknowledgement (ruling A20).

/**
 * Returns the id for a REGISTER, never that of an open exchange (ruling A14). `packetId`: of the delivery that needs it, 0 if
 * none.
 */
export function registerId({ host, route }: GatewayClient, open: OpenExchanges, topicName: string, packetId: number): number {
  const octets = messageLength({ type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName })
  const isTaken = (msgId: number): boolean => msgId === packetId || open.isTaken(msgId)
  return host.challenge(route, octets, 0, isTaken) ?? open.nextRegisterId(packetId, () => host.chance())
}

/**
 * Returns the id for a PUBLISH of `octets` octets. With QoS 2 it is always the packet id, by which the client recognises a
 * second copy, wherever it is. With QoS 1 a retransmission keeps the id of the first copy as long as the address is the same.
 */
export function publishId(
  { host, route }: GatewayClient,
  open: OpenExchanges,
  { qos, packetId, msgId }: OutboundMessage,
  octets: number,
): number {
  if (qos !== 1) return packetId
  const isTaken = (id: number): boolean => open.isTaken(id)
  return host.challenge(route, octets, msgId, isTaken) ?? (isTaken(msgId) ? packetId : msgId)
}
