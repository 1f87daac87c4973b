import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import { withoutMapping } from '../../base/networks.ts'
import { type OriginPolicy, originRefusal } from '../../base/origins.ts'
import type { StreamInfo } from '../connection.ts'
import { FramePace } from './frame-pace.ts'
import { LINGER_MS, SocketStream, type StreamOptions } from './socket-stream.ts'

export interface WebSocketOptions {
  /** Only upgrades of this URL path, if given. */
  readonly path: string | undefined
  /** Bytes of the largest MQTT packet. */
  readonly maxPacketSize: number
  /** Origins that may connect; all by default. */
  readonly origins?: OriginPolicy | undefined
}

/** Results for a socket passed to `WebSocketUpgrade.accept`: it is upgraded once, or closes. */
export interface WebSocketEvents {
  /** `forwardedFor`: the header X-Forwarded-For. */
  upgraded(socket: Socket, webSocket: WebSocket, forwardedFor: string | undefined): void
  /** The socket is closing. */
  refused(socket: Socket, reason: string): void
}

/** Names of MQTT among the subprotocols: the standard's, and the one that clients of MQTT 3.1 offer. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'] as const

/** Bytes of the request line and the header fields of an upgrade. */
const HEADER_MAX = 8 * 1024

/** A message may hold many small packets, even where the largest one is very small. */
const PAYLOAD_MIN = 64 * 1024

/** ws keeps each fragment of a message as an object: a large message may not have fragments smaller than this on average. */
const FRAGMENT_BYTES = 16 * 1024
const FRAGMENTS_MIN = 256

/**
 * It also keeps each chunk of the network until a frame is whole, and takes them out of its list one by one, which for some ten thousands of them takes
 * seconds: a peer may send TLS records of one byte. What the Internet cuts into pieces is in larger ones on average.
 */
const CHUNK_BYTES_MIN = 1024
const CHUNKS_MIN = 4096

/** Buffered bytes are reported in steps of this size. */
const REPORT_BYTES = 16 * 1024
/** Bytes that ws keeps per network chunk in addition to its data. */
const CHUNK_BYTES = 128

/** One for all listeners, because there is one event loop. */
const PACE = new FramePace()

const UPGRADE_REQUIRED = 426
const BAD_REQUEST = 400
const FORBIDDEN = 403
const CLOSE_NORMAL = 1000
const CLOSE_UNSUPPORTED_DATA = 1003
const TEXT_FRAME = 'a text frame (MQTT-6.0.0-1)'

/**
 * Upgrades accepted sockets to MQTT over WebSocket [5.0 section 6]. Unless origins are configured, pages of any site may connect,
 * and have to authenticate like any client; nothing that a browser adds by itself, such as a cookie, counts.
 *
 * A message may contain any number of packets (MQTT-6.0.0-2), but no more bytes than the largest packet, or 64 KiB if that is
 * less: ws keeps it until it is complete.
 */
export class WebSocketUpgrade {
  readonly #http: Server
  readonly #webSockets: WebSocketServer

  constructor({ path, maxPacketSize, origins }: WebSocketOptions, events: WebSocketEvents) {
    // The types do not know closeTimeout and maxBufferedChunks yet.
    const options: ServerOptions & { closeTimeout: number; maxBufferedChunks: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: Math.max(maxPacketSize, PAYLOAD_MIN),
      maxFragments: Math.max(FRAGMENTS_MIN, Math.ceil(maxPacketSize / FRAGMENT_BYTES)),
      maxBufferedChunks: Math.max(CHUNKS_MIN, Math.ceil(maxPacketSize / CHUNK_BYTES_MIN)),
      closeTimeout: LINGER_MS,
      ...(path !== undefined && { path }),
      verifyClient: ({ req }: { req: IncomingMessage }, answer: (ok: boolean, code?: number, message?: string) => void) => {
        const { origin, host } = req.headers
        const localAddress = req.socket.localAddress && withoutMapping(req.socket.localAddress)
        const foreign = origins === undefined ? '' : originRefusal({ origin, host, localAddress }, origins)
        if (foreign !== '') {
          events.refused(req.socket, foreign)
          answer(false, FORBIDDEN, 'This page may not connect')
          return
        }
        // [MQTT-6.0.0-3]
        if (SUBPROTOCOLS.some((name) => offered(req).includes(name))) {
          answer(true)
          return
        }
        events.refused(req.socket, 'the subprotocol mqtt was not offered (MQTT-6.0.0-3)')
        answer(false, BAD_REQUEST, 'Offer the subprotocol mqtt')
      },
      // [MQTT-6.0.0-4]
      handleProtocols: (names) => SUBPROTOCOLS.find((name) => names.has(name)) ?? false,
    }
    this.#webSockets = new WebSocketServer(options)
    this.#http = createServer({ maxHeaderSize: HEADER_MAX }, (request, response) => {
      events.refused(request.socket, 'an HTTP request that is no upgrade to WebSocket')
      response.writeHead(UPGRADE_REQUIRED, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' })
      response.end('MQTT over WebSocket only\n')
    })
    this.#http.on('upgrade', (request, socket, head) => {
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        PACE.pace(request.socket, webSocket)
        events.upgraded(request.socket, webSocket, forwardedFor(request))
      })
    })
  }

  /** The socket may hold bytes that were read and put back; they are the start of the request. */
  accept(socket: Socket): void {
    this.#http.emit('connection', socket)
    socket.resume()
  }
}

/** Node joins the headers of one name by commas. */
const forwardedFor = ({ headers }: IncomingMessage): string | undefined => {
  const told = headers['x-forwarded-for']
  return Array.isArray(told) ? told.join() : told
}

const offered = ({ headers }: IncomingMessage): string[] =>
  headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []

/** MQTT in the binary messages of a WebSocket that runs on this socket. */
class WebSocketStream extends SocketStream {
  readonly #webSocket: WebSocket
  readonly #refused: (reason: string, limit?: string) => void
  #isEnding = false
  /** The bytes that ws keeps of an incomplete message. */
  #held = 0
  #reported = 0

  constructor(
    socket: Socket,
    webSocket: WebSocket,
    from: StreamInfo,
    refused: (reason: string, limit?: string) => void,
    options: StreamOptions,
  ) {
    super(socket, from, options)
    this.#webSocket = webSocket
    this.#refused = refused
  }

  override open(): this {
    super.open()
    this.socket.on('data', ({ length }: Buffer) => this.#buffered(length))
    // One Buffer per message, because binaryType is 'nodebuffer'.
    this.#webSocket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary))
    this.#webSocket.on('error', (error) => this.#failed(error))
    this.#webSocket.on('close', () => this.closed())
    return this
  }

  protected send(bytes: Uint8Array): void {
    this.#webSocket.send(bytes, { binary: true })
  }

  protected get isDirect(): boolean {
    return false
  }

  end(): void {
    this.#end(CLOSE_NORMAL)
  }

  pause(): void {
    if (!this.#isEnding) this.#webSocket.pause()
  }

  resume(): void {
    this.#webSocket.resume()
  }

  #end(code: number): void {
    if (!this.#isEnding) this.#linger()
    this.#isEnding = true
    // The answer to our close frame has to be read.
    this.#webSocket.resume()
    this.#webSocket.close(code)
  }

  /** A socket that has been ended counts as a connection of its peer until it is closed. */
  #linger(): void {
    const { socket, from, host } = this
    if (socket.closed) return
    host.lingering(from)
    socket.once('close', () => host.arrived(from))
  }

  #buffered(length: number): void {
    this.#held += length + CHUNK_BYTES
    if (this.#held < this.#reported + REPORT_BYTES || this.#isEnding) return
    this.#reported = this.#held
    this.host.handle({ kind: 'buffering', connection: this.connection, bytes: this.#held })
  }

  #received(bytes: Buffer, isBinary: boolean): void {
    this.#held = 0
    this.#reported = 0
    if (this.#isEnding) return
    // [MQTT-6.0.0-1]
    if (!isBinary) {
      this.#refused(TEXT_FRAME)
      this.#end(CLOSE_UNSUPPORTED_DATA)
      this.reason = TEXT_FRAME
      this.closed()
      return
    }
    // An empty one is allowed, and has no effect.
    if (bytes.length > 0) this.chunk(bytes)
  }

  #failed(error: Error): void {
    if ((error as NodeJS.ErrnoException).code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
      this.#refused('a WebSocket message is above the largest packet (MQTT-3.2.2-15)', 'max_packet_size')
    }
    this.reason = `connection failed: ${error.message}`
  }
}

/** Starts an MQTT stream over a WebSocket. `refused` receives the reason if the client violates the protocol. */
export function openWebSocketStream(
  socket: Socket,
  webSocket: WebSocket,
  from: StreamInfo,
  refused: (reason: string, limit?: string) => void,
  options: StreamOptions,
): SocketStream {
  return new WebSocketStream(socket, webSocket, from, refused, options).open()
}
