import { PageHead } from '../parts/basics.tsx'

export function NoticesPage() {
  return <PageHead title="Notices" />
}
