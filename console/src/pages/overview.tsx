import { count } from '../lib/numbers.ts'
import { samples } from '../lib/overview.ts'
import { Figure, Loading, PageHead } from '../parts/basics.tsx'

export function OverviewPage() {
  const now = samples.value.at(-1)?.totals
  if (now === undefined) return <Loading />
  return (
    <>
      <PageHead title="Overview" />
      <div class="figures">
        <Figure label="Clients connected" value={count(now.clients.connected)} />
      </div>
    </>
  )
}
