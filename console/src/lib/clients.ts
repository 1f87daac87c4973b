import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { type Answer, type ApiError, call, type Query } from './api.ts'
import { onNotice, returns } from './live.ts'

export type Client = Answer<'GET /api/v1/clients'>['clients'][number]
export type ClientDetail = Answer<'GET /api/v1/clients/{id}'>

/** Clients in one request; 500 are parsed within a frame or two. */
const PAGE = 500
/** Clients that a list holds at most; those beyond are found by searching. */
export const LISTED_MAX = 20_000
/** Milliseconds between two updates of what is shown while the list is fetched. */
const SHOWN_EVERY_MS = 300
/** Changes of single clients that are fetched one by one; more are left to the next round. */
const SINGLE_MAX = 20

export interface ClientList {
  readonly clients: readonly Client[]
  /** Something has been fetched. */
  readonly isKnown: boolean
  /** There are more than `LISTED_MAX`. */
  readonly isCut: boolean
  readonly error: ApiError | undefined
  readonly reload: () => void
}

/** The larger the list, the rarer it is fetched as a whole; what changes in between is fetched alone. */
const secondsFor = (size: number): number => (size <= 500 ? 4 : size <= 3000 ? 15 : 60)

/**
 * All clients of a protocol that `query` chooses, kept up to date: the whole list is fetched again and again, and single clients
 * when a notice names them.
 */
export function useClients(query: Omit<Query<'GET /api/v1/clients'>, 'cursor' | 'limit'>): ClientList {
  const [rows, setRows] = useState<ReadonlyMap<string, Client> | undefined>(undefined)
  const [isCut, setIsCut] = useState(false)
  const [error, setError] = useState<ApiError | undefined>(undefined)
  const [asked, setAsked] = useState(0)
  const key = JSON.stringify(query)
  const size = useRef(0)
  const came = returns.value

  // The key stands for the query; `asked` and `came` are reasons to fetch again.
  useEffect(() => {
    const ended = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const round = async (): Promise<void> => {
      clearTimeout(timer)
      if (!document.hidden) {
        const result = await fetchAll(query, ended.signal, (some) => {
          // Only the first time: later, rows that are not fetched again yet would come and go.
          setRows((before) => (before === undefined || before.size < some.size ? new Map(some) : before))
        })
        if (ended.signal.aborted) return
        setError(result.error)
        if (result.error === undefined) {
          setRows(result.rows)
          setIsCut(result.isCut)
          size.current = result.rows.size
        }
      }
      timer = setTimeout(() => void round(), secondsFor(size.current) * 1000)
    }
    const onVisible = (): void => {
      if (!document.hidden) void round()
    }
    document.addEventListener('visibilitychange', onVisible)
    const stopSingles = watchSingles(query, ended.signal, (changed) =>
      setRows((before) => {
        if (before === undefined) return before
        const next = new Map(before)
        for (const client of changed) next.set(client.id, client)
        return next
      }),
    )
    void round()
    return () => {
      ended.abort()
      clearTimeout(timer)
      stopSingles()
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [key, asked, came])

  const clients = useMemo(() => (rows === undefined ? [] : [...rows.values()]), [rows])
  return { clients, isKnown: rows !== undefined, isCut, error, reload: () => setAsked((count) => count + 1) }
}

const LETTERS = { unknown: '-', asleep: 's', awake: 'w', lost: 'l' } as const

/** What a list has of a client, from everything that is known of it. */
const rowOf = (detail: ClientDetail): Client => ({
  ...detail,
  ...(detail.last_day !== undefined && { day: detail.last_day.map((state) => LETTERS[state]).join('') }),
})

interface Fetched {
  readonly rows: Map<string, Client>
  readonly isCut: boolean
  readonly error: ApiError | undefined
}

async function fetchAll(
  query: Query<'GET /api/v1/clients'>,
  signal: AbortSignal,
  onSome: (rows: ReadonlyMap<string, Client>) => void,
): Promise<Fetched> {
  const rows = new Map<string, Client>()
  let shownAt = 0
  for (let cursor: string | undefined; ; ) {
    const result = await call('GET /api/v1/clients', {
      query: { ...query, limit: PAGE, ...(cursor !== undefined && { cursor }) },
      signal,
    })
    if (!result.ok) return { rows, isCut: false, error: result.error }
    for (const client of result.value.clients) rows.set(client.id, client)
    cursor = result.value.cursor
    if (cursor === undefined || signal.aborted) return { rows, isCut: false, error: undefined }
    if (rows.size >= LISTED_MAX) return { rows, isCut: true, error: undefined }
    if (performance.now() - shownAt > SHOWN_EVERY_MS) {
      shownAt = performance.now()
      onSome(rows)
    }
  }
}

/** Fetches clients that notices name, a moment later and together. */
function watchSingles(
  query: Query<'GET /api/v1/clients'>,
  signal: AbortSignal,
  onChanged: (clients: readonly Client[]) => void,
): () => void {
  const start = query.protocol === 'mqtt-sn' ? 'sn:' : query.protocol === 'mqtt' ? 'mqtt:' : ''
  const named = new Set<string>()
  let timer: ReturnType<typeof setTimeout> | undefined
  const fetchNamed = async (): Promise<void> => {
    timer = undefined
    const ids = [...named].slice(0, SINGLE_MAX)
    named.clear()
    const found = await Promise.all(ids.map((id) => call('GET /api/v1/clients/{id}', { params: { id }, signal })))
    const changed = found.flatMap((result) => (result.ok ? [rowOf(result.value)] : []))
    if (!signal.aborted && changed.length > 0) onChanged(changed)
  }
  const stop = onNotice(({ client }) => {
    if (client === undefined || !client.startsWith(start) || !/^(sn|mqtt):/.test(client)) return
    named.add(client)
    timer ??= setTimeout(() => void fetchNamed(), 700)
  })
  return () => {
    stop()
    clearTimeout(timer)
  }
}
