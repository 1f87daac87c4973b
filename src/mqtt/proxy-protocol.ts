import { decodeUtf8, utf8Error } from '../base/bytes.ts'
import { withoutMapping } from '../base/networks.ts'

/** The header that a proxy sends before the client's data (PROXY protocol, versions 1 and 2, of HAProxy). */
export interface ProxyHeader {
  readonly kind: 'header'
  /** Size of the header; the client's data follows. */
  readonly size: number
  /** The client's address, `192.0.2.1:51234`, `[2001:db8::1]:51234` or `unix:<path>`; undefined: use the socket's own. */
  readonly peer: string | undefined
  /** Common name of the client certificate that the proxy has verified (version 2, PP2_TYPE_SSL). */
  readonly commonName: string | undefined
}

export interface ProxyError {
  readonly kind: 'error'
  /** For logs. */
  readonly reason: string
}

/** Bytes of a version 1 header, CR LF included [section 2.1]. */
const V1_MAX = 107
/** Bytes of a version 2 header before its address block: signature, command, family, length. */
const V2_FIXED = 16
/** Maximum bytes of the address block with its TLVs: addresses (216 at most), names and ids, but no whole certificate. */
const V2_BLOCK_MAX = 4096

const V1_SIGNATURE = Uint8Array.from('PROXY ', (c) => c.charCodeAt(0))
const V2_SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a)

/** Bytes of source and destination in the address block, by family: AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX. */
const ADDRESS_BYTES = [0, 12, 36, 216] as const
/** First bytes of an IPv4 address in IPv6, `::ffff:192.0.2.1`. */
const IPV4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const
const STREAM = 1
const TLV_SSL = 0x20
const TLV_SSL_CN = 0x22
/**
 * PP2_CLIENT_CERT_CONN and PP2_CLIENT_CERT_SESS: the client has presented a certificate, on this connection or at the start of
 * the session.
 */
const SSL_CERTIFICATE = 0x02 | 0x04
/** Bytes before the TLVs in PP2_TYPE_SSL: client flags, and whether the certificate was verified (0). */
const SSL_FIXED = 5

/**
 * Reads the header at the start of all bytes received so far; undefined: not enough yet. The result does not depend on how the
 * bytes are cut into chunks, and never needs more than 4112 of them.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | ProxyError | undefined {
  if (startsAs(bytes, V2_SIGNATURE)) return bytes.length < V2_FIXED ? incompleteV2(bytes) : readV2(bytes)
  if (startsAs(bytes, V1_SIGNATURE)) return readV1(bytes)
  return error('no PROXY header')
}

const error = (reason: string): ProxyError => ({ kind: 'error', reason })

/** Whether the bytes so far match this signature. */
function startsAs(bytes: Uint8Array, signature: Uint8Array): boolean {
  for (let i = 0; i < bytes.length && i < signature.length; i++) if (bytes[i] !== signature[i]) return false
  return true
}

const PORT = '(0|[1-9][0-9]{0,4})'
const V1_LINE = new RegExp(`^PROXY TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) ${PORT} ${PORT}$`)
const BYTE = '(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])'
const IPV4 = new RegExp(`^${BYTE}(?:\\.${BYTE}){3}$`)

function readV1(bytes: Uint8Array): ProxyHeader | ProxyError | undefined {
  const end = bytes.subarray(0, V1_MAX).indexOf(0x0a) - 1
  if (end < 0) return bytes.length < V1_MAX ? undefined : error(`PROXY header without an end in ${V1_MAX} bytes`)
  if (bytes[end] !== 0x0d) return error('PROXY header that does not end with CR LF')
  const header = { kind: 'header', size: end + 2, commonName: undefined } as const
  const line = String.fromCharCode(...bytes.subarray(0, end))
  if (/^PROXY UNKNOWN( |$)/.test(line)) return { ...header, peer: undefined }
  const [, family, source, destination, port, destinationPort] = V1_LINE.exec(line) ?? []
  if (source === undefined || Number(port) > 0xffff || Number(destinationPort) > 0xffff) return error('malformed PROXY header')
  const isAddress = family === '4' ? (text: string) => IPV4.test(text) : isIPv6
  if (!isAddress(source) || !isAddress(destination!)) return error(`PROXY header with an address that is not of TCP${family}`)
  const host = withoutMapping(source)
  return { ...header, peer: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` }
}

const isIPv6 = (text: string): boolean => URL.canParse(`http://[${text}]`)

/** The error in a header whose fixed part is incomplete. */
function incompleteV2(bytes: Uint8Array): ProxyError | undefined {
  const command = bytes[12]
  const family = bytes[13]
  if (command !== undefined && command !== 0x20 && command !== 0x21) return error('PROXY header of an unknown version or command')
  // LOCAL is the proxy's own connection, as for a health check: its address does not matter.
  if (command !== 0x21 || family === undefined || family === 0) return undefined
  return family >> 4 < ADDRESS_BYTES.length && family >> 4 > 0 && (family & 0x0f) === STREAM
    ? undefined
    : error('PROXY header of an unknown family, or not of a stream')
}

function readV2(bytes: Uint8Array): ProxyHeader | ProxyError | undefined {
  const wrong = incompleteV2(bytes)
  if (wrong !== undefined) return wrong
  const length = (bytes[14]! << 8) | bytes[15]!
  if (length > V2_BLOCK_MAX) return error(`PROXY header of more than ${V2_BLOCK_MAX} bytes`)
  const size = V2_FIXED + length
  const family = bytes[12] === 0x20 ? 0 : bytes[13]! >> 4
  if (length < ADDRESS_BYTES[family]!) return error('PROXY header that is too short for its addresses')
  if (bytes.length < size) return undefined
  const header = { kind: 'header', size } as const
  if (family === 0) return { ...header, peer: undefined, commonName: undefined }
  const block = bytes.subarray(V2_FIXED, size)
  const tlvs = readTlvs(block.subarray(ADDRESS_BYTES[family]))
  const ssl = tlvs?.get(TLV_SSL)
  if (tlvs === undefined || (ssl !== undefined && ssl.length < SSL_FIXED)) return error('PROXY header with a malformed TLV')
  const commonName = ssl === undefined ? undefined : verifiedName(ssl)
  return commonName === null ? error('PROXY header with a malformed TLV') : { ...header, peer: peerOf(family, block), commonName }
}

function peerOf(family: number, block: Uint8Array): string | undefined {
  const at = (offset: number): number => (block[offset]! << 8) | block[offset + 1]!
  if (family === 1) return `${block.subarray(0, 4).join('.')}:${at(8)}`
  if (family === 2 && IPV4_MAPPED.every((byte, i) => block[i] === byte)) return `${block.subarray(12, 16).join('.')}:${at(32)}`
  if (family === 2) {
    const groups = Array.from({ length: 8 }, (_, i) => at(2 * i).toString(16))
    // In its short form: `[2001:db8::1]`.
    return `${new URL(`http://[${groups.join(':')}]`).hostname}:${at(32)}`
  }
  const nul = block.subarray(0, 108).indexOf(0)
  const end = nul < 0 ? 108 : nul
  return end === 0 || utf8Error(block, 0, end) !== '' ? undefined : `unix:${decodeUtf8(block, 0, end)}`
}

/** The first of each type; undefined if one reaches beyond the end. */
function readTlvs(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const found = new Map<number, Uint8Array>()
  let at = 0
  while (at < bytes.length) {
    const start = at + 3
    const end = start + ((bytes[at + 1]! << 8) | bytes[at + 2]!)
    if (start > bytes.length || end > bytes.length) return undefined
    if (!found.has(bytes[at]!)) found.set(bytes[at]!, bytes.subarray(start, end))
    at = end
  }
  return found
}

/** undefined: there is no verified certificate, or it has no name; null: malformed. */
function verifiedName(ssl: Uint8Array): string | undefined | null {
  const tlvs = readTlvs(ssl.subarray(SSL_FIXED))
  if (tlvs === undefined) return null
  const isVerified = (ssl[0]! & SSL_CERTIFICATE) !== 0 && ssl.subarray(1, SSL_FIXED).every((byte) => byte === 0)
  const name = tlvs.get(TLV_SSL_CN)
  if (!isVerified || name === undefined || name.length === 0) return undefined
  return utf8Error(name, 0, name.length) === '' ? decodeUtf8(name, 0, name.length) : null
}
