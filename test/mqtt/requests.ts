import type { Connect, Disconnect, Packet } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'

export const subscribe = (filter: string, qos: QoS = 0, packetId = 1): Packet => ({
  type: 8,
  packetId,
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: {},
})

export const publish = (
  topic: string,
  text: string,
  qos: QoS = 0,
  packetId = qos === 0 ? 0 : 1,
  properties: Properties = {},
): Publish => Publish.of(topic, Buffer.from(text), qos, false, packetId, properties)

export const disconnect = (reasonCode = 0, properties: Properties = {}): Disconnect => ({ type: 14, reasonCode, properties })

export const PINGREQ: Packet = { type: 12 }

/** A session that 5.0 keeps for an hour. */
export const LASTING: Partial<Connect> = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
