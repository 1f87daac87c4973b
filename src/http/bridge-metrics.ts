import type { Instant } from '../base/machine.ts'
import { bridgeQueue, bridgeTotals, oldestSeconds } from '../presence/bridge-figures.ts'
import type { Server } from '../server.ts'
import type { Bridge } from '../upstream/bridge.ts'
import type { Family, Sample } from './exposition.ts'

/** Metrics of each bridge: as many samples as bridges are configured. Without any there are no families. */
export function* bridgeFamilies(now: Instant, server: Server): Iterable<Family> {
  const { all = [] } = server.bridges ?? {}
  if (all.length === 0) return
  const family = (type: 'counter' | 'gauge', name: string, help: string, of: (bridge: Bridge) => number): Family => ({
    ...{ name, help, type },
    samples: all.map((bridge): Sample => [{ bridge: bridge.options.name }, of(bridge)]),
  })
  const waiting = new Map(all.map((bridge) => [bridge, bridgeQueue(server.broker, bridge)]))
  yield family('gauge', 'roost_bridge_connected', '1 if the remote broker is connected.', ({ state }) => +(state === 'connected'))
  yield family(
    'gauge',
    'roost_bridge_wanted',
    '0 for a bridge that is not to be connected now: a lazy one without messages, or one that was to connect once.',
    ({ state }) => +(state === 'connected' || state === 'connecting'),
  )
  yield family(
    'gauge',
    'roost_bridge_waiting_messages',
    'Messages that wait for the remote broker, queued or in flight.',
    (bridge) => waiting.get(bridge)!.messages,
  )
  yield family('gauge', 'roost_bridge_waiting_bytes', 'Bytes of these messages.', (bridge) => waiting.get(bridge)!.bytes)
  yield family(
    'gauge',
    'roost_bridge_oldest_waiting_seconds',
    'Age of the message that has waited longest; 0 if none waits.',
    (bridge) => oldestSeconds(now, waiting.get(bridge)!) ?? 0,
  )
  yield family(
    'gauge',
    'roost_bridge_round_trip_seconds',
    'Round trip of the last PINGREQ or message; 0 if there was none.',
    ({ remote }) => (remote.status.roundTripMs ?? 0) / 1000,
  )
  yield family(
    'counter',
    'roost_bridge_sent_total',
    'Messages passed on to the remote broker.',
    (each) => bridgeTotals(each).sent,
  )
  yield family('counter', 'roost_bridge_received_total', 'Messages received from it.', (each) => bridgeTotals(each).received)
  yield family('counter', 'roost_bridge_resent_total', 'Messages sent to it again.', (each) => bridgeTotals(each).resent)
  yield family(
    'counter',
    'roost_bridge_refused_total',
    'Messages that either side refused for good; roost_notices_total says why.',
    (each) => bridgeTotals(each).refused,
  )
  yield family('counter', 'roost_bridge_dials_total', 'Attempts to connect.', ({ remote }) => remote.status.dials)
  yield family('counter', 'roost_bridge_connects_total', 'Attempts with success.', ({ remote }) => remote.status.connects)
}
