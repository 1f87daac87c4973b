import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import type { ConnectionId, StreamInfo } from '../../mqtt/connection.ts'
import { openSocketStream, type StreamOptions } from '../../mqtt/io/socket-stream.ts'
import type { Stream, StreamEvent, StreamHost } from '../../mqtt/io/stream-host.ts'
import { readAuthorities, readCertificate } from '../../mqtt/io/tls.ts'
import { openWebSocketStream } from '../../mqtt/io/websocket.ts'
import type { Target, TlsClientOptions } from '../target.ts'

/** Bytes queued in one socket above which its link writes no messages. */
const SOCKET_BUFFER_BYTES = 256 * 1024
/** Milliseconds for which a socket may accept nothing of what is queued. */
const WRITE_TIMEOUT_MS = 60_000
/** Bytes of a WebSocket message: the largest packet of MQTT, because the framer has the limit of the link. */
const WEBSOCKET_MESSAGE_MAX = 256 * 1024 * 1024

/** What dialling needs of the event loop. */
export interface DialHost extends Pick<StreamHost, 'outputs' | 'wasPaused' | 'closed'> {
  handle(event: StreamEvent): void
  /** The stream that was asked for under this id is open. */
  dialled(connection: ConnectionId, stream: Stream): void
}

/** TLS sessions by target and options, so that a stream that was lost costs no full handshake. */
const sessions = new Map<string, Buffer>()
const SESSIONS_MAX = 1000

/** Empty, and shared by all outgoing connections: the host finds peer and listener by the connection id. */
const DIALLED: StreamInfo = { peer: '', listener: '' }

/** Opens streams to targets. What they share is here: options, a host and a peer for each of 10,000 were 300 bytes for each. */
export class Dialler {
  readonly host: DialHost
  readonly #streams: DialledStreams
  readonly #options: StreamOptions

  constructor(host: DialHost) {
    this.host = host
    this.#streams = new DialledStreams(host)
    this.#options = {
      host: this.#streams,
      socketBufferBytes: SOCKET_BUFFER_BYTES,
      writeTimeoutMs: WRITE_TIMEOUT_MS,
      closedReason: 'closed by the far side',
    }
  }

  /** Opens one. The host hears `dialled`, or `closed` with the reason; until then the result ends the attempt. */
  dial(target: Target, connection: ConnectionId): Stream {
    return new Attempt(target, connection, this)
  }

  /** The attempt with this id has its socket: returns the options of the stream that is opened next. */
  opening(connection: ConnectionId): StreamOptions {
    this.#streams.opening = connection
    return this.#options
  }
}

/** A stream that is not open yet: TCP, TLS and WebSocket handshake. */
class Attempt implements Stream {
  readonly #target: Target
  readonly #connection: ConnectionId
  readonly #dialler: Dialler
  /** What has to be ended if the attempt is. */
  #end: () => void = () => {}
  #isOver = false

  constructor(target: Target, connection: ConnectionId, dialler: Dialler) {
    this.#target = target
    this.#connection = connection
    this.#dialler = dialler
    void this.#dial()
  }

  write(): boolean {
    return true
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#isOver = true
    this.#end()
  }

  async #dial(): Promise<void> {
    const { tls } = this.#target
    try {
      const options = tls === undefined ? {} : await tlsOptions(tls, this.#target)
      // Ended meanwhile.
      if (this.#isOver) return
      if (this.#target.path === '') this.#speak(this.#connect(options))
      else this.#upgrade(options)
    } catch (error) {
      this.#failed(error as Error)
    }
  }

  #connect(options: ConnectionOptions): Socket {
    const { host, port, tls, localAddress } = this.#target
    const to = { host, port, noDelay: true, ...(localAddress !== undefined && { localAddress }) }
    if (tls === undefined) return connect(to)
    const socket = connectTls({ ...to, ...options })
    socket.on('session', (session) => keepSession(this.#target, session))
    return socket
  }

  #speak(socket: Socket): void {
    const failed = (error: Error): void => this.#failed(error)
    const closed = (): void => this.#closed()
    this.#end = () => socket.destroy()
    socket.once('error', failed)
    socket.once('close', closed)
    socket.once(this.#target.tls === undefined ? 'connect' : 'secureConnect', () => {
      if (this.#isOver) return
      this.#isOver = true
      // A listener that stays would keep the attempt, 500 bytes.
      socket.off('error', failed)
      socket.off('close', closed)
      openSocketStream(socket, DIALLED, this.#dialler.opening(this.#connection))
    })
  }

  #upgrade(options: ConnectionOptions): void {
    const { transport, host, port, path } = this.#target
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
    const webSocket = new WebSocket(`${transport}://${authority}${path}`, ['mqtt'], {
      ...options,
      perMessageDeflate: false,
      maxPayload: WEBSOCKET_MESSAGE_MAX,
      // The types do not know that it may be given.
      createConnection: () => this.#connect(options),
    })
    let socket: Socket | undefined
    const failed = (error: Error): void => this.#failed(error)
    this.#end = () => webSocket.terminate()
    webSocket.once('upgrade', (response) => {
      socket = response.socket
    })
    webSocket.on('error', failed)
    const closed = (): void => this.#closed()
    webSocket.once('close', closed)
    webSocket.once('open', () => {
      if (this.#isOver) return
      this.#isOver = true
      webSocket.off('error', failed)
      webSocket.off('close', closed)
      // What the far side does wrong is the reason for which the stream ends.
      openWebSocketStream(socket!, webSocket, DIALLED, () => {}, this.#dialler.opening(this.#connection))
    })
  }

  #closed(): void {
    this.#failed(new Error('closed during the handshake'))
  }

  #failed(error: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end()
    const isHandshake = this.#target.tls !== undefined && error.message === 'read ECONNRESET'
    this.#dialler.host.closed(this.#connection, isHandshake ? `${error.message} (is this a port for TLS?)` : inWords(error))
  }
}

/** Node gives one error with several inside if a name has several addresses, and lines for OpenSSL. */
function inWords(error: Error): string {
  if (error instanceof AggregateError) return [...new Set(error.errors.map((each) => (each as Error).message))].join(', ')
  return error.message.split('\n')[0]!
}

/** @throws StartError that names the option and file */
async function tlsOptions(tls: TlsClientOptions, target: Target): Promise<ConnectionOptions> {
  const { cafile, capath, certfile, keyfile, serverName, alpn, insecure = false, tlsVersion, ciphers } = tls
  const ca = await readAuthorities(cafile, capath)
  const session = sessions.get(sessionKey(target))
  const { host } = target
  return {
    // An address is no name for SNI.
    servername: serverName ?? (/^[\d.]+$|:/.test(host) ? '' : host),
    minVersion: tlsVersion === 'tlsv1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ...(ca.length > 0 && { ca }),
    ...(certfile !== undefined && readCertificate(certfile, keyfile ?? certfile)),
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    ...(ciphers !== undefined && { ciphers }),
    ...(session !== undefined && { session }),
    ...(insecure && { checkServerIdentity: () => undefined }),
  }
}

/** A session stands for what was verified when it began. */
const sessionKey = ({ url, tls }: Target): string => JSON.stringify([url, tls])

function keepSession(target: Target, session: Buffer): void {
  const key = sessionKey(target)
  if (sessions.size === SESSIONS_MAX && !sessions.has(key)) sessions.clear()
  sessions.set(key, session)
}

/** The event loop, for streams whose ids are known already, and which no listener counts. */
class DialledStreams implements StreamHost {
  readonly #host: DialHost
  /** The id of the stream that is opened next. */
  opening: ConnectionId = 0

  constructor(host: DialHost) {
    this.#host = host
  }

  get outputs(): StreamHost['outputs'] {
    return this.#host.outputs
  }

  get wasPaused(): boolean {
    return this.#host.wasPaused
  }

  arriving(): undefined {}

  arrived(): void {}

  lingering(): void {}

  opened(stream: Stream): ConnectionId {
    const { opening } = this
    this.#host.dialled(opening, stream)
    return opening
  }

  handle(event: StreamEvent): void {
    this.#host.handle(event)
  }

  closed(connection: ConnectionId, reason: string): void {
    this.#host.closed(connection, reason)
  }
}
