import type { PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'

export const answer = (type: PublishResponse['type'], packetId: number, reasonCode = 0): PublishResponse => ({
  type,
  packetId,
  reasonCode,
  properties: NO_PROPERTIES,
})

/** The message under another topic; it shares the payload. */
export function renamed(message: Publish, topic: string): Publish {
  const copy = message.copy()
  copy.topic = topic
  return copy
}
