import { PageHead } from '../parts/basics.tsx'

export function SensorsPage() {
  return <PageHead title="Sensors" />
}
