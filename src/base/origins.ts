import { addressOf, isWithin, type Network, parseNetwork } from './networks.ts'

/** A page that may connect: `https://app.example.org:8443`, or of a host whatever scheme and port, `app.example.org`; `*` is every page. */
export interface AllowedOrigin {
  /** `https:`; any if not there. */
  readonly scheme: string | undefined
  /** As browsers write it: in lower case, IPv6 in brackets. */
  readonly host: string
  readonly port: string | undefined
}

/** Who may connect over WebSocket from a browser. */
export interface OriginPolicy {
  readonly allowed: readonly AllowedOrigin[]
  /** Clients are let in without authentication. */
  readonly anonymous: boolean
  /** Names of this machine, and where it listens. */
  readonly ownNames: readonly string[]
}

/** What a request for an upgrade says. */
export interface UpgradeOrigin {
  readonly origin: string | undefined
  readonly host: string | undefined
  /** The address of this machine at which it came in; of a Unix socket there is none. */
  readonly localAddress: string | undefined
}

const ANY: AllowedOrigin = { scheme: undefined, host: '*', port: undefined }

/** Gives `undefined` for what is no origin. */
export function parseOrigin(text: string): AllowedOrigin | undefined {
  if (text === '*') return ANY
  const hasScheme = text.includes('://')
  const url = urlOf(hasScheme ? text : `http://${text}`)
  if (url === undefined || url.pathname !== '/' || url.search !== '' || url.username !== '') return undefined
  // A port means one port only; without it a whole origin means that of its scheme, and a host alone means all.
  if (hasScheme) return { scheme: url.protocol, host: url.hostname, port: url.port }
  return {
    scheme: undefined,
    host: url.hostname,
    port: /:\d+$/.test(text.replace(/^\[[^\]]*\]/, '')) ? url.port || '80' : undefined,
  }
}

/**
 * Why this request may not be upgraded; '' if it may. Browsers let a page of any site connect to whatever its user can reach, and say in Origin whose page
 * it is. Who sends no Origin is no browser. Where clients have to authenticate, pages do too, and any may try unless some are named; where they do not,
 * only pages of this machine may connect, and those that are named. Host is looked at there as well: a site can give its own name the address of this machine.
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
  const isKnown = isLocal(name) || own.includes(bare(name)) || isAddress(name) || allowed.some((each) => each.host === name)
  return isKnown ? '' : `a page that calls this machine by another name, ${name.slice(0, NAME_MAX)} (websockets_origin)`
}

/**
 * The client behind proxies that are trusted, by X-Forwarded-For: the last address that none of them has. `peer`: who sent the header, `192.0.2.1:51234`.
 * Where it is no such proxy, or what it says is no address, that of whoever said it last.
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

/** Of a Unix socket its permissions say who may connect. */
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
