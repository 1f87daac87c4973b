import { performance } from 'node:perf_hooks'

/** A configured HTTP service. */
export class HttpService {
  /** URL without user name and password, which fetch does not accept in a URL. */
  readonly url: string
  /** Location for logs; also without the query, which may contain a key. */
  readonly place: string
  /** User name and password of the URL as HTTP Basic authentication [RFC 7617]. */
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

/** Decodes percent escapes. A `%` that begins no escape is kept, as in a password copied into the URL. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Returns the body, of at most `maxBytes` after decompression. @throws Error as soon as it is larger */
export async function bodyOf(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  // Leaving the loop cancels the rest of the response.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`an answer of more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Returns why a request failed. The message of a `fetch` error itself says little. */
export function httpFailure(error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as Error
  return name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : ((cause as Error | undefined)?.message ?? message)
}

/** Maximum size of a key set in bytes, enough for hundreds of keys. */
const KEY_SET_BYTES_MAX = 1024 * 1024
/**
 * Time in milliseconds for which a failure is remembered, so that clients cannot make Roost send requests, and read 1
 * MiB in vain, as often as they like.
 */
const FAILURE_MS = 1000

/** Returns a function that fetches a key set for jose, with a limit on its size, and with the reason if it fails. */
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

/** A service on which authentication depends is unreachable or returns nonsense; the client is not to blame. */
export class ServiceFailure extends Error {}
