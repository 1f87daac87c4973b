import type { GatewayRecord, WallTime } from '../../store/store.ts'
import { restoredSensorWill, storedSensorWill } from '../translate.ts'
import type { GatewayClient } from './client.ts'

export type ClientRecord = Extract<GatewayRecord, { type: 'sn-client' }>

/**
 * Returns the client's record for the store as of `at`. Awake periods and will dialogues do not survive a restart: the record
 * has the state that the client had before them.
 */
export function recordOf(client: GatewayClient, at: WallTime): ClientRecord {
  const { clientId, route, durationSeconds, sleepSeconds, cleanSession, will } = client
  const settled = client.setup.before ?? client.state
  const state = settled === 'awake' || settled === 'willTopic' || settled === 'willMsg' ? 'asleep' : settled
  const stored = will === undefined ? null : storedSensorWill(will)
  return { type: 'sn-client', clientId, state, route, durationSeconds, sleepSeconds, cleanSession, will: stored, at }
}

/** Restores the client's state from its record. */
export function restore(client: GatewayClient, record: ClientRecord): void {
  client.recorded = true
  client.recordedAt = record.at
  client.route = record.route
  client.host.sensorStates.restored(client, record.state)
  client.durationSeconds = record.durationSeconds
  client.sleepSeconds = record.sleepSeconds
  client.cleanSession = record.cleanSession
  client.will = record.will === null ? undefined : restoredSensorWill(record.will)
}
