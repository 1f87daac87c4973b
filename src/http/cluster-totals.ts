import type { Instant } from '../base/machine.ts'
import { ClusterTotals } from '../upstream/sensors/cluster-totals.ts'
import type { SensorUpstream } from '../upstream/sensors/sensor-upstream.ts'
import { ENTRIES_PER_TURN, NEXT_TURN, type Pause } from './exchange.ts'

/** Adds up the sessions of all sensors, over several turns if there are many. Returns the time of the last one, too. */
export function* clusterTotals(
  { sessions }: SensorUpstream,
  asked: Instant,
): Generator<Pause, { readonly now: Instant; readonly totals: ClusterTotals }, Instant> {
  const totals = new ClusterTotals()
  let now = asked
  let left = ENTRIES_PER_TURN
  for (const session of sessions.values()) {
    if (left-- === 0) {
      now = yield NEXT_TURN
      left = ENTRIES_PER_TURN - 1
    }
    totals.add(session)
  }
  return { now, totals }
}
