import { PageHead } from '../parts/basics.tsx'

export function ConfigurationPage() {
  return <PageHead title="Configuration" />
}
