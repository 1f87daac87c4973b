import type { Instant } from '../base/machine.ts'
import type { GatewayRecord, WallTime } from '../store/store.ts'
import { GatewayClient } from './client/client.ts'
import type { ClientHost } from './client/client-host.ts'
import { restore } from './client/client-record.ts'
import type { ClientTable } from './client-table.ts'

/** Applies one record of the replay. */
export function applyRecord(clients: ClientTable, host: ClientHost, record: GatewayRecord): void {
  if (record.type === 'sn-end') {
    const ended = clients.get(record.clientId)
    if (ended === undefined) return
    clients.delete(ended)
    host.sensorStates.removed(ended)
    ended.clear()
    return
  }
  let client = clients.get(record.clientId)
  if (client === undefined) {
    client = new GatewayClient(record.clientId, '', host)
    clients.add(client)
  }
  if (record.type === 'sn-topic') client.registry.restore(record.topicId, record.topicName, record.offered)
  else if (record.type === 'sn-qos2') client.inbound.qos2.restore(record)
  else if (record.type === 'sn-qos2-end') client.inbound.qos2.remove(record.slot)
  else if (record.type === 'sn-topic-end') client.registry.remove(record.topicId)
  else {
    clients.leave(client)
    restore(client, record)
    clients.restoreRoute(client)
  }
  clients.replayed(client)
}

/**
 * After the replay: the clients resume their sessions, and those that the access rules no longer admit are returned. `answered`
 * takes the broker's answer to a sleeping client, so that it rests before the next one is made from its row. The others follow:
 * once they have their answer they listen, and no message may be sent before all clients have resumed their sessions.
 */
export function resumeAll(clients: ClientTable, now: Instant, wall: WallTime, answered: () => void): GatewayClient[] {
  const shutOut: GatewayClient[] = []
  const others: GatewayClient[] = []
  const resume = (client: GatewayClient): void => {
    if (!client.setup.resume(now, Math.max(0, wall - client.recordedAt))) shutOut.push(client)
  }
  clients.replayed(undefined)
  for (const client of clients.values()) {
    if (client.state !== 'asleep') others.push(client)
    else {
      resume(client)
      answered()
    }
  }
  for (const client of others) resume(client)
  return shutOut
}
