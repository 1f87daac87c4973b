import type { RemoteInfo, Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import type { NoticeSink } from '../../base/notice.ts'
import type { Loop } from '../../io/loop.ts'
import type { RouteKey } from '../gateway.ts'

export interface UdpOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
}

/** A site that wakes at the same minute sends thousands of datagrams at once; the kernel may grant less (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

/** MQTT-SN over UDP. A route is the sender's address: `127.0.0.1:51234` or `[::1]:51234`. */
export class UdpPort {
  readonly #socket: SocketAsPromised
  readonly #raw: Socket

  private constructor(socket: SocketAsPromised) {
    this.#socket = socket
    this.#raw = socket.socket
  }

  static async bind(options: UdpOptions, loop: Loop, notice: NoticeSink): Promise<UdpPort> {
    // The message callback, and not `for await` or recv(): those listen anew for every datagram, and what arrives in between is lost.
    const socket = DgramAsPromised.createSocket(
      { type: isIPv6(options.host) ? 'udp6' : 'udp4' },
      (bytes: Buffer, from: RemoteInfo) => loop.handle({ kind: 'datagram', route: routeOf(from), bytes }),
    )
    await socket.bind({ address: options.host, port: options.port })
    const port = new UdpPort(socket)
    // Its own error listener keeps an error for the next unrelated call; errors of sends (ICMP unreachable) are told here.
    port.#raw.removeAllListeners('error')
    port.#raw.on('error', (error) => notice({ code: 'limit-reached', level: 'warn', reason: `UDP socket: ${error.message}` }))
    growReceiveBuffer(port.#raw)
    loop.sendDatagramsBy((route, datagram) => port.send(route, datagram))
    return port
  }

  get address(): { address: string; port: number } {
    return this.#raw.address()
  }

  /** Not awaited: a datagram that the network loses is retransmitted by the protocol, whatever the socket says of it. */
  send(route: RouteKey, bytes: Uint8Array): void {
    const colon = route.lastIndexOf(':')
    const host = route.startsWith('[') ? route.slice(1, colon - 1) : route.slice(0, colon)
    this.#raw.send(bytes, Number(route.slice(colon + 1)), host)
  }

  async close(): Promise<void> {
    await this.#socket.close()
  }
}

const routeOf = ({ address, port, family }: RemoteInfo): RouteKey =>
  family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`

function growReceiveBuffer(socket: Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
  } catch {
    // The kernel's default serves too; a refusal is no reason not to start.
  }
}
