import { X509Certificate } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createSecureContext, createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls'
import { readRegularFile } from '../../base/io/regular-file.ts'
import { StartError } from '../../base/start-error.ts'
import { RevocationLists } from './revocation.ts'

export interface TlsOptions {
  /** PEM: the server's certificate, then those between it and its CA. */
  readonly certfile: string
  readonly keyfile: string
  /** PEM: the CAs that client certificates are verified with. */
  readonly cafile?: string
  /** The same, as a directory of files named by `openssl rehash`. */
  readonly capath?: string
  /** PEM: revocation lists, with one of each CA that issues client certificates; clients of other CAs are refused. */
  readonly crlfile?: string
  /**
   * Whether clients need a certificate. 'optional': clients without one are accepted too; one that does not verify ends the
   * connection as with 'required'. 'no': none is requested.
   */
  readonly requireCertificate: 'no' | 'optional' | 'required'
  /** The common name of a verified client certificate becomes `LinkInfo.identity`. */
  readonly useIdentityAsUsername: boolean
  /**
   * The whole subject becomes `LinkInfo.identity`, in the form of RFC 2253: `CN=sensor 1,O=Example`. Overrides
   * useIdentityAsUsername.
   */
  readonly useSubjectAsUsername: boolean
  /** Minimum TLS version. */
  readonly tlsVersion: 'tlsv1.2' | 'tlsv1.3'
  /** Cipher list for TLS 1.2 and 1.3; Node's default if absent. */
  readonly ciphers?: string
}

/** Results for a socket passed to `TlsTerminator.accept`. */
export interface TlsEvents {
  /** The handshake is complete; `identity` is taken from a verified certificate, by the options. */
  secured(raw: Socket, secure: TLSSocket, identity: string | undefined): void
  /** The socket is closing. `silent`: the peer closed without sending anything, as port scanners and health checks do. */
  failed(raw: Socket, reason: string, silent: boolean): void
}

/** TLS server on accepted sockets. */
export class TlsTerminator {
  readonly #options: TlsOptions
  readonly #server: Server
  #revoked: RevocationLists | undefined

  private constructor(options: TlsOptions, { context, revoked }: TlsFiles, events: TlsEvents) {
    this.#options = options
    this.#revoked = revoked
    const { requireCertificate } = options
    this.#server = createServer({
      ...context,
      requestCert: requireCertificate !== 'no',
      rejectUnauthorized: requireCertificate === 'required',
    })
    this.#server.on('secureConnection', (socket) => {
      const { authorizationError } = socket
      if (requireCertificate === 'optional' && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
        events.failed(rawOf(socket), inWords(authorizationError), false)
        socket.destroy()
        return
      }
      const revocation = this.#revocationOf(socket)
      if (revocation !== undefined) {
        events.failed(rawOf(socket), inWords(revocation), false)
        socket.destroy()
      } else events.secured(rawOf(socket), socket, identityOf(socket, options))
    })
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const { authorizationError } = socket
      if (authorizationError) events.failed(rawOf(socket), inWords(authorizationError), false)
      else events.failed(rawOf(socket), error.message.replaceAll('\n', ' ').trim(), error.code === 'ECONNRESET')
      socket.destroy()
    })
  }

  /** @throws StartError that names option and file */
  static async create(options: TlsOptions, events: TlsEvents): Promise<TlsTerminator> {
    return new TlsTerminator(options, await readTlsContext(options), events)
  }

  /** The socket may hold bytes that were read and put back; they are the start of the handshake. */
  accept(raw: Socket): void {
    this.#server.emit('connection', raw)
  }

  /**
   * Reads all files again; the returned function applies them to new connections. @throws StartError that names option and file
   */
  async prepareReload(): Promise<() => void> {
    const { context, revoked } = await readTlsContext(this.#options)
    return () => {
      this.#server.setSecureContext(context)
      this.#revoked = revoked
    }
  }

  #revocationOf(socket: TLSSocket): string | undefined {
    const certificate = this.#revoked === undefined ? undefined : socket.getPeerX509Certificate()
    return certificate === undefined ? undefined : this.#revoked?.check(certificate, Date.now())
  }
}

/** Only this property of Node tells which socket TLS runs over; no public one works for two peers with one address. */
const rawOf = (socket: TLSSocket): Socket => (socket as TLSSocket & { readonly _parent: Socket })._parent

/** Node's code for a certificate that does not verify; for one that is missing OpenSSL has none. */
const inWords = (authorizationError: unknown): string => {
  const code = String(authorizationError)
  return code === 'UNSPECIFIED' ? 'no client certificate' : `client certificate: ${code}`
}

function identityOf(socket: TLSSocket, { useIdentityAsUsername, useSubjectAsUsername }: TlsOptions): string | undefined {
  if (!socket.authorized || !(useIdentityAsUsername || useSubjectAsUsername)) return undefined
  const name = useSubjectAsUsername ? subjectOf(socket) : commonNameOf(socket)
  // A NUL would truncate the name for code in C, and is not allowed in MQTT strings.
  return name === undefined || name === '' || name.includes('\0') ? undefined : name
}

/** The first one, where a subject has several. */
function commonNameOf(socket: TLSSocket): string | undefined {
  const name: unknown = socket.getPeerCertificate().subject?.CN
  const first: unknown = Array.isArray(name) ? name[0] : name
  return typeof first === 'string' ? first : undefined
}

/** Node gives a line for each part, in the order of the certificate and already escaped; RFC 2253 starts with the last one. */
const subjectOf = (socket: TLSSocket): string | undefined =>
  socket.getPeerX509Certificate()?.subject?.split('\n').reverse().join(',')

export interface TlsFiles {
  readonly context: SecureContextOptions
  /** Checked after the handshake, not by OpenSSL: see `RevocationLists`. */
  readonly revoked: RevocationLists | undefined
}

/**
 * Reads what the options name, and tries each part by itself. @throws StartError that names the option and the one file that is
 * wrong
 */
export async function readTlsContext(options: TlsOptions): Promise<TlsFiles> {
  const { certfile, keyfile, cafile, capath, crlfile, ciphers, requireCertificate, tlsVersion } = options
  if (requireCertificate !== 'no' && cafile === undefined && capath === undefined) {
    // Without this, Node would trust all public CAs of the web.
    throw new StartError('require_certificate needs cafile or capath: the CAs that client certificates are verified with')
  }
  const { cert, key } = readCertificate(certfile, keyfile)
  const ca = await readAuthorities(cafile, capath)
  const crl = crlfile === undefined ? [] : blocksIn(readPem('crlfile', crlfile), 'X509 CRL')
  if (crlfile !== undefined && crl.length === 0) throw new StartError(`crlfile ${crlfile}: holds no PEM revocation list`)
  if (crlfile !== undefined) attempt(`crlfile ${crlfile}`, { crl })
  if (ciphers !== undefined) attempt(`ciphers ${ciphers}`, { ciphers })
  const context: SecureContextOptions = {
    cert,
    key,
    minVersion: tlsVersion === 'tlsv1.3' ? 'TLSv1.3' : 'TLSv1.2',
    honorCipherOrder: true,
    ...(ca.length > 0 && { ca }),
    ...(ciphers !== undefined && { ciphers }),
  }
  return { context, revoked: crlfile === undefined ? undefined : revocationLists(crl, ca, crlfile) }
}

/** @throws StartError that names the option and the one file that is wrong */
export function readCertificate(certfile: string, keyfile: string): { readonly cert: string; readonly key: string } {
  const cert = readPem('certfile', certfile)
  const key = readPem('keyfile', keyfile)
  attempt(`certfile ${certfile}`, { cert })
  attempt(`keyfile ${keyfile}`, { key })
  attempt(`keyfile ${keyfile}: does not match certfile ${certfile}`, { cert, key })
  return { cert, key }
}

/** The CAs of a file and of a directory. @throws StartError that names the option and the one file that is wrong */
export async function readAuthorities(cafile: string | undefined, capath: string | undefined): Promise<string[]> {
  return [
    ...(cafile === undefined ? [] : certificatesIn(readPem('cafile', cafile), `cafile ${cafile}`)),
    ...(capath === undefined ? [] : await readHashedDirectory(capath)),
  ]
}

function revocationLists(crl: readonly string[], ca: readonly string[], path: string): RevocationLists {
  const ders = crl.map((pem) => Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ''), 'base64'))
  try {
    return new RevocationLists(
      ders,
      ca.map((pem) => new X509Certificate(pem)),
    )
  } catch (error) {
    throw new StartError(`crlfile ${path}: ${(error as Error).message}`)
  }
}

function attempt(what: string, context: SecureContextOptions): void {
  try {
    createSecureContext(context)
  } catch (error) {
    throw new StartError(`${what}: ${(error as Error).message.split('\n')[0]}`)
  }
}

function readPem(option: string, path: string): string {
  try {
    return readRegularFile(path).toString()
  } catch (error) {
    throw new StartError(`${option} ${path}: ${reasonOf(error)}`)
  }
}

const reasonOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES') return 'this user may not read it'
  return code ?? message
}

/** OpenSSL ignores everything around the blocks, and takes a file without any for an empty list. */
const blocksIn = (pem: string, label: string): string[] =>
  pem.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, 'g')) ?? []

function certificatesIn(pem: string, what: string): string[] {
  const blocks = blocksIn(pem, 'CERTIFICATE')
  if (blocks.length === 0) throw new StartError(`${what}: holds no PEM certificate`)
  for (const block of blocks) {
    try {
      new X509Certificate(block)
    } catch (error) {
      throw new StartError(`${what}: ${(error as Error).message}`)
    }
  }
  return blocks
}

/** Names that `openssl rehash` gives: OpenSSL finds no other file of a capath either. */
const HASHED = /^[0-9a-f]{8}\.\d+$/

async function readHashedDirectory(path: string): Promise<string[]> {
  const names = await readdir(path).catch((error: unknown) => {
    throw new StartError(`capath ${path}: ${reasonOf(error)}`)
  })
  const hashed = names.filter((name) => HASHED.test(name))
  if (hashed.length === 0) throw new StartError(`capath ${path}: holds no certificate that is named as \`openssl rehash\` does`)
  const files = hashed.map((name) => readPem('capath', join(path, name)))
  return files.flatMap((pem, i) => certificatesIn(pem, `capath ${join(path, hashed[i]!)}`))
}
