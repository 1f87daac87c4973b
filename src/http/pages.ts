import type { Instant } from '../base/machine.ts'
import type { Work } from '../broker/requests.ts'
import type { Lsn } from '../store/store.ts'
import { ENTRIES_PER_TURN, type HttpRequest, NEXT_TURN, type Pause } from './exchange.ts'
import { PAGE_LIMIT } from './schema.ts'

/** Characters of a name in a cursor: an URL has room for it, and for the rest of a request. */
const NAME_MAX = 2048

/** A part of a list whose names are in order: the `limit` entries after the first `skip` ones that come after `after`. */
export interface Page {
  readonly after: string | undefined
  readonly skip: number
  readonly limit: number
}

/** Which page a request is for; undefined if its cursor is none of ours. `limit` was checked already. */
export function pageOf({ query: { cursor, limit } }: Pick<HttpRequest, 'query'>): Page | undefined {
  const most = limit === undefined ? PAGE_LIMIT : Number(limit)
  if (cursor === undefined) return { after: undefined, skip: 0, limit: most }
  const [encoded = '', skip = '0'] = cursor.split('.', 2)
  const page = { after: Buffer.from(encoded, 'base64url').toString(), skip: Number(skip), limit: most }
  return page.skip <= SKIP_MAX && encodedOf(page.after, page.skip) === cursor ? page : undefined
}

/** Entries with the same long beginning. */
const SKIP_MAX = 65_536

/**
 * The cursor behind `last`, the last name of a page with these names: the name, or, if that is long, its beginning and how many
 * entries follow that until there.
 */
export function cursorAfter(page: Page, names: readonly string[], last: string): string {
  if (last.length <= NAME_MAX) return encodedOf(last, 0)
  const start = last.slice(0, NAME_MAX).replace(/[\ud800-\udbff]$/, '')
  const before = start === page.after ? page.skip : 0
  return encodedOf(start, before + names.filter((name) => name.length > start.length && name.startsWith(start)).length)
}

const encodedOf = (name: string, skip: number): string => Buffer.from(name).toString('base64url') + (skip === 0 ? '' : `.${skip}`)

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
