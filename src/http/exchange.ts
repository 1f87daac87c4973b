import type { Instant } from '../base/machine.ts'

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
  /** Undefined where no login is needed. */
  readonly user: string | undefined
}

export interface HttpResponse {
  readonly status: number
  /** Content-Type. */
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `/api/v1/clients/:id` */
  readonly path: string
  /** The role that is needed; undefined: none, not even a login. */
  readonly needs: Role | undefined
  readonly answer: (request: HttpRequest) => HttpResponse
}

export const json = (value: unknown, status = 200): HttpResponse => ({
  status,
  type: 'application/json; charset=utf-8',
  body: JSON.stringify(value),
})

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
}
