import { computed, signal } from '@preact/signals'
import type { ApiError } from './api.ts'
import type { Operations } from './api-types.ts'

export interface Session {
  /** `unknown` until Roost has answered; `out`: a login is needed. */
  readonly state: 'unknown' | 'out' | 'in'
  /** Undefined where no login is needed, and for tokens. */
  readonly user: string | undefined
  /** Undefined where no login is needed. */
  readonly login: 'password' | 'token' | undefined
  readonly role: 'view' | 'manage'
  readonly csrfToken: string
}

const NOBODY = { user: undefined, login: undefined, role: 'view', csrfToken: '' } as const

/** Who uses the console. */
export const session = signal<Session>({ state: 'unknown', ...NOBODY })

/** Buttons that change something, and payloads, are for those who may manage. */
export const mayManage = computed(() => session.value.state === 'in' && session.value.role === 'manage')

type SessionAnswer = Operations['GET /api/v1/session']['answer']

const url = (): string => new URL('api/v1/session', document.baseURI).href
const HEADERS = { 'x-requested-with': 'roost-console' }

const knownBy = ({ user, login, role, csrf_token }: SessionAnswer): void => {
  session.value = { state: 'in', user, login, role, csrfToken: csrf_token }
}

export function forgetSession(): void {
  session.value = { state: 'out', ...NOBODY }
}

/** Asks who the user is. Returns whether that is known now. */
export async function renewSession(): Promise<boolean> {
  try {
    const response = await fetch(url(), { headers: HEADERS })
    if (response.ok) knownBy((await response.json()) as SessionAnswer)
    else if (response.status === 401 || response.status === 429) forgetSession()
    return response.ok
  } catch {
    return false
  }
}

export type Credentials = { readonly user: string; readonly password: string } | { readonly token: string }

/** Logs in. Returns undefined, or what is wrong. */
export async function logIn(credentials: Credentials): Promise<ApiError | undefined> {
  const authorization =
    'token' in credentials
      ? `Bearer ${credentials.token.trim()}`
      : `Basic ${base64(new TextEncoder().encode(`${credentials.user}:${credentials.password}`))}`
  try {
    const response = await fetch(url(), { method: 'POST', headers: { ...HEADERS, authorization } })
    if (response.ok) {
      knownBy((await response.json()) as SessionAnswer)
      return undefined
    }
    const { detail } = (await response.json()) as { readonly detail?: string }
    return { status: response.status, detail: detail ?? response.statusText }
  } catch {
    return { status: 0, detail: 'Roost does not answer' }
  }
}

export async function logOut(): Promise<void> {
  const { csrfToken } = session.value
  await fetch(url(), { method: 'DELETE', headers: { ...HEADERS, 'x-csrf-token': csrfToken } }).catch(() => {})
  forgetSession()
}

export const base64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
