import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { NoticeSink } from '../../base/notice.ts'

/** Connections at most: a few browsers, programs that scrape, and streams. */
export const CONNECTIONS_MAX = 64
/** Requests at most that a connection sends before the first of them is answered. Browsers send one. */
export const PIPELINED_MAX = 8
/** Bytes of answers that wait for their readers; above that, requests are refused. */
const OUTPUT_BYTES_MAX = 32 * 1024 * 1024

interface Connection {
  readonly socket: Socket
  readonly address: string
  /** Responses that have not left completely, in order. */
  readonly responses: Set<ServerResponse>
  /** Its last request comes from an authenticated caller. */
  isKnown: boolean
}

/**
 * The connections of the HTTP service. When all are in use, a new one replaces a connection that has no request of an authenticated
 * caller in progress. An attacker that holds connections open, idle, with half a request or in a TLS handshake, cannot lock out others.
 */
export class Connections {
  readonly #notice: NoticeSink
  /** By address and port, because the socket of a request is not the one of its connection if there is TLS. In order of use. */
  readonly #all = new Map<string, Connection>()

  constructor(notice: NoticeSink) {
    this.#notice = notice
  }

  get size(): number {
    return this.#all.size
  }

  /** Bytes of answers that wait for their readers. */
  get bytes(): number {
    let bytes = 0
    for (const { responses } of this.#all.values()) for (const response of responses) bytes += response.writableLength
    return bytes
  }

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#opened(socket))
    // Before the listeners that answer the request.
    server.prependListener('request', (request, response) => this.#began(request, response))
  }

  /** Why a request is not looked at; '' if it is. */
  refusal({ socket }: IncomingMessage): string {
    if (socket.destroyed) return 'the connection is closed'
    if ((this.#all.get(peerOf(socket))?.responses.size ?? 0) <= PIPELINED_MAX) return ''
    return `more than ${PIPELINED_MAX} requests on a connection before the first is answered`
  }

  /** Resolves when the responses before this one have left: no more answers are made than a connection can take. */
  async turn(response: ServerResponse): Promise<void> {
    const responses = [...(this.#all.get(peerOf(response.req.socket))?.responses ?? [])]
    const before = responses[responses.indexOf(response) - 1]
    if (before !== undefined && !before.closed) await once(before, 'close')
  }

  /** There is no room for more answers. */
  get isFull(): boolean {
    return this.bytes > OUTPUT_BYTES_MAX
  }

  /** The last request of this connection is that of a known caller. */
  isKnown({ socket }: IncomingMessage): void {
    const connection = this.#all.get(peerOf(socket))
    if (connection !== undefined) connection.isKnown = true
  }

  #opened(socket: Socket): void {
    const key = peerOf(socket)
    if (this.#all.size >= CONNECTIONS_MAX && !this.#makeRoom()) {
      this.#refused(key, `${CONNECTIONS_MAX} connections are in use`)
      socket.destroy()
      return
    }
    this.#all.set(key, { socket, address: socket.remoteAddress ?? '', responses: new Set(), isKnown: false })
    socket.once('close', () => {
      if (this.#all.get(key)?.socket === socket) this.#all.delete(key)
    })
  }

  #began({ socket }: IncomingMessage, response: ServerResponse): void {
    const key = peerOf(socket)
    const connection = this.#all.get(key)
    if (connection === undefined) return
    const { responses } = connection
    this.#all.delete(key)
    this.#all.set(key, connection)
    if (responses.size === 0) connection.isKnown = false
    responses.add(response)
    response.once('close', () => responses.delete(response))
  }

  /** Closes the longest unused connection of the address that has most of those that may be closed. */
  #makeRoom(): boolean {
    const counts = new Map<string, number>()
    const idle = [...this.#all].filter(([, { isKnown, responses }]) => !isKnown || responses.size === 0)
    for (const [, { address }] of idle) counts.set(address, (counts.get(address) ?? 0) + 1)
    const most = Math.max(...counts.values())
    const found = idle.find(([, { address }]) => counts.get(address) === most)
    if (found === undefined) return false
    const [key, { socket, isKnown }] = found
    // What keeps a connection for its next request opens another one.
    if (!isKnown) this.#refused(key, `of ${CONNECTIONS_MAX} connections it has done nothing for the longest time`)
    this.#all.delete(key)
    socket.destroy()
    return true
  }

  #refused(peer: string, reason: string): void {
    this.#notice({ code: 'http-refused', level: 'info', peer, reason })
  }
}

/** As notices name peers: `127.0.0.1:51234`, `[::1]:51234`. */
export const peerOf = ({ remoteAddress = '', remotePort = 0 }: Socket): string =>
  `${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`
