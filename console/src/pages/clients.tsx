import { where } from '../lib/route.ts'
import { ClientPage } from './clients/client.tsx'
import { ClientList } from './clients/list.tsx'

/** All MQTT clients, or one: `#/clients/mqtt%3Adashboard`. */
export function ClientsPage() {
  const id = where.value.path[1]
  return id === undefined ? <ClientList /> : <ClientPage id={id} />
}
