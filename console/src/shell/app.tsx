import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { connection, startLive } from '../lib/live.ts'
import { samples, startOverview } from '../lib/overview.ts'
import { where } from '../lib/route.ts'
import { renewSession, session } from '../lib/session.ts'
import { clock } from '../lib/time.ts'
import { ConfirmDialog } from '../parts/confirm.tsx'
import { Icon } from '../parts/icons.tsx'
import { Said } from '../parts/said.tsx'
import { Login } from './login.tsx'
import { Navigation, TabBar } from './navigation.tsx'
import { PAGES, pageOf } from './pages.tsx'

export function App() {
  const { state } = session.value
  useEffect(() => retrying(), [])
  if (state === 'unknown')
    return (
      <main class="login">
        <p role="status">{connection.value.state === 'lost' ? 'Roost does not answer. Trying again …' : 'Connecting …'}</p>
      </main>
    )
  return state === 'out' ? <Login /> : <Shell />
}

/** Asks who the user is until there is an answer. */
function retrying(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  const ask = async (): Promise<void> => {
    if (!(await renewSession()) && session.value.state === 'unknown') {
      connection.value = { state: 'lost', reason: '' }
      timer = setTimeout(() => void ask(), 1500)
    }
  }
  void ask()
  return () => clearTimeout(timer)
}

function Shell() {
  const isOpen = useSignal(false)
  const { path } = where.value
  const page = pageOf(path)
  const key = path.join('/')
  useEffect(() => {
    const ends = [startLive(), startOverview(), startKeys(() => (isOpen.value = false))]
    return () => {
      for (const end of ends) end()
    }
  }, [])
  // Another page begins at its top, with its own title.
  useEffect(() => {
    isOpen.value = false
    scrollTo(0, 0)
    document.title = `${path[1]?.replace(/^(sn|mqtt):/, '') ?? page.title} · Roost`
  }, [key])
  return (
    <div class={isOpen.value ? 'shell is-open' : 'shell'}>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the content
      </button>
      <Navigation pages={PAGES} current={page} isOpen={isOpen.value} onClose={() => (isOpen.value = false)} />
      <div class="column" inert={isOpen.value}>
        <Banner />
        <main id="main" tabIndex={-1}>
          <page.render key={key} path={path.slice(1)} />
        </main>
      </div>
      <TabBar pages={PAGES} current={page} isOpen={isOpen.value} onMore={() => (isOpen.value = !isOpen.value)} />
      <ConfirmDialog />
      <Said />
    </div>
  )
}

/** `/` goes to the search field of the page, Escape closes the menu of a phone. */
function startKeys(onEscape: () => void): () => void {
  const onKey = (event: KeyboardEvent): void => {
    const { key, ctrlKey, metaKey, altKey, target } = event
    if (key === 'Escape') onEscape()
    if (key !== '/' || ctrlKey || metaKey || altKey || (target as HTMLElement).closest('input, textarea, select, dialog')) return
    const search = document.querySelector<HTMLInputElement>('[data-search]')
    if (search === null) return
    event.preventDefault()
    search.focus()
    search.select()
  }
  addEventListener('keydown', onKey)
  return () => removeEventListener('keydown', onKey)
}

/** What the user has to know on every page: no connection, or Roost is not ready. */
function Banner() {
  const { state } = connection.value
  const last = samples.value.at(-1)
  const notReady = last?.totals.not_ready
  if (state === 'lost')
    return (
      <div class="banner is-bad" role="alert">
        <Icon name="warning" />
        <p>
          <b>Connection lost, retrying.</b> {last !== undefined && `What is shown is from ${clock(last.at)}.`}
        </p>
      </div>
    )
  if (notReady === undefined) return null
  return (
    <div class="banner" role="status">
      <Icon name="warning" />
      <p>
        <b>Roost is not ready:</b> {notReady}
      </p>
    </div>
  )
}
