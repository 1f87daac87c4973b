import { isUtf8 } from 'node:buffer'
import type { AuthRequest } from '../../broker/access.ts'
import { bodyOf, HttpService, httpFailure } from './http-service.ts'
import { filtersOf } from './token-verifier.ts'

/** The service's answer about a client. */
export type CalloutAnswer =
  | {
      readonly kind: 'allow'
      readonly publish: readonly string[] | undefined
      readonly subscribe: readonly string[] | undefined
      readonly validSeconds: number | undefined
    }
  | { readonly kind: 'deny' }
  /** No answer, or an invalid one; the client is refused. */
  | { readonly kind: 'failed'; readonly reason: string }

const BODY_BYTES_MAX = 64 * 1024

/**
 * Queries an HTTP service about each client that connects: POST with JSON `{username, password, client_id, peer,
 * listener}`. A password that is not UTF-8 is sent as `password_base64`, with null as `password`. A 2xx response
 * without a body accepts the client, as does `{"result": "allow"}`; `{"result": "deny"}` or a status in `DENIALS`
 * refuses it. The response may contain `publish` and `subscribe` (lists of filters) and `expires_in` (seconds).
 */
export class HttpCallout {
  /** URL without user name and password. */
  readonly url: string
  readonly #service: HttpService
  readonly #timeoutMs: number

  constructor(url: string, timeoutSeconds: number) {
    this.#service = new HttpService(url)
    this.url = this.#service.url
    this.#timeoutMs = timeoutSeconds * 1000
  }

  async ask(request: AuthRequest, signal: AbortSignal): Promise<CalloutAnswer> {
    try {
      return await this.#post(request, signal)
    } catch (error) {
      return { kind: 'failed', reason: `the HTTP service: ${httpFailure(error, this.#timeoutMs)}` }
    }
  }

  async #post({ username, password, clientId, info }: AuthRequest, signal: AbortSignal): Promise<CalloutAnswer> {
    const response = await fetch(this.#service.url, {
      method: 'POST',
      headers: { ...this.#service.headers, 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({
        username: username ?? null,
        ...passwordOf(password),
        client_id: clientId,
        peer: info.peer,
        listener: info.listener,
      }),
      // Only the configuration decides where credentials are sent.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]),
    })
    const { status } = response
    if (DENIALS.has(status)) {
      await response.body?.cancel()
      return { kind: 'deny' }
    }
    if (!response.ok) {
      await response.body?.cancel()
      return { kind: 'failed', reason: `the HTTP service answered with status ${status}` }
    }
    return understood(await bodyOf(response, BODY_BYTES_MAX))
  }
}

/**
 * Status codes that refuse the client. Any other error is a failure of the service, and does not count as a wrong
 * password.
 */
const DENIALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 409, 410, 422])

/**
 * Returns the password in JSON form. JSON is text: converted to it, a password that is not UTF-8 would change, and
 * several could become the same.
 */
function passwordOf(password: Uint8Array | undefined): { password: string | null; password_base64?: string } {
  if (password === undefined) return { password: null }
  const bytes = Buffer.from(password)
  return isUtf8(bytes) ? { password: bytes.toString() } : { password: null, password_base64: bytes.toString('base64') }
}

function understood(body: string): CalloutAnswer {
  const nonsense = (reason: string): CalloutAnswer => ({ kind: 'failed', reason: `the HTTP service: ${reason}` })
  if (body.trim() === '') return { kind: 'allow', publish: undefined, subscribe: undefined, validSeconds: undefined }
  let answer: unknown
  try {
    answer = JSON.parse(body)
  } catch {
    return nonsense('the answer is not JSON')
  }
  if (typeof answer !== 'object' || answer === null) return nonsense('the answer is no JSON object')
  const { result, publish, subscribe, expires_in: validSeconds } = answer as Record<string, unknown>
  if (result === 'deny') return { kind: 'deny' }
  if (result !== 'allow') return nonsense('result is neither allow nor deny')
  const mayPublish = filtersOf(publish)
  const maySubscribe = filtersOf(subscribe)
  if (mayPublish === 'invalid' || maySubscribe === 'invalid') return nonsense('publish and subscribe have to be lists of filters')
  if (validSeconds !== undefined && !(typeof validSeconds === 'number' && validSeconds >= 0))
    return nonsense('expires_in is no number of seconds')
  return { kind: 'allow', publish: mayPublish, subscribe: maySubscribe, validSeconds }
}
