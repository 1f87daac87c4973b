import { isIPv6 } from 'node:net'
import { hostname } from 'node:os'
import type { NoticeSink } from '../base/notice.ts'
import { StartError } from '../base/start-error.ts'
import { type Config, certificateRole, type ListenerConfig } from '../config/config.ts'
import { FIXED } from '../config/fixed.ts'
import { type Listener, type ListenOptions, listen } from '../mqtt/io/listen.ts'
import type { TlsOptions } from '../mqtt/io/tls.ts'
import type { Loop } from './loop.ts'
import { openFilesLimit } from './open-files.ts'

/** An open listener for MQTT clients. */
export interface OpenListener {
  readonly config: ListenerConfig
  readonly listener: Listener
  /** `tls://192.0.2.1:8883`, `ws://127.0.0.1:8080/mqtt`, `unix:/run/roost.sock`. */
  readonly url: string
}

/** Opens all listeners, or none. @throws StartError that names the option, or the place in the file */
export async function openListeners(config: Config, loop: Loop, notice: NoticeSink): Promise<readonly OpenListener[]> {
  const open: OpenListener[] = []
  try {
    for (const one of config.listeners) {
      const listener = await listen(listenOptions(config, one), loop, notice)
      open.push({ config: one, listener, url: urlOf(one, listener) })
    }
    return open
  } catch (error) {
    await Promise.all(open.map(({ listener }) => listener.close()))
    const failed = config.listeners[open.length]!
    throw error instanceof StartError
      ? new StartError(`${failed.origin}: ${error.message}`)
      : cannotListen(error, failed.host, failed.port, failed.origin)
  }
}

function listenOptions(config: Config, listener: ListenerConfig): ListenOptions {
  const openFiles = openFilesLimit()
  const { socketPath, websocketsPath } = listener
  const tls = tlsOptions(listener)
  return {
    name: listener.name,
    protocol: listener.protocol,
    host: listener.host,
    port: listener.port,
    ...(socketPath !== undefined && { socketPath, socketMode: listener.socketMode }),
    ...(tls !== undefined && { tls }),
    proxyProtocol: listener.proxyProtocol,
    useProxyIdentityAsUsername: listener.useIdentityAsUsername,
    ...(websocketsPath !== undefined && { path: websocketsPath }),
    origins: { allowed: listener.websocketsOrigin, anonymous: listener.allowAnonymous, ownNames: ownNames(listener) },
    trustedProxies: listener.websocketsTrustedProxies,
    maxConnections: listener.maxConnections,
    maxDescriptor: openFiles === undefined ? undefined : descriptorsForConnections(openFiles),
    socketBufferBytes: FIXED.socket_buffer_bytes.value,
    writeTimeoutMs: FIXED.write_timeout_seconds.value * 1000,
    noDelay: listener.setTcpNodelay,
    maxPacketSize: config.maxPacketSize,
    connectTimeoutMs: config.connectTimeoutSeconds * 1000,
  }
}

/** Returns names by which pages from this machine may address the listener; those of loopback are always accepted. */
export function ownNames({ host }: Pick<ListenerConfig, 'host'>): readonly string[] {
  const own = hostname().toLowerCase()
  return [host.toLowerCase(), own, `${own.replace(/\..*/, '')}.local`].filter((name) => name !== '' && name !== '.local')
}

/** Returns the TLS settings of a listener; undefined if it does not use TLS. */
export function tlsOptions(listener: ListenerConfig): TlsOptions | undefined {
  const { certfile, keyfile, cafile, capath, crlfile, ciphers } = listener
  const { useIdentityAsUsername, useSubjectAsUsername, tlsVersion } = listener
  if (certfile === undefined || keyfile === undefined) return undefined
  // A client without the certificate it needs is refused by CONNACK, unless the handshake itself requires a
  // certificate.
  const isNamed = certificateRole(listener) !== 'none'
  const requireCertificate = isNamed && listener.requireCertificate === 'no' ? 'optional' : listener.requireCertificate
  return {
    certfile,
    keyfile,
    ...(cafile !== undefined && { cafile }),
    ...(capath !== undefined && { capath }),
    ...(crlfile !== undefined && { crlfile }),
    ...(ciphers !== undefined && { ciphers }),
    requireCertificate,
    useIdentityAsUsername,
    useSubjectAsUsername,
    tlsVersion,
  }
}

function urlOf({ protocol, certfile, host, websocketsPath }: ListenerConfig, { address }: Listener): string {
  if (address.path !== undefined) return `unix:${address.path}`
  const scheme = protocol === 'websockets' ? (certfile ? 'wss' : 'ws') : certfile ? 'tls' : 'tcp'
  return `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${address.port}${websocketsPath ?? ''}`
}

/** Returns the error for an address that cannot be opened. `where` names the flags or the place in the file. */
export function cannotListen(error: unknown, host: string, port: number, where: string): StartError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return new StartError(`port ${port} on ${host} is already in use (${where})`)
  if (code === 'EACCES') return new StartError(`port ${port} on ${host} needs more rights than this user has (${where})`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return new StartError(`${host} is no address of this machine (${where})`)
  return new StartError(`cannot listen on ${host}:${port}: ${message} (${where})`)
}

/**
 * Number of descriptors that connections leave free, one of which is needed to refuse the next connection: for files
 * that are reloaded, the HTTP service, and the store. If the process may have few descriptors, a quarter of them.
 */
const SPARE_DESCRIPTORS = 32

/**
 * Returns the highest descriptor up to which connections are accepted. The system assigns the lowest free descriptor,
 * so all those below it are in use.
 */
const descriptorsForConnections = (limit: number): number => limit - Math.min(SPARE_DESCRIPTORS, Math.floor(limit / 4))

/** Returns a warning if the system does not allow `max_connections`; otherwise undefined. */
export function openFilesWarning(
  { maxConnections }: Pick<Config, 'maxConnections'>,
  limit: number | undefined,
): string | undefined {
  if (limit === undefined || maxConnections <= descriptorsForConnections(limit)) return undefined
  return `max_connections is ${maxConnections}, but this process may open only ${limit} files and sockets: raise that (ulimit -n, or LimitNOFILE= of systemd) or lower max_connections`
}
