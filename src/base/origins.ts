import { addressOf, isWithin, type Network, parseNetwork } from './networks.ts'

/**
 * An origin that may connect: `https://app.example.org:8443`, or `app.example.org` for any scheme and port of a host; `*`
 * for every origin.
 */
export interface AllowedOrigin {
  /** `https:`; undefined for any. */
  readonly scheme: string | undefined
  /** As browsers write it: in lower case, IPv6 in brackets. */
  readonly host: string
  readonly port: string | undefined
}

/** Which web pages may connect over WebSocket. */
export interface OriginPolicy {
  readonly allowed: readonly AllowedOrigin[]
  /** Clients may connect without authentication. */
  readonly anonymous: boolean
  /** Names of this machine and addresses that it listens on. */
  readonly ownNames: readonly string[]
}

/** The relevant parts of an upgrade request. */
export interface UpgradeOrigin {
  readonly origin: string | undefined
  readonly host: string | undefined
  /** The local address of the connection; undefined for a Unix socket. */
  readonly localAddress: string | undefined
}

const ANY: AllowedOrigin = { scheme: undefined, host: '*', port: undefined }

/** Returns `undefined` if the text is no origin. */
export function parseOrigin(text: string): AllowedOrigin | undefined {
  if (text === '*') return ANY
  const hasScheme = text.includes('://')
  const url = urlOf(hasScheme ? text : `http://${text}`)
  if (url === undefined || url.pathname !== '/' || url.search !== '' || url.username !== '') return undefined
  // A port is required to match. Without one, a full origin implies the default port of its scheme, and a host alone
  // matches every port.
  if (hasScheme) return { scheme: url.protocol, host: url.hostname, port: url.port }
  return {
    scheme: undefined,
    host: url.hostname,
    port: /:\d+$/.test(text.replace(/^\[[^\]]*\]/, '')) ? url.port || '80' : undefined,
  }
}

/**
 * Returns why this request may not be upgraded, or '' if it may. Browsers let a page of any site connect to whatever
 * their user can reach, and name the origin of the page in the Origin header. A request without Origin does not come from
 * a browser. If clients have to authenticate, so do pages: any origin may try, unless some are configured. If they do
 * not, only pages of this machine and configured origins may connect. In that case the Host header is checked as well,
 * because a site can let its own name resolve to the address of this machine.
 */
export function originRefusal({ origin, host, localAddress }: UpgradeOrigin, policy: OriginPolicy): string {
  const { allowed, anonymous, ownNames } = policy
  if (origin === undefined || allowed.includes(ANY) || (!anonymous && allowed.length === 0)) return ''
  const page = urlOf(origin)
  if (page === undefined || page.hostname === '') return 'a page that does not say whose it is (websockets_origin)'
  const own = [...ownNames, ...(localAddress === undefined ? [] : [localAddress])]
  const isOwn = isLocal(page.hostname) || own.includes(bare(page.hostname))
  if (!isOwn && !allowed.some((each) => matches(page, each))) return `a page of ${page.origin} (websockets_origin)`
  if (!anonymous) return ''
  const name = urlOf(`http://${host ?? ''}`)?.hostname ?? ''
  const isKnown = isKnownHost(name, own) || allowed.some((each) => each.host === name)
  return isKnown ? '' : `a page that calls this machine by another name, ${name.slice(0, NAME_MAX)} (websockets_origin)`
}

/**
 * Whether this machine can be meant by the name in a Host header: a name of its own, or an address, which no site can redirect.
 */
export const isKnownHost = (name: string, own: readonly string[]): boolean =>
  isLocal(name) || own.includes(bare(name)) || isAddress(name)

/**
 * Returns the client behind trusted proxies, according to X-Forwarded-For: the last address that is not a trusted
 * proxy's. `peer`: the sender of the header, `192.0.2.1:51234`, which is returned if it is no such proxy. If an entry is
 * no address, returns the proxy that sent it.
 */
export function forwardedPeer(header: string | undefined, peer: string, proxies: readonly Network[]): string {
  const told = header?.split(',') ?? []
  let last = peer
  while (isProxy(last, proxies)) {
    const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?$/.exec(told.pop()?.trim() ?? '') ?? []
    const ip = bracketed ?? plain
    if (ip === undefined || !isAddress(ip)) break
    last = `${ip.includes(':') ? `[${ip}]` : ip}:${port ?? peer.slice(peer.lastIndexOf(':') + 1)}`
  }
  return last
}

/** Access to a Unix socket is controlled by its permissions, so its peer is trusted. */
const isProxy = (peer: string, proxies: readonly Network[]): boolean =>
  proxies.length > 0 && (peer.startsWith('unix:') || isWithin(bare(addressOf(peer)), proxies))

const NAME_MAX = 100

function urlOf(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

function matches(page: URL, { scheme, host, port }: AllowedOrigin): boolean {
  if (page.hostname !== host || (scheme !== undefined && page.protocol !== scheme)) return false
  return port === undefined || page.port === port || (scheme === undefined && page.port === '' && port === defaultPort(page))
}

const defaultPort = ({ protocol }: URL): string => (protocol === 'https:' ? '443' : '80')

const bare = (host: string): string => host.replace(/^\[(.*)\]$/, '$1')

const isAddress = (host: string): boolean => !host.includes('/') && parseNetwork(bare(host)) !== undefined

const LOOPBACK = ['127.0.0.0/8', '::1'].map((network) => parseNetwork(network)!)

const isLocal = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost') || isWithin(bare(host), LOOPBACK)
