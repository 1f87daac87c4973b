import { constants, type KeyObject, verify, type X509Certificate } from 'node:crypto'
import { type DerValue, derAt, derHex, derTime, derWithin, Tag } from './der.ts'

/** Why a certificate is refused, in OpenSSL's words. */
export type RevocationError =
  | 'CERT_REVOKED'
  | 'UNABLE_TO_GET_CRL'
  | 'CRL_SIGNATURE_FAILURE'
  | 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'
  | 'CRL_HAS_EXPIRED'
  | 'CRL_NOT_YET_VALID'
  | 'UNREADABLE'

/** Algorithms of signatures, by their OBJECT IDENTIFIER in hex: the hash, where there is one apart. */
const ALGORITHMS: ReadonlyMap<string, string | undefined> = new Map([
  ['2a864886f70d010105', 'sha1'],
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d0401', 'sha1'],
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2b6570', undefined],
  ['2b6571', undefined],
])
const RSA_PSS = '2a864886f70d01010a'
const HASHES: ReadonlyMap<string, string> = new Map([
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
])

/** Maximum certificates of a chain that are checked. */
const CHAIN_MAX = 10

interface List {
  /** Name of the CA, its DER in hex. */
  readonly issuer: string
  readonly serials: ReadonlySet<string>
  readonly thisUpdate: number
  readonly nextUpdate: number
  isSignedBy(key: KeyObject): boolean
  /** Its signature was verified with the key of the issuer of an accepted certificate. */
  verified: boolean
}

/**
 * Certificate revocation lists [RFC 5280]. A client's certificate needs a list of its issuer, as with Mosquitto. OpenSSL as
 * configured by Node.js requires one of each CA in the chain instead, and refuses all clients of an intermediate CA whose root
 * has none. Here a CA in the chain is checked if there is a list of its issuer.
 */
export class RevocationLists {
  readonly #lists: readonly List[]
  readonly #cas: readonly X509Certificate[]

  /** @throws Error for a list that cannot be read, or whose meaning depends on an extension that is not known */
  constructor(ders: readonly Uint8Array[], cas: readonly X509Certificate[]) {
    this.#lists = ders.map(readList)
    this.#cas = cas
  }

  /** Why a certificate that OpenSSL has verified is refused after all; undefined if it is not. */
  check(leaf: X509Certificate, now: number): RevocationError | undefined {
    try {
      return this.#checkChain(leaf, now)
    } catch {
      // OpenSSL accepts encodings other than DER, and Node.js not every key.
      return 'UNREADABLE'
    }
  }

  #checkChain(leaf: X509Certificate, now: number): RevocationError | undefined {
    const sent: X509Certificate[] = []
    for (let next = leaf.issuerCertificate; next !== undefined && sent.length < CHAIN_MAX; next = next.issuerCertificate) {
      if (sent.some(({ fingerprint256 }) => fingerprint256 === next!.fingerprint256)) break
      sent.push(next)
    }
    const known = [...this.#cas, ...sent]
    let certificate: X509Certificate | undefined = leaf
    for (let depth = 0; certificate !== undefined && depth < CHAIN_MAX; depth++) {
      const one: X509Certificate = certificate
      const issuer = known.find((ca) => one.checkIssued(ca) && one.verify(ca.publicKey))
      const wrong = this.#checkOne(one, issuer, now)
      if (wrong !== undefined && (depth === 0 || wrong !== 'UNABLE_TO_GET_CRL')) return wrong
      certificate = issuer?.fingerprint256 === one.fingerprint256 ? undefined : issuer
    }
    return undefined
  }

  #checkOne(certificate: X509Certificate, issuer: X509Certificate | undefined, now: number): RevocationError | undefined {
    const { serial, issuer: name } = namesOf(certificate.raw)
    const lists = this.#lists.filter((list) => list.issuer === name)
    if (lists.length === 0) return 'UNABLE_TO_GET_CRL'
    for (const list of lists) list.verified ||= issuer !== undefined && list.isSignedBy(issuer.publicKey)
    const signed = lists.filter(({ verified }) => verified)
    // Node.js 24.21 and 26.8 do not report which CAs a client has sent: those have to be in `cafile` then.
    if (signed.length === 0) return issuer === undefined ? 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY' : 'CRL_SIGNATURE_FAILURE'
    if (signed.some(({ serials }) => serials.has(serial))) return 'CERT_REVOKED'
    const begun = signed.filter(({ thisUpdate }) => thisUpdate <= now)
    if (begun.length === 0) return 'CRL_NOT_YET_VALID'
    return begun.some(({ nextUpdate }) => now < nextUpdate) ? undefined : 'CRL_HAS_EXPIRED'
  }
}

function readList(der: Uint8Array): List {
  const [body, algorithm, signature] = derWithin(der, expected(derAt(der, 0, der.length), Tag.SEQUENCE))
  const bits = expected(signature, Tag.BIT_STRING)
  const fields = derWithin(der, expected(body, Tag.SEQUENCE))
  if (fields[0]?.tag === Tag.INTEGER) fields.shift()
  fields.shift()
  const issuer = expected(fields.shift(), Tag.SEQUENCE)
  const thisUpdate = derTime(der, present(fields.shift()))
  const isTime = fields[0]?.tag === Tag.UTC_TIME || fields[0]?.tag === Tag.GENERALIZED_TIME
  const nextUpdate = isTime ? derTime(der, fields.shift()!) : Number.POSITIVE_INFINITY
  const entries = fields[0]?.tag === Tag.SEQUENCE ? derWithin(der, fields.shift()!) : []
  if (fields[0]?.tag === Tag.CONTEXT_0) for (const extensions of derWithin(der, fields[0])) refuseCritical(der, extensions)
  const serials = entries.map((entry) => {
    const [serial, , extensions] = derWithin(der, entry)
    if (extensions !== undefined) refuseCritical(der, extensions)
    return derHex(der, expected(serial, Tag.INTEGER))
  })
  const signed = der.subarray(body!.at, body!.end)
  // The first octet says how many bits are unused.
  const value = der.subarray(bits.start + 1, bits.end)
  const check = verifierOf(der, expected(algorithm, Tag.SEQUENCE))
  return {
    issuer: derHex(der, issuer),
    serials: new Set(serials),
    thisUpdate,
    nextUpdate,
    isSignedBy: (key) => {
      try {
        return check(signed, key, value)
      } catch {
        return false
      }
    },
    verified: false,
  }
}

/** A delta list, or one that is for some certificates only, says so in a critical extension. */
function refuseCritical(der: Uint8Array, extensions: DerValue): void {
  for (const extension of derWithin(der, extensions)) {
    const [, critical] = derWithin(der, extension)
    if (critical?.tag === Tag.BOOLEAN && der[critical.start] !== 0)
      throw new Error('a list with a critical extension: only complete lists of one CA are supported')
  }
}

type Check = (signed: Uint8Array, key: KeyObject, signature: Uint8Array) => boolean

function verifierOf(der: Uint8Array, algorithm: DerValue): Check {
  const [id, parameters] = derWithin(der, algorithm)
  const name = derHex(der, expected(id, Tag.OBJECT_IDENTIFIER))
  if (ALGORITHMS.has(name)) return (signed, key, signature) => verify(ALGORITHMS.get(name), signed, key, signature)
  const hash = name === RSA_PSS && parameters !== undefined ? pssHash(der, parameters) : undefined
  if (hash === undefined) throw new Error('a list that is signed by an unknown algorithm')
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
  return (signed, key, signature) => verify(hash, signed, { key, ...pss }, signature)
}

function pssHash(der: Uint8Array, parameters: DerValue): string | undefined {
  const explicit = derWithin(der, parameters).find(({ tag }) => tag === Tag.CONTEXT_0)
  const [algorithm] = explicit === undefined ? [] : derWithin(der, explicit)
  const [id] = algorithm === undefined ? [] : derWithin(der, algorithm)
  return id === undefined ? undefined : HASHES.get(derHex(der, id))
}

/** Serial number and issuer of a certificate, as a list has them. */
function namesOf(der: Uint8Array): { serial: string; issuer: string } {
  const [body] = derWithin(der, derAt(der, 0, der.length))
  const fields = derWithin(der, present(body))
  if (fields[0]?.tag === Tag.CONTEXT_0) fields.shift()
  const [serial, , issuer] = fields
  return { serial: derHex(der, expected(serial, Tag.INTEGER)), issuer: derHex(der, expected(issuer, Tag.SEQUENCE)) }
}

function present(value: DerValue | undefined): DerValue {
  if (value === undefined) throw new Error('a list that lacks a field')
  return value
}

function expected(value: DerValue | undefined, tag: number): DerValue {
  if (present(value).tag !== tag) throw new Error('a list with a field of another type')
  return value!
}
