import type { GatewayRecord, WallTime } from '../../store/store.ts'
import { restoredWill, storedWill } from '../translate.ts'
import type { GatewayClient } from './client.ts'

type ClientRecord = Extract<GatewayRecord, { type: 'sn-client' }>

/** What the store keeps of a client, as it is at `at`. An awake period or a will dialogue does not outlive the process. */
export function recordOf(client: GatewayClient, at: WallTime): ClientRecord {
  const { clientId, route, durationSeconds, sleepSeconds, cleanSession, will } = client
  const settled = client.setup.before ?? client.state
  const state = settled === 'awake' || settled === 'willTopic' || settled === 'willMsg' ? 'asleep' : settled
  const stored = will === undefined ? null : storedWill(will)
  return { type: 'sn-client', clientId, state, route, durationSeconds, sleepSeconds, cleanSession, will: stored, at }
}

/** The client is again what its record says. */
export function restore(client: GatewayClient, record: ClientRecord): void {
  client.recorded = true
  client.recordedAt = record.at
  client.route = record.route
  client.state = record.state
  client.durationSeconds = record.durationSeconds
  client.sleepSeconds = record.sleepSeconds
  client.cleanSession = record.cleanSession
  client.will = record.will === null ? undefined : restoredWill(record.will)
}
