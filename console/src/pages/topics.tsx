import { PageHead } from '../parts/basics.tsx'

export function TopicsPage() {
  return <PageHead title="Topics" />
}
