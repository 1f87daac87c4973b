import { PacketType, type Subscribe, type Unsubscribe } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import type { Answered } from './subscriptions.ts'
import type { UpstreamStream } from './upstream-stream.ts'

// Whether a far side serves messages with QoS 2. Before 5.0 CONNACK does not say so, and NATS before 2.10 closes the stream after one.
// What such a far side grants to a subscription with QoS 2 tells it.

/** Nothing is expected there. */
export const QOS_FILTER = 'roost/qos'

/** Subscribes with QoS 2, and takes that back: the question. */
export const QOS_REQUESTS: readonly (Subscribe | Unsubscribe)[] = [
  {
    type: PacketType.SUBSCRIBE,
    packetId: 0,
    subscriptions: [{ filter: QOS_FILTER, qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 2 }],
    properties: NO_PROPERTIES,
  },
  { type: PacketType.UNSUBSCRIBE, packetId: 0, filters: [QOS_FILTER], properties: NO_PROPERTIES },
]

/** SUBACK has come, perhaps to another subscription. Returns the highest QoS that is served if that is new, and lower than 2. */
export function learnQos({ known, version, asksForQos }: UpstreamStream, { grantedFor2, refused }: Answered): QoS | undefined {
  if (version === 5 || known.isQosKnown) return undefined
  const isRefused = asksForQos && refused.some(([filter]) => filter === QOS_FILTER)
  if (grantedFor2 === undefined && !isRefused) return undefined
  known.isQosKnown = true
  if (grantedFor2 === undefined || grantedFor2 === 2) return undefined
  known.maximumQos = grantedFor2 as QoS
  return known.maximumQos
}
