import { isKnownHost } from '../base/origins.ts'

/** Which names this service has, and whether it needs a login. */
export interface GuardPolicy {
  /** Nobody has to log in. */
  readonly isOpen: boolean
  /** Names of this machine, and those of `http_hosts`, in lower case. */
  readonly names: readonly string[]
}

export interface Heads {
  readonly host: string | undefined
  readonly origin: string | undefined
  /** Sec-Fetch-Site: what a browser says of who sends the request. */
  readonly fetchSite: string | undefined
  /** The page of the console is opened, as by a link: it is to be shown, not read by a script or within another page. */
  readonly isVisit?: boolean
}

/**
 * Returns why a request is not answered, whoever sends it; '' if it is. A page of another site can send requests in the name of
 * its visitor: its Origin is not this service, or there is none, as for images and links, but Sec-Fetch-Site says so. And a site can let its own name resolve to the address of this machine, so that its
 * pages count as ours: the Host header has that name. Where there is a login, such a page does not have it.
 */
export function requestRefusal({ host, origin, fetchSite, isVisit = false }: Heads, { isOpen, names }: GuardPolicy): string {
  const own = urlOf(`http://${host ?? ''}`)
  if (own === undefined) return 'the Host header is missing or is no host'
  if (isOpen && !isKnownHost(own.hostname, names))
    return `this service has no name ${own.hostname.slice(0, NAME_MAX)} (http_hosts)`
  // What the user has typed, or opens from a bookmark, is `none`.
  if ((fetchSite === 'cross-site' || fetchSite === 'same-site') && !isVisit) return OTHER_SITE
  if (origin === undefined) return ''
  const page = urlOf(origin)
  return page !== undefined && page.host === own.host ? '' : OTHER_SITE
}

const OTHER_SITE = 'requests of pages of other sites are not answered'
const NAME_MAX = 100

function urlOf(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}
