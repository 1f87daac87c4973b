import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import type { GatewayClient } from '../../gateway/client/client.ts'
import type { Sensor } from '../../gateway/sensors.ts'
import { covers } from '../../mqtt/topics.ts'
import { versionOf } from '../../presence/bridge-figures.ts'
import type { Server } from '../../server.ts'
import { type ConnectionState, connectionState } from '../../upstream/sensors/cluster-totals.ts'
import type { SensorSession } from '../../upstream/sensors/sensor-session.ts'
import type { UpstreamLink } from '../../upstream/upstream-link.ts'
import { milliseconds } from './milliseconds.ts'
import type { Reason } from './reason.ts'
import { exchangeReasons, stateReasons } from './sensor-reasons.ts'
import { noMatch, noSubscriptions } from './session-reasons.ts'

/** Where the session of a sensor is. */
export interface UpstreamSummary {
  readonly state: ConnectionState
  /** The one that was tried last; undefined before the first attempt. */
  readonly target: string | undefined
}

/** The session of a sensor at the cluster; undefined where sensors have their sessions here. */
export const clusterSession = ({ sensors }: Server, clientId: string): SensorSession | undefined =>
  sensors?.sessions.get(clientId)

const targetOf = ({ status: { dials, target } }: UpstreamLink): string | undefined => (dials === 0 ? undefined : target)

export const upstreamSummary = (link: UpstreamLink): UpstreamSummary => ({ state: connectionState(link), target: targetOf(link) })

/** What is known of its connection beyond that. */
export function upstreamDetail({ wallEpoch }: Server, link: UpstreamLink): object {
  const { status, connect } = link
  const { since, version, sent, received, resent, givenUp, sessionsLost, dials, connects, roundTripMs, lastError } = status
  return {
    ...upstreamSummary(link),
    since: isoTime(wallEpoch + since),
    client_id: connect?.clientId,
    version: versionOf(version),
    unanswered: link.inFlight,
    ...{ sent, received, resent, dropped: givenUp, sessions_lost: sessionsLost, dials, connects },
    round_trip_ms: milliseconds(roundTripMs),
    last_error: lastError === '' ? undefined : lastError,
  }
}

/** Why a sensor does not get its messages from the cluster. `topic`: the one that is asked about. */
export function* upstreamReasons(
  session: SensorSession | undefined,
  client: GatewayClient,
  sensor: Sensor,
  { now, topic }: { readonly now: Instant; readonly topic: string | undefined },
): Iterable<Reason> {
  yield* stateReasons(client, sensor, now)
  const link = session?.upstream
  const state = link && connectionState(link)
  if (link !== undefined && (state === 'connecting' || state === 'waiting')) {
    const { lastError, since } = link.status
    const why = lastError === '' ? 'it is being set up' : lastError
    yield { code: 'cluster-away', text: `its session has no connection to the cluster: ${why}`, since }
  }
  const filters = Array.from(session?.filters.all() ?? [], ({ filter }) => filter)
  if (filters.length === 0) yield noSubscriptions
  else if (topic !== undefined && !filters.some((filter) => covers(filter, topic))) yield noMatch(filters, topic)
  yield* exchangeReasons(client, undefined)
}
