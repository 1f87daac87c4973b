import type { Instant } from '../base/machine.ts'
import type { Work } from '../broker/requests.ts'
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

/** Pauses in which the store gets no room, after which work gives up: 10 seconds. */
export const ROOM_PAUSES_MAX = 500
const WAIT_FOR_ROOM: Pause = { kind: 'room' }

/**
 * Spreads work over turns of the event loop. Work that yields Infinity waits for room in the store. If there is none for
 * `ROOM_PAUSES_MAX` pauses, it is given up: `gaveUp` is called, and nothing returned.
 */
export function* inTurns<T>(work: Work<T>, began: Instant, gaveUp: () => void = () => {}): Generator<Pause, T, Instant> {
  let now = began
  let left = ENTRIES_PER_TURN
  let waits = 0
  try {
    for (;;) {
      const step = work.next(now)
      if (step.done === true) return step.value
      if (step.value === Number.POSITIVE_INFINITY) {
        if (++waits > ROOM_PAUSES_MAX) {
          gaveUp()
          return undefined as T
        }
        now = yield WAIT_FOR_ROOM
        left = ENTRIES_PER_TURN
        continue
      }
      waits = 0
      left -= step.value
      if (left > 0) continue
      now = yield NEXT_TURN
      left = ENTRIES_PER_TURN
    }
  } finally {
    // Given up.
    work.return(undefined as T)
  }
}
