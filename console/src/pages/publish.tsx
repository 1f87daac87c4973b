import { PageHead } from '../parts/basics.tsx'

export function PublishPage() {
  return <PageHead title="Publish" />
}
