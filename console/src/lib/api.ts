import type { Operations } from './api-types.ts'
import { forgetSession, renewSession, session } from './session.ts'

/** What a request has led to: errors are values, because a console has to show them. */
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ApiError }

export interface ApiError {
  /** HTTP status; 0 if there was no answer. */
  readonly status: number
  /** One sentence for people. */
  readonly detail: string
}

export type Operation = keyof Operations
export type Answer<Name extends Operation> = Operations[Name]['answer']
export type Query<Name extends Operation> = NonNullable<Operations[Name]['query']>

export interface Request<Name extends Operation> {
  /** Of each `{name}` in the path. */
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Operations[Name]['query']
  readonly body?: Operations[Name]['body']
  readonly signal?: AbortSignal
  /** Of a login. */
  readonly authorization?: string
}

/** The API lies beside the page, also behind a proxy that puts both below a path. */
export const urlOf = (path: string): string => new URL(path.replace(/^\//, ''), document.baseURI).href

/** Without it, the browser would ask for a password itself where the console shows its form. */
export const OWN = { 'x-requested-with': 'roost-console' } as const

/** `call('GET /api/v1/clients/{id}', { params: { id } })` */
export async function call<Name extends Operation>(name: Name, request: Request<Name> = {}): Promise<Result<Answer<Name>>> {
  const first = await attempt(name, request)
  // Roost has restarted, and its CSRF tokens have changed.
  if (first.ok || first.error.status !== 403 || name.startsWith('GET ') || !(await renewSession())) return first
  return attempt(name, request)
}

async function attempt<Name extends Operation>(name: Name, request: Request<Name>): Promise<Result<Answer<Name>>> {
  const { params = {}, query, body, signal = null, authorization } = request
  const [method = '', path = ''] = name.split(' ')
  try {
    const response = await fetch(urlOf(pathOf(path, params) + queryText(query)), {
      method,
      signal,
      headers: {
        ...OWN,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(method !== 'GET' && { 'x-csrf-token': session.value.csrfToken }),
        ...(authorization !== undefined && { authorization }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (response.status === 401 && authorization === undefined) forgetSession()
    if (!response.ok) return { ok: false, error: await errorOf(response) }
    return { ok: true, value: (response.status === 204 ? undefined : await response.json()) as Answer<Name> }
  } catch {
    return { ok: false, error: { status: 0, detail: NO_ANSWER } }
  }
}

export const NO_ANSWER = 'Roost does not answer'

/** The problem that an answer describes [RFC 9457]. */
export async function errorOf(response: Response): Promise<ApiError> {
  const { status, statusText } = response
  try {
    const { detail } = (await response.json()) as { readonly detail?: unknown }
    return { status, detail: typeof detail === 'string' ? detail : statusText }
  } catch {
    return { status, detail: statusText || `HTTP status ${status}` }
  }
}

const pathOf = (path: string, params: Readonly<Record<string, string>>): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''))

/** With its question mark; parameters that are undefined or empty are left out, except `level`, where empty means the first one. */
export function queryText(query: object | undefined): string {
  const known = Object.entries(query ?? {}).filter(([name, value]) => value !== undefined && (value !== '' || name === 'level'))
  return known.length === 0 ? '' : `?${new URLSearchParams(known.map(([name, value]) => [name, String(value)]))}`
}
