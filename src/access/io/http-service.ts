import { performance } from 'node:perf_hooks'

/** A service on the network, as the configuration names it. */
export class HttpService {
  /** Without user name and password, which no request may have in its URL. */
  readonly url: string
  /** Where it is, for logs: without a query too, which may hold a key. */
  readonly place: string
  /** What the URL had of a user name and a password, as HTTP Basic [RFC 7617]. */
  readonly headers: Readonly<Record<string, string>>

  constructor(given: string) {
    const url = new URL(given)
    const { username, password } = url
    const credentials = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')
    this.headers = username === '' && password === '' ? {} : { authorization: `Basic ${credentials}` }
    url.username = ''
    url.password = ''
    this.url = url.href
    this.place = url.origin + url.pathname
  }
}

/** A `%` that begins no escape stands for itself, as in a password copied into the URL. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The whole body, of at most `maxBytes` after decompression. @throws Error for more, as soon as it is more */
export async function bodyOf(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  // Leaving the loop cancels the rest.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`an answer of more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Why a request came to nothing. `fetch` says the least in its own message. */
export function httpFailure(error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as Error
  return name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : ((cause as Error | undefined)?.message ?? message)
}

/** A key set, in bytes: hundreds of keys. */
const KEY_SET_BYTES_MAX = 1024 * 1024
/** Milliseconds for which a failure stands, so that no client makes Roost ask, and read 1 MiB in vain, as often as it likes. */
const FAILURE_MS = 1000

/** Fetches a key set, for jose: with a bound, and with the reason where it fails. */
export function keySetFetcher({ place }: HttpService, timeoutMs: number): (url: string, init: RequestInit) => Promise<Response> {
  let failure: ServiceFailure | undefined
  let failedAt = 0
  return async (url, init) => {
    if (failure !== undefined && performance.now() < failedAt + FAILURE_MS) throw failure
    try {
      const response = await fetch(url, init)
      if (response.status === 200) return Response.json(keySetIn(await bodyOf(response, KEY_SET_BYTES_MAX)))
      await response.body?.cancel()
      throw new Error(`answered with status ${response.status}`)
    } catch (error) {
      failure = new ServiceFailure(`jwt_jwks ${place}: ${httpFailure(error, timeoutMs)}`)
      failedAt = performance.now()
      throw failure
    }
  }
}

function keySetIn(body: string): object {
  try {
    const set = JSON.parse(body) as { keys?: unknown } | null
    if (typeof set === 'object' && Array.isArray(set?.keys) && set.keys.every((key) => typeof key === 'object' && key !== null))
      return set
  } catch {}
  throw new Error('the answer is no JSON Web Key Set')
}

/** A service that clients depend on cannot be asked, or makes no sense: it is not the client's fault. */
export class ServiceFailure extends Error {}
