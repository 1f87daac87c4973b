/** A range of IP addresses: `192.168.0.0/16`, `fe80::/10`, `::1`. */
export interface Network {
  readonly words: readonly number[]
  readonly prefixLength: number
}

/** IPv4-mapped IPv6 addresses. */
const IPV4: Network = { words: [0, 0, 0, 0, 0, 0xffff, 0, 0], prefixLength: 96 }

/** Networks whose addresses cannot be forged from outside: loopback, link-local and private ranges. */
export const PRIVATE_NETWORKS = '127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1 fe80::/10 fc00::/7'.split(
  ' ',
)

/** Returns `undefined` if the text is no network. */
export function parseNetwork(text: string): Network | undefined {
  const [ip = '', prefix, ...rest] = text.split('/')
  const words = parseIp(ip)
  if (words === undefined || rest.length > 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return undefined
  const isV4 = ip.includes('.') && !ip.includes(':')
  const width = isV4 ? 32 : 128
  const length = prefix === undefined ? width : Number(prefix)
  return length > width ? undefined : { words, prefixLength: isV4 ? 96 + length : length }
}

/** A network as `parseNetwork` reads it: `192.168.0.0/16`, `fe80::/10`. */
export function networkText({ words, prefixLength }: Network): string {
  if (words[5] === 0xffff && prefixLength >= IPV4.prefixLength && words.slice(0, 5).every((word) => word === 0)) {
    const [high = 0, low = 0] = words.slice(6)
    return `${high >>> 8}.${high & 0xff}.${low >>> 8}.${low & 0xff}/${prefixLength - IPV4.prefixLength}`
  }
  const text = words.map((word) => word.toString(16)).join(':')
  return `${text.replace(/(^|:)0(:0)+(:|$)/, '::')}/${prefixLength}`
}

/**
 * True if the address is in one of the networks. An IPv4-mapped address (`::ffff:192.0.2.1`) is treated as IPv4; a zone
 * (`%eth0`) is ignored.
 */
export function isWithin(ip: string, networks: readonly Network[]): boolean {
  const words = parseIp(ip)
  return words !== undefined && networks.some((network) => matches(words, network))
}

/**
 * Networks that are asked for each datagram: IPv4 addresses are compared as numbers. A table of answers by peer took 5 % of the
 * CPU time of connecting sensors, because most lookups of a large table miss the processor's caches.
 */
export class PeerNetworks {
  readonly #networks: readonly Network[]
  readonly #plain: readonly { readonly base: number; readonly mask: number }[]
  /** The last question and its answer: a datagram asks when it is read and when it is answered, 100 ns each. */
  #asked = ''
  #answer: boolean | undefined = undefined

  constructor(networks: readonly Network[]) {
    this.#networks = networks
    this.#plain = networks
      .filter(({ words, prefixLength }) =>
        matches(IPV4.words, { words, prefixLength: Math.min(prefixLength, IPV4.prefixLength) }),
      )
      .map(({ words, prefixLength }) => {
        const mask = prefixLength <= IPV4.prefixLength ? 0 : -1 << (128 - prefixLength)
        return { base: ((words[6]! << 16) | words[7]!) & mask, mask }
      })
  }

  /** `undefined`: the peer does not start with an IPv4 address and a port, as `192.0.2.1:51234`, and has to be parsed for `has`. */
  hasPlain(peer: string): boolean | undefined {
    if (peer !== this.#asked) {
      this.#answer = this.#hasPlain(peer)
      this.#asked = peer
    }
    return this.#answer
  }

  #hasPlain(peer: string): boolean | undefined {
    const colon = peer.indexOf(':')
    const ip = plainIpv4(peer, colon)
    if (ip < 0 || !isDigit(peer.charCodeAt(colon + 1))) return undefined
    for (const { base, mask } of this.#plain) if ((ip & mask) === base) return true
    return false
  }

  /** `ip` as in `isWithin`. */
  has(ip: string): boolean {
    return isWithin(ip, this.#networks)
  }
}

/** True if both addresses are in one subnet of the usual size: the same IPv4 /24 or the same IPv6 /64. */
export function isSameSubnet(one: string, other: string): boolean {
  const [words, others] = [parseIp(one), parseIp(other)]
  if (words === undefined || others === undefined) return false
  const isV4 = matches(words, IPV4)
  return matches(others, IPV4) === isV4 && matches(words, { words: others, prefixLength: isV4 ? 120 : 64 })
}

/** Returns the IPv4 address that an IPv6 socket reports as `::ffff:192.0.2.1`; any other text unchanged. */
export const withoutMapping = (ip: string): string => /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1] ?? ip

function matches(words: readonly number[], { words: base, prefixLength }: Network): boolean {
  for (let i = 0, left = prefixLength; left > 0; i++, left -= 16) {
    const mask = left >= 16 ? 0xffff : (0xffff << (16 - left)) & 0xffff
    if (((words[i]! ^ base[i]!) & mask) !== 0) return false
  }
  return true
}

/** Returns eight 16-bit words; IPv4 as IPv4-mapped IPv6. */
export function parseIp(text: string): number[] | undefined {
  // Checked before the regular expressions below, which take quadratic time on text that is no address. Host and Origin
  // headers of unauthenticated peers are parsed here.
  if (text.length > TEXT_MAX) return undefined
  const plain = plainIpv4(text)
  if (plain >= 0) return [0, 0, 0, 0, 0, 0xffff, plain >>> 16, plain & 0xffff]
  const ip = text.replace(/%.*$/, '')
  const dotted = /^(.*?)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip)
  if (dotted === null) return parseV6(ip)
  const [head = '', ...octets] = dotted.slice(1)
  const [a, b, c, d] = octets.map(Number) as [number, number, number, number]
  if (Math.max(a, b, c, d) > 255) return undefined
  const tail = [(a << 8) | b, (c << 8) | d]
  if (head === '') return [0, 0, 0, 0, 0, 0xffff, ...tail]
  return parseV6(`${head}${tail.map((word) => word.toString(16)).join(':')}`)
}

/** Maximum length of an address in characters: an IPv6 address with an IPv4 tail, and a zone. */
const TEXT_MAX = 45 + 1 + 32

function parseV6(ip: string): number[] | undefined {
  const halves = ip.split('::')
  if (halves.length > 2 || !ip.includes(':')) return undefined
  const [front, back] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const zeros = 8 - front!.length - (back?.length ?? 0)
  if (back === undefined ? zeros !== 0 : zeros < 1) return undefined
  const words = [...front!, ...new Array<string>(back === undefined ? 0 : zeros).fill('0'), ...(back ?? [])]
  return words.every((word) => /^[\da-f]{1,4}$/i.test(word)) ? words.map((word) => Number.parseInt(word, 16)) : undefined
}

/**
 * Returns the network that counts as one peer where peers are counted: an IPv4 address, or the /64 of an IPv6 address,
 * which usually belongs to one subscriber [RFC 6177]. `peer` is `192.0.2.1:51234`, `[2001:db8::1]:51234`, or a route of
 * the gateway that starts like this. Returns `undefined` without an IP address, as for a Unix socket or a serial line.
 */
export function networkOf(peer: string): string | undefined {
  if (peer !== askedLast.peer) {
    askedLast.network = findNetwork(peer)
    askedLast.peer = peer
  }
  return askedLast.network
}

/** Cache of the last result, because each new connection asks five times. */
const askedLast: { peer: string; network: string | undefined } = { peer: '', network: undefined }

function findNetwork(peer: string): string | undefined {
  const colon = peer.indexOf(':')
  if (plainIpv4(peer, colon) >= 0 && isDigit(peer.charCodeAt(colon + 1))) return peer.slice(0, colon)
  const words = parseIp(ipOfPeer(peer) ?? '')
  if (words === undefined) return undefined
  const [first, second, , , , sixth, high, low] = words as [number, number, number, number, number, number, number, number]
  const isMapped = first === 0 && sixth === 0xffff && words.slice(1, 5).every((word) => word === 0)
  // 64:ff9b::/96: an IPv4 address embedded in IPv6 by a translator [RFC 6052].
  const isTranslated = first === 0x64 && second === 0xff9b && words.slice(2, 6).every((word) => word === 0)
  if (isMapped || isTranslated) return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
  // All hosts on a link share fe80::/64.
  const isLinkLocal = (first & 0xffc0) === 0xfe80
  const text = (some: readonly number[]): string => some.map((word) => word.toString(16)).join(':')
  return isLinkLocal ? text(words) : `${text(words.slice(0, 4))}::/64`
}

/**
 * Returns the IPv4 address in dotted form in front of `end` as a number, or -1 for any other text. Parsed by hand, because
 * this runs for every connection and datagram.
 */
function plainIpv4(text: string, end = text.length): number {
  let value = 0
  let octet = 0
  let digits = 0
  let dots = 0
  for (let at = 0; at < end; at++) {
    const code = text.charCodeAt(at)
    if (isDigit(code)) {
      if (digits > 0 && octet === 0) return -1
      octet = octet * 10 + code - 48
      digits++
      if (octet > 255) return -1
    } else {
      if (code !== DOT || digits === 0) return -1
      value = value * 256 + octet
      dots++
      octet = 0
      digits = 0
    }
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : -1
}

const DOT = 46
const isDigit = (code: number): boolean => code >= 48 && code <= 57

/** A set of networks by prefix length: looking up an address takes one step per length, however many networks there are. */
export class NetworkSet {
  readonly #byLength = new Map<number, Set<string>>()

  constructor(networks: readonly Network[]) {
    for (const { words, prefixLength } of networks) {
      const known = this.#byLength.get(prefixLength) ?? new Set()
      this.#byLength.set(prefixLength, known.add(masked(words, prefixLength)))
    }
  }

  get isEmpty(): boolean {
    return this.#byLength.size === 0
  }

  /** `ip` as in `isWithin`. */
  has(ip: string): boolean {
    if (this.isEmpty) return false
    const words = parseIp(ip)
    if (words === undefined) return false
    for (const [prefixLength, networks] of this.#byLength) if (networks.has(masked(words, prefixLength))) return true
    return false
  }
}

const masked = (words: readonly number[], prefixLength: number): string =>
  words.map((word, i) => word & (0xffff << Math.max(0, 16 - Math.max(0, prefixLength - i * 16)))).join(':')

/** Returns the IP address of `192.0.2.1:51234` or `[2001:db8::1]:51234`. */
export function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':')
  return colon < 0 ? peer : peer.slice(0, colon)
}

/** As `addressOf`, without brackets, also for a route of the gateway; `undefined` if there is no IP address. */
export function ipOfPeer(peer: string): string | undefined {
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\]|(\d[\d.]*)):\d+/.exec(peer) ?? []
  return bracketed ?? dotted
}
