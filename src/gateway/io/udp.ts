import type { RemoteInfo, Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised'
import type { NoticeSink } from '../../base/notice.ts'
import type { RouteKey } from '../ports/route.ts'
import { broadcastRoute } from '../ports/route.ts'
import type { DatagramPort, Receive } from './datagram-port.ts'
import { groupFor, isWildcard, type MulticastOptions } from './multicast.ts'
import { UdpPeers } from './udp-peers.ts'

export interface UdpOptions {
  readonly name: string
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  readonly multicast: MulticastOptions
}

/**
 * A site whose clients wake in the same minute sends thousands of datagrams in a burst. The kernel may grant less
 * (net.core.rmem_max).
 */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
/** Maximum payload of a datagram in octets: 65,535 without the IPv4 and UDP headers, or, over IPv6, without the UDP header. */
const MTU_V4 = 65_507
const MTU_V6 = 65_527

/** Returns the maximum datagram size, in octets, of a socket bound to `host`. A socket bound to `::` also serves IPv4. */
export const mtuAt = (host: string): number => (isIPv6(host) && !isWildcard(host) ? MTU_V6 : MTU_V4)

/** MQTT-SN over UDP. A client is identified by its source address: `127.0.0.1:51234` or `[::1]:51234`. */
export class UdpPort implements DatagramPort {
  readonly name: string
  readonly mtu: number
  readonly #options: UdpOptions
  readonly #receive: Receive
  readonly #notice: NoticeSink
  readonly #socket: SocketAsPromised
  readonly #peers: UdpPeers
  readonly #broadcasts: RouteKey
  /** Receives multicast if the main socket is bound to a single address, and so receives unicast only. */
  #groupSocket: SocketAsPromised | undefined
  #group: { readonly address: string; readonly name: string } | undefined

  private constructor(options: UdpOptions, receive: Receive, notice: NoticeSink) {
    this.name = options.name
    this.#options = options
    this.#receive = receive
    this.#notice = notice
    this.#peers = new UdpPeers(options.name)
    this.#broadcasts = broadcastRoute(options.name)
    this.#socket = this.#open(false)
    this.mtu = mtuAt(options.host)
  }

  /** @throws the system's error (`EADDRINUSE`, ...) for host and port, or an Error that names the option for an invalid group */
  static async bind(options: UdpOptions, receive: Receive, notice: NoticeSink): Promise<UdpPort> {
    const group = groupFor(options.host, options.multicast)
    const port = new UdpPort(options, receive, notice)
    try {
      await port.#socket.bind({ address: options.host, port: options.port })
      port.#prepare(port.#socket.socket)
      if (group !== undefined) await port.#join(group.group, group.via)
      return port
    } catch (error) {
      await port.close().catch(() => {})
      throw error
    }
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
    if (route === this.#broadcasts) {
      if (this.#group !== undefined) this.#socket.socket.send(bytes, this.#groupPort, this.#group.address)
      return
    }
    const { host, port } = this.#peers.at(route)
    try {
      this.#socket.socket.send(bytes, port, host)
    } catch (error) {
      // Node throws for an address that cannot be sent to: a defect of one peer must not end the process.
      this.#report((error as Error).message)
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#socket.close(), this.#groupSocket?.close()])
  }

  #open(shared: boolean): SocketAsPromised {
    // Uses the message callback, because `for await` and recv() add a listener per datagram and lose those that arrive in
    // between.
    return DgramAsPromised.createSocket(
      { type: isIPv6(this.#options.host) ? 'udp6' : 'udp4', reuseAddr: shared },
      (bytes: Buffer, from: RemoteInfo) => this.#received(this.#peers.routeOf(from), from.port, bytes),
    )
  }

  #received(route: RouteKey, port: number, bytes: Buffer): void {
    if (port > 0) this.#receive(route, bytes)
    else this.#notice({ code: 'malformed-datagram', level: 'info', peer: route, reason: 'from port 0, which cannot be answered' })
  }

  #prepare(socket: Socket): void {
    // The wrapper's own error listener would keep an error for the next unrelated call. Errors of sends (ICMP
    // unreachable) are reported here.
    socket.removeAllListeners('error')
    socket.on('error', (error) => this.#report(error.message))
    try {
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    } catch {
      // A refusal does not prevent the start: the kernel's default works too.
    }
  }

  /** A network without multicast does not prevent the start: clients that know the gateway's address need no multicast. */
  async #join(group: string, via: string | undefined): Promise<void> {
    const { host, multicast } = this.#options
    const main = this.#socket.socket
    const zone = via?.split('%')[1]
    // A link-local group is a different group on each interface.
    const address = zone !== undefined && /^ff.[12]/i.test(group) ? `${group}%${zone}` : group
    let listening = main
    try {
      if (!isWildcard(host) || this.#groupPort !== this.port) {
        this.#groupSocket = this.#open(true)
        listening = this.#groupSocket.socket
        // Bound to the group, so that it receives nothing else.
        await this.#groupSocket.bind({ address, port: this.#groupPort })
        this.#prepare(listening)
      }
      listening.addMembership(group, via)
      if (via !== undefined) main.setMulticastInterface(via)
      main.setMulticastTTL(multicast.ttl)
      this.#group = { address, name: group }
    } catch (error) {
      this.#report(`no multicast group ${group}: ${(error as Error).message} (multicast_group, multicast_interface)`)
      await this.#groupSocket?.close().catch(() => {})
      this.#groupSocket = undefined
    }
  }

  #report(reason: string): void {
    this.#notice({ code: 'port-failed', level: 'warn', reason: `UDP port ${this.name}: ${reason}` })
  }
}
