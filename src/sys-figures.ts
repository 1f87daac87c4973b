import type { Memory } from './base/memory.ts'
import type { NoticeCounts } from './base/notice.ts'
import type { Broker } from './broker/broker.ts'
import type { ProcessFigures, SysFigures } from './broker/sys-topics.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { Connections } from './mqtt/connections.ts'
import type { Traffic } from './mqtt/traffic.ts'

/** The parts of a server whose totals these are. */
interface Parts {
  readonly broker: Broker
  readonly connections: Connections
  readonly gateway: Gateway
  readonly notices: NoticeCounts
  readonly memory: Memory
}

/** The totals of this moment, as the topics under `$SYS` have them. */
export function sysFigures(server: Parts, process: ProcessFigures): SysFigures {
  const { broker, connections, gateway } = server
  const { stats, sessions, retained } = broker
  const streams = connections.traffic
  const datagrams = gateway.traffic
  const sum = (of: (traffic: Traffic) => number): number => of(streams) + of(datagrams)
  const waiting = broker.sessions.waiting()
  const shared = broker.sharedSubscriptionCount
  return {
    clients: {
      connected: sessions.connected,
      disconnected: sessions.size - sessions.connected,
      maximum: sessions.mostConnected,
      expired: stats.sessionsExpired,
    },
    sockets: streams.opened,
    connects: stats.connected + stats.refused,
    messages: { received: sum((of) => of.packetsReceived), sent: sum((of) => of.packetsSent) },
    publishes: {
      received: stats.publishReceived,
      sent: sum((of) => of.publishSent),
      dropped: stats.publishDropped + sum((of) => of.publishDropped),
    },
    publishBytes: { received: sum((of) => of.publishBytesReceived), sent: sum((of) => of.publishBytesSent) },
    bytes: { received: sum((of) => of.bytesReceived), sent: sum((of) => of.bytesSent) },
    retained: retained.count,
    stored: { messages: waiting.messages + retained.count, bytes: waiting.bytes + retained.bytes },
    subscriptions: { plain: broker.subscriptionCount - shared, shared },
    notices: server.notices,
    memory: { limit: server.memory.limits.memoryLimit, used: server.memory.byCategory() },
    sensors: gateway.sensors.counts,
    process: process,
  }
}
