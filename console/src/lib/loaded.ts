import { useEffect, useRef, useState } from 'preact/hooks'
import type { ApiError, Result } from './api.ts'
import { returns } from './live.ts'

export interface Loaded<T> {
  /** The last answer, also while there is an error or a newer one is fetched; undefined before the first. */
  readonly value: T | undefined
  /** Of the last attempt. */
  readonly error: ApiError | undefined
  /** Fetches now. */
  readonly reload: () => void
}

/**
 * Fetches when `key` changes, every `seconds` while the page is visible, and when the connection has come back. What was fetched for
 * another key is dropped.
 */
export function useLoaded<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<Result<T>>,
  seconds: number | undefined = undefined,
): Loaded<T> {
  const [{ forKey, value, error }, setState] = useState<{
    readonly forKey: string
    readonly value: T | undefined
    readonly error: ApiError | undefined
  }>({ forKey: key, value: undefined, error: undefined })
  const current = useRef(load)
  current.current = load
  const [asked, setAsked] = useState(0)
  const came = returns.value

  // `asked` and `came` are reasons to fetch again.
  useEffect(() => {
    const ended = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const run = async (): Promise<void> => {
      clearTimeout(timer)
      if (document.hidden && seconds !== undefined) return
      const result = await current.current(ended.signal)
      if (ended.signal.aborted) return
      setState((before) => ({
        forKey: key,
        value: result.ok ? result.value : before.forKey === key ? before.value : undefined,
        error: result.ok ? undefined : result.error,
      }))
      if (seconds !== undefined) timer = setTimeout(() => void run(), seconds * 1000)
    }
    const onVisible = (): void => {
      if (!document.hidden && seconds !== undefined) void run()
    }
    document.addEventListener('visibilitychange', onVisible)
    void run()
    return () => {
      ended.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [key, seconds, asked, came])

  const isOurs = forKey === key
  return {
    value: isOurs ? value : undefined,
    error: isOurs ? error : undefined,
    reload: () => setAsked((count) => count + 1),
  }
}
