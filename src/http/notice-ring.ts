import { isoTime } from '../base/iso-time.ts'
import type { Notice, NoticeCode } from '../base/notice.ts'
import { type EventStream, STREAM_CHUNK } from './exchange.ts'
import { type KeptNotice, KeptNotices } from './kept-notices.ts'

/** Notices that are kept, those at level debug and all others counted apart, so that many of the former displace none of the latter. */
const KEPT = 1000
/** Bytes that they may take; peers choose client ids, and topics in reasons. */
const KEPT_BYTES = 1024 * 1024
/** Longer texts are cut: they are for people. Client ids are never cut, because they are searched for. */
const TEXT_MAX = 512

export interface NoticeFilter {
  readonly code: NoticeCode | undefined
  /** Session key, or the client id alone. */
  readonly client: string | undefined
}

/** The last notices, for `GET /api/v1/notices` and event streams. Kept only where there is an HTTP service. */
export class NoticeRing {
  readonly #now: () => number
  readonly #important = new KeptNotices(KEPT, KEPT_BYTES / 2)
  readonly #debug = new KeptNotices(KEPT, KEPT_BYTES / 2)
  readonly #streams = new Set<NoticeStream>()
  #lastId = 0

  /** A word for this process: the ids of another one mean nothing here. */
  readonly run: string

  /** `now`: milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now
    this.run = Math.round(now()).toString(36)
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#important.bytes + this.#debug.bytes
  }

  get lastId(): number {
    return this.#lastId
  }

  add(notice: Notice): void {
    const ring = notice.level === 'debug' ? this.#debug : this.#important
    ring.add(++this.#lastId, this.#now(), withShortTexts(notice))
    for (const stream of this.#streams) stream.wake()
  }

  /** The newest that match, the newest first. */
  last(filter: NoticeFilter, most: number): KeptNotice[] {
    const found: KeptNotice[] = []
    const [one, other] = [this.#important, this.#debug]
    let [i, k] = [one.length, other.length]
    while (found.length < most && i + k > 0) {
      const kept = one.idAt(i - 1) > other.idAt(k - 1) ? one.at(--i)! : other.at(--k)!
      if (matches(kept.notice, filter)) found.push(kept)
    }
    return found
  }

  /** Notices as events: those after the event with this id, or from now on. */
  stream(filter: NoticeFilter, lastEventId: string | undefined): EventStream {
    const [, id, run] = /^(\d{1,15})-(.+)$/.exec(lastEventId ?? '') ?? []
    // Of the process before a restart: everything that this one has is new.
    const after = lastEventId === undefined ? this.#lastId : run === this.run ? Math.min(Number(id), this.#lastId) : 0
    const stream = new NoticeStream(this, filter, after, () => this.#streams.delete(stream))
    this.#streams.add(stream)
    return stream
  }

  /** The notice after this id. */
  next(id: number): KeptNotice | undefined {
    const one = this.#important.at(this.#important.after(id))
    const other = this.#debug.at(this.#debug.after(id))
    if (one === undefined || other === undefined) return one ?? other
    return one.id < other.id ? one : other
  }
}

/** Notices as server-sent events. What has left the ring before it was read is counted. */
class NoticeStream implements EventStream {
  readonly kind = 'stream'
  wake: () => void = () => {}
  readonly close: () => void
  readonly #ring: NoticeRing
  readonly #filter: NoticeFilter
  #lastId: number

  constructor(ring: NoticeRing, filter: NoticeFilter, after: number, close: () => void) {
    this.#ring = ring
    this.#filter = filter
    this.#lastId = after
    this.close = close
  }

  next(): string {
    let text = ''
    while (text.length < STREAM_CHUNK) {
      const kept = this.#ring.next(this.#lastId)
      if (kept === undefined) break
      const missed = kept.id - this.#lastId - 1
      // Whether they would have matched is not known any more.
      if (missed > 0) text += event('missed', kept.id - 1, this.#ring.run, { notices: missed })
      this.#lastId = kept.id
      if (matches(kept.notice, this.#filter)) text += event('notice', kept.id, this.#ring.run, noticeJson(kept, this.#ring.run))
    }
    return text
  }
}

const event = (name: string, id: number, run: string, data: object): string =>
  `event: ${name}\nid: ${id}-${run}\ndata: ${JSON.stringify(data)}\n\n`

export const noticeJson = ({ id, at, notice }: KeptNotice, run: string): object => ({
  id: `${id}-${run}`,
  time: isoTime(at),
  ...notice,
})

const matches = (notice: Notice, { code, client }: NoticeFilter): boolean =>
  (code === undefined || notice.code === code) &&
  (client === undefined ||
    notice.client === client ||
    (notice.client?.endsWith(client) === true && clientIdOf(notice.client) === client))

const clientIdOf = (key: string): string => key.slice(key.indexOf(':') + 1)

function withShortTexts(notice: Notice): Notice {
  const { reason, user, peer } = notice
  if (isShort(reason) && isShort(user) && isShort(peer)) return notice
  return {
    ...notice,
    ...(reason !== undefined && { reason: cut(reason) }),
    ...(user !== undefined && { user: cut(user) }),
    ...(peer !== undefined && { peer: cut(peer) }),
  }
}

const isShort = (text: string | undefined): boolean => text === undefined || text.length <= TEXT_MAX

const cut = (text: string): string => (isShort(text) ? text : `${text.slice(0, TEXT_MAX)}...`)
