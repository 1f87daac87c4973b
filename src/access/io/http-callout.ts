import type { AuthRequest } from '../../broker/access.ts'
import { filtersOf } from './token-verifier.ts'

/** What the service said of a client. */
export type CalloutAnswer =
  | {
      readonly kind: 'allow'
      readonly publish: readonly string[] | undefined
      readonly subscribe: readonly string[] | undefined
      readonly validSeconds: number | undefined
    }
  | { readonly kind: 'deny' }
  /** It could not be asked, or made no sense: nobody is let in on that. */
  | { readonly kind: 'failed'; readonly reason: string }

const AT_ONCE_MAX = 50
const WAITING_MAX = 10_000
const BODY_MAX = 64 * 1024

/**
 * Asks an HTTP service about each client that connects: POST with JSON `{username, password, client_id, peer, listener}`. 2xx without a body
 * lets it in, and so does `{"result": "allow"}`; `{"result": "deny"}` or 4xx do not. `publish`, `subscribe` (lists of filters) and
 * `expires_in` (seconds) may come along.
 */
export class HttpCallout {
  readonly #url: string
  readonly #timeoutMs: number
  #atOnce = 0
  readonly #waiting: (() => void)[] = []

  constructor(url: string, timeoutSeconds: number) {
    this.#url = url
    this.#timeoutMs = timeoutSeconds * 1000
  }

  async ask(request: AuthRequest, signal: AbortSignal): Promise<CalloutAnswer> {
    if (this.#atOnce >= AT_ONCE_MAX) {
      if (this.#waiting.length >= WAITING_MAX) return { kind: 'failed', reason: 'too many clients wait for the HTTP service' }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#atOnce++
    try {
      return signal.aborted ? { kind: 'failed', reason: 'gone' } : await this.#post(request, signal)
    } catch (error) {
      const { name, message, cause } = error as Error
      const reason =
        name === 'TimeoutError' ? `no answer within ${this.#timeoutMs} ms` : ((cause as Error | undefined)?.message ?? message)
      return { kind: 'failed', reason: `the HTTP service: ${reason}` }
    } finally {
      this.#atOnce--
      this.#waiting.shift()?.()
    }
  }

  async #post({ username, password, clientId, info }: AuthRequest, signal: AbortSignal): Promise<CalloutAnswer> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({
        username: username ?? null,
        password: password === undefined ? null : Buffer.from(password).toString(),
        client_id: clientId,
        peer: info.peer,
        listener: info.listener,
      }),
      // Where the credentials go is the configuration's to say.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]),
    })
    const { status } = response
    if (status >= 400 && status < 500) {
      await response.body?.cancel()
      return { kind: 'deny' }
    }
    if (!response.ok) {
      await response.body?.cancel()
      return { kind: 'failed', reason: `the HTTP service answered with status ${status}` }
    }
    return understood(await bodyOf(response))
  }
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  // Leaving the loop cancels the rest.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > BODY_MAX) throw new Error(`an answer of more than ${BODY_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
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
