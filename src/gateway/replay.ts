import type { GatewayRecord } from '../store/store.ts'
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
}
