import type { Histogram } from '../base/histogram.ts'
import { LIMIT_NAMES } from '../base/limit-names.ts'
import type { Instant } from '../base/machine.ts'
import { NOTICES, type NoticeCode } from '../base/notice.ts'
import { PacketType } from '../mqtt/packets.ts'
import type { Traffic } from '../mqtt/traffic.ts'
import { MsgType } from '../mqttsn/messages.ts'
import type { Server } from '../server.ts'
import type { ClusterTotals } from '../upstream/sensors/cluster-totals.ts'
import type { SensorUpstream } from '../upstream/sensors/sensor-upstream.ts'
import { bridgeFamilies } from './bridge-metrics.ts'
import { clusterTotals } from './cluster-totals.ts'
import type { HttpResponse, HttpWork, Route } from './exchange.ts'
import { exposition, type Family, type Labels, type Sample, TEXT_TYPE } from './exposition.ts'
import type { ProcessStatus, StoreStatus } from './status.ts'
import { upstreamFamilies } from './upstream-metrics.ts'

const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'counter', samples })
const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'gauge', samples })
const histogramOf = (name: string, help: string, histogram: Histogram): Family => {
  return { name, help, type: 'histogram', samples: [], histogram }
}
const one = (value: number): readonly Sample[] => [[{}, value]]

/**
 * All metrics, read from the counters of the core at this moment: nothing is kept for them. docs/monitoring.md explains them.
 * `totals`: of the sessions of sensors at a cluster.
 */
export function* metricsOf(now: Instant, server: Server, status: ProcessStatus, totals?: ClusterTotals): Iterable<Family> {
  yield gauge('roost_info', 'Always 1; the labels say which version runs.', [[{ version: status.version }, 1]])
  yield gauge(
    'roost_ready',
    '1 if clients are served, 0 while /readyz says why not.',
    one(status.notReady() === undefined ? 1 : 0),
  )
  yield* trafficFamilies(server)
  yield* brokerFamilies(now, server)
  yield contentFamily(server)
  yield* gatewayFamilies(now, server)
  yield* bridgeFamilies(now, server)
  if (server.sensors !== undefined) yield* upstreamFamilies(server.sensors, totals)
  yield* noticeFamilies(server)
  yield* memoryFamilies(server)
  yield* processFamilies(status)
  const store = status.store()
  if (store !== undefined) yield* storeFamilies(store)
}

export function metricsRoute(server: Server, status: ProcessStatus): Route {
  const text = (now: Instant, totals?: ClusterTotals): HttpResponse => ({
    ...{ status: 200, type: TEXT_TYPE },
    body: exposition(metricsOf(now, server, status, totals)),
  })
  function* withTotals(sensors: SensorUpstream, asked: Instant): HttpWork {
    const { now, totals } = yield* clusterTotals(sensors, asked)
    return text(now, totals)
  }
  return {
    method: 'GET',
    path: '/metrics',
    needs: 'view',
    always: true,
    // While Roost is not ready, what takes several turns is not answered; the other metrics are.
    answer: ({ now }) =>
      server.sensors === undefined || status.notReady() !== undefined ? text(now) : withTotals(server.sensors, now),
  }
}

/** Samples for each protocol and direction. */
function byDirection(server: Server, of: (traffic: Traffic) => readonly [received: number, sent: number]): Sample[] {
  const protocols: readonly [string, Traffic][] = [
    ['mqtt', server.connections.traffic],
    ['mqtt-sn', server.gateway.traffic],
  ]
  return protocols.flatMap(([protocol, traffic]) => {
    const [received, sent] = of(traffic)
    const labels = (direction: string): Labels => ({ protocol, direction })
    return [
      [labels('received'), received],
      [labels('sent'), sent],
    ] satisfies Sample[]
  })
}

const byType = (protocol: string, types: Readonly<Record<string, number>>, { received, sent }: Traffic): Sample[] =>
  Object.entries(types).flatMap(([type, at]) => [
    [{ protocol, direction: 'received', type }, received[at]!],
    [{ protocol, direction: 'sent', type }, sent[at]!],
  ])

function* trafficFamilies(server: Server): Iterable<Family> {
  const { stats } = server.broker
  const { connections, gateway } = server
  yield counter('roost_packets_total', 'Packets, by their type.', [
    ...byType('mqtt', PacketType, connections.traffic),
    ...byType('mqtt-sn', MsgType, gateway.traffic),
  ])
  yield counter(
    'roost_bytes_total',
    'Bytes of packets, without the headers of TCP, UDP and TLS.',
    byDirection(server, (of) => [of.bytesReceived, of.bytesSent]),
  )
  yield counter(
    'roost_payload_bytes_total',
    'Bytes of payload in PUBLISH.',
    byDirection(server, (of) => [of.publishBytesReceived, of.publishBytesSent]),
  )
  yield counter('roost_messages_received_total', 'Messages that clients and sensors published.', one(stats.publishReceived))
  yield counter('roost_messages_sent_total', 'Deliveries that were sent, each copy and retransmission counted.', [
    [{ protocol: 'mqtt' }, connections.traffic.publishSent],
    [{ protocol: 'mqtt-sn' }, gateway.traffic.publishSent],
  ])
  yield counter(
    'roost_messages_dropped_total',
    'Deliveries that were dropped; roost_notices_total says why.',
    one(stats.publishDropped + connections.traffic.publishDropped + gateway.traffic.publishDropped),
  )
  yield counter(
    'roost_connections_opened_total',
    'TCP, TLS, WebSocket and Unix connections opened.',
    one(connections.traffic.opened),
  )
  yield counter('roost_logins_total', 'CONNECT packets, by their outcome.', [
    [{ outcome: 'accepted' }, stats.connected],
    [{ outcome: 'refused' }, stats.refused],
  ])
}

const sessionSamples = (protocol: string, all: number, connected: number): readonly Sample[] => [
  [{ protocol, state: 'connected' }, connected],
  [{ protocol, state: 'disconnected' }, all - connected],
]

function* brokerFamilies(now: Instant, { broker }: Server): Iterable<Family> {
  const { sessions, retained } = broker
  const waiting = sessions.waiting()
  const shared = broker.sharedSubscriptionCount
  yield gauge('roost_sessions', 'Sessions, with a connected client (which may sleep) or without.', [
    ...sessionSamples('mqtt', sessions.count('mqtt'), sessions.connectedOf('mqtt')),
    ...sessionSamples('mqtt-sn', sessions.count('sn'), sessions.connectedOf('sn')),
  ])
  yield counter('roost_sessions_expired_total', 'Sessions that expired.', one(broker.stats.sessionsExpired))
  yield gauge('roost_subscriptions', 'Subscriptions.', [
    [{ kind: 'plain' }, broker.subscriptionCount - shared],
    [{ kind: 'shared' }, shared],
  ])
  const { evaluated, passed, failed } = broker.conditions.stats
  yield gauge('roost_conditions', 'Different conditions of subscriptions.', one(broker.conditions.size))
  yield counter('roost_condition_evaluations_total', 'Evaluations of conditions on messages, by their result.', [
    [{ result: 'passed' }, passed],
    [{ result: 'rejected' }, evaluated - passed - failed],
    [{ result: 'failed' }, failed],
  ])
  yield gauge('roost_retained_messages', 'Retained messages.', one(retained.count))
  yield gauge('roost_retained_bytes', 'Bytes of retained messages with their topics.', one(retained.bytes))
  yield gauge('roost_waiting_messages', 'Messages queued or in flight, each receiver counted.', one(waiting.messages))
  yield gauge('roost_waiting_bytes', 'Bytes of these messages, each receiver counted.', one(waiting.bytes))
  const oldest = broker.oldestWaiting.look()
  yield gauge(
    'roost_oldest_waiting_message_age_seconds',
    'Age of the message that has waited longest; 0 if none waits.',
    one(oldest === undefined ? 0 : Math.max(0, Math.floor(now / 1000) - oldest)),
  )
}

function contentFamily({ content }: Server): Family {
  const figures = content?.figures() ?? []
  const outcomes = ['valid', 'refused', 'marked'] as const
  return counter(
    'roost_typed_messages_total',
    'Messages on topics of a type with a schema or a layout, by what became of them.',
    figures.flatMap((each) => outcomes.map((outcome): Sample => [{ type: each.type, outcome }, each[outcome]])),
  )
}

function* gatewayFamilies(now: Instant, { gateway }: Server): Iterable<Family> {
  const { ports, sensors, traffic } = gateway
  yield gauge(
    'roost_sensors',
    'Sensors (MQTT-SN clients), by their state.',
    Object.entries(sensors.counts).map(([state, count]) => [{ state }, count]),
  )
  yield gauge('roost_sensor_topic_ids', 'Topic ids of all sensors.', one(gateway.topicIdTotals.count))
  yield counter(
    'roost_sensor_retransmissions_total',
    'Messages sent to sensors again, for want of an acknowledgement.',
    one(traffic.retransmissions),
  )
  yield histogramOf(
    'roost_sensor_wake_seconds',
    'Length of the wakes of sleeping sensors: PINGREQ to PINGRESP.',
    traffic.wakeSeconds,
  )
  yield gauge('roost_port_queued_frames', 'Frames that wait for airtime.', one(ports.queuedFrames))
  const airtime = [...ports.airtime(now)]
  yield gauge(
    'roost_port_airtime_used_seconds',
    'Airtime used within the last hour.',
    airtime.map(([port, { used }]) => [{ port }, used / 1000]),
  )
  yield gauge(
    'roost_port_airtime_left_seconds',
    "Airtime left of the last hour's (duty_cycle).",
    airtime.filter(([, { left }]) => Number.isFinite(left)).map(([port, { left }]) => [{ port }, left / 1000]),
  )
}

const CODES = Object.keys(NOTICES) as NoticeCode[]

function* noticeFamilies({ notices }: Server): Iterable<Family> {
  yield counter(
    'roost_notices_total',
    'Events, by the code that the log has (docs/notices.md).',
    // Also those that have not happened: the first one would be no increase() of a series that begins with it.
    CODES.map((code) => [{ code }, notices.byCode.get(code) ?? 0]),
  )
  yield counter(
    'roost_limits_reached_total',
    'How often something was refused, delayed or dropped because of a limit, by its option.',
    [...new Set([...LIMIT_NAMES, ...notices.byLimit.keys()])].map((limit) => [{ limit }, notices.byLimit.get(limit) ?? 0]),
  )
}

function* memoryFamilies({ memory }: Server): Iterable<Family> {
  yield gauge(
    'roost_client_memory_bytes',
    'Memory that clients make Roost hold, by its kind.',
    Array.from(memory.byCategory(), ([kind, bytes]) => [{ kind }, Math.round(bytes)]),
  )
  const { memoryLimit } = memory.limits
  if (Number.isFinite(memoryLimit)) yield gauge('roost_client_memory_limit_bytes', 'memory_limit.', one(memoryLimit))
}

function* processFamilies(status: ProcessStatus): Iterable<Family> {
  const { heap, resident } = status.memory()
  yield gauge('process_start_time_seconds', 'When the process started, in seconds since 1970.', one(status.startedAt))
  yield counter('process_cpu_seconds_total', 'CPU time used.', one(status.cpuSeconds()))
  yield gauge('process_resident_memory_bytes', 'Memory that the system has given to the process.', one(resident))
  yield gauge('roost_heap_bytes', 'Memory in use by objects and buffers.', one(heap))
  const files = status.openFiles()
  if (files !== undefined) {
    yield gauge('process_open_fds', 'Files and sockets that are open.', one(files.used))
    yield gauge('process_max_fds', 'Files and sockets that may be open (ulimit -n).', one(files.limit))
  }
  yield gauge(
    'roost_certificate_expiry_timestamp_seconds',
    'When the first certificate of a file expires, in seconds since 1970.',
    status.certificates().map(({ listener, option, notAfter }) => [{ listener, option }, notAfter / 1000]),
  )
  yield histogramOf('roost_event_loop_delay_seconds', 'How late the event loop was, sampled.', status.eventLoopDelay)
  yield counter(
    'roost_datagrams_dropped_total',
    'Datagrams that the kernel dropped, because the receive buffer of the socket was full.',
    Array.from(status.droppedDatagrams(), ([port, count]) => [{ port }, count]),
  )
}

function* storeFamilies({ commitSeconds, usedBytes, maxBytes, waitingBytes }: StoreStatus): Iterable<Family> {
  yield histogramOf('roost_store_commit_seconds', 'Time until commits were durable, with the sync of the disk.', commitSeconds)
  yield gauge('roost_store_bytes', 'Bytes of the data directory in use.', one(usedBytes))
  if (Number.isFinite(maxBytes)) yield gauge('roost_store_max_bytes', 'max_data_bytes.', one(maxBytes))
  yield gauge('roost_store_waiting_bytes', 'Bytes of records that are not durable yet.', one(waitingBytes))
}
