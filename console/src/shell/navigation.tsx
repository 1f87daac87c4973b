import { useEffect, useRef } from 'preact/hooks'
import { connection } from '../lib/live.ts'
import { samples } from '../lib/overview.ts'
import { href } from '../lib/route.ts'
import { logOut, session } from '../lib/session.ts'
import { nextTheme, theme } from '../lib/theme.ts'
import { Icon } from '../parts/icons.tsx'
import type { Page } from './pages.tsx'

interface NavigationProps {
  readonly pages: readonly Page[]
  readonly current: Page
  /** On a phone, it covers the page. */
  readonly isOpen: boolean
  readonly onClose: () => void
}

/** At the side; on a phone, over the page when the user asks for it. */
export function Navigation({ pages, current, isOpen, onClose }: NavigationProps) {
  const close = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (isOpen) close.current?.focus()
  }, [isOpen])
  const lost = samples.value.at(-1)?.totals.sensors.lost ?? 0
  return (
    <header class="side">
      <div class="brand">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M6 21h20M16 21v6M9 17a7 7 0 0 1 14 0M12.5 17a3.5 3.5 0 0 1 7 0" />
        </svg>
        <span>
          Roost <small>{samples.value.at(-1)?.totals.version}</small>
        </span>
        <button ref={close} type="button" class="plain close" aria-label="Close the menu" onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <nav aria-label="Pages">
        {pages.map((page) => (
          <a key={page.name} href={href([page.name])} aria-current={page === current ? 'page' : undefined} onClick={onClose}>
            <Icon name={page.icon} />
            {page.title}
            {page.name === 'sensors' && lost > 0 && <span class="count is-lost">{lost} lost</span>}
          </a>
        ))}
      </nav>
      <div class="side-foot">
        <Live />
        <Who />
        <button type="button" class="plain" onClick={nextTheme}>
          <Icon name={theme.value} />
          Theme: {theme.value}
        </button>
      </div>
    </header>
  )
}

function Live() {
  const { state } = connection.value
  const text = { live: 'Live', connecting: 'Connecting …', lost: 'Connection lost', resting: 'Resting' }[state]
  return (
    <p class={`live is-${state}`}>
      <span aria-hidden="true" /> {text}
    </p>
  )
}

function Who() {
  const { user, login, role } = session.value
  const may = role === 'manage' ? 'may manage' : 'may only view'
  if (login === undefined) return <p class="who">No login is needed: anyone here {may}.</p>
  return (
    <p class="who">
      <span>
        <b>{user ?? 'Logged in with a token'}</b>, {may}
      </span>
      <button type="button" class="plain" onClick={() => void logOut()}>
        <Icon name="logout" />
        Log out
      </button>
    </p>
  )
}

const TABS = ['overview', 'sensors', 'topics', 'trace']

interface TabBarProps {
  readonly pages: readonly Page[]
  readonly current: Page
  readonly isOpen: boolean
  readonly onMore: () => void
}

/** Below, within reach of a thumb; on a phone only. */
export const TabBar = ({ pages, current, isOpen, onMore }: TabBarProps) => (
  <nav class="tabs" aria-label="Main pages">
    {TABS.flatMap((name) => pages.filter((page) => page.name === name)).map((page) => (
      <a key={page.name} href={href([page.name])} aria-current={page === current ? 'page' : undefined}>
        <Icon name={page.icon} />
        {page.title}
      </a>
    ))}
    <button type="button" class="plain" aria-expanded={isOpen} onClick={onMore}>
      <Icon name="more" />
      More
    </button>
  </nav>
)
