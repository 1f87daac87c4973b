import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import type { Publish } from '../../src/mqtt/publish.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import type { Published } from './claims.ts'
import { PacketStreams } from './packet-streams.ts'
import type { Site } from './site.ts'
import type { Station } from './station.ts'
import type { TcpClient } from './tcp-client.ts'
import { textOf } from './texts.ts'
import type { Observer, Sensor } from './world.ts'

/** Notes what goes over the wires of a site: which messages arrive at the server, are refused, and are handed to whom. */
export class Wire implements Observer {
  readonly #site: Site
  readonly #up = new PacketStreams('client')
  readonly #down = new PacketStreams('server')
  /** What arrived last under which id: `s1 7`. */
  readonly #heard = new Set<Published>()
  readonly #said = new Map<string, Published>()

  constructor(site: Site) {
    this.#site = site
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    if (isMalformed(message) || message.type !== MsgType.PUBLISH) return
    const one = this.#site.claims.published.get(textOf(message.data))
    if (one === undefined) return
    this.#site.claims.arrive(one)
    one.resent ||= message.dup
    this.#said.set(`${sensor.client.clientId} ${message.msgId}`, one)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    if (isMalformed(message)) return
    const { clientId } = sensor.client
    if (message.type === MsgType.PUBLISH && !message.retain) this.#site.claims.hand(textOf(message.data), clientId)
    else if (message.type === MsgType.PUBACK && message.returnCode !== 0) this.#refused(clientId, message.msgId)
  }

  heard(sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    const node = this.#site.nodes.find((each) => each.sensor === sensor)
    if (isMalformed(message)) return
    // Instead of its next packet, if it is one of a message that it keeps.
    if (node?.passed(message, 'down') !== true) node?.heard(message)
  }

  said(sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    if (!isMalformed(message)) this.#site.nodes.find((node) => node.sensor === sensor)?.passed(message, 'up')
  }

  strayed(sensor: Sensor, datagram: Uint8Array): void {
    this.datagramOut(sensor, datagram)
  }

  chunkIn(tcp: TcpClient, bytes: Uint8Array): void {
    if (!this.#knows(tcp)) return
    for (const packet of this.#up.read(tcp, bytes)) {
      this.#stationOf(tcp)?.passed(packet, 'up')
      const one = packet.type === PacketType.PUBLISH ? this.#site.claims.published.get(textOf(packet.payload)) : undefined
      if (one === undefined) continue
      // Without its session a client says it anew, and not again.
      one.resent ||= (packet as Publish).dup || this.#heard.has(one)
      this.#heard.add(one)
      this.#said.set(`${tcp.client.clientId} ${(packet as Publish).packetId}`, one)
    }
  }

  /** Of guests nothing is claimed. */
  #knows({ client }: TcpClient): boolean {
    return this.#site.claims.receivers.has(client.clientId)
  }

  #stationOf(tcp: TcpClient): Station | undefined {
    return this.#site.stations.find((station) => station.tcp === tcp)
  }

  /** What is retained comes with a subscription, except to a bridge, which is told of RETAIN in any case. */
  #handed(id: string, text: string, retain: boolean): void {
    const { published, receivers } = this.#site.claims
    const isFirst = receivers.get(id)?.bridge === true && published.get(text)?.handed.has(id) !== true
    if (!retain || isFirst) this.#site.claims.hand(text, id)
  }

  #refused(id: string, packetId: number): void {
    const one = this.#said.get(`${id} ${packetId}`)
    if (one !== undefined) one.refused = true
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    if (!this.#knows(tcp)) return
    const id = tcp.client.clientId
    for (const packet of this.#down.read(tcp, bytes)) {
      this.#stationOf(tcp)?.passed(packet, 'down')
      this.#written(id, packet)
    }
  }

  #written(id: string, packet: Packet): void {
    if (packet.type === PacketType.PUBLISH) this.#handed(id, textOf(packet.payload), packet.retain)
    else if ((packet.type === PacketType.PUBACK || packet.type === PacketType.PUBREC) && packet.reasonCode >= 0x80)
      this.#refused(id, packet.packetId)
  }
}
