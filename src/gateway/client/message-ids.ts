import { messageLength } from '../../mqttsn/encode.ts'
import { MsgType } from '../../mqttsn/messages.ts'
import type { GatewayClient } from './client.ts'
import type { Exchanges } from './exchange.ts'
import type { OutboundMessage } from './outbound-message.ts'

// Message ids that the gateway chooses. Towards an address that has to prove itself they are random, so that nobody elsewhere can acknowledge
// what was sent there (ruling A20).

/** The id of a REGISTER, never that of a message on its way (ruling A14). `packetId`: of the message that it is for, 0 if there is none. */
export function registerId({ host, route }: GatewayClient, open: Exchanges, topicName: string, packetId: number): number {
  const octets = messageLength({ type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName })
  const isTaken = (msgId: number): boolean => msgId === packetId || open.isTaken(msgId)
  return host.challenge(route, octets, 0, isTaken) ?? open.nextRegisterId(packetId, () => host.chance())
}

/**
 * The id of a PUBLISH of so many octets. With QoS 2 it is the packet id wherever the client is: by that the client knows a second copy. With QoS 1 a
 * second copy keeps the id of the first as long as the address is the same.
 */
export function publishId(
  { host, route }: GatewayClient,
  open: Exchanges,
  { qos, packetId, msgId }: OutboundMessage,
  octets: number,
): number {
  if (qos !== 1) return packetId
  const isTaken = (id: number): boolean => open.isTaken(id)
  return host.challenge(route, octets, msgId, isTaken) ?? (isTaken(msgId) ? packetId : msgId)
}
