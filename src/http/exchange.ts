import type { Instant } from '../base/machine.ts'
import type { Lsn } from '../store/store.ts'
import type { AccountChange, AccountResult } from './accounts.ts'
import type { RouteSpec } from './schema.ts'

/** What a user of the HTTP service may do: `manage` includes `view`. */
export type Role = 'view' | 'manage'

/** A request that may be answered: its path is that of a route, and its user has the role that the route needs. */
export interface HttpRequest {
  readonly now: Instant
  /** The segments of the path that stand for `:name`, percent-decoded. */
  readonly params: Readonly<Record<string, string>>
  /** Of a parameter that is repeated, the last value. */
  readonly query: Readonly<Record<string, string>>
  /** Parsed JSON; undefined if there is none. */
  readonly body: unknown
  readonly role: Role | undefined
  /** Undefined where no login is needed, and for tokens. */
  readonly user: string | undefined
  /** How the user has logged in; undefined where no login is needed. */
  readonly login?: 'password' | 'token' | undefined
  /** What writes of this user must carry as `X-CSRF-Token`; io/ has compared it already. */
  readonly csrfToken: string
  /** Of an event stream that is opened again: the id of the last event that has arrived. */
  readonly lastEventId: string | undefined
  /** If-None-Match: the versions of a file that a browser has. */
  readonly ifNoneMatch?: string | undefined
  readonly acceptEncoding?: string | undefined
}

export interface HttpResponse {
  readonly status: number
  /** Content-Type. */
  readonly type: string
  readonly body: string
  /** Sent instead of `body`. */
  readonly bytes?: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  /** Sets the cookie of a browser session of this user, or ends the session and deletes the cookie. */
  readonly session?: 'begin' | 'end'
}

/**
 * Why a route continues later: after everything else has had its turn, after some milliseconds in which the store may get room, or a
 * cluster answers, once a record is durable (with 503 and `late` if that takes too long), or after a reload or a change of a user,
 * whose result is then in `result`.
 */
export type Pause =
  | { readonly kind: 'turn' }
  | { readonly kind: 'room' }
  | { readonly kind: 'durable'; readonly lsn: Lsn; readonly late?: string }
  | ReloadPause
  | AccountPause

export interface ReloadPause {
  readonly kind: 'reload'
  result: ReloadResult | undefined
}

export interface AccountPause {
  readonly kind: 'account'
  readonly change: AccountChange
  result: AccountResult | undefined
}

export type ReloadResult = { readonly warnings: readonly string[] } | { readonly error: string }

/**
 * A route that takes several turns of the event loop: yields at the end of each, and receives the current time. A step may take a
 * few milliseconds, so it examines at most `ENTRIES_PER_TURN` entries. Of all requests one has a step in each turn. What it does must
 * use the time that it has received last.
 */
export type HttpWork = Generator<Pause, HttpResponse, Instant>

export const NEXT_TURN: Pause = { kind: 'turn' }
/** Milliseconds of a pause in which the store may get room, or a cluster answers. */
export const ROOM_MS = 20
/** Sessions, retained messages and the like that one step looks at: 1 to 3 ms. */
export const ENTRIES_PER_TURN = 1000

/** Server-sent events [WHATWG HTML section 9.2]. Pulled when the socket can be written, so that a slow reader holds no memory. */
export interface EventStream {
  readonly kind: 'stream'
  /** Bytes of memory that wait for the reader; none if absent. */
  readonly bytes?: number
  /** Events that there are by now, up to about `STREAM_CHUNK` characters; '' if none. */
  next(): string
  /** Called when `next` may return something again. It must not call `next` itself. */
  wake: () => void
  /** The reader is gone. */
  close(): void
}

/** Characters that a stream hands out at a time. */
export const STREAM_CHUNK = 64 * 1024

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `/api/v1/clients/:id` */
  readonly path: string
  /** The role that is needed; undefined: none, not even a login. */
  readonly needs: Role | undefined
  /** Answered while Roost starts and stops, too. */
  readonly always?: true
  /** A write that needs no X-CSRF-Token, because it does nothing that another site could want. */
  readonly withoutToken?: true
  /** Bytes of its body at most; 16 KiB if absent. */
  readonly bodyBytesMax?: number
  /** What it takes and returns; requests are checked by it. Absent for routes that are not part of the API. */
  readonly spec?: RouteSpec
  /** Generators are recognised by `isWork`, streams by their `kind`. */
  readonly answer: (request: HttpRequest) => Answer
}

export type Answer = HttpResponse | HttpWork | EventStream

export const isWork = (answer: Answer): answer is HttpWork => 'next' in answer && 'throw' in answer
export const isStream = (answer: HttpResponse | EventStream): answer is EventStream => 'kind' in answer

export const json = (value: unknown, status = 200): HttpResponse => jsonText(JSON.stringify(value), status)

export const jsonText = (body: string, status = 200): HttpResponse => ({ status, type: 'application/json; charset=utf-8', body })

/** Success without content. */
export const done: HttpResponse = { status: 204, type: 'text/plain; charset=utf-8', body: '' }

export const plain = (text: string, status = 200): HttpResponse => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${text}\n`,
})

/** An error for programs and for people [RFC 9457]. `detail` is one sentence. */
export const problem = (status: number, detail: string): HttpResponse => ({
  status,
  type: 'application/problem+json',
  body: JSON.stringify({ status, title: TITLES[status] ?? 'Error', detail }),
})

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  507: 'Insufficient Storage',
}
