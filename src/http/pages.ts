import type { Instant } from '../base/machine.ts'
import type { Work } from '../broker/requests.ts'
import type { Lsn } from '../store/store.ts'
import { ENTRIES_PER_TURN, type HttpRequest, NEXT_TURN, type Pause } from './exchange.ts'
import { PAGE_LIMIT } from './schema.ts'

/** A name at which a list continues, as a word that needs no quoting in URLs. */
export const cursorOf = (name: string): string => Buffer.from(name).toString('base64url')

export interface Page {
  readonly after: string | undefined
  readonly limit: number
}

/** Which page a request is for; undefined if its cursor is none of ours. `limit` was checked already. */
export function pageOf({ query: { cursor, limit } }: Pick<HttpRequest, 'query'>): Page | undefined {
  const page = { after: undefined, limit: limit === undefined ? PAGE_LIMIT : Number(limit) }
  if (cursor === undefined) return page
  const after = Buffer.from(cursor, 'base64url').toString()
  return cursorOf(after) === cursor ? { ...page, after } : undefined
}

export const BAD_CURSOR = 'cursor: is not one that this list has returned'

/**
 * Spreads work over turns of the event loop. Where it has no room in the store, it waits until what it has written is durable:
 * `written` says up to where.
 */
export function* inTurns<T>(work: Work<T>, began: Instant, written: () => Lsn = () => 0): Generator<Pause, T, Instant> {
  let now = began
  let left = ENTRIES_PER_TURN
  try {
    for (;;) {
      const step = work.next(now)
      if (step.done === true) return step.value
      left -= step.value
      if (left > 0) continue
      now = yield step.value === Number.POSITIVE_INFINITY ? { kind: 'durable', lsn: written() } : NEXT_TURN
      left = ENTRIES_PER_TURN
    }
  } finally {
    // Given up.
    work.return(undefined as T)
  }
}
