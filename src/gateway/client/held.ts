import type { Delivery } from '../../mqtt/link.ts'
import type { QoS } from '../../mqtt/packets.ts'
import type { Publish } from '../../mqtt/publish.ts'
import { MsgType, type SnPublish } from '../../mqttsn/messages.ts'
import type { TopicReference } from '../topics/reference.ts'

/** A delivery on its way to a client. The link's own `Delivery` is good only until its next poll. */
export interface Held {
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

export const hold = ({ message, qos, packetId, retain, dup }: Delivery): Held => ({
  message,
  qos,
  packetId,
  msgId: packetId,
  retain,
  dup,
  registeredAgain: false,
})

/** The PUBLISH that delivers it, under this topic id. */
export const publishOf = ({ message, qos, retain, dup, msgId }: Held, { topicIdType, topicId }: TopicReference): SnPublish => ({
  type: MsgType.PUBLISH,
  dup,
  qos,
  retain,
  topicIdType,
  topicId,
  msgId,
  data: message.payload,
})
