import type { Instant } from '../../base/machine.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { type Message, MsgType, type TopicIdType } from '../../mqttsn/messages.ts'
import type { SnClient } from '../client/client.ts'
import { type Held, publishOf } from '../client/held.ts'
import { shortTopicId } from '../translate.ts'

/** A topic as a PUBLISH names it [1.2 section 5.4.12]. */
export interface TopicReference {
  readonly topicIdType: TopicIdType
  readonly topicId: number
}

/** How the client knows this topic; `undefined` if it has to be told. `normalOnly`: it refused the id that it should have known. */
export function topicReference(
  { registry, host, clientId }: SnClient,
  topic: string,
  normalOnly: boolean,
): TopicReference | undefined {
  const normal = registry.idOf(topic)
  if (normal !== undefined && registry.knows(normal)) return { topicIdType: 'normal', topicId: normal }
  if (normalOnly) return undefined
  const predefined = host.predefined.idOf(clientId, topic)
  if (predefined !== undefined && registry.knowsPredefined(predefined)) return { topicIdType: 'predefined', topicId: predefined }
  const short = shortTopicId(topic)
  return short === undefined ? undefined : { topicIdType: 'short', topicId: short }
}

/** A REGISTER for it fits into a frame. */
export function canRegister({ route, host }: SnClient, topicName: string): boolean {
  return messageLength({ type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName }) <= host.ports.roomTo(route)
}

/**
 * QoS 0 is not acknowledged, and QoS 2 not under an id that is chosen for the address: without a REGACK the address would never prove itself (ruling
 * A20), and with QoS 0 a lost id never show (ruling A10).
 */
export function needsRegack(now: Instant, client: SnClient, held: Held, reference: TopicReference): boolean {
  if (held.qos === 1) return false
  const { route, host, registry } = client
  const { topicIdType, topicId } = reference
  const needsProof = host.ports.needsProof(now, route, messageLength(publishOf(held, reference)))
  if (needsProof && canRegister(client, held.message.topic)) return true
  // The client was told this id before the process began anew, and nothing has shown since that it still knows it.
  return held.qos === 0 && topicIdType === 'normal' && registry.isTrusted(topicId)
}

/** The client does not know a topic id that it was sent [1.2 section 6.10]; `refused` is the message that it answers, if that is known. */
export function markUnknownTopicId({ registry, host, clientId }: SnClient, topicId: number, refused: Message | undefined): void {
  const isPredefined = refused?.type === MsgType.PUBLISH && refused.topicIdType !== 'normal'
  // QoS 0 has no message id that would say which space is meant.
  if (isPredefined || (refused === undefined && host.predefined.nameOf(clientId, topicId) !== undefined)) {
    registry.markNotPredefined(topicId)
  }
  if (!isPredefined) registry.markUnknown(topicId)
}
