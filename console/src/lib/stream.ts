import { errorOf, OWN, urlOf } from './api.ts'
import { EventParser, type StreamEvent } from './event-parser.ts'
import { forgetSession } from './session.ts'

export interface StreamOptions {
  readonly onEvent: (event: StreamEvent) => void
  /** `open` also after a break; `lost` with what is wrong, and then it is tried again. */
  readonly onState: (state: 'open' | 'lost', reason: string) => void
}

/** Milliseconds without a byte after which a stream is lost: Roost sends a comment every 15 seconds. */
const SILENT_MS = 40_000
/** Milliseconds until the next attempt: the first one, and the longest. */
const RETRY_MS = 500
const RETRY_MS_MAX = 5_000

/**
 * Reads server-sent events until the returned function is called. Unlike EventSource it sees the comments, and so a connection that is
 * dead without being closed, as on a phone that has left the Wi-Fi; and it sees why it is refused.
 */
export function openStream(path: string, { onEvent, onState }: StreamOptions): () => void {
  const ended = new AbortController()
  void (async () => {
    let lastId = ''
    for (let failures = 0; !ended.signal.aborted; failures++) {
      const attempt = new AbortController()
      const stop = (): void => attempt.abort()
      ended.signal.addEventListener('abort', stop)
      let silence = setTimeout(stop, SILENT_MS)
      let reason = 'the connection has ended'
      try {
        const response = await fetch(urlOf(path), {
          signal: attempt.signal,
          headers: { ...OWN, accept: 'text/event-stream', ...(lastId !== '' && { 'last-event-id': lastId }) },
        })
        if (response.ok && response.body !== null) {
          failures = 0
          onState('open', '')
          const parser = new EventParser((event, id) => {
            lastId = id
            onEvent(event)
          })
          const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
          for (let part = await reader.read(); !part.done; part = await reader.read()) {
            clearTimeout(silence)
            silence = setTimeout(stop, SILENT_MS)
            parser.add(part.value)
          }
        } else {
          if (response.status === 401) forgetSession()
          reason = (await errorOf(response)).detail
        }
      } catch {
        reason = attempt.signal.aborted ? 'nothing has come for 40 seconds' : 'Roost does not answer'
      }
      clearTimeout(silence)
      ended.signal.removeEventListener('abort', stop)
      if (ended.signal.aborted) return
      onState('lost', reason)
      await new Promise((resolve) => setTimeout(resolve, Math.min(RETRY_MS * 2 ** failures, RETRY_MS_MAX)))
    }
  })()
  return () => ended.abort()
}
