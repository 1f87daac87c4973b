import { signal } from '@preact/signals'
import type { Answer } from './api.ts'
import { openStream } from './stream.ts'

export type Notice = Answer<'GET /api/v1/notices'>['notices'][number]

/** Whether the page is connected to Roost. Its one event stream tells. */
export const connection = signal<{ readonly state: 'connecting' | 'live' | 'lost' | 'resting'; readonly reason: string }>({
  state: 'connecting',
  reason: '',
})

/** Counts how often the connection came back: what is shown then is fetched again. */
export const returns = signal(0)

const listeners = new Set<(notice: Notice) => void>()

/** Calls `listener` for every notice, until the returned function is called. */
export function onNotice(listener: (notice: Notice) => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Milliseconds after which a hidden page closes its stream: a browser has six connections to Roost for all its pages together. */
const HIDDEN_MS = 10_000

/** Connects, and stays connected while the page is visible. Returns a function that ends it. */
export function startLive(): () => void {
  let close: (() => void) | undefined
  let hiding: ReturnType<typeof setTimeout> | undefined
  let wasLost = false
  const open = (): void => {
    close ??= openStream('/api/v1/events', {
      onState: (state, reason) => {
        connection.value = { state: state === 'open' ? 'live' : 'lost', reason }
        if (state === 'open' && wasLost) returns.value++
        wasLost = state === 'lost'
      },
      onEvent: ({ name, data }) => {
        // Left out because the page was too slow: what is shown may be old.
        if (name === 'missed') returns.value++
        if (name !== 'notice') return
        const notice = JSON.parse(data) as Notice
        for (const listener of listeners) listener(notice)
      },
    })
  }
  const rest = (): void => {
    close?.()
    close = undefined
    wasLost = true
    connection.value = { state: 'resting', reason: '' }
  }
  const onVisibility = (): void => {
    clearTimeout(hiding)
    if (document.hidden) hiding = setTimeout(rest, HIDDEN_MS)
    else open()
  }
  document.addEventListener('visibilitychange', onVisibility)
  open()
  onVisibility()
  return () => {
    document.removeEventListener('visibilitychange', onVisibility)
    clearTimeout(hiding)
    close?.()
    connection.value = { state: 'connecting', reason: '' }
  }
}
