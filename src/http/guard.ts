import { isKnownHost } from '../base/origins.ts'

/** Which names this service has, and whether it needs a login. */
export interface GuardPolicy {
  /** Nobody has to log in. */
  readonly isOpen: boolean
  /** Names of this machine, and those of `http_hosts`, in lower case. */
  readonly names: readonly string[]
}

export interface Heads {
  /** That the request is for. */
  readonly host: URL
  readonly origin: string | undefined
  /** Sec-Fetch-Site: what a browser says of who sends the request. */
  readonly fetchSite: string | undefined
}

/**
 * Returns why a request is not answered, whoever sends it; '' if it is. A page of another site can send requests in the name of
 * its visitor: its Origin is not this service, or there is none, as for images and links, but Sec-Fetch-Site says so. And a site can let its own name resolve to the address of this machine, so that its
 * pages count as ours: the Host header has that name. Where there is a login, such a page does not have it.
 */
export function requestRefusal({ host, origin, fetchSite }: Heads, { isOpen, names }: GuardPolicy): string {
  if (isOpen && !isKnownHost(host.hostname, names))
    return `this service has no name ${host.hostname.slice(0, NAME_MAX)} (http_hosts)`
  // What the user has typed, or opens from a bookmark, is `none`.
  if (fetchSite === 'cross-site' || fetchSite === 'same-site') return OTHER_SITE
  if (origin === undefined) return ''
  const page = urlOf(origin)
  return page !== undefined && page.host === host.host ? '' : OTHER_SITE
}

/**
 * Returns the host that a request is for, or what is wrong with it [RFC 9112 section 3.2]. `target` is `/path`, or an URL, as a proxy
 * is asked: then the Host header does not count.
 */
export function targetHost(target: string, hosts: readonly string[]): URL | string {
  const [host = '', ...more] = hosts
  if (more.length > 0) return 'there is more than one Host header'
  const url = urlOf(/^https?:\/\//i.test(target) ? target : `http://${host}`)
  if (url === undefined || url.username !== '' || url.password !== '') return NO_HOST
  if (/[/?#\\]/.test(host)) return NO_HOST
  return url
}

const NO_HOST = 'the Host header is missing or is no host'
const OTHER_SITE = 'requests of pages of other sites are not answered'
const NAME_MAX = 100

function urlOf(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}
