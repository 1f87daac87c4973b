/** How the stream to a far side is set up. */
export type Transport = 'mqtt' | 'mqtts' | 'ws' | 'wss'

/** TLS towards a far side; files are PEM, and read at each dial, so that renewed ones need no restart. */
export interface TlsClientOptions {
  /** The CAs that the far side's certificate is verified with; those of the system if neither is there. */
  readonly cafile?: string
  readonly capath?: string
  /** Our certificate, then those between it and its CA. */
  readonly certfile?: string
  readonly keyfile?: string
  /** The name that the certificate must have, and that is sent as SNI; by default the host of the address. */
  readonly serverName?: string
  /** Application protocol to negotiate: AWS IoT Core wants `x-amzn-mqtt-ca` or `mqtt` on port 443. */
  readonly alpn?: string
  /** The certificate may be for another name (Mosquitto's `bridge_insecure`). It is verified all the same. */
  readonly insecure?: boolean
  /** Minimum version. */
  readonly tlsVersion?: 'tlsv1.2' | 'tlsv1.3'
  readonly ciphers?: string
}

/** One address of a far side. The core only passes it on. */
export interface Target {
  /** `mqtts://broker.example:8883`: for people, without credentials. */
  readonly url: string
  readonly transport: Transport
  readonly host: string
  readonly port: number
  /** Of WebSocket; '' otherwise. */
  readonly path: string
  readonly tls: TlsClientOptions | undefined
  /** Local address to connect from; the system's choice if absent. */
  readonly localAddress?: string
}

const PORTS: Readonly<Record<Transport, number>> = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 }
const SCHEMES: Readonly<Record<string, Transport>> = {
  mqtt: 'mqtt',
  tcp: 'mqtt',
  mqtts: 'mqtts',
  ssl: 'mqtts',
  tls: 'mqtts',
  ws: 'ws',
  wss: 'wss',
}

const URL_FORM = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(.*)$/i
const HOST_FORM = /^(\[[0-9a-f:.%a-z]+\]|[^:[\]@\s]+)(?::(\d{1,5}))?$/i

/**
 * Reads `mqtt://host:1883`, `mqtts://`, `ws://host/path` or `wss://`; the port may be left out. Returns what is wrong as a text that
 * follows the name of an option. `tls` applies to `mqtts` and `wss`.
 */
export function parseTarget(text: string, tls: TlsClientOptions = {}): Target | string {
  const [, scheme = '', authority = '', path = '', rest = ''] = URL_FORM.exec(text) ?? []
  // The text is not repeated: it would put the password into the log.
  if (authority.includes('@')) return 'credentials do not belong in a URL, which ends up in logs: use username and password_file'
  const transport = Object.hasOwn(SCHEMES, scheme.toLowerCase()) ? SCHEMES[scheme.toLowerCase()] : undefined
  if (transport === undefined) return `'${text}' is no address: expected mqtt://HOST:PORT, mqtts://, ws://HOST/PATH or wss://`
  const [, bracketed, port] = HOST_FORM.exec(authority) ?? []
  if (bracketed === undefined) return `'${text}' has no valid host and port`
  const number = port === undefined ? PORTS[transport] : Number(port)
  if (number < 1 || number > 65_535) return `'${text}': the port must be between 1 and 65535`
  const isWebSocket = transport === 'ws' || transport === 'wss'
  if (!isWebSocket && path !== '' && path !== '/') return `'${text}': only ws:// and wss:// have a path`
  if (rest.includes('#') || (rest !== '' && !isWebSocket)) return `'${text}': '${rest}' has no meaning here`
  const isSecure = transport === 'mqtts' || transport === 'wss'
  const wsPath = isWebSocket ? `${path === '' ? '/' : path}${rest}` : ''
  return {
    url: `${transport}://${bracketed}:${number}${wsPath === '/' ? '' : wsPath}`,
    transport,
    host: bracketed.startsWith('[') ? bracketed.slice(1, -1) : bracketed,
    port: number,
    path: wsPath,
    tls: isSecure ? tls : undefined,
  }
}
