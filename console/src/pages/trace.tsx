import { PageHead } from '../parts/basics.tsx'

export function TracePage() {
  return <PageHead title="Trace" />
}
