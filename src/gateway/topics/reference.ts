import { type Message, MsgType, type TopicIdType } from '../../mqttsn/messages.ts'
import { shortTopicId } from '../translate.ts'
import type { PredefinedTopics } from './predefined.ts'
import type { TopicRegistry } from './registry.ts'

/** A topic as a PUBLISH refers to it [1.2 section 5.4.12]. */
export interface TopicReference {
  readonly topicIdType: TopicIdType
  readonly topicId: number
}

/** What one client knows about topic ids. */
export interface TopicKnowledge {
  readonly clientId: string
  readonly registry: TopicRegistry
  readonly host: { readonly predefined: PredefinedTopics }
}

/**
 * Returns how to refer to this topic in a PUBLISH, or `undefined` if the client must be sent a REGISTER first.
 * `normalOnly`: the client rejected the id that it was supposed to know.
 */
export function topicReference(
  { registry, host, clientId }: TopicKnowledge,
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

/** The client does not know a topic id that it was sent [1.2 section 6.10]. `refused`: the message that it rejected, if known. */
export function markUnknownTopicId(
  { registry, host, clientId }: TopicKnowledge,
  topicId: number,
  refused: Message | undefined,
): void {
  const isPredefined = refused?.type === MsgType.PUBLISH && refused.topicIdType !== 'normal'
  // QoS 0 has no message id that would show which kind of id was meant.
  if (isPredefined || (refused === undefined && host.predefined.nameOf(clientId, topicId) !== undefined)) {
    registry.markNotPredefined(topicId)
  }
  if (!isPredefined) registry.markUnknown(topicId)
}
