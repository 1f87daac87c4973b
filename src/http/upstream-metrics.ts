import type { ClusterTotals } from '../upstream/sensors/cluster-totals.ts'
import type { SensorUpstream } from '../upstream/sensors/sensor-upstream.ts'
import type { KnownTarget } from '../upstream/targets.ts'
import type { Family, Sample } from './exposition.ts'

/** Metrics of the cluster at which sensors have their sessions, by target and in total. `totals`: undefined if they were not added up. */
export function* upstreamFamilies({ targets, farewells }: SensorUpstream, totals: ClusterTotals | undefined): Iterable<Family> {
  const family = (type: 'counter' | 'gauge', name: string, help: string, of: (known: KnownTarget) => number): Family => ({
    ...{ name, help, type },
    samples: targets.all.map((known): Sample => [{ target: known.target.url }, of(known)]),
  })
  yield family('gauge', 'roost_upstream_connections', 'Connections of sensors that are up.', ({ up }) => up)
  yield family(
    'gauge',
    'roost_upstream_away',
    '1 while three attempts in a row or more have failed, and one at a time is made.',
    ({ isOpen }) => +isOpen,
  )
  yield family('gauge', 'roost_upstream_dialling', 'Attempts to connect under way.', ({ dialling }) => dialling)
  yield family(
    'gauge',
    'roost_upstream_round_trip_seconds',
    'Round trip of the last PINGREQ or message of any sensor; 0 if there was none.',
    ({ roundTripMs = 0 }) => roundTripMs / 1000,
  )
  yield family('counter', 'roost_upstream_dials_total', 'Attempts to connect a sensor.', ({ dials }) => dials)
  yield family('counter', 'roost_upstream_connects_total', 'Attempts with success.', ({ connects }) => connects)
  yield family('counter', 'roost_upstream_failed_dials_total', 'Attempts that have failed.', ({ failedDials }) => failedDials)
  yield {
    ...{ name: 'roost_upstream_dropped_total', type: 'counter' },
    help: 'Messages from and for sensors that were dropped; roost_notices_total says why.',
    samples: [[{}, targets.dropped]],
  }
  if (totals !== undefined) yield* totalFamilies(totals, farewells.size)
}

function* totalFamilies({ sessions, heldMessages, heldBytes, unanswered }: ClusterTotals, ending: number): Iterable<Family> {
  const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({ name, help, type: 'gauge', samples })
  yield gauge(
    'roost_upstream_sessions',
    'Sessions of sensors at the cluster, by the state of their connection.',
    Object.entries({ ...sessions, ending }).map(([state, count]) => [{ state }, count]),
  )
  yield gauge(
    'roost_upstream_held_messages',
    'Messages of the cluster that sensors have not fetched, or not acknowledged, and those with QoS -1 that wait for the cluster.',
    [[{}, heldMessages]],
  )
  yield gauge('roost_upstream_held_bytes', 'Bytes of these messages.', [[{}, heldBytes]])
  yield gauge('roost_upstream_unanswered_messages', 'Messages of sensors that the cluster has not acknowledged.', [
    [{}, unanswered],
  ])
}
