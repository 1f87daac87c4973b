import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import { bridgeQueue, bridgeTotals, oldestSeconds, versionOf } from '../../presence/bridge-figures.ts'
import type { Server } from '../../server.ts'
import type { Bridge } from '../../upstream/bridge.ts'
import { json, type Route } from '../exchange.ts'
import { decimal, listOf, object, oneOfWords, type RouteSpec, text, whole } from '../schema.ts'
import { milliseconds } from './milliseconds.ts'

const STATES = ['connected', 'connecting', 'idle', 'ended'] as const

const BRIDGE = object(
  {
    name: text('as configured'),
    state: oneOfWords(
      'connecting: tried again and again; idle: lazy, and too little waits; ended: it was to connect once (start_type)',
      STATES,
    ),
    since: text('when it was connected or lost its connection (ISO 8601)'),
    target: text('URL of the remote broker that is connected, or was tried last'),
    client: text('id of the session at this broker, as in /api/v1/clients'),
    remote_client_id: text('client id at the remote broker'),
    topics: listOf(
      object({
        pattern: text('topic filter behind the prefixes'),
        direction: oneOfWords('direction', ['in', 'out', 'both']),
        qos: whole('maximum QoS', 0, 2),
        local_prefix: text('prefix here'),
        remote_prefix: text('prefix at the remote broker'),
      }),
    ),
    waiting: object({
      messages: whole('messages that wait here for the remote broker, queued or in flight'),
      bytes: whole('bytes of these messages'),
    }),
    in_flight: whole('messages of QoS 1 and 2 that the remote broker has to acknowledge'),
    sent: whole('messages passed on to the remote broker since the start'),
    received: whole('messages received from it since the start'),
    resent: whole('messages sent again since the start, after a lost connection'),
    refused: whole('messages that either side refused for good since the start; a notice says why'),
    dials: whole('attempts to connect since the start'),
    connects: whole('of these with success'),
  },
  {
    version: text('MQTT version of the connection: 5.0, 3.1.1 or 3.1'),
    oldest_seconds: whole('age of the message that has waited longest; absent if none waits'),
    round_trip_ms: decimal('round trip of the last PINGREQ or message'),
    last_error: text('why the last connection ended, or the last attempt failed'),
  },
)

const SPEC: RouteSpec = {
  tag: 'bridges',
  summary: 'Returns the bridges to other brokers',
  description: 'In the order of the configuration.',
  answers: { 200: { description: 'all bridges', schema: object({ bridges: listOf(BRIDGE) }) } },
}

export const bridgeRoutes = (server: Server): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/bridges',
    needs: 'view',
    always: true,
    spec: SPEC,
    answer: ({ now }) => json({ bridges: (server.bridges?.all ?? []).map((bridge) => bridgeJson(now, server, bridge)) }),
  },
]

function bridgeJson(now: Instant, server: Server, bridge: Bridge): object {
  const { options, remote, state } = bridge
  const { status } = remote
  const queue = bridgeQueue(server.broker, bridge)
  const oldest = oldestSeconds(now, queue)
  const version = versionOf(status.version)
  return {
    name: options.name,
    state,
    since: isoTime(server.wallEpoch + bridge.since),
    target: status.target,
    client: `mqtt:${options.localClientId}`,
    remote_client_id: options.connect.clientId,
    topics: options.topics.map(({ pattern, direction, qos, localPrefix, remotePrefix }) => ({
      ...{ pattern, direction, qos, local_prefix: localPrefix, remote_prefix: remotePrefix },
    })),
    waiting: { messages: queue.messages, bytes: queue.bytes },
    in_flight: remote.inFlight,
    ...bridgeTotals(bridge),
    dials: status.dials,
    connects: status.connects,
    ...(version !== undefined && { version }),
    ...(oldest !== undefined && { oldest_seconds: oldest }),
    round_trip_ms: milliseconds(status.roundTripMs),
    ...(status.lastError !== '' && { last_error: status.lastError }),
  }
}
