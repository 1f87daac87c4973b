import { signal } from '@preact/signals'
import { type Answer, type ApiError, call } from './api.ts'

export type Overview = Answer<'GET /api/v1/overview'>

/** The totals, and when they were asked for. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly totals: Overview
}

/** Samples that are kept: ten minutes. */
const KEPT = 300
const EVERY_MS = 2000

/** The last ones, oldest first, since the page was opened. */
export const samples = signal<readonly Sample[]>([])
export const overviewError = signal<ApiError | undefined>(undefined)

/** Asks for the totals every two seconds while the page is visible. Returns how to end that. */
export function startOverview(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let ended = false
  const run = async (): Promise<void> => {
    clearTimeout(timer)
    if (document.hidden) return
    const result = await call('GET /api/v1/overview')
    if (ended) return
    overviewError.value = result.ok ? undefined : result.error
    if (result.ok) samples.value = appended(samples.value, { at: Date.now(), totals: result.value })
    timer = setTimeout(() => void run(), EVERY_MS)
  }
  const onVisible = (): void => void run()
  document.addEventListener('visibilitychange', onVisible)
  void run()
  return () => {
    ended = true
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', onVisible)
    samples.value = []
  }
}

/** Counters begin again when Roost has started again: what was before is of no use then. */
function appended(before: readonly Sample[], sample: Sample): readonly Sample[] {
  const last = before.at(-1)
  const kept = last?.totals.started_at === sample.totals.started_at ? before : []
  return [...kept.slice(kept.length >= KEPT ? 1 : 0), sample]
}

/** Per second, between each sample and the one before; undefined for the first. */
export const ratesOf = (all: readonly Sample[], counter: (totals: Overview) => number): (number | undefined)[] =>
  all.map((sample, i) => {
    const before = all[i - 1]
    if (before === undefined) return undefined
    return (1000 * (counter(sample.totals) - counter(before.totals))) / Math.max(1, sample.at - before.at)
  })
