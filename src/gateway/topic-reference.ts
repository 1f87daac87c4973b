import type { TopicIdType } from '../mqttsn/messages.ts'
import type { SnClient } from './sn-client.ts'

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
  if (topic.length === 2 && topic.charCodeAt(0) < 0x80 && topic.charCodeAt(1) < 0x80) {
    return { topicIdType: 'short', topicId: (topic.charCodeAt(0) << 8) | topic.charCodeAt(1) }
  }
  return undefined
}
