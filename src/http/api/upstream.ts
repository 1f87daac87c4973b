import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import { versionOf } from '../../presence/bridge-figures.ts'
import type { Server } from '../../server.ts'
import type { ClusterTotals } from '../../upstream/sensors/cluster-totals.ts'
import type { SensorUpstream } from '../../upstream/sensors/sensor-upstream.ts'
import { type KnownTarget, TARGET_STATES, type TargetState } from '../../upstream/targets.ts'
import { clusterTotals } from '../cluster-totals.ts'
import { type HttpWork, json, problem, type Route } from '../exchange.ts'
import { decimal, listOf, object, oneOfWords, PROBLEM, type RouteSpec, text, whole } from '../schema.ts'
import { milliseconds } from './milliseconds.ts'

const TARGET = object(
  {
    target: text('URL'),
    state: oneOfWords(
      'up: sensors are connected to it; idle: none is, and the target has answered so far (it may have refused sensors: last_error); failing: none is, and the last attempt has failed; away: three attempts in a row or more have failed, and one at a time is made',
      TARGET_STATES,
    ),
    connections: whole('connections that are up'),
    dialling: whole('attempts to connect under way'),
    dials: whole('attempts to connect since the start, with those that only look whether it is back'),
    connects: whole('of these, those with a session'),
    failed_dials: whole('of these, those that have failed'),
  },
  {
    since: text('when it came to this state (ISO 8601); absent if that was before the first attempt'),
    retry_at: text('when it may be dialled again (ISO 8601)'),
    version: text('MQTT version that it has accepted: 5.0 or 3.1.1'),
    round_trip_ms: decimal('round trip of the last PINGREQ or message of any sensor'),
    last_error: text('why the last connection ended, or the last attempt failed'),
  },
)

const SPEC: RouteSpec = {
  tag: 'upstream',
  summary: 'Returns the cluster at which sensors have their sessions',
  description:
    'Targets are in the order of the configuration. Sensors that have left, or are lost, have no connection and are not counted.',
  answers: {
    200: {
      description: 'the cluster',
      schema: object({
        targets: listOf(TARGET),
        sessions: object({
          connected: whole('sessions of sensors with a connection to the cluster'),
          connecting: whole('whose connection is being set up'),
          waiting: whole('that wait to be dialled'),
          parked: whole('whose sensors sleep, without a connection until they wake'),
        }),
        ending: whole('sessions of sensors that are gone, whose will or end the cluster has still to be told'),
        held: object({
          messages: whole(
            'messages of the cluster that sensors have not fetched, or not acknowledged, and those with QoS -1 that wait for the cluster',
          ),
          bytes: whole('bytes of these messages'),
        }),
        unanswered: whole('messages of sensors with QoS 1 and 2 that the cluster has not acknowledged'),
        dropped: whole('messages from and for sensors dropped since the start; notices say why'),
      }),
    },
    404: { description: 'sensors have their sessions here', schema: PROBLEM },
  },
}

const NONE = problem(404, 'sensors have their sessions here: upstream is not configured')

export const upstreamRoutes = (server: Server): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/upstream',
    needs: 'view',
    always: true,
    spec: SPEC,
    answer: ({ now }) => (server.sensors === undefined ? NONE : upstream(server, server.sensors, now)),
  },
]

function* upstream(server: Server, sensors: SensorUpstream, asked: Instant): HttpWork {
  const { now, totals } = yield* clusterTotals(sensors, asked)
  return json(upstreamJson(server, sensors, totals, now))
}

function upstreamJson(server: Server, { targets, farewells }: SensorUpstream, totals: ClusterTotals, now: Instant): object {
  return {
    targets: targets.all.map((each) => targetJson(server, each, now)),
    sessions: totals.sessions,
    ending: farewells.size,
    held: { messages: totals.heldMessages, bytes: totals.heldBytes },
    unanswered: totals.unanswered,
    dropped: targets.dropped,
  }
}

function targetJson({ wallEpoch }: Server, known: KnownTarget, now: Instant): object {
  const { target, state, up, dialling, dials, connects, failedDials, since, retryAt, version, roundTripMs, lastError } = known
  const time = (at: Instant | undefined): string | undefined => (at === undefined ? undefined : isoTime(wallEpoch + at))
  return {
    ...{ target: target.url, state, since: time(since), retry_at: time(retryAt > now ? retryAt : undefined) },
    ...{ connections: up, dialling, dials, connects, failed_dials: failedDials },
    version: version && versionOf(version),
    round_trip_ms: milliseconds(roundTripMs),
    last_error: lastError === '' ? undefined : lastError,
  }
}

/** For the totals; undefined where sensors have their sessions here. */
export function upstreamCounts({ sensors }: Server): object | undefined {
  if (sensors === undefined) return undefined
  const targets: Record<TargetState, number> = { up: 0, idle: 0, failing: 0, away: 0 }
  let connections = 0
  for (const { state, up } of sensors.targets.all) {
    targets[state]++
    connections += up
  }
  return { targets, connections }
}
