import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { type Answer, type ApiError, call } from '../../lib/api.ts'
import { returns } from '../../lib/live.ts'

type LevelsAnswer = Extract<Answer<'GET /api/v1/retained'>, { readonly levels: unknown }>
export type Level = LevelsAnswer['levels'][number]

/** What is below a prefix, as far as it has been fetched. */
export interface Branch {
  readonly levels: readonly Level[]
  readonly cursor: string | undefined
}

/** A line of the tree. */
export type TreeRow =
  | { readonly kind: 'level'; readonly level: Level; readonly depth: number; readonly isOpen: boolean }
  | { readonly kind: 'more'; readonly prefix: string; readonly depth: number }
  | { readonly kind: 'loading'; readonly prefix: string; readonly depth: number }

/** The prefix of what is below a topic; '' for the first levels. A first level may be empty, and then it is `/`. */
export const prefixOf = (topic: string): string => `${topic}/`
export const ROOT = ''

/** Levels of a request, and of a branch that is kept up to date as a whole. */
const PAGE = 200
const LIMIT = 1000
const EVERY_MS = 10_000

export const rowKey = (row: TreeRow): string => (row.kind === 'level' ? `level ${row.level.topic}` : `${row.kind} ${row.prefix}`)

function rowsBelow(prefix: string, depth: number, branches: ReadonlyMap<string, Branch>, open: ReadonlySet<string>): TreeRow[] {
  const branch = branches.get(prefix)
  if (branch === undefined) return [{ kind: 'loading', prefix, depth }]
  const rows = branch.levels.flatMap((level): TreeRow[] => {
    const below = prefixOf(level.topic)
    const isOpen = level.below > 0 && open.has(below)
    const row: TreeRow = { kind: 'level', level, depth, isOpen }
    return isOpen ? [row, ...rowsBelow(below, depth + 1, branches, open)] : [row]
  })
  return branch.cursor === undefined ? rows : [...rows, { kind: 'more', prefix, depth }]
}

export interface Tree {
  readonly rows: readonly TreeRow[]
  readonly isKnown: boolean
  readonly isEmpty: boolean
  readonly error: ApiError | undefined
  readonly toggle: (topic: string, wanted?: boolean) => void
  readonly more: (prefix: string) => void
  readonly reload: () => void
}

/** The prefixes that must be open so that a topic is in the tree. */
export function prefixesAbove(topic: string): string[] {
  const levels = topic.split('/').slice(0, -1)
  return levels.map((_, i) => prefixOf(levels.slice(0, i + 1).join('/')))
}

/** Levels of retained topics, fetched when they are unfolded. What is unfolded is fetched again and again. */
export function useTree(selected: string | undefined): Tree {
  const [branches, setBranches] = useState<ReadonlyMap<string, Branch>>(new Map())
  const [open, setOpen] = useState<ReadonlySet<string>>(() => new Set(selected === undefined ? [] : prefixesAbove(selected)))
  const [error, setError] = useState<ApiError | undefined>(undefined)
  const current = useRef({ branches, open })
  current.current = { branches, open }
  const [asked, setAsked] = useState(0)
  const came = returns.value

  const load = useCallback(async (prefix: string, limit: number, cursor?: string): Promise<void> => {
    const result = await call('GET /api/v1/retained', {
      query: { level: prefix, limit, ...(cursor !== undefined && { cursor }) },
    })
    setError(result.ok ? undefined : result.error)
    if (!result.ok || !('levels' in result.value)) return
    const { levels, cursor: next } = result.value
    setBranches((before) => {
      const kept = cursor === undefined ? [] : (before.get(prefix)?.levels ?? [])
      return new Map(before).set(prefix, { levels: [...kept, ...levels], cursor: next })
    })
  }, [])

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let ended = false
    const round = async (): Promise<void> => {
      if (!document.hidden)
        for (const prefix of [ROOT, ...current.current.open]) {
          const shown = current.current.branches.get(prefix)?.levels.length ?? 0
          // More than one request of it: its counts may be old, until it is folded and unfolded again.
          if (!ended && shown <= LIMIT) await load(prefix, Math.max(PAGE, shown))
        }
      if (!ended) timer = setTimeout(() => void round(), EVERY_MS)
    }
    void round()
    return () => {
      ended = true
      clearTimeout(timer)
    }
  }, [asked, came, load])

  // Chosen in a search or by a link: the tree shows where it is.
  useEffect(() => {
    if (selected === undefined) return
    const folded = prefixesAbove(selected).filter((prefix) => !current.current.open.has(prefix))
    if (folded.length === 0) return
    setOpen(new Set([...current.current.open, ...folded]))
    for (const prefix of folded) void load(prefix, PAGE)
  }, [selected, load])

  const toggle = (topic: string, wanted?: boolean): void => {
    const prefix = prefixOf(topic)
    const isOpen = open.has(prefix)
    if (wanted === isOpen) return
    const next = new Set(open)
    if (isOpen) next.delete(prefix)
    else {
      next.add(prefix)
      void load(prefix, PAGE)
    }
    setOpen(next)
  }
  const root = branches.get(ROOT)
  const only = root?.levels.length === 1 ? root.levels[0] : undefined
  // One line alone says nothing.
  useEffect(() => {
    if (only !== undefined && !only.retained) toggle(only.topic, true)
  }, [only?.topic])
  return {
    rows: rowsBelow(ROOT, 1, branches, open),
    isKnown: root !== undefined,
    isEmpty: root?.levels.length === 0,
    error,
    toggle,
    more: (prefix) => void load(prefix, PAGE, branches.get(prefix)?.cursor),
    reload: () => setAsked((count) => count + 1),
  }
}
