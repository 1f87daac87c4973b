import { useEffect, useState } from 'preact/hooks'
import { call } from '../lib/api.ts'
import { type Notice, onNotice } from '../lib/live.ts'
import { useLoaded } from '../lib/loaded.ts'
import { plural } from '../lib/numbers.ts'
import { NOTICES } from '../lib/reference.ts'
import { setQuery, where } from '../lib/route.ts'
import { Card, Empty, Failed, Loading, PageHead, Search, Select } from '../parts/basics.tsx'
import { Icon } from '../parts/icons.tsx'
import { grouped, isAtLeast, type Level, NoticeLine } from '../parts/notices.tsx'

/** Notices that the page keeps, and those of them that are shown at first. */
const KEPT = 3000
const SHOWN = 100

const LEVEL_TEXTS: readonly (readonly [Level, string])[] = [
  ['debug', 'from debug'],
  ['info', 'from info'],
  ['warn', 'from warn'],
  ['error', 'error only'],
]

/** Newest first; those that were fetched, and those that came since. */
function useNotices(code: string): { readonly all: readonly Notice[]; readonly loaded: ReturnType<typeof load> } {
  const [came, setCame] = useState<readonly Notice[]>([])
  const loaded = load(code)
  useEffect(() => {
    let waiting: Notice[] = []
    let timer: ReturnType<typeof setTimeout> | undefined
    // A thousand may come within a moment.
    const take = (): void => {
      timer = undefined
      const some = waiting.reverse()
      waiting = []
      setCame((before) => [...some, ...before].slice(0, KEPT))
    }
    const stop = onNotice((notice) => {
      waiting.push(notice)
      if (waiting.length > KEPT) waiting = waiting.slice(-KEPT)
      timer ??= setTimeout(take, 200)
    })
    return () => {
      stop()
      clearTimeout(timer)
    }
  }, [])
  const known = new Set(came.map(({ id }) => id))
  const all = [...came, ...(loaded.value?.notices ?? []).filter(({ id }) => !known.has(id))]
  return { all, loaded }
}

type Code = Notice['code']

const load = (code: string) =>
  useLoaded(`notices ${code}`, (signal) =>
    call('GET /api/v1/notices', { query: { ...(code !== '' && { code: code as Code }), limit: 1000 }, signal }),
  )

export function NoticesPage() {
  const { code = '', client = '', level = 'info' } = where.value.query
  const least = LEVEL_TEXTS.find(([each]) => each === level)?.[0] ?? 'info'
  const known = code in NOTICES ? code : ''
  const { all, loaded } = useNotices(known)
  const [frozen, setFrozen] = useState<readonly Notice[] | undefined>(undefined)
  const [shownMax, setShownMax] = useState(SHOWN)
  const isPaused = frozen !== undefined
  const part = client.trim().toLowerCase()
  const fits = (notice: Notice): boolean =>
    isAtLeast(notice, least) &&
    (known === '' || notice.code === known) &&
    (part === '' || [notice.client, notice.user, notice.peer].some((each) => each?.toLowerCase().includes(part)))
  const found = grouped((frozen ?? all).filter(fits))
  const later = isPaused ? all.indexOf(frozen[0]!) : 0
  return (
    <>
      <PageHead title="Notices" about="What has happened: connects, losses, refusals, limits. The newest comes first.">
        <button type="button" aria-pressed={isPaused} onClick={() => setFrozen(isPaused ? undefined : all)}>
          <Icon name={isPaused ? 'play' : 'pause'} />
          {isPaused ? 'Continue' : 'Pause'}
        </button>
      </PageHead>
      <div class="toolbar">
        <Search
          label="Client, user or address"
          value={client}
          placeholder="sensor-7"
          onInput={(value) => setQuery({ client: value })}
        />
        <Select label="Level" value={least} options={LEVEL_TEXTS} onChange={(value) => setQuery({ level: value })} />
        <Select
          label="Code"
          value={known}
          options={[['', 'all'], ...Object.keys(NOTICES).map((each) => [each, each] as const)]}
          onChange={(value) => setQuery({ code: value })}
        />
      </div>
      <Failed error={loaded.error} retry={loaded.reload} />
      <Card
        title={isPaused ? `Paused${later > 0 ? `; ${plural(later, 'notice')} since then` : ''}` : 'Live'}
        aside={plural(
          found.reduce((sum, { count = 1 }) => sum + count, 0),
          'notice',
        )}
      >
        {known !== '' && <p class="explained">{NOTICES[known]!.join(' ')}</p>}
        {loaded.value === undefined && loaded.error === undefined && <Loading />}
        {loaded.value !== undefined && found.length === 0 && <Nothing isFiltered={part !== '' || known !== ''} least={least} />}
        <ul class="lines">
          {found.slice(0, shownMax).map((notice) => (
            <NoticeLine key={notice.id} notice={notice} isExplained={known === ''} />
          ))}
        </ul>
        {found.length > shownMax && (
          <p class="more">
            <button type="button" onClick={() => setShownMax(shownMax + SHOWN)}>
              Show more
            </button>
          </p>
        )}
      </Card>
      <p class="faint">Roost keeps the last 1,000 notices, and the last 1,000 of level debug. Its log has all of them.</p>
    </>
  )
}

function Nothing({ isFiltered, least }: { readonly isFiltered: boolean; readonly least: Level }) {
  return (
    <Empty title={isFiltered ? 'No notice matches' : 'Nothing has happened yet'}>
      {least === 'debug'
        ? 'Connects, losses and errors appear here as they come.'
        : 'Sleeps of sensors are notices of level debug.'}{' '}
      {least !== 'debug' && (
        <button type="button" class="link" onClick={() => setQuery({ level: 'debug' })}>
          Show level debug, too
        </button>
      )}
    </Empty>
  )
}
