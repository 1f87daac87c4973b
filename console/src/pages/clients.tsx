import { PageHead } from '../parts/basics.tsx'

export function ClientsPage() {
  return <PageHead title="MQTT clients" />
}
