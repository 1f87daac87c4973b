import type { RemoteInfo, Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import type { NoticeSink } from '../../base/notice.ts'
import type { RouteKey } from '../ports/route.ts'
import { addressOf, routeAt } from '../ports/route.ts'
import type { DatagramPort, Receive } from './datagram-port.ts'
import { groupFor, isWildcard, type MulticastOptions } from './multicast.ts'

export interface UdpOptions {
  readonly name: string
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly multicast: MulticastOptions
}

/** A site that wakes at the same minute sends thousands of datagrams at once; the kernel may grant less (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
/** Octets of 65,535 that the headers of IPv4 and UDP leave, and that of UDP over IPv6. */
const MTU_V4 = 65_507
const MTU_V6 = 65_527

/** Octets of the largest datagram of a socket that is bound there; `::` also speaks IPv4. */
export const mtuAt = (host: string): number => (isIPv6(host) && !isWildcard(host) ? MTU_V6 : MTU_V4)

/** MQTT-SN over UDP. A sensor is its sender address: `127.0.0.1:51234` or `[::1]:51234`. */
export class UdpPort implements DatagramPort {
  readonly name: string
  readonly mtu: number
  readonly #options: UdpOptions
  readonly #receive: Receive
  readonly #notice: NoticeSink
  readonly #socket: SocketAsPromised
  /** Hears the group where the socket is bound to one address, and so hears nothing else. */
  #groupSocket: SocketAsPromised | undefined
  #group: { readonly address: string; readonly name: string } | undefined

  private constructor(options: UdpOptions, receive: Receive, notice: NoticeSink) {
    this.name = options.name
    this.#options = options
    this.#receive = receive
    this.#notice = notice
    this.#socket = this.#open(false)
    this.mtu = mtuAt(options.host)
  }

  /** @throws the system's error (`EADDRINUSE`, ...) for host and port, an Error that names the option for a group that is none. */
  static async bind(options: UdpOptions, receive: Receive, notice: NoticeSink): Promise<UdpPort> {
    const group = groupFor(options.host, options.multicast)
    const port = new UdpPort(options, receive, notice)
    await port.#socket.bind({ address: options.host, port: options.port })
    port.#prepare(port.#socket.socket)
    if (group !== undefined) await port.#join(group.group, group.via)
    return port
  }

  get port(): number {
    return this.#socket.socket.address().port
  }

  get #groupPort(): number {
    return this.#options.multicast.port || this.port
  }

  get url(): string {
    const { host } = this.#options
    return `udp://${isIPv6(host) ? `[${host}]` : host}:${this.port}`
  }

  get broadcasts(): string | undefined {
    return this.#group === undefined ? undefined : `in multicast group ${this.#group.name} port ${this.#groupPort}`
  }

  send(route: RouteKey, bytes: Uint8Array): void {
    const address = addressOf(route)
    if (address === '*') {
      if (this.#group !== undefined) this.#socket.socket.send(bytes, this.#groupPort, this.#group.address)
      return
    }
    const colon = address.lastIndexOf(':')
    const host = address.startsWith('[') ? address.slice(1, colon - 1) : address.slice(0, colon)
    this.#socket.socket.send(bytes, Number(address.slice(colon + 1)), host)
  }

  async close(): Promise<void> {
    await Promise.all([this.#socket.close(), this.#groupSocket?.close()])
  }

  #open(shared: boolean): SocketAsPromised {
    // The message callback, and not `for await` or recv(): those listen anew for every datagram, and what arrives in between is lost.
    return DgramAsPromised.createSocket(
      { type: isIPv6(this.#options.host) ? 'udp6' : 'udp4', reuseAddr: shared },
      (bytes: Buffer, from: RemoteInfo) => this.#receive(routeAt(addressText(from), this.name), bytes),
    )
  }

  #prepare(socket: Socket): void {
    // Its own error listener keeps an error for the next unrelated call; errors of sends (ICMP unreachable) are told here.
    socket.removeAllListeners('error')
    socket.on('error', (error) => this.#tell(error.message))
    try {
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    } catch {
      // The kernel's default serves too; a refusal is no reason not to start.
    }
  }

  /** A network without multicast is no reason not to start: sensors that know the address need none. */
  async #join(group: string, via: string | undefined): Promise<void> {
    const { host, multicast } = this.#options
    const main = this.#socket.socket
    const zone = via?.split('%')[1]
    // The same group of link-local scope is another one on each interface.
    const address = zone !== undefined && /^ff.[12]/i.test(group) ? `${group}%${zone}` : group
    let listening = main
    try {
      if (!isWildcard(host) || this.#groupPort !== this.port) {
        this.#groupSocket = this.#open(true)
        listening = this.#groupSocket.socket
        // Bound to the group, so that it hears nothing that is for somebody else.
        await this.#groupSocket.bind({ address, port: this.#groupPort })
        this.#prepare(listening)
      }
      listening.addMembership(group, via)
      if (via !== undefined) main.setMulticastInterface(via)
      main.setMulticastTTL(multicast.ttl)
      this.#group = { address, name: group }
    } catch (error) {
      this.#tell(`no multicast group ${group}: ${(error as Error).message} (multicast_group, multicast_interface)`)
      await this.#groupSocket?.close().catch(() => {})
      this.#groupSocket = undefined
    }
  }

  #tell(reason: string): void {
    this.#notice({ code: 'port-failed', level: 'warn', reason: `UDP port ${this.name}: ${reason}` })
  }
}

const addressText = ({ address, port, family }: RemoteInfo): string =>
  family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
